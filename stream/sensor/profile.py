"""What is known of a camera: its layout and scale from its maker, its faults from `irchroma calibrate`.

A profile is a text file (TOML) that a person can read; maps of the sensor are PNG pictures beside it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import SourceError, StreamOptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LAYOUTS = ("plain", "lepton", "boson", "seek", "split")
GOOD, DEAD, STUCK, BLINKING = range(4)
"""Values of a map of bad pixels."""
MAP_LEVELS = 85
"""A map's picture shows its values this many gray levels apart."""
MIDDLE = 32768
"""The gray level that means no correction, in the 16-bit pictures of offset and gain."""
GAIN_STEP = 1 / 65536
"""Gain per gray level: 0.5 to 1.5."""


@dataclass(frozen=True, slots=True)
class CameraScale:
    """What a count means: celsius = counts / per_kelvin + offset_celsius.

    Attributes:
        per_kelvin: counts.
        offset_celsius: temperature of count 0, degrees Celsius.
    """

    per_kelvin: float
    offset_celsius: float = -273.15

    def __post_init__(self) -> None:
        if not self.per_kelvin > 0:
            raise StreamOptionError(f"scale.per_kelvin must be above 0 counts, got {self.per_kelvin}")

    def to_counts(self, celsius: float) -> float:
        """Counts of a temperature."""
        return (celsius - self.offset_celsius) * self.per_kelvin


@dataclass(frozen=True, slots=True)
class CameraFaults:
    """What is wrong with a sensor; every part may be absent.

    Attributes:
        bad_pixels: (H, W) uint8, `GOOD`, `DEAD`, `STUCK` or `BLINKING`.
        offset: (H, W) float32 counts (or levels) to add to every pixel, after the gain.
        gain: (H, W) float32 factor on every pixel's distance from `gain_about`.
        gain_about: counts that the gain leaves alone.
        stripes: largest column or row offset in counts that is tracked while running; 0 for none.
        drift: largest offset of a single pixel in counts that is tracked while the view moves; 0 for none.
        missing: areas to be filled in, (x, y, width, height) in pixels: scratches, burnt-in text.
    """

    bad_pixels: NDArray[np.uint8] | None = None
    offset: NDArray[np.float32] | None = None
    gain: NDArray[np.float32] | None = None
    gain_about: float = 0.0
    stripes: float = 0.0
    drift: float = 0.0
    missing: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is anything to correct."""
        maps = (self.bad_pixels, self.offset, self.gain)
        return (
            any(one is not None for one in maps) or self.stripes > 0 or self.drift > 0 or bool(self.missing)
        )


@dataclass(frozen=True, slots=True)
class CameraProfile:
    """A camera.

    Attributes:
        name: for people.
        size: (H, W) in pixels of the picture without telemetry and other parts; None for any.
        bits: of a count, 8 to 16.
        layout: one of `LAYOUTS`: where in the delivered frame the picture and the rest are, see
            `irchroma.stream.sensor.layout`.
        scale: counts to degrees, None where the camera does not promise any.
        faults: what calibration found.
    """

    name: str = "camera"
    size: tuple[int, int] | None = None
    bits: int = 16
    layout: str = "plain"
    scale: CameraScale | None = None
    faults: CameraFaults = field(default_factory=CameraFaults)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise StreamOptionError(f"layout {self.layout!r} of a camera is one of {', '.join(LAYOUTS)}")
        if not 8 <= self.bits <= 16:
            raise StreamOptionError(f"bits of a camera are 8 to 16, got {self.bits}")


def load_profile(path: Path) -> CameraProfile:
    """Read a profile and its maps.

    Raises:
        SourceError: a file is missing or is not what it should be.
        StreamOptionError: a value makes no sense, or a key is unknown.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is no camera profile: {error}") from error
    known = {one.name for one in fields(CameraProfile)}
    for key in table:
        if key not in known:
            raise StreamOptionError(f"{path}: unknown key {key!r}; known: {', '.join(sorted(known))}")
    try:
        scale = CameraScale(**table["scale"]) if "scale" in table else None
        size = tuple(int(side) for side in reversed(table["size"])) if "size" in table else None
        faults = _read_faults(path, table.get("faults", {}))
        plain = {key: table[key] for key in ("name", "bits", "layout") if key in table}
        profile = CameraProfile(size=size, scale=scale, faults=faults, **plain)  # type: ignore[arg-type]
    except (TypeError, KeyError) as error:
        raise StreamOptionError(f"{path}: {error}") from error
    for one in (faults.bad_pixels, faults.offset, faults.gain):
        if one is not None and profile.size not in (None, one.shape):
            raise StreamOptionError(f"{path}: a map of {one.shape[::-1]} pixels for a camera of {size}")
    return profile


