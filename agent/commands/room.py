"""Commands of the room: agent, processes of the data plane, configuration, self-check, devices, feed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from agent.commands.context import Context
from agent.config.in_child import apart
from wording import Exit, Fault

if TYPE_CHECKING:
    from agent.config.model import Config

Settings = TypeVar("Settings")
CAMERAS_S = 2.0  # how long cameras of the network are listened to


def run(context: Context) -> Exit:
    """The agent, until SIGTERM or SIGINT."""
    from agent import app

    return app.run(context.config(), context.config_path, children=not context.arguments.no_children)


def check_config(context: Context) -> Exit:
    """Whether the configuration is good, with every problem."""
    from agent.config.model import check_secrets, describe

    config = context.config()
    check_secrets(config, context.config_path)
    room = {"id": config.room.id, "name": config.room.name, "centre": config.room.centre}
    context.answer({"ok": True, "room": room, "root": str(config.storage.root)}, [describe(config, context.language)])
    return Exit.OK


def selfcheck(context: Context) -> Exit:
    """Every check of the self-check; stored, so that a session may start on it."""
    from agent import selfcheck as checks
    from agent.selfcheck import report as pages
    from recorder.disk.durable import make_folder

    config = context.config()
    folder: Path | None = context.arguments.report
    if folder is not None:
        make_folder(folder)  # said before the checks, not after them
    report = checks.run(config)
    checks.store(report, config)
    lines = pages.lines(report, context.language)
    if folder is not None:
        _, page = pages.write(report, folder, context.language)
        lines.append(context.say("Report: {path}", path=page))
    context.answer(report.as_dict(), lines)
    return Exit.OK if report.passed else Exit.NO


def devices(context: Context) -> Exit:
    """What this PC has, by the names that the configuration takes: cameras of its network, microphones, serial ports, drives."""
    from drivers.microphone import list_devices

    found = {
        "cameras": cameras(context),
        "microphones": list_devices(),
        "serial_ports": serial_ports(Path("/dev")),
        "drives": drives(Path("/dev")),
    }
    titles = {
        "cameras": "Cameras (camera.<name>.host and port):",
        "microphones": "Microphones (microphone.device):",
        "serial_ports": "Serial ports (climate.port):",
        "drives": "Drives (burner.drives):",
    }
    lines = [line for key, title in titles.items() for line in (context.say(title), *(f"  {n}" for n in found[key] or ["-"]))]
    context.answer(found, lines)
    return Exit.OK


def cameras(context: Context) -> list[str]:
    """Cameras that answer ONVIF's WS-Discovery, with what they call themselves; without a configuration by its defaults."""
    from agent.config.model import Config, ConfigFault
    from agent.config.settings import discovery_target
    from drivers.discovery import interface_towards, probe
    from drivers.faults import DeviceFault

    try:
        config = context.config()
    except ConfigFault:
        config = Config()
    target = discovery_target(config)
    if target is None:
        return []
    interface = target.interface or interface_towards(config.camera.overview.host, config.camera.overview.port)
    try:
        answers = probe(replace(target, interface=interface), listen_s=CAMERAS_S)
    except DeviceFault as fault:
        return [fault.say(context.language)]
    places = {answer.place: (answer.scope("name"), answer.scope("hardware")) for answer in answers}
    return [" ".join(part for part in (place, *said) if part) for place, said in sorted(places.items())]


def serial_ports(folder: Path) -> list[str]:
    """Serial ports below /dev, those with a name that stays first."""
    named = sorted(folder.glob("serial/by-id/*"))
    plain = [p for pattern in ("ttyUSB*", "ttyACM*") for p in sorted(folder.glob(pattern))]
    return [str(p) for p in (*named, *plain)]


def drives(folder: Path) -> list[str]:
    """Optical drives below /dev."""
    return [str(p) for p in sorted(folder.glob("sr[0-9]*"))]


def _process(context: Context, settings: Callable[["Config"], Settings], work: Callable[[Settings], None]) -> Exit:
    """Runs a process of the data plane. The configuration is read in a child: checking it costs 20 MiB that would stay."""
    from agent import logs

    logs.set_up()
    work(apart(lambda: settings(context.config())))
    return Exit.OK


def track(context: Context) -> Exit:
    """One track's process, until SIGTERM."""
    from recorder.track.process import TrackSettings, run

    def settings(config: "Config") -> TrackSettings:
        from agent.config.settings import track_settings

        return track_settings(config, context.arguments.name)

    return _process(context, settings, run)


def composer(context: Context) -> Exit:
    """The composer's process, until SIGTERM."""
    from recorder.composite.process import run
    from recorder.composite.settings import ComposerSettings

    def settings(config: "Config") -> ComposerSettings:
        from agent.config.settings import composer_settings

        return composer_settings(config)

    return _process(context, settings, run)


def climate(context: Context) -> Exit:
    """The climate process, until SIGTERM."""
    from recorder.sensors.climate import ClimateSettings, run

    def settings(config: "Config") -> ClimateSettings:
        from agent.config.settings import climate_settings

        return climate_settings(config)

    return _process(context, settings, run)


def burner(context: Context) -> Exit:
    """The burner worker, until SIGTERM."""
    from burner.work.process import BurnerSettings, run_worker

    def settings(config: "Config") -> BurnerSettings:
        from agent.config.settings import burner_settings

        return burner_settings(config)

    return _process(context, settings, run_worker)


def watch(context: Context) -> Exit:
    """A live table of the rooms on the feed, until Ctrl-C."""
    from agent.feed.watch import watch as show
    from agent.feed.watch import watch_settings

    config = context.config()
    if not config.mqtt.enabled:
        raise Fault(
            "The feed is switched off (mqtt.enabled).", "Switch it on, or name another configuration.", exit_code=Exit.CONFIG
        )
    show(watch_settings(config), language=context.language, json=context.json, seconds=context.arguments.seconds)
    return Exit.OK
