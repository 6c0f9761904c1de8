"""The command line: which words there are, and what becomes of whatever goes wrong."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from agent.commands.context import Context, UnwritableAnswer, light_settings, plain_language, put, show_fault
from agent.config.places import DEFAULT_CONFIG
from wording import Exit, Fault, Language, say

TRACKS = ("overview", "closeup", "microphone")
EXITS = {
    Exit.OK: "done",
    Exit.NO: "the command worked and its answer is no: a check failed, times do not agree, a disc is not good",
    Exit.USAGE: "the command line is not understood",
    Exit.CONFIG: "the configuration has errors",
    Exit.NO_AGENT: "the agent does not run or does not answer",
    Exit.REFUSED: "not now: a session runs, none runs, no valid self-check, no transcript",
    Exit.NOT_FOUND: "no such session, file, drive or disc",
    Exit.DEVICE: "a device is missing, silent or refuses",
    Exit.STORAGE: "a folder cannot be written, or the disk is full",
    Exit.INPUT: "a file or value that was given cannot be used",
    Exit.ALREADY_RUNNING: "another process of this kind works on the same folder",
    Exit.EVIDENCE: "evidence does not agree with its journal, manifest or signature",
    Exit.DEFECT: "a fault of the program itself; --debug shows it",
}
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


# argparse's own messages, in words that can be translated
ARGPARSE = (
    (r"the following arguments are required: (?P<names>.*)", "missing: {names}"),
    (r"unrecognized arguments: (?P<names>.*)", "not known: {names}"),
    (
        r"argument (?P<name>.+?): invalid choice: (?P<value>.*) \(choose from (?P<known>.*)\)",
        "{name} is {value}, not one of {known}",
    ),
    (r"argument (?P<name>.+?): invalid int value: (?P<value>.*)", "{name} is {value}, no whole number"),
    (r"argument (?P<name>.+?): invalid _seconds value: (?P<value>.*)", "{name} is {value}, no number of seconds"),
    (r"argument (?P<name>.+?): expected one argument", "{name} needs a value"),
    (r"argument (?P<name>.+?): ignored explicit argument (?P<value>.*)", "{name} takes no value"),
    (r"ambiguous option: (?P<name>.*) could match (?P<known>.*)", "{name} may mean {known}"),
)


class NotUnderstood(Fault):
    """A command line that is not understood. usage: of the command that was meant."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, command: str, usage: str, language: Language) -> None:
        self.usage = usage
        for pattern, template in ARGPARSE:
            if found := re.fullmatch(pattern, message, re.DOTALL):
                message = say(template, language, **found.groupdict())
                break
        text, mend = "The command line is not understood: {message}.", "`{command} --help` shows what it takes."
        super().__init__(text, mend, message=message, command=command)


