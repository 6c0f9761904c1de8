"""The languages in which a person reads."""

from typing import Literal

Language = Literal["en", "zh"]
