"""I420 pictures go to encoders as they are, and are R'G'B' for whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.frame import Frame
from irchroma.stream.picture.lettering import outlined
from irchroma.stream.picture.picture import Picture, Planes, copied, in_one_buffer, planes_of
from irchroma.stream.protocols import Job
from irchroma.stream.sinks.encoding.i420_packer import Yuv420Packer
from irchroma.stream.sinks.open_sink import takes_planes
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.osd import OsdOptions
from irchroma.stream.view.views import ViewOptions

SIZE = (120, 160)
NEAR = 3
"""Levels: luma and chroma are rounded to 219 and 224 levels, and back."""


def smooth(seed: int = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 1, (*SIZE, 4)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 9)
    noise /= noise.std()
    return np.clip(128 + 40 * noise[..., :1] + 18 * noise[..., 1:], 0, 255).astype(np.uint8)


def packed(rgb: NDArray[np.uint8]) -> Picture:
    return Picture(planes=planes_of(Yuv420Packer(SIZE).pack(rgb).copy(), SIZE))


class Colored:
    """What an engine that packs gives."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.planes = packed(rgb).planes
        self.confidence = None
        self.asked = 0

    @property
    def rgb(self) -> NDArray[np.uint8]:
        self.asked += 1
        return Picture(planes=self.planes).rgb


