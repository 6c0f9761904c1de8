"""What the documents say of the product is so: links, commands, exit codes, sections, checks, clauses and paths."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli import build_parser
from agent.config.model import Camera, Config
from agent.feed.watch import PASSWORD, USER
from agent.logs import LEVEL
from agent.selfcheck.runner import CHECKS
from wording import Exit

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"demo-out", "build", "node_modules"}
FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_OUT]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


DOCUMENTS = documents()
EACH = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """The text without its code."""
    return SPAN.sub("", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """What a link may point to: each heading in small letters, without punctuation, with - for each space."""
    headings = re.findall(r"^#+ +(.*?) *$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    [found] = re.findall(rf"^## {re.escape(heading)}$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables, without their backquotes; head and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for number, line in enumerate(lines):
        rule = re.fullmatch(r"[|\- ]+", line) or (number + 1 < len(lines) and re.fullmatch(r"[|\- ]+", lines[number + 1]))
        if not rule:
            yield [cell.strip().strip("`") for cell in line.strip("|").split("|")]


def test_the_documents_that_a_reader_expects_are_there() -> None:
    names = {str(path.relative_to(ROOT)) for path in DOCUMENTS}
    assert {"README.md", "README.zh-CN.md", "CHANGELOG.md", "docs/operations.md", "docs/architecture.md"} <= names
    assert read("LICENSE").split("\n", 2)[1].strip() == "Apache License"


@EACH
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (path.parent / name).resolve() if name else path
        assert goal.exists(), f"{target} does not exist"
        assert goal.is_relative_to(ROOT), f"{target} lies outside the project"
        assert not anchor or anchor in anchors(goal.read_text(encoding="utf-8")), f"{target} has no such heading"


@EACH
def test_no_document_names_a_path_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"/(?:work|home|root|tmp|Users)/\S*", text)
    assert str(ROOT) not in text or str(ROOT) == "/"


CALL = re.compile(r"(?:[A-Z_]+=\S+ |sudo -u room-agent )*room-agent (?=.)")


def called(line: str) -> list[str] | None:
    """The arguments of a call of the product, None where the line is none."""
    call = CALL.match(line)
    return shlex.split(line[call.end() :], comments=True) if call else None


def commands(text: str) -> list[list[str]]:
    """The arguments of every ``room-agent …`` in the blocks of code."""
    lines = [line for _, block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := called(line.strip())) is not None]


def understood(words: list[str]) -> bool:
    """By the product's own parser; --help, which it answers, included."""
    try:
        build_parser("en").parse_args(words)
    except SystemExit as end:
        return end.code == 0
    return True


@EACH
def test_every_command_shown_is_one_of_the_product(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [shlex.join(words) for words in commands(text) if not understood(words)]
    spans = [words for span in SPAN.findall(FENCE.sub("", text)) if "…" not in span and (words := called(span)) is not None]
    named = [words for words in spans if not any(word.startswith("-") for word in words)]
    assert not [shlex.join(words) for words in named if not understood([*words, "--help"])]
    assert not [shlex.join(words) for words in spans if words not in named and not understood(words)]


def test_the_commands_of_an_interview_are_shown() -> None:
    wanted = {"selfcheck", "session start", "session status", "session stop", "transcript attach", "disc burn", "verify"}
    for path in ("README.md", "README.zh-CN.md", "docs/operations.md"):
        shown = [" ".join(words) for words in commands(read(path))]
        assert not {name for name in wanted if not any(line.startswith(name) for line in shown)}, path


def test_both_readmes_show_the_same() -> None:
    english, chinese = read("README.md"), read("README.zh-CN.md")
    assert FENCE.findall(english) == FENCE.findall(chinese)
    assert [t for t in LINK.findall(english) if "README" not in t] == [t for t in LINK.findall(chinese) if "README" not in t]
    for marks in (r"^## ", r"^- ", r"^ *\d+\. ", r"^\|"):
        assert len(re.findall(marks, english, re.MULTILINE)) == len(re.findall(marks, chinese, re.MULTILINE)), marks


def test_the_table_of_exit_codes_is_the_product_s() -> None:
    table = {int(code): name for code, name, _ in rows(section(read("docs/operations.md"), "Exit codes"))}
    assert table == {int(code): code.name for code in Exit}


def test_operations_name_every_section_of_the_configuration() -> None:
    expected = {f"[{name}]" for name in Config.model_fields if name != "camera"}
    cameras = Config.model_fields["camera"].default
    expected |= {f"[camera.{name}]" for name in type(cameras).model_fields if isinstance(getattr(cameras, name), Camera)}
    text = section(read("docs/operations.md"), "Configuration")
    named = {span for cells in rows(text) for span in re.findall(r"\[[a-z.]+\]", cells[0])}
    assert named == expected


def test_operations_explain_every_check_and_whether_it_is_required() -> None:
    table = {check: required for check, _, required in rows(section(read("docs/operations.md"), "The self-check"))}
    said = {}
    for check in CHECKS:
        first, second = (check.required(Config.model_validate({"room": {"class": number}})) for number in (1, 2))
        said[check.id] = "yes" if second else "in class 1" if first else "no"
    assert table == said


def test_operations_name_every_environment_variable() -> None:
    text = section(read("docs/operations.md"), "Logs")
    assert not [name for name in (LEVEL, USER, PASSWORD) if f"`{name}`" not in text]


def test_every_clause_of_a_check_is_a_duty_in_the_register() -> None:
    known = {
        clause for cells in rows(read("docs/requirements.md")) for clause in re.findall(r"[A-Z]-[\d.]+(?:\(\d+\))?", cells[0])
    }
    assert {"W-7.3.5", "W-8.1.3", "G-26"} <= known
    assert not {clause for check in CHECKS for clause in check.clauses} - known


def test_every_duty_says_whether_it_is_met() -> None:
    duties = list(rows(read("docs/requirements.md")))
    assert len(duties) > 30
    for cells in duties:
        assert cells[2] in ("met", "in part", "not yet"), cells[0]
        assert cells[3] or cells[2] == "not yet", cells[0]


def places(text: str) -> Iterator[str]:
    """The paths that "Where is what" names: a folder, then items between ·, each with its names first, as ``a, b/ meaning``."""
    [(_, block)] = FENCE.findall(section(text, "Where is what"))
    for folder, items in re.findall(r"^([a-z]+/) +(.*?)(?=^[a-z]+/ |\Z)", block, re.MULTILINE | re.DOTALL):
        yield folder
        for item in re.split(r" · *", " ".join(items.split())):
            names = re.match(r"[\w.-]+/?(?:, [\w.-]+/?)*(?= |$)", item)
            assert names, f"{folder}: {item!r} begins with no name"
            yield from (folder + name for name in names.group().split(", "))


def test_everything_in_the_architecture_s_map_exists() -> None:
    found = list(places(read("docs/architecture.md")))
    assert len(found) > 60
    wrong = [p for p in found if not any((ROOT / (p + end)).exists() for end in ("", ".py", ".md", ".yaml"))]
    assert not wrong
