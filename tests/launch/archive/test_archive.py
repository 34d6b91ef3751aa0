"""An archive is colored in parallel as one run would: counts, times, seams; killed, resumed, done once."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.launch.archive.plan import cut
from irchroma.launch.archive.segment import Done, Job
from irchroma.launch.archive.workers import open_workers
from irchroma.launch.cli import main
from irchroma.stream.errors import StreamError

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]  # workers that start on a loaded machine

FRAMES, RATE = 240, 10
# Lossless, so that pictures are compared and not an encoder's rounding; a network with its memory.
ENGINE = ["--engine", "nir", "--runtime", "openvino", "--quality", "0"]
SEGMENTS = ["--segment-length", "8", "--overlap", "12", "--workers", "2"]
COMMAND = [sys.executable, "-m", "irchroma.launch", "archive"]

SAID = {
    "title": "Gate, by night — “no. 7”",
    "comment": "a note",
    "creation_time": "2024-03-05T21:14:03.000000Z",
    "location": "+48.2083+016.3731/",
}

Pictures = list[tuple[Fraction, np.ndarray]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 s with sound, a key frame every 2 s, in a folder of its own."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    (folder / "cameras").mkdir(parents=True)
    silent, path = folder.parent / "silent.mp4", folder / "cameras" / "night.mp4"
    source = f"test:nir?size=96x64&rate={RATE}&frames={FRAMES}&jumps=every:9"
    assert main(["run", source, "--to", str(silent), "--engine", "gray", "--quiet"]) == 0
    tone = [
        "-f",
        "lavfi",
        "-i",
        f"sine=frequency=440:duration={FRAMES / RATE}",
        "-c:v",
        "copy",
        "-c:a",
        "aac",
    ]
    tone += [word for name, value in SAID.items() for word in ("-metadata", f"{name}={value}")]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(silent), *tone, str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def single(clip: Path) -> Pictures:
    path = clip.parents[2] / "single.mp4"
    words = ["run", str(clip), "--to", str(path), *ENGINE, "--fixed", "--color-every", "1", "--quiet"]
    assert main(words) == 0
    return pictures(path)


def pictures(path: Path) -> Pictures:
    with av.open(str(path)) as file:
        return [(frame.pts * frame.time_base, frame.to_ndarray()) for frame in file.decode(video=0)]


def require_same(path: Path, single: Pictures) -> None:
    found = pictures(path)
    assert len(found) == len(single) == FRAMES
    assert [time for time, _ in found] == [time for time, _ in single]
    for (_, picture), (_, expected) in zip(found, single, strict=True):
        assert np.abs(picture.astype(int) - expected).max() <= 2


def manifest(folder: Path) -> dict:
    return json.loads((folder / "irchroma-archive.json").read_text(encoding="utf-8"))["recordings"]


def children(parent: int, word: bytes) -> list[int]:
    """Processes that descend from `parent` and have `word` in their command line."""
    parents, found = {}, []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
                parents[int(entry.name)] = int(status.split()[1])
                if word in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue

    def descends(pid: int) -> bool:
        while pid > 1 and pid != parent:
            pid = parents.get(pid, 0)
        return pid == parent

    return [pid for pid in found if pid != parent and descends(pid)]


def killed_once(process: subprocess.Popen, word: bytes) -> None:
    """Kill one of its workers while it works."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and process.poll() is None:
        for pid in children(process.pid, word):
            time.sleep(1.0)  # into the middle of its work
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)
    raise AssertionError("no worker was seen")


