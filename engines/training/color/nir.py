"""The near-infrared recipe: pairs, their gray twins and translated color pictures in one batch.

Reference: Yang, Chen, Yang, Cooperative Colorization: Exploring Latent Cross-Domain Priors for NIR Image
Spectrum Translation, ACM MM 2023, arXiv 2308.03348. Kept: coloring gray pictures as a proxy task, a
translation between gray and infrared whose in-between pictures are trained on too, consistency of
features and pixels, and a progressive turn to infrared alone. Different: one network plays both
branches, and the translation is trained first, from color to infrared, where it is well posed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.measures.natural_truth import natural
from irchroma.engines.training.color.augmentation import Crop, augment, augment_lightly, cut, night
from irchroma.engines.training.color.batch import Batch, Sample, stack
from irchroma.engines.training.color.compositing import Compositor
from irchroma.engines.training.color.echo import with_echoes
from irchroma.engines.training.color.expected_light import with_expected_light
from irchroma.engines.training.color.held_places import held_places
from irchroma.engines.training.color.translation import translated
from irchroma.engines.training.pictures import Picture, read_color, read_parts, rgb_to_gray

LOG = logging.getLogger(__name__)

COLOR_FOLDERS = (("bsds", None), ("places", None), ("camvid", "camvid_labels"))
EXTRA_SHARE = 0.06
ECHO_SHARE = 0.1
PROXY_SHARE, TWIN_SHARE = 0.38, 0.2
"""Of the proxy task and of the gray twins, as long as both bands are learned."""
TURN, LEAST_SHARE = (0.25, 0.45), 0.25
"""Progress between which the turn to infrared happens, and what is left of those shares after it."""
CROPS_SHARE = 0.7
"""Of the pairs that are small crops; the others are whole scenes."""
HARD_SHARE = 0.25
"""Of the pairs that meet another camera, night, lens or text: more of it, and color is not learned."""
NIGHT_SHARE = 0.22
"""Of the pairs that are re-lit as by an infrared lamp."""
WHOLE_SHARE, LEAST_SPAN = 0.4, 0.5
"""Of the crops that are a whole picture; the others have this part of its shorter side, at least."""
MOST_ENLARGED = 0.7
"""Least number of source pixels per pixel of a crop."""

TRANSLATION_STEPS = 800
"""Of training the network that draws color pictures as infrared."""


class NirRecipe:
    """Batches for the `nir` engine.

    Args:
        folder: see `read_parts`; and `color/` for the proxy task.
        cooperative: whether the proxy task, the gray twins and the in-between pictures are used.
        cache: where the translated pictures are kept between runs.
        extra: further pairs, a small share of every batch (synthetic scenes, say).
        turned: begin after the turn to infrared, for weights that know both bands already.
        composites: share of the pairs that get another sky, crowns or a ridge (`Compositor`).
        hold: say where an earlier network's answer is kept: in pairs and composites as `held_places` says, in
            the proxy task's pictures and the extra pairs everywhere. The proxy task keeps its share, then.
        camera_truth: learn the pairs' color as it is. Otherwise the camera's casts are taken out of it
            (`natural`), and its light is what the infrared lets expect (`with_expected_light`).

    Raises:
        EngineOptionError: composites are asked for, and no pair has a sky, or none leaves, that can be told.
    """

    name = "nir"

    def __init__(
        self,
        folder: Path,
        cooperative: bool,
        cache: Path,
        extra: Sequence[Picture] = (),
        turned: bool = False,
        composites: float = 0.0,
        hold: bool = False,
        camera_truth: bool = False,
    ) -> None:
        self.pairs, self.validation = read_parts(folder, self.name)
        if camera_truth:
            LOG.info("%d pairs: their color is learned as the camera has it", len(self.pairs))
        else:
            LOG.info("%d pairs: taking the camera's casts out of their color", len(self.pairs))
            natural_pairs = [replace(pair, rgb=natural(pair.rgb, pair.ir)) for pair in self.pairs]
            self.pairs = with_expected_light(natural_pairs)
        self.hold = hold
        if hold:
            self.pairs = [replace(pair, held=held_places(pair)) for pair in self.pairs]
        self.grays = [rgb_to_gray(picture.rgb) for picture in self.pairs]
        large = np.array([max(picture.rgb.shape) > 300 for picture in self.pairs])
        kinds = np.where(
            large, (1.0 - CROPS_SHARE) / max(1, large.sum()), CROPS_SHARE / max(1, (~large).sum())
        )
        self.chances = kinds / kinds.sum()
        self.large = large
        self.composites = composites
        self.compositor = Compositor(self.pairs, self.chances) if composites > 0.0 else None
        if self.compositor is not None and not self.compositor.able:
            raise EngineOptionError("no pair has a sky and leaves that can be told: leave out --composites")
        self.cooperative, self.turned = cooperative, turned
        self.extra = list(extra)
        self.proxies: list[Picture] = []
        if cooperative:
            color = folder / "color"
            for name, labels in COLOR_FOLDERS:
                self.proxies += read_color(color / name, color / labels if labels else None)
            if self.proxies:
                drawn = translated(self.proxies, self.pairs, cache, TRANSLATION_STEPS, self.name)
                for picture, infrared in zip(self.proxies, drawn, strict=True):
                    picture.ir = infrared

    def colors(self) -> list[np.ndarray]:
        """The pictures whose chroma the classes are balanced by."""
        return [picture.rgb for picture in self.pairs]

    def batch(self, size: int, side: int, progress: float, random: np.random.Generator) -> Batch:
        """One batch of `size` crops; the proxy task's share falls when the turn to infrared comes."""

        def about(count: float) -> int:
            return int(count + random.random())

        echoes = about(size * ECHO_SHARE)
        size -= echoes
        twins = proxies = 0
        if self.cooperative:
            past = (
                1.0 if self.turned else float(np.clip((progress - TURN[0]) / (TURN[1] - TURN[0]), 0.0, 1.0))
            )
            share = 1.0 + past * (LEAST_SHARE - 1.0)
            proxies = about(size * PROXY_SHARE * (1.0 if self.hold else share)) if self.proxies else 0
            twins = about(size * TWIN_SHARE * share)
        extra = about(size * EXTRA_SHARE) if self.extra else 0
        samples: list[Sample] = []
        for index in range(size - proxies - twins - extra):
            samples += self._pair(side, random, with_twin=index < twins)
        for _ in range(extra):
            picture = self.extra[int(random.integers(len(self.extra)))]
            crop = cut(picture, {"ir": picture.infrared}, side, (0.8, 1.6), random)
            augment(crop, random)
            samples.append(self._known(crop))
        samples += [self._proxy(side, random) for _ in range(proxies)]
        return stack(with_echoes(samples, echoes, random))

    def _pair(self, side: int, random: np.random.Generator, with_twin: bool) -> list[Sample]:
        chosen = int(random.choice(len(self.pairs), p=self.chances))
        picture = self.pairs[chosen]
        inputs = {"ir": picture.infrared}
        composed = False
        if self.compositor is not None and random.random() < self.composites:
            picture, composed = self.compositor.picture(random), True
            inputs = {"ir": picture.infrared}
        if with_twin:
            inputs["gray"] = rgb_to_gray(picture.rgb) if composed else self.grays[chosen]
        crop = cut(picture, inputs, side, _zoom(picture, side, random), random)
        chance = random.random()
        if chance < NIGHT_SHARE:
            night(crop, random)
        elif chance < NIGHT_SHARE + HARD_SHARE:
            augment(crop, random)
        else:
            augment_lightly(crop, random)
        samples = [Sample(crop.inputs["ir"], crop)]
        if with_twin:
            blend = random.uniform(0.0, 0.7)
            between = blend * crop.inputs["ir"] + (1.0 - blend) * crop.inputs["gray"]
            samples.append(Sample(between, crop, twin=True))
        return samples

    def _proxy(self, side: int, random: np.random.Generator) -> Sample:
        picture = self.proxies[int(random.integers(len(self.proxies)))]
        inputs = {"ir": picture.infrared, "gray": rgb_to_gray(picture.rgb)}
        crop: Crop = cut(picture, inputs, side, _zoom(picture, side, random), random)
        blend = 1.0 if random.random() < 0.5 else random.uniform(0.0, 1.0)
        crop.inputs = {"ir": blend * crop.inputs["ir"] + (1.0 - blend) * crop.inputs["gray"]}
        augment(crop, random)
        return self._known(crop)

    def _known(self, crop: Crop) -> Sample:
        """The sample of a crop in which there is nothing new to be learned."""
        crop.held = np.ones(crop.rgb.shape[:2], np.float32) if self.hold else None
        return Sample(crop.inputs["ir"], crop)


def _zoom(picture: Picture, side: int, random: np.random.Generator) -> tuple[float, float]:
    """Range of source pixels per crop pixel: the whole picture now and then, half of its side at least."""
    whole = max(MOST_ENLARGED, min(picture.rgb.shape[:2]) / side)
    least = whole if random.random() < WHOLE_SHARE else max(MOST_ENLARGED, LEAST_SPAN * whole)
    return least, whole
