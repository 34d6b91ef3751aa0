"""The bench of the temporal stage, and the filters that it compares with."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network.network import installed
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.launch.bench import clips as bench_filters
from irchroma.launch.bench.clips import ffmpeg_filtered, recorded, synthetic
from irchroma.launch.bench.color import temporal as bench_temporal
from irchroma.launch.bench.color.temporal import Row, table
from irchroma.launch.cli import main


class TremblingNetwork:
    """Colors by luma, with chroma that differs from call to call."""

    name = "trembling"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def infer(self, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chroma = np.stack([0.2 * luma[:, 0], -0.1 + 0 * luma[:, 0]], axis=1)
        chroma += self._rng.normal(0, 0.03, (1, 2, 1, 1)).astype(np.float32)
        return np.concatenate([luma, chroma], axis=1), np.ones_like(luma)

    def close(self) -> None:
        pass


@pytest.fixture
def clips(tmp_path: Path) -> tuple[Path, Path]:
    """A still infrared clip with noise, and the color video of it."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.uniform(40, 200, (6, 8)), (128, 96), interpolation=cv2.INTER_CUBIC)
    paths = []
    for name, tint in (("ir.avi", (1.0, 1.0, 1.0)), ("color.avi", (0.9, 1.0, 1.1))):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (128, 96))
        for _ in range(36):
            noisy = scene[..., None] * tint + rng.normal(0, 1, (96, 128, 1))
            writer.write(np.clip(noisy, 0, 255).astype(np.uint8))
        writer.release()
        paths.append(path)
    return paths[0], paths[1]


def trembling(**changes: object) -> NeuralColorizer:
    return NeuralColorizer(NeuralOptions(weights=Path("none"), **changes), network=TremblingNetwork())


def test_the_stage_flickers_less_than_frames_by_themselves(clips: tuple[Path, Path]) -> None:
    rows = bench_temporal.measure_clip(trembling, recorded(*clips, most_frames=34), ffmpeg=False)
    static = {row.method: row.static_ab for row in rows}
    assert static["temporal stage"] < 0.25 * static["frame by frame"]
    assert "ffmpeg tmix" not in static
    assert all(row.frames == 34 for row in rows)
    assert all(row.psnr_db > 10 for row in rows)
    assert all(row.warping_error > 0 for row in rows)
    assert len(table(rows)) == len(rows) + 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_the_stage_flickers_less_than_ffmpegs_mean_of_three(clips: tuple[Path, Path]) -> None:
    rows = bench_temporal.measure_clip(trembling, recorded(*clips, most_frames=34), ffmpeg=True)
    static = {row.method: row.static_ab for row in rows}
    assert static["temporal stage"] < static["ffmpeg tmix"] < static["frame by frame"]
    assert {row.frames for row in rows} == {34}


def test_the_stage_alone_is_timed(clips: tuple[Path, Path]) -> None:
    assert 0 < bench_temporal.stage_cost_ms(recorded(clips[0]), frames=8) < 100


def test_nothing_to_measure_is_an_error() -> None:
    parser = argparse.ArgumentParser()
    bench_temporal.add_arguments(parser)
    with pytest.raises(EngineOptionError, match="--clip"):
        bench_temporal.run(parser.parse_args([]))


def test_a_synthetic_camera_brings_its_true_color() -> None:
    clip = synthetic("test:nir?size=96x64&seconds=0.2", most_frames=4)
    assert clip.truth is not None
    truths = list(clip.truth())
    assert len(truths) == len(clip.luma) == 4
    assert truths[0].shape == (*clip.luma[0].shape, 3)
    assert synthetic("test:thermal?size=96x64", most_frames=2).luma[0].dtype == np.uint8
    with pytest.raises(EngineOptionError, match="cannot be measured"):
        synthetic("test:nir?daynight=2")


def test_a_missing_ffmpeg_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_filters.shutil, "which", lambda _: None)
    with pytest.raises(EngineUnavailable, match="apt install ffmpeg"):
        next(ffmpeg_filtered([], (4, 4)))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_ffmpeg_gives_back_a_frame_for_each() -> None:
    frames = [np.full((64, 80, 3), 100 + 20 * (number % 2), np.uint8) for number in range(12)]
    filtered = list(ffmpeg_filtered(frames, (64, 80)))
    assert len(filtered) == 12
    change = np.abs(np.diff([float(frame.mean()) for frame in filtered[4:]])).mean()
    assert change < 15  # of 20 unfiltered


def test_missing_values_are_null_in_json() -> None:
    row = Row("clip", "method", 3, 0.1, 0.2)
    text = json.dumps(bench_temporal._plain({"psnr_db": row.psnr_db, "cdc": row.cdc}))
    assert json.loads(text) == {"psnr_db": None, "cdc": 0.1}


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")
def test_the_engine_reference_is_measured_with_its_picture(clips: tuple[Path, Path], tmp_path: Path) -> None:
    video = cv2.VideoCapture(str(clips[1]))
    day, out = tmp_path / "day.png", tmp_path / "flicker.json"
    cv2.imwrite(str(day), video.read()[1])
    words = ["--engine", "reference", "--size", "thermal", "--reference", str(day), "--frames", "12"]
    assert (
        main(["bench", "temporal", "--clip", str(clips[0]), *words, "--no-ffmpeg", "--json", str(out)]) == 0
    )
    said = json.loads(out.read_text(encoding="utf-8"))
    assert said["reference"] == "day.png"
    rows = {row["method"]: row for row in said["rows"]}
    assert rows["temporal stage"]["frames"] == 12
