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
from agent.devices.kinds import KINDS
from recorder.session.record import CASE_FIELDS
from recorder.session.tracks import CAMERAS
from wording import Exit, Fault, Language, Shown, say
from wording.fault import EXIT_TEXTS

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE


# argparse's own messages, in words that can be translated
ARGPARSE = (
    (r"the following arguments are required: (?P<names>.*)", "arguments-missing"),
    (r"unrecognized arguments: (?P<names>.*)", "arguments-not-known"),
    (
        r"argument (?P<name>.+?): invalid choice: (?P<value>.*) \(choose from (?P<known>.*)\)",
        "argument-not-a-known-choice",
    ),
    (r"argument (?P<name>.+?): invalid int value: (?P<value>.*)", "argument-not-a-whole-number"),
    (r"argument (?P<name>.+?): invalid _seconds value: (?P<value>.*)", "argument-not-a-duration"),
    (r"argument (?P<name>.+?): expected one argument", "option-needs-value"),
    (r"argument (?P<name>.+?): ignored explicit argument (?P<value>.*)", "option-takes-no-value"),
    (r"ambiguous option: (?P<name>.*) could match (?P<known>.*)", "option-ambiguous"),
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
        text, mend = "command-line-not-understood", "see-command-help"
        super().__init__(text, mend, message=message, command=command)


class _Help(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, say("help-usage-heading", Parser.language) if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """argparse with texts in the reader's language."""

    language: Language = "zh"

    def __init__(self, **options: Any) -> None:
        """Options: those of argparse.ArgumentParser."""
        super().__init__(**{"formatter_class": _Help, **options}, add_help=False)
        self._positionals.title, self._optionals.title = (
            say("help-arguments-heading", self.language),
            say("help-options-heading", self.language),
        )
        self.add_argument("-h", "--help", action="help", help=say("help-show-help", self.language))

    def error(self, message: str) -> NoReturn:
        """argparse calls this for a command line that it cannot parse. Raises NotUnderstood."""
        raise NotUnderstood(message, self.prog, self.format_usage(), self.language)

    def format_help(self) -> str:
        """The help; the colon after a heading is the language's."""
        text = super().format_help()
        if self.language == "zh":
            for title in (self._positionals.title, self._optionals.title):
                text = text.replace(f"\n{title}:\n", f"\n{title}：\n")
        return text

    def print_help(self, _file: object = None) -> None:
        """On stdout. Raises UnwritableAnswer, BrokenPipeError."""
        put(sys.stdout, Shown(self.format_help().rstrip("\n")))  # of our own texts


def _seconds(text: str) -> float:
    """The value of an option in seconds. Raises ValueError where it is negative or not finite."""
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
            description=self._say("help-program-summary"),
            epilog=self._exit_table(),
        )
        self._common(self.root, None)
        self._groups: dict[str, Any] = {
            "": self.root.add_subparsers(metavar=self._say("help-command-placeholder"), required=True, dest="command")
        }

    def _say(self, template: str) -> str:
        return say(template, self.language).replace("%", "%%")

    def _exit_table(self) -> str:
        rows = [f"  {int(code):3d}  {say(text, self.language)}" for code, text in EXIT_TEXTS.items()]
        return "\n".join([self._say("help-exit-codes-heading"), *rows])

    def _common(self, parser: argparse.ArgumentParser, default: object) -> None:
        add = parser.add_argument
        add(
            "--config",
            type=Path,
            metavar=self._say("value-file"),
            default=default,
            help=self._say("help-configuration-file").format(path=DEFAULT_CONFIG),
        )
        add("--json", action="store_true", default=default, help=self._say("help-json-answer"))
        add("--language", choices=("zh", "en"), default=default, help=self._say("help-answer-language"))
        add("--debug", action="store_true", default=default, help=self._say("help-debug-traceback"))

    def group(self, name: str, text: str) -> None:
        """A word with words below it."""
        parser = self._groups[""].add_parser(name, help=self._say(text), description=self._say(text))
        self._common(parser, argparse.SUPPRESS)
        self._groups[name] = parser.add_subparsers(
            metavar=self._say("help-command-placeholder"), required=True, dest="subcommand"
        )

    def command(self, words: str, does: str, text: str, *, free: bool = False) -> Callable[..., Any]:
        """A command; gives its add_argument. free: it works without a configuration file."""
        group, _, name = words.rpartition(" ")
        parser = self._groups[group].add_parser(name, help=self._say(text), description=self._say(text))
        self._common(parser, argparse.SUPPRESS)
        parser.set_defaults(does=does, free=free)

        def add(*names: str, text: str, value: str = "", **options: Any) -> None:
            """value: code of what stands for the value in the usage, "" for an option that takes none."""
            if value:
                options["metavar"] = self._say(value)
            parser.add_argument(*names, help=self._say(text), **options)

        return add


def build_parser(language: Language) -> argparse.ArgumentParser:
    """The whole command line."""
    build = _Builder(language)
    add = build.command("run", "room:run", "help-agent-run")
    add("--no-children", action="store_true", text="help-without-child-processes")
    build.command("check-config", "room:check_config", "help-config-check")
    add = build.command("selfcheck", "room:selfcheck", "help-selfcheck")
    add("--report", type=Path, value="value-folder", text="help-selfcheck-report-folder")
    _calibrate(build)
    _sessions(build)
    _evidence(build)
    add = build.command("watch", "room:watch", "help-watch-health-feed")
    add("--seconds", type=_seconds, value="value-seconds", text="help-end-after-seconds")
    build.command("devices", "room:devices", "help-list-devices", free=True)
    _processes(build)
    return build.root


def _processes(build: _Builder) -> None:
    """The processes of the data plane: ``track NAME`` for each track, a word of its own for each other kind."""
    words = {kind.command[0]: kind for kind in KINDS}
    for word, kind in words.items():
        add = build.command(word, "room:process", kind.help)
        if names := [each.command[1] for each in KINDS if each.command[0] == word and len(each.command) > 1]:
            add("name", choices=names, value="value-track", text="help-track-name")


def _calibrate(build: _Builder) -> None:
    add = build.command("calibrate", "calibrate:calibrate", "help-calibrate")
    add("--by", required=True, value="value-name", text="help-calibrated-by")
    add("--camera", action="append", default=[], choices=CAMERAS, value="value-camera", text="help-calibrate-one-camera")
    add("--seconds", type=_seconds, default=20.0, value="value-seconds", text="help-listen-seconds")
    add("--dry-run", action="store_true", text="help-measure-without-storing")


def _sessions(build: _Builder) -> None:
    build.group("session", "help-session")
    add = build.command("session start", "session:start", "help-session-start")
    for each in CASE_FIELDS:
        value = each.label if build.language == "zh" else ""  # argparse's own placeholder in English: the option's name
        add(f"--{each.option}", required=True, value=value, text=each.help, **({"action": "append"} if each.many else {}))
    add("--planned-minutes", type=int, value="value-minutes", text="help-planned-length")
    add("--override-by", default="", value="value-name", text="help-start-override-by")
    add("--override-reason", default="", value="value-reason", text="help-why")
    add = build.command("session stop", "session:stop", "help-session-stop")
    add("--by", required=True, value="value-name", text="help-ended-by")
    add("--reason", required=True, value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-seal")
    add("--timeout", type=_seconds, default=120.0, value="value-seconds", text="help-seal-wait-limit")
    add = build.command("session seal", "session:seal", "help-session-seal")
    add("--by", required=True, value="value-name", text="help-tracks-left-behind-by")
    add("--reason", required=True, value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-seal")
    add("--timeout", type=_seconds, default=120.0, value="value-seconds", text="help-seal-wait-limit")
    add = build.command("session status", "session:status", "help-session-status")
    add("session", nargs="?", default="", value="value-session", text="help-other-session")
    build.command("session list", "session:list_", "help-session-list")
    add = build.command("session complete", "later:complete", "help-compose-later")
    add("session", value="value-session", text="help-session-reference")
    add("--by", required=True, value="value-name", text="help-requested-by")
    build.group("transcript", "help-transcript")
    add = build.command("transcript attach", "session:attach", "help-transcript-attach")
    add("session", value="value-session", text="help-session-reference")
    add("file", type=Path, value="value-file", text="help-transcript-file")
    add = build.command("transcript accept", "session:accept", "help-transcript-accept")
    add("session", value="value-session", text="help-session-reference")
    add("--by", required=True, value="value-name", text="help-transcript-accepted-by")
    add("--reason", required=True, value="value-reason", text="help-why")


KEY_HELP = "help-verify-device-key"


def _evidence(build: _Builder) -> None:
    build.group("disc", "help-disc")
    add = build.command("disc author", "disc:author", "help-disc-image")
    add("session", value="value-session", text="help-session-reference")
    add("--out", type=Path, required=True, value="value-image", text="help-image-file")
    add("--draft", action="store_true", text="help-disc-draft")
    add = build.command("disc burn", "disc:burn", "help-disc-burn")
    add("session", value="value-session", text="help-session-reference")
    add("--drive", action="append", default=[], value="value-drive", text="help-burner-drive")
    add("--extra", action="store_true", text="help-extra-disc")
    add("--by", default="", value="value-name", text="help-extra-disc-by")
    add("--reason", default="", value="value-reason", text="help-why")
    add("--no-wait", action="store_true", text="help-no-wait-for-result")
    add = build.command("disc verify", "disc:verify_disc", "help-disc-read-back", free=True)
    add("target", value="value-session-drive-or-image", text="help-read-back-source")
    add("--key", default="", value="value-key", text=KEY_HELP)
    add = build.command("verify", "disc:verify", "help-verify", free=True)
    add("path", value="value-path", text="help-verify-source")
    add("--key", default="", value="value-key", text=KEY_HELP)


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
        text, mend = "program-failed", "run-with-debug-and-report"
        context.fail(Fault(text, mend, why=f"{type(error).__name__}: {error}"))
        return Exit.DEFECT
