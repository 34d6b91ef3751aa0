"""One contract for every runtime, the choice between them, and what is said when one is missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.cache import alone_in
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network import network
from irchroma.engines.network.network import RUNTIMES, NetworkOptions, installed, open_network
from irchroma.engines.network.weight_storage import float16_twin

TOLERANCE = {"openvino": 1e-5, "openvino bf16": 2e-2, "onnxruntime": 1e-5, "torch": 1e-5}
"""Largest difference of ycc: float32 sums differ in their last bits, bf16 has 8 bits."""


def pictures(count: int = 2, size: tuple[int, int] = (64, 96)) -> NDArray[np.float32]:
    return np.random.default_rng(7).random((count, 1, *size), np.float32)


def expected(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tiny network in numpy, but for the bilinear enlargement: its outputs at stride 4."""
    n, _, h, w = luma.shape
    features = luma.reshape(n, 1, h // 4, 4, w // 4, 4).mean((3, 5))
    body = features - 0.5 * features.mean((2, 3), keepdims=True)
    head, bias = np.array([0.2, -0.3, 0.4, 0.5]), np.array([0.4, 0.1, -0.1, 0.3])
    return (body * head[None, :, None, None] + bias[None, :, None, None]).astype(np.float32)


def require(runtime: str) -> None:
    if importlib.util.find_spec(RUNTIMES[runtime].library) is None:
        pytest.skip(f"{runtime} is not installed")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_the_same_color_for_a_batch_and_for_each_picture(
    runtime: str, tiny_network: Path
) -> None:
    require(runtime)
    one = open_network(tiny_network, NetworkOptions(runtime, threads=1, cache=None, exact=True))
    luma = pictures()
    ycc, confidence = (array.copy() for array in one.infer(luma))
    assert ycc.shape == (2, 3, 64, 96)
    assert confidence.shape == (2, 1, 64, 96)
    assert ycc.dtype == confidence.dtype == np.float32
    small = expected(luma)
    blocks = ycc[:, 1:].reshape(2, 2, 16, 4, 24, 4).mean((3, 5))  # means keep a bilinear surface's level
    np.testing.assert_allclose(blocks[:, :, 1:-1, 1:-1], small[:, 1:3, 1:-1, 1:-1], atol=0.05)
    np.testing.assert_allclose(ycc[:, :, 0, 0][:, 1:], small[:, 1:3, 0, 0], atol=TOLERANCE[runtime])
    for index in range(2):
        alone, _ = one.infer(luma[index : index + 1])
        np.testing.assert_allclose(alone[0], ycc[index], atol=TOLERANCE[runtime])
    one.close()
    one.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        one.infer(pictures(1, (32, 32)))


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if name != "onnxruntime"])
def test_runtimes_agree_on_every_pixel(runtime: str, tiny_network: Path) -> None:
    require(runtime)
    require("onnxruntime")
    luma = pictures(1)
    reference, _ = open_network(tiny_network, NetworkOptions("onnxruntime", cache=None)).infer(luma)
    exact = open_network(tiny_network, NetworkOptions(runtime, cache=None, exact=True))
    np.testing.assert_allclose(exact.infer(luma)[0], reference, atol=TOLERANCE[runtime])
    quick = open_network(tiny_network, NetworkOptions(runtime, cache=None))
    tolerance = TOLERANCE.get(quick.name, TOLERANCE[runtime])
    np.testing.assert_allclose(quick.infer(luma)[0], reference, atol=tolerance)


