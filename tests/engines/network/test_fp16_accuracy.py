"""The float16 networks that plans are built from: no overflow on extreme input, the colors of float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.measures import metrics
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.recolor.color_space import ycc_to_rgb
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions
from irchroma.stream.tone.tone_map import ToneMap

onnx = pytest.importorskip("onnx", reason="graphs are rewritten for the comparison")
onnxruntime = pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime")
pytest.importorskip("skimage", reason="CIEDE2000 needs scikit-image")

SIZE = (160, 192)
LARGEST_FLOAT16 = 65504.0
LARGEST_MEAN_CIEDE2000 = 0.3
LARGEST_CONFIDENCE_DIFFERENCE = 0.01


def frames(kind: str) -> dict[str, NDArray[np.uint8]]:
    """Luma by name: the extremes, 14-bit noise as a tone map shows it, and a synthetic scene."""
    noise = np.random.default_rng(0).integers(0, 1 << 14, SIZE, dtype=np.uint16)
    pixels = SyntheticCamera(SyntheticOptions(band=kind, size=SIZE)).frame(0).pixels
    scene = pixels if pixels.dtype == np.uint8 else ToneMap().apply(pixels, 0)
    return {
        "black": np.zeros(SIZE, np.uint8),
        "white": np.full(SIZE, 255, np.uint8),
        "noise": ToneMap().apply(noise, 0),
        "scene": np.asarray(scene, np.uint8),
    }


def rounding(path: Path) -> tuple[bytes, list[str]]:
    """A float16 graph in float32 whose every value is rounded to float16; and the names of those values.

    ONNX Runtime's CPU kernels compute a float16 graph in float32 and keep values in it from one operator to
    the next, so that neither rounding nor overflow would be seen. Sums inside an operator stay float32, as
    they do in a GPU's matrix units.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.shape_inference.infer_shapes(onnx.load(path))
    values = (*graph.graph.value_info, *graph.graph.output)
    halves = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    del graph.graph.value_info[:]
    widen(graph.graph.initializer, numpy_helper)
    nodes: list[Any] = []
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                widen([attribute.t], numpy_helper)
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        rounded = [name for name in node.output if name in halves]
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = f"{name}.wide"
        nodes.append(node)
        for name in rounded:
            nodes.append(helper.make_node("Cast", [f"{name}.wide"], [f"{name}.half"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    names = [name for name in halves if name not in {value.name for value in graph.graph.output}]
    graph.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return graph.SerializeToString(), names


def widen(tensors: Any, numpy_helper: Any) -> None:
    for tensor in tensors:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float16:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def session(model: str | bytes, optimized: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    if not optimized:  # optimizations would fold the roundings away
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("kind", "size"), [(kind, size) for kind in catalog.BANDS for size in catalog.SIZES])
def test_float16_gives_the_colors_of_float32_and_never_overflows(kind: str, size: str) -> None:
    path = catalog.weights_path(kind, size)
    if not path.is_file():
        pytest.skip(f"weights of {kind} {size} are not here")
    exact, (model, inner) = session(str(path), optimized=True), rounding(float16_twin(path))
    half = session(model, optimized=False)
    for name, luma in frames(kind).items():
        tensor = (luma / np.float32(255))[None, None].astype(np.float32)
        want, sure = exact.run(["ycc", "confidence"], {"luma": tensor})
        narrow = tensor.astype(np.float16).astype(np.float32)
        got, confidence, *values = half.run(["ycc", "confidence", *inner], {"luma": narrow})
        largest = max(float(np.abs(value).max()) for value in values)
        assert all(np.isfinite(value).all() for value in (got, confidence, *values)), name
        assert largest < LARGEST_FLOAT16 / 4, f"{name}: {largest} leaves no room in float16"
        pictures = (ycc_to_rgb(np.ascontiguousarray(ycc[0].transpose(1, 2, 0))) for ycc in (got, want))
        difference = metrics.ciede2000(*pictures)
        unsure = float(np.abs(confidence - sure).max())
        print(f"{kind} {size} {name}: CIEDE2000 {difference:.3f}, confidence {unsure:.4f}, to {largest:.1f}")
        assert difference < LARGEST_MEAN_CIEDE2000, name
        assert unsure < LARGEST_CONFIDENCE_DIFFERENCE, name
        for value in values:
            assert np.array_equal(value, value.astype(np.float16)), "values were not rounded to float16"
