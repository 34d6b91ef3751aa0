"""Several cameras in one process, as their users start them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.reading import frames_of
from tests.waiting import free_port, wait_for

from irchroma.engines.network.network import installed
from irchroma.engines.network.sharing import SharedNetwork
from irchroma.launch.cli import main
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.cameras import load_cameras
from irchroma.launch.run.feeds import CamerasRun
from irchroma.stream.errors import SourceError
from irchroma.stream.loop.loop import Loop
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource

pytestmark = pytest.mark.gst


def frames_in(path: Path) -> int:
    return len(frames_of(path))


def written(folder: Path, *cameras: dict[str, Any], top: str = "") -> str:
    """A configuration file; texts and lists of texts only."""
    lines = [top]
    for camera in cameras:
        lines.append("[[cameras]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in camera.items()]
    path = folder / "cameras.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def started(config: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "irchroma.launch", "run", "--config", config, *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")


def test_two_cameras_and_a_file_run_together_while_one_sink_fails_midway(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert (
        main(["run", "test:nir?size=160x128&frames=60", "--to", str(clip), "--engine", "gray", "--quiet"])
        == 0
    )
    full = tmp_path / "full.mkv"
    full.symlink_to("/dev/full")  # takes nothing: fails with the first cluster
    stats = tmp_path / "stats.json"
    config = written(
        tmp_path,
        {"name": "gate", "source": "test:nir?size=160x128&frames=30", "to": [str(tmp_path / "gate.mp4")]},
        {"name": "yard", "source": "test:thermal?size=160x128&frames=30", "to": [str(tmp_path / "yard.mp4")]},
        {
            "name": "tape",
            "source": str(clip),
            "to": [str(tmp_path / "tape.mkv"), str(full), "null"],
            "engine": "palette:ironbow",
        },
    )
    assert main(["run", "--config", config, "--quiet", "--stats", str(stats)]) == 1
    assert frames_in(tmp_path / "gate.mp4") == frames_in(tmp_path / "yard.mp4") == 30
    assert frames_in(tmp_path / "tape.mkv") == 60
    told = json.loads(stats.read_text())
    cameras = told["cameras"]
    assert {name: one["state"] for name, one in cameras.items()} == {
        "gate": "ended",
        "yard": "ended",
        "tape": "failed",
    }
    assert str(full) in cameras["tape"]["reason"]
    assert 0 < cameras["tape"]["sinks"][str(full)]["written"] < 60
    assert cameras["gate"]["engine"].startswith("nir fast")
    assert cameras["yard"]["engine"].startswith("thermal fast")
    # one more than the camera's, by which the network was prepared
    # in 8 bits where this machine is faster by it
    networks = {one["network"].removesuffix("_int8"): one["frames"] for one in told["networks"]}
    assert networks == {"nir_fast": 31, "thermal_fast": 31}


def test_cameras_of_one_engine_share_one_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = SharedNetwork.ask

    def ask_once_all_are_there(self: SharedNetwork, *words: Any, **named: Any) -> Any:
        wait_for(lambda: self.most_seats == 3, 60)
        return ask(self, *words, **named)

    monkeypatch.setattr(SharedNetwork, "ask", ask_once_all_are_there)
    stats = tmp_path / "stats.json"
    source = "test:nir?size=96x64&frames=30&seed="
    config = written(
        tmp_path,
        *({"name": f"c{n}", "source": f"{source}{n}", "to": ["null"]} for n in range(3)),
        top='engine = "nir"\n[neural.network]\nlanes = 1\n[sharing]\nbatch_frames = 3\nbatch_wait_ms = 20',
    )
    assert main(["run", "--config", config, "--quiet", "--stats", str(stats)]) == 0
    (network,) = json.loads(stats.read_text())["networks"]
    assert network["frames"] == 90 + 3  # each camera prepares it once
    assert network["most_cameras"] == 3
    assert 0 < network["wait_avg_ms"] <= network["wait_max_ms"] < 5000
    assert network["calls"] < 93


@pytest.mark.usefixtures("made_up")
@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_a_camera_that_cannot_keep_up_takes_cheaper_settings_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one stays at what was chosen, by the same network; a fixed one has nothing to say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    on_frame = Governor.on_frame
    slow: list[Governor] = []

    def step_down_once(self: Governor, loop: Loop) -> None:
        """As `LoadController` would where frames are late."""
        on_frame(self, loop)
        colorizer = self._colorizer
        if colorizer is None or not self.summary()["seconds"]:
            return
        if not slow:
            slow.append(self)
            colorizer.wish(1)
        if self is slow[0] and colorizer.rung == 1:
            done.set()

    done = threading.Event()
    monkeypatch.setattr(Governor, "on_frame", step_down_once)
    source = "test:nir?size=96x64&live=1"
    ordered = load_cameras(
        Path(
            written(
                tmp_path,
                *({"name": name, "source": source, "to": ["null"], "engine": "nir"} for name in "ab"),
                {"name": "c", "source": source, "to": ["null"], "engine": "nir", "fixed": True},
            )
        ),
        {},
    )
    cameras = CamerasRun(ordered)
    running = threading.Thread(target=cameras.run)
    running.start()
    assert done.wait(60)
    cameras.stop()
    running.join(30)
    told = cameras.stats()
    autos = [told["cameras"][name]["auto"] for name in "abc"]
    assert autos[2] is None
    assert all("cameras (measured" in one["chosen"] for one in autos[:2])
    assert len({one["now"] for one in autos[:2]}) == 2
    assert max(network["most_cameras"] for network in told["networks"]) >= 2


def test_a_camera_that_is_missing_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stats = tmp_path / "stats.json"
    cameras = (
        {"name": "gone", "source": f"rtsp://127.0.0.1:{free_port()}/x", "to": ["null"], "engine": "gray"},
        {"name": "lost", "source": str(tmp_path / "none.mp4"), "to": ["null"], "engine": "gray"},
        {"name": "here", "source": "test:nir?size=64x48&frames=9", "to": ["null"], "engine": "gray"},
    )
    config = written(tmp_path, *cameras)
    assert main(["run", "--config", config, "--quiet", "--log", "json", "--stats", str(stats)]) == 1
    told = json.loads(stats.read_text())["cameras"]
    assert [told[name]["state"] for name in ("gone", "lost", "here")] == ["failed", "failed", "ended"]
    assert told["here"]["frames"] == 9
    assert "no such file" in told["lost"]["reason"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line.get("camera") for line in lines if "given up" in line["message"]} == {"gone", "lost"}


def test_a_mistake_in_one_camera_starts_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "a.mp4"
    good = {"name": "good", "source": "test:nir?size=64x48&frames=9", "to": [str(video)], "engine": "gray"}
    for key, value in (
        ("to", ["out.txt"]),
        ("engine", "uv"),
        ("engine", "palette:xx"),
        ("source", "test:xray"),
    ):
        config = written(tmp_path, good, {**good, "name": "bad", "to": ["null"], key: value})
        assert main(["run", "--config", config]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert re.match(r"irchroma run: cameras\.bad: ", lines[-1]), lines
        assert not video.exists()


def test_with_wait_a_camera_may_come_later(tmp_path: Path) -> None:
    port = free_port()
    clip, late = tmp_path / "clip.mp4", tmp_path / "late.mp4"
    config = written(
        tmp_path,
        {"name": "late", "source": str(clip), "to": [str(late)], "engine": "palette"},
        {
            "name": "feed",
            "source": "test:nir?size=64x48&live=1",
            "to": [f"rtsp://127.0.0.1:{port}/feed", f"rtsp://127.0.0.1:{port}/again"],
            "engine": "gray",
        },
    )
    process = started(config, "--wait")
    try:
        viewer = RtspSource(f"rtsp://127.0.0.1:{port}/again", RtspOptions())
        deadline = time.monotonic() + 30
        while True:
            try:
                viewer.open()
                break
            except SourceError:
                assert time.monotonic() < deadline
                threading.Event().wait(0.1)
        assert viewer.read(10) is not None
        viewer.close()
        assert not late.exists()
        words = ["run", "test:nir?size=64x48&frames=9", "--to", str(tmp_path / "made.mp4")]
        assert main([*words, "--engine", "gray", "--quiet"]) == 0
        (tmp_path / "made.mp4").rename(clip)
        wait_for(lambda: late.exists() and late.stat().st_size > 500)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert frames_in(late) == 9
    assert re.search(r" W late: .*no such file.*; trying again", errors)
    assert re.search(r" I feed: source: synthetic", errors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_every_file_and_exits_with_0(number: int, tmp_path: Path) -> None:
    videos = [tmp_path / f"{n}.mp4" for n in range(2)]
    config = written(
        tmp_path,
        *(
            {
                "name": video.stem,
                "source": "test:nir?size=64x48&live=1",
                "to": [str(video)],
                "engine": "palette",
            }
            for video in videos
        ),
    )
    process = started(config)
    wait_for(lambda: all(video.exists() and video.stat().st_size > 1000 for video in videos))
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    for video in videos:
        assert frames_in(video) > 5


def test_a_source_without_an_end_fails_no_other(tmp_path: Path) -> None:
    videos = {"endless": tmp_path / "endless.mp4", "live": tmp_path / "live.mp4"}
    sources = {"endless": "test:nir?size=64x48", "live": "test:nir?size=64x48&live=1"}
    config = written(
        tmp_path,
        *(
            {"name": name, "source": sources[name], "to": [str(video)], "engine": "gray"}
            for name, video in videos.items()
        ),
    )
    process = started(config)
    wait_for(lambda: all(video.exists() and video.stat().st_size > 1000 for video in videos.values()))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "stopped before the end" not in errors


def test_a_file_that_is_not_colored_to_its_end_is_named_and_no_success(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    source = "test:nir?size=640x480&frames=20000"
    config = written(tmp_path, {"name": "v", "source": source, "to": [str(video)], "engine": "gray"})
    process = started(config)
    wait_for(lambda: video.exists() and video.stat().st_size > 1000)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert re.search(r" E v: stopped before the end: \d+ of the source's 20000 frames", errors)


def test_a_file_that_was_not_begun_when_the_run_was_stopped_is_named_a_camera_is_not(tmp_path: Path) -> None:
    video = tmp_path / "night.mp4"
    assert (
        main(["run", "test:nir?size=64x48&frames=5", "--to", str(video), "--engine", "gray", "--quiet"]) == 0
    )
    config = written(
        tmp_path,
        {"name": "file", "source": str(video), "to": ["null"], "engine": "gray"},
        {"name": "camera", "source": "rtsp://127.0.0.1:9/none", "to": ["null"], "engine": "gray"},
    )
    cameras = CamerasRun(load_cameras(Path(config), {}))
    cameras.stop()
    assert cameras.run() == 0
    assert cameras.lacking() == {"file": "stopped before the end: it was not begun"}
    assert [feed.missed() for feed in cameras.feeds] == ["", "no picture came"]


_NEVER_ENDS = """
import threading
from irchroma.launch.run.process import stop_on_signals
stop_on_signals(lambda: print("stopping", flush=True))
print("ready", flush=True)
while True:
    threading.Event().wait(0.05)
