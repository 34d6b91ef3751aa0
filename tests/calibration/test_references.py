"""Collecting a scene's color by day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.calibration import references
from irchroma.calibration.errors import CalibrationError
from irchroma.calibration.references import ReferenceCollector
from irchroma.engines.reference.pictures import load_references
from irchroma.launch.cli import main
from irchroma.launch.commands.calibrate import reference
from irchroma.launch.commands.calibrate.overview import draw_references


def passing_by(rgb: np.ndarray, number: int) -> np.ndarray:
    """The scene with somebody in black who is elsewhere in every picture."""
    return cv2.rectangle(rgb.copy(), (20 + 34 * number, 120), (45 + 34 * number, 200), (5, 5, 5), -1)


def test_who_passes_by_is_gone_from_the_median_of_several_pictures() -> None:
    rgb, _ = daytime_scene.draw(3)
    collector = ReferenceCollector()
    for number, shift in enumerate([(0, 0), (3, 1), (-2, 2), (1, -3), (0, 2), (2, 0), (-3, -1)]):
        assert collector.add(daytime_scene.moved(passing_by(rgb, number), 1, 0, shift), f"{number}.png")
    (reference,) = collector.references()
    assert reference.name == "0.png, median of 7 pictures"
    assert reference.still
    trusted = reference.trust > 127
    assert trusted.mean() > 0.75
    inside = np.zeros_like(trusted)
    inside[8:-8, 8:-8] = True
    assert np.abs(reference.rgb.astype(int) - rgb).max(2)[trusted & inside].mean() < 6
    assert draw_references([reference, reference]).shape[2] == 3


def test_of_two_pictures_that_differ_neither_is_trusted_there() -> None:
    rgb, _ = daytime_scene.draw(3)
    collector = ReferenceCollector()
    for number in (0, 5):
        collector.add(passing_by(rgb, number), str(number))
    (reference,) = collector.references()
    assert (reference.trust[125:195, 25:40] == 0).mean() > 0.9
    assert (reference.trust[20:100] == 255).mean() > 0.9


def test_other_views_and_other_light_are_references_of_their_own_and_the_set_stays_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yard, _ = daytime_scene.draw(3)
    street, _ = daytime_scene.draw(9)
    dusk = (yard * 0.45).astype(np.uint8)
    collector = ReferenceCollector(3)
    for name, picture in (("yard", yard), ("dusk", dusk), ("street", street), ("yard", yard)):
        collector.add(picture, name)
    names = [one.name for one in collector.references()]
    assert names == ["yard, median of 2 pictures", "dusk", "street"]
    doubts = [line for line in reference.describe(collector.references(), 0) if "another view" in line]
    assert len(doubts) == 1
    assert doubts[0].startswith("street: shows another view than yard, median of 2 pictures: ")
    monkeypatch.setattr(references, "LONG_SIDE_PX", 160)
    small = ReferenceCollector(1)
    for picture in (yard, yard, street):
        small.add(picture, "any")
    (kept,) = small.references()
    assert kept.trust.shape == (120, 160)


def test_pictures_without_color_are_counted_and_left_out() -> None:
    _, infrared = daytime_scene.draw(3)
    collector = ReferenceCollector()
    assert not collector.add(cv2.merge([infrared] * 3), "night")
    with pytest.raises(
        CalibrationError, match="no picture in color among 1: give pictures or recordings by day"
    ):
        collector.references()
    with pytest.raises(CalibrationError, match="at least one"):
        ReferenceCollector(0)


def test_the_command_writes_a_set_that_a_run_reads_and_a_picture_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb, infrared = daytime_scene.draw(3)
    for number in range(3):
        cv2.imwrite(
            str(tmp_path / f"day{number}.png"), cv2.cvtColor(passing_by(rgb, number), cv2.COLOR_RGB2BGR)
        )
    cv2.imwrite(str(tmp_path / "night.png"), infrared)
    out = tmp_path / "out" / "yard.toml"
    sources = [str(tmp_path / f"day{number}.png") for number in range(3)] + [str(tmp_path / "night.png")]
    assert main(["calibrate", "reference", *sources, "--out", str(out)]) == 0
    (reference,) = load_references(out)
    assert reference.rgb.shape == rgb.shape
    assert (out.parent / "yard-overview.png").is_file()
    assert not reference.still
    said = capsys.readouterr().out
    assert "1 monochrome pictures left out" in said
    assert "too few to know what stands still" in said
    assert main(["calibrate", "reference", str(tmp_path / "night.png"), "--out", str(out)]) == 1
    assert "by day" in capsys.readouterr().err


@pytest.mark.gst
def test_a_camera_that_is_in_color_by_day_gives_its_own_reference(tmp_path: Path) -> None:
    out = tmp_path / "yard.toml"
    source = "test:nir?daynight=2&frames=25&size=320x240&rate=10"
    assert main(["calibrate", "reference", source, "--every", "1", "--out", str(out)]) == 0
    assert load_references(out)


def test_ctrl_c_ends_a_camera_s_look_and_what_was_seen_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def watched(*_: object) -> Iterator[tuple[float, NDArray[np.uint8], str]]:
        yield 0.0, daytime_scene.draw(3)[0], "day"
        raise KeyboardInterrupt

    monkeypatch.setattr(reference, "pictures", watched)
    out = tmp_path / "yard.toml"
    assert main(["calibrate", "reference", "rtsp://me:secret@camera", "--out", str(out)]) == 0
    assert len(load_references(out)) == 1
    said = capsys.readouterr().err
    assert "until now" in said
    assert "secret" not in said
    before = out.read_bytes()
    assert main(["calibrate", "reference", "day.mp4", "--out", str(out)]) == 130
    assert out.read_bytes() == before
