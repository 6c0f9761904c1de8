"""The command line: where the words of a command are declared, and what becomes of whatever goes wrong."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from agent.commands.context import Context, UnwritableAnswer, light_settings, plain_language, show_fault
from agent.commands.words import Builder, NotUnderstood
from agent.config.places import DEFAULT_CONFIG
from agent.logs import for_a_command
from wording import Exit, Fault, Language

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE
UMASK = 0o027  # of every file that the product makes: its user writes, its group reads, nobody else does either

# Which module of agent.commands declares the commands of a first word. Another word is one of ROOM's: it has the processes.
MODULES = {
    "calibrate": "calibrate",
    "camera": "camera",
    "session": "session",
    "transcript": "session",
    "disc": "disc",
    "verify": "disc",
}
ROOM = "room"
IN_HELP = (ROOM, "camera", "calibrate", "session", "disc")


def build_parser(language: Language, first: str = "") -> argparse.ArgumentParser:
    """The command line as far as a command with this first word needs it; the whole of it where no command begins so.

    A recording process then loads no more than its own command does.
    """
    for modules in ((MODULES.get(first, ROOM),), IN_HELP):
        build = Builder(language)
        for module in modules:
            import_module(f"agent.commands.{module}").words(build)
        if build.knows(first):
            break
    return build.root


def _first_look(arguments: Sequence[str]) -> tuple[Path, Language | None, str]:
    """--config, --language and the first word, before the rest is understood: help and errors are in the right language."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--language", choices=("zh", "en"), default=None)
    try:
        known, rest = parser.parse_known_args(arguments)
    except (argparse.ArgumentError, SystemExit):
        return DEFAULT_CONFIG, None, ""
    return known.config, known.language, next((word for word in rest if not word.startswith("-")), "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code. The one place that catches everything."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    for_a_command()
    path, language, first = _first_look(words)
    umask = os.umask(UMASK)
    try:
        try:
            parsed = _understand(words, language or plain_language(path), first)
            if isinstance(parsed, int):
                return parsed
            return _run(Context(parsed, path, bool(parsed.json), language or "zh"), language)
        except KeyboardInterrupt:
            return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: the last flush must not complain
        return BROKEN_PIPE
    finally:
        os.umask(umask)


def _understand(words: Sequence[str], language: Language, first: str) -> argparse.Namespace | int:
    """The parsed command line, or an exit code where there is nothing to run. Raises BrokenPipeError."""
    as_json = "--json" in words
    try:
        return build_parser(language, first).parse_args(words)
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
        command: Callable[[Context], Exit] = parsed.does
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
