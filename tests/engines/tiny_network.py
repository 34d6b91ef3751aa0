"""A tiny network with the shape of the real ones, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def write_tiny_network(path: Path, sure: float = 0.3) -> None:
    """Luma -> stride-4 features + their mean -> tone, chroma, confidence -> bilinear to full size.

    Args:
        path: of the file.
        sure: confidence before its sigmoid where luma is half of its mean; 0.3 is sure everywhere.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    def array(name: str, values: Any, kind: type = np.float32) -> Any:
        return numpy_helper.from_array(np.asarray(values, kind), name)

    head = np.array([[0.2], [-0.3], [0.4], [0.5]]).reshape(4, 1, 1, 1)
    constants = [
        array("mean4", np.full((1, 1, 4, 4), 1 / 16)),
        array("half", [0.5]),
        array("head", head),
        array("head_bias", [0.4, 0.1, -0.1, sure]),
        array("scales", [1, 1, 4, 4]),
        array("no_roi", []),
        array("zero", 0.0),
        array("one", 1.0),
        array("channels", [1], np.int64),
        *(array(f"at{index}", [index], np.int64) for index in (0, 1, 3, 4)),
    ]
    nodes = [
        helper.make_node("Conv", ["luma", "mean4"], ["features"], strides=[4, 4]),
        helper.make_node("ReduceMean", ["features"], ["context"], axes=[2, 3], keepdims=1),
        helper.make_node("Mul", ["context", "half"], ["context_half"]),
        helper.make_node("Sub", ["features", "context_half"], ["body"]),
        helper.make_node("Conv", ["body", "head", "head_bias"], ["small"]),
        helper.make_node("Resize", ["small", "no_roi", "scales"], ["large"], mode="linear"),
        helper.make_node("Slice", ["large", "at0", "at1", "channels"], ["shift"]),
        helper.make_node("Add", ["luma", "shift"], ["bright"]),
        helper.make_node("Mul", ["bright", "half"], ["tone_raw"]),
        helper.make_node("Clip", ["tone_raw", "zero", "one"], ["tone"]),
        helper.make_node("Slice", ["large", "at1", "at3", "channels"], ["chroma"]),
        helper.make_node("Concat", ["tone", "chroma"], ["ycc"], axis=1),
        helper.make_node("Slice", ["large", "at3", "at4", "channels"], ["sureness"]),
        helper.make_node("Sigmoid", ["sureness"], ["confidence"]),
    ]
    dims = {"luma": 1, "ycc": 3, "confidence": 1}
    ends = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, "h", "w"])
        for name, channels in dims.items()
    }
    graph = helper.make_graph(nodes, "tiny", [ends["luma"]], [ends["ycc"], ends["confidence"]], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
