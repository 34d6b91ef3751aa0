"""The live bench: the library that its runs choose of, and a run that fails."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from irchroma.launch.bench.speed import live
from irchroma.launch.bench.speed.played import RATE, PlayedCamera
from irchroma.launch.config import ConfigError
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

pytest.importorskip("voyager", reason="libraries are searched with voyager")


def test_the_camera_s_own_scene_is_in_the_library_and_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SCENES", 3)
    library = live.scenes_library(tmp_path / "library", live.SIZES[0])
    counts = SyntheticCamera(SyntheticOptions(band="thermal", size=live.SIZES[0])).frame(5).pixels
    dark, bright = np.percentile(counts, (1, 99))
    luma = np.clip(255 * (counts - dark) / (bright - dark), 0, 255).astype(np.uint8)
    assert len(library.search(luma, 3)) == 3
    assert library.search(luma, 1)[0].entry.source == "scene 0"


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="size"):
        live.measure_latency((3, 3), "palette:ironbow", 1.0, tmp_path)


def test_a_played_camera_gives_its_frames_at_their_pace_and_ends_who_has_them(tmp_path: Path) -> None:
    size, taken = (120, 160), tmp_path / "taken"  # more than a pipe holds: the play begins with the reader
    camera = PlayedCamera(size)
    drawn = SyntheticCamera(SyntheticOptions(band="thermal", size=size))
    code = f"""
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with open({str(taken)!r}, "wb", buffering=0) as file:
    while part := sys.stdin.buffer.read1():
        file.write(part)
signal.sigwait([signal.SIGTERM])
print("ended", file=sys.stderr)
"""
    start_s = time.monotonic()
    log = camera.shown_to([sys.executable, "-c", code], 7, "a reader", {})
    assert time.monotonic() - start_s > 5 / RATE
    assert log == "ended\n"
    frames = np.frombuffer(taken.read_bytes(), "<u2").reshape(-1, *size)
    assert len(frames) + camera.left_out == 7
    np.testing.assert_array_equal(frames[0], drawn.frame(0).pixels)


def test_who_does_not_want_a_played_camera_s_frames_says_why() -> None:
    camera = PlayedCamera((24, 32))
    with pytest.raises(ConfigError, match="no thanks"):
        camera.shown_to([sys.executable, "-c", "raise SystemExit('no thanks')"], 10**6, "a reader", {})
