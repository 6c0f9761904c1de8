"""What a JSON file says as a value: the types of a dataclass's fields are what the file must hold. By msgspec, strictly.

A whole number is taken where a float is asked for, a list where a tuple is; nothing else is converted. Fields that the class does
not know are left out: a later version may have written them.
"""

import re
from typing import TypeVar

T = TypeVar("T")


class WrongField(ValueError):
    """A field is missing or of another type. field: its place, such as ``case.handlers``; "" for the whole."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def typed(kind: type[T], data: object) -> T:
    """The data as a value of the kind. Raises WrongField."""
    import msgspec  # not above: every command line imports this module, and few read a file

    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise WrongField(_field(str(error))) from error
    except UnicodeEncodeError as error:  # half a character, which JSON can hold and no text can
        raise WrongField("") from error


def _field(message: str) -> str:
    """The place that msgspec's message names: ``… missing required field `state``` and ``… - at `$.case.handlers[0]```."""
    missing = re.search(r"required field `([^`]*)`", message)
    at = re.search(r" - at `\$\.?([^`]*)`", message)
    names = [found.group(1) for found in (at, missing) if found]
    return ".".join(name for name in names if name)
