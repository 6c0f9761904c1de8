"""verify.html: checks a disc in a browser, in one file, without a network. The same on every disc of a version and language.

Its script is made of the files in ``wording/pages/verify/``: the project's own, and noble-ed25519 as its author published it, for
browsers whose WebCrypto has no Ed25519.
"""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256

from markupsafe import Markup

from wording import Language, say
from wording.page import TEMPLATES, page

FOLDER = TEMPLATES / "verify"
LIBRARY, LICENCE = "noble-ed25519.js", "noble-ed25519.LICENSE"
SCRIPTS = (LIBRARY, "sha.js", "disc.js", "page.js")
STYLE = "verify.css"
# What the script says, in the language that the reader chooses.
CODES = (
    "case-number",
    "checked-by",
    "date",
    "official-end",
    "official-start",
    "room",
    "session",
    "web-answer-disagrees",
    "web-answer-failed",
    "web-answer-no-list",
    "web-answer-other-key",
    "web-answer-signed",
    "web-answer-stopped",
    "web-answer-trusted",
    "web-answer-unread",
    "web-answer-unsigned",
    "web-archive-list-differs",
    "web-by-browser",
    "web-by-page",
    "web-checked-at",
    "web-checked-with",
    "web-choose",
    "web-draft",
    "web-drop",
    "web-drop-refused",
    "web-facts",
    "web-file-added",
    "web-file-changed",
    "web-file-missing",
    "web-file-unreadable",
    "web-files-agree",
    "web-fingerprint",
    "web-fingerprint-ask",
    "web-fingerprint-equal",
    "web-fingerprint-half",
    "web-fingerprint-not-compared",
    "web-fingerprint-other",
    "web-fingerprint-unreadable",
    "web-found",
    "web-key-unreadable",
    "web-label",
    "web-list-digest",
    "web-list-signed",
    "web-list-unreadable",
    "web-listing",
    "web-more-problems",
    "web-not-checked",
    "web-not-checked-fingerprint",
    "web-not-checked-hidden",
    "web-not-checked-key",
    "web-not-checked-packets",
    "web-not-checked-record",
    "web-not-whole",
    "web-other-language",
    "web-page-may-be-forged",
    "web-print",
    "web-purpose",
    "web-reading",
    "web-record-signed",
    "web-sealed-by-other-key",
    "web-signature-wrong",
    "web-signatures-by",
    "web-stop",
    "web-title",
)


@cache
def verify_page(language: Language) -> str:
    """The whole HTML document. language: the one that it begins in."""
    source, style = script(), _file(STYLE)
    policy = (
        f"default-src 'none'; script-src '{_digest(source)}'; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'"
    )
    texts = {to: {code: say(code, to) for code in CODES} for to in ("en", "zh")}
    data = json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c")
    return page(
        "verify.html",
        language,
        policy=Markup(policy),  # noqa: S704  # of constants and digests alone
        style=Markup(style),  # noqa: S704  # the project's own file
        script=Markup(source),  # noqa: S704
        texts=Markup(data),  # noqa: S704  # the catalogue, without "<"
    )


def script() -> str:
    """The page's script: one module, made of all SCRIPTS, the library's licence before them."""
    licence = f"/*\n{LIBRARY}:\n\n{_file(LICENCE)}*/\n"
    return "\n" + licence + "\n".join(_file(name) for name in SCRIPTS)


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names a script or a style (W3C CSP 3, 2.3.1)."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
