"""Guided filtering on a device: the launches that do what `guided` does, on stacks of planes.

Pictures are made smaller here too, as OpenCV's INTER_AREA makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from irchroma.engines.gpu.device import DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.recolor import guided, smooth_places
from irchroma.engines.recolor.base_tone import ToneOptions


@dataclass(frozen=True, slots=True)
class Fit:
    """How planes are modeled on a guide.

    Attributes:
        radius_px: of the windows.
        contrast: of the guide, [0, 1], above which its edges lead.
        lift: added to the models' offsets.
    """

    radius_px: int
    contrast: float
    lift: float = 0.0


@dataclass(frozen=True, slots=True)
class Night:
    """What is done by night alone.

    Attributes:
        count: (1,) int32, how many windows are dark.
        begins, full: shares of dark windows from which on it is a night, and all of one.
    """

    count: DeviceArray
    begins: float
    full: float


class Windows:
    """Adds launches to `steps`; arrays that it makes lie in `space` under the names that it is given."""

    def __init__(self, space: Workspace, steps: list[Launch]) -> None:
        self._space = space
        self._steps = steps

    def box(self, planes: DeviceArray, radius_px: int, name: str) -> DeviceArray:
        """(n, h, w) means over windows, as `guided.box`, of (n, h, w)."""
        means = self._space.array(f"{name}.means", planes.shape)
        self._add("box", planes.shape, planes=planes, out=means, radius=radius_px)
        return means

    def seen(
        self,
        guide: DeviceArray,
        radius_px: int,
        name: str,
        count: DeviceArray | None = None,
        dark: float = 0.0,
        night: Night | None = None,
    ) -> DeviceArray:
        """(2, h, w) windows' means of the guide (h, w) and of its square, as `guided.windows`.

        Args:
            guide: the luma.
            radius_px: of the windows.
            name: of the array.
            count: (1,) int32, 0 before: how many windows are darker than `dark`.
            dark: [0, 1].
            night: by day they are left as they were; None for always.
        """
        height, width = guide.shape
        made = self._space.array(f"{name}.seen", (2, height, width))
        more: dict[str, Any] = {"count": count, "dark": dark, "radius": radius_px}
        more |= {"nights": None if night is None else night.count, **_shares(night)}
        self._add("window_means", (1, height, width), guide=guide, out=made, **more)
        return made

    def fit(
        self, values: DeviceArray, guide: DeviceArray, seen: DeviceArray, how: Fit, name: str
    ) -> DeviceArray:
        """(n, 2, h, w) slopes and offsets of (n, h, w) values in the guide (h, w), as `guided.fit`."""
        depth, height, width = values.shape
        weighted = self._weighted(values, guide, seen, how, name)
        models = self._space.array(f"{name}.models", (depth, 2, height, width))
        more = {"radius": how.radius_px, "lift": how.lift}
        self._add("average_models", values.shape, models=weighted, out=models, **more)
        return models

    def fit_tone(
        self,
        tone: DeviceArray,
        guide: DeviceArray,
        seen: DeviceArray,
        options: ToneOptions,
    ) -> DeviceArray:
        """(3, h, w) models with weights that `base` averages, of the change of the guide that the tone wants,
        see `base_tone.base_tone`.

        Args:
            tone: (1, h, w), the network's luma.
            guide: (h, w), the sensor's.
            seen: windows of the guide.
            options: see there.
        """
        weighted = self._space.array("tone.weighted", (3, *tone.shape[1:]))
        more = {"contrast": options.contrast, "radius": options.radius_px}
        given = {"tone": tone, "guide": guide, "seen": seen, "out": weighted}
        self._add("tone_models", tone.shape, **given, **more)
        return weighted

    def led_by_smooth_places(
        self, guide: DeviceArray, values: DeviceArray, halved: bool, lead: float, night: Night | None = None
    ) -> tuple[DeviceArray, DeviceArray]:
        """(n, h, w) of (n, h, w) values, as `smooth_places.lead_by_smooth_places` of the guide (h, w);
        and its models, (2 + 2 n, h', w'), see `smooth_averages`."""
        depth, height, width = values.shape
        given = values
        if not halved:
            guide = self.half(guide.part(0, (1, height, width), np.float32), "smooth.guide")
            guide, values = guide.part(0, guide.shape[1:], np.float32), self.half(values, "smooth.values")
        fine = values.shape[1:]
        near = self.seen(guide, smooth_places.FINE_PX, "smooth.near")
        squares = self._space.array("smooth.squares", (2, *fine))
        self._add("smooth_squares", (1, *fine), guide=guide, out=squares)
        seen, small = self.half(squares, "smooth.seen"), self.half(values, "smooth.small")
        size = small.shape[1:]
        around = self.box(seen, smooth_places.AROUND_PX, "smooth.around")
        limit, luma = smooth_places.SMOOTH**2, seen.part(0, size, np.float32)
        models, means = (
            self._space.array(f"smooth.{name}", (count, *size))
            for name, count in (("models", 3 * depth), ("means", 3))
        )
        fit = {"contrast": smooth_places.CONTRAST, "lead": lead, "misfit": guided.MISFIT, "limit": limit}
        fit |= {"fewest": smooth_places.FEWEST, "radius": smooth_places.RADIUS_PX}
        given_to = {"values": small, "guide": luma, "seen": around, "out": models, "means": means}
        self._add("smooth_models", (depth, *size), **given_to, **fit)
        said = self._space.array("smooth.said", (2 + 2 * depth, *size))
        averaged = {"models": models, "means": means, "out": said, "depth": depth}
        averaged |= {"enough": smooth_places.ENOUGH, "sides": smooth_places.SIDES**4}
        averaged["alike_sides"] = smooth_places.ALIKE_SIDES**4
        averaged["alike_begins"], averaged["alike_full"] = smooth_places.ALIKE_SLOPE
        self._add("smooth_averages", (depth, *size), radius=smooth_places.RADIUS_PX, **averaged)
        at_once = fine == given.shape[1:]
        made = self._space.array("smooth.moved", given.shape)
        moves = made if at_once else self._space.array("smooth.moves", values.shape)
        by_night = {"count": None if night is None else night.count, **_shares(night)}
        led = {"values": values, "guide": guide, "seen": near, "models": said, "out": moves, "limit": limit}
        led |= {"moved": int(at_once), **by_night, **sizes(size, fine)}
        self._steps.append(launch("smooth_moves", (fine[1], fine[0], depth), **led))
        if not at_once:
            moved = {"values": given, "moves": moves, "out": made, **sizes(fine, given.shape)}
            self._steps.append(launch("smooth_moved", (width, height, depth), **moved, **by_night))
        return made, said

    def half(self, planes: DeviceArray, name: str) -> DeviceArray:
        """(n, h, w) of half the size, means of areas."""
        depth, size = planes.shape[0], half_of(planes.shape[1:])
        made = self._space.array(name, (depth, *size))
        nothing = {"small": None, "guide": None, "count": None}
        given = {"planes": planes, "out": made, "depth": depth, **sizes(planes.shape, size)}
        self._steps.append(launch("see_work", (size[1], size[0], depth), **nothing, **given))
        return made

    def even(
        self, chroma: DeviceArray, guide: DeviceArray, seen: DeviceArray, how: Fit, night: Night
    ) -> None:
        """(n, h, w) chroma, in place, as `night.evened` of night's share; by day nothing is done."""
        weighted = self._weighted(chroma, guide, seen, how, "night", night)
        self._add(
            "even_chroma",
            chroma.shape,
            models=weighted,
            guide=guide,
            count=night.count,
            chroma=chroma,
            radius=how.radius_px,
            **_shares(night),
        )

    def _weighted(
        self,
        values: DeviceArray,
        guide: DeviceArray,
        seen: DeviceArray,
        how: Fit,
        name: str,
        night: Night | None = None,
    ) -> DeviceArray:
        depth, height, width = values.shape
        made = self._space.array(f"{name}.weighted", (3 * depth, height, width))
        self._add(
            "window_models",
            values.shape,
            values=values,
            guide=guide,
            seen=seen,
            out=made,
            count=None if night is None else night.count,
            radius=how.radius_px,
            contrast=how.contrast,
            **_shares(night),
        )
        return made

    def _add(self, kernel: str, shape: tuple[int, ...], **values: Any) -> None:
        depth, height, width = shape
        self._steps.append(launch(kernel, (width, height, depth), width=width, height=height, **values))


def _shares(night: Night | None) -> dict[str, float]:
    """Those of dark windows, as kernels take them."""
    begins, full = (0.0, 1.0) if night is None else (night.begins, night.full)
    return {"night_begins": begins, "night_full": full}


def half_of(size: tuple[int, ...]) -> tuple[int, int]:
    """(h, w) of half a picture (H, W), rounded up."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def shrink(luma: DeviceArray, made: DeviceArray) -> Launch:
    """(H, W) uint8 into the smaller (h, w) uint8."""
    extent = (made.shape[1], made.shape[0], 1)
    return launch("shrink_luma", extent, luma=luma, out=made, **sizes(luma.shape, made.shape))


def sizes(large: tuple[int, ...], small: tuple[int, ...]) -> dict[str, int]:
    """Two sizes (.., H, W) as kernels take them."""
    return {"width": large[-1], "height": large[-2], "to_width": small[-1], "to_height": small[-2]}
