from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.calibration.color import LEAST_GAIN, ColorTuning, ColorTuningOptions, tune
from irchroma.calibration.errors import CalibrationError
from irchroma.engines.measures.metrics import Scores
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.record import read_record
from irchroma.engines.network.weight_storage import load, save
from irchroma.launch.cli import main

pytest.importorskip("onnxruntime")
pytest.importorskip("skimage")

SIZE = (128, 160)


def pair(number: int, learnable: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A camera's picture: bright blobs are orange and dark ground is teal, which no network guesses."""
    rng = np.random.default_rng(number)
    noise = cv2.GaussianBlur(rng.normal(0, 1, SIZE).astype(np.float32), (0, 0), 9)
    share = np.clip(noise / noise.std() * 0.25 + 0.5, 0, 1)
    luma = (40 + 160 * share).astype(np.uint8)
    share = share if learnable else rng.permutation(share.ravel()).reshape(SIZE)
    rgb = share[..., None] * np.array([220, 140, 40]) + (1 - share[..., None]) * np.array([20, 80, 90])
    return luma, rgb.astype(np.uint8)


def test_a_network_learns_a_cameras_colors_and_says_so(tmp_path: Path) -> None:
    for number in range(16):
        luma, rgb = pair(number)
        for kind, pixels in (("ir", luma), ("rgb", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{number:03}.png"), pixels)
    out = tmp_path / "yard.onnx"
    command = ["calibrate", "color", str(tmp_path), "--engine", "thermal", "--out", str(out)]
    assert main([*command, "--threads", "1"]) == 0
    report = json.loads((tmp_path / "yard-report.json").read_text())
    assert report["learned"] == 12
    assert report["after"]["ciede2000"] < 0.6 * report["before"]["ciede2000"]
    record = read_record(out)
    assert record is not None
    assert (record.engine, record.size, record.precision) == ("thermal", "fast", "tuned")
    for runtime in ("openvino", "torch"):
        pytest.importorskip(runtime)
        opened = open_network(out, NetworkOptions(runtime, 1, None, exact=True, device="cpu"))
        ycc, confidence = opened.infer(pair(99)[0][None, None].astype(np.float32) / 255)
        opened.close()
        truth = cv2.cvtColor(pair(99)[1], cv2.COLOR_RGB2YCrCb)[..., 1].astype(np.float32) / 255 - 0.5
        assert np.abs(ycc[0, 2] - truth).mean() < 0.05
        assert float(confidence.mean()) > 0.4


def test_tone_alone_is_learned_into_the_networks_own_layer_and_color_stays(tmp_path: Path) -> None:
    made = [pair(number) for number in range(16)]
    lighter = [(luma, np.clip(rgb.astype(np.int16) + 30, 0, 255).astype(np.uint8)) for luma, rgb in made]
    options = ColorTuningOptions("nir", threads=1, only="tone")
    result = tune(lighter, options)
    assert result.after.psnr_db > result.before.psnr_db + 0.2
    before = load(options.path)
    assert [node.op_type for node in result.model.graph.node] == [n.op_type for n in before.graph.node]
    save(result.model, tmp_path / "own.onnx")
    shown = []
    for path in (options.path, tmp_path / "own.onnx"):
        opened = open_network(path, NetworkOptions("onnxruntime", 1, None, exact=True, device="cpu"))
        shown.append(opened.infer(lighter[15][0][None, None].astype(np.float32) / 255))
        opened.close()
    (ycc, confidence), (tuned, as_sure) = shown
    assert np.abs(tuned[:, 1:] - ycc[:, 1:]).max() < 1e-6
    assert np.abs(as_sure - confidence).max() < 1e-6
    truth = cv2.cvtColor(lighter[15][1], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    assert np.abs(tuned[0, 0] - truth).mean() < np.abs(ycc[0, 0] - truth).mean() - 0.01
    with pytest.raises(CalibrationError, match="only knows tone"):
        ColorTuningOptions("nir", only="hue")  # type: ignore[arg-type]


@pytest.mark.gst
def test_a_stream_whose_filter_switches_gives_the_pairs_itself(tmp_path: Path) -> None:
    clip, rate, apart_s, switches = tmp_path / "week.avi", 3, 70, 6
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), float(rate), (320, 256))
    for switch in range(switches):  # another scene around each of them
        luma, rgb = (cv2.resize(each, (320, 256)) for each in pair(switch))
        textured = np.random.default_rng(switch).normal(0, 9, (64, 80)).astype(np.float32)
        textured = cv2.resize(textured, (320, 256), interpolation=cv2.INTER_CUBIC)
        infrared = np.clip(luma + textured, 0, 255).astype(np.uint8)
        color = np.clip(rgb + textured[..., None], 0, 255).astype(np.uint8)
        shown = [np.dstack([infrared] * 3), cv2.cvtColor(color, cv2.COLOR_RGB2BGR)]
        for number in range(apart_s * rate):
            writer.write(shown[(number >= apart_s * rate // 2) != switch % 2])
    writer.release()
    out, kept = tmp_path / "yard.onnx", tmp_path / "pairs"
    command = ["calibrate", "color", str(clip), "--engine", "thermal", "--out", str(out)]
    assert main([*command, "--collect", str(kept), "--threads", "1"]) == 0
    count = len(list((kept / "ir").iterdir()))
    assert 2 * switches < count <= 3 * switches
    report = json.loads((tmp_path / "yard-report.json").read_text())
    assert report["learned"] + report["held"] == count
    assert report["after"]["ciede2000"] < report["before"]["ciede2000"]


def test_a_stream_that_stays_infrared_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "yard.onnx"
    command = ["calibrate", "color", "test:nir?size=160x128", "--out", str(out), "--seconds", "1"]
    assert main(command) == 1
    assert "no pairs" in capsys.readouterr().err
    assert main(["calibrate", "color", str(tmp_path), "--collect", "x", "--out", str(out)]) == 1
    assert "name one beside the folders" in capsys.readouterr().err
    assert not out.exists()


def test_a_network_that_does_not_get_better_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(16):  # the held-back quarter has other colors than what is learned from
        luma, rgb = pair(number)
        rgb = rgb if number < 12 else np.dstack([luma] * 3)
        for kind, pixels in (("ir", luma), ("rgb", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{number:03}.png"), pixels)
    out = tmp_path / "yard.onnx"
    assert main(["calibrate", "color", str(tmp_path), "--engine", "thermal", "--out", str(out)]) == 1
    assert "do not come out better" in capsys.readouterr().err
    assert not out.exists()


def test_of_what_changes_nothing_no_network_is_written() -> None:
    same = Scores(*[1.0] * len(fields(Scores)))
    for only in ("", "tone"):
        with pytest.raises(CalibrationError, match="do not come out better"):
            ColorTuning(None, 12, 4, 1.0, same, same, LEAST_GAIN[only]).require_gain()


def test_counts_are_a_thermal_cameras_where_no_engine_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(16):
        luma, rgb = pair(number)
        for kind, pixels in (("ir", luma.astype(np.uint16) * 20 + 7000), ("rgb", rgb[..., ::-1])):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{number:03}.png"), pixels)
    told = "the pairs are a sensor's counts, a thermal camera's: give --engine nir if they are not\n"
    for engine, words in (("thermal", []), ("nir", ["--engine", "nir"])):
        out = tmp_path / f"{engine}.onnx"
        assert main(["calibrate", "color", str(tmp_path), *words, "--out", str(out)]) == 0
        assert (told in capsys.readouterr().out) == (not words)
        assert json.loads((tmp_path / f"{engine}-report.json").read_text())["engine"] == engine


@pytest.mark.parametrize(
    ("count", "held", "helps"),
    [(6, 0.25, "give 6 more"), (12, 0.25, "--held 0.33 "), (40, 0.95, "--held 0.25 ")],
)
def test_too_few_pairs_are_refused_with_what_helps_and_shares_outside_0_to_1_too(
    count: int, held: float, helps: str
) -> None:
    with pytest.raises(CalibrationError, match=f"at least 8 pairs .*: {helps}"):
        tune([pair(0)] * count, ColorTuningOptions("nir", held_share=held))
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        ColorTuningOptions("nir", held_share=1.0)
