"""The command line: tables of commands, a mistake in one line, the secrets in it seen by nobody.

Light, since it is imported before anything else.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import importlib
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from irchroma.stream.secret_keys import SECRET_KEYS

REFERENCE = re.compile(r"\$\{(file:[^}]+|[A-Za-z_][A-Za-z0-9_]*)\}")
"""`${NAME}` or `${file:PATH}`: what stands for a secret."""
_HOST_AND_PORT = re.compile(r"[^:/@\s]*:\d{1,5}(?=/|$)")
_SECRET_KEY = re.compile(rf"(?i)(?<=[?&])({SECRET_KEYS}|loginuse)=([^&#\s]*)")
_DASHED_FILE = re.compile(r"-[^-=][^=]*\.[A-Za-z]\w*")
"""`-night.mp4`, which is taken for flags."""
_SOURCE = re.compile(r"(?:[a-z]+:/|test:|raw:|/dev/)")
_COLORS = ("color", "colorize", "colorise", "colour", "convert", "stream", "play", "start")
_SECRET_FLAGS = ("--token", "--viewer-token")


def rate(text: str) -> str:
    """A rate as it was given: 0, which a configuration says for none, is not one to give."""
    with suppress(ValueError, ZeroDivisionError):  # what is none is said where the configuration is read
        if Fraction(text) <= 0:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return text


def number(text: str) -> float:
    """A finite one: what `float` stands for in every parser of ours."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text}")
    return value


