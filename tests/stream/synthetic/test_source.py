"""The synthetic cameras against their own truth."""

import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, SourceLost, StreamOptionError
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions, parse_test_address
from irchroma.stream.synthetic.sensor import BLINKING, DEAD, STUCK
from irchroma.stream.synthetic.source import SyntheticSource

SMALL = "size=160x128"


def camera(address: str) -> SyntheticCamera:
    return SyntheticCamera(parse_test_address(address))


def frames_of(source: SyntheticSource) -> list:
    source.open()
    frames = []
    while (frame := source.read(1.0)) is not None:
        frames.append(frame)
    source.close()
    return frames


def test_the_same_seed_and_number_give_the_same_frame_in_any_order():
    address = f"test:thermal?{SMALL}&fpn=4&stripes=2&dead=0.01&drift=0.1&jumps=every:0.2&shake=1"
    first, second = camera(address), camera(address)
    forward = [first.frame(n).pixels for n in range(12)]
    backward = [second.frame(n).pixels for n in reversed(range(12))]
    for a, b in zip(forward, reversed(backward), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_seed_is_another_scene():
    a = camera(f"test:nir?{SMALL}&seed=1&noise=0").frame(0).pixels
    b = camera(f"test:nir?{SMALL}&seed=2&noise=0").frame(0).pixels
    assert np.abs(a.astype(int) - b).mean() > 10


@pytest.mark.parametrize("scale", ["tlinear", "lepton", "raw14"])
def test_counts_without_noise_are_the_temperatures_within_0_05_kelvin(scale):
    thermal = camera(f"test:thermal?{SMALL}&noise=0&scale={scale}")
    frame = thermal.frame(20)
    assert frame.pixels.dtype == np.uint16
    assert frame.pixels.max() <= (65535 if scale == "lepton" else 16383)
    error = frame.pixels - thermal.scale.celsius_to_counts(frame.celsius)
    assert np.abs(error).max() < 0.05 * thermal.scale.per_kelvin


def test_the_world_has_its_temperatures_by_day():
    frame = camera("test:thermal?size=320x256").frame(30)
    labels, celsius = frame.labels, frame.celsius
    assert np.percentile(celsius[labels == 0], 5) < -20
    assert 18 < np.median(celsius[labels == 3]) < 28
    assert celsius[labels == 9].max() == pytest.approx(33, abs=2.5)


def test_infrared_sees_bright_leaves_and_a_dark_sky():
    frame = camera("test:nir?size=320x256").frame(0)
    clear_sky = np.percentile(frame.pixels[frame.labels == 0], 10)
    assert frame.pixels[frame.labels == 5].mean() > clear_sky + 40


def test_noise_has_the_stated_standard_deviation():
    thermal = camera(f"test:thermal?{SMALL}&noise=0.2&scale=lepton&people=0&vehicles=0")
    error = np.stack([thermal.frame(n).pixels - thermal.frame(n).clean.astype(float) for n in range(6)])
    assert error.std() == pytest.approx(20, rel=0.03)
    assert np.corrcoef(error[0].ravel(), error[1].ravel())[0, 1] == pytest.approx(0, abs=0.03)


def test_fixed_pattern_and_stripes_do_not_change_from_frame_to_frame():
    thermal = camera(f"test:thermal?{SMALL}&noise=0&fpn=8&stripes=4")
    errors = [thermal.frame(n).pixels - thermal.frame(n).clean.astype(float) for n in (0, 9)]
    assert np.abs(errors[0] - errors[1]).max() <= 2  # rounding
    assert errors[0].std() == pytest.approx(np.sqrt(8**2 + 4**2 + 2**2), rel=0.15)
    assert errors[0].mean(0).std() == pytest.approx(4, rel=0.25)


def test_the_defect_truth_is_where_pixels_are_wrong():
    thermal = camera(f"test:thermal?{SMALL}&noise=0&dead=0.02&people=0&vehicles=0")
    frames = [thermal.frame(n) for n in range(30)]
    stack = np.stack([frame.pixels for frame in frames])
    defects = frames[0].defects
    assert (defects > 0).mean() == pytest.approx(0.02, rel=0.1)
    assert (stack[:, defects == DEAD] == 0).all()
    stuck = stack[:, defects == STUCK]
    assert (stuck == stuck[0]).all()
    wrong = np.stack([frame.pixels != frame.clean for frame in frames])
    share = wrong[:, defects == BLINKING].mean()
    assert 0.4 < share < 0.6
    assert not wrong[:, defects == 0].any()


def test_drift_and_jumps_change_the_gain_as_told():
    thermal = camera(f"test:thermal?{SMALL}&noise=0&drift=0.1&jumps=every:1")
    quiet, jumped = thermal.frame(0), thermal.frame(45)
    assert quiet.gain == (1, 0)
    gain, offset = jumped.gain
    assert abs(gain - 1) > 0.05
    middle = thermal.scale.celsius_to_counts(np.float32(20))
    expected = gain * (jumped.clean.astype(float) - middle) + middle + offset
    assert np.abs(jumped.pixels - np.clip(expected, 0, 16383)).max() < 1.5


def test_the_picture_is_frozen_and_held_while_the_shutter_is_closed():
    source = SyntheticSource.from_address(f"test:thermal?{SMALL}&ffc=every:1,hold:0.2&frames=70&rate=30")
    frames = frames_of(source)
    held = [frame.number for frame in frames if frame.held]
    assert held == [*range(30, 36), *range(60, 66)]
    for number in range(30, 36):
        np.testing.assert_array_equal(frames[number].pixels, frames[29].pixels)
    assert (frames[36].pixels != frames[35].pixels).any()


def test_without_telemetry_a_frozen_picture_is_not_told():
    source = SyntheticSource.from_address(f"test:nir?{SMALL}&ffc=every:0.5,hold:0.2&frames=20&telemetry=0")
    frames = frames_of(source)
    assert not any(frame.held for frame in frames)
    np.testing.assert_array_equal(frames[15].pixels, frames[14].pixels)


def test_a_pan_of_so_many_pixels_a_second_carries_the_whole_picture():
    nir = camera("test:nir?size=320x256&noise=0&vehicles=0&people=0&pan=60")
    for number, step in ((2, 2), (20, -2)):  # the sweep turns after 16 frames
        now, then = (nir.frame(n).pixels[100:].astype(float) for n in (number, number + 1))
        carried = np.abs(then[:, 8:-8] - np.roll(now, -step, 1)[:, 8:-8]).mean()
        assert carried < 0.35 * np.abs(then - now)[:, 8:-8].mean()


def test_a_cut_shows_another_scene_from_then_on():
    nir = camera(f"test:nir?{SMALL}&noise=0&cut=0.5&rate=10")
    pictures = [nir.frame(n).pixels.astype(int) for n in (3, 4, 5, 6)]
    assert np.abs(pictures[1] - pictures[0]).mean() < 4
    assert np.abs(pictures[2] - pictures[1]).mean() > 10
    assert np.abs(pictures[3] - pictures[2]).mean() < 4


def test_color_by_day_becomes_infrared_luma_of_another_size_by_night():
    source = SyntheticSource.from_address(f"test:nir?{SMALL}&daynight=0.5&night_size=80x64&rate=10&frames=12")
    frames = frames_of(source)
    assert [frame.is_color for frame in frames] == [True] * 5 + [False] * 5 + [True] * 2
    assert frames[4].size == (128, 160)
    assert frames[5].size == (64, 80)
    assert [frame.number for frame in frames if frame.gap] == [5, 10]
    truth = frames[6].extra["truth"].rgb
    assert truth.shape == (64, 80, 3)
    assert truth.mean() > 60  # of the day, though it is night
    assert frames[6].pixels[:8].mean() < 25  # the sky by night


def test_a_file_like_source_ends_in_order_with_exact_times():
    frames = frames_of(SyntheticSource.from_address(f"test:nir?{SMALL}&seconds=1&rate=30000/1001"))
    assert len(frames) == 30
    assert [frame.number for frame in frames] == list(range(30))
    assert all(abs(frame.pts_ns - n * 1e9 * 1001 / 30000) <= 1 for n, frame in enumerate(frames))
    assert all(b.pts_ns == a.pts_ns + a.duration_ns for a, b in pairwise(frames))


def test_a_live_source_keeps_pace_and_counts_what_it_drops():
    source = SyntheticSource(SyntheticOptions(size=(64, 80), rate=Fraction(50), live=True))
    assert source.open().live
    first = source.read(1.0)
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        pass  # a slow reader
    late = source.read(1.0)
    assert late.number - first.number >= 9
    assert source.drops == late.number - 1 - first.number + first.number
    source.close()


def test_a_live_source_that_has_nothing_within_the_timeout_says_so():
    source = SyntheticSource(SyntheticOptions(size=(64, 80), rate=Fraction(1), live=True))
    source.open()
    source.read(2.0)
    with pytest.raises(SourceLost, match="within"):
        source.read(0.01)
    source.close()


def test_reading_before_opening_is_refused_and_reopening_starts_again():
    source = SyntheticSource.from_address(f"test:nir?{SMALL}&frames=2")
    with pytest.raises(SourceError, match="call open"):
        source.read(1.0)
    assert [frame.number for frame in frames_of(source)] == [0, 1]
    assert [frame.number for frame in frames_of(source)] == [0, 1]


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (120, 161), (97, 400)])
def test_odd_tiny_and_slim_sizes_work(size):
    for band, dtype in (("nir", np.uint8), ("thermal", np.uint16)):
        frame = SyntheticCamera(SyntheticOptions(band=band, size=size, shake=1)).frame(1)
        assert frame.pixels.shape == size
        assert frame.pixels.dtype == dtype
        assert frame.rgb.shape == (*size, 3)
        assert frame.labels.shape == size


def test_frames_drawn_ahead_are_the_same_frames() -> None:
    made = []
    for query in ("", "&ahead=1"):
        source = SyntheticSource.from_address(f"test:nir?size=64x48&frames=3{query}")
        source.open()
        frames = [source.read(1.0) for _ in range(4)]
        source.close()
        assert frames[3] is None
        made.append([frame.pixels for frame in frames if frame is not None])
    np.testing.assert_array_equal(*made)


def test_drawing_ahead_without_an_end_is_refused() -> None:
    with pytest.raises(StreamOptionError, match="give seconds= or frames="):
        SyntheticSource.from_address("test:nir?size=64x48&ahead=1")
