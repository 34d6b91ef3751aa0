"""How long a start takes, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from irchroma.launch.bench.start import first_picture
from irchroma.launch.config import ConfigError


@pytest.mark.gst
def test_a_start_is_measured_until_its_first_picture() -> None:
    wall_s, work_s = first_picture(["test:nir?size=64x48&frames=3", "--engine", "gray"])
    assert work_s > 0
    assert 0 < wall_s < 60
    with pytest.raises(ConfigError, match="gave no picture"):
        first_picture(["no-such-file.mp4"])


def test_a_start_loads_nothing_that_it_does_not_need() -> None:
    """Each of these took 20 ms to 300 ms of every start once."""
    unwanted = ["skimage", "openvino", "urllib.request", "uvicorn", "starlette", "importlib.metadata", "onnx"]
    unwanted += ["irchroma.engines.gpu.colorizer", "irchroma.calibration.machine_speed"]
    unwanted += ["irchroma.stream.synthetic", "irchroma.launch.run.automatic"]
    code = "import sys, irchroma.launch.cli, irchroma.launch.commands.run; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", errors="replace", check=True
    )
    assert not set(unwanted) & set(done.stdout.split())
