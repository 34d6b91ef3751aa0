"""Opens the engine that somebody has named, on what he asked for or on the first that works here."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeAlias

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.network.record import read_record, require_match
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.palette.colorizer import PaletteColorizer
from irchroma.engines.palette.gray import GrayColorizer
from irchroma.engines.palette.options import PaletteOptions, palette_from_name
from irchroma.engines.reference.pictures import load_references

if TYPE_CHECKING:  # the frame path on a GPU, a tenth of what a start loads, is imported where there is one
    from irchroma.engines.gpu.colorizer import DeviceColorizer
    from irchroma.engines.gpu.device import Device

log = logging.getLogger(__name__)

GPU_RUNTIMES = ("tensorrt", "tensorrt-rtx", "torch")
"""In the order in which `auto` tries them: the fastest first."""
_OF_TENSORRT = GPU_RUNTIMES[:2]
_turn = itertools.count()
_DEVICE = re.compile(r"(?:cuda:)?(\d+)$")
_BAN_S = 600.0

AnyColorizer: TypeAlias = (
    "NeuralColorizer | DeviceColorizer | AdjustableColorizer | PaletteColorizer | GrayColorizer"
)


class FailedRuntimes:
    """Runtimes that have failed in one run: `auto` passes them over for a while, then tries them again.

    An error for want of memory says nothing of the runtime and is not kept.

    Args:
        keep_s: seconds for which a failure counts.
    """

    def __init__(self, keep_s: float = _BAN_S) -> None:
        self._keep_s = keep_s
        self._failures: dict[tuple[str, int], tuple[float, str]] = {}

    def note(self, choice: tuple[str, int], error: Exception) -> None:
        """Keep in mind that a runtime failed on a device; any thread may call it."""
        if not _for_want_of_memory(error):
            self._failures[choice] = (time.monotonic(), str(error) or type(error).__name__)

    def reason(self, choice: tuple[str, int]) -> str | None:
        """Why not to take it; None where nothing speaks against it."""
        at_s, reason = self._failures.get(choice, (0.0, None))
        return reason if reason is not None and time.monotonic() - at_s < self._keep_s else None


def _for_want_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        text = f"{type(error).__name__} {error}".lower()
        if isinstance(error, MemoryError) or "out of memory" in text or "outofmemory" in text:
            return True
        error = error.__cause__
    return False


@dataclass(frozen=True, slots=True)
class DeviceWish:
    """What a video wants of a device beside its colorizer's options.

    Attributes:
        size: (H, W) of the frames to come, for which a device is prepared, so that what fails on it fails
            before the first of them; None where it is not known.
        pool: gives networks that other cameras use too; None for networks of its own.
        planes: a GPU gives its pictures as I420 for encoders.
        stays: it keeps them in its memory, for encoders there.
        failed: the run's memory of what did not work.
    """

    size: tuple[int, int] | None = None
    pool: SharedPool | None = None
    planes: bool = False
    stays: bool = False
    failed: FailedRuntimes = field(default_factory=FailedRuntimes)


@dataclass(frozen=True, slots=True)
class ColorizerOptions:
    """How the engine that is opened colors, whichever it is.

    Attributes:
        neural: of a network; its `engine` is the name's, and its `size` where the name says one.
        palette: of false color; a name with a palette (`palette:ironbow`) takes its degrees from here only.
        wish: see `DeviceWish`.
        open_on_cpu: makes a network's colorizer instead of `open_neural`, for instance one that adjusts
            itself; None for that.
    """

    neural: NeuralOptions = field(default_factory=NeuralOptions)
    palette: PaletteOptions = field(default_factory=PaletteOptions)
    wish: DeviceWish = field(default_factory=DeviceWish)
    open_on_cpu: Callable[[NeuralOptions], AdjustableColorizer] | None = None


def open_colorizer(text: str, options: ColorizerOptions | None = None) -> AnyColorizer:
    """The engine of that name (`nir`, `nir:best`, `thermal:fast`, `palette:ironbow`, `gray`).

    Raises:
        EngineOptionError: there is no such engine, or an option makes no sense for it.
        EngineUnavailable: what was asked for is not here.
        EngineError: it does not work here.
    """
    options = options or ColorizerOptions()
    name = _checked_name(text, options.neural)
    if name.kind == "gray":
        return GrayColorizer()
    if name.kind == "palette":
        palette = options.palette
        if name.variant is not None:
            palette = palette_from_name(text, gain=palette.gain, offset=palette.offset)
        return PaletteColorizer(palette)
    neural = replace(options.neural, engine=name.kind, size=name.variant or options.neural.size)
    if options.open_on_cpu is not None:
        if neural.network.device not in ("auto", "cpu"):
            raise EngineOptionError(
                f"auto settings govern the CPU: device {neural.network.device} contradicts them"
            )
        if neural.engine == catalog.REFERENCE.name and neural.network.runtime in _OF_TENSORRT:
            raise EngineOptionError(
                f"auto settings govern the CPU: runtime {neural.network.runtime} contradicts them"
            )
        return options.open_on_cpu(neural)
    return open_neural(neural, options.wish)


def check_colorizer(text: str, options: ColorizerOptions) -> None:
    """Raise what `open_colorizer` would of options that cannot be, without loading a network.

    Args:
        text: as there, or `auto` for a network whose band is not known yet.
        options: as there.
    """
    auto = text == "auto"
    if auto and options.neural.weights is not None:
        read_record(options.neural.weights)
    name = catalog.EngineName("nir") if auto else _checked_name(text, options.neural)
    if name.kind == "palette":
        open_colorizer(text, options).close()
    if name.neural:
        device_index(options.neural.network.device)
        if options.neural.reference is not None:
            load_references(options.neural.reference)


def _checked_name(text: str, neural: NeuralOptions) -> catalog.EngineName:
    name = catalog.parse(text)
    if neural.reference is not None and not name.neural:
        raise EngineOptionError(f"--reference steers the color of networks, not of {text}")
    if neural.weights is not None:
        if not name.neural:
            raise EngineOptionError(f"--weights is a network for nir or thermal, not {text}")
        by_reference = catalog.frames_graph(neural.weights) is not None
        if by_reference and name.kind != catalog.REFERENCE.name:
            raise EngineOptionError(f"{neural.weights} colors by a reference: use --engine reference")
        if by_reference:
            return name
        if name.kind == catalog.REFERENCE.name:
            require_match(neural.weights, str(name.variant), "fast")
        else:
            require_match(neural.weights, name.kind, name.variant)
    return name


def open_neural(options: NeuralOptions, wish: DeviceWish | None = None) -> NeuralColorizer | DeviceColorizer:
    """The colorizer for `options.network.runtime` and `options.network.device`.

    With `auto` for both, a GPU is used where one is and a runtime for it works, the CPU otherwise; that is
    logged. A device that fails at work later is not chosen again by `auto` for a
    while when the run opens its engine anew.
    Anything asked for by name is given or refused. With `all`, and with `auto` where several cameras share
    the process, each video takes the next GPU in turn, and so does one whose engine is opened anew because
    its GPU was lost.

    Raises:
        EngineUnavailable: what was asked for is not here.
        EngineOptionError: there is no such device or runtime, or the two do not go together.
    """
    wish = wish or DeviceWish()
    runtime, device = options.network.runtime, options.network.device
    index = _next_in_turn() if device == "all" else device_index(device)
    if device == "cpu" or (runtime not in (*GPU_RUNTIMES, "auto")):
        if runtime in _OF_TENSORRT:
            raise EngineOptionError(f"runtime {runtime} runs on a GPU: --device {device} contradicts it")
        if index is not None:
            raise EngineOptionError(f"runtime {runtime} runs on the CPU: --device {device} contradicts it")
        return _on_cpu(options, wish)
    if options.engine == catalog.REFERENCE.name:
        return _by_reference(options, index, wish)
    if runtime in _OF_TENSORRT or (runtime == "torch" and index is not None):
        index = _spread(wish.pool) if index is None else index
        return _prepared(_on_gpu(options, (runtime, index), wish), wish.size)
    if runtime == "torch" and probe.device_at() is None:
        return _on_cpu(options, wish)
    tried = (runtime,) if runtime != "auto" else GPU_RUNTIMES
    index = _spread(wish.pool) if index is None else index
    return _first_that_works(options, [(one, index) for one in tried], wish)


def _by_reference(options: NeuralOptions, index: int | None, wish: DeviceWish) -> NeuralColorizer:
    """The engine `reference`: its networks on a GPU that is asked for by name; the rest is the CPU's."""
    runtime = options.network.runtime
    if index is None and runtime not in _OF_TENSORRT:
        return _on_cpu(options, wish)
    if runtime == "torch":
        raise EngineOptionError(
            f"engine reference runs on a GPU by {' or '.join(_OF_TENSORRT)}, not by torch"
        )
    index = _spread(wish.pool) if index is None else index
    found = []
    for one in _OF_TENSORRT if runtime == "auto" else (runtime,):
        try:
            return _networks_on_gpu(options, (one, index), wish)
        except EngineError as error:
            if runtime != "auto":
                raise
            found.append(f"{one}: {error}")
    raise EngineUnavailable(f"no runtime works on device {options.network.device}: {'; '.join(found)}")