def test_auto_takes_the_first_runtime_that_is_installed_and_says_so(
    tiny_network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = next((name for name in RUNTIMES if network.installed(name)), None)
    if first is None:
        pytest.skip("no runtime is installed")
    with caplog.at_level(logging.INFO, logger="irchroma.engines.network.network"):
        chosen = open_network(tiny_network, NetworkOptions(cache=None))
    assert chosen.name.startswith(first)
    assert f"runtime {chosen.name}" in caplog.text


def test_auto_passes_over_a_missing_runtime_and_says_why(
    tiny_network: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("onnxruntime")
    absent = network.Runtime("irchroma.engines.absent", "no_such_library", "no-such-package", "absent")
    monkeypatch.setattr(network, "RUNTIMES", {"absent": absent, "onnxruntime": RUNTIMES["onnxruntime"]})
    with caplog.at_level(logging.INFO, logger="irchroma.engines.network.network"):
        assert open_network(tiny_network, NetworkOptions(cache=None)).name == "onnxruntime f32"
    assert "absent is not installed" in caplog.text
    with pytest.raises(EngineUnavailable, match=r"pip install 'irchroma\[absent\]'"):
        open_network(tiny_network, NetworkOptions("absent"))
    assert network.runtime_state("absent").startswith("missing: pip install")


def test_an_unknown_runtime_and_missing_or_broken_weights_are_one_clear_line(
    tiny_network: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineOptionError, match="unknown runtime 'cuda': use auto, openvino"):
        open_network(tiny_network, NetworkOptions("cuda"))
    with pytest.raises(EngineUnavailable, match="no weights at"):
        open_network(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    for runtime in filter(network.installed, RUNTIMES):
        with pytest.raises(EngineUnavailable, match=r"broken\.onnx") as caught:
            open_network(broken, NetworkOptions(runtime, cache=None))
        assert "\n" not in str(caught.value)


def test_the_cache_folder_is_under_xdg_cache_home_and_none_where_it_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert network.cache_folder() == tmp_path / "cache" / "irchroma" / "compiled"
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert network.cache_folder() is None


def test_openvino_keeps_compiled_networks_in_the_cache_and_survives_its_loss(
    tiny_network: Path, tmp_path: Path
) -> None:
    require("openvino")
    cache = tmp_path / "compiled"
    options = NetworkOptions("openvino", cache=cache, exact=True)
    first = open_network(tiny_network, options).infer(pictures(1))[0].copy()
    blobs = list(cache.glob("*.blob"))
    assert blobs
    for blob in blobs:
        blob.write_bytes(b"damaged")
    np.testing.assert_array_equal(open_network(tiny_network, options).infer(pictures(1))[0], first)


def test_openvino_follows_sizes_that_change_and_return(tiny_network: Path) -> None:
    require("openvino")
    one = open_network(tiny_network, NetworkOptions("openvino", cache=None, exact=True))
    before = one.infer(pictures(1))[0].copy()
    for side in (32, 64, 96, 128, 160):
        assert one.infer(pictures(1, (side, 32)))[0].shape == (1, 3, side, 32)
    np.testing.assert_array_equal(one.infer(pictures(1))[0], before)


def test_torch_computes_the_same_with_channels_last_in_memory() -> None:
    """As on a GPU, whose tensor cores take that order."""
    torch = pytest.importorskip("torch")
    from irchroma.engines.network.torch_runtime import TorchNetwork

    path = catalog.weights_path("nir", "fast")
    if not path.is_file():
        pytest.skip("no weights here")
    luma = torch.from_numpy(pictures(2, (64, 96)))
    plain, last = (TorchNetwork(path, NetworkOptions(), channels_last=how) for how in (False, True))
    for one, other in zip(plain.run(luma), last.run(luma), strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)
    weights = [value for value in last._values.values() if value.ndim == 4 and value.shape[2] > 1]
    assert weights
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in weights)


@pytest.mark.parametrize(("device", "last"), [("cuda:1", True), ("cpu", False)])
def test_torch_has_channels_last_in_memory_on_a_gpu(
    device: str, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from irchroma.engines.network.torch_runtime import TorchNetwork

    path = catalog.weights_path("nir", "fast")
    if not path.is_file():
        pytest.skip("no weights here")
    placed: list[Any] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda value, *where, **how: placed.append(how) or value)
    TorchNetwork(path, NetworkOptions(), device)
    assert (dict(memory_format=torch.channels_last) in placed) == last


@pytest.mark.parametrize(
    ("file", "half"), [("nir_fast.onnx", False), ("nir_fast.onnx", True), ("thermal_best.onnx", False)]
)
def test_torch_runs_a_network_without_ever_waiting_for_its_device(
    file: str, half: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's `meta` device has no values: a step that reads one, which recorded work must not do, fails."""
    require("torch")
    import torch

    from irchroma.engines.network.torch_runtime import TorchNetwork

    path = catalog.WEIGHTS / file
    if not path.is_file():
        pytest.skip("no weights here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = TorchNetwork(float16_twin(path) if half else path, NetworkOptions(), "meta")
    kind = torch.float16 if half else torch.float32
    ycc, confidence = one.run(torch.empty(1, 1, 64, 96, device="meta", dtype=kind))
    assert ycc.shape == (1, 3, 64, 96)
    assert confidence.shape == (1, 1, 64, 96)
    assert ycc.dtype == confidence.dtype == kind


@pytest.mark.parametrize("runtime", network.GPU_ONLY)
def test_runtimes_of_the_frame_path_are_told_from_unknown_ones(runtime: str, tiny_network: Path) -> None:
    with pytest.raises(EngineOptionError, match="whole videos"):
        open_network(tiny_network, NetworkOptions(runtime))


def test_what_openvino_enlarges_at_the_end_is_enlarged_by_opencv() -> None:
    pytest.importorskip("openvino")
    if not installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    from irchroma.engines.network.openvino_runtime import OpenVinoNetwork

    luma = np.random.default_rng(1).random((2, 1, 64, 96)).astype(np.float32)
    for engine, size in product(catalog.BANDS, catalog.SIZES):
        path = catalog.weights_path(engine, size)
        options = NetworkOptions("openvino", 2, cache=None, exact=True)
        cut, other = (
            OpenVinoNetwork(path, options),
            open_network(path, replace(options, runtime="onnxruntime")),
        )
        assert cut._shrunk, f"{path.stem} ends otherwise than known: it would be slower"
        kinds = {node.get_type_name() for node in cut._graph.model.get_ops()}
        assert "Softmax" not in kinds, f"{path.stem}: its softmax is not spared"
        for found, wanted in zip(cut.infer(luma), other.infer(luma), strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-5)
        cut.close()
        other.close()


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_openvino_tells_nobody_that_it_was_started(tmp_path: Path) -> None:
    program = (
        "import irchroma.engines.network.openvino_runtime, sys; print(sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
    assert list(tmp_path.iterdir()) == [], "no client of Google Analytics is made up"


_LEFT_BEHIND = """
import sys, threading
import numpy as np
from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions, open_network
network = open_network(catalog.weights_path("nir", "fast"), NetworkOptions("openvino", cache=None, threads=1))
begun, answered = threading.Event(), threading.Event()
def work():
    begun.set()
    while True:
        network.infer(np.zeros((1, 1, 512, 640), np.float32))
        answered.set()
threading.Thread(target=work, daemon=True).start()
(answered if sys.argv[1] == "infer" else begun).wait(60)
"""


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
@pytest.mark.parametrize("doing", ["compile", "infer"])
def test_a_program_ends_in_peace_while_a_thread_is_in_its_network(doing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEFT_BEHIND, doing],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_threads_that_read_openvino_s_arrays_first_do_not_wait_for_each_other_for_ever() -> None:
    """As a run that is measured does beside the network that colors meanwhile: the whole process stood."""
    program = f"""
import threading, time, numpy
import irchroma.engines.network.openvino_runtime
import openvino
graph = openvino.Core().read_model({str(catalog.weights_path("nir", "fast"))!r})
constants = [node for node in graph.get_ops() if node.get_type_name() == "Constant"][:2]
known = numpy.lib.NumpyVersion
def slow(text):
    time.sleep(0.5)
    return known(text)
numpy.lib.NumpyVersion = slow  # which the bindings ask at their first array
threads = [threading.Thread(target=lambda one=one: one.data) for one in constants]
for thread in threads:
    thread.start()
    time.sleep(0.1)
for thread in threads:
    thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_a_process_that_makes_the_same_is_not_read_half_way(
    tiny_network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a cold start of two, the second waits for the first, and does without where that takes too long."""
    from irchroma.engines.network import openvino_runtime

    asked: list[tuple[str | None, str]] = []

    @contextmanager
    def never(folder: str | None, what: str, **_: object) -> Iterator[bool]:
        asked.append((folder, what))
        yield False

    luma = np.zeros((1, 1, 32, 64), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(openvino_runtime, "alone_in", never)
        one = open_network(tiny_network, NetworkOptions("openvino", cache=tmp_path, exact=True))
        answer = one.infer(luma)[0].copy()
        one.close()
    ((folder, what),) = asked
    assert (folder, what.split()[0]) == (str(tmp_path), tiny_network.name)
    assert not list(tmp_path.glob("*.blob"))
    one = open_network(tiny_network, NetworkOptions("openvino", cache=tmp_path, exact=True))
    np.testing.assert_array_equal(one.infer(luma)[0], answer)
    one.close()
    assert list(tmp_path.glob("*.blob"))


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_a_program_that_ends_does_not_wait_for_another_s_network(tiny_network: Path, tmp_path: Path) -> None:
    """Ctrl-C at a cold start beside a second run's."""
    program = f"""
import threading
from pathlib import Path
import numpy as np
from irchroma.engines import cache
from irchroma.engines.network.network import NetworkOptions, open_network
waits, locked = threading.Event(), cache._locked
def told(*about):
    waits.set()
    return locked(*about)
cache._locked = told
one = open_network(Path({str(tiny_network)!r}), NetworkOptions("openvino", cache=Path({str(tmp_path)!r})))
luma = np.zeros((1, 1, 32, 64), np.float32)
threading.Thread(target=one.infer, args=(luma,), daemon=True).start()
assert waits.wait(30)
print("waits", flush=True)
"""
    what = f"{tiny_network.name} {dict(luma=(1, 1, 32, 64))}"
    with (
        alone_in(str(tmp_path), what) as alone,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run,
    ):
        assert alone
        assert run.stdout is not None
        assert run.stdout.readline() == "waits\n"
        assert run.wait(10) == 0
