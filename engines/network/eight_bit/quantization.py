"""8-bit twins of a network, with Q/DQ nodes, by ONNX Runtime's quantizer; the only file that imports it.

`int8`: symmetric activations with one scale, weights with one scale for each output channel, biases in
float32: what OpenVINO and ONNX Runtime turn into 8-bit convolutions, and the form that TensorRT asks for.
Weights have 7 bits: processors without VNNI add pairs of products in 16 bits (`vpmaddubsw`), which with 8
bits saturate (255 * 127 * 2 > 32767) and with 7 cannot (255 * 64 * 2): there twins with 8 bits came out
24 to 27 dB from the float network, those with 7 as everywhere else.
`fp8`: E4M3, one scale for each tensor from its largest magnitude; for GPUs of compute capability 8.9 and
newer. CPU runtimes read it too, but calculate in float.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import importlib
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.cache import digest_of
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network import confidence
from irchroma.engines.network.eight_bit.verification import packed, picture
from irchroma.engines.network.network import Tensor
from irchroma.engines.network.record import ANSWER_KEY, RECORD_KEY, NetworkRecord, read_record
from irchroma.engines.network.weight_storage import load, save, widen_weights

PRECISIONS = ("int8", "fp8")
QUANTIZED_OPERATORS = ("Conv", "Add", "Relu", "Clip", "Resize", "GlobalAveragePool")
"""With convolutions alone the range in front of a Clip is spread over the 256 values: 36 dB between the
outputs of `nir:fast` and its twin rather than 43."""
FP8_LARGEST = 448.0  # OCP 8-bit floating point specification 1.0, table 1, E4M3
FP8_OPSET = 19  # the first whose QuantizeLinear knows float8
WEIGHT_LEVELS = 64
"""Of an int8 twin's weights, on either side of 0: 7 bits, see above."""
FLOAT_GROUPS = (
    "stem", "stages.0.0", "lateral16", "context", "down8", "lateral8", "down4", "lateral4", "head",
    "textured",
)  # fmt: skip
"""What stays in float in a twin for processors: the first layer, whose one input channel gains nothing, the
last ones, whose classes are near each other, and the narrow ones before and between scales: 4 % of the work
and, rounded, half of the flicker that is left where sums are not."""
SUMS = ("Add", "Resize", "GlobalAveragePool", "Relu", "Clip")
"""What reads a tensor as it was before it was rounded, in a twin for processors: there only what goes into an
8-bit convolution is rounded. Sums of blocks have few large values, so that a step of theirs is coarse, and
what sensor noise moves by a step flickers: the same twin of `nir:fast` with rounded sums had three times the
power of flicker that float does not have, in the same time."""
_GROUP_DEPTH = 3  # /encoder/stages.2/stages.2.0: one residual block


