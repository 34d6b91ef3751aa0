"""The live bench: the library that its runs choose of, and a run that fails."""

import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from irchroma.launch.bench.speed import live
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


def test_a_run_beside_a_camera_is_ended_and_gives_its_log_or_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its time counts from its first frame on."""
    code = "import signal, sys; signal.sigwait([signal.SIGTERM]); print('ended', file=sys.stderr)"
    taken = threading.Event()
    first = threading.Timer(0.5, taken.set)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # which the run inherits
    try:
        start_s = time.monotonic()
        first.start()
        assert live._shown([sys.executable, "-c", code], 0.1, "a run", {}, taken) == "ended\n"
        assert time.monotonic() - start_s > 0.6
        monkeypatch.setattr(live, "_STUCK_S", 0.1)
        with pytest.raises(ConfigError, match="takes no frame"):
            live._shown([sys.executable, "-c", code], 0.1, "a run", {}, threading.Event())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with pytest.raises(ConfigError, match="no thanks"):
        live._shown([sys.executable, "-c", "raise SystemExit('no thanks')"], 60.0, "a run", {}, taken)
