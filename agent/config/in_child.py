"""Work done in a short-lived child, so that what it loads does not stay in a process that runs for years."""

import os
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar

from agent.config.problems import ConfigFault
from wording import Exit, Fault

T = TypeVar("T")


def in_child(work: Callable[[], T]) -> T:
    """What work returns, computed in a forked child. Raises the Fault that work raises.

    Call it before any thread runs. The result and the Fault travel through a pipe.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 1
        try:
            with os.fdopen(writer, "wb") as pipe:
                try:
                    pickle.dump((True, work()), pipe)
                except Fault as fault:
                    pickle.dump((False, fault if isinstance(fault, ConfigFault) else fault.as_dict()), pipe)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not told:
        raise Fault(
            "configuration-read-ended-with-status",
            "run-check-config",
            exit_code=Exit.CONFIG,
            status=status,
        )
    good, value = pickle.loads(told)  # noqa: S301  # written by our own child
    if not good:
        raise value if isinstance(value, ConfigFault) else Fault.from_dict(value)
    result: T = value
    return result
