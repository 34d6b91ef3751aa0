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
from pathlib import Path

import numpy as np

from irchroma.engines.training.augmentation import Crop, augment, augment_lightly, cut
from irchroma.engines.training.batch import Batch, Sample, stack
from irchroma.engines.training.echo import with_echoes
from irchroma.engines.training.pictures import Picture, read_color, read_pairs, rgb_to_gray
from irchroma.engines.training.train_light import with_expected_light

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


class NirRecipe:
    """Batches for the `nir` engine.

    Args:
        folder: holds `nir/train`, and `color/` for the proxy task; or `ir/` and `rgb/` themselves.
        cooperative: whether the proxy task, the gray twins and the in-between pictures are used.
        cache: where the translated pictures are kept between runs.
        translation_minutes: training time of the color-to-infrared network, when they are not there.
        extra: further pairs, a small share of every batch (synthetic scenes, say).
        turned: begin after the turn to infrared, for weights that know both bands already.
    """

    name = "nir"

    def __init__(
        self,
        folder: Path,
        cooperative: bool,
        cache: Path,
        translation_minutes: float = 4.0,
        extra: Sequence[Picture] = (),
        turned: bool = False,
    ) -> None:
        plain = (folder / "ir").is_dir()
        self.pairs = read_pairs(folder if plain else folder / "nir" / "train")
        validation = folder / "nir" / "val"
        self.validation = (
            read_pairs(validation) if validation.is_dir() else self.pairs[:: max(1, len(self.pairs) // 8)]
        )
        self.pairs = with_expected_light(self.pairs)
        self.grays = [rgb_to_gray(picture.rgb) for picture in self.pairs]
        large = np.array([max(picture.rgb.shape) > 300 for picture in self.pairs])
        kinds = np.where(
            large, (1.0 - CROPS_SHARE) / max(1, large.sum()), CROPS_SHARE / max(1, (~large).sum())
        )
        self.chances = kinds / kinds.sum()
        self.large = large
        self.cooperative, self.turned = cooperative, turned
        self.extra = list(extra)
        self.proxies: list[Picture] = []
        if cooperative:
            color = folder / "color"
            for name, labels in COLOR_FOLDERS:
                self.proxies += read_color(color / name, color / labels if labels else None)
            if self.proxies:
                _add_infrared(self.proxies, self.pairs, cache, translation_minutes)

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
            proxies = about(size * PROXY_SHARE * share) if self.proxies else 0
            twins = about(size * TWIN_SHARE * share)
        extra = about(size * EXTRA_SHARE) if self.extra else 0
        samples: list[Sample] = []
        for index in range(size - proxies - twins - extra):
            samples += self._pair(side, random, with_twin=index < twins)
        for _ in range(extra):
            picture = self.extra[int(random.integers(len(self.extra)))]
            assert picture.ir is not None
            crop = cut(picture, {"ir": picture.ir}, side, (0.8, 1.6), random)
            augment(crop, random)
            samples.append(Sample(crop.inputs["ir"], crop))
        samples += [self._proxy(side, random) for _ in range(proxies)]
        return stack(with_echoes(samples, echoes, random))

    def _pair(self, side: int, random: np.random.Generator, with_twin: bool) -> list[Sample]:
        chosen = int(random.choice(len(self.pairs), p=self.chances))
        picture = self.pairs[chosen]
        assert picture.ir is not None
        inputs = {"ir": picture.ir}
        if with_twin:
            inputs["gray"] = self.grays[chosen]
        crop = cut(picture, inputs, side, (0.7, 2.0) if self.large[chosen] else (0.7, 1.35), random)
        if random.random() < HARD_SHARE:
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
        assert picture.ir is not None
        inputs = {"ir": picture.ir, "gray": rgb_to_gray(picture.rgb)}
        crop: Crop = cut(picture, inputs, side, (0.7, 1.9), random)
        blend = 1.0 if random.random() < 0.5 else random.uniform(0.0, 1.0)
        crop.inputs = {"ir": blend * crop.inputs["ir"] + (1.0 - blend) * crop.inputs["gray"]}
        augment(crop, random)
        return Sample(crop.inputs["ir"], crop)


def _add_infrared(proxies: Sequence[Picture], pairs: Sequence[Picture], cache: Path, minutes: float) -> None:
    """Give every color picture its translated infrared, from the cache or from a network trained now."""
    path = cache / "nir_like.npz"
    if not path.is_file():
        from irchroma.engines.training.translation import train_translation, translate

        LOG.info("training color to infrared for %.1f minutes", minutes)
        network = train_translation(pairs, minutes)
        cache.mkdir(parents=True, exist_ok=True)
        made = {picture.name.replace("/", "|"): translate(network, picture.rgb) for picture in proxies}
        np.savez(path, **made)
    with np.load(path) as kept:
        for picture in proxies:
            picture.ir = kept[picture.name.replace("/", "|")]
