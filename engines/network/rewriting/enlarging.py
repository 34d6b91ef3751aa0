"""What a network does at its end, enlarging its answer to the frame's size: found in a graph, done by OpenCV.

OpenVINO's slices, interpolations and means after the last convolution took 8.5 of 35 ms of `nir:fast` at
256x320 in float32 on AVX2 and 7 of 20 in bf16; OpenCV takes 0.5. Knows OpenVINO's graphs by their nodes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.network.network import Tensor

_TAIL = {
    "Add": 3, "AvgPool": 2, "Concat": 2, "Interpolate": 2, "Maximum": 3, "Minimum": 3, "Multiply": 4,
    "Slice": 6, "Sqrt": 1, "Subtract": 1,
}  # fmt: skip
_TAIL_SLICES = [(0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (4, 5)]
_TAIL_NUMBERS = [-0.5, 0.0, 0.0, 1e-4, 0.5, 1.0, 1.0, 4.0]
_TEXTURE_PX = 5
"""What a network does at the end: see `coloring_network.ColorAt` and `coloring_network.texture`."""


def tail_of(model: Any) -> list[Any]:
    """The nodes of an OpenVINO model from its results back to what is enlarged, and to its inputs."""
    nodes: dict[str, Any] = {}
    waiting = [result.input_value(0).get_node() for result in model.get_results()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in nodes:
            continue
        nodes[node.get_friendly_name()] = node
        if node.get_type_name() not in ("Interpolate", "Parameter"):
            waiting += [node.input_value(index).get_node() for index in range(node.get_input_size())]
    return list(nodes.values())


def before_enlarging(model: Any) -> list[Any] | None:
    """Where what is enlarged comes from: five planes and the share of the luma's texture.

    None but for a tail of exactly the known shape and numbers.
    """
    of_kind: dict[str, list[Any]] = {}
    for node in tail_of(model):
        of_kind.setdefault(node.get_type_name(), []).append(node)
    single = [node.data for node in of_kind.pop("Constant", []) if node.data.size == 1]
    of_kind.pop("Parameter", None)
    if {kind: len(found) for kind, found in of_kind.items()} != _TAIL:
        return None
    slices = sorted(
        tuple(int(node.input_value(index).get_node().data.item()) for index in (1, 2))
        for node in of_kind["Slice"]
    )
    numbers = sorted(float(data.item()) for data in single if data.dtype.kind == "f")
    large = of_kind["Interpolate"]
    ends = {one.input_value(0).get_partial_shape()[1].get_length(): one for one in large}
    known = (
        slices == _TAIL_SLICES
        and np.allclose(numbers, _TAIL_NUMBERS)
        and ends.keys() == {5, 1}
        and all(_is_bilinear(one.get_attributes()) for one in large)
        and all(_is_texture_mean(mean.get_attributes()) for mean in of_kind["AvgPool"])
    )
    if not known:
        return None
    return [ends[channels].input_value(0) for channels in (5, 1)]


def _is_bilinear(about: dict[str, Any]) -> bool:
    return about["coordinate_transformation_mode"] == "half_pixel" and "linear" in about["mode"]


def _is_texture_mean(about: dict[str, Any]) -> bool:
    side, pad = [_TEXTURE_PX] * 2, [_TEXTURE_PX // 2] * 2
    return bool(
        list(about["kernel"]) == side
        and list(about["strides"]) == [1, 1]
        and list(about["pads_begin"]) == list(about["pads_end"]) == pad
        and about["exclude-pad"]
    )


def enlarged(small: Tensor, share: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
    """See `Network.infer`, from (N, 5, h, w): factor and offset of the luma, Cb, Cr, confidence; and from
    (N, 1, h, w), the share of the luma's texture."""
    count, _, height, width = luma.shape
    made = np.empty((count, 4, height, width), np.float32)
    for picture, parts, frame in zip(made, np.concatenate([small, share], axis=1), luma[:, 0], strict=True):
        factor, offset, textured = (_resized(parts[at], frame.shape) for at in (0, 1, 5))
        tone = cv2.add(cv2.multiply(factor, frame, dst=factor), offset, dst=picture[0])
        cv2.add(tone, cv2.multiply(textured, _texture(frame), dst=textured), dst=picture[0])
        np.clip(picture[0], 0.0, 1.0, out=picture[0])
        for part, plane, low in zip(parts[2:5], picture[1:], (-0.5, -0.5, 0.0), strict=True):
            _resized(part, frame.shape, plane)
            if part.min() < low or part.max() > low + 1.0:
                np.clip(plane, low, low + 1.0, out=plane)
    return made[:, :3], made[:, 3:]


def _resized(part: Tensor, size: tuple[int, ...], out: Tensor | None = None) -> Any:
    return cv2.resize(part, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def _texture(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W): `coloring_network.texture` of one picture."""

    part = _part_of_each((luma.shape[0], luma.shape[1]))
    fine = cv2.multiply(_total(luma), part)
    cv2.subtract(luma, fine, dst=fine)
    squares = cv2.multiply(_total(cv2.multiply(fine, fine)), part, scale=16.0)  # of 4 times the difference
    return np.asarray(cv2.sqrt(cv2.add(squares, 1e-4, dst=squares)), np.float32)


def _total(values: Any) -> Any:
    side = (_TEXTURE_PX, _TEXTURE_PX)
    return cv2.boxFilter(values, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)


@lru_cache(maxsize=8)
def _part_of_each(size: tuple[int, int]) -> Any:
    """(H, W) float32: 1 by the number of pixels in a window of the texture."""
    return cv2.divide(1.0, _total(np.ones(size, np.float32)))
