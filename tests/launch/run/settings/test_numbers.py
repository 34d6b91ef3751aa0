"""Numbers on the command line that make no sense."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irchroma.launch.cli import main
from irchroma.launch.run.settings.flags import GROUPS

NUMBERS = [flag.name for flags in GROUPS.values() for flag in flags if flag.kind in (int, float)]
UNKNOWN = [flag.name for flags in GROUPS.values() for flag in flags if flag.kind is float]
MAY_BE_NEGATIVE = "--reflected"  # degrees Celsius


def _code(word: str, tmp_path: Path) -> int:
    try:
        return _run(word, tmp_path)
    except SystemExit as ended:  # of the parser
        return int(ended.code or 0)


def _run(word: str, tmp_path: Path) -> int:
    words = ["run", "test:nir?seconds=0.1&size=64x48", "--to", str(tmp_path / "out.mp4"), "--engine", "gray"]
    return main([*words, "--quiet", word])


@pytest.mark.gst
@pytest.mark.parametrize(
    "word",
    [
        *(f"{name}=-1" for name in NUMBERS if name != MAY_BE_NEGATIVE),
        *(f"{name}=nan" for name in UNKNOWN),
        "--threads=1000000",
        "--keep-days=inf",
    ],
)
def test_what_no_number_can_mean_is_refused_before_the_work(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code(word, tmp_path) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert re.search(r"irchroma run: .*(expected|must be|need|is 0 to|is outside)", said), said
    assert "unexpected" not in said
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "reference", "test:nir?frames=2", "--out", "r.toml", "--every"],
        ["calibrate", "speed", "--latency-ms"],
        ["references", "add", "day.mp4", "--seconds"],
        ["train", "nir", "--data", "pairs", "--minutes"],
        ["latency", "--seconds"],
        ["archive", "in", "out", "--overlap"],
        ["bench", "service", "--minutes"],
        ["fleet", "simulate", "--days"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.parametrize("word", ["nan", "inf"])
def test_no_command_takes_what_is_no_number(
    words: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, word])
    assert ended.value.code == 2
    assert f"argument {words[-1]}: expected a number, got {word}" in capsys.readouterr().err
