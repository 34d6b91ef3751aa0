"""Mistakes on the command line before any command is known."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from irchroma.calibration.errors import CalibrationError
from irchroma.launch.cli import main
from irchroma.launch.commands.calibrate import color
from irchroma.launch.run.process import set_up
from irchroma.stream.frame import Frame
from irchroma.stream.view.osd import READINGS


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("runn", "there is no command runn, did you mean run?"),
        ("colorize", ", did you mean run?"),
        ("color", ", did you mean run?"),
        ("Color", ", did you mean run?"),
        ("x" * 300, ": choose one of run, image, "),
        ("night.mp4", "what to color comes after one, as in irchroma run SOURCE --to out.mp4"),
        ("rtsp://camera/stream", "as in irchroma run SOURCE --to out.mp4"),
        ("test:nir", "as in irchroma run SOURCE --to out.mp4"),
        ("/dev/video0", "as in irchroma run SOURCE --to out.mp4"),
        ("xyzzy", ": choose one of run, image, "),
    ],
)
def test_what_is_no_command_is_told_what_was_meant(
    word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night.mp4").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert len(errors.splitlines()) == 1


def test_other_tables_guess_among_their_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "colour"])
    assert "did you mean color?" in capsys.readouterr().err


def test_without_a_word_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "color a stream or a file" in errors
    assert "what works on this machine" in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *(
            (["--osd", word], f"{word}: --osd takes no value (osd.show of --config chooses)")
            for word in READINGS
        ),
        (["--quiet", "x"], "x: --quiet takes no value"),
        (["--osd", "--qiet"], "--qiet, did you mean --quiet?"),
        (["x.mp4"], "x.mp4, did you mean --to x.mp4?"),
    ],
)
def test_a_word_too_many_is_told_by_what_is_before_it(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "test:nir", *words])
    assert f"unrecognized arguments: {said} (see" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0", "0/1", "-5"])
def test_a_rate_of_none_is_refused(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "pictures/", "--rate", rate, "--to", "null"])
    assert f"argument --rate: must be above 0, got {rate}" in capsys.readouterr().err


@pytest.mark.parametrize("failed", [CalibrationError, RuntimeError])
def test_no_error_tells_a_camera_s_password(
    failed: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of ours, and of what nobody foresaw."""

    def refuse(source: str, seconds: float) -> Iterator[Frame]:
        raise failed(f"{source}: broken")

    monkeypatch.setattr(color, "read_frames", refuse)
    out = str(tmp_path / "own.onnx")
    assert main(["calibrate", "color", "rtsp://watch:s3cret@camera/1", "--engine", "nir", "--out", out]) == 1
    said = capsys.readouterr()
    assert "rtsp://***@camera/1: broken" in said.err
    assert "s3cret" not in said.out + said.err


_CAMERA = "rtsp://watch:s3cret@127.0.0.1:9/x?passphrase=s3cret2"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "run --to null --stats stats.json",
        "run --to null --log json",
        "run --to null --print-config",
        "run test:nir?seconds=0.1 --engine palette:lava --to null --stats stats.json --on-event",
        "image --out out.png",
        "evaluate",
        "flicker",
        "find --at",
        "recolor --out out.mkv",
        "verify",
        "latency",
        "archive out",
        "references add",
        "calibrate bad-pixels --out camera.toml",
        "calibrate nuc --out camera.toml",
        "calibrate burn-in --out mask.png",
        "calibrate color --collect pairs --out own.onnx",
        "calibrate precision --out eight.onnx",
        "calibrate reference --out reference",
        "calibrate speed",
        "bench temporal",
        "train nir --out own.onnx --data",
        "engines inspect",
        "fleet",
    ],
)
@pytest.mark.parametrize("address", [_CAMERA, f"file:{_CAMERA}"])
def test_no_command_tells_a_camera_s_password(
    words: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not on the terminal and in no file, whether it takes an address or mistakes it for a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IRCHROMA_DEBUG", "")
    with suppress(SystemExit):
        main([*words.split(), address])
    said = "".join(capfd.readouterr())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert said or written
    assert "s3cret" not in said + "".join(path.read_bytes().decode(errors="replace") for path in written)
    assert not [path for path in tmp_path.rglob("*") if "s3cret" in path.name]


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_log_line_tells_a_camera_s_password(style: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor a traceback; what our own sentences give as an example stays readable."""
    set_up(style, logging.INFO)
    try:
        raise RuntimeError(f"{_CAMERA}: broken")
    except RuntimeError as error:
        logging.getLogger("irchroma.somebody").exception(
            "broken: %s; try rtsp://user:password@:8554/x", error
        )
    said = capfd.readouterr().err
    assert "s3cret" not in said
    assert "try rtsp://user:password@:8554/x" in said
    if style == "json":
        assert "RuntimeError" in json.loads(said)["traceback"]


def test_a_camera_that_gives_no_pairs_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(color, "read_frames", lambda source, seconds: iter(()))
    (tmp_path / "ir").mkdir()
    with pytest.raises(CalibrationError, match=r"rtsp://camera/1: no pairs in 0 s") as told:
        color.collect("rtsp://watch:s3cret@camera/1", tmp_path)
    assert "s3cret" not in str(told.value)
