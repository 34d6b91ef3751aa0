"""What an archive has finished."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("gi", reason="archives are read by GStreamer")

from irchroma.launch.archive.archive import Archive, ArchiveOptions, with_defaults
from irchroma.launch.archive.manifest import MANIFEST, read_manifest
from irchroma.launch.archive.plan import find_recordings
from irchroma.launch.archive.segment import Job
from irchroma.launch.cli import main


def recorded(folder: Path) -> Path:
    """A folder with a short gray recording."""
    source = folder / "in"
    source.mkdir()
    shot = ["-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=1,hue=s=0", str(source / "night.mp4")]
    subprocess.run(["ffmpeg", "-v", "error", *shot], check=True)
    return source


def test_what_is_finished_stays_unless_it_is_asked_for_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by other settings, not by an engine that there is not."""
    source, out = recorded(tmp_path), tmp_path / "out"
    words = ["archive", str(source), str(out), "--workers", "1", "--quiet"]
    assert main([*words, "--engine", "palette:lava"]) == 0
    noted, result = read_manifest(out / MANIFEST)["recordings"], (out / "night.mp4").read_bytes()
    capsys.readouterr()
    for engine, said in (
        (
            "palette:arctic",
            "(engine palette:lava, now palette:arctic): --again colors it anew, another folder",
        ),
        ("nope", "unknown engine 'nope'"),
        ("palette:nope", "palette 'nope' is not known"),
    ):
        assert main([*words, "--engine", engine]) == 1
        assert said in capsys.readouterr().err
        assert (read_manifest(out / MANIFEST)["recordings"], (out / "night.mp4").read_bytes()) == (
            noted,
            result,
        )
    assert not list((out / ".irchroma-archive").iterdir()), "nothing was begun"
    assert main([*words, "--engine", "palette:arctic", "--again"]) == 0
    assert (out / "night.mp4").read_bytes() != result
    assert main([*words, "--engine", "palette:arctic"]) == 0
    assert main([*words, "--engine", "palette:arctic", "--overlap", "7"]) == 1
    assert "(overlap 30, now 7): --again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--engine nir --runtime tensorrt --device cuda:77", "runtime tensorrt|cuda:77"),
        ("--engine gray --codec vp8", "codec vp8, which .mp4 does not hold"),
    ],
)
def test_what_no_worker_could_do_is_said_once_and_nothing_is_begun(
    asked: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A runtime or a device that is not here was tried three times for each recording."""
    out = tmp_path / "out"
    assert main(["archive", str(recorded(tmp_path)), str(out), "--quiet", *asked.split()]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"irchroma archive: .*({said})", line)
    assert not out.exists() or not list(out.iterdir())


class Refusing:
    """Workers that can do nothing."""

    count = 1

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def start(self, job: Job) -> None:
        Path(f"{job.target}.job.json").write_text("{}", encoding="utf-8")
        self._jobs.append(job)

    def next(self) -> tuple[Job, str | None]:
        return self._jobs.pop(), "broken"

    def close(self) -> None:
        pass


def test_of_a_recording_that_failed_with_nothing_done_no_work_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    archive = Archive(out, with_defaults(ArchiveOptions({"engine": "gray"}), 1), Refusing(), lambda *_: None)
    archive.run(find_recordings(recorded(tmp_path), out))
    assert len(archive.failures) == 1
    assert read_manifest(out / MANIFEST)["recordings"]["night.mp4"]["state"] == "failed"
    assert not list((out / ".irchroma-archive").iterdir())


@pytest.mark.parametrize("word", ["--stats=x.json", "--keep-days=3", "--no-page-control", "--mqtt=mqtt://a"])
def test_what_is_not_for_archives_is_refused_and_not_offered(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = word.partition("=")[0]
    assert main(["archive", str(tmp_path), str(tmp_path / "out"), word]) == 1
    assert f"irchroma archive: {flag} is not for archives: leave it out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["archive", "--help"])
    assert not re.search(rf"{flag}\b", capsys.readouterr().out)


def test_what_replaces_a_run_s_files_is_named_and_settings_that_stay_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["archive", str(recorded(tmp_path)), str(tmp_path / "out"), "--engine", "gray", "--quiet"]
    assert main([*words, "--overwrite"]) == 1
    assert "--again replaces what other settings have made" in capsys.readouterr().err
    assert main([*words, "--fixed"]) == 0  # which archives always are


def test_the_engine_is_tried_with_the_first_recording_that_opens(tmp_path: Path) -> None:
    out, tried = tmp_path / "out", list[str]()
    out.mkdir()
    source = recorded(tmp_path)
    shutil.copy(source / "night.mp4", source / "later.mp4")

    def try_engine(path: Path) -> bool:
        tried.append(path.name)
        return len(tried) > 1

    options = with_defaults(ArchiveOptions({"engine": "gray"}), 1)
    shutil.copy(source / "night.mp4", source / "last.mp4")
    Archive(out, options, Refusing(), lambda *_: None, try_engine).run(find_recordings(source, out))
    assert tried == ["last.mp4", "later.mp4"]


@pytest.mark.parametrize("word", ["--workers=0", "--overlap=-1", "--segment-length=0"])
def test_numbers_that_mean_nothing_are_refused(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["archive", str(tmp_path), str(tmp_path / "out"), word]) == 1
    assert f"{word.partition('=')[0]}: expected " in capsys.readouterr().err


def test_stacks_of_counts_are_recordings_colored_as_one_run_colors_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "counts"
    source.mkdir()
    scene = np.random.default_rng(1).integers(8000, 8500, (12, 64, 96), np.uint16)
    np.savez(source / "night.npz", counts=scene)
    (source / "torn.npz").write_bytes(b"no zip")
    words = ["--engine", "palette:lava", "--rate", "10", "--quiet"]
    assert main(["archive", str(source), str(tmp_path / "out"), *words, "--workers", "1"]) == 1
    said = capfd.readouterr().err
    assert said.count("torn.npz is no array of numpy") == 2, "in the log and at the end, and not tried thrice"
    assert "left out" not in said
    one, whole = tmp_path / "out" / "night.npz.mkv", tmp_path / "one.mkv"
    assert main(["run", str(source / "night.npz"), "--to", str(whole), *words, "--fixed"]) == 0
    shown = [
        [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
        for file in (av.open(str(one)), av.open(str(whole)))
    ]
    assert [len(pictures) for pictures in shown] == [12, 12]
    for (time, ours), (time_of_run, theirs) in zip(*shown, strict=True):
        assert time == time_of_run
        assert np.array_equal(ours, theirs)
