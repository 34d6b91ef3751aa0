"""What an archive has finished."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("gi", reason="archives are read by GStreamer")

from irchroma.launch.archive.manifest import MANIFEST, read_manifest
from irchroma.launch.cli import main


def test_what_is_finished_stays_unless_it_is_asked_for_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by other settings, not by an engine that there is not."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shot = ["-f", "lavfi", "-i", "testsrc=size=96x64:rate=10:duration=1,hue=s=0", str(source / "night.mp4")]
    subprocess.run(["ffmpeg", "-v", "error", *shot], check=True)
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
