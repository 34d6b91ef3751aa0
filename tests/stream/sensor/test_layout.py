"""Frames as thermal cameras deliver them, made after their makers' documents."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.errors import SourceFormatError, StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.sensor.presets import find_profile, names
from irchroma.stream.sensor.profile import CameraProfile, load_profile
from irchroma.stream.sensor.telemetry import parse_lepton
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import parse_test_address

Counts = NDArray[np.uint16]


def celsius_of(counts: np.ndarray, camera: Camera) -> np.ndarray:
    scale = camera.profile.scale
    return counts / scale.per_kelvin + scale.offset_celsius


def preset(name: str) -> CameraProfile:
    return load_profile(find_profile(name))


def lepton_rows(ffc: int, frame: int, width: int = 160) -> Counts:
    """Telemetry rows A, B, C (and D where rows are wide) of a Lepton, datasheet table 2."""
    words = np.zeros(320 if width == 160 else 240, np.uint16)
    words[0] = 0x000E
    words[1], words[2] = 70000 & 0xFFFF, 70000 >> 16  # uptime, milliseconds
    words[3] = 1 << 3 | ffc << 4  # FFC desired, FFC state
    words[20], words[21] = frame & 0xFFFF, frame >> 16
    words[24], words[26] = 30315, 29815  # 30 and 25 degrees Celsius in 1/100 K
    words[160 + 48], words[160 + 49] = 1, 1  # TLinear, 0.01 K
    return words.reshape(-1, width)


@pytest.mark.parametrize("place", ["above", "below"])
def test_a_lepton_gives_its_picture_its_temperatures_and_its_shutter(place: str) -> None:
    scene = SyntheticCamera(parse_test_address("test:thermal?size=160x120&scale=lepton"))
    camera = Camera(preset("lepton"))
    for number, ffc in enumerate((3, 1, 2, 3)):
        frame = scene.frame(number)
        rows = lepton_rows(ffc, 100_000 + number)
        stacked = (rows, frame.pixels) if place == "above" else (frame.pixels, rows)
        out = camera.apply(Frame(np.vstack(stacked), number * 100))
        assert np.array_equal(out.pixels, frame.pixels)
        assert out.held == (ffc == 2)
        telemetry = out.extra["telemetry"]
        assert telemetry.frame_counter == 100_000 + number
        assert telemetry.ffc_state == ("never", "imminent", "in progress", "complete")[ffc]
        assert telemetry.sensor_celsius == pytest.approx(30.0)
        assert telemetry.housing_celsius == pytest.approx(25.0)
        assert telemetry.uptime_ms == 70000
        assert telemetry.per_kelvin == 100.0
        assert camera.profile.scale is not None
        celsius = celsius_of(out.pixels, camera)
        assert np.abs(celsius - frame.celsius).mean() < 0.1
        assert np.quantile(np.abs(celsius - frame.celsius), 0.999) < 0.5


def test_a_small_lepton_has_three_rows_and_one_without_telemetry_is_a_picture() -> None:
    picture = np.full((60, 80), 29815, np.uint16)
    out = Camera(preset("lepton")).apply(Frame(np.vstack([picture, lepton_rows(3, 7, 80)]), 0))
    assert out.pixels.shape == (60, 80)
    assert out.extra["telemetry"].frame_counter == 7
    plain = Frame(picture, 0)
    assert np.array_equal(Camera(preset("lepton")).apply(plain).pixels, picture)
    assert parse_lepton(np.zeros((2, 160), np.uint16)) is None


def split_frame(celsius: NDArray[np.float32], seed: int = 0) -> Counts:
    """A YUYV picture above, temperatures of 1/64 K below, read as little-endian words."""
    rng = np.random.default_rng(seed)
    luma = np.clip((celsius - celsius.min()) / np.ptp(celsius) * 220, 0, 255).astype(np.uint16)
    chroma = rng.integers(126, 131, luma.shape, np.uint16)
    temperatures = np.rint((celsius + 273.15) * 64).astype(np.uint16)
    return np.vstack([luma | chroma << 8, temperatures])


def test_a_split_frame_gives_temperatures_and_is_put_right_when_its_halves_slip() -> None:
    scene = SyntheticCamera(parse_test_address("test:thermal?size=256x192"))
    camera = Camera(preset("infiray-split"))
    assert camera.profile.scale is not None
    for number, slip in enumerate((0, 192, 60, 300, 0)):
        celsius = scene.frame(number).celsius
        delivered = np.roll(split_frame(celsius, number), slip, 0)
        out = camera.apply(Frame(delivered, number))
        assert not out.held
        assert np.abs(celsius_of(out.pixels, camera) - celsius).max() < 0.5
    assert camera.unpacker.rolled == 3
    assert camera.unpacker.broken == 0


def test_a_broken_split_frame_repeats_the_last_good_one_and_is_held() -> None:
    celsius = np.linspace(10, 40, 192 * 256, dtype=np.float32).reshape(192, 256)
    camera = Camera(preset("infiray-split"))
    good = split_frame(celsius)
    first = camera.apply(Frame(good, 0))
    torn = good.copy()
    torn[100:150] = good[250:300]
    second = camera.apply(Frame(torn, 1))
    assert second.held
    assert np.array_equal(second.pixels, first.pixels)
    assert camera.unpacker.broken == 1
    camera = Camera(preset("infiray-split"))
    strange = Frame(np.zeros((100, 100), np.uint16), 0)
    first = camera.apply(strange)
    assert (first.held, first.pixels.shape) == (True, (50, 100))
    with pytest.raises(SourceFormatError, match="frames of 100x100 of another layout"):
        _ = [camera.apply(strange) for _ in range(20)]
    with pytest.raises(SourceFormatError, match="frames of 100x99 of another layout"):
        Camera(preset("infiray-split")).apply(Frame(np.zeros((99, 100), np.uint16), 0))


def test_a_seek_holds_its_picture_while_the_shutter_is_closed() -> None:
    camera = Camera(preset("seek"))
    raw = np.full((156, 208), 8000, np.uint16)
    raw[0, 10], raw[0, 40] = 3, 77
    raw[1:155, :207] += np.arange(207, dtype=np.uint16)
    picture = camera.apply(Frame(raw, 0))
    assert picture.pixels.shape == (154, 207)
    assert picture.extra["telemetry"].frame_counter == 77
    shutter = np.full((156, 208), 9000, np.uint16)
    shutter[0, 10] = 1
    held = camera.apply(Frame(shutter, 1))
    assert held.held
    assert np.array_equal(held.pixels, picture.pixels)


def test_a_boson_loses_its_telemetry_rows_and_keeps_its_counter() -> None:
    rows = np.zeros((2, 640), np.uint16)
    rows[0, 42], rows[0, 43], rows[0, 141] = 1, 5, 900
    picture = np.full((512, 640), 8000, np.uint16)
    out = Camera(preset("boson")).apply(Frame(np.vstack([rows, picture]), 0))
    assert np.array_equal(out.pixels, picture)
    assert out.extra["telemetry"].frame_counter == 65541
    assert out.extra["telemetry"].uptime_ms == 900
    without = Frame(picture, 0)
    assert np.array_equal(Camera(preset("boson")).apply(without).pixels, picture)


@pytest.mark.parametrize("name", ["infiray-split", "lepton", "boson", "seek"])
def test_color_and_luma_are_not_what_a_camera_of_counts_sends(name: str) -> None:
    for pixels in (np.zeros((384, 256, 3), np.uint8), np.zeros((384, 256), np.uint8)):
        with pytest.raises(SourceFormatError, match="expected the sensor's 16-bit counts"):
            Camera(preset(name)).apply(Frame(pixels, 0))
    assert Camera(preset("generic-8")).apply(Frame(np.zeros((8, 8), np.uint8), 0)).pixels.shape == (8, 8)


def test_the_lower_half_of_a_split_frame_alone_is_a_picture() -> None:
    half = Frame(np.full((192, 256), 18762, np.uint16), 0)
    assert np.array_equal(Camera(preset("infiray-split")).apply(half).pixels, half.pixels)


def test_every_profile_that_ships_can_be_read_and_a_wrong_name_is_met_with_the_nearest() -> None:
    assert {"lepton", "boson", "tau2", "seek", "infiray-split", "generic-14"} <= set(names())
    for name in names():
        assert preset(name).name
    with pytest.raises(StreamOptionError, match="did you mean lepton"):
        find_profile("leptan")
