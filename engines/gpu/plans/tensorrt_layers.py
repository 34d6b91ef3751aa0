"""Layers of a network as TensorRT has parsed it. The library is handed in, nothing here imports it."""

from __future__ import annotations

from typing import Any


def convolution_names(library: Any, network: Any) -> tuple[str, ...]:
    """All convolutions, by their ONNX names."""
    return tuple(layer.name for layer in _convolutions(library, network))


def quantized_names(library: Any, network: Any) -> tuple[str, ...]:
    """Convolutions whose input comes out of a dequantizing layer."""
    made = {
        layer.get_output(0).name for layer in _layers(network) if layer.type == library.LayerType.DEQUANTIZE
    }
    return tuple(layer.name for layer in _convolutions(library, network) if layer.get_input(0).name in made)


def _convolutions(library: Any, network: Any) -> list[Any]:
    kinds = (library.LayerType.CONVOLUTION, library.LayerType.DECONVOLUTION)
    return [layer for layer in _layers(network) if layer.type in kinds]


def _layers(network: Any) -> list[Any]:
    return [network.get_layer(index) for index in range(network.num_layers)]
