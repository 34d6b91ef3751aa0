"""The bench of quality over time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.errors import EngineError
from irchroma.launch.bench.color import quality
from irchroma.launch.stills.picture_files import PictureError

pytest.importorskip("skimage", reason="measuring needs scikit-image")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("ir", "rgb"):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        scene = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(tmp_path / "pairs" / folder / "one.png"), scene)
    return tmp_path / "pairs"


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    quality.add_arguments(parser)
    return parser.parse_args(words)


def test_every_engine_is_in_the_table_and_in_the_plot(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [one for one in quality.candidates("nir") if not one.name.startswith("nir")]
    monkeypatch.setattr(quality, "candidates", lambda band, threads, classics: plain)
    result, picture = tmp_path / "q.json", tmp_path / "q.png"
    assert quality.run(_parsed(str(pairs), "--json", str(result), "--plot", str(picture))) == 0
    found = json.loads(result.read_text())
    assert list(found["results"]) == [one.name for one in plain]
    assert found["results"]["gray"]["mean"]["detail_kept"] == pytest.approx(1.0)
    assert found["results"]["gray"]["chroma_error_sure_to_unsure"] == []
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    for color in quality.COLORS[: len(plain)]:
        assert (drawn == color[::-1]).all(axis=-1).any()


def test_networks_are_measured_in_every_size_and_precision() -> None:
    names = [one.name for one in quality.candidates("thermal")]
    assert {"thermal:fast, exact", "thermal:fast, live", "thermal:best, exact", "thermal:best, live"} < set(
        names
    )


def test_the_ladder_measures_networks_at_each_size_and_nothing_else(pairs: Path, tmp_path: Path) -> None:
    result = tmp_path / "q.json"
    words = ("--work-size", "32", "--work-size", "64", "--threads", "1", "--json", str(result))
    assert quality.run(_parsed(str(pairs), *words)) == 0
    found = json.loads(result.read_text())["results"]
    assert list(found) == ["nir:fast at 32", "nir:fast at 64", "nir:best at 32", "nir:best at 64"]
    seen = [(one.options.engine, one.options.work_size_px) for one in quality.at_sizes("nir", (32, 64))]
    assert seen == [("nir:fast", 32), ("nir:fast", 64), ("nir:best", 32), ("nir:best", 64)]


def test_a_filter_that_leaves_no_pair_is_an_error(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no pair has 'vcip'"):
        quality.run(_parsed(str(pairs), "--match", "vcip", "--json", str(tmp_path / "q.json")))


def test_a_clip_gives_a_column_of_flicker(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [one for one in quality.candidates("nir") if one.name == "palette:ironbow"]
    monkeypatch.setattr(quality, "candidates", lambda band, threads, classics: plain)
    clip, result = tmp_path / "clip.avi", tmp_path / "q.json"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 25, (96, 64))
    for number in range(6):
        writer.write(np.full((64, 96, 3), 60 + number % 2, np.uint8))
    writer.release()
    words = (str(pairs), "--json", str(result), "--clip", str(clip), "--frames", "5")
    assert quality.run(_parsed(*words)) == 0
    found = json.loads(result.read_text())
    assert found["clip_frames"] == 5
    assert found["results"]["palette:ironbow"]["flicker"]["static_ab"] > 0.05  # trembles with its luma
    with pytest.raises((OSError, EngineError)):
        quality.run(_parsed(str(pairs), "--json", str(result), "--clip", str(tmp_path / "gone.mp4")))
