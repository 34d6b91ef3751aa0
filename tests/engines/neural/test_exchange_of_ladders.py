"""A run that gets another ladder while it colors, as one that is measured late does."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.engines.neural.test_adjustable import FRAME_NS, scene
from tests.waiting import wait_for

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed
from irchroma.engines.neural import adjustable
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


def test_what_is_for_later_is_done_too_where_the_ladder_came_when_all_was_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the rung that colors is the one that is wished for: nothing else would begin it."""
    monkeypatch.setattr(adjustable, "_BETWEEN_S", 0.01)
    colorizer = AdjustableColorizer(NeuralOptions("nir", network=NETWORK), [FAST], 0, (128, 160))
    color(colorizer, 0)
    assert colorizer.wait_ready()
    calls: list[int] = []
    colorizer.exchange_ladder((FAST,), lambda: calls.append(1))
    color(colorizer, 1)
    wait_for(lambda: calls, 20)
    color(colorizer, 2)
    colorizer.close()
    assert calls == [1]


def test_a_ladder_without_a_rung_that_may_color_by_then_is_refused_at_once() -> None:
    """The thread that submits takes rungs meanwhile: it would not find its own on the new ladder."""
    rungs = [FAST, Rung("fast", 64, 8)]
    colorizer = AdjustableColorizer(NeuralOptions("nir", network=NETWORK), rungs, 0, (128, 160))
    with pytest.raises(EngineError, match="expected a ladder with"):
        colorizer.exchange_ladder((BEST, FAST), None)
    colorizer.wish(1)
    color(colorizer, 0)
    colorizer.exchange_ladder((BEST, *rungs), None)
    color(colorizer, 1)
    assert colorizer.setting == rungs[1]
    colorizer.close()
