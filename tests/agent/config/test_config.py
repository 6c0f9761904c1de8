"""The configuration: the sample, and what every wrong value gets."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from agent.cli import main
from agent.config.model import Config, check_secrets, describe, load, parse, render_sample
from agent.config.problems import ConfigFault
from agent.config.settings import camera_address
from wording import Exit
from wording.text import catalogue

SAMPLE = Path(__file__).parents[3] / "config.example.toml"


def wrong(text: str) -> list[str]:
    """The problems of a configuration's text, one line each."""
    with pytest.raises(ConfigFault) as raised:
        parse(text)
    assert raised.value.exit_code == Exit.CONFIG
    return [str(problem) for problem in raised.value.problems]


def test_the_sample_equals_the_defaults() -> None:
    assert SAMPLE.read_text(encoding="utf-8") == render_sample()
    assert load(SAMPLE) == Config() == parse("")


def test_every_key_is_described() -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert before.startswith("# ") and len(before) > 10, line


def test_a_changed_value_arrives() -> None:
    text = (
        '[room]\nname = "二号"\nclass = 2\n[camera.closeup]\nhost = "10.0.0.9"\nport = 8080\n'
        '[burner]\ndrives = ["stdio:/光 盘/1"]\n'
    )
    config = parse(text)
    assert (config.room.name, config.room.class_) == ("二号", 2)
    assert config.camera.closeup.place == "10.0.0.9:8080" and config.camera.closeup.width == 1920
    assert config.burner.drives == ("stdio:/光 盘/1",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[camera.overview]\ntls_fingerprint = 'sha1:00'",
            'camera.overview.tls_fingerprint: must be sha256: and 64 hexadecimal digits, or empty. It is "sha1:00".',
        ),
        ("[romo]", "line 1: romo: unknown key. Did you mean room?"),
        ("[zzz]", "line 1: zzz: unknown key. Known here: room, ui, camera,"),
        ("[room]\nclas = 1", "line 2: room.clas: unknown key. Did you mean class?"),
        ("\n[camera.overview]\n\nhots = 'x'", "line 4: camera.overview.hots: unknown key. Did you mean host?"),
        ("[camera.third]", "line 1: camera.third: unknown key. Known here: overview, closeup."),
        ("[camera]\noverview = 5", "line 2: camera.overview: must be a section of its own. It is 5."),
        ("room = 'x'", "line 1: room: must be a section of its own."),
        ("[room]\nid = 'Zimmer 1'", 'line 2: room.id: may hold only a-z, 0-9 and -, at most 32 characters. It is "Zimmer 1".'),
        ("[room]\nname = ''", "room.name: must not be empty"),
        (f"[room]\nname = '{'长' * 41}'", "room.name: may have at most 40 characters"),
        ("[room]\nclass = 3", "room.class: must be one of: 1, 2. It is 3."),
        ("[room]\ntimezone = 'Mars/Base'", "room.timezone: no such time zone; write it like Asia/Shanghai"),
        ("[room]\ntimezone = '../etc/passwd'", "room.timezone: no such time zone"),
        ("[ui]\nlanguage = 'fr'", "ui.language: must be one of: en, zh"),
        ("[camera.overview]\nport = 0", "camera.overview.port: must be at least 1. It is 0."),
        ("[camera.overview]\nport = 99999", "camera.overview.port: must be at most 65535. It is 99999."),
        ("[camera.overview]\nport = 'x'", 'camera.overview.port: must be a whole number. It is "x".'),
        ("[camera.overview]\nport = 8.5", "camera.overview.port: must be a whole number. It is 8.5."),
        ("[camera.overview]\nfps = inf", "camera.overview.fps: must be a number"),
        ("[camera.overview]\nfps = 0", "camera.overview.fps: must be more than 0"),
        ("[camera.overview]\nuser = 5", "camera.overview.user: must be a text in quotes. It is 5."),
        ("[camera.overview]\nhost = ''", "camera.overview: give host (ONVIF) or rtsp"),
        ("[camera.overview]\nrtsp = 'http://h/x'", "camera.overview.rtsp: must begin with rtsp:// or rtsps://"),
        ("[camera.overview]\nrtsp_sub = 'rtsp://h/x'", "camera.overview: rtsp_sub goes with rtsp only"),
        ("[camera.closeup]\nhost = '192.168.1.64'", "camera: overview and closeup are the same camera"),
        ("[climate]\nenabled = 'perhaps'", "climate.enabled: must be true or false"),
        ("[composite]\ninset_width = 641", "composite.inset_width: must be a multiple of 2"),
        ("[composite]\nmain = 'closeup'", "composite: main and inset must be different cameras"),
        ("[storage]\nroot = 'data'", "storage.root: must be an absolute path"),
        ("[storage]\nroot = 5", "storage.root: must be a text in quotes"),
        ("[storage]\nroot = '/a'\nrun = '/a'", "storage: root and run must be different folders"),
        ("[burner]\ndrives = '/dev/sr0'", "burner.drives: must be a list in [ ]"),
        ("[burner]\ndrives = ['/dev/sr0', '/dev/sr0']", "burner.drives: names a drive twice"),
        ("[burner]\ndrives = ['sr0']", "burner.drives: a drive is /dev/… or stdio:/…"),
        (
            "[storage]\nroot = '/d'\n[burner]\ndrives = ['stdio:/e/x', 'stdio:/d/sessions/x']",
            "line 4: burner.drives: the file of the drive stdio:/d/sessions/x would lie below /d, among the recordings.",
        ),
        ("[storage]\nrun = '/d'\n[burner]\ndrives = ['stdio:/d/x']", "stdio:/d/x would lie below /d"),
        ("[people]\nsecond_person = 'face'", "people.second_person: must be one of: name, login"),
        ("[selfcheck]\ntemperature_c = [1.0]", "selfcheck.temperature_c.1: a value is missing"),
        ("[selfcheck]\ntemperature_c = [1, 2, 3]", "selfcheck.temperature_c: has too many values"),
        ("[selfcheck]\ntemperature_c = [2, 1]", "selfcheck.temperature_c: the first number must be smaller than the second"),
        ("[room\n", "line 1: TOML: "),
        ("a = 1\na = 2", "TOML: Cannot overwrite a value"),
    ],
)
def test_each_wrong_value_is_named_with_its_line(text: str, problem: str) -> None:
    problems = wrong(text)
    assert len(problems) == 1 and problem in problems[0], problems


