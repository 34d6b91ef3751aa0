"""From a trained reference network to its two graphs: one for the frames, one for the picture given."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from irchroma.engines.training.exemplar.modules import places
from irchroma.engines.training.exemplar.network import (
    CELL_PX,
    ExportedMatcher,
    ReferenceNetwork,
    ReferenceSide,
    statistics,
)
from irchroma.engines.training.export import Ports, fold, write_graph

FRAME, CELLS = {2: "H", 3: "W"}, {2: "h", 3: "w"}


def export_reference(network: ReferenceNetwork, path: Path) -> list[Path]:
    """Write `path` for the frames and `*_picture.onnx` beside it for the reference.

    Returns:
        Everything that was written.
    """
    exported = copy.deepcopy(network).cpu().float().eval()
    frames = write_graph(fold(ExportedMatcher(exported)), path, _frame_ports(network.dim))
    side: ReferenceSide = copy.deepcopy(network.reference).cpu().float().eval()
    picture = path.with_name(f"{path.stem}_picture.onnx")
    return [frames, write_graph(fold(side), picture, _picture_ports())]


def _frame_ports(dim: int) -> Ports:
    height, width, cells = 64, 96, 40
    inputs = {
        "luma": torch.rand(1, 1, height, width),
        "own": torch.rand(1, 3, height, width),
        "sureness": torch.rand(1, 1, height, width),
        "place": places(1, height // CELL_PX, width // CELL_PX),
        "keys": torch.rand(1, dim, cells),
        "values": torch.rand(1, cells, 8),
        "scene": torch.rand(1, dim, 1, 1),
        "level": statistics(torch.rand(1, 3, 4, 4)),
        "bias": torch.zeros(1, 1, cells),
        "there": torch.rand(1, 2, cells),
        "known": torch.ones(1, 1, 1, 1),
        "strength": torch.ones(1, 1, 1, 1),
    }
    axes = {name: FRAME for name in ("luma", "own", "sureness", "ycc", "confidence")}
    return Ports(
        inputs,
        axes | {"place": CELLS, "keys": {2: "M"}, "values": {1: "M"}, "bias": {2: "M"}, "there": {2: "M"}},
    )


def _picture_ports() -> Ports:
    height, width = 64, 96
    inputs = {
        "luma": torch.rand(1, 1, height, width),
        "place": places(1, height // CELL_PX, width // CELL_PX),
        "small": torch.rand(1, 3, height // CELL_PX, width // CELL_PX),
    }
    return Ports(inputs, {"luma": FRAME, "place": CELLS, "small": CELLS, "keys": {2: "M"}}, ("keys", "scene"))
