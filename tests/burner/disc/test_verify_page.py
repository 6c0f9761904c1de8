"""verify.html: one file that asks for nothing from outside, and a script that judges a disc as HOW-TO-CHECK.txt does."""

import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from burner.disc.author import AuthorResult
from burner.disc.signing import RAW, SUMS
from burner.disc.verify_page import CODES, FOLDER, LIBRARY, SCRIPTS, script, verify_page
from recorder.evidence.signature import device_key, fingerprint, pem, public_key
from tests.burner.forgery import change_text, listed_anew, remake_lists, replace, sign_anew, swap_picture, unsign
from wording import text
from wording.times import instant_of

NODE = shutil.which("node")
with_node = pytest.mark.skipif(NODE is None, reason="node is not installed: the page's script is run by ./check --browsers alone")
RUN = Path(__file__).with_name("run_page.mjs")


class Tags(HTMLParser):
    """Every tag with its attributes, and what stands in scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.inside.setdefault(self._open, []).append(data)


@pytest.fixture(scope="module", params=["en", "zh"])
def html(request: pytest.FixtureRequest) -> str:
    return verify_page(request.param)


# the page as a text


def test_the_page_asks_for_nothing_from_outside(html: str) -> None:
    page = Tags(html)
    loading = {"src", "href", "srcset", "action", "data", "poster", "style", "background", "formaction", "ping"}
    assert [(tag, attrs) for tag, attrs in page.tags if loading & attrs.keys() or any(a.startswith("on") for a in attrs)] == []
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "form", "base", "svg"} == set()
    assert "url(" not in page.inside["style"][0] and "@import" not in page.inside["style"][0]


def test_its_policy_lets_its_own_script_and_style_run_and_nothing_else(html: str) -> None:
    page = Tags(html)
    [policy] = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]

    def digest(content: str) -> str:
        return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    texts, code = page.inside["script"]
    [style] = page.inside["style"]
    assert policy == (
        f"default-src 'none'; script-src {digest(code)}; style-src {digest(style)}; base-uri 'none'; form-action 'none'"
    )
    first = [tag for tag, _ in page.tags].index("script")
    assert [a for tag, a in page.tags if tag == "script"] == [{"id": "texts", "type": "application/json"}, {"type": "module"}]
    assert [tag for tag, a in page.tags if "http-equiv" in a] and first > 3, "the policy stands before what it is for"
    assert json.loads(texts).keys() == {"en", "zh"}


def test_nothing_becomes_markup_in_the_script() -> None:
    own = "".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS if name != LIBRARY)
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttp",
        "import(",
    ):
        assert word not in own, word
    assert "</script" not in script().lower() and "<!--" not in script()


def test_the_library_is_as_its_author_published_it() -> None:
    """noble-ed25519 3.2.0, index.js of the package; its licence goes with it."""
    assert hashlib.sha256((FOLDER / LIBRARY).read_bytes()).hexdigest() == LIBRARY_SHA256
    assert "Permission is hereby granted, free of charge" in script() and "Paul Miller" in script()


LIBRARY_SHA256 = "a4f631d1876b5d9e43a86cd71194ca27b5e1451edf4ba4db9a418f40a475569a"


def test_every_text_of_the_page_is_there_and_said() -> None:
    own = "".join((FOLDER / name).read_text("utf-8") for name in SCRIPTS if name != LIBRARY)
    template = (FOLDER.parent / "verify.html").read_text("utf-8")
    assert set(CODES) <= text.catalogue().keys() and sorted(CODES) == list(CODES)
    named = {code for code in re.findall(r'"([a-z]+(?:-[a-z0-9]+)*)"', own + template) if code in text.catalogue()}
    made = {f"web-not-checked-{what}" for what in ("key", "record", "packets", "hidden", "fingerprint")}
    made |= {f"web-fingerprint-{how}" for how in ("equal", "half", "other", "unreadable")}
    assert {code for code in named - set(CODES) if code.startswith("web-")} == {"web-needs-script"}, "said by the template alone"
    assert set(CODES) - named <= made <= set(CODES)
    assert {code for code in CODES if "{" in text.catalogue()[code]["en"]} <= set(re.findall(r'"([a-z-]+)"', own))


# its script


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.mjs"
    path.write_text(script(), encoding="utf-8")
    return path


def ran(module: Path, what: str, typed: str = "", asked: object = None) -> Any:
    assert NODE is not None
    run = subprocess.run(
        [NODE, str(RUN), str(module), what, typed],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


# RFC 8032, 7.1, tests 1 to 3: key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


def signatures() -> list[tuple[tuple[str, str, str], bool]]:
    """Vectors, and what a forger would try: another message, key or half of the signature, and S with the group's order added."""
    found = [(vector, True) for vector in RFC_8032]
    key, message, signature = RFC_8032[2]
    other = RFC_8032[1]
    s = int.from_bytes(bytes.fromhex(signature)[32:], "little") + ORDER
    found += [
        ((key, message + "00", signature), False),
        ((other[0], message, signature), False),
        ((key, message, signature[:64] + other[2][64:]), False),
        ((key, message, other[2][:64] + signature[64:]), False),
        ((key, message, signature[:64] + s.to_bytes(32, "little").hex()), False),
        ((key, message, "00" * 64), False),
        ((key, message, signature[:-2]), False),
    ]
    for n in range(8):
        own = Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)
        text = bytes(range(n * 31))
        found.append(((own.public_key().public_bytes_raw().hex(), text.hex(), own.sign(text).hex()), True))
    return found


