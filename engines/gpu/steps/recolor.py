"""The launches that put a small color onto the full-size luma on a device, as `Recoloring` does, and find
black borders there, as `neutral.borders` does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irchroma.engines.gpu.device import DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.confidence import believed, between
from irchroma.engines.gpu.steps.filters import Fit, Night, Windows, half_of, shrink, sizes
from irchroma.engines.gpu.steps.i420 import Layout, packed_arguments
from irchroma.engines.gpu.steps.scenery import Behind, behind_steps, behind_video_steps
from irchroma.engines.recolor import color_space, neutral, night, recoloring
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.base_tone import (
    CALM,
    CURVED,
    DARKEST,
    FINE,
    FLAT,
    GAP,
    LEAVES,
    LIFT,
    NO_WALL,
    NOISE,
    SKY_BLUE,
    SURFACES,
    UNEVEN,
    WARM_IS_DARK,
    ToneOptions,
    near_radius_px,
    sharp_in,
)
from irchroma.engines.recolor.recoloring import RecolorOptions

VIDEO_ROWS = 4
"""Rows of a place of `video_luma`."""


def find_borders(space: Workspace, steps: list[Launch], luma: DeviceArray, name: str) -> DeviceArray:
    """(8,) int32, `Borders` of borders.h, of (H, W) uint8 luma; the launches are added to `steps`."""
    height, width = luma.shape
    lines = max(height, width)
    size = {"width": width, "height": height, "lines": lines}
    black = space.array(f"{name}.black", (2, lines), np.uint8)
    found = space.array(f"{name}.borders", (8,), np.int32)
    steps.append(launch("black_lines", (lines, 1, 2), luma=luma, out=black, found=found, **size))
    steps.append(launch("border_votes", (lines, 1, 4), luma=luma, black=black, found=found, **size))
    return found


@dataclass(frozen=True, slots=True)
class FrameArrays:
    """The arrays of one frame.

    Attributes:
        luma: (H, W) uint8, as it is shown.
        small: (h, w) uint8, the same at work size.
        color: (4 or 5, h, w) float32: Y', Cb, Cr, confidence, a reference's share, see `Recoloring.apply`.
        out: written: (H, W, 3) uint8 R'G'B', or the bytes of a packed picture.
        layout: of the packed picture, whose levels are those of `Recoloring.planes`; None for R'G'B'.
        behind: a reference that is put behind the picture; None for none.
    """

    luma: DeviceArray
    small: DeviceArray
    color: DeviceArray
    out: DeviceArray
    layout: Layout | None = None
    behind: Behind | None = None


class RecolorSteps:
    """Puts the launches together, once for each set of arrays."""

    def __init__(self, space: Workspace, options: RecolorOptions, look: BandLook) -> None:
        self._space = space
        self._options = options
        self._look = look
        self._steps: list[Launch] = []
        self._windows = Windows(space, self._steps)

    def build(self, frame: FrameArrays) -> list[Launch]:
        """All launches, in order."""
        self._steps.clear()
        luma, small, color = frame.luma, frame.small, frame.color
        tone, radius_px = self._look.tone, self._options.radius_px
        night_px = night.RADIUS_PX
        halved = luma.shape[0] >= recoloring.HALVED_MODELS * small.shape[0]
        if halved:
            tone, radius_px, night_px = tone.halved(), (radius_px + 1) // 2, night_px // 2
        self._count = self._space.array("dark.count", (1,), np.int32)
        guide = self._see(small, halved)
        seen = self._windows.seen(guide, radius_px, "chroma", self._count, self._look.dark)
        night_of = None if self._look.unlit is None else Night(self._count, *night.SHARE)
        how = (self._options, self._look)
        shown = believed(self._space, self._steps, self._windows, (guide, color, halved), how)
        color, smooth = self._windows.led_by_smooth_places(guide, shown, halved, self._look.lead, night_of)
        models = None
        if self._options.mode == "full":
            around = (
                seen if tone.radius_px == radius_px else self._windows.seen(guide, tone.radius_px, "tone")
            )
            models = self._tone_models(luma, guide, (color, smooth), around, tone)
        chroma = self._chroma_models(guide, color, seen, (radius_px, night_px), frame.layout is None)
        if frame.layout is None:
            self._compose(frame, models, chroma)
        else:
            self._pack(frame, frame.layout, models, chroma)
        return list(self._steps)

    def _see(self, small: DeviceArray, halved: bool) -> DeviceArray:
        """(h, w) float32 guide, of half the size where models are made at that; it waits for no network."""
        size = half_of(small.shape) if halved else small.shape
        guide = self._space.array("guide", size)
        given: dict[str, object] = {"small": small, "guide": guide, "count": self._count}
        given |= {"planes": None, "out": None, "depth": 0, **sizes(small.shape, size)}
        self._steps.append(launch("see_work", (size[1], size[0], 1), **given))
        return guide

    def _compose(self, frame: FrameArrays, tone: DeviceArray | None, chroma: DeviceArray) -> None:
        """R'G'B' of the models, as `Recoloring.apply`."""
        luma, behind = frame.luma, frame.behind
        height, width = luma.shape
        shown = luma
        if tone is not None:
            borders = find_borders(self._space, self._steps, luma, "whole")
            shown = self._applied(tone, luma, "shown", borders)
        fine, fine_shown = luma, shown
        if height * width >= recoloring.HALVED_CHROMA:
            fine = self._halved(luma, "luma.halved")
            fine_shown = fine if shown is luma else self._halved(shown, "shown.halved")
        color = self._applied(chroma, fine, "chroma.fine")
        neutral_of = self._neutral(fine) | {"shown": fine_shown}
        self._steps.append(
            launch("keep_neutral", (fine.shape[1], fine.shape[0], 2), chroma=color, **neutral_of)
        )
        out = frame.out if behind is None else self._space.array("composed", (height, width, 3), np.uint8)
        given = {"shown": shown, "chroma": color, "out": out, "limit": self._limit}
        size = {"width": width, "height": height, "fine_width": fine.shape[1], "fine_height": fine.shape[0]}
        self._steps.append(launch("compose", (width, height, 1), **given, **size))
        if behind is not None:
            self._steps += behind_steps(self._space, out, behind, frame.out)

    def _pack(
        self, frame: FrameArrays, layout: Layout, tone: DeviceArray | None, chroma: DeviceArray
    ) -> None:
        """The packed picture of the models, as `Recoloring.planes`."""
        luma = frame.luma
        size, half = (luma.shape[0], luma.shape[1]), half_of(luma.shape)
        fine = self._halved(luma, "luma.halved")
        raised = self._space.array("luma.raised", half)
        small = {"small_width": chroma.shape[3], "small_height": chroma.shape[2]}
        names = ("to_luma", "to_cb", "to_cr")
        ways = dict(zip(names, map(tuple, color_space.CHROMA_TO_VIDEO.tolist()), strict=True))
        given = {**self._neutral(fine), **packed_arguments(frame.out, size, layout), **small, **ways}
        given |= {"models": chroma, "tone": tone, "raised": raised, "limit": self._limit}
        self._steps.append(launch("video_chroma", (half[1], half[0], 1), **given))
        borders = None if tone is None else find_borders(self._space, self._steps, luma, "whole")
        out = frame.out.part(0, size, np.uint8)
        given = {"luma": luma, "tone": tone, "raised": raised, "out": out, **small}
        given |= {"borders": borders, "halved": self._space.array("fine.borders", (8,), np.int32)}
        given |= {"width": size[1], "height": size[0], "half_width": half[1], "half_height": half[0]}
        self._steps.append(launch("video_luma", (size[1], -(-size[0] // VIDEO_ROWS), 1), **given))
        if frame.behind is not None:
            self._steps += behind_video_steps(self._space, frame.out, size, frame.behind, layout)

    @property
    def _limit(self) -> float:
        """Of the chroma, levels; below 0 for none."""
        return -1.0 if self._options.chroma_limit is None else self._options.chroma_limit

    def _tone_models(
        self,
        luma: DeviceArray,
        guide: DeviceArray,
        colors: tuple[DeviceArray, DeviceArray],
        seen: DeviceArray,
        options: ToneOptions,
    ) -> DeviceArray:
        """(1, 2, h, w) models of the shown luma in the sensor's; see `base_tone.base_tone`.

        Args:
            luma: (H, W) uint8.
            guide: (h, w) float32.
            colors: Y', Cb, Cr (3, h, w), and the models of smooth places.
            seen: windows of the guide.
            options: see there.
        """
        color, smooth = colors
        height, width = guide.shape
        size, extent = {"width": width, "height": height}, (width, height, 1)
        tone = color.part(0, (1, height, width), np.float32)
        stacked = guide.part(0, (1, height, width), np.float32)
        models = self._windows.fit_tone(tone, guide, seen, options)
        near = None
        if options.turned:
            near = self._windows.box(stacked, near_radius_px(options.radius_px), "tone.near")
        base = self._space.array("base", (3, height, width))
        self._steps.append(
            launch("base", extent, luma=luma, guide=guide, near=near, seen=seen, models=models, out=base,
                whole_width=luma.shape[1], whole_height=luma.shape[0], radius=options.radius_px,
                smooth=smooth, smooth_width=smooth.shape[2], smooth_height=smooth.shape[1],
                smooth_sides=smooth.shape[0] - 1, turned=options.turned, flat=FLAT, gap=GAP, darkest=DARKEST,
                calm=CALM, **between(lift=LIFT, blue=SKY_BLUE, uneven=UNEVEN, slope=WARM_IS_DARK),
                **between(leaves=LEAVES, no_wall=NO_WALL, noise=NOISE, fine=FINE, surfaces=SURFACES),
                **between(sharp=sharp_in(guide.shape, options.radius_px)), edge_floor=options.edge_floor,
                detail_floor=options.detail_floor, **size)
        )  # fmt: skip
        made = self._space.array("tone.shown", (1, 2, height, width))
        curve = {"curve": options.curve, "dark_curve": options.dark_curve, "pivot": options.pivot}
        curve |= {"exponent": options.exponent, "dark_exponent": options.dark_exponent}
        self._steps.append(
            launch("finish_tone", extent, base=base, seen=seen, count=self._count, out=made,
                radius=options.radius_px, **between(dark=self._look.dark_share), least=options.detail_gain,
                most=CURVED, **curve, **size)
        )  # fmt: skip
        return made

    def _chroma_models(
        self,
        guide: DeviceArray,
        color: DeviceArray,
        seen: DeviceArray,
        radii_px: tuple[int, int],
        lifted: bool,
    ) -> DeviceArray:
        """(2, 2, h, w) models of Cb and Cr, `lifted` by 128, in the luma; radii of windows, of a night's."""
        height, width = guide.shape
        radius_px, night_px = radii_px
        dark, lit = self._look.unlit or (0.0, 1.0)
        faded = self._space.array("chroma.faded", (2, height, width))
        begins, full = self._look.dark_share
        dusk_cb, dusk_cr = night.DUSK
        self._steps.append(
            launch("fade_chroma", (width, height, 1), color=color, mean=seen, count=self._count, out=faded,
                width=width, height=height, fades=int(self._look.unlit is not None), dark=dark, lit=lit,
                night_color=night.COLOR, night_blue=night.BLUE, dusk_cb=dusk_cb, dusk_cr=dusk_cr,
                limit=self._limit / 255, night_begins=begins, night_full=full)
        )  # fmt: skip
        if self._look.unlit is not None:
            dark_windows = Night(self._count, begins, full)
            wide = self._windows.seen(guide, night_px, "night", night=dark_windows)
            self._windows.even(faded, guide, wide, Fit(night_px, night.CONTRAST), dark_windows)
        how = Fit(radius_px, recoloring.CHROMA_CONTRAST, float(recoloring.NEUTRAL) if lifted else 0.0)
        return self._windows.fit(faded, guide, seen, how, "chroma")

    def _applied(
        self, models: DeviceArray, luma: DeviceArray, name: str, borders: DeviceArray | None = None
    ) -> DeviceArray:
        """uint8 (H, W) of one model, (n, H, W) of several, on the luma (H, W), which borders keep."""
        depth, _, height, width = models.shape
        shape = luma.shape if depth == 1 else (depth, *luma.shape)
        made = self._space.array(name, shape, np.uint8)
        self._steps.append(
            launch("apply_models", (luma.shape[1], luma.shape[0], depth), models=models, luma=luma, out=made,
                borders=borders, width=width, height=height, to_width=luma.shape[1], to_height=luma.shape[0])
        )  # fmt: skip
        return made

    def _neutral(self, luma: DeviceArray) -> dict[str, object]:
        """What `keep_neutral` needs beside the chroma and what is shown; opened as by `neutral.strokes`."""
        height, width = luma.shape
        radius = max(5, round(max(luma.shape) / 96) | 1) // 2
        source, extent = luma, (width, height, 1)
        for largest, name in ((0, "eroded"), (1, "opened")):
            made = self._space.array(name, (height, width), np.uint8)
            how = {"width": width, "height": height, "radius": radius, "largest": largest}
            self._steps.append(launch("extreme", extent, **{"in": source}, out=made, **how))
            source = made
        white = neutral.ANY_SHOWN if self._look.unlit is None else neutral.SHOWN_WHITE
        borders = find_borders(self._space, self._steps, luma, "fine")
        given = {"luma": luma, "opened": source, "borders": borders}
        return given | {"width": width, "height": height, **between(white=white)}

    def _halved(self, luma: DeviceArray, name: str) -> DeviceArray:
        """Of half the size."""
        made = self._space.array(name, half_of(luma.shape), np.uint8)
        self._steps.append(shrink(luma, made))
        return made
