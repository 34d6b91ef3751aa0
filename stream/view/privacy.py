"""Privacy masks: what nobody is to see is taken out of frames as they arrive, and painted over in pictures.

A frame that has lost what is under a mask gives it to no engine, output, snapshot, reading or raw track. What
is black or in blocks is gone; where there may be a palette only, infrared stays and no color is guessed.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.picture.picture import Picture, copied
from irchroma.stream.protocols import Composer, Job

Style = Literal["black", "blocks", "palette"]
STYLES: tuple[Style, ...] = get_args(Style)

MOST_MASKS, MOST_POINTS = 64, 64
_BLOCKS = 20  # in the shorter side of a picture: a face that fills a tenth of it is two blocks high
_FINE = 4  # fractional bits of a polygon's corners


@dataclass(frozen=True, slots=True)
class PrivacyMask:
    """One polygon.

    Attributes:
        points: three corners or more, each x and y as shares of width and height, 0 to 1.
        style: `black`, `blocks` (so coarse that nobody is known), `palette` (no color is guessed).
        name: for people.
    """

    points: tuple[tuple[float, float], ...]
    style: Style = "black"
    name: str = ""

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise StreamOptionError(f"privacy mask: expected a style of {', '.join(STYLES)}")
        if not 3 <= len(self.points) <= MOST_POINTS:
            raise StreamOptionError(
                f"privacy mask: expected 3 to {MOST_POINTS} corners, got {len(self.points)}"
            )
        if not all(0 <= share <= 1 for point in self.points for share in point):
            raise StreamOptionError("privacy mask: expected corners x, y from 0 to 1, shares of the picture")
        if len(self.name) > 80:
            raise StreamOptionError("privacy mask: expected a name of at most 80 characters")

    @classmethod
    def of(cls, told: Any) -> PrivacyMask:
        """A mask of JSON. Raises StreamOptionError."""
        known = {"points", "style", "name"}
        if not isinstance(told, dict) or not set(told) <= known or "points" not in told:
            raise StreamOptionError(f"privacy mask: expected an object of {', '.join(sorted(known))}")
        points = told["points"]
        if not isinstance(points, list) or not all(_is_point(point) for point in points):
            raise StreamOptionError("privacy mask: expected points, a list of [x, y] from 0 to 1")
        if not all(isinstance(told.get(key, ""), str) for key in ("style", "name")):
            raise StreamOptionError("privacy mask: expected texts as style and name")
        corners = tuple((float(x), float(y)) for x, y in points)
        return cls(corners, told.get("style", "black"), told.get("name", ""))

    def told(self) -> dict[str, Any]:
        """The reverse of `of`."""
        return {"points": [list(point) for point in self.points], "style": self.style, "name": self.name}


def _is_point(point: Any) -> bool:
    if not isinstance(point, list) or len(point) != 2:
        return False
    numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in point)
    return numbers and all(0 <= share <= 1 for share in point)


@dataclass(frozen=True, slots=True)
class PrivacyOptions:
    """Which masks a run has.

    Attributes:
        masks: of the configuration, which only that changes.
        file: a JSON file that keeps those that are drawn on the page; None: none can be drawn.
        raw: `masked`, or `whole`: raw tracks, evidence's too, hold what the camera gave.
    """

    masks: tuple[PrivacyMask, ...] = ()
    file: Path | None = None
    raw: Literal["masked", "whole"] = "masked"

    @property
    def asked(self) -> bool:
        """Whether there are any, or may be."""
        return bool(self.masks) or self.file is not None


class _Regions(NamedTuple):
    """Of one picture size: (H, W) uint8, 255 under a mask; None where there is none of that style."""

    black: NDArray[np.uint8] | None
    blocks: NDArray[np.uint8] | None
    palette: NDArray[np.uint8] | None


@dataclass(slots=True)
class _Set:
    masks: tuple[PrivacyMask, ...]
    digest: str
    regions: dict[tuple[int, int], _Regions] = field(default_factory=dict)

    def of(self, size: tuple[int, int]) -> _Regions:
        if size not in self.regions:
            self.regions.clear()
            self.regions[size] = _Regions(*(self._drawn(style, size) for style in STYLES))
        return self.regions[size]

    def _drawn(self, style: Style, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        masks = [mask for mask in self.masks if mask.style == style]
        if not masks:
            return None
        region = np.zeros(size, np.uint8)
        scale = np.array([size[1] - 1, size[0] - 1], float) * (1 << _FINE)
        for mask in masks:
            corners = np.rint(np.array(mask.points) * scale).astype(np.int32)
            cv2.fillPoly(region, [corners], 255, cv2.LINE_8, _FINE)
            cv2.polylines(
                region, [corners], True, 255, 1, cv2.LINE_8, _FINE
            )  # what an edge only touches, too
        return region


class PrivacyMasks:
    """The masks of one run. Any thread may call.

    Args:
        options: of the run.

    Raises:
        StreamOptionError: the file holds something else, or cannot be read.
    """

    def __init__(self, options: PrivacyOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._drawn = _read(options.file) if options.file is not None else ()
        self._set = self._put_together(options.masks)

    def _put_together(self, fixed: tuple[PrivacyMask, ...]) -> _Set:
        self._fixed = fixed
        masks = (*fixed, *self._drawn)
        if len(masks) > MOST_MASKS:
            raise StreamOptionError(f"privacy: expected at most {MOST_MASKS} masks, got {len(masks)}")
        text = json.dumps([mask.told() for mask in masks], sort_keys=True)
        return _Set(masks, hashlib.sha256(text.encode()).hexdigest() if masks else "")

    @property
    def digest(self) -> str:
        """SHA-256 of all masks as JSON; empty where there are none."""
        return self._set.digest

    def state(self) -> dict[str, Any]:
        """What a page shows: `fixed`, `drawn`, and whether more `can_be_drawn`."""
        with self._lock:
            return {
                "fixed": [mask.told() for mask in self._fixed],
                "drawn": [mask.told() for mask in self._drawn],
                "can_be_drawn": self.options.file is not None,
            }

    def check(self, told: Any) -> tuple[PrivacyMask, ...]:
        """Masks that are to be drawn. Raises StreamOptionError."""
        if self.options.file is None:
            raise StreamOptionError(
                "privacy: masks that are drawn would be lost at the next start: name a file that keeps them"
                " (--privacy FILE.json)"
            )
        if not isinstance(told, list):
            raise StreamOptionError("masks: expected a list of privacy masks")
        masks = tuple(PrivacyMask.of(one) for one in told)
        if len(masks) + len(self._fixed) > MOST_MASKS:
            raise StreamOptionError(f"privacy: expected at most {MOST_MASKS} masks")
        return masks

    def draw(self, masks: Sequence[PrivacyMask]) -> None:
        """These instead of those that were drawn before; kept first, then in force.

        Raises:
            StreamOptionError: they cannot be kept.
        """
        with self._lock:
            if self.options.file is not None:
                _write(self.options.file, masks)
            self._drawn = tuple(masks)
            self._set = self._put_together(self._fixed)

    def fix(self, masks: tuple[PrivacyMask, ...]) -> None:
        """The configuration's have changed."""
        with self._lock:
            self._set = self._put_together(masks)

    def apply(self, frame: Frame) -> Frame:
        """The frame without what is under black masks and blocks; its `extra` says by which masks."""
        now = self._set
        if not now.masks:
            return frame
        regions = now.of(frame.size)
        pixels = frame.pixels
        if regions.black is not None or regions.blocks is not None:
            pixels = pixels.copy()
        if regions.black is not None:
            # Not black yet, which would move the tone map: as bright as the rest is.
            rest = cv2.bitwise_not(regions.black)
            mean = np.array(cv2.mean(pixels, rest)[: 3 if pixels.ndim == 3 else 1])
            pixels[regions.black > 0] = np.rint(mean).astype(pixels.dtype)
        if regions.blocks is not None:
            cv2.copyTo(_in_blocks(pixels), regions.blocks, pixels)
        return replace(frame, pixels=pixels, extra={**frame.extra, "privacy": now.digest})

    def paint(self, job: Job, palette: NDArray[np.uint8]) -> None:
        """Black and palette in a job's luma and color."""
        size = job.luma.shape[0], job.luma.shape[1]
        regions = self._set.of(size) if self._set.masks else _Regions(None, None, None)
        black, shown = regions.black, regions.palette
        if black is None and shown is None:
            return
        confidence = job.colored.confidence if job.colored is not None else None
        if black is not None:
            job.luma = np.asarray(cv2.bitwise_and(job.luma, cv2.bitwise_not(black)), np.uint8)
        if job.colored is not None:
            picture = Picture.of_colored(job.colored)
            job.colored = _Painted(_painted(picture, job.luma, regions, palette), confidence)
        if job.camera_rgb is not None:
            job.camera_rgb = _painted(Picture(job.camera_rgb), job.luma, regions, palette).rgb

    def blacken(self, picture: Picture) -> Picture:
        """A whole picture without anything that is under any mask."""
        now = self._set
        if not now.masks:
            return picture
        rgb = picture.rgb.copy()
        for region in now.of(picture.size):
            if region is not None:
                rgb[region > 0] = 0
        return Picture(rgb)