def _networks_on_gpu(options: NeuralOptions, choice: tuple[str, int], wish: DeviceWish) -> NeuralColorizer:
    from irchroma.engines.gpu.capture.graphs import GraphsOnDevice

    device = open_device(*choice)
    graphs = GraphsOnDevice(device)
    try:
        colorizer = NeuralColorizer(options, opener=graphs.open_network, graphs=graphs.open_graph)
    except BaseException:
        device.close()
        raise
    try:
        if wish.size is not None:
            colorizer.prepare(wish.size)
    except BaseException:
        colorizer.close()
        raise
    return colorizer


def _on_cpu(options: NeuralOptions, wish: DeviceWish) -> NeuralColorizer:
    return NeuralColorizer(options) if wish.pool is None else NeuralColorizer(options, opener=wish.pool.open)


def _next_in_turn() -> int:
    count = probe.device_count()
    if count == 0:
        why = probe.driver_fault() or "there is none here"
        raise EngineUnavailable(f"--device all needs an NVIDIA GPU and its driver: {why}")
    return next(_turn) % count


def _spread(pool: SharedPool | None) -> int:
    """The GPU of a video that names none: the first, or the next one where there are several videos."""
    several = pool is not None and pool.cameras > 1 and probe.device_count() > 1
    return _next_in_turn() if several else 0


