"""What a person reads, in English or Chinese, and the faults that carry it.

The code names a text by its code (``"disk-full"``), and ``text`` finds it: both languages stand in ``wording/texts/*.toml``.
``fault`` has the table of exit codes, ``border`` escapes what goes to a person, ``times`` writes instants and lengths. Nothing of
another package is imported here.
"""

from wording.border import Given, Shown, shown
from wording.fault import Exit, Fault
from wording.language import Language
from wording.text import say

__all__ = ["Exit", "Fault", "Given", "Language", "Shown", "say", "shown"]
