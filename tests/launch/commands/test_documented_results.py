"""What the recipes promise: their Python runs, and results' JSON has the names that scripts read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from irchroma.launch.cli import main
from irchroma.stream.sinks.evidence.signing import Signer

RECIPES = Path(__file__).parents[3] / "launch" / "RECIPES.md"


def promised(command: str) -> set[str]:
    """The names in the row of a command."""
    table = RECIPES.read_text(encoding="utf-8").partition("**Results.**")[2]
    row = re.search(rf"^\| `{command}` \| (.*) \|$", table, re.MULTILINE)
    assert row is not None
    return set(re.findall(r"`(\w+)`", row[1]))


def names(found: dict[str, Any], listed: str = "") -> set[str]:
    """Of the results, and of those that are listed under a name, in their first."""
    return set(found) | set(found[listed][0]) if listed else set(found)


def told(path: Path, *words: str) -> dict[str, Any]:
    """What a command has written."""
    main([*words, "--json", str(path)])
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("number", range(2))
def test_the_recipes_in_python_run_as_they_are_printed(number: int) -> None:
    blocks = re.findall(r"```python\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    found: dict[str, Any] = {}
    exec(blocks[number], found)
    assert (found["rgb"].shape, found["rgb"].dtype) == ((512, 640, 3), np.uint8)


@pytest.mark.gst
def test_an_engine_of_one_s_own_colors_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(re.findall(r"```python\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.DOTALL)[2], {})
    video = cv2.VideoCapture(str(tmp_path / "red.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == 30
    blue, green, red = np.moveaxis(np.stack(frames).astype(int), -1, 0)
    hot = blue > 210
    assert hot.any()
    assert (red - green)[hot & (green < 245)].mean() > 10


def test_evaluate_tells_what_it_promises(tmp_path: Path) -> None:
    for band, shape in (("ir", (48, 64)), ("rgb", (48, 64, 3))):
        (tmp_path / band).mkdir()
        picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        cv2.imwrite(str(tmp_path / band / "a.png"), picture)
    found = told(tmp_path / "e.json", "evaluate", str(tmp_path), "--engine", "gray", "--brief")
    assert promised("evaluate") <= names(found, "pictures")
    assert names(found, "pictures") - names(found) - {"name"} <= promised("evaluate")
    assert set(found["mean"]) - {"count"} <= promised("evaluate")


@pytest.mark.gst
def test_flicker_tells_what_it_promises(tmp_path: Path) -> None:
    video = str(tmp_path / "v.mp4")
    assert main(["run", "test:nir?size=64x48&frames=6", "--to", video, "--engine", "palette:lava"]) == 0
    assert names(told(tmp_path / "f.json", "flicker", video)) == promised("flicker") | {"video"}


@pytest.mark.gst
def test_verify_tells_what_it_promises(tmp_path: Path) -> None:
    video, key = str(tmp_path / "v.mkv"), tmp_path / "key.pem"
    Signer.kept(key)
    words = ["--engine", "gray", "--evidence", "--evidence-key", str(key)]
    main(["run", "test:nir?size=64x48&frames=6", "--to", video, *words])
    assert names(told(tmp_path / "f.json", "verify", video)) == promised("verify") | {"path"}


def test_doctor_tells_what_it_promises(tmp_path: Path) -> None:
    found = told(tmp_path / "d.json", "doctor")
    assert names(found, "findings") == promised("doctor") | {"irchroma", "python", "platform"}
