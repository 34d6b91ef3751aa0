"""A device that is asked for is given or refused in one line; `auto` takes the CPU where there is no GPU."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene

from irchroma.engines import choice
from irchroma.engines.choice import DeviceWish, FailedRuntimes, device_index, open_neural
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.device import Device, DeviceNetwork
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.plans import library
from irchroma.engines.network.line import BatchOptions
from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.reference.pictures import Reference, save_references

NO_GPU = probe.device_at() is None
without_gpu = pytest.mark.skipif(not NO_GPU, reason="this machine has a GPU")


def daytime_reference() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rgb = daytime_scene.draw(3)[0]
    return rgb, np.full(rgb.shape[:2], 255, np.uint8)


def options(path: Path, runtime: str, device: str) -> NeuralOptions:
    return NeuralOptions(weights=path, network=NetworkOptions(runtime, cache=None, device=device))


@pytest.mark.parametrize(
    ("text", "index"), [("auto", None), ("all", None), ("0", 0), ("3", 3), ("cuda:1", 1)]
)
def test_devices_are_named_by_number(text: str, index: int | None) -> None:
    assert device_index(text) == index


@pytest.mark.parametrize("text", ["gpu", "cuda", "cuda:", "-1", "1.5", ""])
def test_other_words_are_refused(text: str, tiny_network: Path) -> None:
    with pytest.raises(EngineOptionError, match="unknown device"):
        open_neural(options(tiny_network, "auto", text))


@pytest.mark.parametrize(
    ("runtime", "device"),
    [("tensorrt", "cpu"), ("tensorrt-rtx", "cpu"), ("openvino", "0"), ("onnxruntime", "cuda:1")],
)
def test_a_runtime_and_a_device_that_do_not_go_together_are_refused(
    runtime: str, device: str, tiny_network: Path
) -> None:
    with pytest.raises(EngineOptionError, match="contradicts"):
        open_neural(options(tiny_network, runtime, device))


@without_gpu
@pytest.mark.parametrize(("runtime", "device"), [("tensorrt", "auto"), ("auto", "0"), ("auto", "all")])
def test_the_engine_reference_is_not_quietly_the_cpu_s_where_a_gpu_is_asked_for(
    runtime: str, device: str
) -> None:
    network = NetworkOptions(runtime, cache=None, device=device)
    with pytest.raises(EngineUnavailable):
        open_neural(NeuralOptions(engine="reference", size="thermal", network=network))


def test_the_engine_reference_does_not_run_by_torch_on_a_gpu() -> None:
    network = NetworkOptions("torch", cache=None, device="0")
    with pytest.raises(EngineOptionError, match="tensorrt or tensorrt-rtx, not by torch"):
        open_neural(NeuralOptions(engine="reference", size="thermal", network=network))


def test_the_engine_reference_has_its_networks_on_the_gpu_that_is_named(
    monkeypatch: pytest.MonkeyPatch, host_kernels: HostKernels
) -> None:
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    opened = []

    def on_stand_in(runtime: str, index: int) -> Device:
        opened.append((runtime, index))
        if runtime == "tensorrt":
            raise EngineUnavailable("tensorrt is not installed")
        return CpuDevice(NetworkOptions("openvino", 1, cache=None), host_kernels)

    monkeypatch.setattr(choice, "open_device", on_stand_in)
    network = NetworkOptions(cache=None, device="cuda:1")
    wish = DeviceWish(size=(64, 96))
    colorizer = open_neural(NeuralOptions(engine="reference", size="thermal", network=network), wish)
    assert opened == [("tensorrt", 1), ("tensorrt-rtx", 1)]
    assert colorizer.name == "reference thermal, CPU device, openvino f32"
    colorizer.close()


@pytest.mark.parametrize("device", ["auto", "0"])
def test_a_network_that_a_reference_steers_is_on_the_gpu_with_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
    host_kernels: HostKernels,
    tiny_network: Path,
    tmp_path: Path,
    device: str,
) -> None:
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    monkeypatch.setattr(probe, "device_at", lambda index=0: probe.CudaDevice("stand-in", "9.0", "13.0"))
    on_cpu = NetworkOptions("openvino", 1, cache=None)
    monkeypatch.setattr(choice, "open_device", lambda runtime, index: CpuDevice(on_cpu, host_kernels))
    path = tmp_path / "day.png"
    save_references(path, [Reference(*daytime_reference())])
    asked = replace(options(tiny_network, "auto", device), reference=path)
    colorizer = open_neural(asked, DeviceWish(size=(64, 96)))
    assert isinstance(colorizer, DeviceColorizer)
    assert " + reference, CPU device" in colorizer.name
    colorizer.close()


@pytest.mark.parametrize("strength", [-0.1, 2.5])
def test_a_strength_has_limits(strength: float) -> None:
    with pytest.raises(EngineOptionError, match="0 to 2"):
        NeuralOptions(reference_strength=strength)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_used_where_there_is_no_gpu_and_where_it_is_asked_for(
    device: str, tiny_network: Path
) -> None:
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    if device == "auto" and not NO_GPU:
        pytest.skip("this machine has a GPU")
    colorizer = open_neural(options(tiny_network, "auto", device))
    assert isinstance(colorizer, NeuralColorizer)
    colorizer.close()


@without_gpu
@pytest.mark.parametrize("device", ["auto", "0"])
def test_tensorrt_without_a_gpu_is_one_clear_line(device: str, tiny_network: Path) -> None:
    runtime = "tensorrt-rtx" if library.installed("tensorrt-rtx") else "tensorrt"
    with pytest.raises(EngineUnavailable, match=r"driver|pycuda|installed") as caught:
        open_neural(options(tiny_network, runtime, device))
    assert "\n" not in str(caught.value)


@without_gpu
@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_a_gpu_by_number_is_never_replaced_by_the_cpu(runtime: str, tiny_network: Path) -> None:
    with pytest.raises(EngineError) as caught:
        open_neural(options(tiny_network, runtime, "0"))
    assert "\n" not in str(caught.value)


def test_a_device_needs_its_weights(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"none\.onnx"):
        open_neural(options(tmp_path / "none.onnx", "tensorrt", "auto"))


def test_auto_takes_the_next_runtime_after_one_that_failed_at_work(
    host_kernels: HostKernels, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with a GPU, by a CPU device in its place: the first runtime breaks in the middle of a run."""
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    network = NetworkOptions("openvino", 1, cache=None)
    asked: list[str] = []

    def open_here(runtime: str, index: int) -> CpuDevice:
        asked.append(runtime)
        if runtime == "tensorrt":
            raise EngineUnavailable("tensorrt is not here")
        return CpuDevice(network, host_kernels)

    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here)
    monkeypatch.setattr(choice, "open_device", open_here)
    wanted, run = options(tiny_network, "auto", "auto"), DeviceWish()
    first = open_neural(wanted, run)
    assert isinstance(first, DeviceColorizer)
    first.submit(np.full((64, 96), 90, np.uint8), 0)
    first.collect()
    assert first.chain is not None
    first.chain.network.close()
    first.submit(np.arange(6144, dtype=np.uint8).reshape(64, 96), 33_000_000)
    with pytest.raises(EngineError, match="closed"):
        first.collect()
    first.close()
    assert asked == ["tensorrt", "tensorrt-rtx"]
    second = open_neural(wanted, run)
    assert isinstance(second, DeviceColorizer)
    assert asked[2:] == ["tensorrt", "torch"]
    second.close()
    another_run = open_neural(wanted)  # what failed for one camera is not kept from the others
    assert asked[4:] == ["tensorrt", "tensorrt-rtx"]
    another_run.close()