class OneLineParser(argparse.ArgumentParser):
    """Says a mistake in one line, without the usage above it.

    Attributes:
        table: its subcommands, None where it has none.
    """

    table: CommandTable | None = None
    _words: Sequence[str] = ()

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.register("type", float, number)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser.parse_known_args`; for a word that is no command, what is near it."""
        table = self.table
        self._words = args or ()
        if table is not None and table.default is None and args is not None and not args:
            self.print_help(sys.stderr)  # above the line that one is missing
        if table is not None and args is not None:
            args = table.completed(args)
            if args and not args[0].startswith("-") and args[0] not in table.commands:
                self.error(f"there is no {table.dest} {args[0]}{table.hint(args[0])}")
        found, extras = super().parse_known_args(args, namespace)
        if extras and " " in self.prog:  # a command: argparse would name the program's own help
            near = difflib.get_close_matches(extras[0].partition("=")[0], self._option_string_actions, 1, 0.7)
            meant = f", did you mean {near[0]}?" if near else self._sink_of(extras)
            hint = self._behind_switch(extras) or meant
            self.error(f"unrecognized arguments: {' '.join(extras)}{hint}")
        return found, extras

    def _behind_switch(self, extras: Sequence[str]) -> str:
        """`: --osd takes no value`, where a word stands behind such a flag."""
        words = list(self._words)
        before = words[words.index(extras[0]) - 1] if extras[0] in words[1:] else ""
        switch = self._option_string_actions.get(before)
        if switch is not None and switch.nargs == 0 and not extras[0].startswith("-"):
            chosen = f" ({switch.dest} of --config chooses)" if isinstance(switch.const, list) else ""
            return f": {before} takes no value{chosen}"
        return ""

    def _sink_of(self, extras: Sequence[str]) -> str:
        """`, did you mean --to x.mp4?`, where a command takes that and something else was said."""
        if "--to" not in self._option_string_actions:
            return ""
        if extras[0] in ("-o", "--out", "--output"):
            return f", did you mean --to {' '.join(extras[1:2])}".rstrip() + "?"
        return "" if extras[0].startswith("-") else f", did you mean --to {extras[0]}?"

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        named = next(filter(_DASHED_FILE.fullmatch, self._words), "")
        hint = f": a file of that name is ./{named}" if named else ""
        self.exit(2, f"{self.prog}: {_masked(message)}{hint} (see {self.prog} --help)\n")


def one_line(error: Exception) -> str:
    """The error's text, without passwords of addresses in it; for one of the system's own, file and why."""
    return _masked(_text_of(error))


def _masked(text: str) -> str:
    from irchroma.stream.sources.addresses import masked  # only who fails waits for it

    return masked(text)


def _text_of(error: Exception) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if isinstance(error, FileNotFoundError) and not error.filename:
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the folder that this was started in is gone: go to another one (cd)"
    return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()


class CommandTable:
    """Named commands, each a module of ours with `EXAMPLE`, `add_arguments(parser)` and `run(args) -> int`.

    Only the module of the command that is named is imported, so that every start is quick.

    Args:
        dest: what a choice is called: `command`, `measurement` ...
        commands: name -> (module below `irchroma.launch`, summary).
        default: what is meant where none is named; None where one must be.
        colors: the one that takes a file or an address, which somebody may give without it.
    """

    def __init__(
        self,
        dest: str,
        commands: dict[str, tuple[str, str]],
        default: str | None = None,
        colors: str | None = None,
    ) -> None:
        self.dest, self.commands, self.default, self.colors = dest, commands, default, colors

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Give the parser one subcommand for each."""
        choices = parser.add_subparsers(
            dest=self.dest, metavar=self.dest.upper(), required=True, parser_class=_Command
        )
        for name, (module, summary) in self.commands.items():
            said = f"{summary} (default)" if name == self.default else summary
            made = choices.add_parser(
                name,
                help=said,
                description=f"{summary[0].upper()}{summary[1:]}.",
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            made.belongs_to(self.dest, f"irchroma.launch.{module}")
        if isinstance(parser, OneLineParser):
            parser.table = self

    def run(self, args: argparse.Namespace) -> int:
        """Run the one that was named."""
        return int(getattr(args, f"run_{self.dest}")(args))

    def completed(self, words: Sequence[str]) -> list[str]:
        """The words with the command first: the one among them, or the default."""
        if self.default is None or (words and not words[0].startswith("-")) or {"-h", "--help"} & set(words):
            return list(words)
        named = next((word for word in words if word in self.commands), self.default)
        rest = list(words)
        if named in rest:
            rest.remove(named)
        return [named, *rest]

    def hint(self, word: str) -> str:
        """`, did you mean train?`, where a command has nearly that name, or is what was meant."""
        there = False
        with suppress(OSError):  # a name that is too long for a file
            there = Path(word).exists()
        if self.colors and (_SOURCE.match(word) or there):
            return f": what to color comes after one, as in irchroma {self.colors} SOURCE --to out.mp4"
        if self.colors and word.lower() in _COLORS:
            return f", did you mean {self.colors}?"
        near = difflib.get_close_matches(word, self.commands, 1, 0.6)
        return f", did you mean {near[0]}?" if near else f": choose one of {', '.join(self.commands)}"


class _Command(OneLineParser):
    """The parser of one command, which asks the command's module for its arguments when it is named."""

    _module = ""

    def belongs_to(self, dest: str, module: str) -> None:
        """Not imported yet."""
        self._dest, self._module = dest, module

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._module:
            module = importlib.import_module(self._module)
            self._module = ""
            self.epilog = f"example:\n  {module.EXAMPLE}"
            module.add_arguments(self)
            self.set_defaults(**{f"run_{self._dest}": module.run})
        return super().parse_known_args(args, namespace)


def size_of(word: str) -> tuple[int, int]:
    """`1920x1080` as (H, W), an argument's `type`."""
    width, cross, height = word.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"expected a size like 1920x1080, got {word!r}")
    return int(height), int(width)


def counts_of(word: str) -> tuple[int, ...]:
    """`1,2,4`, each 1 or more, an argument's `type`."""
    parts = word.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers like 1,2,4, got {word!r}")
    return tuple(map(int, parts))


def secret_places(address: str) -> list[slice]:
    """Where the secrets of an address stand in it: its password, and values such as `passphrase=`."""
    places = []
    begin = address.find("://") + 3
    end = address.rfind("@")
    # `host:554/path@x` has none; a password may hold a slash or an @ that its owner did not escape.
    plain = _HOST_AND_PORT.match(address, begin)
    colon = address.find(":", begin)
    if begin > 2 and begin <= colon < end and not (plain and "@" not in plain[0]):
        places.append(slice(colon + 1, end))
    places += [slice(*match.span(2)) for match in _SECRET_KEY.finditer(address, max(begin, end)) if match[2]]
    return places


def hide_arguments(words: list[str]) -> None:
    """Overwrite the secrets among this process's arguments, which every user can list.

    They are there to be seen for the moment until this is called: a `${NAME}` is not seen at all.

    Args:
        words: the arguments as the program was given them.
    """
    hidden: list[bytes] = []
    for before, word in zip(["", *words], words, strict=False):
        flag, _, value = word.partition("=")
        if before in _SECRET_FLAGS or (flag in _SECRET_FLAGS and value):
            hidden.append(os.fsencode(word if before in _SECRET_FLAGS else value))
        elif "://" in word:
            hidden += [os.fsencode(word[place]) for place in secret_places(word)]
    hidden = [secret for secret in hidden if secret and not REFERENCE.fullmatch(os.fsdecode(secret))]
    if not hidden:
        return
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: proc(5), counted behind the name
        arguments = ctypes.string_at(start, end - start)
    except (OSError, ValueError, IndexError):  # another system keeps them elsewhere
        return
    if start <= 0:
        return
    for secret in hidden:
        at = arguments.find(secret)
        while at >= 0:
            ctypes.memset(start + at, ord("*"), len(secret))
            at = arguments.find(secret, at + len(secret))


def add_actions(
    parser: argparse.ArgumentParser, actions: Mapping[str, tuple[str, str]]
) -> dict[str, argparse.ArgumentParser]:
    """A subcommand for each action, told by `args.action`, from its summary and its example."""
    made = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=OneLineParser)
    return {
        name: made.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, (summary, example) in actions.items()
    }
