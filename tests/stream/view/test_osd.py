from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.sensor.telemetry import CameraTelemetry
from irchroma.stream.view.osd import READINGS, ColorScale, Osd, OsdOptions, Readings, Spot, read_spot
from irchroma.stream.view.views import ViewOptions

SECOND = 1_000_000_000
FULL = Readings(
    29.97,
    12.3,
    "palette ironbow",
    "2026-01-01 12:00:00",
    Spot((0.5, 0.5), "36.6 °C"),
    "sensor 31.2 °C",
    True,
)
BARE = Readings(synthetic=True)


def flat(size: tuple[int, int] = (512, 640), level: int = 90) -> NDArray[np.uint8]:
    return np.full((*size, 3), level, np.uint8)


def touched(
    osd: Osd, readings: Readings, size: tuple[int, int] = (512, 640), **kwargs: object
) -> NDArray[np.bool_]:
    return np.any(osd.draw(flat(size), readings, 0, **kwargs) != 90, axis=2)  # type: ignore[arg-type]


def test_nothing_is_drawn_unless_asked() -> None:
    picture = flat()
    assert Osd().draw(picture, Readings(30, 12, "palette", "12:00"), 0) is picture
    assert Osd(OsdOptions(mark=False)).draw(picture, FULL, 0) is picture


def test_readings_stand_in_the_upper_left_corner_and_the_picture_is_not_written_to() -> None:
    picture = flat()
    picture.setflags(write=False)
    out = Osd(OsdOptions(("rate", "latency", "engine", "time"), mark=False)).draw(picture, FULL, 0)
    changed = np.any(out != 90, axis=2)
    assert changed[:100, :250].mean() > 0.2
    changed[:100, :250] = False
    assert not changed.any()


@pytest.mark.parametrize("reading", ["rate", "latency", "engine", "time", "spot", "camera"])
def test_each_reading_can_be_shown_alone_and_is_left_out_where_unknown(reading: str) -> None:
    osd = Osd(OsdOptions((reading,), mark=False))
    assert touched(osd, FULL).any()
    assert not touched(Osd(OsdOptions((reading,), mark=False)), BARE).any()


def test_the_spot_is_marked_at_its_place() -> None:
    osd = Osd(OsdOptions(("spot",), mark=False))
    changed = touched(osd, Readings(spot=Spot((0.25, 0.75), "8123 counts")))
    rows, columns = np.nonzero(changed)
    assert abs(int(rows.max()) - 128) < 25
    assert abs(int(columns.min()) - 480) < 25


@pytest.mark.parametrize("at", [(0, 0), (0, 1), (1, 0), (1, 1), (0.02, 0.5)])
def test_a_spot_at_the_border_keeps_its_value_in_the_picture(at: tuple[float, float]) -> None:
    middle = touched(Osd(OsdOptions(("spot",))), Readings(spot=Spot((0.5, 0.5), "36.6 °C"))).sum()
    border = touched(Osd(OsdOptions(("spot",))), Readings(spot=Spot(at, "36.6 °C"))).sum()
    assert border > 0.7 * middle


@pytest.mark.parametrize(
    ("view", "columns"),
    [
        (ViewOptions("color"), (400, 640)),
        (ViewOptions("side"), (400, 640)),
        (ViewOptions("wipe", wipe=0.3), (400, 640)),
        (ViewOptions("raw"), None),
        (ViewOptions("wipe", wipe=1.0), None),
    ],
)
def test_the_mark_stands_on_the_synthetic_color_only(
    view: ViewOptions, columns: tuple[int, int] | None
) -> None:
    changed = touched(Osd(), BARE, view=view)
    if columns is None:
        assert not changed.any()
        return
    rows, at = np.nonzero(changed)
    assert rows.min() > 470
    assert columns[0] < at.min() <= at.max() < columns[1]


def test_the_mark_is_discreet() -> None:
    assert touched(Osd(), BARE).mean() < 0.01


def test_side_by_side_the_spot_stands_on_the_color() -> None:
    changed = touched(Osd(OsdOptions(("spot",))), Readings(spot=FULL.spot), view=ViewOptions("side"))
    assert abs(int(np.nonzero(changed)[1].min()) - 480) < 25


