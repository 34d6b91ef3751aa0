"""No output of a run stands in the way of another, of the source, or of the file system."""

import json
import os
import re
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from tests.waiting import free_port, wait_for

from irchroma.engines.errors import EngineOptionError
from irchroma.launch.arguments import one_line
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.launch.run import outputs
from irchroma.launch.run.outputs import require_writable, source_file
from irchroma.launch.run.settings.flags import require_used, unused
from irchroma.launch.run.settings.options import OutputOptions, RunConfig, load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SourceError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding import encoder_effort
from irchroma.stream.sinks.encoding.task import EncoderOptions

GOOD = "test:nir?size=64x48&frames=3"


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["run", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "a.mp4", "--to", "./a.mp4"),
        ("--to", "a.mp4", "--to", "a.mp4"),
        ("--to", "b.mkv", "--keep-raw", "b.mkv"),
        ("--to", "c.mp4", "--stats", "c.mp4"),
        ("--to", "rtsp://:8554/x", "--to", "rtsp://0.0.0.0:8554/x"),
    ],
)
def test_two_outputs_at_one_place_are_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "two of the outputs are" in complaint(capsys, GOOD, *words)


@pytest.mark.parametrize("source", ["night.mkv", "./night.mkv", "file:night.mkv", "raw:night.mkv?size=4x4"])
@pytest.mark.parametrize("option", ["--to", "--keep-raw", "--stats"])
def test_no_output_replaces_the_source(
    source: str, option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "night.mkv").write_bytes(b"evidence")
    line = complaint(capsys, source, "--to", "null", option, "night.mkv")
    assert "would replace the source" in line
    assert (tmp_path / "night.mkv").read_bytes() == b"evidence"


@pytest.mark.parametrize(
    ("option", "path", "why"),
    [
        ("--stats", "nowhere/s.json", "does not exist: make it first"),
        ("--stats", ".", "is a folder"),
        ("--privacy", "nowhere/masks.json", "does not exist: make it first"),
    ],
)
def test_what_could_not_be_written_stops_a_run_before_it_begins(
    option: str, path: str, why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = complaint(capsys, GOOD, "--to", "out.mp4", option, path)
    assert option in line
    assert why in line
    assert not (tmp_path / "out.mp4").exists()


def test_a_file_that_can_be_written_is_not_made_by_asking(tmp_path: Path) -> None:
    require_writable(tmp_path / "s.json", "--stats")
    require_writable(None, "--stats")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags", [("--size", "best"), ("--runtime", "openvino"), ("--color-every", "2"), ("--best",)]
)
def test_a_network_s_flag_without_a_network_is_remarked_on_and_strict_makes_it_a_failure(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    arguments = ["run", "test:nir?size=96x64&frames=5", "--to", "null", "--engine", "gray", "--quiet", *flags]
    assert main([*arguments, "--stats", str(stats)]) == 0
    (remark,) = json.loads(stats.read_text())["remarks"]
    assert remark["text"] == f"{flags[0]} is of networks, and engine gray is none: it does nothing"
    assert main([*arguments, "--strict"]) == 1


def test_a_network_s_size_is_of_use_where_an_operator_of_the_page_may_choose_one() -> None:
    settings = {"engine": "gray", "neural.size": "best", "to": ["null"]}
    assert len(unused(settings, [load(None, settings)])) == 1
    with_page = {**settings, "to": ["http://:8080"]}
    assert unused(with_page, [load(None, with_page)]) == []
    no_control = load(None, {**with_page, "output.page_control": False})
    assert len(unused(with_page, [no_control])) == 1
    assert (
        unused({"engine": "gray"}, [load(None, settings)]) == []
    )  # a file of settings may say more than is used


def test_a_flag_is_of_use_where_one_of_several_cameras_takes_it() -> None:
    secret = {"output.page_token": "a long secret"}
    cameras = [load(None, {**secret, "to": [to]}) for to in ("null", "http://:8080")]
    require_used(secret, cameras)
    with pytest.raises(ConfigError, match="--token is of a page"):
        require_used(secret, cameras[:1])


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("nowhere/a.mp4", "--to nowhere/a.mp4: the folder nowhere does not exist: make it first"),
        ("file:nowhere/a.mp4", "--to nowhere/a.mp4: the folder nowhere does not exist"),
        ("taken.mp4", "--to taken.mp4: is a folder"),
        ("hls:plain/hls", "plain is a file, expected a folder"),
    ],
)
def test_a_place_that_is_not_there_is_said_before_anything_is_opened(
    to: str, why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "taken.mp4").mkdir()
    (tmp_path / "plain").touch()
    (tmp_path / "night.mp4").write_bytes(b"no video")  # which would be said as soon as it is opened
    there = sorted(path.name for path in tmp_path.iterdir())
    assert why in complaint(capsys, "night.mp4", "--to", to, "--to", "null")
    assert why in complaint(capsys, "rtsp://127.0.0.1:9/none", "--to", to)
    assert sorted(path.name for path in tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--span", "5,a"), "expected two values LOW,HIGH, got '5,a'"),
        (("--color-every", "x"), "expected a whole number or auto, got 'x'"),
        (("--threads", "x"), "--threads"),
        (("--colorevry", "2"), "unrecognized arguments: --colorevry 2, did you mean --color-every?"),
        (("-night.mp4",), "a file of that name is ./-night.mp4"),
        (("out.mp4",), "unrecognized arguments: out.mp4, did you mean --to out.mp4?"),
        (("-o", "out.mp4"), "unrecognized arguments: -o out.mp4, did you mean --to out.mp4?"),
        (("--to", "-color.mp4"), "a file of that name is ./-color.mp4"),
    ],
)
def test_a_word_that_is_no_value_is_one_line(
    flags: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", GOOD, "--to", "null", *flags])
    assert left.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert why in lines[0]
    assert "irchroma run --help" in lines[0]


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("nri", {}),
        ("nir:huge", {}),
        ("palette:ironbo", {}),
        ("palette:above=37C", {}),
        ("nir", {"neural.reference": "nowhere.jpg"}),
        ("nir", {"neural.network.device": "gpu"}),
    ],
)
def test_an_engine_that_cannot_be_is_refused_before_its_camera_is_asked(
    engine: str, options: dict[str, str]
) -> None:
    config = load(None, {"source": "rtsp://127.0.0.1:9/none", "to": ["null"], "engine": engine, **options})
    with pytest.raises(EngineOptionError):
        build_loop(config)


