"""What a person reads: every template has its Chinese, every translation its template, and every fault travels whole."""

import ast
import json
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from drivers.faults import DeviceAbsent
from recorder.transcript.comparing import VerdictWord
from tests.wording.templates import ROOT, Source, Use
from wording import Exit, Fault, say, text, translate

PACKAGES = ("agent", "burner", "recorder", "drivers")

# Texts that are stored in English and said when they are read again: collected where they are written…
STORED = (("recorder.evidence.continuity", "Gap", "cause"), ("recorder.transcript.finding", "Verdict", "verdict"))
# …and so need not be followed where they are read.
READ_AGAIN = {
    "agent/commands/session.py: json.loads(_read_line(connection, timeout_s))": "a verdict, its reasons Sentences",
    "agent/config/problems.py: str(error['ctx']['error'])": "a ValueError of agent/config/model.py: see VALIDATORS",
    "burner/check/disc.py: str(attached[-1].get('verdict'))": "a verdict",
    "recorder/evidence/continuity.py: str(entry.get('cause') or UNKNOWN)": "a fault's own English, or a Gap's cause",
    "recorder/evidence/continuity.py: str(fault.get('text'))": "a journalled fault",
    "recorder/evidence/continuity.py: str(gap['cause'])": "a Gap's cause",
    "recorder/verify/session.py: str(expected.get('verdict'))": "a verdict",
    "recorder/verify/session.py: str(problem['text'])": "a problem of the manifest, stored as a Sentence",
}
VALIDATORS = "agent/config/model.py"  # pydantic carries the texts of its ValueErrors to agent/config/problems.py
ENGLISH_ONLY = ("agent/schemas/",)  # documents for engineers


def constants(path: Path) -> Iterator[ast.Constant]:
    """The texts of a file that are values: no docstrings, no pieces of f-strings, no descriptions of configuration keys."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            skipped.update(ast.walk(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("entry", "Field"):
            skipped.update(a for a in (*node.args[1:2], *(k.value for k in node.keywords if k.arg == "description")))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node


def validators() -> list[Use]:
    """The texts of ValueErrors that pydantic carries on."""
    path = ROOT / VALIDATORS
    raised = [n.exc for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Raise)]
    return [
        Use(str(argument.value), f"{VALIDATORS}:{call.lineno}")
        for call in raised
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "ValueError"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(PACKAGES, STORED)


@pytest.fixture(scope="module")
def uses(source: Source) -> list[Use]:
    verdicts = [Use(word, "recorder/transcript/finding.py") for word in (*get_args(VerdictWord), "excepted")]
    return [*source.uses, *validators(), *verdicts]


def fields(template: str) -> set[str]:
    """Names of a template's {fields}."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None and name.isidentifier()}


def speaks(template: str) -> bool:
    """Whether anything is left to translate besides the fields."""
    return bool(re.search(r"[A-Za-z]", re.sub(r"{[^}]*}", "", template)))


def test_every_template_is_followed_to_where_it_is_written(source: Source) -> None:
    unknown = {expression: place for expression, place in source.unfollowed.items() if expression not in READ_AGAIN}
    assert not unknown, "a template must be a text in the code, or in a table there"
    assert set(READ_AGAIN) <= set(source.unfollowed), "no longer needed"


def test_every_template_has_its_chinese(uses: list[Use]) -> None:
    missing = {use.template: use.place for use in uses if speaks(use.template) and use.template not in text.catalogue()}
    assert not missing


def test_every_sentence_in_the_code_is_one_that_can_be_said(uses: list[Use]) -> None:
    said = {use.template for use in uses}
    files = [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py"))]
    reads_as_a_sentence = re.compile(r"[A-Z{`].* .*[.:]", re.DOTALL)
    lost = [
        f"{path.relative_to(ROOT)}:{constant.lineno}: {constant.value!r}"
        for path in files
        if not str(path.relative_to(ROOT)).startswith(ENGLISH_ONLY)
        for constant in constants(path)
        if constant.value not in said and reads_as_a_sentence.fullmatch(str(constant.value))
    ]
    assert not lost, "it reaches nobody in Chinese"


def test_no_translation_is_dead(uses: list[Use]) -> None:
    assert text.catalogue().keys() <= {use.template for use in uses}


def test_a_translation_has_the_fields_of_its_template() -> None:
    differing = {e: c for e, c in text.catalogue().items() if fields(e) != fields(c)}
    assert not differing
    assert all(chinese.strip() for chinese in text.catalogue().values())


def test_every_field_of_a_template_is_filled_in(source: Source) -> None:
    bare = [
        f"{use.place}: {sorted(fields(use.template) - use.given)} of {use.template!r}"
        for use in source.uses
        if use.given is not None and not fields(use.template) <= use.given
    ]
    assert not bare
    assert sum(use.given is not None for use in source.uses) > 500, "most places can be told"


BROKEN = """
from wording import Fault, say

MENDS = {"cable": "Plug it in.", "power": "Switch {name} on."}


class Gone(Fault):
    pass


class Line:
    def __init__(self, template):
        self.template = template

    def show(self, language):
        return say(self.template, language)


def refuse(text, /, **values):
    raise Gone(text, MENDS["cable"], **values)


def use(name, kind, other):
    text = "One." if kind else "Two {name}."
    refuse("Three " "{name}.", nam=name)
    refuse(text, **other)
    Line("Four.").show("zh")
    for word, told in (("a", "Five."), ("b", "Six.")):
        say(told, "zh")
    raise Fault(f"Seven {name}.", MENDS.get(kind, "Eight."))
"""


def test_the_collector_sees_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "up.py").write_text(BROKEN)
    (tmp_path / "wording").symlink_to(ROOT / "wording")
    found = Source(["made"], root=tmp_path)
    numbers = {"One.", "Two {name}.", "Three {name}.", "Four.", "Five.", "Six.", "Eight."}
    assert {use.template for use in found.uses} == numbers | {"Plug it in.", "Switch {name} on."}
    assert list(found.unfollowed) == ["made/up.py: f'Seven {name}.'"]
    assert [fields(u.template) - u.given for u in found.uses if u.template.startswith("Three") and u.given] == [{"name"}]