"""


@pytest.mark.parametrize("apart_s", [0.0, 1.2])
def test_a_second_signal_ends_the_process_at_once_unless_it_is_the_same_wish(apart_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _NEVER_ENDS], stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    if apart_s:
        assert process.stdout.readline() == "stopping\n"  # it counts from here, however late the first came
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(apart_s)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
    else:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
        process.wait(10)
    process.stdout.close()


@pytest.mark.slow
def test_a_camera_that_goes_away_is_found_again_while_the_other_runs_on(tmp_path: Path) -> None:
    ports, page = {"gate": free_port(), "yard": free_port()}, free_port()

    def camera(name: str) -> subprocess.Popen[str]:
        words = ["test:nir?size=160x128&rate=20&live=1&noise=0", "--engine", "gray", "--quiet"]
        command = [sys.executable, "-m", "irchroma.launch", "run", *words]
        return subprocess.Popen(
            [*command, "--to", f"rtsp://127.0.0.1:{ports[name]}/cam"],
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )

    def told() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/stats.json", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def state(name: str) -> str:
        return str(told().get(name, {}).get("state"))

    config = written(
        tmp_path,
        *(
            {"name": name, "source": f"rtsp://127.0.0.1:{port}/cam", "to": [f"http://127.0.0.1:{page}"]}
            for name, port in ports.items()
        ),
        top='engine = "palette:ironbow"\n[reconnect]\nwait_at_start = true\nstall_s = 1.0',
    )
    feed = started(config, "--quiet")
    cameras = {"gate": camera("gate")}
    try:
        wait_for(lambda: state("gate") == "live")  # though the other is not there yet
        cameras["yard"] = camera("yard")
        wait_for(lambda: state("yard") == "live")
        cameras["gate"].kill()
        cameras["gate"].communicate()
        wait_for(lambda: state("gate") in ("lost", "slate"))
        before = told()
        wait_for(lambda: told()["yard"]["frames"] > before["yard"]["frames"] + 20)
        assert state("yard") == "live"
        assert told()["gate"]["frames"] == before["gate"]["frames"]
        cameras["gate"] = camera("gate")
        wait_for(lambda: state("gate") == "live")
        wait_for(lambda: told()["gate"]["frames"] > before["gate"]["frames"])
        assert told()["gate"]["reconnections"] >= 1
        assert told()["yard"]["reconnections"] == 0
    finally:
        for process in (feed, *cameras.values()):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    assert feed.returncode == 0
