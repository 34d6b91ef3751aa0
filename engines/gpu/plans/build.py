"""From a shipped network to a cached TensorRT plan: built once, used while all that it depends on stays."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable, PlanError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.plans import library as tensorrt_adapter
from irchroma.engines.gpu.plans.file import (
    PlanHeader,
    PlanSource,
    build_lock,
    file_sha256,
    read_header,
    why_unusable,
    write_plan,
)
from irchroma.engines.gpu.plans.library import BuildRequest, Profile, Size, TensorRT
from irchroma.engines.gpu.plans.proof import EIGHT_BIT, parse_layers, prove_precision
from irchroma.engines.network import network

log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "fp32", "int8", "fp8")
STRIDE_PX = 32
"""Networks take heights and widths that are multiples of this."""
SHAPES = {"fast": "1x256x320,1x192x320", "best": "1x352x416,1x256x416"}
"""Default `--shapes`: work sizes of 5:4 and 16:9 cameras, one profile each, padded to multiples of 32."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Which plan.

    Attributes:
        engine: `nir` or `thermal`.
        size: `fast` or `best`.
        shapes: as `parse_shapes` takes it; None for the size's own.
        precision: one of PRECISIONS.
        runtime: `tensorrt` or `tensorrt-rtx`; None for TensorRT where it and a device are here, else RTX.
        build: False to refuse, with the reason, what would have to be built.
        folder: where plans are kept; None for the user's cache.
        onnx: a network of the user's own instead of the one that ships, already in that precision.
        device: index of the device to build for.
    """

    engine: str = "nir"
    size: str = "best"
    shapes: str | None = None
    precision: str = "fp16"
    runtime: str | None = None
    build: bool = True
    folder: Path | None = None
    onnx: Path | None = None
    device: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that can be used.

    Attributes:
        path: its file.
        header: what it says about itself.
        reason: why it was built just now; None where it was there.
    """

    path: Path
    header: PlanHeader
    reason: str | None


def ensure_plan(
    options: PlanOptions,
    progress: tensorrt_adapter.Progress | None = None,
    say: Callable[[str], None] = log.info,
) -> Plan:
    """The plan asked for, from the cache where it is usable, built otherwise.

    Args:
        options: which.
        progress: see `BuildRequest`.
        say: told why a plan is built and for whom it waits, one line each.

    Raises:
        PlanError: it cannot be built, is not in the precision asked for, or may not be built.
        EngineUnavailable: the runtime, the network or a folder for plans is not here.
        EngineOptionError: an option makes no sense.
    """
    profiles, onnx = _checked(options)
    device = probe.device_at(options.device)
    runtime = options.runtime or _choose(device is not None)
    library = TensorRT(runtime)
    wanted = PlanSource(
        network=onnx.name,
        onnx_sha256=file_sha256(onnx),
        runtime=runtime,
        version=library.version,
        device=device.name if device else None,
        compute_capability=device.compute_capability if device else None,
        precision=options.precision,
        profiles=tuple(map(profile_text, profiles)),
    )
    path = _folder(options.folder) / plan_name(wanted)
    reason = why_unusable(path, wanted)
    if reason is None:
        return Plan(path, read_header(path), None)
    if not options.build:
        raise PlanError(f"{path}: {reason}: run irchroma engines build without --no-build")
    with build_lock(path, lambda: say(f"{path}: waiting for another build of it")):
        reason = why_unusable(path, wanted)
        if reason is None:
            return Plan(path, read_header(path), None)
        say(f"{path}: {reason}: building it with {runtime} {library.version}")
        cache = path.with_name("timing.cache") if runtime == "tensorrt" else None
        exact = options.precision == "fp32"
        built = library.build(BuildRequest(onnx, profiles, exact, cache, progress))
        layers = parse_layers(built.layers)
        names = built.quantized if options.precision in EIGHT_BIT else built.convolutions
        proved = prove_precision(layers, names, options.precision)
        if device is not None:
            _try_to_load(library, built.plan, say)
        header = PlanHeader(
            source=wanted,
            driver=device.driver if device else None,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            build_s=round(built.build_s, 3),
            convolutions=proved,
            weights_bytes=built.weights_bytes,
            activation_bytes=built.activation_bytes,
            plan_bytes=len(built.plan),
            plan_sha256=hashlib.sha256(built.plan).hexdigest(),
            layers=layers,
        )
        write_plan(path, header, built.plan)
    return Plan(path, header, reason)


