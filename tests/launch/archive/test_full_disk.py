"""No room, or no right to write: said once, in one line, and the same command goes on when there is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from irchroma.launch.archive.segment import FULL, UNWRITABLE, Job, work
from irchroma.launch.cli import main
from irchroma.stream.errors import SinkError

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
