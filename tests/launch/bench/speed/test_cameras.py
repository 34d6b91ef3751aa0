"""The bench of several cameras, in small: that it measures what it says, not how fast this machine is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irchroma.engines import catalog
from irchroma.engines.network.network import installed
from irchroma.launch.bench.speed.cameras import measure_batches
from irchroma.launch.bench.speed.played import ClipServer
from irchroma.launch.cli import main
from irchroma.stream.sources.open_source import open_source

pytestmark = pytest.mark.gst


def test_the_clip_comes_at_its_pace_to_every_client() -> None:
    server = ClipServer((48, 64), rate=25)
    try:
        for _ in range(2):
            source = open_source(server.address)
            info = source.open()
            assert info.live
            assert info.size == (48, 64)
            frames = [source.read(10) for _ in range(5)]
            assert all(frame is not None and frame.pixels.shape == (48, 64) for frame in frames)
            assert any((frames[0].pixels != frame.pixels).any() for frame in frames[1:])  # type: ignore[union-attr]
            source.close()
    finally:
        server.close()


@pytest.mark.slow
def test_shared_and_separate_networks_are_measured_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cameras.json"
    words = ("--cameras", "1,2", "--size", "64x48", "--rate", "10", "--seconds", "2", "--repetitions", "1")
    assert main(["bench", "cameras", "--json", str(path), "--engine", "gray", *words]) == 0
    told = json.loads(path.read_text())
    kinds = [(one["cameras"], one["networks"]) for one in told["runs"]]
    assert kinds == [(1, "shared"), (1, "separate"), (2, "shared"), (2, "separate")]
    for one in told["runs"]:
        assert 0 < one["slowest_frames_per_second"] <= one["frames_per_second"] < 15
        assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["worst_p99_ms"]
        assert one["resident_mb"] > 20
        assert one["cpu_ms_a_frame"] > 0
    assert set(told["added_mb_a_camera"]) == {"shared", "separate"}
    assert "2 cameras, separate networks: " in capsys.readouterr().out


def test_batches_and_lanes_are_measured_for_every_runtime() -> None:
    if not catalog.weights_path("nir", "fast").is_file():
        pytest.skip("weights of nir fast are not here")
    found = measure_batches("nir", (48, 64), rounds=1)
    assert [one["runtime"].split()[0] for one in found] == [
        name for name in ("openvino", "onnxruntime") if installed(name)
    ]
    for one in found:
        assert list(one["ms_a_frame"])[:3] == ["batch 1", "batch 2", "batch 4"]
        assert all(cost["wall"] > 0 and cost["cpu"] > 0 for cost in one["ms_a_frame"].values())
    assert measure_batches("palette:ironbow", (48, 64), rounds=1) == []


def test_sizes_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option, value in (("--cameras", "few"), ("--size", "640"), ("--cameras", "0")):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", "cameras", "--json", "x.json", option, value])
        assert capsys.readouterr().err.startswith(f"irchroma bench cameras: argument {option}: expected ")
    assert main(["bench", "cameras", "--json", "x.json", "--rate", "0"]) == 1
    assert capsys.readouterr().err.startswith("irchroma bench: ")