def test_all_problems_come_at_once_and_in_chinese_too() -> None:
    with pytest.raises(ConfigFault) as raised:
        parse("[room]\nid = 'X'\nclas = 1\n[ui]\nlanguage = 'fr'\n[mqtt]\nport = 0\n")
    assert len(raised.value.problems) == 4
    english, chinese = raised.value.say("en").splitlines(), raised.value.say("zh").splitlines()
    assert len(english) == len(chinese) == 5
    assert chinese[1].startswith("  第 2 行：room.id：") and chinese[-1].startswith("  第 7 行：mqtt.port：")
    assert raised.value.as_dict()["exit_code"] == Exit.CONFIG


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    [problem] = wrong("[camera.overview]\nrtsp = 'rtsp://admin:geheim@10.0.0.1/x'")
    assert "must not hold the user or the password" in problem and "geheim" not in problem


def test_a_fingerprint_is_taken_as_programs_print_it() -> None:
    plain, pairs = "ab" * 32, ":".join(["AB"] * 32)
    for written in (f"sha256:{plain}", plain.upper(), pairs, f"SHA256:{pairs}"):
        config = parse(f'[camera.overview]\ntls_fingerprint = "{written}"\nallow_basic = true\n')
        address = camera_address(config, "overview")
        assert (address.tls_fingerprint, address.allow_basic) == (f"sha256:{plain}", True)
    assert camera_address(parse(""), "closeup").allow_basic is False


def test_a_password_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "密码"
    secret.write_text("gehe im#1\r\nsecond line\n", encoding="utf-8")
    monkeypatch.setenv("ROOM_TEST_SECRET", "aus der Umgebung")
    config = parse(f"[camera.overview]\npassword_file = '{secret}'\n[mqtt]\npassword_env = 'ROOM_TEST_SECRET'")
    assert config.camera.overview.password("overview") == "gehe im#1"
    assert config.camera.closeup.password("closeup") == ""
    assert config.mqtt.password() == "aus der Umgebung"
    check_secrets(config)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Notepad writes one."""
    secret, config = tmp_path / "pw", tmp_path / "config.toml"
    secret.write_text("s3cret\r\n", encoding="utf-8-sig")
    config.write_text(f'[mqtt]\nhost = "broker"\npassword_file = "{secret}"\n', encoding="utf-8-sig")
    assert load(config).mqtt.password() == "s3cret"


def test_secrets_that_cannot_be_read_are_named_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    config = parse(
        f"[camera.overview]\npassword_file = '{tmp_path}/missing'\n[camera.closeup]\npassword_file = '{tmp_path}/binary'\n"
        "[mqtt]\npassword_env = 'ROOM_TEST_NOT_SET'"
    )
    with pytest.raises(ConfigFault) as raised:
        check_secrets(config)
    keys = [problem.key for problem in raised.value.problems]
    assert keys == ["camera.overview.password_file", "camera.closeup.password_file", "mqtt.password_env"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "配置.toml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigFault, match=r"配置\.toml"):
        load(path)


def test_a_good_configuration_is_described() -> None:
    assert "192.168.1.64:80" in describe(Config(), "en") and "192.168.1.64:80" in describe(Config(), "zh")


def test_every_problem_has_its_chinese() -> None:
    from agent.config import problems

    for template in problems.WORDS.values():
        assert template in catalogue(), template


IN_CLEAR = '[mqtt]\nhost = "broker"\nport = 1883\ntls = false\nuser = "centre-01/room-01"\npassword_env = "MQTT_OF_A_TEST"\n'


def test_a_password_in_clear_is_told_by_check_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_OF_A_TEST", "geheim")
    path = tmp_path / "config.toml"
    for text, told in ((IN_CLEAR, True), (IN_CLEAR.replace("false", "true"), False)):
        path.write_text(text, encoding="utf-8")
        assert main(["--config", str(path), "--language", "en", "check-config"]) == Exit.OK
        said = capsys.readouterr().out
        assert ("mqtt.tls is false" in said and "centre-01/room-01" in said and "broker:1883" in said) == told
        assert main(["--config", str(path), "check-config", "--json"]) == Exit.OK
        answer = capsys.readouterr().out
        assert [each["code"] for each in json.loads(answer)["warnings"]] == ["mqtt-password-in-clear"] * told
        assert "geheim" not in said + answer


def test_a_password_in_clear_is_logged_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[storage]\nroot = "/proc/nowhere"\nrun = "{tmp_path / "run"}"\n{IN_CLEAR}', encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(path), "run", "--no-children"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "MQTT_OF_A_TEST": "geheim"},
    )
    assert run.returncode == Exit.STORAGE, run.stderr
    assert "warning agent.app the configuration is unwise" in run.stderr and "mqtt.tls is false" in run.stderr
    assert "geheim" not in run.stderr + run.stdout
