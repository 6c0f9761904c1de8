"""What the documents say of the product is so: links, commands, exit codes, sections, checks, clauses and paths."""

import ast
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.authority.gate import ACTS
from agent.cli import build_parser
from agent.config.model import CameraSection, Config
from agent.feed.contract import CHANNELS
from agent.feed.contract import ROOT as TOPICS
from agent.feed.watch import PASSWORD, USER
from agent.logs import LEVEL
from agent.selfcheck.runner import CHECKS
from recorder.session.lines import KINDS
from wording import Exit

ROOT = Path(__file__).parents[1]
SOURCES = {"agent", "bench", "burner", "docs", "drivers", "recorder", "systemd", "tests", "wording"}
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
    assert {
        "README.md",
        "README.zh-CN.md",
        "CHANGELOG.md",
        "docs/operations.md",
        "docs/architecture.md",
        "docs/development.md",
        "docs/glossary.md",
    } <= names
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
    assert not re.findall(r"(?<![\w.])/(?:work|home|root|tmp|Users)/\S*", text)
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


def test_operations_say_who_may_do_what_as_the_gate_does(capsys: pytest.CaptureFixture[str]) -> None:
    table = list(rows(section(read("docs/operations.md"), "Who may do what")))
    assert {act: who for act, _, who in table} == ACTS
    for act, shown, _ in table:
        command, *options = SPAN.findall(f"`{shown}`")
        assert understood([*command.split(), "--help"]), act
        text = capsys.readouterr().out
        assert not [option for option in options if option not in text.split()], act


OF_ANOTHER_COMMAND = {"session.override", "disc.extra"}  # acts that an argument of another command asks for


def test_formats_give_every_command_to_the_agent_and_who_may_give_it() -> None:
    table = {command: who for command, who, *_ in rows(section(read("docs/formats.md"), "Commands to the agent"))}
    assert ACTS.keys() - OF_ANOTHER_COMMAND <= table.keys()
    assert {act: table[act] for act in ACTS if act in table} == {act: who for act, who in ACTS.items() if act in table}
    assert table.keys() - ACTS.keys() == {"session.status", "disc.authored"}


def test_formats_give_every_kind_of_line_that_a_journal_s_reader_knows() -> None:
    text = section(read("docs/formats.md"), "Journals")
    in_every_journal = SPAN.findall(text.partition("\n|")[0])
    named = {kind for cells in rows(text) for kind in re.findall(r"[a-z-]+", cells[0])}
    assert not KINDS.keys() - named.union(in_every_journal)


PLACE = re.compile(r"(?:agent|burner|recorder|wording|drivers|systemd|tests|bench|docs)/[\w./@-]*")


@pytest.mark.parametrize("path", ["docs/formats.md", "docs/operations.md", "docs/feed.md", "README.md", "README.zh-CN.md"])
def test_every_file_of_the_project_that_is_named_is_there(path: str) -> None:
    named = [span for span in SPAN.findall(FENCE.sub("", read(path))) if PLACE.fullmatch(span)]
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_operations_name_every_section_of_the_configuration() -> None:
    expected = {f"[{name}]" for name in Config.model_fields if name != "camera"}
    cameras = Config.model_fields["camera"].default
    expected |= {f"[camera.{name}]" for name in type(cameras).model_fields if isinstance(getattr(cameras, name), CameraSection)}
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


def test_the_broker_s_access_list_lets_a_room_write_topics_that_exist() -> None:
    written = re.findall(rf"^pattern write {TOPICS}/%u/([a-z]+)", read("docs/mqtt/acl"), re.MULTILINE)
    assert "health" in written
    assert not [name for name in written if name not in CHANNELS or not CHANNELS[name].from_room]


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


PACKAGES = ("agent", "burner", "drivers", "recorder", "wording")
ROOMS = sorted(path.parent for name in PACKAGES for path in (ROOT / name).rglob("__init__.py"))
EACH_ROOM = pytest.mark.parametrize("room", ROOMS, ids=lambda p: str(p.relative_to(ROOT)))


def said_of(room: Path) -> str:
    """The docstring of a package."""
    return ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    found = re.match(r".+?\.(?=\s|$)", text, re.DOTALL)
    return " ".join(found.group().split()) if found else ""


def test_the_table_of_rooms_is_what_the_packages_say_of_themselves() -> None:
    table = [(room, said) for room, said in rows(section(read("docs/architecture.md"), "Rooms"))]
    assert table == [(f"{room.relative_to(ROOT)}/", first_sentence(said_of(room))) for room in ROOMS]
    assert len(table) > 30 and all(said for _, said in table)


@EACH_ROOM
def test_the_modules_that_a_room_s_docstring_names_are_in_it(room: Path) -> None:
    functions = set(re.findall(r"^def (\w+)", (room / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE))
    there = {path.stem for path in room.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not set(re.findall(r"``([a-z_]+)``", said_of(room))) - there - functions


# Documents for whoever changes the code: each file and each test that they name is there.
OF_THE_CODE = ("architecture", "continuity", "development", "glossary", "performance", "requirements", "threat-model")


@pytest.mark.parametrize("name", OF_THE_CODE)
def test_every_file_and_test_that_a_document_names_exists(name: str) -> None:
    every = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.*")]
    tests = {test for path in every if path.suffix == ".py" for test in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    spans = set(SPAN.findall(FENCE.sub("", read(f"docs/{name}.md"))))
    files = {span for span in spans if re.fullmatch(r"[\w./-]+\.(?:py|toml|c)", span)}
    alone = {path.name for path in every}  # a name without a folder is enough where the folder was named before it
    assert not {file for file in files if not (ROOT / file).exists() and file not in alone}
    assert not {span for span in spans if re.fullmatch(r"test_\w+", span)} - tests
    folders = {span for span in spans if re.fullmatch(r"(?:[\w.-]+/)+", span) and span.split("/")[0] in SOURCES}
    assert not {folder for folder in folders if not (ROOT / folder).is_dir()}
