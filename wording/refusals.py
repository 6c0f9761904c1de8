"""Faults that carry several reasons at once, so that a person mends all of them in one go."""

from collections.abc import Sequence

from wording.border import Shown, joined
from wording.fault import Exit, Fault
from wording.language import Language
from wording.sentence import Json

MOST_REASONS = 100  # of a refusal out of an answer


class Refused(Fault):
    """A command that cannot be done now, with every reason. Its exit code is the reasons' own where they agree."""

    exit_code = Exit.REFUSED

    def __init__(self, code: str, reasons: Sequence[Fault], /, **values: object) -> None:
        """code: of what is refused, without the reasons."""
        self.reasons = tuple(reasons)
        codes = {reason.exit_code for reason in self.reasons}
        super().__init__(code, "", exit_code=codes.pop() if len(codes) == 1 else Exit.REFUSED, **values)

    def say(self, language: Language = "en") -> Shown:
        """What is refused, then a line each reason with its mend."""
        space = "" if language == "zh" else " "
        lines = [Shown(f"  - {reason.say(language)}{space}{reason.say_mend(language)}".rstrip()) for reason in self.reasons]
        return joined("\n", [super().say(language), *lines])

    def as_dict(self) -> Json:
        """As wording.Fault.as_dict, with ``reasons``: a list of the same."""
        return {**super().as_dict(), "reasons": [reason.as_dict() for reason in self.reasons]}


def refusal(code: str, mend: str, /, **values: object) -> Fault:
    """One reason why something cannot be done now."""
    return Fault(code, mend, exit_code=Exit.REFUSED, **values)


def fault_from(data: Json) -> Fault:
    """The fault that as_dict made: a Refused where there are reasons. Raises KeyError where it is none."""
    reasons = data.get("reasons")
    plain = Fault.from_dict(data)
    if not isinstance(reasons, list):
        return plain
    refused = Refused(plain.code, [Fault.from_dict(reason) for reason in reasons[:MOST_REASONS] if isinstance(reason, dict)])
    refused.values = plain.values  # not as arguments: a file may name a value as one of them
    return refused
