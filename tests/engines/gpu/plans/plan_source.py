"""Networks for the tests of plans: a shipped one, copied where a test may change it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from irchroma.engines import catalog
from irchroma.engines.gpu.plans.build import PlanOptions

SHAPE = "1x64x96"


def plan_options(folder: Path, precision: str = "fp16") -> PlanOptions:
    """For a plan of a copy of the shipped `nir:fast`, all of it under `folder`; TensorRT-RTX must be here."""
    pytest.importorskip("tensorrt_rtx", reason="plans are built by TensorRT-RTX")
    shipped = catalog.weights_path("nir", "fast")
    if not shipped.is_file():
        pytest.skip("weights of nir fast are not here")
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / shipped.name
    if not onnx.exists():
        shutil.copyfile(shipped, onnx)
    options = PlanOptions("nir", "fast", SHAPE, precision, "tensorrt-rtx")
    return replace(options, folder=folder, onnx=onnx)
