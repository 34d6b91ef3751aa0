"""A synthetic camera with a known truth: any frame by its number."""

from __future__ import annotations

import threading
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.stream.synthetic.options import SyntheticOptions
from irchroma.stream.synthetic.scene import Look, SyntheticScene
from irchroma.stream.synthetic.sensor import CountScale, SyntheticSensor
from irchroma.stream.synthetic.texture import Plane

WIDEST_PX, NARROWEST_PX = 1920, 160
"""Scenes are drawn at a width between these, and resized to what was asked for."""


class SyntheticFrame:
    """One frame of a synthetic camera; the truth is computed when it is asked for.

    Attributes:
        number: of the frame.
        time_s: its time, seconds.
        held: true while the shutter is closed and the picture repeats.
        night: true where the camera is in its night mode.
        pixels: what the camera gives: (H, W) uint8 luma, (H, W) uint16 counts, or (H, W, 3) uint8 rgb by day.
    """

    def __init__(self, camera: SyntheticCamera, number: int, shown: int) -> None:
        self.number, self.held = number, shown != number
        self._camera, self._shown = camera, shown
        self.time_s = float(number / camera.options.rate)
        self.night = camera.is_night(shown)
        self.pixels = camera.expose(shown)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB: the same view by daylight."""
        return np.asarray(np.clip(self._camera.see("rgb", self._shown) + 0.5, 0, 255), np.uint8)

    @cached_property
    def celsius(self) -> Plane:
        """(H, W) float32 degrees Celsius of what is seen."""
        return self._camera.see("thermal", self._shown)[..., 0]

    @cached_property
    def clean(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The picture of a faultless camera: counts (uint16) or luma (uint8), rounded only."""
        camera = self._camera
        return camera.sensor(self._shown).store(camera.ideal(self._shown))

    @property
    def defects(self) -> NDArray[np.uint8]:
        """(H, W) uint8: 0 good, 1 dead, 2 stuck, 3 blinking."""
        return self._camera.sensor(self._shown).defects

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) uint8 classes, named by `synthetic.light.LABELS`."""
        return self._camera.label_map(self._shown)

    @property
    def gain(self) -> tuple[float, float]:
        """(gain, offset) of the camera by drift and jumps, see `SyntheticSensor.gain_at`."""
        return self._camera.sensor(self._shown).gain_at(float(self._shown / self._camera.options.rate))


class SyntheticCamera:
    """Gives any frame by its number; the same options give the same frames.

    Not limited by `options.frames`, and not paced: that is the source's part.
    """

    def __init__(self, options: SyntheticOptions) -> None:
        self.options = options
        self._sensors: dict[tuple[int, int], SyntheticSensor] = {}
        # Its own two, such as day and night: of more cameras than `_drawn_scene` keeps, all was drawn anew.
        self._own_scene = lru_cache(maxsize=2)(_scene)

    @property
    def scale(self) -> CountScale | None:
        """What counts mean; None for nir."""
        return self.sensor(0).scale

    def frame(self, number: int) -> SyntheticFrame:
        """Frame `number` (0 first)."""
        return SyntheticFrame(self, number, self.shown(number))

    def shown(self, number: int) -> int:
        """The frame whose picture frame `number` repeats: itself, but while the shutter is closed."""
        options = self.options
        if not options.ffc_every_s:
            return number
        event = int(number / options.rate / options.ffc_every_s)
        start = -int(-event * options.ffc_every_s * options.rate // 1)
        if event and number < start + round(options.ffc_hold_s * float(options.rate)):
            return max(start - 1, 0)
        return number

    def is_night(self, number: int) -> bool:
        """Whether frame `number` is taken in night mode."""
        options = self.options
        if not options.daynight_s:
            return options.light == "night"
        return int(number / options.rate / options.daynight_s) % 2 == 1

    def is_color(self, number: int) -> bool:
        """Whether the camera gives color at frame `number`: by day, where it switches at all."""
        return bool(self.options.daynight_s) and not self.is_night(number)

    def size_at(self, number: int) -> tuple[int, int]:
        """(H, W) of frame `number`."""
        night = self.options.daynight_s and self.is_night(number)
        return self.options.night_size if night and self.options.night_size else self.options.size

    def sensor(self, number: int) -> SyntheticSensor:
        """The sensor in use at frame `number`."""
        size = self.size_at(number)
        if size not in self._sensors:
            self._sensors[size] = SyntheticSensor(self.options, size)
        return self._sensors[size]

    def expose(self, number: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The camera's own picture of the moment of frame `number`."""
        if self.is_color(number):
            return self.sensor(number).noise_rgb(self.see("rgb", number), number)
        return self.sensor(number).expose(self.ideal(number), number, float(number / self.options.rate))

    def ideal(self, number: int) -> Plane:
        """(H, W) float32 counts or levels of a faultless sensor, not rounded."""
        picture = self.see(self.options.band, number)[..., 0]
        scale = self.sensor(number).scale
        return scale.celsius_to_counts(picture) if scale else picture

    def see(self, band: str, number: int) -> Plane:
        """(H, W, C) float32 in a band, at the camera's size; the `rgb` truth is always by daylight."""
        scene = self._scene(number, day=band == "rgb")
        picture = scene.picture(band, self._look(number, scene))
        return _resized(picture, self.size_at(number))

    def label_map(self, number: int) -> NDArray[np.uint8]:
        """(H, W) uint8 classes."""
        scene = self._scene(number)
        labels = scene.label_map(self._look(number, scene))
        return np.asarray(cv2.resize(labels, self.size_at(number)[::-1], interpolation=cv2.INTER_NEAREST))

    def _scene_seed(self, number: int) -> int:
        cut = self.options.cut_s
        return self.options.seed + (1000 if cut is not None and number / self.options.rate >= cut else 0)

    def _scene(self, number: int, day: bool = False) -> SyntheticScene:
        options = self.options
        size = _drawn_size(self.size_at(number))
        moves = options.pan or options.shake
        margin = round((0.1 * size[1] if options.pan else 0) + 2 * options.shake + 2) if moves else 0
        night = self.is_night(number) and not day
        seed = self._scene_seed(number)
        return self._own_scene(size, seed, night, options.people, options.vehicles, margin)

    def _look(self, number: int, scene: SyntheticScene) -> Look:
        """Time and window of a frame: the sweep is a triangle over a tenth of the width to each side."""
        options = self.options
        time_s = float(number / options.rate)
        x = y = 0.0
        if options.pan:
            reach = 0.1 * scene.size[1]
            way = (options.pan * scene.size[1] / self.size_at(number)[1] * time_s + reach) % (4 * reach)
            x = way - reach if way < 2 * reach else 3 * reach - way
        if options.shake:
            x += options.shake * (0.6 * np.sin(7.1 * time_s) + 0.4 * np.sin(17.3 * time_s + 1))
            y += options.shake * (0.6 * np.sin(8.3 * time_s + 2) + 0.4 * np.sin(15.1 * time_s))
        return Look(time_s, (float(x), float(y)))


def _scene(
    size: tuple[int, int], seed: int, night: bool, people: int, vehicles: int, margin: int
) -> SyntheticScene:
    """Scenes take seconds to draw, and are the same for the same arguments.

    One is drawn at a time: of a dozen cameras that began together on a busy machine ten had no picture after
    a minute, and cameras of one scene each drew it.
    """
    with _drawing:
        return _drawn_scene(size, seed, night, people, vehicles, margin)


_drawing = threading.Lock()


@lru_cache(maxsize=3)
def _drawn_scene(
    size: tuple[int, int], seed: int, night: bool, people: int, vehicles: int, margin: int
) -> SyntheticScene:
    return SyntheticScene(size, seed, night=night, people=people, vehicles=vehicles, margin=margin)


def _drawn_size(size: tuple[int, int]) -> tuple[int, int]:
    factor = min(WIDEST_PX / size[1], 1.0) if size[1] > NARROWEST_PX else NARROWEST_PX / size[1]
    return max(round(size[0] * factor), 16), round(size[1] * factor)


def _resized(picture: Plane, size: tuple[int, int]) -> Plane:
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if picture.shape[1] > size[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=how), np.float32).reshape(*size, -1)
