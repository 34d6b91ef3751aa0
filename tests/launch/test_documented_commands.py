"""Every command in the documents is one that the command line takes."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from irchroma.launch.cli import build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md"))
    if path.relative_to(ROOT).parts[0] in (path.name, "launch", "engines")
)


STANDS_FOR = re.compile(r"^[\[|]|^(WHAT|NAME)$")
"""A word that is a choice."""


def commands_of(path: Path) -> list[list[str]]:
    """The words of those in blocks, with their continuations, and among words; without comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    blocks += re.sub(r"\n      +", " ", "\n".join(re.findall(r"^(?:#  |    ).*$", text, re.MULTILINE)))
    found = re.findall(r"^[# ]*(irchroma .*)$", blocks, re.MULTILINE)
    found += re.findall(r"# then: (run .*)$", blocks, re.MULTILINE)
    found += [one.replace("\n", " ") for one in re.findall(r"`(irchroma [^`]*)`", text)]
    split = [shlex.split(one.removeprefix("irchroma "), comments=True) for one in found]
    return [words for words in split if not any(map(STANDS_FOR.search, words))]


@pytest.fixture
def _may_be_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be given: a document may name a command without what it is for."""
    parse = argparse.ArgumentParser.parse_known_args

    def leniently(parser: argparse.ArgumentParser, *words: Any) -> Any:
        for action in parser._actions:
            action.required = False
            if not action.option_strings and action.nargs in (None, "+"):
                action.nargs = "?" if action.nargs is None else "*"
        for group in parser._mutually_exclusive_groups:
            group.required = False
        return parse(parser, *words)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", leniently)


@pytest.mark.usefixtures("_may_be_named_alone")
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_are_taken(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = []
    for words in commands_of(path):
        try:
            build_parser().parse_args(words)
        except SystemExit:
            said = capsys.readouterr().err
            if said:
                refused.append(f"{shlex.join(words)}: {said}")
    assert not refused


def test_most_documents_have_commands() -> None:
    assert sum(bool(commands_of(path)) for path in DOCUMENTS) > 8
    assert len(commands_of(ROOT / "launch" / "RECIPES.md")) > 25


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """This and all below it, each with its arguments."""
    with suppress(SystemExit):
        parser.parse_args(["--help"])  # a command asks its module when it is named
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _parsers(one)


def test_every_command_and_its_parts_have_examples_that_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    root = build_parser()
    for parser in _parsers(root):
        text = re.sub(r"\\\n *", "", parser.epilog or "")
        examples = re.findall(r"^  irchroma (.*?)(?:    .*)?$", text, re.MULTILINE)
        assert examples or parser is root, parser.prog
        for example in examples:
            root.parse_args(shlex.split(example))
    capsys.readouterr()
