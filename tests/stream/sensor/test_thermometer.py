"""Temperatures of places and alarms on them, from real counts and from drawn ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.sensor.thermometer import Alarm, Region, Thermometer, ThermometerOptions
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

GAIN, OFFSET = 0.04, -273.15  # tlinear: 25 counts a kelvin


def counts_of(celsius: np.ndarray) -> np.ndarray:
    return np.rint((celsius - OFFSET) / GAIN).astype(np.uint16)


def frame(celsius: np.ndarray, seconds: float = 0.0) -> Frame:
    return Frame(counts_of(celsius), int(seconds * 1e9))


def test_a_camera_of_known_temperatures_is_read() -> None:
    camera = SyntheticCamera(SyntheticOptions(band="thermal", size=(120, 160), noise=0.0))
    shot = camera.frame(3)
    thermometer = Thermometer(
        GAIN, OFFSET, ThermometerOptions(measure=("all=box 0,0 1,1", "cut=line 0,0.5 1,0.5"))
    )
    thermometer.look(Frame(shot.pixels, 0), False)
    everything, cut = thermometer.state()["regions"]
    assert everything["celsius"][0] == pytest.approx(float(shot.celsius.min()), abs=0.1)
    assert everything["celsius"][1] == pytest.approx(float(shot.celsius.mean()), abs=0.1)
    assert everything["celsius"][2] == pytest.approx(float(shot.celsius.max()), abs=0.1)
    row = shot.celsius[round(0.5 * 119)]
    assert cut["celsius"] == pytest.approx([row.min(), row.mean(), row.max()], abs=0.1)
    place = shot.celsius[29:32, 39:42]
    assert thermometer.read(40 / 159, 30 / 119) == pytest.approx(float(np.median(place)), abs=0.1)


def test_emissivity_and_what_is_reflected_are_taken_out() -> None:
    thermometer = Thermometer(GAIN, OFFSET)
    thermometer.look(frame(np.full((20, 20), 50.0)), False)
    assert thermometer.read(0.5, 0.5) == pytest.approx(50, abs=0.03)
    thermometer.change({"emissivity": 0.5, "reflected_celsius": 50})
    assert thermometer.read(0.5, 0.5) == pytest.approx(50, abs=0.03), "what is as warm as all around is so"
    thermometer.change({"reflected_celsius": 20})
    # By hand, L = 1 / (exp(1438.777 / T) - 1): L(323.15 K) = 0.011788, L(293.15 K) = 0.0074422;
    # (0.011788 - 0.5 * 0.0074422) / 0.5 = 0.016134 = L(347.3 K).
    assert thermometer.read(0.5, 0.5) == pytest.approx(347.3 - 273.15, abs=0.1)


@pytest.mark.parametrize(("emissivity", "reflected"), [(1.0, 20.0), (0.6, -10.0), (0.95, 80.0)])
def test_degrees_become_counts_and_counts_degrees(emissivity: float, reflected: float) -> None:
    thermometer = Thermometer(GAIN, OFFSET)
    changes: list[bool] = []
    thermometer.on_change = lambda: changes.append(True)
    thermometer.change({"emissivity": emissivity, "reflected_celsius": reflected})
    assert changes == [True]
    for celsius in (-20.0, 0.0, 36.6, 300.0):
        counts = thermometer.counts_of(celsius)
        assert thermometer.celsius_of(counts) == pytest.approx(celsius, abs=1e-6)
    thermometer.look(frame(np.full((20, 20), 50.0)), False)
    assert thermometer.celsius_of(float(counts_of(np.array(50.0)))) == thermometer.read(0.5, 0.5)


def test_alarms_begin_once_end_with_some_room_and_tell_a_rise() -> None:
    told: list[dict[str, Any]] = []
    options = ThermometerOptions(
        measure=("door=box 0.5,0 1,1",), alarm=("door above 60", "door below 5", "door rise 3")
    )
    thermometer = Thermometer(GAIN, OFFSET, options, told.append)
    picture = np.full((20, 20), 20.0)
    picture[:, 0] = 300  # not within the region
    thermometer.look(frame(picture), False)
    assert told == []
    for second, celsius in enumerate((61.0, 62.0, 59.8, 59.0)):
        picture[5, 15] = celsius
        thermometer.look(frame(picture, 1 + second), False)
    assert [(one["event"], one["kind"], one["value"]) for one in told] == [
        ("alarm", "above", pytest.approx(61, abs=0.1)),
        ("alarm over", "above", pytest.approx(59, abs=0.1)),
    ]
    told.clear()
    picture[5, 15] = 4.0
    thermometer.look(frame(picture, 6), False)
    assert [one["kind"] for one in told] == ["below"]
    assert [one["since"] is not None for one in thermometer.state()["alarms"]] == [False, True, False]
    told.clear()
    steady = Thermometer(
        GAIN, OFFSET, ThermometerOptions(measure=options.measure, alarm=("door rise 3",)), told.append
    )
    for second in range(60):
        steady.look(frame(np.full((20, 20), 20 + 2 * second / 60), second), False)
    assert told == [], "two kelvin a minute are fewer than three"
    for second in range(60, 120):
        steady.look(frame(np.full((20, 20), 22 + 6 * (second - 60) / 60), second), False)
    assert [one["kind"] for one in told] == ["rise"]
    assert steady.state()["regions"][0]["rise"] == pytest.approx(6, abs=0.2)


def test_what_makes_no_sense_changes_nothing() -> None:
    thermometer = Thermometer(GAIN, OFFSET, ThermometerOptions(measure=("a=point 0.5,0.5",)))
    for wanted, said in (
        ({"emissivity": 0}, "0.05 to 1"),
        ({"emissivity": "shiny"}, "expected a number"),
        ({"measure": ["a=circle 0,0"]}, "NAME=point X,Y"),
        ({"measure": ["a=box 0,0 1,7"]}, "from 0 to 1"),
        ({"measure": ["a=point 0,0", "a=point 1,1"]}, "different names"),
        ({"alarm": ["b above 3"]}, "no region 'b'"),
        ({"alarm": ["a above hot"]}, "REGION above CELSIUS"),
        ({"alarm": ["a above 3 4"]}, "REGION above CELSIUS"),
        ({"alarm": "a above 3"}, "list of texts"),
        ({"color": 3}, "unknown key"),
    ):
        with pytest.raises(StreamOptionError, match=said):
            thermometer.change(wanted)
    assert thermometer.state()["measure"] == ["a=point 0.5,0.5"]
    assert thermometer.read(0.5, 0.5) is None
    thermometer.look(Frame(np.zeros((8, 8), np.uint8), 0), False)
    assert thermometer.read(0.5, 0.5) is None, "luma has no temperature"


def test_texts_are_read_back() -> None:
    for text in ("door=box 0.1,0.2 0.4,0.6", "a-1=point 0,1", "wire=line 0,0 1,1"):
        assert str(Region.of(text)) == text
    for text in ("door above 60", "door below -5.5", "door rise 3"):
        assert str(Alarm.of(text)) == text
