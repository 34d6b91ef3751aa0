"""Three cameras whose parts fail, hang, come late or give garbage at random, and an output that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.gst
@pytest.mark.timeout(120)
def test_output_goes_on_whatever_fails_and_nothing_is_left_behind(
    tmp_path: Path, read_file: Callable
) -> None:
    command = [sys.executable, "-m", "tests.stream.loop.chaos", "--seconds", "40", "--seed", "1"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == [], report
    assert done.returncode == 0
    for number, camera in enumerate(report["cameras"]):
        recorded = read_file(tmp_path / f"camera{number}.mp4")
        assert len(recorded.pts_ns) > 0.8 * camera["pictures"]
