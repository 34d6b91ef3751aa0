"""Which device colors a video: what the user asked for, or the first that works here."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.check import check_kernels
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.plans import library
from irchroma.engines.gpu.pool import DevicePool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions

log = logging.getLogger(__name__)

OnCpu = Callable[[NeuralOptions], NeuralColorizer]
GPU_RUNTIMES = ("tensorrt", "tensorrt-rtx", "torch")
"""In the order in which `auto` tries them: the fastest first."""
_turn = itertools.count()
_failed: dict[tuple[str, int], str] = {}
_DEVICE = re.compile(r"(?:cuda:)?(\d+)$")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a video wants of a GPU; see `open_neural`."""

    size: tuple[int, int] | None
    sharing: DevicePool | None
    packs: bool


def open_neural(
    options: NeuralOptions,
    on_cpu: OnCpu = NeuralColorizer,
    size: tuple[int, int] | None = None,
    sharing: DevicePool | None = None,
    packs: bool = False,
) -> NeuralColorizer | DeviceColorizer:
    """The colorizer for `options.network.runtime` and `options.network.device`.

    With `auto` for both, a GPU is used where one is and a runtime for it works, the CPU otherwise; that is
    logged. A device that fails at work later is not chosen again by `auto` when the engine is opened anew.
    Anything asked for by name is given or refused. With `all`, and with `auto` where several cameras share
    the process, each video takes the next GPU in turn, and so does one whose engine is opened anew because
    its GPU was lost.

    Args:
        options: of the colorizer.
        on_cpu: makes it where the CPU colors, for instance with a network that other videos share.
        size: (H, W) of the frames to come, for which a device is prepared, so that what fails on it fails
            before the first of them; None where it is not known.
        sharing: gives networks on a GPU that other cameras use too; None for networks of its own.
        packs: a GPU gives its pictures as I420 for encoders, see `device_picture`.

    Raises:
        EngineUnavailable: what was asked for is not here.
        EngineOptionError: there is no such device or runtime, or the two do not go together.
    """
    runtime, device = options.network.runtime, options.network.device
    index = _next_in_turn() if device == "all" else device_index(device)
    if device == "cpu" or (runtime not in (*GPU_RUNTIMES, "auto")):
        if runtime in library.LIBRARIES:
            raise EngineOptionError(f"runtime {runtime} runs on a GPU: --device {device} contradicts it")
        if index is not None:
            raise EngineOptionError(f"runtime {runtime} runs on the CPU: --device {device} contradicts it")
        return on_cpu(options)
    if runtime in library.LIBRARIES or (runtime == "torch" and index is not None):
        index = _spread(sharing) if index is None else index
        return _prepared(_on_gpu(options, (runtime, index), _Wish(size, sharing, packs)), size)
    if options.reference is not None and index is None:
        return on_cpu(options)  # its steering is the CPU's
    if runtime == "torch" and probe.device_at() is None:
        return on_cpu(options)
    tried = (runtime,) if runtime != "auto" else GPU_RUNTIMES
    index = _spread(sharing) if index is None else index
    wish = _Wish(size, sharing, packs)
    return _first_that_works(options, [(one, index) for one in tried], on_cpu, wish)


def _next_in_turn() -> int:
    count = probe.device_count()
    if count == 0:
        raise EngineUnavailable("--device all needs an NVIDIA GPU and its driver: there is none here")
    return next(_turn) % count


def _spread(sharing: DevicePool | None) -> int:
    """The GPU of a video that names none: the first, or the next one where there are several videos."""
    several = sharing is not None and probe.device_count() > 1
    return _next_in_turn() if several else 0


def _on_gpu(
    options: NeuralOptions,
    choice: tuple[str, int],
    wish: _Wish,
    on_failure: Callable[[Exception], None] | None = None,
) -> DeviceColorizer:
    opener = partial(open_device, *choice)
    seat = None if wish.sharing is None else partial(wish.sharing.seat, choice, opener)
    return DeviceColorizer(options, opener, on_failure=on_failure, open_seat=seat, packs=wish.packs)


def device_index(text: str) -> int | None:
    """The GPU's index of `0` or `cuda:0`; None for `auto`, `all` and `cpu`.

    Raises:
        EngineOptionError: it is none of these.
    """
    if text in ("auto", "all", "cpu"):
        return None
    found = _DEVICE.match(text)
    if found is None:
        raise EngineOptionError(f"unknown device {text!r}: use auto, cpu, all, or a GPU: 0, cuda:0 ...")
    return int(found[1])


def open_device(runtime: str, index: int) -> Device:
    """A GPU for one of GPU_RUNTIMES.

    Raises:
        EngineUnavailable: driver, PyCUDA, library or compiler are not here; one line says which.
        EngineError: the GPU does not color a test picture as the CPU does.
        EngineOptionError: there is no such GPU.
    """
    probe.ask_for_queues()
    if runtime == "torch":
        if find_spec("torch") is None:
            raise EngineUnavailable("runtime torch is not installed: run pip install 'irchroma[train]'")
        from irchroma.engines.gpu.cuda.torch_device import TorchDevice

        return _checked(TorchDevice(index))
    library.TensorRT(runtime)  # says what is missing of the library before the device is touched
    from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

    return _checked(PyCudaDevice(index, runtime))


def _checked(device: Device) -> Device:
    try:
        off = check_kernels(device)
    except BaseException:
        device.close()
        raise
    log.debug("%s colors a test picture as the CPU does, %.4f levels off", device.name, off)
    return device


def _first_that_works(
    options: NeuralOptions,
    choices: Sequence[tuple[str, int]],
    on_cpu: OnCpu,
    wish: _Wish,
) -> NeuralColorizer | DeviceColorizer:
    if options.network.device == "auto" and probe.device_at() is None:
        return on_cpu(options)
    passed_over = []
    for choice in choices:
        if choice in _failed:
            passed_over.append(f"{choice[0]} has failed before: {_failed[choice]}")
            continue
        try:
            colorizer = _on_gpu(options, choice, wish, partial(_remember, choice))
            _prepared(colorizer, wish.size)
        except Exception as error:  # noqa: BLE001 (a library that answers otherwise than expected: the next one)
            passed_over.append(str(error) or type(error).__name__)
            continue
        log.info("runtime auto: %s (%s)", colorizer.name, "; ".join(passed_over) or "there is a GPU")
        return colorizer
    why = "; ".join(passed_over)
    if options.network.device != "auto":
        raise EngineUnavailable(f"no runtime works on device {options.network.device}: {why}")
    log.warning("the GPU is not used: %s", why)
    return on_cpu(options)


def _prepared(colorizer: DeviceColorizer, size: tuple[int, int] | None) -> DeviceColorizer:
    try:
        if size is not None:
            colorizer.prepare(size)
    except BaseException:
        colorizer.close()
        raise
    return colorizer


def _remember(choice: tuple[str, int], error: Exception) -> None:
    """`auto` does not choose again what has failed at work: the run goes on with the next runtime."""
    _failed[choice] = str(error) or type(error).__name__
