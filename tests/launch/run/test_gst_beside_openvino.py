"""GStreamer and OpenVINO in one process: libunwind must not answer for libgcc."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

_PROGRAM = """
from irchroma.stream.gstreamer import door
door.modules()
import openvino
try:
    openvino.Core().read_model("no such file.xml")
except RuntimeError:
    print("caught")
"""


@pytest.mark.gst
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_an_exception_inside_openvino_survives_gstreamer_loaded_before_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, encoding="utf-8", errors="replace", timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr[-500:]
