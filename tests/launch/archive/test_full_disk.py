"""No room, or no right to write: said once, in one line, and the same command goes on when there is."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from irchroma.launch.archive.archive import Archive, ArchiveOptions, with_defaults
from irchroma.launch.archive.plan import find_recordings
from irchroma.launch.archive.segment import FULL, UNWRITABLE, Job, unwritten, work
from irchroma.launch.cli import main
from irchroma.stream.errors import SinkError, SourceError, StreamError

pytestmark = [pytest.mark.gst, pytest.mark.timeout(300)]

NOISE = "test:nir?size=320x256&rate=10&frames=30"
GRAY = ["--engine", "gray", "--quality", "0", "--quiet"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 9 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", str(place)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def remounted(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    assert main(["run", NOISE, "--to", str(folder / "a.mp4"), *GRAY]) == 0
    (folder / "b.mp4").write_bytes((folder / "a.mp4").read_bytes())
    return folder


def test_a_full_disk_ends_an_archive_for_now(
    recordings: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["archive", str(recordings), str(disk / "out"), *GRAY]
    remounted(disk, "size=100k")
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.endswith("the disk is full: with room there, the same command goes on\n")
    assert "attempt" not in said
    remounted(disk, "size=9m")
    assert main(words) == 0


def test_so_does_one_that_is_full_while_the_segments_are_joined(
    recordings: Path, disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", str(recordings / "a.mp4"), str(tmp_path / "one.mp4"), *GRAY]) == 0
    capsys.readouterr()
    whole = (tmp_path / "one.mp4").stat().st_size
    remounted(disk, f"size={round(1.5 * whole) >> 10}k")  # for its segments, and half of what they give
    words = ["archive", str(recordings), str(disk / "out"), *GRAY]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert said.endswith("the disk is full: with room there, the same command goes on\n"), said
    assert not list((disk / "out").glob(".*.part.mp4"))
    remounted(disk, "size=9m")
    assert main(words) == 0
    assert "2 colored" in capsys.readouterr().out


@pytest.mark.parametrize(("state", "said"), [("size=4k", FULL), ("ro", UNWRITABLE)])
def test_a_workers_own_files_without_room_are_no_death_of_it(
    state: str, said: str, recordings: Path, disk: Path
) -> None:
    if state == "size=4k":
        (disk / "all").write_bytes(bytes(4096))
    remounted(disk, state)
    tone = ((100_000_000, str(disk / "tone.npz")),)
    job = Job(str(recordings / "a.mp4"), {}, "", 0, 0, 0, -1, str(disk / "tone"), -1, marks=tone)
    with pytest.raises(SinkError, match=said):
        work(job)


class Failing:
    """Workers that fail: with a line of theirs, or before they begin."""

    count = 1

    def __init__(self, failure: str | OSError) -> None:
        self._failure, self._jobs = failure, list[Job]()

    def start(self, job: Job) -> None:
        if isinstance(self._failure, OSError):
            raise self._failure
        self._jobs.append(job)

    def next(self) -> tuple[Job, str | None]:
        return self._jobs.pop(), str(self._failure)

    def close(self) -> None:
        pass


def failed(failure: str | OSError, recordings: Path, place: Path) -> Exception:
    """What an archive with such workers ends with."""
    place.mkdir()
    options = with_defaults(ArchiveOptions({"engine": "gray"}), 1)
    archive = Archive(place, options, Failing(failure), lambda *_: None)
    with pytest.raises((OSError, StreamError)) as found:
        archive.run(find_recordings(recordings, place))
    return found.value


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, None])
def test_the_file_that_has_no_room_is_named(error: int | None, recordings: Path, tmp_path: Path) -> None:
    """It may lie on another disk than the results."""
    line = f"/elsewhere/tone.npz: {FULL}"
    failure = line if error is None else OSError(error, os.strerror(error), "/elsewhere/tone.npz")
    found = failed(failure, recordings, tmp_path / "out")
    assert str(found) == f"{line}: with room there, the same command goes on"


def test_a_quota_that_is_used_up_while_the_segments_are_joined_is_a_full_disk(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_source: Path, part: Path) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(part))  # no quota can be set here

    monkeypatch.setattr(shutil, "copystat", refused)
    assert main(["archive", str(recordings), str(tmp_path / "out"), *GRAY]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(".a.part.mp4: the disk is full: with room there, the same command goes on")


def test_what_may_not_be_read_is_not_said_to_be_unwritable(tmp_path: Path) -> None:
    def denied(path: Path) -> OSError:
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    read, written = denied(tmp_path / "colors.csv"), denied(tmp_path / "out" / "tone.npz")
    assert unwritten(tmp_path / "out", read) is read
    assert (
        str(unwritten(tmp_path / "out", written)) == f"{written.filename}: {UNWRITABLE} (permission denied)"
    )
    sink = SinkError(f"{tmp_path / 'b.mkv'}: permission denied")
    sink.errno = errno.EACCES
    assert str(unwritten(tmp_path / "out", sink)) == f"{tmp_path / 'b.mkv'}: {UNWRITABLE} (permission denied)"


def test_an_error_is_not_its_own_cause(recordings: Path, tmp_path: Path) -> None:
    error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    assert failed(error, recordings, tmp_path / "out") is error
    assert error.__cause__ is None
    job = Job(str(tmp_path / "absent.mp4"), {"engine": "gray"}, "", 0, 0, 0, -1, str(tmp_path / "one"), 0)
    with pytest.raises(SourceError) as found:
        work(job)
    assert found.value.__cause__ is not found.value
