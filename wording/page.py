"""HTML pages for people, from the templates in ``wording/pages/``. Jinja2 fills them in and escapes every value for HTML.

Besides, each value passes ``shown`` first: what controls a terminal or turns a text's direction never reaches a page.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from wording.border import shown
from wording.language import Language
from wording.text import say

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("pages")


def page(template: str, language: Language, /, **values: object) -> str:
    """The page of a template, such as "disc.html". values: what the template names; a value that it lacks is a defect.

    In a template ``say(code, field=value)`` gives a text of the catalogue in the page's language, and ``|address`` makes a path
    the relative address of a file. Raises jinja2.UndefinedError where a value is missing.
    """

    def in_language(code: str, **fields: object) -> str:
        return say(code, language, **fields)

    lang = "zh-CN" if language == "zh" else "en"
    return _environment().get_template(template).render(say=in_language, lang=lang, **values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # 20 ms, of use to few commands
    from markupsafe import Markup

    def finalize(value: object) -> object:
        return value if isinstance(value, (Markup, int, float)) else shown(value)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["address"] = quote
    return environment
