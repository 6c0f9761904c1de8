"""One module for each file format of a transcript; a module is found by lying here. It may not compare or judge times.

A module has ``ORDER``, a number, and ``read(name, data)``, which gives the Document, None where the bytes are of another format,
and raises BadInput where they are of this one and not usable. The lowest ORDER is asked first.
"""

import importlib
import pkgutil
from functools import cache
from typing import Protocol, cast

from recorder.transcript.form import Document


class Format(Protocol):
    """A module of this package."""

    ORDER: int

    def read(self, name: str, data: bytes) -> Document | None:
        """The document in a file's bytes. name: the file's own."""
        ...


@cache
def formats() -> tuple[Format, ...]:
    """All formats, in the order in which they are asked."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    found = [cast(Format, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return tuple(sorted(found, key=lambda each: each.ORDER))
