"""The launches that put what of a network's answer is shown, as `Recoloring` believes it, on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from irchroma.engines.gpu.device import DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import Windows, half_of, sizes
from irchroma.engines.recolor import ambiguous, fog, heat, night, shade
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import RecolorOptions


def believed(
    space: Workspace,
    steps: list[Launch],
    windows: Windows,
    said: tuple[DeviceArray, DeviceArray, bool],
    how: tuple[RecolorOptions, BandLook],
) -> DeviceArray:
    """(3, h, w) float32 Y', Cb, Cr; see `Recoloring._believed`, `heat.part_by_heat` and `fog.out_of_fog`.

    Args:
        space: of what is made.
        steps: the launches are added to them.
        windows: add theirs to the same.
        said: the guide (h, w), what was said of it (4 or 5, h', w'), and whether it has half that size.
        how: it is put together.
    """
    (guide, color, halved), (options, look) = said, how
    height, width = guide.shape
    whole = {"whole_width": color.shape[2], "whole_height": color.shape[1]}
    made = space.array("color.believed", (4, height, width))
    parts = look.unmixed or look.shade is not None
    counts = space.array("heat.counts", (4, 256), np.int32) if parts else None
    full, none = look.shade or (-2.0, -1.0)  # as dark is nothing
    mint = shade.MINT if look.shade else (2.0, 3.0)  # as yellow is nothing
    steps.append(
        launch("believe", (width, height, 1), color=color, guide=guide, out=made, counts=counts, **whole,
            width=width, height=height, steered=int(color.shape[0] > 4), unsure=options.unsure,
            sure=options.sure, **unknown(look, options), shade_full=full, shade_none=none,
            shade_green=shade.GREEN, shade_blue=shade.BLUE, **between(mint=mint), decides=int(look.decided),
            unmixes=int(look.unmixed), **ambiguous.bounds())
    )  # fmt: skip
    if counts is not None and look.unmixed:
        _part_by_heat(space, steps, windows, (made, color, counts), halved)
    elif counts is not None:
        _out_of_fog(steps, (made, color, counts), halved)
    return made.part(0, (3, height, width), np.float32)


def _part_by_heat(
    space: Workspace,
    steps: list[Launch],
    windows: Windows,
    shown: tuple[DeviceArray, DeviceArray, DeviceArray],
    halved: bool,
) -> None:
    """In place, of (4, h, w) Y', Cb, Cr and luma; what they were made of; and counts, (4, 256) int32 of 0."""
    made, color, counts = shown
    _, height, width = made.shape
    few = made if halved else windows.half(made, "heat.halved")
    size = half_of(few.shape[1:])
    small, places = space.array("heat.few", (4, *size)), space.array("heat.places", (6, *size))
    extent, of_small = (size[1], size[0], 1), {"width": size[1], "height": size[0]}
    seen = {"counts": counts, "around": heat.LEVELS_AROUND, "rare": heat.FEW}
    painted = between(blue=heat.BLUE, bright=heat.BRIGHT)
    given = {"planes": few, "out": small, "counts": counts, **sizes(few.shape, size)}
    steps.append(launch("heat_few", extent, **given, **painted, even=heat.EVEN))
    bounds = between(sky=heat.SKY, ground=heat.GROUND, plain=heat.PLAIN, cloud=heat.CLOUD)
    bounds |= between(unsay=heat.UNSAY, lit=heat.LIT, leaf=heat.LEAF)
    bounds |= between(found=heat.FOUND, found_sky=heat.FOUND_SKY)
    given = {"few": small, "out": places, "radius": heat.RADIUS_PX, "fewest": heat.FEWEST}
    given |= {f"alone_{name}": value for name, value in zip(("tone", "cb", "cr"), heat.ALONE, strict=True)}
    steps.append(launch("heat_places", extent, **given, **seen, **of_small, **painted, **bounds))
    given = {"planes": made, "places": places, "width": width, "height": height, **_steered(color)}
    given |= {"small_width": size[1], "small_height": size[0], "seen": heat.SEEN_PX // 2}
    bounds = between(ground=heat.GROUND, say=heat.SAY)
    steps.append(launch("part_by_heat", (width, height, 1), **given, **seen, **bounds))


def _out_of_fog(
    steps: list[Launch], shown: tuple[DeviceArray, DeviceArray, DeviceArray], halved: bool
) -> None:
    """In place; what is shown as for `_part_by_heat`."""
    made, color, counts = shown
    _, height, width = made.shape
    apart = fog.APART_PX // 2 if halved else fog.APART_PX
    size = -(-height // apart), -(-width // apart)
    seen: dict[str, Any] = {"planes": made, "counts": counts}
    counted: dict[str, Any] = {"apart": apart, **sizes(made.shape, size)}
    counted |= between(blue=fog.BLUE, yellow=fog.YELLOW, no_red=fog.NO_RED)
    steps.append(launch("count_greens", (size[1], size[0], 1), **seen, **counted))
    given = {"width": width, "height": height, "around": heat.LEVELS_AROUND, **_steered(color)}
    given |= {"rare": heat.FEW, "places": size[0] * size[1]}
    bounds = between(green=fog.GREEN, dark=fog.DARK, lit=fog.LIT, say=fog.SAY)
    steps.append(launch("out_of_fog", (width, height, 1), **seen, **given, **bounds))


def _steered(color: DeviceArray) -> dict[str, Any]:
    """A reference's share of what was said, (4 or 5, h, w), None where there is none, and its size."""
    _, height, width = color.shape
    share = None
    if color.shape[0] > 4:
        share = color.part(4 * 4 * height * width, (height, width), np.float32)
    return {"steered": share, "whole_width": width, "whole_height": height}


def unknown(look: BandLook, options: RecolorOptions) -> dict[str, Any]:
    """What is shown of what is not known, as kernels take it."""
    blue, red = look.calm(options.instead)
    lamps = {"lamplit": int(look.lamplit and blue != 0), **night.lamps()}
    return {"calm_blue": blue, "calm_red": red, "calm_luma": look.calm_luma, **lamps}


def between(**pairs: tuple[float, float]) -> dict[str, float]:
    """Both of each under the names that kernels have for them."""
    return {
        f"{name}_{end}": value
        for name, pair in pairs.items()
        for end, value in zip(("begins", "full"), pair, strict=True)
    }
