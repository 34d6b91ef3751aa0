"""The near-infrared recipe: pairs, their gray twins and translated color pictures in one batch.

Reference: Yang, Chen, Yang, Cooperative Colorization: Exploring Latent Cross-Domain Priors for NIR Image
Spectrum Translation, ACM MM 2023, arXiv 2308.03348. Kept: coloring gray pictures as a proxy task, a
translation between gray and infrared whose in-between pictures are trained on too, consistency of
features and pixels, and a progressive turn to infrared alone. Different: one network plays both
branches, and the translation is trained first, from color to infrared, where it is well posed.

Takes out of a pair's truth what nobody could know from its infrared picture: exposure and cast.

How bright, contrasty and tinted a color picture is depends on a camera's exposure and white balance as much
as on the scene. A network that is asked for them learns them by heart, picture by picture, and guesses
worse on scenes that it has not seen than a ridge regression does. So a regression that has not seen a
picture says what to expect of it, and the truth is moved most of the way there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.measures.natural_truth import natural
from irchroma.engines.recolor.work_picture import padded, reduced, work_size
from irchroma.engines.training.color.augmentation import Crop, augment, augment_lightly, cut, night
from irchroma.engines.training.color.batch import Batch, Sample, stack
from irchroma.engines.training.color.echo import with_echoes
from irchroma.engines.training.color.translation import translated
from irchroma.engines.training.encoder import Encoder, load_pretrained
from irchroma.engines.training.pictures import Picture, read_color, read_pairs, rgb_to_gray

LOG = logging.getLogger(__name__)
SHARE, CAST_SHARE = 0.8, 0.4
"""Of the way from the truth's light to the expected one; of the way for the mean color."""
FOLDS, RIDGE = 6, 1000.0
"""Pictures are left out in blocks of neighboring names, since neighbors may share a scene."""
LEAST_PAIRS = 60
"""Fewer say nothing of what to expect."""
LONG_SIDE_PX = 320
"""Larger pictures are looked at this small."""
LEVELS = 11
"""Quantiles of the infrared luma among the traits."""
GAMMA, CONTRAST = (0.3, 3.0), (0.7, 1.4)
"""Least and largest that a picture's light is changed by."""

Values = NDArray[np.float64]


class Light(NamedTuple):
    """The light of (H, W, 3) uint8 R'G'B'.

    Attributes:
        mean, spread: of the luma, parts of full scale.
        blue, red: mean Cb and Cr, BT.601 full range, [-0.5, 0.5].
    """

    mean: float
    spread: float
    blue: float
    red: float

    @classmethod
    def of(cls, rgb: NDArray[np.uint8]) -> Light:
        """Measured on a picture."""
        luma, red, blue = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 255.0)
        return cls(float(luma.mean()), float(luma.std()), float(blue.mean()) - 0.5, float(red.mean()) - 0.5)


def with_expected_light(pairs: Sequence[Picture], share: float = SHARE) -> list[Picture]:
    """The pairs, their color pictures (nearly) in the light that their infrared pictures lead to expect."""
    if len(pairs) < LEAST_PAIRS:
        LOG.info("%d pairs are too few to say which light to expect: theirs is kept", len(pairs))
        return list(pairs)
    found = np.array([Light.of(pair.rgb) for pair in pairs])
    expected = left_out_regression(traits(pairs), found, [pair.name for pair in pairs])
    goals = found + np.array([share, share, CAST_SHARE, CAST_SHARE]) * (expected - found)
    left = np.sqrt(((expected - found) ** 2).mean(0))
    LOG.info("expected light: luma off by %.3f of %.3f (standard deviation)", left[0], found[:, 0].std())
    return [
        replace(pair, rgb=relit(pair.rgb, Light(*goal)))
        for pair, goal in zip(pairs, goals.tolist(), strict=True)
    ]


@torch.no_grad()  # type: ignore[untyped-decorator]
def traits(pairs: Sequence[Picture]) -> Values:
    """(N, F) float64: means and spreads of ImageNet's features of the infrared pictures, and their levels."""
    encoder = Encoder()
    load_pretrained(encoder)
    rows = []
    for pair in pairs:
        if pair.ir is None:
            raise EngineError("this pair has no infrared")
        height, width = pair.ir.shape
        small = reduced(pair.ir, work_size((height, width), LONG_SIDE_PX))
        features = encoder(torch.from_numpy(padded(small)))[1:]
        parts = [feature[0].mean((1, 2)).numpy() for feature in features]
        parts += [feature[0].std((1, 2)).numpy() for feature in features[1:]]
        levels = np.quantile(small / 255.0, np.linspace(0.0, 1.0, LEVELS))
        parts.append(np.array([*levels, small.mean() / 255.0, small.std() / 255.0]))
        rows.append(np.concatenate(parts))
    return np.asarray(rows, np.float64)


def left_out_regression(traits: Values, found: Values, names: Sequence[str]) -> Values:
    """What a ridge regression says of every row that it has not seen, nor those of neighboring names.

    Args:
        traits: (N, F), standardized here.
        found: (N, K).
        names: N of them.

    Returns:
        (N, K).
    """
    traits = (traits - traits.mean(0)) / (traits.std(0) + 1e-6)
    said = np.zeros_like(found)
    order = np.argsort(np.array(names))
    for block in np.array_split(order, FOLDS):
        seen = np.setdiff1d(order, block)
        mean = found[seen].mean(0)
        kernel = traits[seen] @ traits[seen].T + RIDGE * np.eye(len(seen))
        said[block] = traits[block] @ traits[seen].T @ np.linalg.solve(kernel, found[seen] - mean) + mean
    return said