@with_node
def test_digests_signatures_keys_and_lists_are_those_of_the_standards(module: Path) -> None:
    blob = bytes(n * 7 % 256 for n in range(1000))
    cuts = [[], [0], [1, 63, 64, 65], [55], [56], [64], [119, 120, 128], [999], [1000], [3, 3, 500]]
    digests = []
    for length, cut in [
        *((1000, cut) for cut in cuts),
        *((n, [n // 3]) for n in (0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129)),
    ]:
        data = blob[:length]
        places = [0, *cut, length]
        digests.append((data, [data[a:b].hex() for a, b in pairwise(places)]))
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    print_ = fingerprint(key.hex())
    compared = {
        "": "none",
        " ": "none",
        print_: "equal",
        print_.upper().replace(" ", ""): "equal",
        hashlib.sha256(key).hexdigest(): "equal",
        print_[:19]: "half",
        print_[:20]: "half",
        print_[:24]: "unreadable",
        "0" * 32: "other",
        print_.replace(" ", ":"): "equal",
        "xyz": "unreadable",
    }
    good = pem(key).decode()
    keys = [good, good.replace("\n", "\r\n"), good.replace("PUBLIC", "PRIVATE"), good[:60], "", good.replace("MCow", "MCox")]
    line = "0" * 64 + "  data/名 称.mp4\n"
    lists = {line: ["data/名 称.mp4"], "": [], line * 2: None, line[:-1]: None, line.replace("  ", " *"): None, "\\" + line: None}
    texts = {"{path} x {n} {none}": {"path": "a\u202eb\n{n}", "n": 3}}
    instants = ["2026-11-21T09:30:05.280+08:00", "EV20261121_001", "2026-11-21"]
    asked = {
        "digests": [(pieces, whole.hex()) for whole, pieces in digests],
        "signatures": [vector for vector, _ in signatures()],
        "compared": [(typed, key.hex()) for typed in compared],
        "keys": keys,
        "lists": [*lists],
        "texts": [*texts.items()],
        "instants": instants,
    }
    answer = ran(module, "vectors", asked=asked)
    assert answer["sha256"] == [hashlib.sha256(whole).hexdigest() for whole, _ in digests]
    assert answer["sha512"] == [hashlib.sha512(whole).hexdigest() for whole, _ in digests]
    for (vector, fits), (browser, _, page, by) in zip(signatures(), answer["signatures"], strict=True):
        assert (browser, page, by) == (fits, fits, "page"), vector
    assert answer["compared"] == [*compared.values()]
    assert answer["keys"] == [key.hex(), key.hex(), None, None, None, None]
    assert answer["lists"] == [*lists.values()]
    assert answer["instants"] == [[instant_of(each, "zh"), instant_of(each, "en")] for each in instants[:1]] + [
        [each, each] for each in instants[1:]
    ]
    assert answer["texts"] == ["a\\u202eb\\u000a{n} x 3 {none}"]


# what it says of discs


@pytest.fixture(scope="module")
def disc(authored: tuple[Path, AuthorResult], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disc's files; not to be changed."""
    folder = tmp_path_factory.mktemp("disc") / "EV"
    subprocess.run(["7z", "x", "-y", f"-o{folder}", str(authored[1].path)], check=True, capture_output=True)
    return folder


@pytest.fixture
def folder(disc: Path, tmp_path: Path) -> Path:
    return shutil.copytree(disc, tmp_path / "disc")


@pytest.fixture(scope="module")
def told(sealed_root: Path) -> str:
    key = public_key(sealed_root / "keys")
    assert key is not None
    return fingerprint(key.hex())


@with_node
def test_a_whole_disc_agrees(module: Path, disc: Path, told: str) -> None:
    found = ran(module, str(disc), told)
    assert found["answer"] == {"says": "yes", "code": "web-answer-trusted", "values": {}}
    assert {each["kind"] for each in found["findings"]} == {"good"}
    signed = [each["values"]["path"] for each in found["findings"] if each["code"] == "web-record-signed"]
    assert signed == ["data/delivery.json", "data/journal.head.txt", "data/manifest.json"]
    assert dict(found["facts"])["web-label"] == "EV20261121_001" and dict(found["facts"])["case-number"] == "温市监〔2026〕88号"
    assert found["read"][0] == found["read"][1] == sum(p.stat().st_size for p in disc.rglob("*") if p.is_file())
    alone = ran(module, str(disc))["answer"]
    assert alone == {"says": "unknown", "code": "web-answer-signed", "values": {"key": told}}
    assert ran(module, str(disc), "0" * 32)["answer"]["code"] == "web-answer-other-key"


def drop(folder: Path) -> None:
    (folder / "data" / "originals" / "closeup-02.mp4").unlink()


def add(folder: Path) -> None:
    (folder / "autorun.inf").write_text("?")


def change_list(folder: Path) -> None:
    swap_picture(folder)
    listed_anew(folder)


def add_to_a_list(folder: Path) -> None:
    change_text(folder / "tagmanifest-sha256.txt", "  index.html\n", "  index.html\ncut by order of the court\n")


@with_node
@pytest.mark.parametrize(
    ("forge", "problems"),
    [
        (swap_picture, [("web-file-changed", "data/originals/overview-01.mp4")]),
        (drop, [("web-file-missing", "data/originals/closeup-02.mp4")]),
        (add, [("web-file-added", "autorun.inf")]),
        (change_list, [("web-signature-wrong", SUMS), ("web-signature-wrong", "data/delivery.json")]),
        (lambda f: replace(f / SUMS, b"nothing\n"), [("web-list-unreadable", SUMS), ("web-signature-wrong", SUMS)]),
        (lambda f: (f / f"{SUMS}{RAW}").unlink(), [("web-file-missing", f"{SUMS}{RAW}")]),
        (lambda f: (f / "device.pub").unlink(), [("web-file-missing", "device.pub")]),
        (lambda f: replace(f / "data" / "delivery.sig", b"{}"), [("web-signature-wrong", "data/delivery.sig")]),
        (add_to_a_list, [("web-archive-list-differs", "tagmanifest-sha256.txt")]),
        (lambda f: replace(f / "data" / "delivery.json", b"[" * 300_000), [("web-list-unreadable", "data/delivery.json")]),
    ],
)
def test_a_forged_disc_has_a_named_problem(
    module: Path, folder: Path, told: str, forge: Callable[[Path], object], problems: list[tuple[str, str]]
) -> None:
    forge(folder)
    found = ran(module, str(folder), told)
    told_of = [(each["code"], each["values"].get("path")) for each in found["findings"] if each["kind"] == "problem"]
    assert found["answer"]["code"] == "web-answer-disagrees" and set(problems) <= set(told_of), told_of


@with_node
def test_a_disc_that_another_key_signed_is_told_by_the_fingerprint(module: Path, folder: Path, told: str, tmp_path: Path) -> None:
    swap_picture(folder)
    forger = device_key(tmp_path / "forger")
    sign_anew(folder, forger)
    assert ran(module, str(folder), told)["answer"] == {"says": "no", "code": "web-answer-other-key", "values": {}}
    problems = [each for each in ran(module, str(folder))["findings"] if each["kind"] == "problem"]
    assert [each["values"]["path"] for each in problems] == ["data/journal.head.txt", "data/manifest.json"], "not by that key"


@with_node
def test_a_disc_that_nobody_signed_and_a_folder_that_is_none(module: Path, folder: Path, tmp_path: Path) -> None:
    unsign(folder)
    remake_lists(folder)
    assert ran(module, str(folder))["answer"] == {"says": "unknown", "code": "web-answer-unsigned", "values": {}}
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("?")
    assert ran(module, str(tmp_path / "empty")) == {"error": "NoList"}
