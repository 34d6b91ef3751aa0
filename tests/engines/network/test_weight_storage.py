"""A network in float16 throughout: derived from the file that ships, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.network import weight_storage
from irchroma.engines.network.weight_storage import averaged, float16_twin, load, save

onnx = pytest.importorskip("onnx")

SHIPPED = catalog.weights_path("nir", "fast")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_twin_has_the_nodes_and_the_stored_weights_of_its_network() -> None:
    whole, half = load(SHIPPED).graph, load(float16_twin(SHIPPED)).graph
    assert [n.name for n in half.node] == [n.name for n in whole.node if n.op_type != "Cast"]
    stored = {t.name.removesuffix(".half"): onnx.numpy_helper.to_array(t) for t in whole.initializer}
    resized = {name for node in half.node if node.op_type == "Resize" for name in node.input[1:3]}
    for tensor in half.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name not in resized and stored[tensor.name].dtype.kind == "f":
            assert values.dtype == np.float16
            np.testing.assert_array_equal(values, stored[tensor.name].astype(np.float16))


def test_the_twin_is_made_once_and_again_for_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(SHIPPED.read_bytes())
    twin = float16_twin(path)
    made_ns = twin.stat().st_mtime_ns
    assert float16_twin(path) == twin
    assert twin.stat().st_mtime_ns == made_ns
    path.write_bytes(catalog.weights_path("thermal", "fast").read_bytes())
    other = float16_twin(path)
    assert other != twin
    assert other.read_bytes() != twin.read_bytes()


def test_a_network_in_float16_is_its_own_twin() -> None:
    twin = float16_twin(SHIPPED)
    assert float16_twin(twin) == twin


def test_weights_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    model = load(SHIPPED)
    large = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    large.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(large.dims), 1e5, np.float32), large.name))
    save(model, tmp_path / "large.onnx")
    with pytest.raises(EngineError, match=r"does not fit float16: its largest value is 1e\+05"):
        float16_twin(tmp_path / "large.onnx")
    assert not list((tmp_path / "cache").rglob("*.onnx"))


def test_a_disk_that_is_full_is_said_in_one_line() -> None:
    """A limit on the size of files is as good as a full disk, and hits none but the child."""
    program = (
        "import resource, signal; from irchroma.engines import catalog\n"
        "from irchroma.engines.errors import EngineUnavailable\n"
        "from irchroma.engines.network.weight_storage import float16_twin\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "try: float16_twin(catalog.weights_path('nir', 'fast'))\n"
        "except EngineUnavailable as error: print(error)\n"
    )
    words = [sys.executable, "-B", "-c", program]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace")
    assert done.stdout.endswith("nir_fast_fp16.onnx: it cannot be kept (file too large)\n"), done.stderr


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineUnavailable, match=r"none\.onnx: cannot be read"):
        float16_twin(tmp_path / "none.onnx")
    twin = float16_twin(SHIPPED)
    import_module = weight_storage.importlib.import_module

    def without_onnx(name: str) -> Any:
        if name == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'")
        return import_module(name)

    monkeypatch.setattr(weight_storage.importlib, "import_module", without_onnx)
    assert float16_twin(SHIPPED) == twin, "what was made before needs no onnx"
    twin.unlink()
    with pytest.raises(EngineUnavailable, match=r"onnx is missing: run pip install 'irchroma\[calibrate\]'"):
        float16_twin(SHIPPED)


def test_networks_with_more_weights_or_other_operations_are_not_averaged(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    model = load(SHIPPED)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "more"))
    save(model, other)
    for paths in ((SHIPPED, other), (other, SHIPPED)):
        with pytest.raises(EngineOptionError, match=f"{paths[1]} is another network .*: only one has more"):
            averaged(paths)
    model = load(SHIPPED)
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    save(model, other)
    with pytest.raises(EngineOptionError, match="its operations differ"):
        averaged((SHIPPED, other))
