"""The thermal recipe: daytime pairs with the haze taken off, and labeled color pictures drawn as thermal.

A thermal picture says nothing of paint, and night truths are lamps and noise: the answer asked for is
the scene as on a fine day. Dusk pairs count less. Night pairs are left out, or have the answer of a network
that knows the band: see `thermal_nights`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from torch import get_num_threads

from irchroma.engines.errors import EngineError
from irchroma.engines.measures import metrics
from irchroma.engines.measures.natural_truth import natural
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.training.color.augmentation import cut, degrade, overlay
from irchroma.engines.training.color.batch import Batch, Sample, stack
from irchroma.engines.training.color.echo import disturb, flow_back, with_echoes
from irchroma.engines.training.color.thermal_like import (
    SKY,
    Walker,
    camera,
    daylight_of_labels,
    daylight_of_pair,
    light_people,
    pass_by,
    raise_sky,
    stranger,
    thermal_like,
    walkers,
)
from irchroma.engines.training.color.thermal_nights import night_by_day
from irchroma.engines.training.pictures import Picture, read_color, read_pairs, read_parts, rgb_to_gray

LOG = logging.getLogger(__name__)

DARK = {"camvid": 78.0, "dusk": 70.0}
"""Mean level below which a truth is not of the day."""

EXTRA_SHARE = 0.08
LABELED_SHARE, NIGHT_SHARE, DUSK_SHARE = 0.4, 0.25, 0.14
"""Of the crops; where there are nights, their share is taken of both labeled pictures and days."""
ECHO_SHARE = 0.17
DUSK_WEIGHT = 0.8
"""Of a dusk pair's tone and color: its truth is darker than a fine day."""
WALK_SHARE, WALKERS_OF = 0.4, 2 / 3
"""Of the crops with someone pasted in, and of a fixed camera's pictures whose people are: who comes later is
for judging."""
STRANGE_SHARE, STRANGE_TONE, STRANGE_CHROMA = 0.12, 0.3, 0.1
"""Of photographs of anything drawn as heat; how much their tone and color count: the doubt is what counts."""


class ThermalRecipe:
    """Batches for the `thermal` engine.

    Args:
        folder: see `read_parts`; and `thermal_video/train` and `color/camvid` where they are.
        extra: further pairs whose color is that of a fine day, a small share of every batch.
        start: what the training starts from; a graph says what nights look like by day, or there are none.
    """

    name = "thermal"

    def __init__(
        self,
        folder: Path,
        extra: Sequence[Picture] = (),
        start: Path | None = None,
    ) -> None:
        self.extra = list(extra)
        pairs, self.validation = read_parts(folder, self.name)
        self.validation += _validation(folder / "thermal_video" / "val")
        self.days = [picture for picture in pairs if metrics.taken_by_day(picture.rgb)]
        if not self.days:
            raise EngineError(f"no daytime pairs in {folder}: their color is what is learned; add some")
        self.labeled = [
            picture
            for picture in read_color(folder / "color" / "camvid", folder / "color" / "camvid_labels")
            if picture.labels is not None and picture.rgb.mean() > DARK["camvid"]
        ]
        self.strangers = [
            picture for name in ("bsds", "places") for picture in read_color(folder / "color" / name)
        ]
        nights = [picture for picture in pairs if not metrics.taken_by_day(picture.rgb)]
        for picture in self.days:
            picture.rgb = daylight_of_pair(picture.rgb, picture.infrared)
        self.grays = [rgb_to_gray(picture.rgb) for picture in self.labeled]
        for picture in self.labeled:
            picture.rgb = daylight_of_labels(picture.rgb, _classes(picture))
        self.walkers = _walkers(folder / "thermal_fixed" / "camera_01")
        self.dusk, self.moments = _sequences(folder / "thermal_video" / "train")
        self.nights = _by_day(nights, start) if start is not None and start.suffix == ".onnx" else []

    def colors(self) -> list[np.ndarray]:
        """The pictures whose chroma the classes are balanced by."""
        return [picture.rgb for picture in (*self.days, *self.labeled)]

    def batch(self, size: int, side: int, progress: float, random: np.random.Generator) -> Batch:
        """One batch of `size` crops."""
        echoes = round(size * ECHO_SHARE)
        moments = 1 if self.moments and size >= 8 else 0
        samples = self.scenes(size - echoes - 2 * moments, side, random, STRANGE_SHARE)
        samples = with_echoes(samples, echoes, random)
        for _ in range(moments):
            samples += self._moment(side, random)
        return stack(samples)

    def scenes(
        self, size: int, side: int, random: np.random.Generator, strange_share: float = 0.0
    ) -> list[Sample]:
        """`size` samples that have nothing to do with each other.

        Args:
            size: how many.
            side: of a crop, pixels.
            random: where the dice come from.
            strange_share: of the samples, photographs of anything drawn as heat, on average.
        """
        night = int(size * NIGHT_SHARE + random.random()) if self.nights else 0
        labeled = round((size - night) * LABELED_SHARE) if self.labeled else 0
        dusk = int(size * DUSK_SHARE + random.random()) if self.dusk else 0
        samples = [self._labeled(side, random) for _ in range(labeled)]
        samples += [self._pair(self.dusk, side, random, (1.0, 2.2), DUSK_WEIGHT) for _ in range(dusk)]
        wanted = bool(self.strangers) and strange_share > 0.0
        strange = int(size * strange_share + random.random()) if wanted else 0
        samples += [self._stranger(side, random) for _ in range(strange)]
        extra = round(size * EXTRA_SHARE) if self.extra else 0
        samples += [self._pair(self.extra, side, random, (0.8, 1.6), 1.0) for _ in range(extra)]
        samples += [self._pair(self.nights, side, random, (0.8, 1.8), 1.0) for _ in range(night)]
        days = size - labeled - dusk - extra - strange - night
        samples += [self._pair(self.days, side, random, (0.7, 1.6), 1.0) for _ in range(days)]
        return samples

    def _pair(
        self,
        pictures: list[Picture],
        side: int,
        random: np.random.Generator,
        zoom: tuple[float, float],
        weight: float,
    ) -> Sample:
        picture = pictures[int(random.integers(len(pictures)))]
        picture, ir = self._peopled(picture, picture.infrared, random)
        crop = cut(picture, {"ir": ir}, side, zoom, random)
        return _seen(Sample(crop.inputs["ir"], crop, tone=weight, chroma=weight), random)

    def _peopled(
        self, picture: Picture, ir: np.ndarray, random: np.random.Generator
    ) -> tuple[Picture, np.ndarray]:
        """The picture and its infrared side, now and then with people from elsewhere before both."""
        rgb, labels = picture.rgb, picture.labels
        if self.walkers and random.random() < WALK_SHARE:
            for _ in range(int(random.integers(1, 5))):
                walker = self.walkers[int(random.integers(len(self.walkers)))]
                ir, rgb, labels = pass_by(walker, ir, rgb, labels, random)
        return Picture(picture.name, rgb, None, labels), ir

    def _stranger(self, side: int, random: np.random.Generator) -> Sample:
        picture = self.strangers[int(random.integers(len(self.strangers)))]
        crop = cut(picture, {"ir": stranger(picture.rgb, random)}, side, (0.7, 1.9), random)
        return _seen(Sample(crop.inputs["ir"], crop, tone=STRANGE_TONE, chroma=STRANGE_CHROMA), random)

    def _moment(self, side: int, random: np.random.Generator) -> list[Sample]:
        """Two consecutive frames of a real sequence: only that their answers agree counts."""
        frames = self.moments[int(random.integers(len(self.moments)))]
        state = random.bit_generator.state
        samples = []
        for picture in frames:
            random.bit_generator.state = state  # both are cut alike and seen by the same camera
            crop = cut(picture, {"ir": picture.infrared}, side, (1.0, 2.2), random)
            samples.append(Sample(camera(crop.inputs["ir"], random), crop, tone=0.0, chroma=0.0))
        earlier, later = samples
        later.echo = flow_back(earlier.crop.inputs["ir"], later.crop.inputs["ir"])
        later.luma = disturb(later.luma, random)
        return samples

    def _labeled(self, side: int, random: np.random.Generator) -> Sample:
        index = int(random.integers(len(self.labeled)))
        picture = self.labeled[index]
        gray, classes = self.grays[index], _classes(picture)
        if random.random() < 0.3 and (classes[0] == SKY).mean() > 0.5:
            rows = int(random.uniform(0.3, 1.2) * len(gray))
            gray, rgb, classes = raise_sky(gray, picture.rgb, classes, rows)
            picture = Picture(picture.name, rgb, None, classes)
        drawn = thermal_like(gray, classes, random)
        picture, ir = self._peopled(picture, drawn, random)
        crop = cut(picture, {"ir": ir}, side, (0.7, 1.6), random)
        return _seen(Sample(crop.inputs["ir"], crop), random)