def test_a_failure_counts_for_a_while_and_one_for_want_of_memory_not_at_all() -> None:
    failed, forgets = FailedRuntimes(), FailedRuntimes(keep_s=0.0)
    for memory in (failed, forgets):
        memory.note(("torch", 1), EngineError("device lost"))
    assert failed.reason(("torch", 1)) == "device lost"
    assert failed.reason(("torch", 0)) is None
    assert forgets.reason(("torch", 1)) is None
    wrapped = EngineError("a frame failed")
    wrapped.__cause__ = MemoryError()
    for error in (wrapped, EngineError("cuMemAlloc: out of memory (2)"), MemoryError()):
        failed.note(("tensorrt", 0), error)
    assert failed.reason(("tensorrt", 0)) is None


def test_all_gives_each_video_the_next_gpu(
    host_kernels: HostKernels, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with three GPUs, by CPU devices in their place."""
    asked: list[int] = []

    def open_here(runtime: str, index: int) -> CpuDevice:
        asked.append(index)
        return CpuDevice(NetworkOptions(cache=None), host_kernels)

    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here if index < 3 else None)
    monkeypatch.setattr(choice, "open_device", open_here)
    monkeypatch.setattr(choice, "_turn", itertools.count())
    for _ in range(4):
        open_neural(options(tiny_network, "tensorrt", "all")).close()
    assert asked == [0, 1, 2, 0]


def test_cameras_that_name_no_gpu_take_them_in_turn_and_share_a_network_on_each(
    host_kernels: HostKernels, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with two GPUs, by CPU devices in their place, and five cameras."""
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    network = NetworkOptions("openvino", 1, cache=None)
    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here if index < 2 else None)
    monkeypatch.setattr(choice, "open_device", lambda *_: CpuDevice(network, host_kernels))
    monkeypatch.setattr(choice, "_turn", itertools.count())
    pool = SharedPool(BatchOptions(0, 2), cameras=5)
    named = [
        ("tensorrt", "auto"),
        ("auto", "auto"),
        ("tensorrt", "auto"),
        ("tensorrt", "1"),
        ("tensorrt", "1"),
    ]
    cameras = [open_neural(options(tiny_network, *name), DeviceWish((64, 96), pool)) for name in named]
    figures = pool.figures()
    assert [(one["device"], one["cameras"]) for one in figures] == [(0, 2), (1, 3)]
    for camera in cameras:
        assert isinstance(camera, DeviceColorizer)
        camera.close()
    assert [one["cameras"] for one in pool.figures()] == [0, 0]
    alone = open_neural(options(tiny_network, "tensorrt", "auto"), DeviceWish((64, 96)))
    assert len(pool.figures()) == 2  # a run of one camera shares nothing
    alone.close()


