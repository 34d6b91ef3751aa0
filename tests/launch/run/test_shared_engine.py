"""Cameras at one network that fails: each goes on in raw and comes back by itself."""

from __future__ import annotations

import io
import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.launch.progress import Progress
from irchroma.launch.run.cameras import CameraRun
from irchroma.launch.run.engines import Shared
from irchroma.launch.run.feeds import CameraFeed, CamerasProgress
from irchroma.stream.loop.guarded import GuardedColorizer

LUMA = np.random.default_rng(3).integers(0, 256, (64, 96), dtype=np.uint8)


@pytest.mark.skipif(not installed("onnxruntime"), reason="onnxruntime is not installed")
def test_every_camera_of_a_network_that_fails_gets_a_new_one() -> None:
    pool = SharedPool(BatchOptions(20, 2), cameras=2)
    options = NeuralOptions(network=NetworkOptions("onnxruntime", threads=2, cache=None))
    cameras = [GuardedColorizer(lambda: NeuralColorizer(options, opener=pool.open)) for _ in range(2)]
    numbers = itertools.count()

    def colored(camera: GuardedColorizer) -> bool:
        number = next(numbers)  # a picture that stands still would need no new color
        ticket = camera.submit(np.roll(LUMA, number, 1), number * 40_000_000, None, False)
        return ticket is not None and camera.collect(ticket) is not None

    def both() -> list[bool]:
        answers = [False, False]

        def work(n: int) -> None:
            answers[n] = colored(cameras[n])

        threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        return answers

    assert both() == [True, True]
    (shared,) = pool._networks.values()
    shared._network.close()  # as a device that is lost: it answers nothing from now on
    assert both() == [False, False]
    assert all("closed" in (camera.reason or "") for camera in cameras)
    deadline = time.monotonic() + 20
    while both() != [True, True]:
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    assert [figures["cameras"] for figures in pool.figures()] == [2]  # one new network for both
    assert [camera.failures for camera in cameras] == [1, 1]
    cameras[0].close()
    assert colored(cameras[1])
    cameras[1].close()


@pytest.mark.gst
def test_one_line_tells_of_all_cameras(tmp_path: Path) -> None:
    run = CameraRun(source="test:nir?size=64x48&frames=9", to=("null",), engine="gray", name="gate")
    missing = CameraRun(source=str(tmp_path / "none.mp4"), to=("null",), engine="gray", name="yard")
    feeds = [CameraFeed(config, Shared(config.name)) for config in (run, missing)]
    assert [CamerasProgress.part(feed) for feed in feeds] == ["gate waiting", "yard waiting"]
    for feed in feeds:
        feed.start()
    for feed in feeds:
        assert feed.join(30)
    gate, yard = (CamerasProgress.part(feed) for feed in feeds)
    assert gate.startswith("gate 100% ")
    assert gate.endswith(" fps")
    assert yard == "yard failed"
    assert Progress(None, io.StringIO()).line(0, 5) == "0:05"
