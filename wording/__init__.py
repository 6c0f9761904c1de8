"""What a person in the room reads, in English or Chinese, and the faults that carry such a text.

English stands in the code as the template (``"No answer from {host}."``); the Chinese of every template stands in
``wording/zh/*.toml``. A template without its translation is shown in English, and a test fails.
"""

from wording.fault import Exit, Fault
from wording.text import Language, say, translate

__all__ = ["Exit", "Fault", "Language", "say", "translate"]
