"""The settings of a network from the best to the cheapest: size, what it sees, how often it runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError

COLOR_EVERY = (1, 2, 3, 4)
MEASURED = {
    ("nir", "fast"): {
        416: (0.69, 11.68),
        320: (0.67, 11.58),
        256: (0.67, 11.45),
        192: (0.63, 11.78),
        160: (0.61, 11.82),
    },
    ("nir", "best"): {
        416: (0.69, 10.97),
        320: (0.68, 10.95),
        256: (0.66, 10.89),
        192: (0.61, 11.39),
        160: (0.60, 11.79),
    },
    ("thermal", "fast"): {
        416: (0.50, 18.55),
        320: (0.48, 18.94),
        256: (0.49, 19.31),
        192: (0.48, 19.82),
        160: (0.46, 20.16),
    },
    ("thermal", "best"): {
        416: (0.48, 18.36),
        320: (0.45, 18.68),
        256: (0.46, 18.97),
        192: (0.48, 19.48),
        160: (0.47, 19.95),
    },
}
"""(engine, size) -> what the network sees, long side in pixels -> hue agreement and mean CIEDE2000, as
`irchroma evaluate --brief --work-size N` says of the validation pairs of 520 to 640 pixels, and of the
networks before those that ship."""
SKIP_LOSS = 0.002
"""Quality that each skipped frame counts as: 0.10 CIEDE2000, a fiftieth of which counts.

Measured with the fast networks at 30 frames a second on nine clips of 32 to 40 frames, from the ninth on:
six recordings (five thermal, one of a surveillance camera by night) and the synthetic cameras, two of them
panning by 60 pixels a second. To the pictures of a network that runs at every frame the mean difference is
0.16, 0.21 and 0.27 where it runs at every 2nd, 3rd and 4th (largest, the panning NIR camera: 0.35, 0.41 and
0.55), which is 0.10 a skipped frame. To the true color, known of five of them, nothing is lost: -0.01 to
+0.01 CIEDE2000 and 0 to -0.003 hue agreement a skipped frame.
"""
CHEAPER = 0.8
"""A rung costs at most this share of the one above it: smaller steps would not be felt."""
MACS = {"fast": 0.79, "best": 1.62}
"""Billions at 256x320 (engines/weights/MODELS.md); by the picture's area elsewhere."""
_COUNTED_PX = 320


@dataclass(frozen=True, slots=True)
class Rung:
    """One setting.

    Attributes:
        size: `fast` or `best`.
        seen_px: long side of what the network sees.
        color_every: it runs every so many frames.
    """

    size: str
    seen_px: int
    color_every: int = 1

    def __str__(self) -> str:
        often = "every frame" if self.color_every == 1 else f"every {self.color_every} frames"
        return f"{self.size} at {self.seen_px} px, {often}"

    @property
    def macs(self) -> float:
        """Billions of multiply-accumulates of one call, for 4:5 pictures."""
        return MACS[self.size] * (self.seen_px / _COUNTED_PX) ** 2

    @property
    def cost(self) -> float:
        """The same, for a frame on average."""
        return self.macs / self.color_every


def quality(engine: str, rung: Rung) -> float:
    """Hue agreement less a fiftieth of CIEDE2000, less what skipped frames lose.

    Color that is right counts more than color that is near: gray has a fair CIEDE2000 and no hue.

    Raises:
        EngineOptionError: the engine is no network.
    """
    table = MEASURED.get((engine, rung.size))
    if table is None:
        raise EngineOptionError(f"no network {engine}:{rung.size}")
    nearest = min(table, key=lambda px: abs(px - rung.seen_px))
    hue, difference = table[nearest]
    return hue - difference / 50 - SKIP_LOSS * (rung.color_every - 1)


def candidates(engine: str, sizes: tuple[str, ...] = catalog.SIZES) -> list[Rung]:
    """Every setting, best first; of equal ones the cheaper first."""
    rungs = [
        Rung(size, px, every) for size in sizes for px, every in product(MEASURED[engine, size], COLOR_EVERY)
    ]
    return sorted(rungs, key=lambda rung: (-quality(engine, rung), rung.cost))


def ladder(engine: str, top: Rung, sizes: tuple[str, ...] = catalog.SIZES) -> tuple[Rung, ...]:
    """`top` and the rungs below it: each the best of those that cost clearly less, in all and at a call.

    Args:
        engine: `nir` or `thermal`.
        top: the best that this run may have.
        sizes: of networks that it may use.
    """
    rungs = [top]
    seldom = [Rung(top.size, top.seen_px, every) for every in COLOR_EVERY if every > top.color_every]
    pool = sorted([*candidates(engine, sizes), *seldom], key=lambda rung: (-quality(engine, rung), rung.cost))
    for rung in pool:
        last = rungs[-1]
        if rung.cost <= CHEAPER * last.cost and rung.macs <= last.macs and rung.seen_px <= top.seen_px:
            rungs.append(rung)
    return tuple(rungs)
