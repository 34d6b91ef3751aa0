"""Takes out of a pair's truth what nobody could know from its infrared picture: exposure and cast.

How bright, contrasty and tinted a color picture is depends on a camera's exposure and white balance as much
as on the scene. A network that is asked for them learns them by heart, picture by picture, and guesses
worse on scenes that it has not seen than a ridge regression does. So a regression that has not seen a
picture says what to expect of it, and the truth is moved most of the way there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from irchroma.engines.recolor.work_picture import padded, reduced, work_size
from irchroma.engines.training.encoder import Encoder, load_pretrained
from irchroma.engines.training.pictures import Picture

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
        height, width = pair.infrared.shape
        small = reduced(pair.infrared, work_size((height, width), LONG_SIDE_PX))
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
