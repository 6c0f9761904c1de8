"""The base of every failure that a person can mend.

::

    Fault                     says what is wrong and how to mend it, in the reader's language
    ├── agent.config.model.ConfigFault, agent.session.rules.Refused, …
    ├── drivers.faults.DeviceFault
    ├── recorder.faults.StorageFault, recorder.faults.EvidenceFault
    └── burner.faults.BurnFault
"""

from collections.abc import Mapping
from enum import IntEnum

from wording.border import Shown
from wording.language import Language
from wording.sentence import MOST_CHARACTERS, Json, Sentence, plain_values, values_from
from wording.text import code_of


class Exit(IntEnum):
    """Exit codes of ``room-agent``. EXIT_TEXTS says what each means; docs/operations.md says which command gives which."""

    OK = 0
    NO = 1
    USAGE = 2
    CONFIG = 3
    NO_AGENT = 4
    REFUSED = 5
    NOT_FOUND = 6
    DEVICE = 7
    STORAGE = 8
    INPUT = 9
    ALREADY_RUNNING = 10
    EVIDENCE = 11
    UNVOUCHED = 12
    DEFECT = 70  # EX_SOFTWARE of sysexits.h


# Codes of what each number means, for --help. No number ever gets a second meaning.
EXIT_TEXTS: Mapping[Exit, str] = {
    Exit.OK: "exit-done",
    Exit.NO: "exit-answer-is-no",
    Exit.USAGE: "exit-usage-error",
    Exit.CONFIG: "exit-configuration-error",
    Exit.NO_AGENT: "exit-agent-not-running",
    Exit.REFUSED: "exit-not-now",
    Exit.NOT_FOUND: "exit-not-found",
    Exit.DEVICE: "exit-device-fault",
    Exit.STORAGE: "exit-storage-fault",
    Exit.INPUT: "exit-unusable-input",
    Exit.ALREADY_RUNNING: "exit-folder-in-use",
    Exit.EVIDENCE: "exit-evidence-disagrees",
    Exit.UNVOUCHED: "exit-unvouched",
    Exit.DEFECT: "exit-program-fault",
}


class Fault(Exception):
    """A failure with its mend.

    code:    of the text that says what is wrong; the text names the field and the value.
    mend:    code of the text that says what to do, "" where nothing is to be done.
    values:  fill the {fields} of both texts.
    """

    exit_code = Exit.DEFECT

    def __init__(self, code: str, mend: str, /, *, exit_code: Exit | None = None, **values: object) -> None:
        super().__init__(code, mend, values)
        self.code, self.mend, self.values = code, mend, values
        if exit_code is not None:
            self.exit_code = exit_code

    def say(self, language: Language = "en") -> Shown:
        """What is wrong, in the language."""
        return Sentence(self.code, self.values).say(language)

    def say_mend(self, language: Language = "en") -> Shown:
        """What to do, in the language."""
        return Sentence(self.mend, self.values).say(language)

    def __str__(self) -> str:
        return f"{self.say()} {self.say_mend()}"

    def as_dict(self) -> Json:
        """For status files, the agent's socket and --json: codes and values travel, so that the reader picks the language."""
        values = plain_values(self.values)
        return {"code": self.code, "mend": self.mend, "values": values, "exit_code": int(self.exit_code)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "Fault":
        """The inverse of as_dict, as a plain Fault; also of the form of version 0.1.0, whose English stands as ``text``.

        Values are bounded; a wrong exit code is Exit.DEFECT. Raises KeyError where the data is no fault.
        """
        code = str(data["code"]) if "code" in data else code_of(str(data["text"]))
        number, mend = data.get("exit_code"), code_of(str(data.get("mend", "")))
        known = Exit(number) if isinstance(number, int) and number is not True and number in set(Exit) else None
        fault = Fault(code[:MOST_CHARACTERS], mend[:MOST_CHARACTERS], exit_code=known)
        fault.values = values_from(data.get("values"))  # not as arguments: a file may name a value as one of them
        return fault
