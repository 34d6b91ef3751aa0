"""Evidence: recorded, verified, colored anew; and every way in which a file may have been changed."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from time import time_ns as now_ns
from typing import Any

import av
import cv2
import numpy as np
import pytest
from tests.clients.viewers import by_vlc
from tests.stream.sinks.rtsp.test_rtsp_sink import served
from tests.waiting import wait_for

from irchroma.engines import catalog
from irchroma.engines.cache import digest_of
from irchroma.launch.cli import main
from irchroma.stream.errors import SourceError
from irchroma.stream.media.matroska import CLUSTER, read_element, tracks_of
from irchroma.stream.sinks.evidence import ledger
from irchroma.stream.sinks.evidence.signing import Signer, public_file, read_public
from irchroma.stream.sinks.evidence.verification import Report, verify
from irchroma.stream.sinks.files.audio_track import sound_of

pytestmark = pytest.mark.gst

FRAMES, RATE = 24, 10


def run(*words: str) -> None:
    assert main(["run", *words, "--quiet"]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clip of counts with sound, its evidence, and the key; this machine's own key stays out of it."""
    made = tmp_path_factory.mktemp("evidence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(made / "state"))
        Signer.kept(made / "key.pem")
        source = f"test:thermal?size=96x64&rate={RATE}&frames={FRAMES}"
        run(
            source,
            "--to",
            str(made / "color.mp4"),
            "--keep-raw",
            str(made / "silent.mkv"),
            "--engine",
            "gray",
        )
        silence = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={FRAMES / RATE}"]
        command = ["ffmpeg", "-v", "error", "-i", str(made / "silent.mkv"), *silence, "-c:v", "copy"]
        subprocess.run([*command, "-c:a", "pcm_s16le", str(made / "clip.mkv")], check=True)
        words = ["--engine", "palette:ironbow", "--evidence", "--evidence-key", str(made / "key.pem")]
        run(str(made / "clip.mkv"), "--to", str(made / "night.mkv"), *words)
        yield made


@pytest.fixture
def whole(folder: Path) -> bytes:
    return (folder / "night.mkv").read_bytes()


@pytest.fixture
def check(folder: Path, tmp_path: Path) -> Any:
    """Verifies bytes as a file, with the right key."""

    def verified(data: bytes) -> Report:
        path = tmp_path / "changed.mkv"
        path.write_bytes(data)
        return verify(path, read_public(public_file(folder / "key.pem")))

    return verified


def clusters(data: bytes) -> list[tuple[int, int]]:
    """Where each cluster with facts begins and ends: of the first entry, each frame's, and the end's."""
    at = read_element(data, read_element(data, 0).end).start
    found = []
    while at < len(data):
        one = read_element(data, at)
        if one.ident == CLUSTER and b'"chain"' in data[at : one.end]:
            found.append((at, one.end))
        at = one.end
    return found


def pictures(path: Path, track: int = 0) -> list[tuple[Fraction, np.ndarray]]:
    with av.open(str(path)) as file:
        return [(frame.pts * frame.time_base, frame.to_ndarray()) for frame in file.decode(video=track)]


def test_a_recording_is_whole_and_says_what_it_holds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public, told = str(public_file(folder / "key.pem")), folder / "told.json"
    assert main(["verify", str(folder / "night.mkv"), "--key", public, "--json", str(told)]) == 0
    assert f"whole: {FRAMES} frames, 2.40 s, signed" in capsys.readouterr().out
    report = json.loads(told.read_text(encoding="utf-8"))
    assert report["whole"]
    assert (report["frames"], report["colored"], report["faults"]) == (FRAMES, FRAMES, [])
    assert report["head"]["source"].endswith("clip.mkv")
    assert (
        oct((folder / "night.mkv").stat().st_mode)[-3:]
        == oct((folder / "key.pem").stat().st_mode)[-3:]
        == "600"
    )


def test_the_untouched_track_is_the_input_to_the_bit_at_its_times(folder: Path) -> None:
    kept, clip = pictures(folder / "night.mkv", 1), pictures(folder / "clip.mkv")
    assert len(kept) == len(clip) == FRAMES
    for (time, counts), (clip_time, clip_counts) in zip(kept, clip, strict=True):
        assert counts.dtype == np.uint16
        assert np.array_equal(counts, clip_counts)
        assert abs(time - clip_time) <= Fraction(1, 1000)


def test_facts_of_each_frame_stand_in_a_track_of_text(folder: Path) -> None:
    with av.open(str(folder / "night.mkv")) as file:
        lines = [ledger.parse(bytes(p)) for p in file.demux(subtitles=0) if p.size]
    facts = [line.facts for line in lines if line is not None]
    assert [fact.get("frame") for fact in facts] == [None, *range(FRAMES), None]
    assert facts[1]["engine"] == "palette ironbow"
    assert [fact["time_ns"] for fact in facts[1:-1]] == [n * 10**9 // RATE for n in range(FRAMES)]
    assert sum(bool(line.signature) for line in lines if line is not None) >= 4


def test_facts_are_no_subtitles_however_little_gstreamer_has_seen_of_them(folder: Path) -> None:
    """Its discoverer does not always wait for a track's language: of 15 looks one had none."""
    assert {sound_of(folder / "night.mkv")[1] for _ in range(60)} == {0}


def test_a_network_is_named_with_the_digest_of_its_weights_and_its_confidence(tmp_path: Path) -> None:
    key = ["--evidence", "--evidence-key", str(tmp_path / "key.pem")]
    Signer.kept(tmp_path / "key.pem")
    source = "test:nir?size=96x64&frames=4"
    run(source, "--to", str(tmp_path / "x.mkv"), *key, "--engine", "nir", "--runtime", "openvino")
    with av.open(str(tmp_path / "x.mkv")) as file:
        lines = [ledger.parse(bytes(p)) for p in file.demux(subtitles=0) if p.size]
    facts = lines[2].facts if lines[2] is not None else {}
    assert facts["engine"].startswith("nir ")
    assert facts["weights"] in {digest_of(path) for path in catalog.WEIGHTS.glob("nir_*.onnx")}
    assert 0 < facts["confidence"] <= 1


@pytest.mark.parametrize("player", ["ffmpeg", "opencv", "gstreamer", "vlc"])
def test_players_show_the_color(folder: Path, player: str, tmp_path: Path) -> None:
    path = folder / "night.mkv"
    if player == "ffmpeg":
        for stream, form in (("0:v:0", "null"), ("0:v:1", "null"), ("0:a:0", "null"), ("0:s:0", "srt")):
            command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-map", stream, "-f", form, "-"]
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", check=False
            )
            assert (done.returncode, done.stderr) == (0, "")
        return
    if player == "gstreamer":
        line = f"filesrc location={path} ! decodebin name=d d. ! queue ! videoconvert ! fakesink"
        subprocess.run(["gst-launch-1.0", "-q", *line.split()], check=True, timeout=60)
        return
    if player == "vlc":
        if shutil.which("cvlc") is None:
            pytest.skip("VLC is not here: launch/setup --dev installs it")
        shown = tmp_path / "night.mkv"
        shutil.copy(path, shown)
        shown.chmod(0o644)
        picture = by_vlc(str(shown), "", tmp_path).frames[0]
        assert np.ptp(picture.astype(int), axis=2).max() > 60  # the palette, not the gray of the other track
        return
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == FRAMES
    assert np.ptp(frames[0].astype(int), axis=2).max() > 60


def test_its_sound_goes_along(folder: Path) -> None:
    with av.open(str(folder / "night.mkv")) as file:
        loud = [np.abs(frame.to_ndarray()).max() for frame in file.decode(audio=0)]
    assert len(loud) == pytest.approx(FRAMES / RATE * 44100 / 1024, abs=2)
    assert min(loud[2:-2]) > 0.05


def test_any_flipped_bit_is_found(whole: bytes, check: Any) -> None:
    """Of every part: head, pictures, sound, facts, index, end."""
    random = np.random.default_rng(20)
    ends = [*range(0, 700, 23), *range(len(whole) - 900, len(whole), 29)]
    for at in [*ends, *random.integers(0, len(whole), 60)]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(random.integers(8))
        try:
            found = not check(bytes(changed)).whole
        except SourceError as error:
            found = "is no evidence" in str(error)
        assert found, at


@pytest.mark.parametrize(("track", "what"), [(1, "the color of"), (2, "the untouched input of")])
def test_a_changed_picture_is_named(whole: bytes, check: Any, track: int, what: str) -> None:
    at, _ = clusters(whole)[8]
    head = read_element(whole, at)
    one = read_element(whole, read_element(whole, head.start).end)  # behind the time
    if track == 2:
        one = read_element(whole, one.end)
    changed = bytearray(whole)
    changed[one.end - 5] ^= 4
    report = check(bytes(changed))
    assert report.faults == [f"{what} frame 7 at 0.700 s was changed"]


def test_a_removed_frame_is_named(whole: bytes, check: Any) -> None:
    at, end = clusters(whole)[8]
    report = check(whole[:at] + whole[end:])
    assert report.faults[0] == "a frame is missing after frame 6 at 0.600 s"


def test_two_swapped_frames_are_named(whole: bytes, check: Any) -> None:
    found = clusters(whole)
    (a, b), (c, d) = found[8], found[9]
    report = check(whole[:a] + whole[c:d] + whole[b:c] + whole[a:b] + whole[d:])
    assert "frame 7 at 0.700 s is out of its order" in report.faults


def test_a_frame_that_is_there_twice_is_named(whole: bytes, check: Any) -> None:
    at, end = clusters(whole)[8]
    assert "frame 7 at 0.700 s is there twice" in check(whole[:end] + whole[at:end] + whole[end:]).faults


def test_changed_facts_are_named(whole: bytes, check: Any) -> None:
    found = clusters(whole)[8]
    facts = whole[found[0] : found[1]].replace(b"palette ironbow", b"palette rainbow")
    report = check(whole[: found[0]] + facts + whole[found[1] :])
    assert report.faults == ["the facts of frame 7 at 0.700 s were changed, or what went before"]


@pytest.mark.parametrize("where", ["between", "within"])
def test_a_cut_end_is_said_and_what_is_there_verifies(
    whole: bytes, check: Any, where: str, tmp_path: Path
) -> None:
    at, end = clusters(whole)[15]
    report = check(whole[: at if where == "between" else (at + end) // 2])
    assert not report.whole
    assert report.faults == []
    assert "cut short at 1.30 s" in report.line
    assert report.frames == 14
    changed = tmp_path / "changed.mkv"
    assert main(["verify", str(changed)]) == 1
    assert len(pictures(changed)) >= 14


def test_what_follows_its_end_is_found(whole: bytes, check: Any) -> None:
    assert check(whole + b"more, to be told").faults == ["16 bytes follow after its end"]


def test_who_rewrites_it_needs_the_key(folder: Path, tmp_path: Path) -> None:
    """Every hash right, and another's signature."""
    Signer.kept(tmp_path / "other.pem")
    words = ["--engine", "gray", "--evidence", "--evidence-key", str(tmp_path / "other.pem")]
    run(str(folder / "clip.mkv"), "--to", str(tmp_path / "forged.mkv"), *words)
    assert verify(tmp_path / "forged.mkv").whole
    report = verify(tmp_path / "forged.mkv", read_public(folder / "key.pem"))
    assert "which was expected" in report.faults[0]
    assert any("signature" in fault for fault in report.faults)


def test_a_recording_that_is_killed_plays_and_verifies_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "night.mkv"
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    source = "test:nir?size=96x64&live=1"
    command = [sys.executable, "-m", "irchroma.launch", "run", source, "--to", str(path)]
    process = subprocess.Popen([*command, "--evidence", "--engine", "gray", "--quiet"], env=environment)
    try:
        wait_for(lambda: path.exists() and path.stat().st_size > 300_000, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    report = verify(path, read_public(tmp_path / "state" / "evidence-key.pub.pem"))
    assert report.faults == []
    assert not report.ended
    assert report.signatures >= 1
    assert len(pictures(path)) >= report.colored - 1
    assert len(pictures(path, 1)) >= report.frames - 1


def test_a_row_of_files_goes_on_from_file_to_file(tmp_path: Path) -> None:
    Signer.kept(tmp_path / "key.pem")
    words = ["--evidence", "--evidence-key", str(tmp_path / "key.pem"), "--segment", "2", "--engine", "gray"]
    run("test:nir?size=96x64&rate=10&frames=50", "--to", str(tmp_path / "night.mkv"), *words)
    files = sorted(tmp_path.glob("night-*.mkv"))
    reports = [verify(file) for file in files]
    assert [report.frames for report in reports] == [20, 20, 10]
    assert all(report.whole for report in reports)
    assert [report.head.get("continues", {}).get("file") for report in reports] == [
        None,
        "night-00001.mkv",
        "night-00002.mkv",
    ]


def test_recolor_gives_what_the_input_gives(folder: Path, tmp_path: Path) -> None:
    words = ["--engine", "palette:rainbow", "--quiet"]
    assert main(["recolor", str(folder / "night.mkv"), str(tmp_path / "anew.mp4"), *words]) == 0
    run(str(folder / "clip.mkv"), "--to", str(tmp_path / "direct.mp4"), *words[:2])
    anew, direct = pictures(tmp_path / "anew.mp4"), pictures(tmp_path / "direct.mp4")
    assert len(anew) == len(direct) == FRAMES
    for (time, picture), (direct_time, direct_picture) in zip(anew, direct, strict=True):
        assert abs(time - direct_time) <= Fraction(1, 1000)
        assert np.array_equal(picture, direct_picture)
    with av.open(str(tmp_path / "anew.mp4")) as file:
        assert len(file.streams.audio) == 1
    raw = str(folder / "silent.mkv")
    assert main(["recolor", raw, str(tmp_path / "raw.mp4"), *words]) == 0


def test_what_cannot_be_is_said_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, mp4 = "test:nir?size=64x48&frames=2", str(tmp_path / "x.mp4")
    cases = {
        ("run", source, "--to", mp4, "--evidence"): "--evidence is of one .mkv recording",
        ("verify", str(folder / "color.mp4")): "is no evidence",
        ("verify", str(folder / "silent.mkv")): "is no evidence",
        ("verify", str(tmp_path / "none.mkv")): "no such file",
        ("verify", str(folder / "night.mkv"), "--key", str(folder / "color.mp4")): "expected a public key",
        ("recolor", str(folder / "color.mp4"), mp4): "untouched input",
    }
    for words, told in cases.items():
        assert main([*words]) == 1
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1


def test_the_head_names_its_tracks(folder: Path) -> None:
    with (folder / "night.mkv").open("rb") as file:
        names = [track.name for track in tracks_of(file)]
    assert names == ["color", "untouched input", "facts", "sound"]


def test_the_camera_s_own_time_stands_in_the_facts_and_in_the_statistics(tmp_path: Path) -> None:
    file, told = tmp_path / "gate.mkv", tmp_path / "told.json"
    with served("camera") as (_, (camera,)):
        command = [sys.executable, "-m", "irchroma.launch", "run", str(camera.address), "--to", str(file)]
        command += ["--evidence", "--evidence-key", str(tmp_path / "key.pem"), "--engine", "gray"]
        Signer.kept(tmp_path / "key.pem")
        begun_ns = now_ns()
        with subprocess.Popen([*command, "--stats", str(told), "--quiet"]) as run_:
            wait_for(lambda: file.exists() and b"camera_utc_ns" in file.read_bytes(), 60)
            run_.send_signal(signal.SIGTERM)
            assert run_.wait(60) == 0
        ended_ns = now_ns()
    with av.open(str(file)) as kept:
        lines = [ledger.parse(bytes(p)) for p in kept.demux(subtitles=0) if p.size]
    taken = [line.facts["camera_utc_ns"] for line in lines if line and "camera_utc_ns" in line.facts]
    assert taken == sorted(taken)
    assert begun_ns - 10**9 < taken[0] <= taken[-1] < ended_ns + 10**9
    said = json.loads(told.read_text(encoding="utf-8"))["camera_time"]
    newest_ns = datetime.fromisoformat(said["taken"]).timestamp() * 1e9
    assert begun_ns - 1e9 < newest_ns < ended_ns + 1e9
    assert -500 < said["came_after_ms"] < 10_000


def test_what_is_signed_is_on_the_disk(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, synced = os.fsync, []

    def noted(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        sync(file)

    monkeypatch.setattr(os, "fsync", noted)
    key = ["--evidence", "--evidence-key", str(folder / "key.pem")]
    run(
        "test:thermal?size=96x64&rate=10&frames=24", "--to", str(tmp_path / "x.mkv"), *key, "--engine", "gray"
    )
    assert set(synced) >= {str(tmp_path / "x.mkv")}
    assert synced.count(str(tmp_path / "x.mkv")) >= 2, "on the way, and at the end"
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(AssertionError):
        run("test:thermal?size=96x64&rate=10&frames=24", "--to", str(tmp_path / "y.mkv"), *key)


def fails(_file: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
