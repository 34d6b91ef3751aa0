"""A run whose device packs the pictures for the encoder: the video is the same, R'G'B' is never made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.tiny_network import write_tiny_network

from irchroma.engines import choice
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cpu_device import CpuDevice, CpuPictures
from irchroma.engines.gpu.frames.pictures import PictureOnDevice, PicturePool
from irchroma.engines.gpu.frames.transfer import DevicePicture
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.launch.cli import main
from irchroma.launch.run import engines, outputs
from irchroma.launch.run.engines import encoders_only
from irchroma.launch.run.monitoring.monitor import FlickerWatch
from irchroma.launch.run.settings.options import OutputOptions, RunConfig
from irchroma.stream import survey
from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Job
from irchroma.stream.sinks.encoding.encoders import Encoder
from irchroma.stream.sinks.encoding.task import EncoderOptions, EncoderTask
from irchroma.stream.view.osd import OsdOptions
from irchroma.stream.view.views import ViewOptions

FRAMES = 8


def pictures(path: Path) -> NDArray[np.uint8]:
    """All frames of a video."""
    video, found = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        found.append(answer[1])
    return np.stack(found)


def coarse(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 8x8 pixels."""
    return cv2.resize(rgb.astype(np.float32), None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)


def off_by(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Differences of two videos, coarsely."""
    return np.stack([coarse(one) - coarse(other) for one, other in zip(some, others, strict=True)])


@pytest.mark.gst
def test_a_file_is_the_same_and_no_rgb_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_kernels: HostKernels
) -> None:
    if not installed("openvino"):
        pytest.skip("needs openvino")
    write_tiny_network(tmp_path / "tiny.onnx")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here if index == 0 else None)
    monkeypatch.setattr(choice, "open_device", lambda *_: CpuDevice(network, host_kernels))

    exact = tmp_path / "exact.toml"
    exact.write_text(
        "[neural.network]\nexact = true\n[neural.temporal]\nhalf_color = false\ndevice_motion = false\n"
    )

    def run(name: str, *words: str) -> NDArray[np.uint8]:
        source = f"test:nir?size=160x120&frames={FRAMES}"
        weights = ["--engine", "thermal", "--weights", str(tmp_path / "tiny.onnx"), "--quality", "4"]
        weights += ["--config", str(exact)]
        assert main(["run", source, "--to", str(tmp_path / name), *weights, *words]) == 0
        return pictures(tmp_path / name)

    def never(picture: Any) -> None:
        pytest.fail("R'G'B' was made")

    with monkeypatch.context() as patched:
        patched.setattr(engines, "encoders_only", lambda config: False)
        plain = run("rgb.mp4", "--runtime", "tensorrt")
    with monkeypatch.context() as patched:
        patched.setattr(DevicePicture, "rgb", property(never))
        packed = run("gpu.mp4", "--runtime", "tensorrt")
    assert len(packed) == len(plain) == FRAMES
    # Of thermal's look, whose tone stays off white, where R'G'B' alone is clipped, and hardly coded.
    assert np.abs(off_by(packed, plain)).mean() < 0.5
    off = off_by(packed, run("cpu.mp4", "--runtime", "openvino", "--device", "cpu"))
    assert np.abs(off).mean() < 0.5
    assert np.abs(off.mean((0, 1, 2))).max() < 0.1  # R'G'B' is rounded otherwise: it is 0.35 in red
    beside = run("side.mp4", "--runtime", "tensorrt", "--view", "side")
    assert beside.shape[2] == 2 * packed.shape[2]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"to": ("a.mp4", "http://:8080")}, None),
        ({"to": ("http://:8080",)}, "a page alone takes them there"),
        ({"output": OutputOptions(zero_copy=False)}, "zero_copy is off"),
        ({"output": OutputOptions(evidence=True)}, "masks and evidence are made on the host"),
        ({"output": OutputOptions(encoder=EncoderOptions("x264"))}, "x264enc does not take them"),
    ],
)
def test_pictures_stay_on_the_gpu_where_nothing_needs_them_on_the_host(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: dict[str, Any], why: str | None
) -> None:
    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    gpus = [here]
    monkeypatch.setattr(outputs.probe, "device_at", lambda index=0: dict(enumerate(gpus)).get(index))
    monkeypatch.setattr(survey.cuda_memory, "fault", lambda: None)

    def chosen(task: EncoderTask) -> Encoder:
        assert task.device == 0
        return (
            Encoder("x264", "x264enc", "") if task.options.name == "x264" else Encoder("nvenc", "", "", True)
        )

    monkeypatch.setattr(survey, "choose_encoder", chosen)
    survey.device_way_fault.cache_clear()
    outputs._say_once.cache_clear()
    config = RunConfig(**{"source": "x", "to": ("a.mp4",), **change})
    with caplog.at_level("INFO"):
        assert outputs.pictures_stay(config) is (why is None)
        assert outputs.pictures_stay(config) is (why is None)
    said = [record.getMessage() for record in caplog.records]
    assert said == ([f"pictures go to the encoder by way of the host: {why}"] if why else [])
    gpus.append(here)
    for device, stays in (("0", True), ("1", False), ("auto", False), ("all", False)):
        network = replace(config.neural.network, device=device)
        several = replace(config, neural=replace(config.neural, network=network))
        assert outputs.pictures_stay(several) is (stays and why is None)
    on_cpu = replace(config.neural, network=replace(config.neural.network, device="cpu"))
    assert not outputs.pictures_stay(replace(config, neural=on_cpu))
    survey.device_way_fault.cache_clear()


@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_flicker_is_seen_however_seldom_the_network_speaks(every: int) -> None:
    rng = np.random.default_rng(0)
    luma = rng.integers(100, 160, (96, 128), np.uint8)

    class Silent:
        def compose(self, job: Job) -> Picture:
            return Picture(job.luma)

    class Shown:
        confidence = None

        def __init__(self, level: int) -> None:
            self.rgb = np.dstack([luma + np.uint8(level), luma, luma])

    watch, looked = FlickerWatch(Silent()), 0  # type: ignore[arg-type]
    for number in range(132):
        colored = Shown(20 * (number // every % 2))  # another color with each answer, the same until the next
        before = watch.value
        watch.compose(Job(Frame(luma, number), luma, colored=colored, synthetic=True))
        looked += watch.value != before
    assert watch.value is not None
    assert watch.value > 0.5
    assert looked <= 12


def test_flicker_of_pictures_on_a_device_is_looked_at_in_two_frames_of_each_second() -> None:
    rng = np.random.default_rng(0)
    luma = rng.integers(0, 256, (96, 128), np.uint8)
    pool = PicturePool(CpuPictures(), (96, 128))
    fetched: list[int] = []

    class Silent:
        def compose(self, job: Job) -> Picture:
            return Picture(job.luma)

    watch = FlickerWatch(Silent())  # type: ignore[arg-type]
    for number in range(62):
        held = pool.take()
        assert held is not None
        chroma = 100 if number % 2 else 140  # every frame flickers
        pool.memory.write(np.full(held.array.nbytes, chroma, np.uint8), held.array)
        before = held.__dict__.get("_whole")
        colored = PictureOnDevice(held, None)
        watch.compose(Job(Frame(luma, number), luma, colored=colored, synthetic=True))
        if before is None and "_whole" in held.__dict__:
            fetched.append(number)
    assert fetched == [0, 1, 31, 32]
    assert watch.value is not None
    assert watch.value > 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"to": ("a.mp4", "rtsp://:8554/x", "http://:8080")}, True),
        ({"to": ("a.mp4", "window")}, False),
        ({"view": ViewOptions("side")}, False),
        ({"osd": OsdOptions(show=("rate",))}, False),
    ],
)
def test_what_encoders_alone_take_is_packed(change: dict[str, Any], expected: bool) -> None:
    assert encoders_only(RunConfig(**{"source": "x", "to": ("a.mp4",), **change})) is expected
