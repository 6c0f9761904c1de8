"""Texts by their code, in English and Chinese. A code stands in the code and in evidence; its text stands in the catalogue alone.

The catalogue is ``wording/texts/*.toml``: ``[code]`` with ``en`` and ``zh``, templates whose ``{fields}`` are filled from values.
A template comes from the catalogue and from nowhere else: nothing out of a file or from a network is ever formatted.
Times have one form each: a field such as ``{start:instant}`` names a form of ``wording.times``.
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from string import Formatter

from wording.border import Shown, shown
from wording.language import Language
from wording.system import system_words
from wording.times import FORMS

CATALOGUE = Path(__file__).with_name("texts")
BEFORE = Path(__file__).with_name("version_0_1_0.toml")
VALUE_CHARACTERS = 4000  # of one value in a text
UNKNOWN_CHARACTERS, UNKNOWN_VALUES = 200, 8  # of a code that nobody knows: so much is shown


@cache
def catalogue() -> Mapping[str, Mapping[str, str]]:
    """Code to its templates by language, from every file of the catalogue.

    Raises ValueError where two files give one code.
    """
    merged: dict[str, Mapping[str, str]] = {}
    for path in sorted(CATALOGUE.glob("*.toml")):
        for code, texts in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if code in merged:
                raise ValueError(f"{path.name}: {code!r} stands in another file already")
            merged[code] = texts
    return merged


@cache
def _sentences_before() -> Mapping[str, str]:
    return tomllib.loads(BEFORE.read_text(encoding="utf-8"))


def code_of(text: str) -> str:
    """The code for a sentence that version 0.1.0 wrote into a file; any other text as it is. The table never changes."""
    return text if text in catalogue() else _sentences_before().get(text, text)


def say(code: str, language: Language, /, **values: object) -> Shown:
    """The code's text with its {fields} filled in. An unknown code is shown itself, with its values; ``""`` says nothing.

    Every value is escaped. A ``why`` in the operating system's words is translated.
    """
    if not code:
        return Shown("")
    texts = catalogue().get(code)
    if texts is None:
        return _unknown(code, values)
    if language == "zh" and isinstance(why := values.get("why"), str):
        values["why"] = system_words().get(why, why)
    if not values:
        return Shown(texts[language])
    try:
        return Shown(_filled(texts[language], language, values))
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError):  # written by another version, or by another hand
        return _unknown(code, values)


class _Times(Formatter):
    """``str.format`` that knows the forms of times."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def format_field(self, value: object, format_spec: str) -> str:
        """The value by the form that the template names."""
        form = FORMS.get(format_spec)
        return format(value, format_spec) if form is None else form(value, self._language)


def _filled(template: str, language: Language, values: Mapping[str, object]) -> str:
    """The template with its fields filled in, every value escaped and bounded. Raises as ``str.format`` does."""
    escaped = {k: v if isinstance(v, (int, float)) else _bounded(shown(v)) for k, v in values.items()}
    return _Times(language).vformat(template, (), escaped)


def _bounded(text: Shown) -> Shown:
    return text if len(text) <= VALUE_CHARACTERS else Shown(text[:VALUE_CHARACTERS] + "…")


def listed(parts: Iterable[Shown], language: Language) -> Shown:
    """An enumeration as the language writes it."""
    return Shown(("、" if language == "zh" else ", ").join(parts))


def _unknown(code: str, values: Mapping[str, object]) -> Shown:
    told = [f"{shown(k)}={shown(str(v)[:UNKNOWN_CHARACTERS])}" for k, v in list(values.items())[:UNKNOWN_VALUES]]
    name = shown(code[:UNKNOWN_CHARACTERS])
    return Shown(f"{name} ({', '.join(told)})" if told else name)
