"""The launches around a network on a device: its input, its output, and the color memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from irchroma.engines.gpu.device import DeviceArray, DeviceNetwork, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.filters import sizes
from irchroma.engines.recolor import neutral

Parts = Mapping[str, DeviceArray]
"""Of `device_frame.FrameLayout`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame as it is shown: with gain jumps undone where the temporal stage asks for it.

    Attributes:
        luma: (H, W) uint8.
        small: (h, w) uint8.
    """

    luma: DeviceArray
    small: DeviceArray


@dataclass(frozen=True, slots=True)
class Tensors:
    """A network's memory for one frame, see `device.DeviceNetwork`."""

    luma: DeviceArray
    ycc: DeviceArray
    confidence: DeviceArray


def place_of(network: DeviceNetwork, place: int) -> Tensors:
    """One frame's part of a network's tensors."""
    parts = []
    for array in (network.luma, network.ycc, network.confidence):
        shape = (1, *array.shape[1:])
        parts.append(array.part(place * array.nbytes // array.shape[0], shape, array.dtype))
    return Tensors(*parts)


def look_steps(
    space: Workspace, parts: Parts, work: tuple[int, int], dither: DeviceArray
) -> tuple[Seen, list[Launch]]:
    """From the frame that came to what the network and the viewer see."""
    luma = parts["luma"]
    seen = Seen(space.array("luma.seen", luma.shape, np.uint8), space.array("small.seen", work, np.uint8))
    steps = [
        launch("show_luma", (target.shape[1], target.shape[0], 1), luma=luma, frame=parts["state"],
            dither=dither, out=target, tile=dither.shape[0], **sizes(luma.shape, target.shape))
        for target in (seen.luma, seen.small)
    ]  # fmt: skip
    return seen, steps


def input_step(small: DeviceArray, network: Tensors) -> Launch:
    """`neural.padded`, into the network's input memory."""
    _, _, padded_height, padded_width = network.luma.shape
    return launch("fill_input", (padded_width, padded_height, 1), small=small, out=network.luma,
        width=small.shape[1], height=small.shape[0], padded_width=padded_width,
        half=int(network.luma.dtype == np.float16))  # fmt: skip


def output_step(network: Tensors, small: DeviceArray, news: DeviceArray, fades: bool) -> Launch:
    """The network's output cut to (4, h, w) float32; chroma faded in the dark where `fades`."""
    height, width = small.shape
    _, _, padded_height, padded_width = network.luma.shape
    return launch("read_output", (width, height, 4), ycc=network.ycc, confidence=network.confidence,
        small=small, color=news, width=width, height=height, padded_width=padded_width,
        padded_height=padded_height, half=int(network.luma.dtype == np.float16), fades=int(fades),
        dark=neutral.DARK[0], lit=neutral.DARK[1])  # fmt: skip


def memory_steps(
    space: Workspace, parts: Parts, news: DeviceArray, shown: DeviceArray
) -> tuple[DeviceArray, list[Launch]]:
    """`TemporalStage.update`: (4, h, w) float32 steadied color with its confidence, and the launches.

    The memory is the color itself and the array `support`; both are read and then written in every frame.

    Args:
        space: of the memory.
        parts: of the frame.
        news: (4, h, w) float32 of the network.
        shown: (h, w) uint8, written: the confidence, 255 = sure.
    """
    _, height, width = news.shape
    half_height, half_width = parts["shown"].shape
    frame = parts["state"]
    color = space.array("memory.color", (4, height, width))
    support = space.array("memory.support", (3, half_height, half_width))
    carried = space.array("carried.color", (3, height, width))
    carried_support = space.array("carried.support", (3, half_height, half_width))
    share = space.array("news.share", (half_height, half_width))
    size = {"width": width, "height": height, "half_width": half_width, "half_height": half_height}
    steps = [
        launch("carry", (width, height, 6), frame=frame, color=color, support=support,
            source=parts["half_source"], out=carried, out_support=carried_support, **size),
        launch("weigh_news", (half_width, half_height, 1), frame=frame, news=news, color=carried,
            support=carried_support, trust=parts["trust"], tolerance=parts["tolerance"], shown=parts["shown"],
            moving=parts["half_moving"], out=support, share=share, **size),
        launch("remember", (width, height, 4), frame=frame, news=news, carried=carried, share=share,
            support=support, color=color, shown=shown, **size),
    ]  # fmt: skip
    return color, steps