def relit(rgb: NDArray[np.uint8], goal: Light) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 in another light: a gamma for its mean, then contrast, then a cast."""
    scene = rgb.astype(np.float32) / 255.0
    scene = scene ** np.float32(_gamma(scene, goal.mean))
    spread = float(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY).std())
    contrast = np.float32(np.clip(goal.spread / max(spread, 1e-3), *CONTRAST))
    middle = np.float32(goal.mean)
    ycc = cv2.cvtColor((scene - middle) * contrast + middle, cv2.COLOR_RGB2YCrCb)
    ycc[..., 1] += np.float32(goal.red) + 0.5 - ycc[..., 1].mean()
    ycc[..., 2] += np.float32(goal.blue) + 0.5 - ycc[..., 2].mean()
    shown = np.clip(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), 0.0, 1.0)
    return np.asarray(shown * 255.0 + 0.5).astype(np.uint8)


def _gamma(scene: NDArray[np.float32], mean: float) -> float:
    """The exponent on R'G'B' that gives its luma that mean, by bisection on a small copy."""
    small = cv2.resize(scene, (64, 64), interpolation=cv2.INTER_AREA)
    low, high = GAMMA
    for _ in range(20):
        gamma = float(np.sqrt(low * high))
        if cv2.cvtColor(small ** np.float32(gamma), cv2.COLOR_RGB2GRAY).mean() > mean:
            low = gamma
        else:
            high = gamma
    return gamma


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


class NirRecipe:
    """Batches for the `nir` engine.

    Args:
        folder: holds `nir/train`, and `color/` for the proxy task; or `ir/` and `rgb/` themselves.
        cooperative: whether the proxy task, the gray twins and the in-between pictures are used.
        cache: where the translated pictures are kept between runs.
        translation_steps: of training the color-to-infrared network, when they are not there.
        extra: further pairs, a small share of every batch (synthetic scenes, say).
        turned: begin after the turn to infrared, for weights that know both bands already.
    """

    name = "nir"

    def __init__(
        self,
        folder: Path,
        cooperative: bool,
        cache: Path,
        translation_steps: int = 800,
        extra: Sequence[Picture] = (),
        turned: bool = False,
    ) -> None:
        plain = (folder / "ir").is_dir()
        self.pairs = read_pairs(folder if plain else folder / "nir" / "train")
        validation = folder / "nir" / "val"
        self.validation = (
            read_pairs(validation) if validation.is_dir() else self.pairs[:: max(1, len(self.pairs) // 8)]
        )
        LOG.info("%d pairs: taking the camera's casts out of their color", len(self.pairs))
        natural_pairs = [replace(pair, rgb=natural(pair.rgb, pair.ir)) for pair in self.pairs]
        self.pairs = with_expected_light(natural_pairs)
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
                drawn = translated(self.proxies, self.pairs, cache, translation_steps, self.name)
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
            proxies = about(size * PROXY_SHARE * share) if self.proxies else 0
            twins = about(size * TWIN_SHARE * share)
        extra = about(size * EXTRA_SHARE) if self.extra else 0
        samples: list[Sample] = []
        for index in range(size - proxies - twins - extra):
            samples += self._pair(side, random, with_twin=index < twins)
        for _ in range(extra):
            picture = self.extra[int(random.integers(len(self.extra)))]
            if picture.ir is None:
                raise EngineError("this picture has no infrared")
            crop = cut(picture, {"ir": picture.ir}, side, (0.8, 1.6), random)
            augment(crop, random)
            samples.append(Sample(crop.inputs["ir"], crop))
        samples += [self._proxy(side, random) for _ in range(proxies)]
        return stack(with_echoes(samples, echoes, random))

    def _pair(self, side: int, random: np.random.Generator, with_twin: bool) -> list[Sample]:
        chosen = int(random.choice(len(self.pairs), p=self.chances))
        picture = self.pairs[chosen]
        if picture.ir is None:
            raise EngineError("this picture has no infrared")
        inputs = {"ir": picture.ir}
        if with_twin:
            inputs["gray"] = self.grays[chosen]
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
        if picture.ir is None:
            raise EngineError("this picture has no infrared")
        inputs = {"ir": picture.ir, "gray": rgb_to_gray(picture.rgb)}
        crop: Crop = cut(picture, inputs, side, _zoom(picture, side, random), random)
        blend = 1.0 if random.random() < 0.5 else random.uniform(0.0, 1.0)
        crop.inputs = {"ir": blend * crop.inputs["ir"] + (1.0 - blend) * crop.inputs["gray"]}
        augment(crop, random)
        return Sample(crop.inputs["ir"], crop)


def _zoom(picture: Picture, side: int, random: np.random.Generator) -> tuple[float, float]:
    """Range of source pixels per crop pixel: the whole picture now and then, half of its side at least."""
    whole = max(MOST_ENLARGED, min(picture.rgb.shape[:2]) / side)
    least = whole if random.random() < WHOLE_SHARE else max(MOST_ENLARGED, LEAST_SPAN * whole)
    return least, whole
