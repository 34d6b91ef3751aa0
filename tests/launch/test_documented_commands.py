"""Every command in the documents is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from irchroma.launch.cli import build_parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md"))
    if path.relative_to(ROOT).parts[0] in (path.name, "launch", "engines")
)


def commands_of(path: Path) -> list[str]:
    """Those in blocks, with their continuations, and among words; not those of which a part is a choice."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    blocks += re.sub(r"\n      +", " ", "\n".join(re.findall(r"^(?:#  |    ).*$", text, re.MULTILINE)))
    found = re.findall(r"^[# ]*(irchroma .*)$", blocks, re.MULTILINE)
    found += [one.replace("\n", " ") for one in re.findall(r"`(irchroma [^`]*)`", text)]
    return [one for one in found if not re.search(r"\.\.|\[|\||WHAT|NAME", one)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_are_taken(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = []
    for command in commands_of(path):
        try:
            build_parser().parse_args(shlex.split(command, comments=True)[1:])
        except SystemExit:
            said = capsys.readouterr().err
            if said and "arguments are required" not in said:  # a command that is only named
                refused.append(f"{command}: {said}")
    assert not refused


def test_most_documents_have_commands() -> None:
    assert sum(bool(commands_of(path)) for path in DOCUMENTS) > 8
    assert len(commands_of(ROOT / "launch" / "RECIPES.md")) > 25
