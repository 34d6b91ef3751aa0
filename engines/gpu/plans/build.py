"""From a shipped network to a cached TensorRT plan: built once, used while all that it depends on stays."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.cache import where_kept
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
from irchroma.engines.gpu.plans.proof import EIGHT_BIT, PlanLayer, Proof, parse_layers, prove_precision
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.recolor.work_picture import STRIDE_PX

log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "fp32", "int8", "fp8")
SHAPES = {"fast": "1x256x320,1x192x320", "best": "1x352x416,1x256x416"}
"""Default `--shapes`: work sizes of 5:4 and 16:9 cameras, padded to multiples of 32; a plan each."""
LEVELS = range(6)
"""Of the search for kernels; TensorRT's `builder_optimization_level`."""
_refused: dict[PlanSource, str] = {}
"""What the library cannot build, or not in the precision asked for: it takes minutes to find out, and every
camera that opens would. Not kept beyond the process, as the library may be mended meanwhile."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Which plan, or plans.

    Attributes:
        engine: `nir` or `thermal`.
        size: `fast` or `best`.
        shapes: as `parse_shapes` takes it, a plan for each; None for the size's own.
        precision: one of PRECISIONS.
        runtime: `tensorrt` or `tensorrt-rtx`; None for TensorRT where it and a device are here, else RTX.
        build: False to refuse, with the reason, what would have to be built.
        folder: where plans are kept; None for the user's cache, see `where_kept`.
        onnx: a network of the user's own instead of the one that ships; for int8 and fp8 one that is so
            already.
        device: index of the device to build for.
        level: one of LEVELS.
        aux_streams: see `BuildRequest`.
        anew: build it even where there is one, which the library does not load.
        inputs: shapes of all inputs of a network of several, which the plan is for alone; `shapes` is then
            of its picture.
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
    level: int = 3
    aux_streams: int | None = 0
    anew: bool = False
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


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


def ensure_plans(
    options: PlanOptions,
    progress: tensorrt_adapter.Progress | None = None,
    say: Callable[[str], None] = log.info,
) -> list[Plan]:
    """A plan for each of the shapes asked for; see `ensure_plan`."""
    profiles, onnx = _checked(options)
    return [_ensure(options, profile, onnx, progress, say) for profile in profiles]


def ensure_plan(
    options: PlanOptions,
    progress: tensorrt_adapter.Progress | None = None,
    say: Callable[[str], None] = log.info,
) -> Plan:
    """The plan of one shape asked for, from the cache where it is usable, built otherwise.

    Args:
        options: which.
        progress: see `BuildRequest`.
        say: told why a plan is built, for whom it waits and what is not known of it, one line each.

    Raises:
        PlanError: it cannot be built, is not in the precision asked for, or may not be built.
        EngineUnavailable: the runtime, the network or a folder for plans is not here.
        EngineOptionError: an option makes no sense, or names several shapes.
    """
    profiles, onnx = _checked(options)
    if len(profiles) != 1:
        raise EngineOptionError(f"expected one shape, got {options.shapes or SHAPES[options.size]!r}")
    return _ensure(options, profiles[0], onnx, progress, say)


def _ensure(
    options: PlanOptions,
    profile: Profile,
    onnx: Path,
    progress: tensorrt_adapter.Progress | None,
    say: Callable[[str], None],
) -> Plan:
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
        shape=profile_text(profile) + _inputs_text(options.inputs),
        level=options.level,
        aux_streams=options.aux_streams,
    )
    path = _place(options, wanted)
    reason = why_unusable(path, wanted) or ("asked for anew" if options.anew else None)
    if reason is None:
        return Plan(path, read_header(path), None)
    if not options.build:
        raise PlanError(f"{path}: {reason}: run irchroma engines build without --no-build")
    with build_lock(path, lambda: say(f"{path}: waiting for another build of it")):
        reason = why_unusable(path, wanted) or ("asked for anew" if options.anew else None)
        if reason is None:
            return Plan(path, read_header(path), None)
        if wanted in _refused:
            raise PlanError(_refused[wanted])
        say(f"{path}: {reason}: building it with {runtime} {library.version}")
        request = BuildRequest(
            onnx=float16_twin(onnx) if options.precision == "fp16" else onnx,
            profile=profile,
            level=options.level,
            aux_streams=options.aux_streams,
            exact=options.precision == "fp32",
            timing_cache=path.with_name(f"{_device_of(wanted)}.timing.cache")
            if runtime == "tensorrt"
            else None,
            progress=progress,
            shapes=options.inputs,
        )
        try:
            header, plan = _built(library, request, wanted, device, lambda line: say(f"{path}: {line}"))
        except PlanError as error:
            if "memory" not in str(error).lower():  # of which there may be more at the next try
                _refused[wanted] = str(error)
            raise
        try:
            write_plan(path, header, plan)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise EngineUnavailable(f"{path}: it cannot be kept ({why})") from error
    return Plan(path, header, reason)


def _built(
    library: TensorRT,
    request: BuildRequest,
    wanted: PlanSource,
    device: probe.CudaDevice | None,
    say: Callable[[str], None],
) -> tuple[PlanHeader, bytes]:
    """A plan in the precision that is wanted, proved, and what its file is to say of it."""
    built = library.build(request)
    told = None if device is None else _told_by_engine(library, built.plan, request.profile, say)
    layers = parse_layers(built.layers if told is None else told)
    names = built.quantized if wanted.precision in EIGHT_BIT else built.convolutions
    proof = prove_precision(layers, names, wanted.precision, request.profile.static)
    _say_doubts(proof, layers, wanted.precision, say)
    header = PlanHeader(
        source=wanted,
        driver=device.driver if device else None,
        built_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        build_s=round(built.build_s, 3),
        convolutions=proof.proved,
        weights_bytes=built.weights_bytes,
        activation_bytes=built.activation_bytes,
        plan_bytes=len(built.plan),
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        layers=layers,
        told_by="builder" if told is None else "engine",
        indirectly=proof.indirectly,
    )
    return header, built.plan


def _say_doubts(
    proof: Proof, layers: Sequence[PlanLayer], precision: str, say: Callable[[str], None]
) -> None:
    if proof.unknown:
        say(f"{proof.unknown} convolutions do not tell their precision: {precision} is not proved of them")
    if proof.indirectly:
        say(f"{proof.indirectly} convolutions are {precision} by their weights or their kernels' names alone")
    narrow = sum(layer.narrow_sum for layer in layers)
    if narrow:
        say(f"{narrow} kernels add up in float16: hold a picture against the CPU (bench gpu: parity)")


def parse_shapes(text: str) -> tuple[Profile, ...]:
    """Shapes from `1x256x320,...`: NxHxW each, or MIN:OPT:MAX such as `1x256x320:1x256x320:8x512x640`.

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