def test_degrees_may_come_from_the_camera_s_profile() -> None:
    config = load(
        None,
        {"source": GOOD, "to": ["null"], "engine": "palette:above=37C", "camera": "boson-radiometric"},
    )
    assert build_loop(config) is not None


def test_the_file_of_a_source_is_known_whatever_it_is_called() -> None:
    assert source_file("rtsp://camera/stream") is None
    assert source_file("test:nir") is None
    assert source_file("file:///tmp/a%20b.mp4") == Path("/tmp/a b.mp4")
    with pytest.raises(ConfigError, match=re.escape("does not exist")):
        require_writable(Path("/nowhere/at/all"), "--stats")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("bad-pixels", "night.mkv", "--out", "night.mkv"), "would replace what is measured"),
        (("nuc", "a.mkv", "night.mkv", "--out", "./night.mkv"), "would replace what is measured"),
        (("precision", "a.mkv", "--out", "night.mkv/x.onnx"), "cannot be made"),
        (("reference", "a.png", "--out", "."), "is a folder"),
        (("speed", "--out", "."), "is a folder"),
        (("nuc", "a.mkv", "--out", "c.toml", "--seconds", "-3"), "--seconds must be 0"),
    ],
)
def test_a_measurement_whose_result_cannot_be_written_does_not_begin(
    words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "night.mkv").write_bytes(b"evidence")
    assert main(["calibrate", *words]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert why in said
    assert (tmp_path / "night.mkv").read_bytes() == b"evidence"
    assert [path.name for path in tmp_path.iterdir()] == ["night.mkv"]


@pytest.mark.parametrize(
    "words",
    [
        ("doctor", "--json", "nowhere/x.json"),
        ("evaluate", "pairs", "--json", "nowhere/x.json"),
        ("evaluate", "pairs", "--sheet", "nowhere/x.png"),
        ("bench", "--json", "nowhere/x.json"),
        ("bench", "temporal", "--json", "nowhere/x.json"),
    ],
)
def test_a_result_that_cannot_be_written_is_said_before_the_work(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the folder nowhere does not exist: make it first" in said


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Errno") as caught:
        (tmp_path / "nowhere" / "x").touch()
    assert one_line(caught.value) == f"{tmp_path}/nowhere/x: no such file or directory"
    assert one_line(SourceError("camera: gone")) == "camera: gone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, tempfile\nfrom irchroma.launch import cli\n"
        "signal.signal(int(sys.argv[2]), signal.SIG_DFL)  # nohup may have begun the tests\n"
        "cli.end_tidily_when_told()\n"
        "with tempfile.TemporaryDirectory(dir=sys.argv[1]):\n"
        "    os.kill(os.getpid(), int(sys.argv[2]))\n"
        "    signal.pause()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(number.value)]
    assert subprocess.run(command, timeout=30, check=False).returncode == 128 + number
    assert not list(tmp_path.iterdir())


def test_who_wants_no_word_of_a_terminal_s_end_is_not_ended_by_it(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from irchroma.launch import cli\n"
        "from irchroma.launch.run.process import stop_on_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does\n"
        "cli.end_tidily_when_told()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "seen = stop_on_signals(lambda: None)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "assert not seen\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_a_camera_s_recording_goes_on_beside_itself_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        others = disk / "others"
        others.write_bytes(bytes(940_000))
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "irchroma.launch", "run", "test:nir?live=1&size=320x256&rate=20"),
                *("--engine", "gray", "--to", str(disk / "gate.mkv"), "--to", "null"),
            ),
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        wait_for(lambda: (disk / "gate.mkv").exists() and os.statvfs(disk).f_bavail == 0, 60)
        others.unlink()
        wait_for(lambda: (disk / "gate-2.mkv").exists() and (disk / "gate-2.mkv").stat().st_size > 50_000, 60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said
        assert "the disk is full" in said
        assert "is there: recording to gate-2.mkv" in said
        assert (disk / "gate.mkv").stat().st_size > 20_000
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.gst
def test_a_server_that_was_never_there_is_not_called_slow(tmp_path: Path) -> None:
    place, stats = f"publish+rtsp://127.0.0.1:{free_port()}/x", tmp_path / "stats.json"
    words = ["run", "test:nir?size=64x48&rate=20&frames=20&live=1", "--engine", "gray", "--to", place]
    assert main([*words, "--stats", str(stats), "--quiet"]) == 1, "nothing came of it"
    told = json.loads(stats.read_text(encoding="utf-8"))
    assert (told["state"], told["reason"]) == (
        "failed",
        f"{place}: does not answer: it got nothing of this run",
    )
    said = [one["text"] for one in told["remarks"]]
    assert f"{place} left pictures out: it could not keep up, or was not there" in said


STREAM = "rtsp://:8554/gate"


@pytest.mark.parametrize(
    ("to", "encoder", "hurries"),
    [
        ((STREAM,), EncoderOptions(), True),
        (("http://:8080",), EncoderOptions(), True),
        ((STREAM, "out.mp4"), EncoderOptions("x264"), True),
        (("out.mp4",), EncoderOptions(), True),
        (("out.mp4", "http://:8080"), EncoderOptions(), True),
        (("out.mp4", "out.mkv"), EncoderOptions(), True),
        ((STREAM, "out.webm"), EncoderOptions(), False),  # VP9 is coded beside it
        ((STREAM,), EncoderOptions(codec="h265"), False),
        ((STREAM,), EncoderOptions("openh264"), False),
    ],
)
def test_what_is_coded_with_least_work_counts_so(
    to: tuple[str, ...], encoder: EncoderOptions, hurries: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_effort.os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr(encoder_effort, "core_speed", lambda: 1.0)
    config = RunConfig(source="test:nir", engine="nir", to=to, output=OutputOptions(encoder=encoder))
    for size, cameras, much in (
        ((720, 1280), 1, False),
        ((720, 1280), 2, True),
        ((1080, 1920), 1, True),
    ):
        work = encoder_effort.HURRIED_WORK if much and hurries else 1.0
        assert outputs.encoding_work(config, VideoInfo(size, Fraction(30), live=True), cameras) == work


def test_what_a_recording_of_a_file_takes_beside_a_stream_is_not_what_the_stream_gets() -> None:
    info = VideoInfo((4320, 7680), Fraction(240), live=False)
    for to, work in ((("out.mp4", STREAM), 1.0), ((STREAM,), encoder_effort.HURRIED_WORK)):
        assert outputs.encoding_work(RunConfig(source="a.mkv", engine="nir", to=to), info) == work