def run_with_one_killed(command: list[str], word: bytes) -> None:
    """A run that ends well although one of its workers is killed."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
    try:
        killed_once(process, word)
        _, said = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def colored(clip: Path) -> Path:
    """The folder of results, a worker having been killed on the way."""
    out = clip.parents[2] / "out"
    command = [*COMMAND, str(clip.parents[1]), str(out), *ENGINE, *SEGMENTS]
    run_with_one_killed(command, b"segment-0000")
    return out


def test_two_workers_give_the_pictures_of_one_run_though_one_is_killed(
    colored: Path, single: Pictures
) -> None:
    require_same(colored / "cameras" / "night.mp4", single)
    told = manifest(colored)["cameras/night.mp4"]
    assert [segment["frames"] for segment in told["segments"]] == [80, 80, 80]
    assert sum(segment["failed_attempts"] for segment in told["segments"]) == told["failed_attempts"] == 1
    assert not list((colored / ".irchroma-archive").iterdir())


def test_sound_and_time_of_the_file_are_kept(colored: Path, clip: Path) -> None:
    path = colored / "cameras" / "night.mp4"
    with av.open(str(path)) as file:
        seconds = sum(frame.samples for frame in file.decode(audio=0)) / 44100
    assert seconds == pytest.approx(FRAMES / RATE, abs=0.1)
    assert path.stat().st_mtime_ns == clip.stat().st_mtime_ns
    assert path.stat().st_mode == clip.stat().st_mode


def said(path: Path) -> dict[str, str]:
    with av.open(str(path)) as file:
        return {name.lower().removesuffix("s"): value for name, value in file.metadata.items()}


def test_what_a_recording_says_of_itself_is_kept(colored: Path) -> None:
    found = said(colored / "cameras" / "night.mp4")
    assert {name: found[name] for name in SAID} == SAID


def test_matroska_says_it_without_quotes(clip: Path, tmp_path: Path) -> None:
    tagged, out = tmp_path / "tagged.mkv", tmp_path / "out.mkv"
    told = {name: value for name, value in SAID.items() if name != "location"}
    words = [word for name, value in told.items() for word in ("-metadata", f"{name}={value}")]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(clip), "-t", "2", "-c", "copy", *words, str(tagged)], check=True
    )
    assert main(["archive", str(tagged), str(out), "--engine", "gray", "--quiet"]) == 0
    found = said(out)
    assert {name: found[name] for name in told} == told
    assert pictures(out)


def test_again_nothing_is_done_twice(colored: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = colored / "cameras" / "night.mp4"
    before = path.stat().st_ino, path.read_bytes()
    words = [str(clip.parents[1]), str(colored), *ENGINE, *SEGMENTS[:4], "--workers", "1", "--quiet"]
    assert main(["archive", *words]) == 0
    assert "0 colored, 1 were there already" in capsys.readouterr().out
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_what_was_interrupted_goes_on(clip: Path, tmp_path: Path, single: Pictures) -> None:
    words = [str(clip), str(tmp_path / "night.mp4"), *ENGINE, *SEGMENTS[:4], "--workers", "1"]
    process = subprocess.Popen([*COMMAND, *words, "--quiet"])
    deadline_s = time.monotonic() + 60
    while not list(tmp_path.glob(".irchroma-archive/*/segment-00000.json")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert not (tmp_path / "night.mp4").exists()
    done = next(tmp_path.glob(".irchroma-archive/*/segment-00000.json")).stat().st_mtime_ns
    command = [*COMMAND, *words]
    again = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert again.returncode == 0, again.stderr
    assert "1 of 3 segments are there" in again.stderr
    assert done
    require_same(tmp_path / "night.mp4", single)


def workers_at(place: Path) -> list[int]:
    """Processes that color segments there."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if b"/segment-0" in words and str(place).encode() in words:
            found.append(int(line.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_no_worker_outlives_its_archive(number: signal.Signals, clip: Path, tmp_path: Path) -> None:
    words = [str(clip), str(tmp_path / "night.mp4"), *ENGINE, *SEGMENTS[:4], "--workers", "1"]
    process = subprocess.Popen([*COMMAND, *words, "--quiet"])
    wait_for(lambda: workers_at(tmp_path))
    (worker,) = workers_at(tmp_path)
    os.kill(worker, signal.SIGSTOP)  # until nobody is there who could end it
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait(60)
    with suppress(ProcessLookupError):  # the archive that was told to end may have ended it by now
        os.kill(worker, signal.SIGCONT)
    process.wait(60)
    wait_for(lambda: not workers_at(tmp_path))
    assert all(path.name.endswith(".job.json") for path in tmp_path.glob(".irchroma-archive/*/*.json"))


def test_counts_colored_now_and_then_have_the_brightness_of_one_run(tmp_path: Path) -> None:
    """The tone map's memory is longer than any warm-up; each piece colors the frames that one run colors."""
    raw, one, out = (tmp_path / name for name in ("raw.mkv", "one.mkv", "out.mkv"))
    source = f"test:thermal?size=96x64&rate={RATE}&frames=200"
    assert main(["run", source, "--to", "null", "--engine", "gray", "--keep-raw", str(raw), "--quiet"]) == 0
    words = [
        "--engine",
        "thermal",
        "--runtime",
        "openvino",
        "--quality",
        "0",
        "--color-every",
        "3",
        "--quiet",
    ]
    assert main(["run", str(raw), "--to", str(one), *words, "--fixed"]) == 0
    pieces = ["--segment-length", "8", "--overlap", "7", "--workers", "2"]
    assert main(["archive", str(raw), str(out), *words, *pieces]) == 0
    assert [segment["frames"] for segment in manifest(tmp_path)["out.mkv"]["segments"]] == [80, 80, 40]
    for (time_s, picture), (expected_s, expected) in zip(pictures(out), pictures(one), strict=True):
        assert time_s == expected_s
        assert np.abs(picture.astype(int) - expected).max() <= 2


def test_warm_ups_begin_with_a_picture_that_the_network_colors(clip: Path) -> None:
    for every in (1, 3, 7):
        for span in cut(clip, 7, 5, every):
            assert span.warm_ns <= max(0, span.begin_ns - 5 * 10**9)
            assert round(span.warm_ns / 1e8) % every == 0
            assert span.before_ns == (span.warm_ns - 10**8 if span.warm_ns else -1)
    assert [span.warm_ns for span in cut(clip, 7, 5, 3)] == [0, 0, 6 * 10**9]


def test_a_broken_recording_is_reported_and_the_others_are_colored(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a-broken.mp4").write_bytes(b"no video at all " * 100)
    (source / "night.mp4").write_bytes(clip.read_bytes())
    assert main(["archive", str(source), str(tmp_path / "out"), "--engine", "gray", "--quiet"]) == 1
    said = capsys.readouterr()
    assert "a-broken.mp4" in said.err
    assert "1 colored" in said.out
    states = {name: told["state"] for name, told in manifest(tmp_path / "out").items()}
    assert states == {"a-broken.mp4": "failed", "night.mp4": "done"}
    assert len(pictures(tmp_path / "out" / "night.mp4")) == FRAMES


@pytest.mark.parametrize("kind", ["ts", "m2ts", "flv", "mpg"])
def test_a_recording_without_an_index_is_put_together_picture_by_picture(
    clip: Path, tmp_path: Path, kind: str
) -> None:
    source, out, one = tmp_path / f"night.{kind}", tmp_path / "out.mkv", tmp_path / "one.mkv"
    old = ("-c:v", "mpeg2video", "-r", "25", "-q:v", "2", "-c:a", "mp2")
    remuxed = ("-t", "12", "-i", str(clip), *(old if kind == "mpg" else ("-c", "copy")), str(source))
    subprocess.run(["ffmpeg", "-v", "error", *remuxed], check=True)
    words = ["--engine", "gray", "--tone-map", "none", "--quality", "0", "--quiet"]
    assert main(["run", str(source), "--to", str(one), *words]) == 0
    pieces = ["--segment-length", "4", "--overlap", "2", "--workers", "1"]
    assert main(["archive", str(source), str(out), *words, *pieces]) == 0
    assert len(manifest(tmp_path)["out.mkv"]["segments"]) == (1 if kind == "mpg" else 3)
    for (time_s, picture), (expected_s, expected) in zip(pictures(out), pictures(one), strict=True):
        assert abs(time_s - expected_s) <= Fraction(1, 1000)
        assert np.abs(picture.astype(int) - expected).max() <= 2


def test_what_can_be_read_of_a_damaged_recording_is_colored(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    fast = ("-i", str(clip), "-c", "copy", "-movflags", "faststart")
    subprocess.run(["ffmpeg", "-v", "error", *fast, str(source / "whole.mp4")], check=True)
    whole = (source / "whole.mp4").read_bytes()
    (source / "cut.mp4").write_bytes(whole[: len(whole) * 7 // 10])
    (source / "whole.mp4").unlink()
    spoiled = ("-i", str(clip), "-c", "copy", "-bsf:v", "noise=amount='if(eq(n,125),9,0)'")
    subprocess.run(["ffmpeg", "-v", "error", *spoiled, str(source / "spoiled.mp4")], check=True)
    words = ["archive", str(source), str(out), "--engine", "gray", "--quiet", "--segment-length", "12"]
    for again in (False, True):
        assert main([*words, "--overlap", "2"]) == 1
        said = capsys.readouterr()
        assert "cut.mp4 is truncated" in said.err
        assert "spoiled.mp4 is damaged" in said.err
        assert ("0 colored, 2 were there already" if again else "2 colored, 0 were there") in said.out
    for name, told in manifest(out).items():
        assert told["state"] == "damaged"
        assert told["failed_attempts"] == 0
        assert f"the {len(pictures(out / name))} frames that could be read" in told["reason"]
    assert len(pictures(out / "cut.mp4")) > FRAMES // 2
    assert len(pictures(out / "spoiled.mp4")) >= FRAMES - 40


def test_cuts_are_at_key_frames(clip: Path) -> None:
    assert [(span.begin_ns, span.frames) for span in cut(clip, 7)] == [
        (0, 80),
        (8 * 10**9, 80),
        (16 * 10**9, 80),
    ]


def test_a_worker_that_says_much_is_not_held_up(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GST_DEBUG", "qtdemux:6")  # 190 kB, where a pipe holds 64 KiB
    job = Job(str(clip), {"engine": "gray"}, "", 0, 2 * 10**9, 0, 20, str(tmp_path / "segment"), 0)
    workers = open_workers(1, None)
    workers.start(job)
    assert workers.next() == (job, None)
    assert Done.read(job) is not None


def test_a_worker_s_last_line_says_why_it_failed(clip: Path, tmp_path: Path) -> None:
    job = Job(str(clip), {"engine": "gray"}, "", 0, 2 * 10**9, 0, 21, str(tmp_path / "segment"), 0)
    workers = open_workers(1, None)
    workers.start(job)
    assert workers.next() == (job, f"{clip}: segment 0 has 21 pictures, 20 came out")
    assert not list(tmp_path.glob("*.part.mkv")), "an attempt that failed leaves nothing behind"


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StreamError, match=r"^--ray needs Ray: pip install 'irchroma\[fleet\]'$"):
        open_workers(1, "local")


@pytest.mark.cluster
def test_ray_gives_the_same_though_one_of_its_workers_is_killed(
    clip: Path, tmp_path: Path, single: Pictures
) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not here: pip install 'irchroma[fleet]'")
    command = [*COMMAND, str(clip), str(tmp_path / "night.mp4"), *ENGINE, *SEGMENTS, "--ray", "local"]
    run_with_one_killed(command, b"ray::_ray_task")
    require_same(tmp_path / "night.mp4", single)
    assert manifest(tmp_path)["night.mp4"]["failed_attempts"] == 1