def _classes(picture: Picture) -> np.ndarray:
    if picture.labels is None:
        raise EngineError(f"{picture.name} has no labels")
    return picture.labels


def _validation(folder: Path) -> list[Picture]:
    """Every tenth pair of sequences; none where there is no such folder."""
    return read_pairs(folder)[::10] if folder.is_dir() else []


def _walkers(camera: Path) -> list[Walker]:
    """Who is to be pasted in, cut out of a fixed camera's pictures; nobody where there are none."""
    if not camera.is_dir():
        return []
    frames = [picture.infrared for picture in read_pairs(camera)]
    return walkers(frames[: int(WALKERS_OF * len(frames))])


def _sequences(folder: Path) -> tuple[list[Picture], list[tuple[Picture, Picture]]]:
    """Pictures at dusk, lit as by day, and pairs of consecutive frames; none where there are no sequences."""
    if not folder.is_dir():
        return [], []
    frames = read_pairs(folder)
    moments = [
        (earlier, later)
        for earlier, later in pairwise(frames)
        if earlier.name.partition("/")[0] == later.name.partition("/")[0]
    ]
    dusk = [picture for picture in frames if picture.rgb.mean() > DARK["dusk"]]
    for picture in dusk:
        picture.rgb = light_people(natural(picture.rgb), picture.infrared)
    return dusk, moments


def _by_day(nights: list[Picture], start: Path) -> list[Picture]:
    """Nights in the color that the network in a graph gives them by day."""
    if not nights:
        return []
    LOG.info("%d nights, as %s sees them by day", len(nights), start)
    with closing(open_network(start, NetworkOptions(threads=get_num_threads(), exact=True))) as teacher:
        return [replace(picture, rgb=night_by_day(picture.infrared, teacher)) for picture in nights]


def _seen(sample: Sample, random: np.random.Generator) -> Sample:
    """The sample through some thermal camera; a fifth stay as they are."""
    if random.random() < 0.2:
        return sample
    sample.crop.inputs["ir"] = degrade(camera(sample.luma, random), random)
    if random.random() < 0.06:
        overlay(sample.crop, random)
    sample.luma = sample.crop.inputs["ir"]
    return sample
