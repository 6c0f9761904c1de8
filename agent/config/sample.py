"""Renders a configuration's models as a commented TOML file."""

from pydantic import BaseModel


def render(config: BaseModel) -> str:
    """Every key with its value, its meaning above it."""
    out = ["# Configuration of the interview-room agent. Every value below is the default; unknown keys are errors.", ""]
    for key in type(config).model_fields:
        out += _table(key, getattr(config, key))
    return "\n".join(out).rstrip() + "\n"


def _table(name: str, model: BaseModel) -> list[str]:
    fields = type(model).model_fields
    inner = {key: value for key in fields if isinstance(value := getattr(model, key), BaseModel)}
    out = [f"# {(type(model).__doc__ or '').splitlines()[0]}"]
    if len(inner) < len(fields):
        out.append(f"[{name}]")
    for key, info in fields.items():
        if key not in inner:
            value = getattr(model, key)
            unset = "# " if value is None else ""  # TOML has no word for "left out": an example stands there as a comment
            shown = (info.examples or [""])[0] if value is None else value
            out += [f"# {info.description}", f"{unset}{info.alias or key} = {toml_value(shown)}"]
    out.append("")
    for key, value in inner.items():
        out += _table(f"{name}.{key}", value)
    return out


def toml_value(value: object) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