class There:
    """A picture that pretends to lie on a device, with room for so many more; counts what is fetched."""

    index, context, format = 0, 5, "NV12"
    addresses = pitches = (0, 0)

    def __init__(self, planes: Planes, room: int = 1) -> None:
        self.planes, self.room, self.fetched = planes, room, 0
        self.size = (planes.y.shape[0], planes.y.shape[1])

    def rows(self, top: int, bottom: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        self.fetched += bottom - top
        half = slice(top // 2, bottom // 2)
        return self.planes.y[top:bottom], self.planes.cb[half], self.planes.cr[half]

    def with_rows(self, top: int, planes: Sequence[NDArray[np.uint8]]) -> There | None:
        if not self.room:
            return None
        made = copied(self.planes)
        half = slice(top // 2, (top + len(planes[0])) // 2)
        made.y[top : top + len(planes[0])], made.cb[half], made.cr[half] = planes
        return There(made, self.room - 1)


class ColoredThere:
    """What an engine gives whose pictures stay on the device."""

    confidence = None

    def __init__(self, device: There) -> None:
        self.device = device

    @property
    def rgb(self) -> NDArray[np.uint8]:
        return Picture(device=self.device).rgb


@pytest.mark.parametrize("room", [1, 0])
@pytest.mark.parametrize("at", [(10, 20), (-5, -7), (100, 130), (200, 20), (7, 33)])
def test_what_is_drawn_on_a_picture_on_a_device_is_drawn_on_its_rows_alone(
    room: int, at: tuple[int, int]
) -> None:
    planes = packed(smooth()).planes
    assert planes is not None
    there = There(copied(planes), room)
    sprite = outlined("synthetic", 14)
    drawn, expected = (
        Picture(device=there).with_sprite(sprite, *at),
        packed(smooth()).with_sprite(sprite, *at),
    )
    assert there.fetched <= sprite.size[0] + 2 or not room
    assert (drawn.device is not None) == bool(room) or drawn.device is there
    assert drawn.planes is not None
    assert expected.planes is not None
    assert all(np.array_equal(*pair) for pair in zip(drawn.planes, expected.planes, strict=True))
    assert all(np.array_equal(*pair) for pair in zip(there.planes, planes, strict=True))


def test_a_composer_leaves_it_on_the_device_and_fetches_it_for_other_views() -> None:
    planes = packed(smooth()).planes
    assert planes is not None
    there = There(planes)
    job = finished(ColoredThere(there), synthetic=False)  # type: ignore[arg-type]
    shown = ViewComposer(ViewOptions("color")).compose(job)
    assert shown.device is there
    assert shown.shape == (*SIZE, 3)
    assert not there.fetched
    marked = ViewComposer(ViewOptions("color")).compose(replace(job, synthetic=True))
    assert isinstance(marked.device, There)
    assert 0 < there.fetched < SIZE[0] / 2
    side = ViewComposer(ViewOptions("side")).compose(job)
    assert side.device is None
    assert side.shape[1] == 2 * SIZE[1]


def finished(colored: Colored, synthetic: bool) -> Job:
    luma = np.zeros(SIZE, np.uint8)
    return Job(Frame(luma, 0), luma, colored=colored, engine="nir", synthetic=synthetic, rate_hz=25.0)


def test_its_rgb_is_that_which_was_packed() -> None:
    rgb = smooth()
    picture = packed(rgb)
    assert picture.shape == rgb.shape
    assert np.abs(picture.rgb.astype(int) - rgb).mean() < 1
    assert np.abs(picture.rgb.astype(int) - rgb).max() <= 2 * NEAR


@pytest.mark.parametrize("steps", [(1, 1), (3, 2), (7, 5)])
def test_samples_are_those_of_the_whole_picture(steps: tuple[int, int]) -> None:
    picture = packed(smooth())
    found = picture.sampled(*steps).astype(int)
    expected = picture.rgb[:: steps[0], :: steps[1]].astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 1.5


@pytest.mark.parametrize("at", [(40, 30), (41, 33), (-3, -5), (SIZE[0] - 6, SIZE[1] - 9)])
def test_something_drawn_on_it_is_as_if_drawn_before_and_the_rest_stays(at: tuple[int, int]) -> None:
    rgb = smooth()
    sprite = outlined("color", 12)
    before = packed(rgb)
    drawn = before.with_sprite(sprite, *at)
    expected = before.rgb.copy()
    sprite.lay_on(expected, *at)
    off = np.abs(drawn.rgb.astype(int) - expected)
    assert off.mean() < 0.7  # letters have chroma of half the size
    assert (
        np.abs(
            cv2.cvtColor(drawn.rgb, cv2.COLOR_RGB2GRAY).astype(int)
            - cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY)
        ).max()
        <= 2 * NEAR
    )
    assert any((a != b).any() for a, b in zip(drawn.planes, before.planes, strict=True))
    far = np.ones(SIZE, bool)
    rows = np.s_[max(at[0] - 4, 0) : at[0] + sprite.size[0] + 4]
    far[rows, max(at[1] - 4, 0) : at[1] + sprite.size[1] + 4] = False
    np.testing.assert_array_equal(drawn.rgb[far], before.rgb[far])
    assert before.with_sprite(sprite, SIZE[0] + 10, 0) is before


def test_planes_of_odd_sides_are_rounded_up_and_drawn_on_to_the_last_pixel() -> None:
    rgb = cv2.resize(smooth(), (159, 119))
    half = Yuv420Packer(SIZE).pack(cv2.copyMakeBorder(rgb, 0, 1, 0, 1, cv2.BORDER_REPLICATE)).copy()
    whole = planes_of(half, SIZE)
    odd = Picture(planes=copied(type(whole)(whole.y[:119, :159], whole.cb, whole.cr)))
    assert odd.shape == rgb.shape
    assert np.abs(odd.rgb.astype(int) - rgb).mean() < 1
    drawn = odd.with_sprite(outlined("color", 12), 100, 120)
    assert drawn.planes is not None
    expected = odd.rgb.copy()
    outlined("color", 12).lay_on(expected, 100, 120)
    assert np.abs(drawn.rgb.astype(int) - expected).mean() < 0.7
    np.testing.assert_array_equal(Picture(np.asarray(drawn)).rgb, drawn.rgb)


def test_planes_with_gaps_between_them_are_copied_not_taken_for_one_buffer() -> None:
    picture = packed(smooth())
    y, cb, cr = picture.planes
    apart = type(picture.planes)(np.pad(y, ((0, 0), (0, 3)))[:, :-3], cr, cb)
    assert in_one_buffer(apart) is None
    swapped = Picture(planes=apart)
    np.testing.assert_array_equal(
        Yuv420Packer(SIZE).pack(swapped), np.concatenate([y.ravel(), cr.ravel(), cb.ravel()])
    )


def test_encoders_get_the_very_bytes_and_other_sizes_are_scaled() -> None:
    picture = packed(smooth())
    assert Yuv420Packer(SIZE).pack(picture) is in_one_buffer(picture.planes)
    other = Yuv420Packer((60, 80)).pack(picture)
    assert other.size == 60 * 80 * 3 // 2


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_composer_marks_it_and_never_makes_rgb(synthetic: bool) -> None:
    rgb = smooth()
    colored = Colored(rgb)
    shown = ViewComposer().compose(finished(colored, synthetic))
    assert shown.planes is not None
    assert colored.asked == 0
    plain = ViewComposer().compose(finished(Plain(Picture(planes=colored.planes).rgb), synthetic))
    assert plain.planes is None
    assert np.abs(shown.rgb.astype(int) - plain.rgb).mean() < 0.7
    assert (shown.planes.y is colored.planes.y) != synthetic


class Plain:
    """What another engine gives."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.rgb, self.confidence = rgb, None


@pytest.mark.parametrize(
    ("view", "osd"), [(ViewOptions("side"), OsdOptions()), (ViewOptions(), OsdOptions(show=("rate",)))]
)
def test_other_views_and_readings_are_drawn_on_its_rgb(view: ViewOptions, osd: OsdOptions) -> None:
    colored = Colored(smooth())
    shown = ViewComposer(view, osd).compose(finished(colored, True))
    assert shown.planes is None
    assert colored.asked == 1


def test_the_card_of_a_lost_camera_comes_over_it() -> None:
    composer = ViewComposer()
    shown = composer.compose(finished(Colored(smooth()), True))
    assert shown.planes is not None
    assert composer.no_signal(3.0, "gone").shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out.mp4", True),
        ("a.mkv", True),
        ("rtsp://:8554/x", True),
        ("srt://:7001", True),
        ("http://:8080", True),
        ("hls:folder", True),
        ("a.m3u8", True),
        ("/dev/video9", False),
        ("window", False),
        ("null", False),
    ],
)
def test_which_sinks_take_it(text: str, expected: bool) -> None:
    assert takes_planes(text) is expected