class Quantizer:
    """Makes 8-bit twins of one float network: `collect` ranges, then `twin` as often as needed.

    Attributes:
        groups: name of a group of layers -> its nodes, in the network's order; the layers after the last
            of them (softmax over the classes, confidence, upsampling) always stay in float.
    """

    def __init__(self, path: Path, precision: str, for_processor: bool = False) -> None:
        """Read the float network.

        Args:
            path: the ONNX file.
            precision: one of PRECISIONS.
            for_processor: the mixture that a CPU is fastest with: depthwise convolutions,
                `FLOAT_GROUPS` and `SUMS` in float, activations that are never negative as uint8.
                Of `nir:fast` at 256x320 that ran 1.35 times as fast as float on AVX2 (everything in int8:
                1.30) and kept more than 40 dB to it (34.1) before any tuning: depthwise ones gain nothing
                from 8 bits, and their few weights of different sizes lose most. TensorRT takes signed
                activations only.

        Raises:
            EngineUnavailable: it cannot be read, or onnx or onnxruntime is not installed.
            EngineOptionError: the precision is unknown, or the network is quantized already.
        """
        if precision not in PRECISIONS:
            raise EngineOptionError(f"unknown precision {precision!r}: use {' or '.join(PRECISIONS)}")
        if for_processor and precision != "int8":
            raise EngineOptionError(f"processors calculate {precision} in float: use int8")
        self._onnx = _library("onnx")
        self._tool = _library("onnxruntime.quantization")
        self.precision, self._for_processor = precision, for_processor
        if read_record(path) is not None:
            raise EngineOptionError(f"{path} is calibrated already: give the float network it was made from")
        try:
            model = widen_weights(self._onnx.load(str(path)))
        except Exception as error:
            raise EngineUnavailable(f"{path}: not an ONNX file ({str(error).splitlines()[0]})") from error
        self._kind = self._tool.QuantType.QInt8
        if precision == "fp8":
            if not hasattr(self._tool.QuantType, "QFLOAT8E4M3FN"):
                raise EngineUnavailable("fp8 needs a newer ONNX Runtime: pip install -U onnxruntime")
            self._kind = self._tool.QuantType.QFLOAT8E4M3FN
            model = self._onnx.version_converter.convert_version(model, FP8_OPSET)
        self._model = model
        self.groups = _groups(model, for_processor)
        if not self.groups:
            raise EngineOptionError(f"{path}: no layers named like irchroma's: expected one of its networks")
        self._folder = tempfile.TemporaryDirectory(prefix="irchroma-precision-")
        float_path = Path(self._folder.name) / "float.onnx"
        self._onnx.save(model, str(float_path))
        self._calibrator = self._tool.create_calibrator(
            float_path,
            list(QUANTIZED_OPERATORS),
            augmented_model_path=str(float_path.with_name("watched.onnx")),
            calibrate_method=self._tool.CalibrationMethod.MinMax,
        )
        self._ranges: Any = None

    def collect(self, luma: Tensor) -> None:
        """Widen the ranges by what one frame does: (1, 1, H, W) float32 in [0, 1], multiples of 32."""
        self._ranges = None
        self._calibrator.collect_data(_reader(self._tool, luma))

    def twin(self, path: Path, kept: Collection[str], record: NetworkRecord) -> Path:
        """Write the network with every group in 8 bits but those in `kept`.

        Args:
            path: where; replaced.
            kept: names of `groups`.
            record: written into the file; runtimes look at its precision.
        """
        unknown = set(kept) - set(self.groups)
        if unknown:
            raise EngineOptionError(f"no group of layers {', '.join(sorted(unknown))}")
        if self._ranges is None:
            self._ranges = self._calibrator.compute_data()
        wanted = {node for name, nodes in self.groups.items() if name not in kept for node in nodes}
        excluded = [node.name for node in self._model.graph.node if node.name not in wanted]
        options: dict[str, Any] = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        }
        if self.precision == "fp8":
            options["TensorQuantOverrides"] = self._fp8_scales()
        elif self._for_processor:
            options["TensorQuantOverrides"] = {
                name: [{"quant_type": self._tool.QuantType.QUInt8, "symmetric": False}]
                for name, found in self._ranges.items()
                if min(float(np.min(bound)) for bound in found.range_value) >= 0
            }
        quantizer = self._tool.QDQQuantizer(
            copy.deepcopy(self._model),
            self.precision == "int8",  # one scale for each channel
            self.precision == "int8",  # weights of 7 bits
            self._kind,
            self._kind,
            self._ranges,
            [],
            excluded,
            list(QUANTIZED_OPERATORS),
            options,
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        made = quantizer.model.model
        if self._for_processor:
            _round_inputs_alone(made)
        made.producer_name, made.producer_version = "irchroma", ""
        del made.metadata_props[:]
        for entry in self._model.metadata_props:
            if entry.key == confidence.LOGIT_KEY:
                _note(made, entry.key, entry.value)
        if self.precision == "int8":
            with_answer(made)
        _note(made, RECORD_KEY, record.as_json())
        self._onnx.checker.check_model(made)
        self._onnx.save(made, str(path))
        return path

    def close(self) -> None:
        """Remove temporary files; may be called twice."""
        self._calibrator = None
        self._folder.cleanup()

    def _fp8_scales(self) -> dict[str, list[dict[str, Any]]]:
        """ONNX Runtime's own scales for float8 follow the spread and lose what is far out; here all fits."""
        largest = {
            name: max(float(np.abs(bound).max()) for bound in found.range_value)
            for name, found in self._ranges.items()
        }
        for tensor in self._model.graph.initializer:
            values = self._onnx.numpy_helper.to_array(tensor)
            if values.ndim == 4:
                largest[tensor.name] = float(np.abs(values).max())
        float8 = _library("ml_dtypes").float8_e4m3fn
        return {
            name: [
                {
                    "scale": np.array(max(value, 1e-12) / FP8_LARGEST, np.float32),
                    "zero_point": np.array(0, float8),
                }
            ]
            for name, value in largest.items()
        }


def with_answer(model: Any) -> Any:
    """The same int8 model, its answer to the picture of `verification` written into it.

    Without optimizations every Q and DQ is carried out in float: exact integer arithmetic.
    """
    runtime = _library("onnxruntime")
    settings = runtime.SessionOptions()
    settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    answer = packed(session.run(["ycc"], {"luma": picture()})[0])
    _note(model, ANSWER_KEY, base64.b64encode(answer).decode())
    return model


def base_hash(source: Path) -> str:
    """SHA-256 of a float network's weights but those of its confidence, in hexadecimal."""
    helper, known = _library("onnx").numpy_helper, hashlib.sha256()
    for tensor in sorted(widen_weights(load(source)).graph.initializer, key=lambda one: str(one.name)):
        if not tensor.name.startswith(confidence.PREFIX):
            known.update(tensor.name.encode() + helper.to_array(tensor).astype(np.float32).tobytes())
    return known.hexdigest()


def renew(twin: Path, source: Path) -> bool:
    """Give a twin the confidence of its float network, where that alone was calibrated anew.

    Args:
        twin: replaced.
        source: the float network as it is now.

    Returns:
        False where the twin is of this very file already.

    Raises:
        EngineOptionError: the other weights have changed as well.
    """
    record, now = read_record(twin), digest_of(source)
    if record is not None and record.source_sha256 == now:
        return False
    if record is None or record.base_sha256 != base_hash(source):
        raise EngineOptionError(
            f"{twin.name} was made of other weights than {source.name}: make it anew, irchroma engines twins"
        )
    model = confidence.with_trust_of(load(twin), widen_weights(load(source)))
    _note(model, RECORD_KEY, replace(record, source_sha256=now).as_json())
    _library("onnx").checker.check_model(model)
    save(model, twin)
    return True


def _note(model: Any, key: str, value: str) -> None:
    entry = next((one for one in model.metadata_props if one.key == key), None) or model.metadata_props.add()
    entry.key, entry.value = key, value


def _groups(model: Any, for_processor: bool) -> dict[str, tuple[str, ...]]:
    """Residual blocks and single layers by name; what stands between two belongs to the one before."""
    found: dict[str, list[str]] = {}
    group = ""
    for node in model.graph.node:
        folders = [part for part in node.name.split("/") if part][:-1][:_GROUP_DEPTH]
        if len(folders) > 1:
            group = folders[-1]
        if for_processor and (group in FLOAT_GROUPS or _is_depthwise(node)):
            continue
        if group and folders and node.op_type in QUANTIZED_OPERATORS:
            found.setdefault(group, []).append(node.name)
    return {name: tuple(nodes) for name, nodes in found.items()}


def _round_inputs_alone(model: Any) -> None:
    """Make 8-bit convolutions the only readers of rounded values: all other nodes read them unrounded."""
    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    stored = {one.name for one in graph.initializer}

    def unrounded(name: str) -> str:
        while (node := maker.get(name)) is not None and node.op_type == "DequantizeLinear":
            rounding = maker.get(node.input[0])
            if rounding is None:  # a weight
                break
            name = rounding.input[0]
        return name

    for node in graph.node:
        if node.op_type in SUMS or node.name.startswith(confidence.PREFIX):
            node.input[:] = [unrounded(name) for name in node.input]
        elif node.op_type == "Conv" and node.input[1] in stored:
            node.input[0] = unrounded(node.input[0])
    while True:
        read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
        idle = [node for node in graph.node if not read.intersection(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)


def _is_depthwise(node: Any) -> bool:
    return any(about.name == "group" and about.i > 1 for about in node.attribute)


def _reader(tool: Any, luma: Tensor) -> Any:
    class OneFrame(tool.CalibrationDataReader):  # type: ignore[misc]
        """Gives one frame to ONNX Runtime's calibrator."""

        def __init__(self) -> None:
            self._left = [{"luma": luma}]

        def get_next(self) -> dict[str, Tensor] | None:
            return self._left.pop() if self._left else None

    return OneFrame()


def _library(name: str) -> Any:
    try:
        module = importlib.import_module(name)
        if name == "onnx":
            for part in ("checker", "numpy_helper", "version_converter"):
                importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise EngineUnavailable(
            f"calibrating precision needs onnx and onnxruntime ({error}):"
            " run pip install 'irchroma[calibrate]'"
        ) from error
    return module
