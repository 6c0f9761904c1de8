"""The codes that the product's source names: its string constants, and the calls that say one, with the values they give."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, get_args

from jinja2 import Environment, nodes

from wording import Language
from wording.page import TEMPLATES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "burner", "recorder", "drivers", "wording")
# Which arguments are codes; a fault takes its code and its mend.
FAULT = (0, 1)
FUNCTIONS = {"Sentence": (0,), "good": (0,), "bad": (0,), "note": (0,), "sentence": (0,), "refusal": FAULT, "problem": (1,)}
FUNCTIONS |= {"Check": (2,), "Problem": (1, 2)}
VALUES_ELSEWHERE = ("Check", "Problem", "_say", "ValueError")
VALIDATORS = "agent/config/model.py"  # pydantic carries the codes of its ValueErrors to agent/config/problems.py

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


class Use(NamedTuple):
    """One place that says a code. given: names of the values it is given there; None where the place does not tell."""

    code: str
    place: str
    given: frozenset[str] | None


def sources() -> dict[str, ast.Module]:
    """File to its tree, of every package."""
    paths = [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]
    return {str(p.relative_to(ROOT)): ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def constants(trees: dict[str, ast.Module]) -> dict[str, str]:
    """Texts that are values of the code, with a place: no docstrings, no pieces of f-strings, no descriptions of keys."""
    found: dict[str, str] = {}
    for file, tree in trees.items():
        no_values: set[ast.AST] = set()
        for node in ast.walk(tree):
            match node:
                case ast.Expr(value=text):
                    no_values.add(text)
                case ast.JoinedStr(values=pieces):
                    no_values.update(pieces)
                case ast.Call(func=ast.Name(id="entry" | "Field")):
                    no_values.update((*node.args[1:2], *(k.value for k in node.keywords if k.arg == "description")))
        texts = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n not in no_values)
        found |= {n.value: f"{file}:{n.lineno}" for n in texts if isinstance(n.value, str)}
    return found


def pages() -> dict[str, nodes.Template]:
    """Template of a page to its tree."""
    environment = Environment(autoescape=True)
    return {f"wording/pages/{p.name}": environment.parse(p.read_text("utf-8")) for p in sorted(TEMPLATES.glob("*.*"))}


def page_constants() -> set[str]:
    """Texts that are values in the templates of pages."""
    return {each.value for page in pages().values() for each in page.find_all(nodes.Const) if isinstance(each.value, str)}


def page_uses() -> Iterator[Use]:
    """Every place of a page that says a code which stands there."""
    for file, page in pages().items():
        for call in page.find_all(nodes.Call):
            match call.node, call.args[:1]:
                case nodes.Name(name="say"), [nodes.Const(value=code)]:
                    yield Use(str(code), f"{file}:{call.lineno}", frozenset(each.key for each in call.kwargs))


def faults(trees: dict[str, ast.Module]) -> dict[str, tuple[int, ...]]:
    """Fault and all that derives from it, with those arguments of the constructor that are codes."""
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: dict[str, tuple[int, ...]] = {"Fault": FAULT, "Refused": (0,)}
    while new := [c for c in classes if c.name not in found and any(ast.unparse(base) in found for base in c.bases)]:
        for each in new:
            own = any(isinstance(s, ast.FunctionDef) and s.name == "__init__" for s in each.body)
            found[each.name] = () if own else found[ast.unparse(each.bases[0])]
    return found


def uses(trees: dict[str, ast.Module]) -> Iterator[Use]:
    """Every place that says a code which stands there, or in a name that its function or module binds to constants."""
    known = FUNCTIONS | faults(trees)
    for file, tree in trees.items():
        functions = known | ({"ValueError": (0,)} if file == VALIDATORS else {})
        for call, around in _calls(tree, [tree]):
            for code, alone in (each for argument in _codes(call, functions) for each in _values(argument, around)):
                if code not in ("", *get_args(Language)):  # those of ``sentence.say(language)``
                    yield Use(code, f"{file}:{call.lineno}", _given(call) if alone else None)


def _calls(node: ast.AST, around: list[Scope]) -> Iterator[tuple[ast.Call, list[Scope]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, around
        yield from _calls(child, [*around, child] if isinstance(child, Scope) else around)


def _codes(call: ast.Call, functions: dict[str, tuple[int, ...]]) -> list[ast.expr]:
    match call.func:
        case ast.Name(id=name) if name in functions:
            return [call.args[n] for n in functions[name] if n < len(call.args)]
        case ast.Name(id="say" | "_say") | ast.Attribute(attr="say" | "_say"):
            return call.args[:1]
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            return call.args[:2]
    return []


def _values(argument: ast.expr, around: list[Scope]) -> Iterator[tuple[str, bool]]:
    """The texts that an argument can be, and whether the values of the call are meant for each of them."""
    match argument:
        case ast.Constant(value=str(text)):
            yield text, True
        case ast.IfExp(body=one, orelse=other):
            yield from (*_values(one, around), *_values(other, around))
        case ast.Name(id=name):
            for scope in reversed(around):
                if bound := _bindings(scope).get(name):
                    yield from ((text, len(bound) == 1) for value in bound for text, _ in _values(value, []))
                    return


@cache
def _bindings(scope: Scope) -> dict[str, list[ast.expr]]:
    """What the assignments of a scope, of one name or of several, give to each name."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value):
                found.setdefault(target, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for one, value in zip(targets, values, strict=True):
                    if isinstance(one, ast.Name):
                        found.setdefault(one.id, []).append(value)
    return found


def _given(call: ast.Call) -> frozenset[str] | None:
    function, names = ast.unparse(call.func).split(".")[-1], [keyword.arg for keyword in call.keywords]
    if function == "Sentence" and len(call.args) > 1:
        table = call.args[1]
        names = [getattr(key, "value", None) for key in table.keys] if isinstance(table, ast.Dict) else [None]
    if None in names or function in VALUES_ELSEWHERE:
        return None
    return frozenset(str(name) for name in [*names, *(["path"] if function == "problem" else [])])