def parse_shapes(text: str) -> tuple[Profile, ...]:
    """Profiles from `1x256x320,...`: NxHxW each, or MIN:OPT:MAX such as `1x256x320:1x256x320:8x512x640`.

    Raises:
        EngineOptionError: it makes no sense.
    """
    profiles = []
    for part in text.split(","):
        sizes = [_size(word) for word in part.strip().split(":")]
        if len(sizes) not in (1, 3):
            raise EngineOptionError(f"shapes {part!r}: expected NxHxW or MIN:OPT:MAX, three times NxHxW")
        low, optimum, high = sizes if len(sizes) == 3 else sizes * 3
        if any(not a <= b <= c for a, b, c in zip(low, optimum, high, strict=True)):
            raise EngineOptionError(f"shapes {part!r}: MIN must not be above OPT, nor OPT above MAX")
        profiles.append(Profile(low, optimum, high))
    return tuple(profiles)


def profile_text(profile: Profile) -> str:
    """The reverse of `parse_shapes`, of one profile."""
    sizes = (profile.minimum, profile.optimum, profile.maximum)
    return ":".join("x".join(map(str, size)) for size in (sizes[:1] if len(set(sizes)) == 1 else sizes))


def plan_name(source: PlanSource) -> str:
    """The file's name; what can become stale (network, version) is in the header and not in the name."""
    device = f"sm_{source.compute_capability.replace('.', '')}" if source.compute_capability else "any"
    shapes = "+".join(source.profiles).replace(":", "-")
    if len(shapes) > 60:
        shapes = hashlib.sha256(shapes.encode()).hexdigest()[:12]
    stem = Path(source.network).stem.removesuffix("_fp16")
    device = "any" if source.runtime == "tensorrt-rtx" else device
    return f"{stem}.{source.precision}.{source.runtime}.{device}.{shapes}.plan"


def _checked(options: PlanOptions) -> tuple[tuple[Profile, ...], Path]:
    if options.engine not in catalog.BANDS:
        raise EngineOptionError(f"unknown engine {options.engine!r}: use {' or '.join(catalog.BANDS)}")
    if options.size not in catalog.SIZES:
        raise EngineOptionError(f"unknown size {options.size!r}: use {' or '.join(catalog.SIZES)}")
    if options.precision not in PRECISIONS:
        raise EngineOptionError(f"unknown precision {options.precision!r}: use {', '.join(PRECISIONS)}")
    if options.precision in EIGHT_BIT and options.onnx is None:
        raise EngineUnavailable(
            f"precision {options.precision} needs a network calibrated on your footage: name it with --onnx"
        )
    onnx = options.onnx or catalog.weights_path(options.engine, options.size)
    if options.precision == "fp16" and options.onnx is None:
        onnx = onnx.with_name(f"{onnx.stem}_fp16.onnx")
    if not onnx.is_file():
        raise EngineUnavailable(f"no weights at {onnx}: reinstall irchroma, or train them: irchroma train")
    return parse_shapes(options.shapes or SHAPES[options.size]), onnx


def _try_to_load(library: TensorRT, plan: bytes, say: Callable[[str], None]) -> None:
    """Where a device is here; has never run on one."""
    try:
        library.load(plan)
    except PlanError as error:
        if library.runtime == "tensorrt":
            raise
        say(f"{error}: it is for other devices")  # TensorRT-RTX builds for those that it lists


def _choose(has_device: bool) -> str:
    return "tensorrt" if has_device and tensorrt_adapter.installed("tensorrt") else "tensorrt-rtx"


def _folder(folder: Path | None) -> Path:
    folder = folder or network.cache_folder()
    if folder is None:
        raise EngineUnavailable("no folder for plans can be written: set XDG_CACHE_HOME to one that can")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _size(word: str) -> Size:
    try:
        n, height, width = map(int, word.lower().split("x"))
    except ValueError as error:
        raise EngineOptionError(f"shape {word!r}: expected NxHxW such as 1x256x320") from error
    if min(n, height, width) < 1 or height % STRIDE_PX or width % STRIDE_PX:
        raise EngineOptionError(f"shape {word!r}: height and width must be multiples of {STRIDE_PX}")
    return n, height, width
