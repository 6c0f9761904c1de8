"""Pages for people, from the templates in ``wording/pages/``: HTML, where Jinja2 escapes every value, and plain text.

Besides, each value passes ``shown`` first: what controls a terminal or turns a text's direction never reaches a page.
"""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wording.border import Shown, shown
from wording.language import Language
from wording.text import say

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("pages")
COLUMNS = 96  # of a line of plain text; a Chinese character takes two
_WIDE = "\u2e80-\uffff"
_CLOSING = "，。：；、）》”！？"  # they begin no line
_PIECE = re.compile(rf"(?:[{_WIDE}]|[^\s{_WIDE}]+)[{_CLOSING}]*|\s+")


def page(template: str, language: Language, /, **values: object) -> str:
    """The page of a template, such as "disc.html". values: what the template names; a value that it lacks is a defect.

    In a template ``say(code, field=value)`` gives a text of the catalogue in the page's language, and ``|address`` makes a path
    the relative address of a file. In plain text ``|wrapped`` breaks a paragraph into lines, and ``|quoted`` makes a value one
    word of a shell's command. Raises jinja2.UndefinedError where a value is missing.
    """

    def in_language(code: str, **fields: object) -> str:
        return say(code, language, **fields)

    lang = "zh-CN" if language == "zh" else "en"
    return _environment().get_template(template).render(say=in_language, lang=lang, **values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # 20 ms, of use to few commands
    from markupsafe import Markup

    def finalize(value: object) -> object:
        return value if isinstance(value, (Markup, int, float)) else shown(value)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, disabled_extensions=("txt",)),
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["address"] = quote
    environment.filters["wrapped"] = wrapped
    environment.filters["quoted"] = shlex.quote
    return environment


def wrapped(text: Shown) -> Shown:
    """A paragraph in lines of at most COLUMNS, broken at spaces and between Chinese characters; no line begins with a space."""
    lines, line, columns = [], "", 0
    for piece in _PIECE.findall(text):
        width = sum(2 if c >= "\u2e80" else 1 for c in piece)
        if line and columns + width > COLUMNS:
            lines.append(line.rstrip())
            line, columns = "", 0
        if line or not piece.isspace():
            line, columns = line + piece, columns + width
    return Shown("\n".join([*lines, line.rstrip()]))
