"""What the temporal stage makes of a scene that the network knows in one frame and not in the next."""

from __future__ import annotations

import numpy as np
from tests.engines.moving_scene import FRAME_NS, SIZE, noisy, texture, toy_color

from irchroma.engines.recolor.recoloring import SURE, UNSURE
from irchroma.engines.temporal.stage import TemporalStage

KNOWN, STRANGE = 0.6, 0.08
"""Confidence of the two."""


class Viewer:
    """Sees a still scene's colors, noise and all."""

    def __init__(self) -> None:
        self.stage, self.frames = TemporalStage(), 0
        self.random, self.scene = np.random.default_rng(0), texture(SIZE, 40, 160, seed=1)
        self.color = toy_color(noisy(self.scene, self.random))

    def share(self, confidence: float) -> float:
        """How much of the color is shown after one more answer."""
        luma = noisy(self.scene, self.random)
        seen = self.stage.observe(luma, self.frames * FRAME_NS)
        _, sure = self.stage.update(seen, self.color, np.full(SIZE, confidence, np.float32))
        self.frames += 1
        return share_of(float(sure.mean()))


def share_of(confidence: float) -> float:
    return float(np.clip((confidence - UNSURE) / (SURE - UNSURE), 0, 1))


def test_a_scene_between_known_and_strange_does_not_pump() -> None:
    said = [STRANGE if number // 15 % 2 else KNOWN for number in range(150)]
    assert np.abs(np.diff([share_of(one) for one in said])).sum() > 8  # what a viewer would see of it
    viewer = Viewer()
    assert min(viewer.share(one) for one in said) > 0.99


def test_a_second_of_doubt_is_borne_a_scene_that_stays_strange_fades_and_comes_back_at_once() -> None:
    viewer = Viewer()
    for _ in range(60):
        viewer.share(KNOWN)
    lasting = [viewer.share(STRANGE) for _ in range(270)]
    assert min(lasting[:30]) > 0.9
    assert lasting[-1] < 0.5
    assert np.abs(np.diff(lasting)).max() < 0.05  # rather than going out
    assert [viewer.share(KNOWN) for _ in range(15)][-1] > 0.99
