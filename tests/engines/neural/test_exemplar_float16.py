"""The reference engine's graphs in float16, strongly typed: colors of float32, no overflow, real plans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.network.test_fp16_accuracy import (
    LARGEST_CONFIDENCE_DIFFERENCE,
    LARGEST_FLOAT16,
    LARGEST_MEAN_CIEDE2000,
    rounding,
    session,
)

from irchroma.engines import catalog
from irchroma.engines.errors import PlanError
from irchroma.engines.gpu.plans.build import PlanOptions, ensure_plan
from irchroma.engines.measures import metrics
from irchroma.engines.network.network import NetworkOptions, open_graph, open_network
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.neural import exemplar, given_picture
from irchroma.engines.neural import tokens as reference_tokens
from irchroma.engines.recolor.color_space import ycc_to_rgb
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.placing import Placing

onnx = pytest.importorskip("onnx", reason="graphs are rewritten")
pytest.importorskip("onnxruntime", reason="graphs are run by ONNX Runtime")

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

    tokens = reference_tokens.encode(given, Listening())  # type: ignore[arg-type]
    own = open_network(catalog.weights_path(band, "fast"), OPTIONS)
    seen = np.ascontiguousarray(luma, np.float32)[None, None] / np.float32(255)
    ycc, sureness = (np.array(one) for one in own.infer(seen))
    rows, columns = (
        side // reference_tokens.CELL_PX for side in reference_tokens.encoded_size(rgb.shape[:2])
    )
    there, known = Placing(given.luma, (rows, columns)).at(np.ascontiguousarray(luma))
    frame = {
        "luma": seen,
        "own": ycc,
        "sureness": sureness,
        "place": reference_tokens.places(luma.shape[0] // 8, luma.shape[1] // 8),
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
        counts = exemplar.share_taken(given_picture.STRONGEST, known)  # the most that a frame is told
        told = {"known": known, "strength": counts}
        inputs = frame | {name: np.full((1, 1, 1, 1), one, np.float32) for name, one in told.items()}
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


def larger(folder: Path) -> Path:
    """Graphs of the form for GPUs with weights that nobody has trained."""
    pytest.importorskip("torch", reason="networks are exported by torch")
    from irchroma.engines.training.encoder import Encoder
    from irchroma.engines.training.exemplar.export import export_reference
    from irchroma.engines.training.exemplar.modules import LARGER_DIM
    from irchroma.engines.training.exemplar.network import ReferenceNetwork

    network = ReferenceNetwork(Encoder(1), Encoder(1), dim=LARGER_DIM)
    return export_reference(network, folder / "reference_larger.onnx")[0]


@pytest.mark.parametrize("form", [*catalog.BANDS, "larger"])
def test_tensorrt_rtx_builds_both_graphs_in_float16(form: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="plans are built by TensorRT-RTX")
    path = larger(tmp_path) if form == "larger" else catalog.weights_path(catalog.REFERENCE.name, form)
    dim = 192 if form == "larger" else 64
    height, width, cells = 64, 96, 96
    rows, columns = height // 8, width // 8
    place = (1, 2, rows, columns)
    of_frames: dict[str, tuple[int, ...]] = {
        "luma": (1, 1, height, width),
        "own": (1, 3, height, width),
        "sureness": (1, 1, height, width),
        "place": place,
        "keys": (1, dim, cells),
        "values": (1, cells, 8),
        "scene": (1, dim, 1, 1),
        "level": (1, 6, 1, 1),
        "bias": (1, 1, cells),
        "there": (1, 2, cells),
        "known": (1, 1, 1, 1),
        "strength": (1, 1, 1, 1),
    }
    of_picture = {"luma": (1, 1, height, width), "place": place, "small": (1, 3, rows, columns)}
    names = []
    for graph, shapes in ((path, of_frames), (path.with_name(f"{path.stem}_picture.onnx"), of_picture)):
        plan = ensure_plan(
            PlanOptions(
                shapes=f"1x{height}x{width}",
                runtime="tensorrt-rtx",
                folder=tmp_path,
                onnx=graph,
                inputs=shapes,
            )
        )
        nodes = onnx.load(graph).graph.node
        assert plan.header.convolutions == sum(node.op_type == "Conv" for node in nodes) >= 35
        assert {layer.precision for layer in plan.header.layers} == {"fp16"}
        assert plan.header.plan_bytes > 1_000_000
        names.append(plan.path.name)
    more = PlanOptions(
        shapes=f"1x{height}x{width}",
        runtime="tensorrt-rtx",
        build=False,
        folder=tmp_path,
        onnx=graph,
        inputs=of_picture | {"small": (1, 3, rows, 2 * columns)},
    )
    with pytest.raises(PlanError, match="no-build"):  # the plan of other shapes is not taken for it
        ensure_plan(more)
    assert len(set(names)) == 2
