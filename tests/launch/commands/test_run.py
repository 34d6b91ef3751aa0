"""Whole runs of `irchroma run`, as its users start them."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reading import frames_of
from tests.waiting import free_port, wait_for

from irchroma.launch.cli import main
from irchroma.launch.run import engines
from irchroma.stream.errors import SourceError
from irchroma.stream.frame import Frame
from irchroma.stream.sources.file_source import FileSource
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource
from irchroma.stream.synthetic.source import SyntheticSource

pytestmark = pytest.mark.gst

RUN = (sys.executable, "-m", "irchroma.launch", "run")


def run(*words: str) -> None:
    assert main(["run", *words, "--quiet"]) == 0


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*RUN, *words], stderr=subprocess.PIPE, encoding="utf-8", errors="replace")


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("ending", ["mp4", "mkv", "webm"])
def test_a_file_keeps_its_frames_and_their_times(ending: str, tmp_path: Path) -> None:
    clip, colored = tmp_path / "clip.mp4", tmp_path / f"colored.{ending}"
    run("test:nir?size=64x48&rate=30000/1001&frames=40", "--to", str(clip), "--engine", "gray")
    run(str(clip), "--to", str(colored), "--engine", "palette:rainbow")
    before, after = frames_of(FileSource(clip)), frames_of(FileSource(colored))
    assert len(before) == len(after) == 40
    for one, other in zip(before, after, strict=True):
        assert abs(one.pts_ns - other.pts_ns) < 1_000_000  # Matroska counts in milliseconds
    assert after[20].is_color


def test_the_raw_track_is_the_input_to_the_bit(tmp_path: Path) -> None:
    raw = tmp_path / "raw.mkv"
    address = "test:thermal?size=64x48&frames=12&seed=4"
    run(address, "--to", "null", "--engine", "palette", "--keep-raw", str(raw))
    kept, truth = frames_of(FileSource(raw)), frames_of(SyntheticSource.from_address(address))
    assert len(kept) == 12
    for one, other in zip(kept, truth, strict=True):
        assert one.is_counts
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_several_sinks_get_the_same_run(tmp_path: Path) -> None:
    files = [tmp_path / "a.mp4", tmp_path / "b.mkv"]
    stats = tmp_path / "stats.json"
    words = [word for file in files for word in ("--to", str(file))]
    run(
        "test:nir?size=64x48&frames=9", *words, "--engine", "palette", "--view", "side", "--stats", str(stats)
    )
    for file in files:
        frames = frames_of(FileSource(file))
        assert len(frames) == 9
        assert frames[0].size == (48, 128)
    told = json.loads(stats.read_text())
    assert told["frames"] == 9
    assert {sink["written"] for sink in told["sinks"].values()} == {9}
    assert set(told["stages"]) == {"capture", "tone_map", "color", "compose"}
    assert {"avg_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"} <= set(told["stages"]["color"])


def test_the_flicker_of_a_network_is_among_the_statistics(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    run("test:nir?size=160x128&frames=12", "--to", "null", "--engine", "nir", "--stats", str(stats))
    assert 0 <= json.loads(stats.read_text())["flicker"] < 1


def test_what_a_camera_sends_before_frames_are_taken_is_passed_and_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engines.open_colorizer

    def made_late(*about: Any) -> Any:
        threading.Event().wait(0.25)  # the first frame waits a little longer for its engine
        return made(*about)

    monkeypatch.setattr(engines, "open_colorizer", made_late)
    stats = tmp_path / "stats.json"
    camera = "test:nir?size=64x48&rate=30&live=1&frames=40&ahead=1"
    run(camera, "--to", "null", "--engine", "gray", "--stats", str(stats))
    told = json.loads(stats.read_text())
    assert told["passed_before_start"] >= 3
    assert told["frames"] + told["dropped_before_processing"] + told["passed_before_start"] == 40


def test_the_printed_configuration_can_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["test:nir?size=64x48&frames=3", "--to", str(tmp_path / "o.mp4"), "--engine", "palette:lava"]
    assert main(["run", *words, "--span", "10,200", "--osd", "--print-config"]) == 0
    printed = capsys.readouterr().out
    config = tmp_path / "run.toml"
    config.write_text(printed)
    assert main(["run", "--config", str(config), "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    run("--config", str(config))
    assert len(frames_of(FileSource(tmp_path / "o.mp4"))) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_file_and_exits_with_0(number: int, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    process = started("test:nir?size=64x48&live=1", "--to", str(video), "--engine", "palette")
    wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert len(frames_of(FileSource(video))) > 5


def test_statistics_are_shown_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("run", "test:nir?size=96x64&frames=5", "--to", "null", "--engine", "gray", "--stats", "-")
    assert main([*words]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 5
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_file_that_is_not_colored_to_its_end_is_no_success(number: int, tmp_path: Path) -> None:
    """A script that then deletes the original would lose what is not in the copy."""
    video = tmp_path / "v.mp4"
    process = started("test:nir?size=640x480&frames=20000", "--to", str(video), "--engine", "gray")
    wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    assert "of the source's 20000 frames were colored" in errors.splitlines()[-1]
    assert 1 < len(frames_of(FileSource(video))) < 20000


def test_a_source_without_an_end_is_not_cut_short(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    process = started("test:nir?size=64x48", "--to", str(video), "--engine", "gray")
    wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "stopped before the end" not in errors
    assert len(frames_of(FileSource(video))) > 5


def test_a_killed_run_leaves_a_playable_file(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    process = started("test:nir?size=64x48&live=1", "--to", str(video), "--engine", "palette")
    wait_for(lambda: video.exists() and video.stat().st_size > 8000)
    process.kill()
    process.communicate(timeout=30)
    source = FileSource(video)
    source.open()
    frames = 0
    try:
        while source.read(10) is not None:
            frames += 1
    except SourceError:
        pass  # what the last, unfinished fragment lacks is reported after the frames before it
    finally:
        source.close()
    assert frames > 5


def saturation(frame: Frame) -> float:
    return float(np.ptp(frame.pixels.astype(int), axis=2).mean()) if frame.is_color else 0.0


@pytest.mark.alone
@pytest.mark.slow
def test_a_camera_that_goes_away_is_bridged_and_found_again(tmp_path: Path) -> None:
    camera_port, out_port = free_port(), free_port()
    camera_words = (
        *("test:nir?size=160x128&rate=25&live=1", "--engine", "gray", "--quiet"),
        *("--to", f"rtsp://127.0.0.1:{camera_port}/cam"),
    )
    camera = started(*camera_words)
    wait_for(lambda: listens(camera_port))
    feed = started(
        *(f"rtsp://127.0.0.1:{camera_port}/cam", "--to", f"rtsp://127.0.0.1:{out_port}/color", "--wait"),
        *("--engine", "palette:ironbow", "--quiet"),
    )
    wait_for(lambda: listens(out_port))
    seen: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        viewer = RtspSource(f"rtsp://127.0.0.1:{out_port}/color", RtspOptions())
        viewer.open()
        while not done.is_set():
            frame = viewer.read(10)
            assert frame is not None
            seen.append((time.monotonic(), saturation(frame)))
        viewer.close()

    viewer = threading.Thread(target=watch)
    viewer.start()
    try:
        wait_for(lambda: len(seen) > 20)
        colored = max(value for _, value in seen)
        camera.kill()
        camera.communicate()
        wait_for(lambda: seen[-1][1] < 0.4 * colored)  # the card
        camera = started(*camera_words)
        wait_for(lambda: listens(camera_port))
        returned_s = time.monotonic()
        wait_for(lambda: seen[-1][1] > 0.6 * colored)
        color_s = seen[-1][0]
    finally:
        done.set()
        viewer.join(30)
        for process in (feed, camera):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    gaps = np.diff([at for at, _ in seen])
    assert gaps.max() < 1.5
    assert color_s - returned_s < 5  # 2 s on a quiet machine; a loaded one takes longer to start processes
    assert feed.returncode == 0


def test_rates_are_fractions_to_the_end(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    run("test:nir?size=64x48&rate=30000/1001&frames=5", "--to", str(clip), "--engine", "gray")
    source = FileSource(clip)
    assert abs(source.open().rate - Fraction(30000, 1001)) < Fraction(1, 100)
    source.close()