def _on_gpu(
    options: NeuralOptions,
    choice: tuple[str, int],
    wish: DeviceWish,
    on_failure: Callable[[Exception], None] | None = None,
) -> DeviceColorizer:
    from irchroma.engines.gpu.colorizer import DeviceColorizer
    from irchroma.engines.gpu.frames.batching import seat_on_device

    opener = partial(open_device, *choice)
    seat = None
    if wish.pool is not None and wish.pool.cameras > 1:
        seat = partial(seat_on_device, wish.pool, choice, opener)
    return DeviceColorizer(
        options, opener, on_failure=on_failure, open_seat=seat, packs=wish.planes, stays=wish.stays
    )


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
    if runtime == "torch":
        if find_spec("torch") is None:
            raise EngineUnavailable("runtime torch is not installed: run pip install 'irchroma[train]'")
        from irchroma.engines.gpu.cuda.torch_device import TorchDevice

        return _checked(TorchDevice(index))
    from irchroma.engines.gpu.plans import library

    library.TensorRT(runtime)  # says what is missing of the library before the device is touched
    from irchroma.engines.gpu.cuda.pycuda_device import PyCudaDevice

    return _checked(PyCudaDevice(index, runtime))


def _checked(device: Device) -> Device:
    from irchroma.engines.gpu.check import check_kernels, check_motion

    try:
        off = check_kernels(device)
        check_motion(device)
    except BaseException:
        device.close()
        raise
    log.debug("%s colors a test picture as the CPU does, %.4f levels off", device.name, off)
    return device


def _first_that_works(
    options: NeuralOptions, choices: Sequence[tuple[str, int]], wish: DeviceWish
) -> NeuralColorizer | DeviceColorizer:
    if options.network.device == "auto" and probe.device_at() is None:
        return _on_cpu(options, wish)
    passed_over = []
    for choice in choices:
        before = wish.failed.reason(choice)
        if before is not None:
            passed_over.append(f"{choice[0]} has failed before: {before}")
            continue
        try:
            colorizer = _on_gpu(options, choice, wish, partial(wish.failed.note, choice))
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
    return _on_cpu(options, wish)


def _prepared(colorizer: DeviceColorizer, size: tuple[int, int] | None) -> DeviceColorizer:
    try:
        if size is not None:
            colorizer.prepare(size)
    except BaseException:
        colorizer.close()
        raise
    return colorizer
