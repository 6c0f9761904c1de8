"""A sentence for a person, kept as template and values, so that the reader picks the language."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wording import Language, say

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Sentence:
    """An English template with its values. A value may be a Sentence itself and is then said in the same language."""

    text: str
    values: Mapping[str, object] = field(default_factory=dict)

    def say(self, language: Language = "en") -> str:
        """The sentence in the language."""
        values = {k: v.say(language) if isinstance(v, Sentence) else v for k, v in self.values.items()}
        return say(self.text, language, **values)

    def as_json(self) -> Json:
        """Template and values; an inner sentence becomes its English text."""
        return {"text": self.text, "values": {k: v.say() if isinstance(v, Sentence) else v for k, v in self.values.items()}}
