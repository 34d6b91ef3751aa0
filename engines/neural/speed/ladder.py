"""The settings of a network from the best to the cheapest: size, what it sees, how often it runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError

COLOR_EVERY = (1, 2, 3, 4)
MEASURED = {
    ("nir", "fast"): {
        416: (0.695, 11.74),
        320: (0.673, 11.62),
        256: (0.662, 11.41),
        192: (0.649, 11.64),
        160: (0.622, 11.74),
    },
    ("nir", "best"): {
        416: (0.701, 11.45),
        320: (0.687, 11.30),
        256: (0.676, 11.19),
        192: (0.664, 11.29),
        160: (0.613, 11.48),
    },
    ("thermal", "fast"): {
        416: (0.572, 20.65),
        320: (0.573, 20.50),
        256: (0.608, 20.54),
        192: (0.622, 20.45),
        160: (0.622, 20.89),
    },
    ("thermal", "best"): {
        416: (0.591, 20.65),
        320: (0.591, 20.60),
        256: (0.610, 20.71),
        192: (0.623, 20.84),
        160: (0.635, 21.39),
    },
}
"""(engine, size) -> what the network sees, long side in pixels -> hue agreement and mean CIEDE2000, as
`irchroma bench quality --work-size N` says of the validation pairs of 520 to 640 pixels: 19 of near infrared,
22 of thermal (launch/benchmarks/ladder_nir.json, ladder_thermal.json)."""
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
WORK = {"fast": 1.0, "best": 1.7}
"""CPU time of a call on pictures of the same size, in that of `fast`: OpenVINO takes 1.78 in float32 on AVX2,
1.53 in bf16. It goes by area: at 416, 256, 192 and 160 pixels 1.8, 0.63, 0.36 and 0.26 of that at 320."""
_COUNTED_PX = 320
_EIGHT_BITS = "fast"
"""The network that has an 8-bit twin: on AVX2 it is 1.4 times as fast, and `best` as slow as before."""


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
    def work(self) -> float:
        """CPU time of one call, in that of `fast` at 320 pixels."""
        return WORK[self.size] * (self.seen_px / _COUNTED_PX) ** 2

    @property
    def cost(self) -> float:
        """The same, for a frame on average."""
        return self.work / self.color_every

    def work_where(self, gain: float) -> float:
        """CPU time of one call, where `fast` runs in 8 bits that many times as fast, and `best` does not."""
        return self.work * (gain if self.size != _EIGHT_BITS else 1.0)

    def cost_where(self, gain: float) -> float:
        """The same, for a frame on average."""
        return self.work_where(gain) / self.color_every


def quality(engine: str, rung: Rung) -> float:
    """Hue agreement less a fiftieth of CIEDE2000, less what skipped frames lose.

    Color that is right counts more than color that is near: gray has a fair CIEDE2000 and no hue. A network
    that sees less never counts as truer in either: what the thermal one gains at 192 pixels is luck.

    Raises:
        EngineOptionError: the engine is no network.
    """
    table = MEASURED.get((engine, rung.size))
    if table is None:
        raise EngineOptionError(f"no network {engine}:{rung.size}")
    nearest = min(table, key=lambda px: abs(px - rung.seen_px))
    as_large = [of for px, of in table.items() if px >= nearest]
    hue, difference = min(of[0] for of in as_large), max(of[1] for of in as_large)
    return hue - difference / 50 - SKIP_LOSS * (rung.color_every - 1)


def candidates(engine: str, sizes: tuple[str, ...] = catalog.SIZES) -> list[Rung]:
    """Every setting, best first; of equal ones the cheaper first."""
    rungs = [
        Rung(size, px, every) for size in sizes for px, every in product(MEASURED[engine, size], COLOR_EVERY)
    ]
    return sorted(rungs, key=lambda rung: (-quality(engine, rung), rung.cost))


def ladder(
    engine: str, top: Rung, sizes: tuple[str, ...] = catalog.SIZES, gain: float = 1.0
) -> tuple[Rung, ...]:
    """`top` and the rungs below it: each the best of those that cost clearly less, in all and at a call.

    Args:
        engine: `nir` or `thermal`.
        top: the best that this run may have.
        sizes: of networks that it may use.
        gain: see `Rung.work_where`.
    """
    rungs = [top]
    seldom = [Rung(top.size, top.seen_px, every) for every in COLOR_EVERY if every > top.color_every]
    pool = sorted([*candidates(engine, sizes), *seldom], key=lambda rung: (-quality(engine, rung), rung.cost))
    for rung in pool:
        last = rungs[-1]
        cheaper = rung.cost_where(gain) <= CHEAPER * last.cost_where(gain)
        if cheaper and rung.work_where(gain) <= last.work_where(gain) and rung.seen_px <= top.seen_px:
            rungs.append(rung)
    return tuple(rungs)
