"""The units under systemd/: clean for systemd itself, running the product's own commands, each with its own devices alone."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.cli import build_parser

UNITS = Path(__file__).parents[1] / "systemd"
PROGRAM = "/opt/room-agent/bin/room-agent"
SYSTEM = "/usr/lib/systemd/system"
NAMES = [
    "room-agent.service",
    "room-agent-track@overview.service",
    "room-agent-track@closeup.service",
    "room-agent-track@microphone.service",
    "room-agent-composer.service",
    "room-agent-climate.service",
    "room-agent-burner.service",
]
NO_DEVICES = "Service has a minimal device ACL"
DEVICES = {
    "room-agent-track@microphone.service": {"char-alsa:rw"},
    "room-agent-composer.service": {"char-drm:rw"},
    "room-agent-climate.service": {"char-ttyUSB:rw", "char-ttyACM:rw", "char-ttyS:rw"},
    "room-agent-burner.service": {"block-sr:rw", "char-sg:rw"},
}
NETWORK = {
    "room-agent.service",
    "room-agent-track@overview.service",
    "room-agent-track@closeup.service",
    "room-agent-composer.service",
}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy in which the program exists."""
    copy = tmp_path / "units"
    shutil.copytree(UNITS, copy, symlinks=True)
    program = tmp_path / "room-agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in copy.glob("*.service"):
        path.write_text(path.read_text().replace(PROGRAM, str(program)))
    return copy


def analyze(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:{SYSTEM}"}
    return subprocess.run(["systemd-analyze", *words], env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_finds_nothing_to_say(units: Path) -> None:
    done = analyze(units, "verify", "--man=no", "room-agent.target", *NAMES)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_in_a_drop_in_would_be_found(units: Path) -> None:
    with (units / "room-agent-.service.d" / "10-common.conf").open("a") as file:
        file.write("Bogus=1\n")
    assert "Bogus" in analyze(units, "verify", "--man=no", "room-agent-composer.service").stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_unit_holds_its_own_devices_and_no_others(units: Path, name: str) -> None:
    done = analyze(units, "security", "--offline=true", "--json=short", name)
    facts = {entry["name"].rstrip("="): entry for entry in json.loads(done.stdout)}
    said = facts["DeviceAllow"]["description"]
    if name in DEVICES:
        assert set(said.split(": ", 1)[1].split()) == DEVICES[name]
    else:
        assert said == NO_DEVICES and facts["PrivateDevices"]["set"] is True
    assert facts["PrivateNetwork"]["set"] is (name not in NETWORK)
    for hardening in ("NoNewPrivileges", "ProtectHome", "ProtectSystem", "PrivateTmp"):
        assert facts[hardening]["set"] is True, hardening
    assert facts["CapabilityBoundingSet=~CAP_SYS_ADMIN"]["set"] is True


def test_every_unit_runs_a_command_of_the_product() -> None:
    commands = []
    for path in sorted(UNITS.glob("*.service")):
        [line] = re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)
        program, *words = line.replace("%i", "overview").split()
        assert program == PROGRAM
        commands.append(build_parser("en").parse_args(words).command)
    assert sorted(commands) == ["burner", "climate", "composer", "run", "track"]


def test_recording_waits_for_neither_network_nor_clock() -> None:
    for path in (p for p in UNITS.rglob("*") if p.is_file()):
        keys = re.findall(r"^(?:After|Requires|Wants|BindsTo)=(.*)$", path.read_text(), re.MULTILINE)
        assert not [key for key in keys if "network" in key or "time-sync" in key], path


def test_the_agent_s_unit_links_to_the_common_part() -> None:
    assert (UNITS / "room-agent.service.d" / "10-common.conf").resolve() == UNITS / "room-agent-.service.d" / "10-common.conf"


def test_the_guide_s_line_copies_every_unit_as_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    text = (UNITS.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = set(re.findall(r"^.*install -D .*$", text, re.MULTILINE))
    [line] = lines
    assert "-o root" in line and "/etc/systemd/system/" in line
    line = line.replace("/etc/systemd/system/", f"{tmp_path}/").replace("-o root -g root ", "")
    subprocess.run(["sh", "-c", f"umask 0; {line}"], cwd=UNITS.parent, check=True, timeout=60)
    copied = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if not path.is_dir()}
    source = {str(path.relative_to(UNITS)): path for path in UNITS.rglob("*") if not path.is_dir()}
    assert {name: path.read_bytes() for name, path in copied.items()} == {n: p.read_bytes() for n, p in source.items()}
    assert not [name for name, path in copied.items() if path.is_symlink() or path.stat().st_mode & 0o777 != 0o644]
