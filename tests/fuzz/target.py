"""What a parser is, and what counts as a crash: an exception that it does not promise, or too much time."""

import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from wording import Fault, Language

SLOW_S = 2.0  # of the processor, for one input
MOST_SHOWN = 200_000  # characters
TURNING = frozenset({"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"})  # Unicode Standard Annex 9
LANGUAGES: tuple[Language, ...] = ("en", "zh")


class Slow(Exception):
    """An input took more than its parser may take."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser of bytes from outside.

    call: parses, and asserts what must hold of the result; it may raise a Fault and what ``allowed`` names. A Fault must be
    sayable in both languages. seeds: good examples. words: of the format. cases: how many are tried at every ``./check``.
    around: what must stand while it is tried, such as a server; ``call`` is then given what it yields as a second argument.
    """

    name: str
    call: Callable[..., object]
    seeds: Callable[[], Sequence[bytes]]
    allowed: tuple[type[BaseException], ...] = ()
    words: tuple[bytes, ...] = ()
    cases: int = 100
    around: Callable[[Path], AbstractContextManager[object]] | None = None
    slow_s: float = SLOW_S

    def standing(self, folder: Path) -> AbstractContextManager[object]:
        """What the parser needs around it. folder: an empty one of its own."""
        return self.around(folder) if self.around else nullcontext()

    def crash(self, data: bytes, around: object) -> BaseException | None:
        """What the parser must not do with this input, None where it kept its promise."""
        began = time.thread_time()
        try:
            self.call(data, around) if self.around else self.call(data)
        except Fault as fault:
            return _unsayable(fault)
        except self.allowed:
            return None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  (that is what is looked for; a panic of a Rust library is no Exception)
            return error
        taken = time.thread_time() - began
        return Slow(f"{taken:.1f} s") if taken > self.slow_s else None


@contextmanager
def folder_alone(folder: Path) -> Iterator[Path]:
    """Around a parser that reads a file: the folder in which ``call`` puts it."""
    yield folder


def plain(text: str, *, lines: bool = False) -> None:
    """Asserts that a text for people has a bound and holds nothing that controls a terminal or turns what stands beside it."""
    text = text.replace("\n", "") if lines else text
    controls = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in TURNING]
    assert not controls, f"a person is shown {controls[:5]!a}"
    assert len(text) < MOST_SHOWN, "a text for people has no bound"


def _unsayable(fault: Fault) -> BaseException | None:
    try:
        for language in LANGUAGES:
            plain(fault.say(language), lines=True)
            plain(fault.say_mend(language), lines=True)
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        return error
    return None


def kind_of(error: BaseException) -> str:
    """Type and place of a crash: two crashes of one kind have one cause."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        if "/tests/fuzz/" not in (file := trace.tb_frame.f_code.co_filename):
            place = f"{Path(file).name}:{trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__} {place}".strip()


def file_name(data: bytes) -> str:
    """The name of an input in the corpus."""
    return sha256(data).hexdigest()[:16]
