"""Recordings that cannot be read are told one by one, and the others are colored."""

import hashlib
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from irchroma.launch.archive.archive import Archive, ArchiveOptions, with_defaults
from irchroma.launch.archive.plan import find_recordings, left_out
from irchroma.launch.archive.segment import Job
from irchroma.launch.cli import main
from irchroma.launch.config import ConfigError
from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.pipeline_sink import check_size
from irchroma.stream.sources.packets import read_packets

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]  # workers that start on a loaded machine


def rest_of(descriptor: int) -> str:
    """All that is said there until nobody is left who could."""
    said = b""
    with suppress(OSError):  # how a terminal ends
        while piece := os.read(descriptor, 1 << 16):
            said += piece
    os.close(descriptor)
    return said.decode("utf-8", "replace")


@pytest.mark.parametrize("listener", [os.pipe, pty.openpty])
def test_what_cannot_be_read_is_told_in_a_run_s_words(
    tmp_path: Path, listener: Callable[[], tuple[int, int]]
) -> None:
    (tmp_path / "in").mkdir()
    whole, clip = tmp_path / "whole.mp4", tmp_path / "in" / "good.mp4"
    source = "test:nir?size=320x256&rate=10&frames=30"
    assert main(["run", source, "--to", str(whole), "--engine", "gray", "--quiet"]) == 0
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", str(clip)], check=True)
    begun = clip.read_bytes()[:5000]  # its index lies behind the pictures
    for name, content in (("empty.mp4", b""), ("text.mkv", b"a text\n" * 99), ("begun.mp4", begun)):
        (tmp_path / "in" / name).write_bytes(content)
    began_s = time.monotonic()
    reading, writing = listener()
    command = [
        sys.executable,
        "-m",
        "irchroma.launch",
        "archive",
        str(tmp_path / "in"),
        str(tmp_path / "out"),
    ]
    with subprocess.Popen([*command, "--engine", "gray"], stderr=writing) as process:
        os.close(writing)
        said = rest_of(reading)
    assert process.returncode == 1
    assert time.monotonic() - began_s < 25
    assert len(list(read_packets(tmp_path / "out" / "good.mp4"))) == 30
    for words in ("empty.mp4 is empty (0 bytes)", "text.mkv is a text", "its index (moov) is missing"):
        assert words in said


def test_a_link_to_a_recording_that_is_gone_is_one_to_be_reported(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "b.mp4").symlink_to("gone.mp4")
    (tmp_path / "c.mp4").mkdir()
    found = find_recordings(tmp_path, tmp_path.parent / "out")
    assert [one.name for one in found] == ["a.mp4", "b.mp4"]


def test_pages_of_a_picture_are_no_recording_and_are_said_to_be_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "b.tif").write_bytes(b"x")
    with pytest.raises(ConfigError, match="irchroma run colors it"):
        find_recordings(tmp_path / "b.tif", tmp_path / "out.mkv")


def test_hidden_files_are_no_recordings_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.mp4", "._a.mp4", ".trash/b.mp4", "yard/c.mkv", "yard/._c.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_recordings(tmp_path, tmp_path.parent / "out")
    assert [one.name for one in found] == ["a.mp4", "yard/c.mkv"]
    assert [one.name for one in find_recordings(tmp_path / ".trash", tmp_path.parent / "out")] == ["b.mp4"]


def test_what_is_no_recording_by_its_name_is_told(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.dav", "day/c.DAV", "day/index", ".hidden/d.dav", ".e.dav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert left_out(tmp_path) == "2 .dav, 1 without an ending"
    assert left_out(tmp_path / "a.mp4") == ""


def test_a_recording_that_still_grows_is_said_to_and_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    clip = tmp_path / "in" / "night.mkv"
    assert (
        main(["run", "test:nir?size=64x48&frames=9", "--to", str(clip), "--engine", "gray", "--quiet"]) == 0
    )
    begun: list[Job] = []

    class Growing:
        count = 1

        def start(self, job: Job) -> None:
            begun.append(job)
            with clip.open("ab") as file:
                file.write(b"more")

        def next(self) -> tuple[Job, str | None]:
            return begun[-1], "segment 0 has 9 pictures, 11 came out"

        def close(self) -> None:
            pass

    place = tmp_path / "out"
    archive = Archive(place, with_defaults(ArchiveOptions({"engine": "gray"}), 1), Growing(), lambda *_: None)
    archive.run(find_recordings(tmp_path / "in", place))
    assert archive.failures == ["night.mkv: is still being recorded: run again once it is whole"]
    assert len(begun) == 1
    assert not any((place / ".irchroma-archive").iterdir())


def test_what_no_attempt_could_encode_is_not_tried_again(
    tmp_path: Path,
) -> None:
    """As a sensor of 8x8 pixels, of which no encoder makes video."""
    place, begun = tmp_path / "out", list[Job]()
    place.mkdir()
    clip = tmp_path / "tiny.mkv"
    assert (
        main(["run", "test:nir?size=64x48&frames=3", "--to", str(clip), "--engine", "gray", "--quiet"]) == 0
    )

    class Refusing:
        count = 1

        def start(self, job: Job) -> None:
            begun.append(job)

        def next(self) -> tuple[Job, str | None]:
            with pytest.raises(SinkError) as refused:
                check_size((8, 8), "segment-00000.part.mkv")
            return begun[-1], str(refused.value)

        def close(self) -> None:
            pass

    options = with_defaults(ArchiveOptions({"engine": "gray"}), 1)
    archive = Archive(place, options, Refusing(), lambda *_: None)
    archive.run(find_recordings(clip, place))
    assert len(begun) == 1
    assert "pictures of 8x8 cannot be encoded: expected sides of 16" in archive.failures[0]


def test_a_result_that_its_disk_has_damaged_is_made_anew_and_known_by_what_it_is_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its length and its date are the damaged one's: it has the recording's date."""
    clip, target = tmp_path / "in" / "a.mp4", tmp_path / "out" / "a.mp4"
    clip.parent.mkdir()
    source = "test:nir?size=96x64&rate=10&frames=20"
    assert main(["run", source, "--to", str(clip), "--engine", "gray", "--quiet"]) == 0
    words = [str(clip.parent), str(target.parent), "--engine", "gray", "--workers", "1", "--quiet"]
    for told in ("1 colored, 0 were", "1 colored, 0 were", "0 colored, 1 were"):
        assert main(["archive", *words]) == 0
        assert told in capsys.readouterr().out
        noted = json.loads((target.parent / "irchroma-archive.json").read_text(encoding="utf-8"))
        whole = target.read_bytes()
        assert noted["recordings"]["a.mp4"]["sha256"] == hashlib.sha256(whole).hexdigest()
        if told == "1 colored, 0 were" and not (tmp_path / "damaged").exists():
            about = target.stat()
            with target.open("r+b") as file:
                file.seek(len(whole) // 2)
                file.write(bytes([whole[len(whole) // 2] ^ 255]))
            os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
            (tmp_path / "damaged").touch()
