"""Templates and their translations. Pure but for reading the catalogue once."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from wording.system import system_words

Language = Literal["en", "zh"]

CATALOGUE = Path(__file__).with_name("zh")


@cache
def catalogue() -> Mapping[str, str]:
    """English template to Chinese template, merged from every file of the catalogue.

    Raises ValueError where two files translate one template differently.
    """
    merged: dict[str, str] = {}
    for path in sorted(CATALOGUE.glob("*.toml")):
        for english, chinese in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if merged.setdefault(english, chinese) != chinese:
                raise ValueError(f"{path.name}: a second translation of {english!r}")
    return merged


def translate(template: str, language: Language) -> str:
    """The template in the language; English where the catalogue has no translation."""
    return catalogue().get(template, template) if language == "zh" else template


def say(template: str, language: Language, /, **values: object) -> str:
    """The template in the language with its {fields} filled in. A ``why`` in the operating system's words is translated too."""
    text = translate(template, language)
    if language == "zh" and isinstance(why := values.get("why"), str):
        values["why"] = system_words().get(why, why)
    return text.format(**values) if values else text
