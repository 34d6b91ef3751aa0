"""A run that gets another ladder while it colors, as one that is measured late does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.engines.neural.test_adjustable import FRAME_NS, scene

from irchroma.engines import catalog
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed.ladder import Rung

pytestmark = pytest.mark.skipif(not any(map(installed, RUNTIMES)), reason="no runtime is installed")

NETWORK = NetworkOptions(cache=None, threads=1, exact=True)
FAST, BEST = Rung("fast", 64, 4), Rung("best", 96)


def color(colorizer: AdjustableColorizer, number: int) -> None:
    colorizer.submit(scene(number), number * FRAME_NS)
    _ = colorizer.collect().rgb


def test_pictures_come_to_have_the_look_of_the_network_that_colors() -> None:
    """`thermal:best` loses more of the sensor's detail than `fast`, which a larger factor makes up for."""
    colorizer = AdjustableColorizer(NeuralOptions("thermal", network=NETWORK), [FAST], 0, (128, 160))
    color(colorizer, 0)
    colorizer.exchange_ladder((BEST, FAST), None)
    color(colorizer, 1)
    assert colorizer.wait_ready()
    number, gains = 2, [catalog.look_of("thermal", "fast").tone.detail_gain]
    for wished, rung in enumerate((BEST, FAST)):
        colorizer.wish(wished)
        look = catalog.look_of("thermal", rung.size)
        for _ in range(80):
            color(colorizer, number := number + 1)
            gains.append(colorizer._colorizer._recoloring.look.tone.detail_gain)
        assert colorizer.setting == rung
        assert colorizer._colorizer._recoloring.look == look
    assert max(abs(after - before) for before, after in pairwise(gains)) < 0.003, "it is seen to jump"
    colorizer.close()
