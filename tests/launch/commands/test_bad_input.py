"""What a user gets for input that cannot work: one clear line, a non-zero exit, no traceback."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.forked import irchroma

pytestmark = pytest.mark.gst


def text_file(folder: Path) -> str:
    (folder / "notes.mp4").write_text("this is no video\n" * 50)
    return "notes.mp4"


def empty_file(folder: Path) -> str:
    (folder / "empty.mp4").touch()
    return "empty.mp4"


def sound_only(folder: Path) -> str:
    import wave

    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 8000)
    return "sound.wav"


def empty_folder(folder: Path) -> str:
    (folder / "pictures").mkdir()
    return "pictures"


def broken_picture(folder: Path) -> str:
    (folder / "frames").mkdir()
    cv2.imwrite(str(folder / "frames" / "1.png"), np.zeros((16, 16), np.uint8))
    (folder / "frames" / "2.png").write_bytes(b"\x89PNG no more")
    return "frames"


def short_table(folder: Path) -> str:
    (folder / "short.csv").write_text("0,0,0\n255,255,255\n")
    return "palette:short.csv"


GOOD = "test:nir?size=64x48&frames=3"
SOURCES: dict[str, tuple[str | Callable[[Path], str], str]] = {
    "missing file": ("nowhere.mp4", "nowhere.mp4"),
    "text called video": (text_file, "notes.mp4"),
    "empty file": (empty_file, "empty"),
    "sound without video": (sound_only, "sound.wav"),
    "empty folder": (empty_folder, "pictures"),
    "broken picture": (broken_picture, "2.png"),
    "refused port": ("rtsp://127.0.0.1:9/none", "127.0.0.1 refuses connections at port 9"),
    "camera that is not there yet": ("rtsp://127.0.0.1:9/none", "(--wait waits until it is there)"),
    "absent device": ("/dev/video97", "/dev/video97"),
    "unknown address": ("gopher://x", "gopher"),
    "unknown test camera": ("test:uv", "uv"),
    "unknown test switch": ("test:nir?sise=64x48", "size"),
}
SINKS = {
    "unknown ending": ("out.xyz", "out.xyz"),
    "folder that is not there": ("nowhere/out.mp4", "nowhere"),
    "unknown address": ("gopher://x", "gopher"),
    "absent device": ("/dev/video97", "/dev/video97"),
}
FLAGS: dict[str, tuple[list[str] | Callable[[Path], list[str]], str]] = {
    "unknown engine": (["--engine", "nri"], "nri"),
    "unknown palette": (["--engine", "palette:ironbo"], "ironbow"),
    "unknown runtime": (["--engine", "nir", "--runtime", "cuda9"], "cuda9"),
    "unknown encoder": (["--encoder", "x999"], "x999"),
    "table of wrong length": (lambda folder: ["--engine", short_table(folder)], "256"),
    "isotherm in counts of a source without": (["--engine", "palette:above=9000"], "16-bit"),
    "wipe beyond the picture": (["--view", "wipe", "--wipe", "7"], "wipe"),
    "raw track that cannot hold counts": (["--keep-raw", "raw.mp4"], ".mkv"),
}


def assert_one_clear_line(done: subprocess.CompletedProcess[str], word: str) -> None:
    errors = [line for line in done.stderr.splitlines() if line.startswith("irchroma")]
    assert done.returncode not in (0, -11, -6), done.stderr
    assert "Traceback" not in done.stderr
    assert len(errors) == 1, done.stderr
    assert word in errors[0], errors[0]
    assert "unexpected" not in errors[0], errors[0]


@pytest.mark.parametrize("case", SOURCES)
def test_a_bad_source_is_one_clear_line(case: str, tmp_path: Path) -> None:
    made, word = SOURCES[case]
    source = made if isinstance(made, str) else made(tmp_path)
    done = irchroma("run", source, "--to", "null", "--engine", "gray", "--quiet", cwd=tmp_path)
    assert_one_clear_line(done, word)


@pytest.mark.parametrize("case", SINKS)
def test_a_bad_sink_is_one_clear_line(case: str, tmp_path: Path) -> None:
    sink, word = SINKS[case]
    assert_one_clear_line(
        irchroma("run", GOOD, "--to", sink, "--engine", "gray", "--quiet", cwd=tmp_path), word
    )


@pytest.mark.parametrize("case", FLAGS)
def test_a_bad_flag_is_one_clear_line(case: str, tmp_path: Path) -> None:
    made, word = FLAGS[case]
    flags = made if isinstance(made, list) else made(tmp_path)
    assert_one_clear_line(irchroma("run", GOOD, "--to", "out.mp4", *flags, "--quiet", cwd=tmp_path), word)


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('source = "test:nir"\nto = ["null"]\n[tone_map]\nmethdo = "linear"\n')
    done = irchroma("run", "--config", "run.toml", cwd=tmp_path)
    assert_one_clear_line(done, "tone_map.methdo, did you mean method?")


def test_a_run_without_a_sink_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "irchroma.launch", "run", "test:nir"]
    said = {"capture_output": True, "encoding": "utf-8", "errors": "replace", "timeout": 60}
    assert_one_clear_line(subprocess.run(command, cwd=tmp_path, check=False, **said), "--to")


def test_no_credentials_are_shown(tmp_path: Path) -> None:
    done = irchroma(
        "run", "rtsp://admin:hunter2@127.0.0.1:9/x", "--to", "null", "--engine", "gray", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    try:
        assert_one_clear_line(irchroma("run", str(path), "--to", "null", cwd=tmp_path), "secret.mp4")
    finally:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)


@pytest.mark.parametrize("size", ["16x16", "17x33", "639x511"])
def test_odd_and_tiny_sizes_work(size: str, tmp_path: Path) -> None:
    words = (
        "run",
        f"test:nir?size={size}&frames=3",
        "--to",
        "out.mp4",
        "--engine",
        "palette",
        "--osd",
        "--quiet",
    )
    done = irchroma(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").stat().st_size > 0