class _Help(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, say("usage: ", Parser.language) if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """argparse with texts in the reader's language."""

    language: Language = "zh"

    def __init__(self, **options: Any) -> None:
        """Options: those of argparse.ArgumentParser."""
        super().__init__(**{"formatter_class": _Help, **options}, add_help=False)
        self._positionals.title, self._optionals.title = say("arguments", self.language), say("options", self.language)
        self.add_argument("-h", "--help", action="help", help=say("show this and end", self.language))

    def error(self, message: str) -> NoReturn:
        """Raises NotUnderstood."""
        raise NotUnderstood(message, self.prog, self.format_usage(), self.language)

    def print_help(self, _file: object = None) -> None:
        """On stdout. Raises UnwritableAnswer, BrokenPipeError."""
        put(sys.stdout, self.format_help().rstrip("\n"))


def _seconds(text: str) -> float:
    """Of an option: finite, and not negative."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


class _Builder:
    """Adds commands; each names the function that does it as ``module:function`` below agent.commands."""

    def __init__(self, language: Language) -> None:
        self.language = language
        Parser.language = language
        self.root = Parser(
            prog="room-agent",
            description=self._say("Records, proves and preserves interviews."),
            epilog=self._exit_table(),
        )
        self._common(self.root, None)
        self._groups: dict[str, Any] = {"": self.root.add_subparsers(metavar=self._say("COMMAND"), required=True, dest="command")}

    def _say(self, template: str) -> str:
        return say(template, self.language).replace("%", "%%")

    def _exit_table(self) -> str:
        rows = [f"  {int(code):3d}  {say(text, self.language)}" for code, text in EXITS.items()]
        return "\n".join([self._say("Exit codes:"), *rows])

    def _common(self, parser: argparse.ArgumentParser, default: object) -> None:
        add = parser.add_argument
        add(
            "--config",
            type=Path,
            metavar="F",
            default=default,
            help=self._say("configuration file (default: {path})").format(path=DEFAULT_CONFIG),
        )
        add("--json", action="store_true", default=default, help=self._say("answer with one JSON line"))
        add("--language", choices=("zh", "en"), default=default, help=self._say("language of the answer (default: ui.language)"))
        add("--debug", action="store_true", default=default, help=self._say("show the traceback of a fault of the program"))

    def group(self, name: str, text: str) -> None:
        """A word with words below it."""
        parser = self._groups[""].add_parser(name, help=self._say(text), description=self._say(text))
        self._common(parser, argparse.SUPPRESS)
        self._groups[name] = parser.add_subparsers(metavar=self._say("COMMAND"), required=True, dest="subcommand")

    def command(self, words: str, does: str, text: str, *, free: bool = False) -> Callable[..., Any]:
        """A command; gives its add_argument. free: it works without a configuration file."""
        group, _, name = words.rpartition(" ")
        parser = self._groups[group].add_parser(name, help=self._say(text), description=self._say(text))
        self._common(parser, argparse.SUPPRESS)
        parser.set_defaults(does=does, free=free)

        def add(*names: str, text: str, **options: Any) -> None:
            parser.add_argument(*names, help=self._say(text), **options)

        return add


def build_parser(language: Language) -> argparse.ArgumentParser:
    """The whole command line."""
    build = _Builder(language)
    add = build.command("run", "room:run", "run the agent of this room")
    add("--no-children", action="store_true", text="do not start the room's processes: systemd does")
    build.command("check-config", "room:check_config", "check the configuration")
    add = build.command("selfcheck", "room:selfcheck", "check devices, connections, sound and picture")
    add("--report", type=Path, metavar="DIR", text="also write selfcheck.json and selfcheck.html there")
    _calibrate(build)
    _sessions(build)
    _evidence(build)
    add = build.command("watch", "room:watch", "show the rooms on the health feed")
    add("--seconds", type=_seconds, metavar="S", text="end after so many seconds")
    build.command("devices", "room:devices", "list cameras, microphones, serial ports and drives", free=True)
    add = build.command("track", "room:track", "run the process of one track")
    add("name", choices=TRACKS, metavar="NAME", text="overview, closeup or microphone")
    build.command("composer", "room:composer", "run the composer's process")
    build.command("climate", "room:climate", "run the climate sensor's process")
    build.command("burner", "room:burner", "run the burner worker")
    return build.root


def _calibrate(build: _Builder) -> None:
    add = build.command("calibrate", "calibrate:calibrate", "measure the cameras' delay by claps, and store it")
    add("--by", required=True, text="who calibrates")
    cameras = TRACKS[:2]
    add("--camera", action="append", default=[], choices=cameras, metavar="NAME", text="this camera alone: overview or closeup")
    add("--seconds", type=_seconds, default=20.0, metavar="S", text="listen for so many seconds (default: 20)")
    add("--dry-run", action="store_true", text="measure, and store nothing")


def _sessions(build: _Builder) -> None:
    build.group("session", "begin, end and show sessions")
    add = build.command("session start", "session:start", "begin a session; shows its official start")
    add("--case", required=True, text="case number")
    add("--cause", required=True, text="cause of the case")
    add("--handler", required=True, action="append", text="who questions; once for each person")
    add("--interviewee", required=True, text="who is questioned")
    add("--planned-minutes", type=int, metavar="N", text="planned length, for which the disk must have room")
    add("--override-by", default="", metavar="NAME", text="who takes the responsibility for starting without a valid self-check")
    add("--override-reason", default="", metavar="TEXT", text="why")
    add = build.command("session stop", "session:stop", "end the session; shows its official end and waits for the seal")
    add("--by", required=True, text="who ends it")
    add("--reason", required=True, text="why")
    add("--no-wait", action="store_true", text="do not wait for the seal")
    add("--timeout", type=_seconds, default=120.0, metavar="S", text="wait at most so many seconds (default: 120)")
    add = build.command("session seal", "session:seal", "seal the stopped session without the tracks that cannot come to its end")
    add("--by", required=True, text="who leaves them behind")
    add("--reason", required=True, text="why")
    add("--no-wait", action="store_true", text="do not wait for the seal")
    add("--timeout", type=_seconds, default=120.0, metavar="S", text="wait at most so many seconds (default: 120)")
    add = build.command("session status", "session:status", "show the room and its session")
    add("session", nargs="?", default="", metavar="SESSION", text="another session than the running or newest one")
    build.command("session list", "session:list_", "list the sessions of this room")
    add = build.command("session complete", "later:complete", "compose later what the composite lacks, marked as such")
    add("session", metavar="SESSION", text="its id, a beginning of it, or last")
    add("--by", required=True, text="who has it made")
    build.group("transcript", "attach the transcript and compare its times")
    add = build.command("transcript attach", "session:attach", "attach a transcript (UTF-8 text or JSON); shows the verdict")
    add("session", metavar="SESSION", text="its id, a beginning of it, or last")
    add("file", type=Path, metavar="FILE", text="the transcript")
    add = build.command("transcript accept", "session:accept", "accept a transcript that does not agree, as a second person")
    add("session", metavar="SESSION", text="its id, a beginning of it, or last")
    add("--by", required=True, text="who accepts it: neither handler nor the one who ended the session")
    add("--reason", required=True, text="why")


KEY_HELP = "device.pub of the PC that recorded it (default: this PC's); any: whichever key, to be compared by its fingerprint"


def _evidence(build: _Builder) -> None:
    build.group("disc", "make and check evidence discs")
    add = build.command("disc author", "disc:author", "write a session's disc image to a file")
    add("session", metavar="SESSION", text="its id, a beginning of it, or last")
    add("--out", type=Path, required=True, metavar="F.iso", text="the image file to make")
    add("--draft", action="store_true", text="also while the transcript does not agree; marked as a draft")
    add = build.command("disc burn", "disc:burn", "burn a session's discs and read them back")
    add("session", metavar="SESSION", text="its id, a beginning of it, or last")
    add("--drive", action="append", default=[], metavar="D", text="this drive instead of burner.drives; may be repeated")
    add("--no-wait", action="store_true", text="do not wait for the result")
    add = build.command("disc verify", "disc:verify_disc", "read a disc, an image or all discs of a session back", free=True)
    add("target", metavar="SESSION|DEVICE|ISO", text="what to read")
    add("--key", default="", metavar="FILE|any", text=KEY_HELP)
    add = build.command("verify", "disc:verify", "check a session, an image or a disc: is it what was recorded?", free=True)
    add("path", metavar="PATH", text="folder or id of a session, image, drive or mounted disc")
    add("--key", default="", metavar="FILE|any", text=KEY_HELP)


def _first_look(arguments: Sequence[str]) -> tuple[Path, Language | None]:
    """--config and --language before the rest is understood, so that help and errors are in the right language."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--language", choices=("zh", "en"), default=None)
    try:
        known, _ = parser.parse_known_args(arguments)
    except (argparse.ArgumentError, SystemExit):
        return DEFAULT_CONFIG, None
    return known.config, known.language


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code. The one place that catches everything."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    path, language = _first_look(words)
    try:
        try:
            parsed = _understand(words, language or plain_language(path))
            if isinstance(parsed, int):
                return parsed
            return _run(Context(parsed, path, bool(parsed.json), language or "zh"), language)
        except KeyboardInterrupt:
            return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: the last flush must not complain
        return BROKEN_PIPE


