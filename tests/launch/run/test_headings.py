"""What a run is called on its page: short, for people, without a password."""

from pathlib import Path

import pytest

from irchroma.launch.run.outputs import heading_of


@pytest.mark.parametrize(
    ("source", "camera", "heading"),
    [
        ("test:thermal?live=1", "", "Synthetic thermal camera"),
        ("test:nir", "boson", "Synthetic near-infrared camera"),
        ("/dev/video0", "camera.toml", "USB camera /dev/video0"),
        ("/dev/video0", "cameras/roof.toml", "roof"),
        ("rtsp://ada:p@w/x#y:z@10.0.0.5:554/s?token=tok", "", "10.0.0.5"),
        ("http://gate.local/video.mjpg?passwd=two", "", "gate.local"),
        ("rtsp://[fe80::1]/s", "", "fe80::1"),
        ("srt://:7001?passphrase=longenough", "", "SRT at port 7001"),
        ("rtsp://ada:pw@[h/s", "", "rtsp://[h/s"),
        ("clips/night walk.v2.mkv", "", "night walk.v2"),
        ("file:///clips/night%20walk.mkv", "", "night walk"),
        ("raw:night.raw?size=4x4", "", "night"),
        ("raw:-?size=4x4", "", "standard input"),
        (".", "", "folder.v2"),
    ],
)
def test_a_run_has_a_short_name_for_people(
    source: str, camera: str, heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder.v2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert heading_of(source, camera) == heading
