"""A TensorRT plan on disk: one file with a header that says what it was built from, by what and for what.

Layout: 16 bytes `IRCHROMA-PLAN-2\\n`, the header's length (8 bytes, little endian), the header (JSON, UTF-8),
the plan. One file, so that header and plan are replaced together.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from irchroma.engines.cache import digest_of, write_atomically
from irchroma.engines.errors import PlanError
from irchroma.engines.gpu.plans.proof import PlanLayer

MAGIC = b"IRCHROMA-PLAN-2\n"
_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class PlanSource:
    """What decides whether a plan may be used.

    Attributes:
        network: the ONNX file's name.
        onnx_sha256: of its content.
        runtime: `tensorrt` or `tensorrt-rtx`.
        version: of that library; plans serve one version only.
        device: its name, None where it was built without a device.
        compute_capability: such as `8.9`, None as above.
        precision: `fp16` or `fp32`.
        shape: as `--shapes` takes it, such as `1x256x320`.
        level: of the search for kernels.
        aux_streams: see `BuildRequest`.
    """

    network: str
    onnx_sha256: str
    runtime: str
    version: str
    device: str | None
    compute_capability: str | None
    precision: str
    shape: str
    level: int = 3
    aux_streams: int | None = 0


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What a plan file says about itself.

    Attributes:
        source: what it was built from, by what and for what.
        driver: the newest CUDA version of the driver at the time, None without one.
        built_at: UTC, ISO 8601.
        build_s: wall time of the build in seconds.
        convolutions: how many were proved to be in the source's precision.
        weights_bytes: device memory of the weights, None where the builder did not say it.
        activation_bytes: device memory of one execution context, None as above.
        plan_bytes: length of the plan that follows.
        plan_sha256: of the plan that follows.
        layers: of the engine.
        told_by: `engine`, loaded and asked, or `builder`, which wrote its log where there is no device.
        indirectly: how many of `convolutions` are known by their weights or their kernel's name alone.
    """

    source: PlanSource
    driver: str | None
    built_at: str
    build_s: float
    convolutions: int
    weights_bytes: int | None
    activation_bytes: int | None
    plan_bytes: int
    plan_sha256: str
    layers: tuple[PlanLayer, ...]
    told_by: str = "builder"
    indirectly: int = 0


def write_plan(path: Path, header: PlanHeader, plan: bytes) -> None:
    """Put a plan in its place, at once or not at all."""
    text = json.dumps(asdict(header)).encode()
    write_atomically(path, [MAGIC, len(text).to_bytes(_LENGTH_BYTES, "little"), text, plan])


def read_header(path: Path) -> PlanHeader:
    """The header alone, held against the file's length.

    Raises:
        PlanError: no such file, no plan of irchroma, or cut short.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file, path)
    except OSError as error:
        raise PlanError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def read_plan(path: Path) -> tuple[PlanHeader, bytes]:
    """Header and plan; every byte is checked.

    Raises:
        PlanError: as `read_header`, or the plan is not what was written.
    """
    try:
        with path.open("rb") as file:
            header, plan = _read_header(file, path), file.read()
    except OSError as error:
        raise PlanError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if hashlib.sha256(plan).hexdigest() != header.plan_sha256:
        raise PlanError(f"{path}: damaged: the plan's bytes are not those that were written")
    return header, plan


def why_unusable(path: Path, wanted: PlanSource) -> str | None:
    """One phrase that says why the plan at `path` cannot be used for `wanted`; None where it can."""
    try:
        if not path.exists():
            return "not built yet"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    try:
        found = read_plan(path)[0].source
    except PlanError as error:
        return str(error).removeprefix(f"{path}: ")
    if found.runtime != wanted.runtime:
        return f"built by {found.runtime}, asked for is {wanted.runtime}"
    if found.version != wanted.version:
        return f"built by {found.runtime} {found.version}, here is {wanted.version}"
    if found.onnx_sha256 != wanted.onnx_sha256:
        return f"{wanted.network} has changed since it was built"
    if found.precision != wanted.precision:
        return f"built in {found.precision}, asked for is {wanted.precision}"
    if found.shape != wanted.shape:
        return f"built for {found.shape}, asked for is {wanted.shape}"
    if (found.level, found.aux_streams) != (wanted.level, wanted.aux_streams):
        return (
            f"built at level {found.level} with {_streams(found)}, asked for is level {wanted.level}"
            f" with {_streams(wanted)}"
        )
    here = (wanted.device, wanted.compute_capability)
    # TensorRT-RTX plans serve every device that the library lists; TensorRT's the one that built them.
    if found.runtime == "tensorrt" and (found.device, found.compute_capability) != here:
        return f"built on {device_phrase(found)}, this is {device_phrase(wanted)}"
    return None


def device_phrase(source: PlanSource) -> str:
    """A device for people."""
    if source.device is None:
        return "a machine without a device"
    return f"{source.device} (compute capability {source.compute_capability})"


def file_sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal.

    Raises:
        PlanError: the file cannot be read.
    """
    try:
        return digest_of(path)
    except OSError as error:
        raise PlanError(f"{path}: {(error.strerror or str(error)).lower()}") from error


@contextmanager
def build_lock(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Held by one builder of the plan at `path`, over all processes; blocks, after a call of `waiting`.

    The lock is the kernel's: it ends with its process. Its empty file stays, as removing it would race.

    Raises:
        PlanError: the folder cannot be written.
    """
    try:
        opened = path.with_name(f".{path.name}.lock").open("wb")
    except OSError as error:
        raise PlanError(f"{path.parent}: {(error.strerror or str(error)).lower()}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _streams(source: PlanSource) -> str:
    return (
        "any auxiliary streams" if source.aux_streams is None else f"{source.aux_streams} auxiliary streams"
    )


def _read_header(file: BinaryIO, path: Path) -> PlanHeader:
    if file.read(len(MAGIC)) != MAGIC:
        raise PlanError(f"{path}: not a plan that this version of irchroma wrote")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    text = file.read(min(length, _LARGEST_HEADER_BYTES))
    if len(text) < length:
        raise PlanError(f"{path}: cut short within its header")
    try:
        values = json.loads(text)
        source, layers = values.pop("source"), values.pop("layers")
        header = PlanHeader(
            source=PlanSource(**source),
            layers=tuple(PlanLayer(**layer | {"origins": tuple(layer["origins"])}) for layer in layers),
            **values,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(f"{path}: its header cannot be read ({error})") from error
    have = os.fstat(file.fileno()).st_size - file.tell()
    if have != header.plan_bytes:
        raise PlanError(f"{path}: cut short: {have} of {header.plan_bytes} bytes")
    return header
