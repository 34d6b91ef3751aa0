"""Temperatures of places in a picture of counts, and alarms on them: above, below, rising too fast.

Reference: M. Vollmer, K.-P. Moellmann, Infrared Thermal Imaging, 2nd ed., 2018: what a camera sees of a gray
body is emissivity * L(object) + (1 - emissivity) * L(reflected). L is Planck's law at one wavelength in
the middle of the band, which leaves out the atmosphere and the optics.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.frame import Frame

_KELVIN = 273.15
_PLANCK_K = (
    14387.77 / 10.0
)  # second radiation constant, um K (CODATA 2018), at 10 um: in the middle of 8 to 14
_EVERY_NS = 250_000_000
_RISE_NS = 60_000_000_000  # over which a rise is told
_RISE_FROM_NS = 10_000_000_000  # from when on
_BACK_K = 0.5  # an alarm ends this far on the other side of its limit
_MOST = 32
_NAME = re.compile(r"[\w-]{1,32}")
_PARTS = {"point": 1, "box": 2, "line": 2}
_KINDS = ("above", "below", "rise")


@dataclass(frozen=True, slots=True)
class Region:
    """A place in the picture.

    Attributes:
        name: the user's own.
        kind: `point`, `box` or `line`.
        at: (x, y) from 0 to 1: of the point, of two opposite corners, of both ends.
    """

    name: str
    kind: str
    at: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, text: str) -> Region:
        """From `door=box 0.1,0.2 0.4,0.6`. Raises StreamOptionError."""
        name, _, rest = text.partition("=")
        kind, *places = rest.split()[:4] or [""]
        try:
            at = tuple((float(x), float(y)) for x, y in (place.split(",") for place in places))
        except ValueError:
            at = ()
        inside = all(0 <= value <= 1 for place in at for value in place)
        if not _NAME.fullmatch(name) or len(at) != _PARTS.get(kind, -1) or not inside:
            raise StreamOptionError(
                f"measure: expected NAME=point X,Y, NAME=box X,Y X,Y or NAME=line X,Y X,Y, each from 0 to 1,"
                f" got {text[:80]!r}"
            )
        return cls(name, kind, at)

    def __str__(self) -> str:
        return f"{self.name}={self.kind} " + " ".join(f"{x:g},{y:g}" for x, y in self.at)

    def of_counts(self, counts: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """(N,) counts of it; of a point the 3x3 around it. Of (H, W) counts."""
        sides = np.array(counts.shape[::-1]) - 1
        places = np.rint(np.array(self.at) * sides).astype(int)
        if self.kind == "line":
            steps = int(np.abs(places[1] - places[0]).max()) + 1
            x, y = np.rint(np.linspace(places[0], places[1], steps)).astype(int).T
            return np.asarray(counts[y, x])
        (x0, y0), (x1, y1) = places.min(axis=0), places.max(axis=0)
        if self.kind == "point":
            x0, y0, x1, y1 = max(x0 - 1, 0), max(y0 - 1, 0), x1 + 1, y1 + 1
        return np.asarray(counts[y0 : y1 + 1, x0 : x1 + 1]).ravel()


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is not to happen at a region.

    Attributes:
        region: its name.
        kind: `above` (its hottest), `below` (its coldest) or `rise` (of its mean).
        limit: degrees Celsius; of `rise` kelvin a minute.
    """

    region: str
    kind: str
    limit: float

    @classmethod
    def of(cls, text: str) -> Alarm:
        """From `door above 60`. Raises StreamOptionError."""
        region, kind, limit, *rest = (
            [*text.split(), "", "", ""][:4] if len(text.split()) < 4 else text.split()
        )
        try:
            number = float(limit)
        except ValueError:
            number = float("nan")
        if any(rest) or kind not in _KINDS or not np.isfinite(number) or (kind == "rise" and number <= 0):
            raise StreamOptionError(
                f"alarm: expected REGION above CELSIUS, REGION below CELSIUS or REGION rise KELVIN_A_MINUTE,"
                f" got {text[:80]!r}"
            )
        return cls(region, kind, number)

    def __str__(self) -> str:
        return f"{self.region} {self.kind} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class ThermometerOptions:
    """What is measured and how.

    Attributes:
        emissivity: of what is looked at, above 0 to 1.
        reflected_celsius: of what it reflects.
        measure: regions, `door=box 0.1,0.2 0.4,0.6`.
        alarm: `door above 60`, `door below 5`, `door rise 3`.
    """

    emissivity: float = 1.0
    reflected_celsius: float = 20.0
    measure: tuple[str, ...] = ()
    alarm: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.05 <= self.emissivity <= 1:
            raise StreamOptionError(f"emissivity: expected 0.05 to 1, got {self.emissivity:g}")
        if not -_KELVIN < self.reflected_celsius < 3000:
            raise StreamOptionError(f"reflected: expected degrees Celsius, got {self.reflected_celsius:g}")
        names = [region.name for region in self.regions]
        for alarm in self.alarms:
            if alarm.region not in names:
                raise StreamOptionError(f"alarm: there is no region {alarm.region!r}: measure it")
        if len(set(names)) < len(names) or max(len(names), len(self.alarm)) > _MOST:
            raise StreamOptionError(f"measure: expected up to {_MOST} regions of different names")

    @property
    def regions(self) -> tuple[Region, ...]:
        """`measure`, read."""
        return tuple(Region.of(text) for text in self.measure)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """`alarm`, read."""
        return tuple(Alarm.of(text) for text in self.alarm)


