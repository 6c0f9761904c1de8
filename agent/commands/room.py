"""Commands of the room: agent, processes of the data plane, configuration, self-check, devices, feed."""

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from agent.commands.context import Context
from agent.commands.words import Builder, seconds
from agent.config.in_child import in_child
from agent.devices.kinds import KINDS, kind_of
from wording import Exit, Fault, Shown
from wording.border import laid_out

CAMERAS_S = 2.0  # how long cameras of the network are listened to
HTTPS_PORT, CERTIFICATE_S, CERTIFICATES_AT_ONCE = 443, 1.0, 32


def words(build: Builder) -> None:
    """The commands of the room; of the data plane's processes ``track NAME`` for each track, and a word for each other kind."""
    add = build.command("run", run, "help-agent-run")
    add("--no-children", action="store_true", text="help-without-child-processes")
    build.command("check-config", check_config, "help-config-check")
    add = build.command("selfcheck", selfcheck, "help-selfcheck")
    add("--report", type=Path, value="value-folder", text="help-selfcheck-report-folder")
    add = build.command("watch", watch, "help-watch-health-feed")
    add("--seconds", type=seconds, value="value-seconds", text="help-end-after-seconds")
    build.command("devices", devices, "help-list-devices", free=True)
    for word, kind in {kind.command[0]: kind for kind in KINDS}.items():
        add = build.command(word, process, kind.help)
        if names := [each.command[1] for each in KINDS if each.command[0] == word and len(each.command) > 1]:
            add("name", choices=names, value="value-track", text="help-track-name")


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
    warnings = [line for fault in config.warnings for line in context.fault_lines(fault)]
    context.answer(
        {"ok": True, "room": room, "root": str(config.storage.root), "warnings": [fault.as_dict() for fault in config.warnings]},
        [describe(config, context.language), *warnings],
    )
    return Exit.OK


def selfcheck(context: Context) -> Exit:
    """Every check of the self-check; the agent stores the report, so that a session may start on it."""
    from agent import selfcheck as checks
    from agent.selfcheck import report as pages
    from recorder.disk.durable import make_folder

    config = context.config()
    folder: Path | None = context.arguments.report
    if folder is not None:
        make_folder(folder)  # said before the checks, not after them
    report = checks.run(config)
    lines = pages.lines(report, context.language)
    not_stored: Fault | None = None
    try:
        context.ask("selfcheck.store", report=report.as_dict())
    except Fault as fault:
        not_stored = fault
        lines += [context.say("selfcheck-not-stored"), *context.fault_lines(fault)]
    if folder is not None:
        _, page = pages.write(report, folder, context.language)
        lines.append(context.say("report-stored-at", path=page))
    stored = {"stored": not_stored is None, "fault": not_stored.as_dict() if not_stored else None}
    context.answer({**report.as_dict(), **stored}, lines)
    return Exit.OK if report.passed and not_stored is None else Exit.NO


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
        "cameras": "cameras-found",
        "microphones": "microphones-found",
        "serial_ports": "serial-ports-found",
        "drives": "drives-found",
    }
    lines = [
        line
        for key, title in titles.items()
        for line in (context.say(title), *(laid_out("  {name}", name=n) for n in found[key] or ["-"]))
    ]
    context.answer(found, lines)
    return Exit.OK


def cameras(context: Context) -> list[str]:
    """Cameras that answer ONVIF's WS-Discovery, with what they call themselves; without a configuration by its defaults."""
    from agent.config.model import Config
    from agent.config.problems import ConfigFault
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
    certificates = met_certificates(context, {answer.host for answer in answers})
    lines = [(place, *said, certificates.get(place.rpartition(":")[0], "")) for place, said in sorted(places.items())]
    return [" ".join(part for part in line if part) for line in lines]


def met_certificates(context: Context, hosts: Iterable[str]) -> dict[str, Shown]:
    """Of each host that answers at the port of HTTPS, what its certificate is, for the configuration to name."""
    from concurrent.futures import ThreadPoolExecutor

    from drivers.tls import met_at

    with ThreadPoolExecutor(CERTIFICATES_AT_ONCE) as asking:
        asked = {host: asking.submit(met_at, host, HTTPS_PORT, CERTIFICATE_S) for host in hosts}
        met = {host: found for host, future in asked.items() if (found := future.result())}
    return {host: context.say("camera-fingerprint-at-port", port=HTTPS_PORT, fingerprint=found) for host, found in met.items()}


def serial_ports(folder: Path) -> list[str]:
    """Serial ports below /dev, those with a name that stays first."""
    named = sorted(folder.glob("serial/by-id/*"))
    plain = [p for pattern in ("ttyUSB*", "ttyACM*") for p in sorted(folder.glob(pattern))]
    return [str(p) for p in (*named, *plain)]


def drives(folder: Path) -> list[str]:
    """Optical drives below /dev."""
    return [str(p) for p in sorted(folder.glob("sr[0-9]*"))]


def process(context: Context) -> Exit:
    """Runs one process of the data plane until SIGTERM.

    A child process reads the configuration, since checking it takes 20 MiB that would stay. The program is loaded before it, once
    for both: a recording process that died must be back soon, on a PC that has much to do.
    """
    from agent import logs

    words = (context.arguments.command, getattr(context.arguments, "name", ""))
    kind = kind_of(tuple(word for word in words if word))
    logs.set_up()
    import_module(kind.program)
    kind.work(in_child(lambda: kind.settings(context.config())))
    return Exit.OK


def watch(context: Context) -> Exit:
    """A live table of the rooms on the feed, until Ctrl-C."""
    from agent.feed.watch import watch as show
    from agent.feed.watch import watch_settings

    config = context.config()
    if not config.mqtt.enabled:
        raise Fault("health-feed-switched-off", "switch-feed-on", exit_code=Exit.CONFIG)
    show(watch_settings(config), language=context.language, json=context.json, seconds=context.arguments.seconds)
    return Exit.OK
