"""A sentence for a person, kept as a code and values, so that the reader picks the language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wording.border import Shown, shown
from wording.language import Language
from wording.text import code_of, listed, say

Json = dict[str, object]
MOST_VALUES, MOST_CHARACTERS, NAME_CHARACTERS = 20, 1000, 100  # of a sentence out of a file
LARGEST = 1 << 63  # of a number out of a file
DEEPEST = 3  # sentences inside sentences, out of a file


@dataclass(frozen=True, slots=True)
class Sentence:
    """The code of a text with its values. A value may be a Sentence, or a tuple of them: it is said in the same language."""

    code: str
    values: Mapping[str, object] = field(default_factory=dict)

    def say(self, language: Language = "en") -> Shown:
        """The sentence in the language."""
        return say(self.code, language, **{k: _said(v, language) for k, v in self.values.items()})

    def as_json(self) -> Json:
        """Code and values; an inner sentence likewise."""
        return {"code": self.code, "values": plain_values(self.values)}

    def __bool__(self) -> bool:
        return self.code != ""

    @classmethod
    def from_json(cls, data: object) -> "Sentence":
        """The inverse, for a file that anybody may have written: bounded, and never refused.

        Version 0.1.0 wrote its English template as ``text``.
        """
        return _sentence(data, DEEPEST)


def sentence(code: str, /, **values: object) -> Sentence:
    """The code with its values."""
    return Sentence(code, values)


def verbatim(text: str) -> Sentence:
    """A text that is the same in every language, such as a device's name; it is escaped where it is shown."""
    return Sentence("verbatim", {"text": text})


def in_a_row(sentences: Sequence[Sentence]) -> Sentence:
    """Whole sentences, one after another; without any, one that says nothing."""
    first, *rest = sentences or (Sentence(""),)
    return Sentence("sentence-and-the-rest", {"first": first, "rest": in_a_row(rest)}) if rest else first


def _said(value: object, language: Language) -> object:
    if isinstance(value, tuple):
        return listed([shown(_said(each, language)) for each in value], language)
    return value.say(language) if isinstance(value, Sentence) else value


def plain_values(values: Mapping[str, object]) -> Json:
    """Values as a file keeps them: numbers and truth as they are, inner sentences as code and values, all else as text."""

    def plain(value: object) -> object:
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        if isinstance(value, Sentence):
            return value.as_json()
        return value if value is None or isinstance(value, (int, float)) else str(value)

    return {k: plain(v) for k, v in values.items()}


def values_from(data: object, deep: int = DEEPEST) -> Json:
    """The inverse of plain_values, bounded; {} where it is none."""
    if not isinstance(data, dict):
        return {}

    def value(raw: object) -> object:
        if isinstance(raw, list):
            return tuple(value(each) for each in raw[:MOST_VALUES] if not isinstance(each, list))
        if isinstance(raw, dict):
            return _sentence(raw, deep - 1)
        if raw is None or isinstance(raw, float) or (isinstance(raw, int) and abs(raw) < LARGEST):
            return raw
        try:
            return str(raw)[:MOST_CHARACTERS]
        except ValueError:  # more digits than Python writes, which no file has that Python read
            return f"{raw:#x}"[:MOST_CHARACTERS]

    return {str(k)[:NAME_CHARACTERS]: value(v) for k, v in list(data.items())[:MOST_VALUES]}


def _sentence(data: object, deep: int) -> Sentence:
    if not isinstance(data, dict) or deep == 0:
        try:
            return Sentence(str(data)[:MOST_CHARACTERS])
        except RecursionError:
            return Sentence("", {})
    code = str(data["code"]) if "code" in data else code_of(str(data.get("text", "")))
    return Sentence(code[:MOST_CHARACTERS], values_from(data.get("values"), deep))
