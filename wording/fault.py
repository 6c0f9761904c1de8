"""The base of every failure that a person can mend.

::

    Fault                     says what is wrong and how to mend it, in the reader's language
    ├── agent.config.model.ConfigFault, agent.session.rules.Refused, …
    ├── drivers.faults.DeviceFault
    ├── recorder.faults.StorageFault, recorder.faults.EvidenceFault
    └── burner.faults.BurnFault
"""

from enum import IntEnum

from wording.text import Language, say


class Exit(IntEnum):
    """Exit codes of ``room-agent``; documented in docs/operations.md."""

    OK = 0
    NO = 1  # the command worked and its answer is no: a check failed, a verdict is a mismatch, a disc is unreadable
    USAGE = 2  # the command line is not understood (argparse)
    CONFIG = 3  # the configuration has errors
    NO_AGENT = 4  # the agent does not run, or does not answer
    REFUSED = 5  # not in this state: a session runs already, none runs, self-check missing, disk too small
    NOT_FOUND = 6  # no such session, file, drive or track
    DEVICE = 7  # a device is missing, does not answer or refuses the password
    STORAGE = 8  # a folder cannot be written, or the disk is full
    INPUT = 9  # a file or value that was given cannot be used
    ALREADY_RUNNING = 10  # another process of this kind works on the same folder
    EVIDENCE = 11  # evidence does not agree with its journal, manifest or signature
    DEFECT = 70  # a fault of the program itself (EX_SOFTWARE); the log has the details


class Fault(Exception):
    """A failure with its mend.

    text:    English template of what is wrong; names the field and the value.
    mend:    English template of what to do.
    values:  fill the {fields} of both templates.
    """

    exit_code = Exit.DEFECT

    def __init__(self, text: str, mend: str, /, *, exit_code: Exit | None = None, **values: object) -> None:
        super().__init__(text, mend, values)
        self.text, self.mend, self.values = text, mend, values
        if exit_code is not None:
            self.exit_code = exit_code

    def say(self, language: Language = "en") -> str:
        """What is wrong, in the language."""
        return say(self.text, language, **self.values)

    def say_mend(self, language: Language = "en") -> str:
        """What to do, in the language."""
        return say(self.mend, language, **self.values)

    def __str__(self) -> str:
        return f"{self.say()} {self.say_mend()}"

    def as_dict(self) -> dict[str, object]:
        """For status files, the agent's socket and --json: templates and values travel, so that the reader picks the language."""
        plain = {k: v if isinstance(v, (int, float, bool)) else str(v) for k, v in self.values.items()}
        return {"text": self.text, "mend": self.mend, "values": plain, "exit_code": int(self.exit_code)}

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> "Fault":
        """The inverse of as_dict, as a plain Fault."""
        values = data.get("values")
        code = data.get("exit_code")
        return Fault(
            str(data["text"]),
            str(data["mend"]),
            exit_code=Exit(code) if isinstance(code, int) else None,
            **({str(k): v for k, v in values.items()} if isinstance(values, dict) else {}),
        )
