"""How a command declares its words and options: argparse with texts in the reader's language."""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from agent.commands.context import Context, put
from agent.config.places import DEFAULT_CONFIG
from wording import Exit, Fault, Language, Shown, say
from wording.fault import EXIT_TEXTS

# argparse's own messages, in words that can be translated
ARGPARSE = (
    (r"the following arguments are required: (?P<names>.*)", "arguments-missing"),
    (r"unrecognized arguments: (?P<names>.*)", "arguments-not-known"),
    (
        r"argument (?P<name>.+?): invalid choice: (?P<value>.*) \(choose from (?P<known>.*)\)",
        "argument-not-a-known-choice",
    ),
    (r"argument (?P<name>.+?): invalid int value: (?P<value>.*)", "argument-not-a-whole-number"),
    (r"argument (?P<name>.+?): invalid seconds value: (?P<value>.*)", "argument-not-a-duration"),
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


def seconds(text: str) -> float:
    """The value of an option in seconds. Raises ValueError where it is negative or not finite."""
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


class Builder:
    """Adds commands, each with the function that does it."""

    def __init__(self, language: Language) -> None:
        self.language = language
        Parser.language = language
        self.root = Parser(
            prog="room-agent",
            description=self._say("help-program-summary"),
            epilog=self._exit_table(),
        )
        self._common(self.root, None)
        first = self.root.add_subparsers(metavar=self._say("help-command-placeholder"), required=True, dest="command")
        self._groups: dict[str, Any] = {"": first}

    def knows(self, word: str) -> bool:
        """Whether a command begins with this word."""
        return word in self._groups[""].choices

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

    def command(self, words: str, does: Callable[[Context], Exit], text: str, *, free: bool = False) -> Callable[..., Any]:
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
