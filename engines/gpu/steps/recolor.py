"""The launches that put a small color onto the full-size luma on a device, as `Recoloring` does.

Black borders on a device: the launches that find them as `neutral.borders` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irchroma.engines.gpu.device import DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import Fit, Windows, half_of, shrink, shrink_planes
from irchroma.engines.recolor import recoloring
from irchroma.engines.recolor.base_tone import ToneOptions
from irchroma.engines.recolor.recoloring import BandLook, RecolorOptions

SEGMENT_PX = 64
"""Part of a line that one thread looks at."""


def find_borders(space: Workspace, steps: list[Launch], luma: DeviceArray, name: str) -> DeviceArray:
    """(8,) int32, `Borders` of borders.h, of (H, W) uint8 luma; the launches are added to `steps`."""
    height, width = luma.shape
    lines = max(height, width)
    segments = -(-lines // SEGMENT_PX)
    size = {"width": width, "height": height}
    parts = {"lines": lines, "segments": segments}
    extremes = space.array(f"{name}.extremes", (2, lines, segments, 2), np.uint8)
    for columns, extent in ((0, (segments, height, 1)), (1, (width, segments, 1))):
        more = {"length": SEGMENT_PX, "columns": columns}
        steps.append(launch("line_extremes", extent, luma=luma, out=extremes, **more, **parts, **size))
    black = space.array(f"{name}.black", (2, lines), np.uint8)
    steps.append(launch("black_lines", (lines, 1, 2), extremes=extremes, out=black, **parts, **size))
    found = space.array(f"{name}.borders", (8,), np.int32)
    steps.append(launch("border_runs", (4, 1, 1), black=black, out=found, lines=lines, **size))
    steps.append(launch("border_votes", (lines, 1, 4), luma=luma, borders=found, **size))
    return found


_NIGHT = {"night_begins": recoloring.NIGHT_SHARE[0], "night_full": recoloring.NIGHT_SHARE[1]}


@dataclass(frozen=True, slots=True)
class Placed:
    """The arrays of one frame.

    Attributes:
        luma: (H, W) uint8, as it is shown.
        small: (h, w) uint8, the same at work size.
        color: (4, h, w) float32: Y', Cb, Cr and confidence, see `Recoloring.apply`.
        rgb: (H, W, 3) uint8, written.
    """

    luma: DeviceArray
    small: DeviceArray
    color: DeviceArray
    rgb: DeviceArray


class RecolorSteps:
    """Puts the launches together, once for each set of arrays."""

    def __init__(self, space: Workspace, options: RecolorOptions, look: BandLook) -> None:
        self._space = space
        self._options = options
        self._look = look
        self._steps: list[Launch] = []
        self._windows = Windows(space, self._steps)

    def build(self, frame: Placed) -> list[Launch]:
        """All launches, in order."""
        self._steps.clear()
        luma, small, color = frame.luma, frame.small, frame.color
        tone, radius_px = self._look.tone, self._options.radius_px
        night_px = recoloring.NIGHT_RADIUS_PX
        if luma.shape[0] >= recoloring.HALVED_MODELS * small.shape[0]:
            tone, radius_px, night_px = tone.halved(), (radius_px + 1) // 2, night_px // 2
            small, color = self._halved(small, "small.halved"), self._halved_planes(color, "color.halved")
        height, width = small.shape
        guide = self._space.array("guide", (height, width))
        self._steps.append(launch("scale_luma", (width, height, 1), luma=small, out=guide, width=width))
        shown = luma
        if self._options.mode == "full":
            models = self._tone_models(luma, guide, color, tone)
            shown = self._applied(models, luma, "shown")
            self._keep_borders(luma, shown)
        fine, fine_shown = luma, shown
        if luma.shape[0] * luma.shape[1] >= recoloring.HALVED_CHROMA:
            fine = self._halved(luma, "luma.halved")
            fine_shown = fine if shown is luma else self._halved(shown, "shown.halved")
        chroma = self._chroma(guide, color, (radius_px, night_px), fine)
        self._keep_neutral(fine, fine_shown, chroma)
        limit = self._options.chroma_limit
        self._steps.append(
            launch(
                "compose",
                (luma.shape[1], luma.shape[0], 1),
                shown=shown,
                chroma=chroma,
                out=frame.rgb,
                width=luma.shape[1],
                height=luma.shape[0],
                fine_width=fine.shape[1],
                fine_height=fine.shape[0],
                limit=-1.0 if limit is None else limit,
            )
        )
        return list(self._steps)

    def _tone_models(
        self, luma: DeviceArray, guide: DeviceArray, color: DeviceArray, options: ToneOptions
    ) -> DeviceArray:
        """(1, 2, h, w) models of the shown luma in the sensor's; see `base_tone.base_tone`."""
        height, width = guide.shape
        size, extent = {"width": width, "height": height}, (width, height, 1)
        tone, regions = color.part(0, (1, height, width), np.float32), None
        stacked = guide.part(0, (1, height, width), np.float32)
        if options.region_radius_px:
            for turn in ("first", "second"):
                tone = self._windows.box(tone, options.region_blur_px, f"tone.{turn}")
            around = self._windows.seen(
                tone.part(0, (height, width), np.float32), options.region_radius_px, "region"
            )
            how = Fit(options.region_radius_px, options.region_contrast)
            regions = self._windows.fit(
                stacked, tone.part(0, (height, width), np.float32), around, how, "region"
            )
        wanted = self._space.array("tone.wanted", (1, height, width))
        shares = {"brighten": options.brighten, "darken": options.darken}
        self._steps.append(
            launch("want_tone", extent, tone=tone, guide=guide, models=regions, out=wanted, **shares, **size)
        )
        seen = self._windows.seen(guide, options.radius_px, "tone")
        how = Fit(options.radius_px, options.contrast)
        models = self._windows.fit(wanted, guide, seen, how, "tone")
        finer = self._space.array("finer", (1, height, width))
        whole = {"width": luma.shape[1], "height": luma.shape[0], "to_width": width, "to_height": height}
        self._steps.append(launch("finer", extent, luma=luma, guide=guide, out=finer, **whole))
        base = self._space.array("base", (3, height, width))
        floors = {"edge_floor": options.edge_floor, "detail_floor": options.detail_floor}
        self._steps.append(
            launch(
                "base",
                extent,
                guide=guide,
                seen=seen,
                models=models,
                finer=self._windows.box(finer, options.radius_px, "finer"),
                out=base,
                radius=options.radius_px,
                **floors,
                **size,
            )
        )
        way = self._windows.box(base.part(0, (1, height, width), np.float32), options.radius_px, "way")
        made = self._space.array("tone.shown", (1, 2, height, width))
        self._steps.append(launch("finish_tone", extent, base=base, way=way, seen=seen, out=made, **size))
        return made

    def _chroma(
        self, guide: DeviceArray, color: DeviceArray, radii_px: tuple[int, int], fine: DeviceArray
    ) -> DeviceArray:
        """(2, H', W') uint8 Cb and Cr on the fine luma, 128 neutral; radii of windows, and of a night's."""
        height, width = guide.shape
        radius_px, night_px = radii_px
        extent = (width, height, 1)
        seen = self._windows.seen(guide, radius_px, "chroma")
        count = self._space.array("dark.count", (1,), np.int32)
        dark, lit = self._look.unlit or (0.0, 1.0)
        if self._look.unlit is not None:
            self._steps.append(launch("clear_count", (1, 1, 1), count=count))
            level = (dark + lit) / 2
            self._steps.append(launch("count_dark", extent, mean=seen, count=count, width=width, level=level))
        faded = self._space.array("chroma.faded", (2, height, width))
        limit = self._options.chroma_limit
        self._steps.append(
            launch(
                "fade_chroma",
                extent,
                color=color,
                mean=seen,
                count=count,
                out=faded,
                width=width,
                height=height,
                sure=self._options.sure,
                fades=int(self._look.unlit is not None),
                dark=dark,
                lit=lit,
                night_color=recoloring.NIGHT_COLOR,
                limit=-1.0 if limit is None else limit / 255,
                **_NIGHT,
            )
        )
        if self._look.unlit is not None:
            wide = self._windows.seen(guide, night_px, "night")
            models = self._windows.fit(faded, guide, wide, Fit(night_px, recoloring.NIGHT_CONTRAST), "night")
            size = {"width": width, "height": height}
            given = {"models": models, "guide": guide, "count": count, "chroma": faded}
            self._steps.append(launch("even_chroma", (width, height, 2), **given, **size, **_NIGHT))
        how = Fit(radius_px, self._options.chroma_contrast, float(recoloring.NEUTRAL))
        return self._applied(self._windows.fit(faded, guide, seen, how, "chroma"), fine, "chroma.fine")

    def _applied(self, models: DeviceArray, luma: DeviceArray, name: str) -> DeviceArray:
        """uint8 (H, W) of one model, (n, H, W) of several, on the luma (H, W)."""
        depth, _, height, width = models.shape
        shape = luma.shape if depth == 1 else (depth, *luma.shape)
        made = self._space.array(name, shape, np.uint8)
        self._steps.append(
            launch(
                "apply_models",
                (luma.shape[1], luma.shape[0], depth),
                models=models,
                luma=luma,
                out=made,
                width=width,
                height=height,
                to_width=luma.shape[1],
                to_height=luma.shape[0],
            )
        )
        return made

    def _keep_neutral(self, luma: DeviceArray, shown: DeviceArray, chroma: DeviceArray) -> None:
        """See `recoloring.keep_neutral`; the opening is that of `neutral.strokes`."""
        height, width = luma.shape
        radius = max(5, round(max(luma.shape) / 96) | 1) // 2
        source, extent = luma, (width, height, 1)
        for kernel, largest, name in (
            ("extreme_rows", 0, "eroded.rows"),
            ("extreme_columns", 0, "eroded"),
            ("extreme_rows", 1, "opened.rows"),
            ("extreme_columns", 1, "opened"),
        ):
            made = self._space.array(name, (height, width), np.uint8)
            how = {"width": width, "height": height, "radius": radius, "largest": largest}
            self._steps.append(launch(kernel, extent, **{"in": source}, out=made, **how))
            source = made
        self._steps.append(
            launch(
                "keep_neutral",
                (width, height, 2),
                luma=luma,
                shown=shown,
                opened=source,
                borders=find_borders(self._space, self._steps, luma, "fine"),
                chroma=chroma,
                width=width,
                height=height,
            )
        )

    def _keep_borders(self, luma: DeviceArray, shown: DeviceArray) -> None:
        height, width = luma.shape
        borders = find_borders(self._space, self._steps, luma, "whole")
        size = {"width": width, "height": height}
        self._steps.append(
            launch("keep_borders", (width, height, 1), luma=luma, borders=borders, shown=shown, **size)
        )

    def _halved(self, luma: DeviceArray, name: str) -> DeviceArray:
        made = self._space.array(name, half_of(luma.shape), np.uint8)
        self._steps.append(shrink(luma, made))
        return made

    def _halved_planes(self, planes: DeviceArray, name: str) -> DeviceArray:
        made = self._space.array(name, (planes.shape[0], *half_of(planes.shape[1:])))
        self._steps.append(shrink_planes(planes, made))
        return made
