"""The disc's page: plays the composite and every original on any PC, without a network and without a script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from wording import Language, say

TRACK_NAMES = {
    "composite": "Composite",
    "made-later": "Composite, made later from the originals",
    "overview": "Overview",
    "closeup": "Close-up",
    "microphone": "Microphone",
}
VERDICTS = {
    "match": "The transcript's times agree with the recording.",
    "excepted": "The transcript's times differ; a second person accepted this with a reason.",
    "mismatch": "The transcript's times do not agree with the recording.",
    "not-found": "No times were found in the transcript.",
}

SEAL = "data/manifest.sig is the recording PC's Ed25519 signature of data/manifest.json, which lists every recorded segment."
LATER = "The live composite lacks these times. They were composed after the seal from the originals; every picture is marked."
NOT_WHOLE = "THIS DISC IS NOT WHOLE: files of the recording were damaged after the seal and are not on it. Their number: {count}."
DELIVERY = (
    "data/delivery.sig signs data/delivery.json, which says from which segments each file here was made, packet by packet,"
    " and holds the digests of this page and of all records."
)

STYLE = """
body{font:16px/1.5 sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem;color:#1b2733;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #c9d2da}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}th{font-weight:600}
video,audio{width:100%;max-width:960px;background:#000}audio{background:none}
code{font:.9em/1.4 monospace;overflow-wrap:anywhere}.draft,.gap{color:#a11;font-weight:600}figure{margin:1rem 0}
"""


@dataclass(frozen=True, slots=True)
class Clip:
    """One MP4 of the page. href: the file's path from the page. starts, ends: RFC 3339."""

    track: str
    href: str
    codec: str
    starts: str
    ends: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole of a track, with its cause in plain words. starts, ends: RFC 3339."""

    track: str
    starts: str
    ends: str
    seconds: float
    cause: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A file of the recording that was damaged after the seal and is not on the disc. starts, ends: RFC 3339."""

    track: str
    path: str
    starts: str
    ends: str


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says. facts: English label template and value. transcript: its path from the page, "" without one."""

    label: str
    draft: bool
    facts: Sequence[tuple[str, str]]
    verdict: str | None
    transcript: str
    clips: Sequence[Clip]
    gaps: Sequence[Gap]
    holes: Sequence[Hole]
    signed: bool


def render(page: Page, language: Language) -> str:
    """The whole HTML document."""

    def text(template: str, **values: object) -> str:
        return escape(say(template, language, **values))

    title = text("Audio and video record of an interview, disc {label}", label=page.label)
    parts = [
        f'<!doctype html>\n<html lang="{"zh-CN" if language == "zh" else "en"}">\n<meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>',
    ]
    if page.draft:
        parts.append(f'<p class="draft">{text("DRAFT: not the final disc of this interview.")}</p>')
    if page.holes:
        parts.append(f'<p class="draft">{text(NOT_WHOLE, count=len(page.holes))}</p>')
    rows = "".join(f"<tr><th>{text(k)}<td>{escape(v)}" for k, v in page.facts if v)
    verdict = text(VERDICTS.get(page.verdict or "", "No transcript is attached."))
    if page.transcript:
        verdict += f' <a href="{quote(page.transcript)}">{text("Open the transcript")}</a>'
    parts.append(f"<table>{rows}<tr><th>{text('Transcript')}<td>{verdict}</table>")
    tracks = list(dict.fromkeys(c.track for c in page.clips))
    for track in tracks:
        parts.append(f"<h2>{text(TRACK_NAMES.get(track, track))}</h2>")
        if track == "made-later":
            parts.append(f'<p class="gap">{text(LATER)}</p>')
        parts += [_figure(c, language) for c in page.clips if c.track == track]
        parts += _missing(page, track, language)
    for track in dict.fromkeys([*(g.track for g in page.gaps), *(h.track for h in page.holes)]):
        if track in tracks:
            continue
        parts.append(f"<h2>{text(TRACK_NAMES.get(track, track))}</h2>")
        parts += _missing(page, track, language)
    if not page.gaps and not page.holes:
        parts.append(f"<p>{text('No track has a gap between the official start and end.')}</p>")
    parts.append(f"<h2>{text('How to check this disc')}</h2>\n<ol>")
    parts.append(f"<li>{text('With the product: room-agent disc verify, then the name of the drive.')}")
    parts.append(
        f"<li>{text('On Linux, in the folder of the disc:')} <code>sha256sum -c manifest-sha256.txt tagmanifest-sha256.txt</code>"
    )
    parts.append(
        f"<li>{text('On Windows, one file at a time; compare with manifest-sha256.txt:')}"
        " <code>certutil -hashfile data\\composite\\composite-01.mp4 SHA256</code>"
    )
    parts.append(f"<li>{text('The disc is a bag by RFC 8493 (BagIt); any BagIt tool can check it.')}")
    parts.append(f"<li>{text(SEAL)}")
    if page.signed:
        parts.append(f"<li>{text(DELIVERY)}")
    parts.append("</ol>\n</html>\n")
    return "\n".join(parts)


def _figure(clip: Clip, language: Language) -> str:
    kind = "audio" if clip.track == "microphone" else "video"
    name = clip.href.rsplit("/", 1)[-1]
    caption = escape(say("{name}: from {starts} to {ends}", language, name=name, starts=clip.starts, ends=clip.ends))
    if clip.codec in ("hevc", "h265"):
        hint = say("This track is H.265: where the browser shows no picture, open the file with VLC.", language)
        caption += f" {escape(hint)}"
    href, path = quote(clip.href), escape(clip.href)
    return (
        f'<figure><{kind} controls preload="metadata" src="{href}"></{kind}>'
        f'<figcaption>{caption} <a href="{href}">{path}</a><br><code>SHA-256 {clip.sha256}</code></figcaption></figure>'
    )


def _missing(page: Page, track: str, language: Language) -> list[str]:
    """A track's gaps, and what was damaged of it."""
    gaps = [_gap(g, language) for g in page.gaps if g.track == track]
    return gaps + [_hole(h, language) for h in page.holes if h.track == track]


def _hole(hole: Hole, language: Language) -> str:
    said = say(
        "Damaged after the seal and not on this disc: {path}, from {starts} to {ends}",
        language,
        path=hole.path,
        starts=hole.starts,
        ends=hole.ends,
    )
    return f'<p class="gap">{escape(said)}</p>'


def _gap(gap: Gap, language: Language) -> str:
    said = say(
        "Gap of {seconds} s from {starts} to {ends}: {cause}",
        language,
        seconds=f"{gap.seconds:.1f}",
        starts=gap.starts,
        ends=gap.ends,
        cause=gap.cause,
    )
    return f'<p class="gap">{escape(said)}</p>'


def doorway(language: Language) -> str:
    """The page beside the bag's tag files: leads to the real one."""
    title = escape(say("Open the record", language))
    return (
        '<!doctype html>\n<meta charset="utf-8">\n<meta http-equiv="refresh" content="0; url=data/index.html">\n'
        f'<title>{title}</title>\n<a href="data/index.html">{title}</a>\n'
    )