def test_readings_hold_still_for_a_quarter_of_a_second() -> None:
    osd = Osd(OsdOptions(("rate",)))
    pictures = [osd.draw(flat(), Readings(rate_hz=10.0 + k), k * SECOND // 30) for k in range(9)]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures[:7])
    assert not np.array_equal(pictures[8], pictures[0])


@pytest.mark.parametrize(
    "size", [(1, 1), (16, 16), (17, 300), (95, 95), (96, 96), (97, 101), (120, 160), (1080, 1920), (300, 96)]
)
def test_any_size_is_drawn_on_or_left_alone(size: tuple[int, int]) -> None:
    long = Readings(30, 12, "a very long engine name " * 9, "2026-01-01 12:00:00", FULL.spot, synthetic=True)
    for view in (ViewOptions(), ViewOptions("side"), ViewOptions("wipe", wipe=0.99)):
        out = Osd(OsdOptions(READINGS)).draw(flat(size), long, 0, view)
        assert out.shape == (*size, 3)
        assert bool((out != 90).any()) == (min(size) >= 96)


def test_a_spot_is_read_in_the_unit_that_the_picture_has() -> None:
    counts = np.arange(100, dtype=np.uint16).reshape(10, 10) + np.uint16(8000)
    assert read_spot(counts, (0.55, 0.55)).text == "8055 counts"
    assert read_spot(counts, (0.55, 0.55), gain=0.04, offset=-273.15).text == "49.1 °C"
    assert read_spot(counts, (1.0, 1.0)).text == "8094 counts"  # the median of what is there
    assert read_spot(np.full((1, 1), 7, np.uint8)).text == "luma 7"
    assert read_spot(np.full((4, 4, 3), 7, np.uint8)).text == "rgb 7 7 7"


def test_an_unknown_reading_is_refused() -> None:
    with pytest.raises(StreamOptionError, match="choose from rate, latency"):
        OsdOptions(("fps",))


def test_drawing_costs_little_more_than_the_copy() -> None:
    osd, picture, spent = Osd(OsdOptions(READINGS)), flat((1080, 1920)), []
    osd.draw(picture, FULL, 0)
    for number in range(1, 41):
        start = time.thread_time_ns()
        osd.draw(picture, FULL, number * SECOND // 30)
        spent.append((time.thread_time_ns() - start) / 1e6)
    assert np.median(spent) < 6


def test_the_camera_says_its_temperatures_and_when_its_shutter_is_closed() -> None:
    telemetry = CameraTelemetry(ffc_state="in progress", sensor_celsius=31.24, housing_celsius=28.9)
    assert telemetry.summary == "sensor 31.2 °C  ·  housing 28.9 °C  ·  shutter closed"
    assert CameraTelemetry(frame_counter=3).summary == ""
    assert CameraTelemetry(ffc_state="imminent").summary == "shutter due"


def test_of_a_small_picture_the_readings_cover_a_fifth_and_what_has_no_room_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    osd = Osd(OsdOptions(("rate", "latency", "engine", "time", "camera")))
    readings = Readings(
        29.97, 12.3, "palette ironbow, above 2850", "2026-01-01 12:00:00", None, "sensor 31 °C"
    )
    assert touched(osd, readings, (120, 160)).mean() < 0.2
    assert touched(osd, readings, (120, 160)).any()
    (said,) = caplog.messages
    assert said == "a picture of 160x120 has no room for these readings: camera, engine"
    caplog.clear()
    alone = touched(Osd(OsdOptions(("engine",))), readings, (120, 160))
    assert np.flatnonzero(alone.any(axis=0)).max() < 140, "the name is not cut"
    assert touched(Osd(OsdOptions(("rate", "engine", "time", "camera"))), readings, (240, 320)).any()
    assert not caplog.messages


@pytest.mark.parametrize("size", [(120, 160), (96, 128), (96, 96)])
def test_the_scale_is_among_what_covers_a_fifth_and_side_by_side_it_is_a_fifth_of_each_half(
    size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scale = ColorScale(((200, 0, 0), (0, 200, 0)), "-21.3", "35.0 °C")
    readings = Readings(
        29.97, 12.3, "palette ironbow", "2026-01-01 12:00:00", FULL.spot, "31 °C", False, scale
    )
    assert 0 < touched(Osd(OsdOptions(READINGS)), readings, size).mean() <= 0.2
    assert caplog.messages
    side = touched(Osd(OsdOptions(READINGS)), readings, (size[0], 2 * size[1]), view=ViewOptions("side"))
    for half in (side[:, : size[1]], side[:, size[1] :]):
        assert 0 < half.mean() <= 0.2


@pytest.mark.parametrize("size", [(120, 160), (512, 640)])
def test_the_scale_of_a_palette_stands_low_in_the_columns_that_show_color(size: tuple[int, int]) -> None:
    osd = Osd(OsdOptions(("scale",)))
    scale = ColorScale(((200, 0, 0), (0, 200, 0)), "~ 2733", "2897 counts")
    drawn = osd.draw(flat(size), Readings(scale=scale), 0)
    red, green = (np.argwhere((drawn == color).all(axis=2)) for color in ((200, 0, 0), (0, 200, 0)))
    assert red[:, 1].max() < green[:, 1].min()
    assert min(red[:, 0].min(), green[:, 0].min()) > size[0] * 0.8
    side = touched(Osd(OsdOptions(("scale",))), Readings(scale=scale), size, view=ViewOptions("side"))
    assert not side[:, : size[1] // 2].any()
    for view, guessed in (("raw", False), ("color", True)):
        readings = Readings(scale=scale, synthetic=guessed)
        osd = Osd(OsdOptions(("scale",), mark=False))
        assert not touched(osd, readings, size, view=ViewOptions(view)).any()  # type: ignore[arg-type]
