"""The reference engine's graphs in float16, strongly typed: colors of float32, no overflow, real plans."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.network.test_fp16_accuracy import (
    LARGEST_FLOAT16,
    LARGEST_MEAN_CIEDE2000,
    rounding,
    session,
)

from irchroma.engines import catalog
from irchroma.engines.gpu.plans.build import parse_layers
from irchroma.engines.gpu.plans.library import BuildRequest, Profile, TensorRT
from irchroma.engines.gpu.plans.proof import prove_precision
from irchroma.engines.measures import metrics
from irchroma.engines.network.network import NetworkOptions, open_graph, open_network
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.neural import exemplar
from irchroma.engines.recolor.color_space import ycc_to_rgb
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.placing import Placing

pytest.importorskip("onnx", reason="graphs are rewritten")
pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime")

LARGEST_CONFIDENCE_DIFFERENCE = 1.5 / 128
"""Of it the evidence of all cells is a part, a sum near 10, where float16 counts in steps of 1/128."""
OPTIONS = NetworkOptions("onnxruntime", threads=1, cache=None, exact=True)
Inputs = dict[str, NDArray[np.float32]]


def inputs_of(band: str) -> tuple[Inputs, Inputs]:
    """What both graphs are given for one frame and the true picture of its scene, places known."""
    rgb, infrared = daytime_scene.draw(3)
    luma = infrared[: infrared.shape[0] // 32 * 32, : infrared.shape[1] // 32 * 32]
    given = Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8))
    frames = catalog.weights_path(catalog.REFERENCE.name, band)
    picture: Inputs = {}
    pictures = open_graph(frames.with_name(f"{frames.stem}_picture.onnx"), OPTIONS)
    plain_run = pictures.run

    class Listening:
        """The graph, whose inputs are kept."""

        def run(self, inputs: Inputs) -> Inputs:
            picture.update(inputs)
            return plain_run(inputs)

    tokens = exemplar.encode(given, Listening())  # type: ignore[arg-type]
    own = open_network(catalog.weights_path(band, "fast"), OPTIONS)
    seen = np.ascontiguousarray(luma, np.float32)[None, None] / np.float32(255)
    ycc, sureness = (np.array(one) for one in own.infer(seen))
    rows, columns = (side // exemplar.CELL_PX for side in exemplar.encoded_size(rgb.shape[:2]))
    there, known = Placing(given.luma, (rows, columns)).at(np.ascontiguousarray(luma))
    frame = {
        "luma": seen,
        "own": ycc,
        "sureness": sureness,
        "place": exemplar.places(luma.shape[0] // 8, luma.shape[1] // 8),
        "there": there,
        "known": np.full((1, 1, 1, 1), known, np.float32),
        "strength": np.ones((1, 1, 1, 1), np.float32),
        **tokens,
    }
    pictures.close()
    own.close()
    return frame, picture


@pytest.mark.parametrize("band", catalog.BANDS)
def test_float16_takes_the_same_colors_and_never_overflows(band: str) -> None:
    pytest.importorskip("skimage", reason="CIEDE2000 needs scikit-image")
    path = catalog.weights_path(catalog.REFERENCE.name, band)
    frame, picture = inputs_of(band)
    assert frame["known"] == 1.0
    exact, (model, inner) = session(str(path), optimized=True), rounding(float16_twin(path))
    half = session(model, optimized=False)
    for known in (1.0, 0.0):
        inputs = frame | {"known": np.full((1, 1, 1, 1), known, np.float32)}
        want, sure = exact.run(["ycc", "confidence"], inputs)
        narrow = {name: one.astype(np.float16).astype(np.float32) for name, one in inputs.items()}
        got, confidence, *values = half.run(["ycc", "confidence", *inner], narrow)
        assert max(float(np.abs(value).max()) for value in values) < LARGEST_FLOAT16 / 4
        assert all(np.isfinite(value).all() for value in (got, confidence, *values))
        shown = [ycc_to_rgb(np.ascontiguousarray(one[0].transpose(1, 2, 0))) for one in (got, want)]
        assert metrics.ciede2000(*shown) < LARGEST_MEAN_CIEDE2000
        assert np.abs(confidence - sure).max() < LARGEST_CONFIDENCE_DIFFERENCE
        assert np.abs(want - frame["own"]).mean() > 0.001  # the reference has been looked at
    path = path.with_name(f"{path.stem}_picture.onnx")
    want = session(str(path), optimized=True).run(["keys"], picture)[0]
    model, inner = rounding(float16_twin(path))
    narrow = {name: one.astype(np.float16).astype(np.float32) for name, one in picture.items()}
    got, *values = session(model, optimized=False).run(["keys", *inner], narrow)
    assert max(float(np.abs(value).max()) for value in values) < LARGEST_FLOAT16 / 4
    assert float((got * want).sum(1).min()) > 0.995  # cosines: keys are of length 1


@pytest.mark.parametrize("band", catalog.BANDS)
def test_tensorrt_rtx_builds_both_graphs_in_float16(band: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="plans are built by TensorRT-RTX")
    height, width, cells = 64, 96, 96
    rows, columns = height // 8, width // 8
    place = (1, 2, rows, columns)
    of_frames: dict[str, tuple[int, ...]] = {
        "luma": (1, 1, height, width),
        "own": (1, 3, height, width),
        "sureness": (1, 1, height, width),
        "place": place,
        "keys": (1, 64, cells),
        "values": (1, cells, 8),
        "scene": (1, 64, 1, 1),
        "level": (1, 6, 1, 1),
        "bias": (1, 1, cells),
        "there": (1, 2, cells),
        "known": (1, 1, 1, 1),
        "strength": (1, 1, 1, 1),
    }
    of_picture = {"luma": (1, 1, height, width), "place": place, "small": (1, 3, rows, columns)}
    path = catalog.weights_path(catalog.REFERENCE.name, band)
    one = (1, height, width)
    for graph, shapes in ((path, of_frames), (path.with_name(f"{path.stem}_picture.onnx"), of_picture)):
        request = BuildRequest(float16_twin(graph), Profile(one, one, one), shapes=shapes)
        built = TensorRT("tensorrt-rtx").build(request)
        layers = parse_layers(built.layers)
        proof = prove_precision(layers, built.convolutions, "fp16", True)
        assert proof.proved == len(built.convolutions) >= 35
        assert not proof.unknown
        assert {layer.precision for layer in layers} == {"fp16"}
        assert len(built.plan) > 1_000_000
