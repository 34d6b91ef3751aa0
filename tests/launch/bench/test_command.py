"""What all benches share: where their JSON goes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from irchroma.launch.bench import command


def bench(args: argparse.Namespace) -> int:
    """Says a word to people and writes its numbers."""
    print("a table", flush=True)
    subprocess.run([sys.executable, "-c", "print('of a process of its own')"], check=True)
    Path(args.json).write_text('{"fps": 3}', encoding="utf-8")
    return 0


def test_json_is_all_that_is_shown_where_it_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.BENCHES, "run", bench)
    assert command.run(argparse.Namespace(json=Path("-"))) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out) == {"fps": 3}
    assert shown.err == "a table\nof a process of its own\n"
    assert not list(tmp_path.iterdir())
    assert sys.stdout is not sys.stderr