def _inputs_text(inputs: Mapping[str, tuple[int, ...]]) -> str:
    """What tells the shapes of several inputs from others, in a file's name too; nothing of one."""
    if not inputs:
        return ""
    text = ",".join(f"{name}={'x'.join(map(str, inputs[name]))}" for name in sorted(inputs))
    return f".{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def plan_name(source: PlanSource) -> str:
    """The file's name; what can become stale (network, version) is in the header and not in the name."""
    shape = source.shape.replace(":", "-")
    how = "" if (source.level, source.aux_streams) == (3, 0) else f".level{source.level}"
    if source.aux_streams != 0:
        how += ".aux" + ("any" if source.aux_streams is None else str(source.aux_streams))
    stem = Path(source.network).stem
    device = "any" if source.runtime == "tensorrt-rtx" else _device_of(source)
    return f"{stem}.{source.precision}.{source.runtime}.{device}.{shape}{how}.plan"


def _device_of(source: PlanSource) -> str:
    """A GPU in a file's name: two of one generation need plans of their own."""
    if source.device is None or source.compute_capability is None:
        return "any"
    name = re.sub("[^a-z0-9]+", "-", source.device.lower()).strip("-")
    return f"sm_{source.compute_capability.replace('.', '')}.{name}"


def _checked(options: PlanOptions) -> tuple[tuple[Profile, ...], Path]:
    catalog.require_network(options.engine, options.size)
    if options.level not in LEVELS:
        raise EngineOptionError(f"expected a level from {LEVELS[0]} to {LEVELS[-1]}, got {options.level}")
    if options.precision not in PRECISIONS:
        raise EngineOptionError(f"unknown precision {options.precision!r}: use {', '.join(PRECISIONS)}")
    if options.precision in EIGHT_BIT and options.onnx is None:
        raise EngineUnavailable(
            f"precision {options.precision} needs a network calibrated on your footage: name it with --onnx"
        )
    onnx = options.onnx or catalog.weights_path(options.engine, options.size)
    if not onnx.is_file():
        raise EngineUnavailable(f"no weights at {onnx}: reinstall irchroma, or train them: irchroma train")
    return parse_shapes(options.shapes or SHAPES[options.size]), onnx


def _told_by_engine(
    library: TensorRT, plan: bytes, profile: Profile, say: Callable[[str], None]
) -> str | None:
    """What the loaded engine says of its layers; None where it is for other devices."""
    try:
        engine = library.load(plan)
    except PlanError as error:
        if library.runtime == "tensorrt":
            raise
        say(f"{error}: it is for other devices")  # TensorRT-RTX builds for those that it lists
        return None
    return library.inspect(engine, profile)


def _choose(has_device: bool) -> str:
    return "tensorrt" if has_device and tensorrt_adapter.installed("tensorrt") else "tensorrt-rtx"


def _place(options: PlanOptions, wanted: PlanSource) -> Path:
    name, folder = plan_name(wanted), options.folder
    if folder is None:
        return where_kept(name, lambda path: not options.anew and why_unusable(path, wanted) is None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineUnavailable(f"{folder}: {(error.strerror or str(error)).lower()}") from error
    return folder / name


def _size(word: str) -> Size:
    try:
        n, height, width = map(int, word.lower().split("x"))
    except ValueError as error:
        raise EngineOptionError(f"shape {word!r}: expected NxHxW such as 1x256x320") from error
    if min(n, height, width) < 1 or height % STRIDE_PX or width % STRIDE_PX:
        raise EngineOptionError(f"shape {word!r}: height and width must be multiples of {STRIDE_PX}")
    return n, height, width
