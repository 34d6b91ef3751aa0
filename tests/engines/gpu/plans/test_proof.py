"""The inspector's text, as TensorRT-RTX 1.7.1 and TensorRT 10 word it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.engines.errors import PlanError
from irchroma.engines.gpu.plans import build
from irchroma.engines.gpu.plans.file import PlanSource
from irchroma.engines.gpu.plans.library import BuildRequest, Built, Profile
from irchroma.engines.gpu.plans.proof import Proof, parse_layers, prove_precision

# Of a build of nir:fast in float16 by TensorRT-RTX 1.7.1, two profiles; shortened to two layers.
RTX = """Layers:
Name: /encoder/stem/Conv_myl0_1, LayerType: correlation, Inputs: [ { Name: __myln_k_arg__bb1_2_myl0, \
Dimensions: [1,2,256,320], Strides: [163840,1,640,2], StrideOrder: [3,0,2,1], Datatype: Half, \
Format: (NHWC) Channel major format }], Constants: [ { Name: __mye4609_dconst_myl0, \
Dimensions: [32,2,3,3], Strides: [18,1,6,2], StrideOrder: [3,0,2,1], Datatype: Half, \
Format: (NHWC) Channel major format }, { Name: __mye5127_const_myl0, Dimensions: [1], Strides: [1], \
StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: \
/encoder/Clip_output_0.1_4_myl0, Dimensions: [1,32,128,160], Strides: [655360,1,5120,32], \
StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], \
TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: /encoder/stem/Conv][ONNX Layer: /encoder/Clip]
Name: /Conv [profile 1]_myl1_54, LayerType: correlation, Inputs: [ { Name: /Conv_output_0 [profile 1].1_57_myl1, \
Dimensions: [1,105,80,104], Strides: [873600,1,10920,105], StrideOrder: [3,0,2,1], Datatype: Float, \
Format: (NHWC) Channel major format }], Constants: [], Outputs: [ { Name: x, Dimensions: [1,2,80,104], \
Strides: [1,1,1,1], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], \
TacticName: t, StreamId: 0, Metadata: [ONNX Layer: /Conv]

I/O Tensors:
 Name: luma, IOMode: Input, DataType: Half, Dimensions: [1,1,256,320]
"""  # noqa: E501


# The form of TensorRT 10's log (a line of a public trtexec log of 2024, its names and sizes replaced).
TENSORRT_10 = """Layers:
Name: /stem/Conv + /Relu, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: Device, \
Dimensions: [1,3,64,96], Format/Datatype: Half }], Outputs: [ { Name: y, Location: Device, \
Dimensions: [1,8,32,48], Format/Datatype: Half }], ParameterType: Convolution, Kernel: [3,3], \
Weights: {"Type": "Half", "Count": 216}, TacticName: t, StreamId: 0, \
Metadata: [ONNX Layer: /stem/Conv][ONNX Layer: /Relu]
Name: /head/Conv_myl9_4, LayerType: gemm, Inputs: [ { Name: y, Dimensions: [1,8,32,48], \
Format/Datatype: Half }, \
{ Name: alpha, Dimensions: [1], Format/Datatype: Float }], Outputs: [ { Name: z, Dimensions: [1,4,32,48], \
Format/Datatype: Half }], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: /head/Conv]
"""


# What it says of an engine with a range of shapes (IEngineInspector.setExecutionContext: without a context,
# "-1 and format information will not be shown"); the first layer tells its weights, the second only its
# kernel, the third nothing.
TENSORRT_10_RANGE = """Layers:
Name: /stem/Conv + /Relu, LayerType: CaskConvolution, Inputs: [ { Name: luma, Location: Device, \
Dimensions: [-1,1,-1,-1], Format/Datatype: N/A due to dynamic shapes }], Outputs: [ { Name: y, \
Location: Device, Dimensions: [-1,8,-1,-1], Format/Datatype: N/A due to dynamic shapes }], \
ParameterType: Convolution, Kernel: [3,3], Weights: {"Type": "Half", "Count": 72}, TacticName: \
sm80_xmma_fprop_implicit_gemm_indexed_f16f16_f16f16_f16_nhwckcrs_nhwc_tilesize64x32x64_stage5, StreamId: 0, \
Metadata: [ONNX Layer: /stem/Conv]\x1e[ONNX Layer: /Relu]
Name: /mid/Conv, LayerType: CaskGemmConvolution, Inputs: [ { Name: y, Location: Device, \
Dimensions: [-1,8,-1,-1], Format/Datatype: N/A due to dynamic shapes }], Outputs: [ { Name: z, \
Location: Device, Dimensions: [-1,4,-1,-1], Format/Datatype: N/A due to dynamic shapes }], \
TacticName: sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize32x32x64, StreamId: 0
Name: /head/Conv, LayerType: CaskConvolution, Inputs: [ { Name: z, Location: Device, \
Dimensions: [-1,4,-1,-1], Format/Datatype: N/A due to dynamic shapes }], Outputs: [ { Name: o, \
Location: Device, Dimensions: [-1,2,-1,-1], Format/Datatype: N/A due to dynamic shapes }], \
TacticName: 0x0000000000000000, StreamId: 0, Metadata: [ONNX Layer: /head/Conv]
"""


def test_tensorrt_10_is_understood_as_well() -> None:
    layers = parse_layers(TENSORRT_10)
    assert [layer.precision for layer in layers] == ["fp16", "fp16"]
    assert [layer.output for layer in layers] == ["1x8x32x48", "1x4x32x48"]
    assert prove_precision(layers, ["/stem/Conv", "/head/Conv"], "fp16") == Proof(2)


def test_a_range_of_shapes_is_proved_by_weights_and_kernels_and_the_rest_is_said() -> None:
    layers = parse_layers(TENSORRT_10_RANGE)
    assert [(layer.factors, layer.told_by) for layer in layers] == [
        ("fp16", "weights"),
        ("fp16", "tactic"),
        ("", ""),
    ]
    assert [layer.output for layer in layers] == ["?x8x?x?", "?x4x?x?", "?x2x?x?"]
    assert [layer.origins for layer in layers] == [("/stem/Conv", "/Relu"), ("/mid/Conv",), ("/head/Conv",)]
    assert [layer.narrow_sum for layer in layers] == [True, False, False]
    names = ["/stem/Conv", "/mid/Conv", "/head/Conv"]
    assert prove_precision(layers, names, "fp16", static=False) == Proof(2, indirectly=2, unknown=1)
    with pytest.raises(PlanError, match=r"1 of 3 convolutions do not tell their precision \(/head/Conv\)"):
        prove_precision(layers, names, "fp16")
    with pytest.raises(PlanError, match="2 of 3 convolutions were not built in fp32"):
        prove_precision(layers, names, "fp32", static=False)
    assert prove_precision(layers, names[:1], "fp16") == Proof(1, indirectly=1)


def test_a_convolution_with_a_cast_joined_to_its_output_is_in_its_factors_precision() -> None:
    text = TENSORRT_10.replace(
        "Name: z, Dimensions: [1,4,32,48], Format/Datatype: Half",
        "Name: z, \
Dimensions: [1,4,32,48], Format/Datatype: Float",
    )
    assert text != TENSORRT_10
    layers = parse_layers(text)
    assert layers[1].precision == "fp16+fp32"
    assert layers[1].factors == "fp16"
    assert prove_precision(layers, ["/stem/Conv", "/head/Conv"], "fp16") == Proof(2)
    wide = parse_layers(TENSORRT_10.replace('"Type": "Half"', '"Type": "Float"'))
    with pytest.raises(PlanError, match="1 of 2 convolutions were not built in fp16"):
        prove_precision(wide, ["/stem/Conv", "/head/Conv"], "fp16")


def test_a_layer_is_read_with_its_shape_precision_and_origins() -> None:
    first, second = parse_layers(RTX)
    assert first.name == "/encoder/stem/Conv_myl0_1"
    assert first.kind == "correlation"
    assert first.precision == "fp16", "the scalar factors in float32 are no precision of the layer"
    assert first.output == "1x32x128x160"
    assert first.origins == ("/encoder/stem/Conv", "/encoder/Clip")
    assert second.precision == "fp16+fp32"
    assert second.origins == ("/Conv",)


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        ("Format/Datatype: Row major linear FP16 format", "fp16"),
        ("Format/Datatype: Row major linear FP32", "fp32"),
        ("Datatype: Int8", "int8"),
        ("Datatype: FP8", "fp8"),
        ("Datatype: BFloat16", "bf16"),
        ("Datatype: Int64", "int64"),
    ],
)
def test_precisions_have_one_name_each(said: str, precision: str) -> None:
    text = (
        f"Name: a, LayerType: Reformat, Inputs: [], Outputs: [ {{ Name: b, Dimensions: [2,3], {said} }}], x"
    )
    assert parse_layers(text)[0].precision == precision


def test_every_convolution_must_be_found_in_the_precision_asked_for() -> None:
    layers = parse_layers(RTX)
    assert prove_precision(layers, ["/encoder/stem/Conv"], "fp16") == Proof(1)
    with pytest.raises(
        PlanError, match=r"1 of 2 convolutions were not built in fp16 \(/Conv is fp16\+fp32\)"
    ):
        prove_precision(layers, ["/encoder/stem/Conv", "/Conv"], "fp16")
    with pytest.raises(PlanError, match="1 of 1 convolutions were not built in fp32"):
        prove_precision(layers, ["/encoder/stem/Conv"], "fp32")
    with pytest.raises(PlanError, match="/else is in no layer of the plan"):
        prove_precision(layers, ["/else"], "fp16")
    with pytest.raises(PlanError, match="no convolution"):
        prove_precision(layers, [], "fp16")


@pytest.mark.parametrize("engine", ["Half", "Float"])
def test_where_there_is_a_device_the_loaded_engine_decides(engine: str) -> None:
    """And not what the builder has written, of which nobody has seen TensorRT's own."""
    other = {"Half": "Float", "Float": "Half"}
    said = {kind: TENSORRT_10.replace("Half", kind) for kind in other}
    names = ("/stem/Conv", "/head/Conv")
    made = Built(b"a plan", said[other[engine]], names, (), None, None, 1.0)
    library: Any = SimpleNamespace(
        runtime="tensorrt",
        build=lambda request: made,
        load=bytes,
        inspect=lambda loaded, profile: said[engine],
    )
    request = BuildRequest(Path("a.onnx"), Profile((1, 64, 96), (1, 64, 96), (1, 64, 96)))
    source = PlanSource("a.onnx", "ab" * 32, "tensorrt", "11.4.0", "GPU", "9.0", "fp16", "1x64x96")
    device: Any = SimpleNamespace(driver="13.0")
    if engine == "Float":
        with pytest.raises(PlanError, match="2 of 2 convolutions were not built in fp16"):
            build._built(library, request, source, device, print)
        return
    header, _ = build._built(library, request, source, device, print)
    assert (header.told_by, header.convolutions) == ("engine", 2)
