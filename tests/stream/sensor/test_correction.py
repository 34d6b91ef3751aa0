"""Run-time corrections of a sensor's faults against the synthetic camera's truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, StreamOptionError
from irchroma.stream.sensor.bad_pixels import BadPixelReplacement
from irchroma.stream.sensor.correction import Correction
from irchroma.stream.sensor.profile import (
    CameraFaults,
    CameraProfile,
    CameraScale,
    load_profile,
    save_profile,
    with_faults,
)
from irchroma.stream.sensor.stripes import RIDGE, StripeTracker, bends_to_offsets
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import parse_test_address

SMALL = "size=320x256&people=2&vehicles=1"


def camera(address: str) -> SyntheticCamera:
    return SyntheticCamera(parse_test_address(address))


def test_bad_pixels_come_out_near_what_the_scene_has_there_and_good_ones_untouched() -> None:
    frame = camera(f"test:thermal?dead=0.004&{SMALL}").frame(3)
    bad = frame.defects > 0
    corrected = frame.pixels.copy()
    BadPixelReplacement(bad).apply(corrected)
    assert np.array_equal(corrected[~bad], frame.pixels[~bad])
    error = np.abs(corrected.astype(float) - frame.clean)[bad]
    assert np.abs(frame.pixels.astype(float) - frame.clean)[bad].mean() > 1000
    assert np.median(error) < 3  # the noise is 1 count
    assert error.mean() < 12  # some lie on edges


def test_an_edge_is_continued_through_bad_pixels_rather_than_blurred() -> None:
    clean = np.full((40, 40), 1000, np.uint16)
    clean[:, 20:] = 3000
    bad = np.zeros(clean.shape, bool)
    bad[5:35:3, 19:21] = True
    broken = clean.copy()
    broken[bad] = 0
    BadPixelReplacement(bad).apply(broken)
    assert np.array_equal(broken, clean)


def test_a_dead_column_and_a_large_hole_are_filled_from_their_surroundings() -> None:
    frame = camera(f"test:thermal?{SMALL}").frame(0)
    bad = np.zeros(frame.pixels.shape, bool)
    bad[:, 100] = True
    bad[200:215, 40:80] = True
    broken = frame.pixels.copy()
    broken[bad] = 0
    BadPixelReplacement(bad).apply(broken)
    error = np.abs(broken.astype(float) - frame.clean)
    assert np.median(error[:, 100]) < 4
    assert np.median(error[200:215, 40:80]) < 40
    assert np.array_equal(broken[~bad], frame.pixels[~bad])


def test_offsets_and_gain_take_the_pattern_away_and_leave_the_scene() -> None:
    synthetic = camera(f"test:thermal?fpn=8&stripes=4&{SMALL}")
    frame = synthetic.frame(5)
    pattern = synthetic.sensor(0).pattern
    profile = CameraProfile(size=pattern.shape, faults=CameraFaults(offset=-pattern))
    corrected = Correction(profile).apply(frame.pixels)
    assert corrected.dtype == np.uint16
    assert np.std(frame.pixels.astype(float) - frame.clean) > 8
    assert np.std(corrected.astype(float) - frame.clean) < 1.2  # noise of 1 count and rounding
    gain = (1 + pattern / 100).astype(np.float32)
    bent = np.rint((frame.clean - 7300.0) / gain + 7300).astype(np.uint16)
    two = CameraFaults(gain=gain, gain_about=7300.0, offset=np.zeros_like(gain))
    straight = Correction(CameraProfile(size=pattern.shape, faults=two)).apply(bent)
    assert np.abs(straight.astype(float) - frame.clean).max() <= 1


def test_stripes_are_tracked_while_running_and_a_scene_without_them_keeps_its_own_lines() -> None:
    profile = CameraProfile(faults=CameraFaults(stripes=20.0))
    left = {}
    for stripes in (0, 6):
        synthetic = camera(f"test:thermal?stripes={stripes}&{SMALL}&noise=0.02")
        correction = Correction(profile)
        for number in range(60):
            frame = synthetic.frame(number)
            corrected = correction.apply(frame.pixels).astype(float)
        left[stripes] = np.std((corrected - frame.clean).mean(0))
    assert left[0] < 1.0
    assert left[6] < 6 / 2


def test_white_stripes_on_a_flat_view_almost_vanish() -> None:
    rng = np.random.default_rng(3)
    columns = rng.normal(0, 10, 320)
    tracker = StripeTracker((256, 320), limit=60)
    for _ in range(20):
        frame = 7000 + columns[None] + rng.normal(0, 1, (256, 320))
        tracker.look(frame.astype(np.float32) + tracker.columns[None] + tracker.rows[:, None])
    rest = columns + tracker.columns
    detail = rest - np.convolve(np.pad(rest, 5, mode="edge"), np.ones(11) / 11, "valid")
    assert detail.std() < 2  # of 10; longer waves are left to the scene
    assert np.abs(tracker.rows).max() < 1


@pytest.mark.parametrize("length", [3, 4, 17, 512])
def test_bends_become_the_offsets_that_the_least_squares_with_a_ridge_gives(length: int) -> None:
    bends = np.zeros((length - 2, length))
    for place in range(length - 2):
        bends[place, place : place + 3] = -0.5, 1, -0.5
    expected = np.linalg.solve(bends.T @ bends + RIDGE * np.eye(length), bends.T)
    assert np.abs(bends_to_offsets(length) - expected).max() < 2e-6  # of 1.3, in float32


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 2), (2, 2), (3, 3)])
def test_a_picture_of_hardly_any_lines_has_no_stripes(size: tuple[int, int]) -> None:
    tracker = StripeTracker(size, 20.0)
    for number in range(3):
        tracker.look(np.full(size, 7000 + number, np.uint16))
    assert (tracker.columns.shape, tracker.rows.shape) == (size[1:], size[:1])
    assert not tracker.columns.any()
    assert not tracker.rows.any()


def test_pixels_that_have_drifted_are_followed_while_the_view_moves_and_a_clean_sensor_stays_clean() -> None:
    profile = CameraProfile(faults=CameraFaults(drift=20.0))
    left, given = {}, {}
    for address in ("fpn=4&pan=40", "pan=40", "fpn=4"):
        synthetic = camera(f"test:thermal?{address}&size=160x128&people=1&vehicles=1")
        correction = Correction(profile)
        for number in range(520):
            frame = synthetic.frame(number)
            corrected = correction.apply(frame.pixels)
        left[address] = float(np.std(corrected.astype(float) - frame.clean))
        given[address] = float(np.std(frame.pixels.astype(float) - frame.clean))
    assert given["fpn=4&pan=40"] > 4
    assert left["fpn=4&pan=40"] < 0.7 * given["fpn=4&pan=40"]
    assert left["pan=40"] < 1.1 * given["pan=40"]  # the scene is not eaten
    assert left["fpn=4"] == given["fpn=4"]  # a view that stands still teaches nothing


def test_pictures_in_color_and_of_another_size_pass_through() -> None:
    profile = CameraProfile(size=(256, 320), faults=CameraFaults(offset=np.ones((256, 320), np.float32)))
    correction = Correction(profile)
    for pixels in (np.zeros((256, 320, 3), np.uint8), np.zeros((100, 100), np.uint16)):
        assert correction.apply(pixels) is pixels
    luma = np.full((256, 320), 255, np.uint8)
    assert (correction.apply(luma) == 255).all()  # saturates
    assert correction.apply(luma) is not luma


def test_a_profile_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    faults = CameraFaults(
        bad_pixels=rng.integers(0, 4, (60, 80), np.uint8),
        offset=rng.normal(0, 30, (60, 80)).astype(np.float32),
        gain=rng.uniform(0.9, 1.1, (60, 80)).astype(np.float32),
        gain_about=7300.0,
        stripes=3.5,
        drift=2.5,
        missing=((1, 2, 3, 4),),
    )
    profile = CameraProfile("north gate", (60, 80), 14, "plain", CameraScale(25.0), faults)
    written = save_profile(tmp_path / "gate.toml", profile)
    assert {path.name for path in written} == {
        "gate.toml", "gate-bad-pixels.png", "gate-offset.png", "gate-gain.png",
    }  # fmt: skip
    read = load_profile(tmp_path / "gate.toml")
    assert (read.name, read.size, read.bits, read.scale) == ("north gate", (60, 80), 14, CameraScale(25.0))
    assert read.faults.missing == ((1, 2, 3, 4),)
    assert (read.faults.stripes, read.faults.drift) == (3.5, 2.5)
    assert np.array_equal(read.faults.bad_pixels, faults.bad_pixels)
    assert np.allclose(read.faults.offset, faults.offset, atol=0.01)
    assert np.allclose(read.faults.gain, faults.gain, atol=1e-5)


def test_a_profile_that_makes_no_sense_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "camera.toml"
    with pytest.raises(SourceError, match="no such file"):
        load_profile(path)
    for text, said in (
        ("bits = 20", "8 to 16"),
        ('layout = "tiled"', "layout 'tiled'"),
        ("colour = 1", "unknown key 'colour'"),
        ("[scale]\nper_kelvin = 0", "above 0"),
        ("[faults]\nholes = 3", "holes"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(StreamOptionError, match=said):
            load_profile(path)
    path.write_text('[faults]\noffset = "none.png"', encoding="utf-8")
    with pytest.raises(SourceError, match=r"none\.png"):
        load_profile(path)
    with pytest.raises(StreamOptionError, match="of a camera of"):
        with_faults(CameraProfile(size=(10, 10)), (20, 20), stripes=1.0)


def test_counts_are_degrees_by_the_profiles_scale() -> None:
    frame = camera(f"test:thermal?{SMALL}").frame(0)
    celsius = frame.pixels / 25.0 + CameraScale(25.0).offset_celsius
    assert np.abs(celsius - frame.celsius).mean() < 0.1  # noise of 0.04 K and rounding to 0.04 K
    assert CameraScale(25.0).to_counts(26.85) == pytest.approx(7500)
