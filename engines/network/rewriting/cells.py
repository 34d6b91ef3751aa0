"""The reference's network cut to what it does in cells of 8 x 8 pixels: means before it and pixels after it
are done by OpenCV. Knows OpenVINO's graph by its nodes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np

from irchroma.engines.network.network import Tensor, Tensors
from irchroma.engines.network.rewriting.attention import spare_products, spare_softmaxes
from irchroma.engines.network.rewriting.early import EARLY, EARLY_CHANNELS, early_port
from irchroma.engines.network.rewriting.enlarging import tail_of

CELL_PX = 8
MEANS = ("luma", "own", "sureness")
"""Inputs of whose cells the means are taken."""
OUTPUTS = ("ycc", "confidence")
_TAIL = {
    "Add": 3, "Interpolate": 1, "Maximum": 2, "Minimum": 2, "Multiply": 2, "Subtract": 1, "VariadicSplit": 1,
}  # fmt: skip
_LIMITS = ((0.0, 1.0), (-0.5, 0.5))
"""Of Y', and of Cb and Cr."""
_PARTS = 7
"""Planes at the cells: slope and offset by the luma of three channels, and how sure it is."""


def cells_of(name: str) -> str:
    """The name of the input that holds the means of another."""
    return f"{name}_cells"


def cut_to_cells(model: Any, opset: Any, early: bool) -> tuple[list[Any], list[Any]] | None:
    """Outputs and inputs of the part in between; the model is changed by it.

    Args:
        model: an OpenVINO model as `training.exemplar.network` makes it.
        opset: OpenVINO's.
        early: without its first layers too, whose knowledge is an input then.

    Returns:
        None, and the model is as it was, but for one of exactly the known shape.
    """
    end, means = _end_of(model), _means_in(model)
    port = early_port(model) if early else None
    if end is None or means.keys() != set(MEANS) or (early and port is None):
        return None
    spare_softmaxes(model, opset)
    spare_products(model, opset)
    inputs = {one.get_node().get_friendly_name(): one.get_node() for one in model.inputs}
    taken = [inputs[name] for name in inputs if name not in MEANS or (name == "luma" and not early)]
    for name, node in means.items():
        channels = node.get_output_partial_shape(0)[1].get_length()
        taken.append(_given(node.output(0), channels, cells_of(name), opset))
    if port is not None:
        taken.append(_given(port, EARLY_CHANNELS, EARLY, opset))
    return [end], taken


def shapes_in_cells(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The inputs' shapes of the part in between, from those of the whole graph."""
    found = {name: shape for name, shape in shapes.items() if name not in MEANS}
    for name in MEANS:
        *first, height, width = shapes[name]
        found[cells_of(name)] = (*first, height // CELL_PX, width // CELL_PX)
    if EARLY not in shapes:
        found["luma"] = shapes["luma"]
    return found


def in_cells(inputs: Tensors) -> Tensors:
    """Inputs of the part in between, by those of the whole, of one picture."""
    found = {name: one for name, one in inputs.items() if name not in MEANS}
    for name in MEANS:
        found[cells_of(name)] = _means(inputs[name])
    if EARLY not in inputs:
        found["luma"] = inputs["luma"]
    return found


def on_pixels(cells: Tensor, inputs: Tensors) -> Tensors:
    """The whole graph's answer from that of the part in between, in new arrays.

    Args:
        cells: (1, 7, h, w) float32 that the part in between says.
        inputs: of the whole, of one picture.
    """
    luma, own, sure = inputs["luma"][0, 0], inputs["own"][0], inputs["sureness"][0, 0]
    pixels = np.empty((_PARTS, *luma.shape), np.float32)
    for plane, cell in zip(pixels, cells[0], strict=True):
        cv2.resize(cell, luma.shape[::-1], dst=plane)
    slope, ycc, confidence = pixels[:3], pixels[3:6], pixels[6]
    slope *= luma
    ycc += slope
    ycc += own
    for planes, (low, high) in zip((ycc[:1], ycc[1:]), _LIMITS, strict=True):
        np.clip(planes, low, high, out=planes)
    confidence *= 1.0 - sure
    confidence += sure
    np.clip(confidence, 0.0, 1.0, out=confidence)
    return dict(zip(OUTPUTS, (ycc[None], confidence[None, None]), strict=True))


def _means(planes: Tensor) -> Tensor:
    """(1, C, H, W) -> (1, C, H / 8, W / 8)."""
    _, channels, height, width = planes.shape  # one under another: no cell is of two of them
    tall = planes.reshape(channels * height, width)
    small = cv2.resize(tall, (width // CELL_PX, len(tall) // CELL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(1, channels, height // CELL_PX, width // CELL_PX)


def _given(port: Any, channels: int, name: str, opset: Any) -> Any:
    """An input in place of what a port says."""
    made = opset.parameter([1, channels, -1, -1], np.float32, name)
    made.output(0).set_names({name})
    for reader in port.get_target_inputs():
        reader.replace_source_output(made.output(0))
    return made


def _end_of(model: Any) -> Any | None:
    """Where the cells are enlarged to pixels, its input; None where the rest is not as known."""
    nodes = tail_of(model)
    kinds = Counter(node.get_type_name() for node in nodes)
    inputs, numbers = kinds.pop("Parameter", 0), kinds.pop("Constant", 0)
    if dict(kinds) != _TAIL or inputs != len(MEANS) or not numbers:
        return None
    enlarged = next(node for node in nodes if node.get_type_name() == "Interpolate")
    about, end = enlarged.get_attributes(), enlarged.input_value(0)
    bilinear = about["coordinate_transformation_mode"] == "half_pixel" and "linear" in about["mode"]
    return end if bilinear and end.get_partial_shape()[1].get_length() == _PARTS else None


def _means_in(model: Any) -> dict[str, Any]:
    """Name of an input -> what takes the means of its cells."""
    side = [CELL_PX, CELL_PX]
    return {
        node.input_value(0).get_node().get_friendly_name(): node
        for node in model.get_ops()
        if node.get_type_name() == "AvgPool"
        and list(node.get_attributes()["kernel"]) == list(node.get_attributes()["strides"]) == side
    }
