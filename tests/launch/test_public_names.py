"""What the docstrings of the public packages show a Python user runs as it stands there."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

import irchroma.engines
import irchroma.stream
from irchroma.launch.cli import main


def example_of(text: str | None) -> str:
    """The indented lines of a docstring."""
    lines = (text or "").splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line))


def test_the_engines_example_colors_a_picture() -> None:
    given = {"luma": np.full((48, 64), 90, np.uint8), "pts_ns": 0}
    exec(example_of(irchroma.engines.__doc__).replace("nir:fast", "palette:ironbow"), given)
    assert given["rgb"].shape == (48, 64, 3)


@pytest.mark.gst
def test_the_stream_example_colors_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["test:nir?size=64x48&frames=5", "--to", "night.mp4", "--engine", "gray", "--quiet"]
    assert main(["run", *words]) == 0
    given: dict[str, object] = {}
    exec(example_of(irchroma.stream.__doc__).replace('"nir"', '"palette:ironbow"'), given)
    assert Path("color.mp4").stat().st_size > 0
    assert given["loop"].frames == 5  # type: ignore[attr-defined]