class _Painted:
    """A colored picture that masks have been painted on."""

    def __init__(self, picture: Picture, confidence: NDArray[np.uint8] | None) -> None:
        self._picture, self.confidence = picture, confidence
        self.planes, self.palette = picture.planes, picture.palette

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        return self._picture.rgb


def _painted(
    picture: Picture, luma: NDArray[np.uint8], regions: _Regions, palette: NDArray[np.uint8]
) -> Picture:
    black, shown = regions.black, regions.palette
    if shown is None and black is not None and picture.planes is not None:  # as fast as encoders want them
        planes = copied(picture.planes)
        planes.y[black > 0] = 16
        half = cv2.resize(black, planes.cb.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        planes.cb[half] = 128
        planes.cr[half] = 128
        return Picture(planes=planes)
    rgb = picture.rgb.copy()
    if shown is not None:
        cv2.copyTo(cv2.applyColorMap(luma, palette), shown, rgb)
    if black is not None:
        rgb[black > 0] = 0
    return Picture(rgb)


def _in_blocks(pixels: NDArray[Any]) -> NDArray[Any]:
    height, width = pixels.shape[:2]
    block_px = max(4, min(height, width) // _BLOCKS)
    small = (max(1, width // block_px), max(1, height // block_px))
    coarse = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))


class PrivateComposer:
    """A `Composer` whose pictures show nothing that is under masks.

    Args:
        composer: composes.
        masks: of the run.
        palette: (256, 1, 3) uint8 R'G'B', for where there may be a palette only.
    """

    def __init__(self, composer: Composer, masks: PrivacyMasks, palette: NDArray[np.uint8]) -> None:
        self._composer, self._masks, self._palette = composer, masks, palette
        self._digest = ""

    def compose(self, job: Job) -> Picture:
        self._digest = self._masks.digest
        self._masks.paint(job, self._palette)
        picture = self._composer.compose(job)
        seen = job.frame.extra.get("privacy", "")  # of what is in blocks, when it arrived
        picture.masks = self._digest if seen == self._digest else f"{seen}/{self._digest}"
        return picture

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        """See `irchroma.stream.protocols.Composer.no_signal`. The last picture may be older than a mask."""
        card = self._composer.no_signal(silent_s, reason)
        now = self._masks.digest
        shown = card if self._digest == now else self._masks.blacken(card)
        shown.masks = now
        return shown


def _read(path: Path) -> tuple[PrivacyMask, ...]:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise StreamOptionError(f"{path}: no file of privacy masks: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("masks"), list):
        raise StreamOptionError(f'{path}: no file of privacy masks: expected {{"masks": [..]}}')
    try:
        return tuple(PrivacyMask.of(one) for one in told["masks"])
    except StreamOptionError as error:
        raise StreamOptionError(f"{path}: {error}") from error


def _write(path: Path, masks: Sequence[PrivacyMask]) -> None:
    """The whole file or nothing, for its owner alone."""
    beside = path.with_name(f".{path.name}.new")
    text = json.dumps({"masks": [mask.told() for mask in masks]}, indent=1)
    try:
        with open(
            os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise StreamOptionError(f"{path}: masks cannot be kept ({error.strerror})") from error
