"""From a trained network to the ONNX graph that ships.

Its weights are stored as float16 and cast back when it is loaded (every runtime folds the casts away), which
halves the repository's weight for an error below 0.05 %. Float16 throughout is derived from it, see
`irchroma.engines.network.weight_storage`.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from irchroma.engines.cache import replaced
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.network.confidence import with_trust_of
from irchroma.engines.network.record import TRAINED_KEY
from irchroma.engines.network.weight_storage import load, narrow_weights, save, widen_weights
from irchroma.engines.training.coloring_network import ColorAt, ColorNetwork
from irchroma.engines.training.encoder import ScaledConv

OPSET = 17
INPUT = "luma"
OUTPUTS = ("ycc", "confidence")
_Model = TypeVar("_Model", bound=nn.Module)


@dataclass(frozen=True)
class ExportOptions:
    """What is baked into the graph.

    Attributes:
        size: `fast` or `best`.
        saturation: factor on the chroma.
        vibrance: further factor, less 1, on chroma that is nearly neutral.
        engine: what was trained; "": the graph does not say.
    """

    size: str
    saturation: float = 1.0
    vibrance: float = 0.0
    engine: str = ""

    @property
    def of(self) -> str:
        """What the graph says that it is of: `nir:fast`."""
        return f"{self.engine}:{self.size}" if self.engine else ""


def export(network: ColorNetwork, path: Path, options: ExportOptions, start: Path | None = None) -> Path:
    """Write the graph of one size to `path`, and check it.

    Args:
        network: the trained network.
        path: of the graph.
        options: what is baked in.
        start: what the training began from; of a graph the calibrated confidence is kept, by the same size's.

    Raises:
        EngineUnavailable: onnx is not installed.
        EngineError: the graph does not pass onnx's checker.
    """
    exported = copy.deepcopy(network).cpu().float()
    model = fold(ColorAt(exported, options.size, saturation=options.saturation, vibrance=options.vibrance))
    write_graph(model, path, trained=options.of)
    keep_confidence(path, None if start is None else beside(start, options.size))
    return path


@dataclass(frozen=True)
class Ports:
    """A graph's inputs and outputs.

    Attributes:
        inputs: example of each input by name, float32.
        axes: of every input and output whose shape varies, the names of the varying axes.
        outputs: names.
    """

    inputs: dict[str, torch.Tensor]
    axes: dict[str, dict[int, str]]
    outputs: tuple[str, ...] = OUTPUTS


def _of_luma() -> Ports:
    axes = {name: {0: "N", 2: "H", 3: "W"} for name in (INPUT, *OUTPUTS)}
    return Ports({INPUT: torch.rand(1, 1, 64, 96)}, axes)


def write_graph(model: nn.Module, path: Path, ports: Ports | None = None, trained: str = "") -> Path:
    """Write any model from luma to `ycc` and `confidence`, or with other ports, as a graph, checked.

    Args:
        model: (N, 1, H, W) float32 in [0, 1], H and W multiples of 32 -> `ycc`, `confidence`.
        path: of the graph.
        ports: where they are others.
        trained: engine and size that the file says it is of; "": nothing.

    Raises:
        EngineUnavailable: onnx is not installed.
        EngineError: the graph does not pass onnx's checker.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable("exporting needs onnx: pip install irchroma[train]") from error
    ports = ports or _of_luma()
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated, but needs no onnxscript
        torch.onnx.export(
            model.eval(),
            tuple(ports.inputs.values()),
            str(partial),
            input_names=list(ports.inputs),
            output_names=list(ports.outputs),
            dynamic_axes=ports.axes,
            opset_version=OPSET,
            dynamo=False,
        )
    made = narrow_weights(onnx.load(str(partial)))
    partial.unlink()
    made.producer_name, made.producer_version = "irchroma", ""
    if trained:
        made.metadata_props.add(key=TRAINED_KEY, value=trained)
    try:
        onnx.checker.check_model(made, full_check=True)
    except onnx.checker.ValidationError as error:
        raise EngineError(f"the graph for {path.name} is not valid ONNX: {error}") from error
    with replaced(path) as whole:
        onnx.save(made, str(whole))
    return path


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a graph of `write_graph` by the names they had in training, float32.

    Raises:
        EngineUnavailable: onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise EngineUnavailable("weights are read with onnx: pip install irchroma[train]") from error
    return {
        one.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(one).astype(np.float32))
        for one in onnx.load(str(path)).graph.initializer
    }


def beside(graph: Path, size: str) -> Path:
    """The graph `NAME_SIZE.onnx` of another size, where it lies beside one."""
    return graph.with_name(f"{graph.stem.rpartition('_')[0]}_{size}.onnx")


def keep_confidence(path: Path, begun: Path | None) -> None:
    """Put the calibrated confidence of the graph that a training began from onto the one that it ended in.

    It tells strange pictures by the encoder's features, which change little in such a training, so it holds
    until it is calibrated again. A training that began from no graph of that size keeps its own confidence.
    """
    if begun is not None and begun.suffix == ".onnx" and begun.is_file():
        save(with_trust_of(load(path), widen_weights(load(begun))), path)


def fold(model: _Model) -> _Model:
    """Replace every `ScaledConv` by the plain convolution that it amounts to."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ScaledConv):
                setattr(module, name, _plain(child))
    return model


def _plain(conv: ScaledConv) -> nn.Conv2d:
    outputs, inputs, kernel, _ = conv.weight.shape
    plain = nn.Conv2d(inputs * conv.groups, outputs, kernel, conv.stride, conv.padding, groups=conv.groups)
    with torch.no_grad():
        plain.weight.copy_(conv.weight * conv.scale)
        plain.bias.copy_(conv.bias)
    return plain
