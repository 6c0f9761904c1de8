"""Every code has its text in both languages and every text its code; nothing out of a file is trusted on the way to a reader."""

import ast
import hashlib
import json
import re
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from drivers.faults import DeviceAbsent
from recorder.session.record import Verdict
from tests import conftest
from tests.wording.source import ROOT, constants, page_constants, page_uses, sources, uses
from wording import Exit, Fault, Shown, say, shown, text
from wording.border import NotGiven, directs, given, given_or_nothing, joined, laid_out
from wording.sentence import MOST_CHARACTERS, MOST_VALUES, Sentence

CATALOGUE = text.catalogue()
SOURCES = sources()
NO_CODES = {"interview-room-agent", "outbox-in-memory", "utf-8-sig"}  # which look like one
# Only files of version 0.1.0 lead to these.
NO_LONGER_SAID = {
    "check-data-disk-and-retry",
    "check-whether-camera-was-replaced",
    "clock-off-from-time-server",
    "name-drive-by-option-or-configuration",
    "pc-clock-unsynchronised-recordings-noted",
    "set-rtsp-login-to-md5",
    "set-up-chrony-with-time-server",
    "step-clock-with-chrony",
    "transcript-arrived-incomplete",
}
# Files of version 0.1.0 are read by this table for as long as there are any: it never changes, and neither does this sum.
BEFORE_SHA256 = "bca22e8698553c0a840a0bec326a89181db50179c2b70e287c192f56fb433f35"


def fields(template: str) -> set[str]:
    """Names of a template's {fields}."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None and name.isidentifier()}


# the catalogue and the source


def test_every_text_is_used() -> None:
    assert CATALOGUE.keys() - constants(SOURCES).keys() - page_constants() == NO_LONGER_SAID
    assert set(tomllib.loads(text.BEFORE.read_text("utf-8")).values()) >= NO_LONGER_SAID


def test_no_sentence_stands_in_the_code() -> None:
    """It would reach nobody in Chinese."""
    sentence = re.compile(r"[A-Z{`].* .*[.:]", re.DOTALL)
    found = {place: value for value, place in constants(SOURCES).items() if sentence.fullmatch(value)}
    assert {place: value for place, value in found.items() if not place.startswith("agent/feed/contract/")} == {}
    assert found, "the contract of the feed is for engineers"


def test_every_code_has_its_text() -> None:
    found = [*uses(SOURCES), *page_uses()]
    assert [f"{use.place}: {use.code}" for use in found if use.code not in CATALOGUE] == []
    told = [use for use in found if use.given is not None]
    assert [f"{u.place}: {u.code}" for u in told if u.given is not None and not fields(CATALOGUE[u.code]["en"]) <= u.given] == []
    assert len(found) > 850 and len(told) > 700, "most places can be told"
    in_tables = {value for value in constants(SOURCES) if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){2,}", value)}
    assert in_tables - CATALOGUE.keys() == NO_CODES
    assert {*get_args(Verdict), "excepted"} <= CATALOGUE.keys()


MADE_UP = """
COMPARE = "compare"
class Gone(Fault): pass
class Own(Gone):
    def __init__(self, n): super().__init__("own", COMPARE, n=n)
def use(name, kind, context, values):
    text, mend = "two", "three"
    raise Gone(text, mend if kind else "four", name=name)
    context.say("five", **values), Own(6), Sentence("seven", {"a": 1}), say(f"no {say('eight', 'zh')} {name}"), fault.say("zh")
    other = "nine"
    other = "ten"
    return note(other, b=2), good(name), problem("path", "eleven")