def _understand(words: Sequence[str], language: Language) -> argparse.Namespace | int:
    """The parsed command line, or an exit code where there is nothing to run. Raises BrokenPipeError."""
    as_json = "--json" in words
    try:
        return build_parser(language).parse_args(words)
    except SystemExit:  # --help
        return Exit.OK
    except UnwritableAnswer as fault:
        return fault.exit_code
    except NotUnderstood as fault:
        with suppress(UnwritableAnswer):
            if not as_json and sys.stderr is not None:
                sys.stderr.write(fault.usage)
            show_fault(fault, language, as_json=as_json)
        return Exit.USAGE


def _run(context: Context, language: Language | None) -> int:
    parsed = context.arguments
    context = replace(context, language=language or plain_language(context.config_path))
    try:
        if not parsed.free or parsed.config is not None or context.config_path.exists():
            places, configured = light_settings(context.config_path)
            context = replace(context, places=places, language=language or configured)
        module, _, name = parsed.does.partition(":")
        command: Callable[[Context], Exit] = getattr(import_module(f"agent.commands.{module}"), name)
        return command(context)
    except Fault as fault:
        context.fail(fault)
        return fault.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:  # the top of the process
        if parsed.debug:
            raise
        text, mend = "The program failed: {why}.", "Run it again with --debug and report what it shows."
        context.fail(Fault(text, mend, why=f"{type(error).__name__}: {error}"))
        return Exit.DEFECT
