"""How long a start takes, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from irchroma.launch.bench.child import finished
from irchroma.launch.bench.speed.start import compiled_once, first_pictures
from irchroma.launch.config import ConfigError


@pytest.mark.gst
def test_a_start_is_measured_until_its_first_picture_and_its_first_colored_one() -> None:
    found = first_pictures(["test:nir?size=64x48&frames=3", "--engine", "palette:ironbow"])
    assert 0 < found["first_s"] == found["color_s"] < 60
    assert found["cpu_s"] > 0


@pytest.mark.gst
def test_a_start_without_a_picture_and_one_without_color_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no-such-file\.mp4 failed"):
        first_pictures(["no-such-file.mp4"])
    with pytest.raises(ConfigError, match="gave no color"):
        first_pictures(["test:nir?size=64x48&frames=3", "--engine", "gray"])


def test_what_python_compiles_is_kept_between_measured_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    command = [sys.executable, "-c", "import irchroma.launch.arguments"]
    finished(command, "a start", compiled_once(tmp_path))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pyc")}
    assert any(path.name.startswith("arguments.") for path in made)
    finished(command, "a start", compiled_once(tmp_path))
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pyc")}


def test_a_start_loads_nothing_that_it_does_not_need() -> None:
    """Each of these took 20 ms to 300 ms of every start once."""
    unwanted = ["skimage", "openvino", "urllib.request", "uvicorn", "starlette", "importlib.metadata", "onnx"]
    unwanted += ["irchroma.engines.gpu.colorizer", "irchroma.engines.neural.speed.pace"]
    unwanted += ["irchroma.stream.synthetic", "irchroma.launch.run.automatic", "numpy.ma", "http.client"]
    unwanted += ["irchroma.engines.repair.repairer", "irchroma.engines.retrieval"]
    unwanted += [
        "irchroma.calibration.pairs",
        "irchroma.stream.sinks.rtsp.sink",
        "irchroma.stream.sinks.http.sink",
    ]
    code = "import sys, irchroma.launch.cli, irchroma.launch.commands.run; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", errors="replace", check=True
    )
    assert not set(unwanted) & set(done.stdout.split())


def test_a_test_camera_and_openvino_load_nothing_that_only_others_need() -> None:
    """Masked arrays and the conversion of networks: 45 ms and 100 ms of a start."""
    code = (
        "import sys, irchroma.engines.network.openvino_runtime\n"
        "from irchroma.stream.sources.open_source import open_source\n"
        "source = open_source('test:nir?size=64x48')\n"
        "source.open()\n"
        "assert 'openvino.tools.ovc' not in sys.modules and 'numpy.ma' not in sys.modules\n"
        "import openvino.tools.ovc\n"  # for whoever does convert
        "assert openvino.tools.ovc.convert_model"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