"""


def test_the_source_is_read_as_it_should_be() -> None:
    found = {use.code: use.given and set(use.given) for use in uses({"made/up.py": ast.parse(MADE_UP)})}
    told = {"own": {"n"}, "compare": {"n"}, "two": {"name"}, "three": {"name"}, "four": {"name"}, "seven": {"a"}}
    untold = dict.fromkeys(("five", "nine", "ten"))
    assert found == {**told, **untold, "eight": set(), "eleven": {"path"}}


def test_every_text_has_both_languages() -> None:
    for code, texts in CATALOGUE.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert texts.keys() == {"en", "zh"} and texts["en"].strip() and texts["zh"].strip(), code
        assert fields(texts["en"]) == fields(texts["zh"]), code


def test_no_code_stands_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "CATALOGUE", tmp_path)
    (tmp_path / "a.toml").write_text('[one]\nen = "One."\nzh = "一。"\n', encoding="utf-8")
    (tmp_path / "b.toml").write_text('[two]\nen = "Two."\nzh = "二。"\n', encoding="utf-8")
    assert text.catalogue.__wrapped__() == {"one": {"en": "One.", "zh": "一。"}, "two": {"en": "Two.", "zh": "二。"}}
    (tmp_path / "c.toml").write_text('[two]\nen = "Two."\nzh = "二。"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"c\.toml: 'two' stands in another file already"):
        text.catalogue.__wrapped__()


def test_the_table_of_version_0_1_0_never_changes() -> None:
    data = text.BEFORE.read_bytes()
    assert set(tomllib.loads(data.decode()).values()) <= CATALOGUE.keys()
    assert hashlib.sha256(data).hexdigest() == BEFORE_SHA256


@pytest.mark.unknown_code
def test_the_suite_notices_a_code_that_nobody_knows() -> None:
    said = [say("known-to-nobody", "en", n=1), say("actual-value-is", "zh", wrong="x")]
    assert conftest.bare_codes == said == ["known-to-nobody (n=1)", "actual-value-is (wrong=x)"]


# what a person is shown


@pytest.mark.parametrize(
    "bad", [*"\x00\x1b\x7f\x85\n\r\t\u2028\u2029\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ud83d\udc00"], ids=ascii
)
def test_what_controls_a_terminal_or_turns_a_text_is_escaped(bad: str) -> None:
    escaped = f"a\\u{ord(bad):04x}b"
    told = shown(f"a{bad}b")
    assert (told, type(told), shown(told)) == (escaped, Shown, escaped)
    assert say("actual-value-is", "en", value=f"a{bad}b") == f"It is {escaped}."
    assert laid_out("[{x}] {n:03d}", x=f"a{bad}b", n=7) == f"[{escaped}] 007"
    assert json.loads(f'"{told}"') == f"a{bad}b"


def test_all_other_text_is_shown_as_it_is() -> None:
    assert shown("温综执〔2026〕1号 é 😀 {x} % \\") == "温综执〔2026〕1号 é 😀 {x} % \\"
    assert shown(Path("/数据")) == "/数据" and shown(None) == "None"
    assert not any(directs(chr(n)) for n in range(0x10000, 0x110000)), "an escape has four digits"


def test_what_is_made_of_shown_texts_is_not_escaped_again() -> None:
    two = joined("\n", [shown("a\x1b"), shown("b")])
    assert (two, type(two), type(laid_out("{x}", x=two))) == ("a\\u001b\nb", Shown, Shown)
    assert shown(two) is two and laid_out("  {x}", x=two) == f"  {two}"
    assert say("actual-value-is", "en", value=two) == f"It is {two}."


def test_a_text_from_outside_is_bounded_and_whole() -> None:
    assert given("甲", most=1) == "甲"
    for value, most, reason in ((5, 9, "type"), (None, 9, "type"), ("ab", 1, "length"), ("a\ud83d", 9, "encoding")):
        with pytest.raises(NotGiven, match=reason):
            given(value, most=most)
    assert [given_or_nothing(v, most=2) for v in ("abc", 5, "\udc00")] == ["ab", "", ""]


# say


def test_say_fills_both_languages_and_translates_the_system_s_words() -> None:
    values = {"path": "/数据/a b", "why": "{full}"}
    assert say("file-not-writable", "en", **values) == "/数据/a b cannot be written: {full}."
    assert say("file-not-writable", "zh", **values | {"why": "No space left on device"}) == "无法写入 /数据/a b：磁盘已满。"
    assert say("send-json-command-line", "en").startswith('Send {"command": '), "without values its braces stay"
    assert say("", "zh") == ""


@pytest.mark.unknown_code
@pytest.mark.parametrize("code", ["{0.__class__}", "{value.__class__.__init__.__globals__}", "{", "%s", "a\x1b[31m"])
def test_nothing_out_of_a_file_is_a_template(code: str) -> None:
    assert say(code, "en") == shown(code)
    assert say(code, "zh", value="x") == f"{shown(code)} (value=x)"
    assert say("actual-value-is", "en", value=code) == f"It is {shown(code)}."
    assert Sentence.from_json({"text": code, "values": {"value": "x"}}).say() == f"{shown(code)} (value=x)"
    assert str(Fault.from_dict({"text": code, "mend": code})) == f"{shown(code)} {shown(code)}"


@pytest.mark.unknown_code
@pytest.mark.parametrize("value", ["abc", None, [1], {}, "\u202e", Sentence("x"), float("nan"), True, 10**300])
def test_values_that_do_not_fit_are_shown_beside_the_code(value: object) -> None:
    told = say("seconds-measured", "en", seconds=value)
    assert told.endswith(" s") or told == f"seconds-measured (seconds={shown(str(value))})"
    assert say("seconds-measured", "en", minutes=value).startswith("seconds-measured (minutes=")


@pytest.mark.unknown_code
def test_an_unknown_code_is_bounded() -> None:
    told = say("c\n" * 5000, "en", **{f"v{n}": "\x1b" * 5000 for n in range(100)})
    assert told.count("=") == 8 and len(told) < 20_000 and told.isprintable()


@pytest.mark.unknown_code
@pytest.mark.parametrize("number", range(4))
def test_what_a_hostile_file_may_hold(number: int) -> None:
    """A number too large for a float, a value called as an argument is, names of values without end, truth for a number."""
    if number == 0:
        assert say("seconds-measured", "en", seconds=10**400).startswith("seconds-measured (seconds=1000")
    elif number == 1:
        assert Fault.from_dict({"code": "x", "values": {"exit_code": 5}}).exit_code is Exit.DEFECT
    elif number == 2:
        assert len(Sentence.from_json({"code": "x", "values": {"k" * 100_000: 1}}).say()) < 20_000
    else:
        assert Fault.from_dict({"code": "x", "exit_code": True}).exit_code is Exit.DEFECT


# sentences and faults out of files


def test_a_sentence_travels_with_those_inside_it() -> None:
    inner = Sentence("camera-frozen", {"name": "overview", "seconds": 3})
    outer = Sentence("problem-at-seal", {"problem": inner})
    assert outer.say("en") == "At the seal: The camera overview has sent nothing for 3 s."
    assert Sentence.from_json(json.loads(json.dumps(outer.as_json()))) == outer
    assert outer.as_json()["values"] == {"problem": {"code": "camera-frozen", "values": {"name": "overview", "seconds": 3}}}


@pytest.mark.unknown_code
@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"code": 5}, {"code": "x", "values": [1]}, {"text": None}])
def test_what_is_no_sentence_is_one_all_the_same(data: object) -> None:
    assert isinstance(Sentence.from_json(data).say("zh"), Shown)


def test_a_sentence_out_of_a_file_is_bounded() -> None:
    def deep(n: int) -> Any:
        return {"code": "x" * 5000, "values": {str(i): deep(n - 1) if n and not i else "y" * 5000 for i in range(30)}}

    depth = 0
    sentence: object = Sentence.from_json(deep(6))
    while isinstance(sentence, Sentence):
        assert len(sentence.code) == MOST_CHARACTERS and len(sentence.values) in (0, MOST_VALUES)
        assert all(len(v) == MOST_CHARACTERS for v in sentence.values.values() if isinstance(v, str))
        depth, sentence = depth + 1, sentence.values.get("0")
    assert depth == 4, "the innermost is a text"


def test_a_fault_says_what_is_wrong_and_what_to_do() -> None:
    fault = DeviceAbsent("session-unknown", "give-longer-session-id", name="甲")
    assert str(fault) == "There is no session 甲. Give more of its id."
    assert (fault.say("zh"), fault.say_mend("zh")) == ("没有录制 甲。", "请多输入几位编号。")
    assert fault.exit_code is Exit.DEVICE
    assert DeviceAbsent("a", "b", exit_code=Exit.NO).exit_code is Exit.NO


@pytest.mark.parametrize(
    "values",
    [{}, {"n": 3, "share": 0.5, "good": True, "path": Path("/数据/a b"), "why": OSError(28, "full"), "in": Sentence("yes")}],
)
def test_a_fault_travels_as_json_and_is_the_same(values: dict[str, Any]) -> None:
    fault = DeviceAbsent("file-not-writable" if values else "no-session-running", "check-name", **values)
    back = Fault.from_dict(json.loads(json.dumps(fault.as_dict())))
    assert (back.code, back.mend, back.exit_code) == (fault.code, fault.mend, Exit.DEVICE)
    assert [back.say("en"), back.say("zh"), back.say_mend("zh")] == [fault.say("en"), fault.say("zh"), fault.say_mend("zh")]
    assert back.as_dict() == fault.as_dict()
    assert {k: v for k, v in back.values.items() if type(v) is not str} == {
        k: v for k, v in values.items() if k in ("n", "share", "good", "in")
    }


def test_a_fault_of_version_0_1_0_is_read() -> None:
    client = "Another client has taken over the identity {client} at the broker."
    back = Fault.from_dict({"text": client, "mend": "Attach it again.", "values": {"client": "a"}, "exit_code": 7})
    assert (back.code, back.mend, back.exit_code) == ("mqtt-client-identity-taken-over", "attach-transcript-again", Exit.DEVICE)
    assert str(back) == "Another client has taken over the identity a at the broker. Attach the transcript again."
    assert Sentence.from_json({"text": client, "values": {"client": "a"}}) == Sentence(back.code, {"client": "a"})


@pytest.mark.unknown_code
def test_a_fault_of_another_version_is_shown_as_far_as_it_goes() -> None:
    back = Fault.from_dict({"code": "newer", "mend": "mend-it", "values": {"thing": "fault"}})
    assert (back.say("zh"), back.say_mend("zh"), back.exit_code) == ("newer (thing=fault)", "mend-it (thing=fault)", Exit.DEFECT)
    assert Fault.from_dict({"code": "bare", "values": "none"}).say() == "bare"
    for number in (999, -1, "7", 7.0, None, [7]):
        assert Fault.from_dict({"code": "x", "exit_code": number}).exit_code is Exit.DEFECT
    assert len(Fault.from_dict({"code": "c" * 5000, "mend": "m" * 5000}).mend) == MOST_CHARACTERS
    with pytest.raises(KeyError):
        Fault.from_dict({"mend": "mend-it"})


def test_wording_stands_alone() -> None:
    """Every process says faults: it must cost nothing to load."""
    code = (
        "import sys, wording; print([m for m in sys.modules if m.split('.')[0] in ('agent', 'recorder', 'drivers', 'pydantic')])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout.strip() == "[]"