@without_gpu
def test_all_gpus_of_a_machine_without_any_are_refused(tiny_network: Path) -> None:
    with pytest.raises(EngineUnavailable, match="there is none here"):
        open_neural(options(tiny_network, "auto", "all"))


def test_a_runtime_that_fails_over_the_first_frame_is_left_before_the_run_begins(
    host_kernels: HostKernels, tiny_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` on a machine with a GPU on which no network can be had: the CPU colors."""
    if not installed("openvino"):
        pytest.skip("openvino is not installed")

    class NoNetwork(CpuDevice):
        def open_network(self, path: Path, size: tuple[int, int]) -> DeviceNetwork:
            raise EngineError(f"no plan for {size}")

    here = probe.CudaDevice("stand-in", "9.0", "13.0")
    monkeypatch.setattr(probe, "device_at", lambda index=0: here)
    monkeypatch.setattr(choice, "open_device", lambda *_: NoNetwork(kernels=host_kernels))
    colorizer = open_neural(options(tiny_network, "auto", "auto"), DeviceWish((64, 96)))
    assert isinstance(colorizer, NeuralColorizer)
    colorizer.close()
    with pytest.raises(EngineUnavailable, match=r"no runtime works on device 0: .*no plan for \(64, 96\)"):
        open_neural(options(tiny_network, "auto", "0"), DeviceWish((64, 96)))
    with pytest.raises(EngineError, match="no plan for"):
        open_neural(options(tiny_network, "tensorrt-rtx", "auto"), DeviceWish((64, 96)))


def test_a_device_that_was_prepared_begins_with_its_first_frame(
    host_kernels: HostKernels, tiny_network: Path
) -> None:
    if not installed("openvino"):
        pytest.skip("openvino is not installed")
    network = NetworkOptions("openvino", 1, cache=None, exact=True)
    luma = np.arange(6144, dtype=np.uint8).reshape(64, 96)
    pictures = []
    for prepares in (True, False):
        colorizer = DeviceColorizer(
            NeuralOptions(weights=tiny_network, network=network), lambda: CpuDevice(network, host_kernels)
        )
        if prepares:
            colorizer.prepare((64, 96))
        colorizer.submit(luma, 5)
        pictures.append(colorizer.collect().rgb)
        colorizer.close()
    np.testing.assert_array_equal(*pictures)
