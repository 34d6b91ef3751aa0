"""What the CPU bench measures in processes of their own: a frame's way stage by stage, and plain GStreamer.

And its pictures.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.recolor.recoloring import Recoloring, halves
from irchroma.engines.recolor.work_picture import answer_at, padded, reduced, work_size
from irchroma.engines.temporal.stage import TemporalStage, half_size
from irchroma.launch.config import ConfigError
from irchroma.stream.picture.picture import Picture, Planes
from irchroma.stream.sinks.encoding.encoders import choose_encoder
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer
from irchroma.stream.sinks.encoding.task import EncoderTask
from irchroma.stream.tone.tone_map import ToneMap

_CLIP_FRAMES = 24


def moving_pictures(size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """(H, W) uint8 each: a textured street that pans slowly, something that crosses it, a sensor's noise."""
    height, width = size
    random = np.random.default_rng(4)
    coarse = random.normal(0, 1, (height // 16, (width + 256) // 16)).astype(np.float32)
    wide = cv2.resize(coarse, (width + 256, height), interpolation=cv2.INTER_CUBIC) * 35 + 115
    wide += cv2.GaussianBlur(random.normal(0, 30, wide.shape).astype(np.float32), (0, 0), 1.2)
    for number in range(_CLIP_FRAMES):
        picture = wide[:, 2 * number : 2 * number + width].copy()
        left = width // 8 + number * width // 60
        cv2.rectangle(picture, (left, height // 3), (left + width // 12, 2 * height // 3), 215, -1)
        picture += random.normal(0, 1.2, picture.shape).astype(np.float32)
        yield np.asarray(np.clip(picture, 0, 255), np.uint8)


def stages(engine: str, height: str, width: str) -> None:
    """CPU time of each stage of a frame, one thread, medians; printed as JSON (runs under a mask)."""

    cv2.setNumThreads(1)
    name, size = catalog.parse(engine), (int(height), int(width))
    tone_map, stage = ToneMap(), TemporalStage()
    recoloring = Recoloring(None, catalog.BANDS[name.kind].look)
    packer = Yuv420Packer(size)
    weights = catalog.weights_path(name.kind, name.variant or catalog.SIZES[0])
    network = open_network(weights, NetworkOptions(threads=1, cache=None))
    work = work_size(size, 320)
    halved = halves(size, work)
    at = half_size(work) if halved else work
    stage.carries_half = halved
    times: dict[str, list[float]] = {}

    def timed(what: str, function: Any, *arguments: Any) -> Any:
        start_s = time.process_time() if what == "network" else time.thread_time()
        made = function(*arguments)
        end_s = time.process_time() if what == "network" else time.thread_time()
        times.setdefault(what, []).append(1e3 * (end_s - start_s))
        return made

    for number, picture in enumerate(moving_pictures(size)):
        luma = timed("tone map", tone_map.apply, picture, number * 33_333_333)
        small = timed("reduce", reduced, luma, work)
        seen = timed("motion", stage.observe, small, number * 33_333_333)
        answer = timed("network", network.infer, padded(small))
        ycc, confidence = timed("answer", answer_at, answer, 0, work, at)
        color, sure = timed("steady", stage.update, seen, ycc, confidence)
        planes = timed("picture", recoloring.planes, luma, reduced(small, at), color, sure, halved)
        timed("pack", packer.pack, Picture(planes=Planes(*planes)))
    network.close()
    print(json.dumps({what: round(float(np.median(found[4:])), 3) for what, found in times.items()}))


def gst_launch(
    clip: Path, targets: list[Path], size: tuple[int, int], rate: int, live: bool = False
) -> tuple[float, float]:
    """Wall and CPU seconds of decoding and encoding alone, once for each target and all at once.

    Args:
        clip: H.264 of `size` (H, W) and `rate`.
        targets: MP4 files.
        size, rate: see there.
        live: by a live run's encoder; else by a file's.

    Raises:
        ConfigError: it failed.
    """
    encoder = choose_encoder(EncoderTask("h264", size, Fraction(rate), live=live)).launch
    decoded = f"filesrc location={clip} ! decodebin ! videoconvert ! video/x-raw,format=I420"
    lines = [f"{decoded} ! {encoder} ! h264parse ! mp4mux ! filesink location={target}" for target in targets]
    start_s = time.monotonic()
    process = subprocess.Popen(
        ["gst-launch-1.0", "-q", *" ".join(lines).split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ConfigError("gst-launch failed on the clip")
    return time.monotonic() - start_s, usage.ru_utime + usage.ru_stime