# text.py


def test_an_unknown_template_is_shown_in_english() -> None:
    assert say("Nobody translated {what}.", "zh", what="this") == "Nobody translated this."
    assert translate("Nobody translated {what}.", "zh") == "Nobody translated {what}."


def test_a_template_without_values_keeps_its_braces() -> None:
    assert say('Send {"command": …}.', "en") == 'Send {"command": …}.'


def test_say_fills_both_languages() -> None:
    template, values = "{path} cannot be written: {why}.", {"path": "/数据/a b", "why": "{full}"}
    assert say(template, "en", **values) == "/数据/a b cannot be written: {full}."
    assert say(template, "zh", **values) == "无法写入 /数据/a b：{full}。"


def test_two_files_may_agree_and_must_not_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CATALOGUE", tmp_path)
    (tmp_path / "a.toml").write_text('"One." = "一。"\n', encoding="utf-8")
    (tmp_path / "b.toml").write_text('"One." = "一。"\n"Two." = "二。"\n', encoding="utf-8")
    text.catalogue.cache_clear()
    try:
        assert text.catalogue() == {"One.": "一。", "Two.": "二。"}
        (tmp_path / "c.toml").write_text('"Two." = "两。"\n', encoding="utf-8")
        text.catalogue.cache_clear()
        with pytest.raises(ValueError, match=r"c\.toml: a second translation of 'Two\.'"):
            text.catalogue()
    finally:
        monkeypatch.undo()
        text.catalogue.cache_clear()


# fault.py


def test_a_fault_says_what_is_wrong_and_what_to_do() -> None:
    fault = DeviceAbsent("There is no session {name}.", "Give more of its id.", name="甲")
    assert str(fault) == "There is no session 甲. Give more of its id."
    assert (fault.say("zh"), fault.say_mend("zh")) == ("没有会话 甲。", "请多输入几位编号。")
    assert fault.exit_code is Exit.DEVICE
    assert DeviceAbsent("a", "b", exit_code=Exit.NO).exit_code is Exit.NO


@pytest.mark.parametrize(
    "values",
    [{}, {"n": 3, "share": 0.5, "good": True, "path": Path("/数据/a b"), "why": OSError(28, "full")}],
)
def test_a_fault_travels_as_json_and_is_the_same(values: dict[str, Any]) -> None:
    fault = DeviceAbsent("{path} cannot be written: {why}." if values else "No session is running.", "Check the name.", **values)
    back = Fault.from_dict(json.loads(json.dumps(fault.as_dict())))
    assert (back.text, back.mend, back.exit_code) == (fault.text, fault.mend, Exit.DEVICE)
    assert [back.say("en"), back.say("zh"), back.say_mend("zh")] == [fault.say("en"), fault.say("zh"), fault.say_mend("zh")]
    assert back.as_dict() == fault.as_dict()
    assert {k: type(v) for k, v in back.values.items() if k in ("n", "share", "good")} == {
        k: type(v) for k, v in values.items() if k in ("n", "share", "good")
    }


def test_a_fault_of_another_version_is_shown_as_far_as_it_goes() -> None:
    back = Fault.from_dict({"text": "A newer {thing}.", "mend": "Mend it.", "values": {"thing": "fault"}})
    assert (back.say("zh"), back.exit_code) == ("A newer fault.", Exit.DEFECT)
    assert Fault.from_dict({"text": "Bare.", "mend": "Mend it.", "values": "none"}).say() == "Bare."
    with pytest.raises(KeyError):
        Fault.from_dict({"mend": "Mend it."})


def test_wording_stands_alone() -> None:
    """Every process says faults: it must cost nothing to load."""
    code = (
        "import sys, wording; print([m for m in sys.modules if m.split('.')[0] in ('agent', 'recorder', 'drivers', 'pydantic')])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout.strip() == "[]"