def save_profile(path: Path, profile: CameraProfile) -> list[Path]:
    """Write a profile, its maps beside it as `STEM-bad-pixels.png` and so on.

    Returns:
        Everything that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    faults, written = profile.faults, [path]
    lines = [f'name = "{profile.name}"']
    if profile.size is not None:
        lines.append(f"size = [{profile.size[1]}, {profile.size[0]}] # width, height")
    lines += [f"bits = {profile.bits}", f'layout = "{profile.layout}"']
    if profile.scale is not None:
        lines += ["", "[scale] # celsius = counts / per_kelvin + offset_celsius"]
        lines.append(f"per_kelvin = {profile.scale.per_kelvin}")
        lines.append(f"offset_celsius = {profile.scale.offset_celsius}")
    lines += ["", "[faults]"]

    def put(key: str, picture: NDArray[Any], comment: str) -> None:
        file = path.with_name(f"{path.stem}-{key.replace('_', '-')}.png")
        if not cv2.imwrite(str(file), picture):
            raise SourceError(f"cannot write {file}")
        lines.append(f'{key} = "{file.name}" # {comment}')
        written.append(file)

    if faults.bad_pixels is not None:
        counts = np.bincount(faults.bad_pixels.ravel(), minlength=4)
        what = f"{counts[DEAD]} dead (dark gray), {counts[STUCK]} stuck (gray), {counts[BLINKING]} blinking"
        put("bad_pixels", (faults.bad_pixels * MAP_LEVELS).astype(np.uint8), what)
    if faults.offset is not None:
        step = max(float(np.abs(faults.offset).max()) / (MIDDLE - 1), 1e-6)
        lines.append(f"offset_step = {step!r} # counts per gray level from {MIDDLE}")
        put("offset", np.rint(faults.offset / step + MIDDLE).astype(np.uint16), "counts to add")
    if faults.gain is not None:
        lines.append(f"gain_about = {faults.gain_about!r} # counts that the gain leaves alone")
        levels = np.clip(np.rint((faults.gain - 1) / GAIN_STEP + MIDDLE), 0, 65535)
        put("gain", levels.astype(np.uint16), f"factor: 1 + (level - {MIDDLE}) / 65536")
    lines.append(f"stripes = {faults.stripes!r} # largest column or row offset that is tracked, counts")
    if faults.drift:
        lines.append(f"drift = {faults.drift!r} # largest offset of a single pixel that is tracked, counts")
    if faults.missing:
        areas = ", ".join(str(list(area)) for area in faults.missing)
        lines.append(f"missing = [{areas}] # x, y, width, height")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return written


def with_faults(profile: CameraProfile, size: tuple[int, int], **parts: Any) -> CameraProfile:
    """The profile with some faults replaced, for a picture of `size` (H, W).

    Raises:
        StreamOptionError: the profile is of another size.
    """
    if profile.size not in (None, size):
        (height, width), (high, wide) = profile.size or size, size
        raise StreamOptionError(
            f"the profile is of a camera of {width}x{height} pixels, the recording of {wide}x{high}"
        )
    return replace(profile, size=size, faults=replace(profile.faults, **parts))


def _read_faults(path: Path, table: dict[str, Any]) -> CameraFaults:
    parts = dict(table)
    step = float(parts.pop("offset_step", 1.0))
    for key in ("bad_pixels", "offset", "gain"):
        if key in parts:
            file = path.parent / str(parts[key])
            picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            if picture is None or picture.ndim != 2:
                raise SourceError(f"{file}: cannot be read as the map {key!r} of {path}")
            parts[key] = picture
    if "bad_pixels" in parts:
        parts["bad_pixels"] = np.asarray(np.rint(parts["bad_pixels"] / MAP_LEVELS), np.uint8)
    if "offset" in parts:
        parts["offset"] = ((parts["offset"].astype(np.float32) - MIDDLE) * step).astype(np.float32)
    if "gain" in parts:
        parts["gain"] = (1 + (parts["gain"].astype(np.float32) - MIDDLE) * GAIN_STEP).astype(np.float32)
    if "missing" in parts:
        parts["missing"] = tuple(tuple(int(value) for value in area) for area in parts["missing"])
    return CameraFaults(**parts)
