"""The switches of the synthetic cameras and their spelling in a `test:` address."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from irchroma.stream.errors import StreamOptionError

BANDS = ("nir", "thermal")
LIGHTS = ("day", "night")
SCALES = ("tlinear", "lepton", "raw14")
MOST_AHEAD = 900
"""Frames that are kept, half a minute: 290 MB of luma at 640x512, twice that of counts."""


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """What a synthetic camera shows and what is wrong with it; everything is off by default but noise.

    Attributes:
        band: `nir` (uint8 luma) or `thermal` (uint16 counts).
        size: (H, W) in pixels; written `WxH` in an address, as cameras are.
        rate: frames per second.
        frames: length, None for endless. `seconds=S` in an address is turned into frames.
        seed: the scene and all its noise; 0 or more.
        live: paced by the wall clock, newest frame wins.
        ahead: frames are drawn before the first one is given, 10 ms each at 640x512, so that a live run does
            not measure the drawing; needs an end (`seconds` or `frames`).
        people: how many walk about.
        vehicles: how many drive.
        light: `day`, or `night`: active infrared with its spotlight for nir, cooled ground for thermal.
        scale: what counts mean: `tlinear` 25 per kelvin (14 bits), `lepton` 100 per kelvin (16 bits),
            `raw14` 50 per kelvin around 8192 at 20 degrees Celsius (14 bits, not absolute).
        noise: temporal noise, standard deviation: kelvin (thermal, 0.04) or levels (nir, 1.5).
        fpn: fixed-pattern noise of pixels, standard deviation in counts or levels.
        stripes: fixed column offsets, standard deviation in counts or levels; rows have half of it.
        dead: share of defective pixels (4 in 10 dead, 3 stuck, 3 blinking; a third in clusters).
        drift: share by which the gain swings, over `DRIFT_PERIOD_S`.
        ffc_every_s: seconds between shutter events, 0 for none.
        ffc_hold_s: how long the picture freezes then.
        telemetry: the camera tells when it repeats a picture (`Frame.held`).
        jumps_every_s: seconds between sudden changes of gain and offset, 0 for none.
        cut_s: the time of a cut to another scene, None for none.
        daynight_s: nir only: seconds of color, then as many of infrared luma at night, and so on; 0 is off.
        night_size: (H, W) of the pictures by night, None for `size`.
        pan: the camera sweeps to and fro at so many pixels a second.
        shake: the camera's mast trembles by so many pixels.
    """

    band: str = "nir"
    size: tuple[int, int] = (512, 640)
    rate: Fraction = Fraction(30)
    frames: int | None = None
    seed: int = 8
    live: bool = False
    ahead: bool = False
    people: int = 4
    vehicles: int = 3
    light: str = "day"
    scale: str = "tlinear"
    noise: float | None = None
    fpn: float = 0.0
    stripes: float = 0.0
    dead: float = 0.0
    drift: float = 0.0
    ffc_every_s: float = 0.0
    ffc_hold_s: float = 0.5
    telemetry: bool = True
    jumps_every_s: float = 0.0
    cut_s: float | None = None
    daynight_s: float = 0.0
    night_size: tuple[int, int] | None = None
    pan: float = 0.0
    shake: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("band", BANDS), ("light", LIGHTS), ("scale", SCALES)):
            if getattr(self, name) not in choices:
                raise StreamOptionError(
                    f"{name} of a test camera is one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        for size in (self.size, self.night_size):
            if size is not None and not all(16 <= side <= 8192 for side in size):
                raise StreamOptionError(
                    f"size of a test camera must be between 16x16 and 8192x8192, got {size[1]}x{size[0]}"
                )
        if not 1 <= self.rate <= 1000:
            raise StreamOptionError(f"rate of a test camera is 1 to 1000 frames a second, got {self.rate}")
        limits = {"dead": 0.5, "drift": 0.9, "people": 24, "vehicles": 12}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not 0 <= value <= limits.get(field.name, 1e9):
                raise StreamOptionError(
                    f"{field.name} of a test camera is 0 to {limits.get(field.name, 1e9):g}, got {value:g}"
                )
        if self.ffc_every_s and self.ffc_hold_s >= self.ffc_every_s:
            raise StreamOptionError(
                f"ffc hold of {self.ffc_hold_s:g} s must be shorter than its period of {self.ffc_every_s:g} s"
            )
        if self.ahead and not 0 < (self.frames or 0) <= MOST_AHEAD:
            raise StreamOptionError(
                f"ahead needs a test camera of {MOST_AHEAD} frames at most: give seconds= or frames="
            )
        if self.band == "thermal" and (self.daynight_s or self.night_size):
            raise StreamOptionError(
                "test:thermal has no color by day: daynight and night_size are for test:nir"
            )

    @property
    def noise_sd(self) -> float:
        """Temporal noise in force: kelvin (thermal) or levels (nir)."""
        return self.noise if self.noise is not None else (0.04 if self.band == "thermal" else 1.5)


def parse_test_address(address: str) -> SyntheticOptions:
    """`test:nir?size=640x512&rate=30&ffc=every:10,hold:0.5` as options.

    Raises:
        StreamOptionError: an unknown band or key (the nearest known one is named), or a bad value.
    """
    band, _, query = address.removeprefix("test:").partition("?")
    if not address.startswith("test:") or band not in BANDS:
        near = difflib.get_close_matches(band, BANDS, 1, 0.3)
        hint = f"did you mean test:{near[0]}?" if near else "there are test:nir and test:thermal"
        raise StreamOptionError(f"no test camera is called {address.partition('?')[0]!r}: {hint}")
    values: dict[str, Any] = {"band": band}
    seconds: Fraction | None = None
    for pair in filter(None, query.split("&")):
        key, _, text = pair.partition("=")
        if key not in _READERS:
            near = difflib.get_close_matches(key, _READERS, 1, 0.0)
            raise StreamOptionError(f"unknown key {key!r} of test:{band}: did you mean {near[0]!r}?")
        try:
            read = _READERS[key](text)
        except (ValueError, ZeroDivisionError) as error:
            raise StreamOptionError(
                f"bad value {text!r} of {key!r} of test:{band}: write it like {key}={_EXAMPLES[key]}"
            ) from error
        seconds = read.pop("seconds", seconds)
        values.update(read)
    ahead = values.pop("ahead", False)
    options = SyntheticOptions(**values)
    if seconds is not None and options.frames is None:
        options = replace(options, frames=round(seconds * options.rate))
    return replace(options, ahead=ahead)


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(height), int(width)


def _flag(text: str) -> bool:
    named = {"1": True, "true": True, "yes": True, "": True, "0": False, "false": False, "no": False}
    if text.lower() not in named:
        raise ValueError(text)
    return named[text.lower()]


def _timed(text: str, names: dict[str, str], first: str) -> dict[str, Any]:
    """`every:10,hold:0.5`, or just `10` for the first name."""
    read = {}
    for part in text.split(","):
        name, colon, number = part.partition(":")
        read[names[name if colon else first] if (name in names or not colon) else ""] = _number(
            number if colon else name
        )
    if "" in read:
        raise ValueError(text)
    return read


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:  # also refuses nan
        raise ValueError(text)
    return value


def _plain(name: str, read: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    return lambda text: {name: read(text)}


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    **{name: _plain(name, int) for name in ("frames", "seed", "people", "vehicles")},
    **{name: _plain(name, _flag) for name in ("live", "ahead", "telemetry")},
    **{name: _plain(name, str) for name in ("light", "scale")},
    **{name: _plain(name, _size) for name in ("size", "night_size")},
    **{name: _plain(name, _number) for name in ("noise", "fpn", "stripes", "dead", "drift", "pan", "shake")},
    "rate": _plain("rate", Fraction),
    "seconds": _plain("seconds", Fraction),
    "cut": _plain("cut_s", _number),
    "daynight": _plain("daynight_s", _number),
    "ffc": lambda text: _timed(text, {"every": "ffc_every_s", "hold": "ffc_hold_s"}, "every"),
    "jumps": lambda text: _timed(text, {"every": "jumps_every_s"}, "every"),
}
_EXAMPLES = {
    "frames": "300", "seed": "8", "people": "4", "vehicles": "3", "live": "1", "ahead": "1", "telemetry": "0",
    "light": "night", "scale": "lepton", "size": "640x512", "night_size": "320x256", "noise": "1.5",
    "fpn": "8", "stripes": "4", "dead": "0.001", "drift": "0.02", "pan": "20", "shake": "1.5",
    "rate": "30", "seconds": "10", "cut": "3.0", "daynight": "10", "ffc": "every:10,hold:0.5",
    "jumps": "every:5",
}  # fmt: skip