@dataclass(slots=True)
class _Reading:
    """Of a region: least, mean and most in degrees Celsius, and the means of the last minute."""

    region: Region
    celsius: tuple[float, float, float] | None = None
    means: deque[tuple[int, float]] = field(default_factory=deque)

    def take(self, celsius: NDArray[np.float64], pts_ns: int) -> None:
        self.celsius = float(celsius.min()), float(celsius.mean()), float(celsius.max())
        if self.means and pts_ns < self.means[-1][0]:
            self.means.clear()
        self.means.append((pts_ns, self.celsius[1]))
        while pts_ns - self.means[0][0] > _RISE_NS:
            self.means.popleft()

    def rise(self) -> float | None:
        """Kelvin a minute, the slope of the line through its means; None before there are some seconds."""
        if not self.means or self.means[-1][0] - self.means[0][0] < _RISE_FROM_NS:
            return None
        minutes, means = np.array(self.means).T
        return float(np.polyfit((minutes - minutes[0]) / 60e9, means, 1)[0])


class Thermometer:
    """Measures counts while a run goes on. A `FrameWatch`; other methods are for any thread.

    Args:
        gain, offset: of the camera's scale, celsius = counts * gain + offset.
        options: what is measured at first.
        on_alarm: called on the loop's thread when an alarm begins or ends; must be quick.

    Attributes:
        on_change: called after its options were changed, on the thread that did so; None for nothing.
    """

    def __init__(
        self,
        gain: float,
        offset: float,
        options: ThermometerOptions | None = None,
        on_alarm: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._gain, self._offset, self._on_alarm = gain, offset, on_alarm
        self._lock = threading.Lock()
        self._counts: NDArray[np.uint16] | None = None
        self._looked_ns = -_EVERY_NS
        self.on_change: Callable[[], None] | None = None
        self.options = options or ThermometerOptions()
        self._readings = [_Reading(region) for region in self.options.regions]
        self._active: dict[Alarm, float] = {}  # since when, seconds since 1970

    def look(self, frame: Frame, in_color: bool) -> None:
        """See `FrameWatch.look`; measures a few times a second, not while the camera's shutter is shut."""
        if not frame.is_counts or frame.held:
            return
        with self._lock:
            self._counts = frame.pixels  # type: ignore[assignment]
            if 0 <= frame.pts_ns - self._looked_ns < _EVERY_NS:
                return
            self._looked_ns = frame.pts_ns
            for reading in self._readings:
                reading.take(self._celsius(reading.region.of_counts(frame.pixels)), frame.pts_ns)  # type: ignore[arg-type]
            events = self._judge()
        for event in events:
            if self._on_alarm is not None:
                self._on_alarm(event)

    def close(self) -> None:
        with self._lock:
            self._counts = None

    def read(self, x: float, y: float) -> float | None:
        """Degrees Celsius at a place, each from 0 to 1: the median of 3x3; None without a frame of counts."""
        with self._lock:
            if self._counts is None:
                return None
            counts = Region("", "point", ((x, y),)).of_counts(self._counts)
            return float(np.median(self._celsius(counts)))

    def state(self) -> dict[str, Any]:
        """The options and what was measured.

        `regions`, each with `name`, `kind`, `at`, `celsius` (least, mean, most, or None) and `rise`, kelvin a
        minute or None; `alarms`, each with `region`, `kind`, `limit` and `since`, seconds since 1970, or None
        where all is well.
        """
        with self._lock:
            return {
                "emissivity": self.options.emissivity,
                "reflected_celsius": self.options.reflected_celsius,
                "measure": list(self.options.measure),
                "alarm": list(self.options.alarm),
                "regions": [
                    {
                        "name": one.region.name,
                        "kind": one.region.kind,
                        "at": one.region.at,
                        "celsius": [round(value, 2) for value in one.celsius] if one.celsius else None,
                        "rise": None if (rise := one.rise()) is None else round(rise, 2),
                    }
                    for one in self._readings
                ],
                "alarms": [
                    {"region": a.region, "kind": a.kind, "limit": a.limit, "since": self._active.get(a)}
                    for a in self.options.alarms
                ],
            }

    def change(self, wanted: dict[str, Any]) -> None:
        """Take over any of the options, `emissivity`, `reflected_celsius`, `measure` and `alarm`.

        Raises:
            StreamOptionError: one is not known or makes no sense; nothing was changed.
        """
        known = ("emissivity", "reflected_celsius", "measure", "alarm")
        values: dict[str, Any] = {}
        for key, value in wanted.items():
            if key not in known:
                raise StreamOptionError(f"unknown key {key[:80]!r}: expected {', '.join(known)}")
            if key in ("measure", "alarm"):
                if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                    raise StreamOptionError(f"{key}: expected a list of texts")
                values[key] = tuple(value)
            elif isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6:
                raise StreamOptionError(f"{key}: expected a number")
            else:
                values[key] = float(value)
        options = replace(self.options, **values)
        with self._lock:
            before = {one.region: one for one in self._readings}
            self.options = options
            self._readings = [before.get(region) or _Reading(region) for region in options.regions]
            self._active = {alarm: since for alarm, since in self._active.items() if alarm in options.alarms}
            self._looked_ns = -_EVERY_NS
        if self.on_change is not None:
            self.on_change()

    def celsius_of(self, counts: float) -> float:
        """The temperature of a body of which the camera gives so many counts."""
        return float(self._celsius(np.float64(counts)))

    def counts_of(self, celsius: float) -> float:
        """What the camera gives of a body of so many degrees: `celsius_of` the other way."""
        share = self.options.emissivity
        seen = share * _radiance(celsius) + (1 - share) * _radiance(self.options.reflected_celsius)
        apparent = celsius if share == 1 else _PLANCK_K / np.log1p(1 / seen) - _KELVIN
        return float((apparent - self._offset) / self._gain)

    def _celsius(self, counts: NDArray[np.uint16] | np.float64) -> NDArray[np.float64]:
        apparent = counts.astype(np.float64) * self._gain + self._offset
        share = self.options.emissivity
        if share == 1:
            return np.asarray(apparent)
        seen = _radiance(apparent) - (1 - share) * _radiance(np.float64(self.options.reflected_celsius))
        own = np.maximum(seen / share, 1e-12)  # colder than all that it could reflect
        return np.asarray(_PLANCK_K / np.log1p(1 / own) - _KELVIN)

    def _judge(self) -> list[dict[str, Any]]:
        """Events of alarms that have begun or ended."""
        events = []
        readings = {one.region.name: one for one in self._readings}
        for alarm in self.options.alarms:
            reading = readings[alarm.region]
            if reading.celsius is None:
                continue
            least, _, most = reading.celsius
            value = {"above": most, "below": least}.get(alarm.kind, reading.rise())
            if value is None:
                continue
            over = alarm.limit - value if alarm.kind == "below" else value - alarm.limit
            on = alarm in self._active
            if (over > 0 and not on) or (over < -_BACK_K and on):
                if on:
                    del self._active[alarm]
                else:
                    self._active[alarm] = round(time.time(), 3)
                events.append(
                    {
                        "event": "alarm" if not on else "alarm over",
                        "region": alarm.region,
                        "kind": alarm.kind,
                        "limit": alarm.limit,
                        "value": round(value, 2),
                    }
                )
        return events


def _radiance(celsius: Any) -> Any:
    """Planck's law at 10 um, in units in which nothing depends on them."""
    return 1 / np.expm1(_PLANCK_K / np.maximum(celsius + _KELVIN, 1.0))
