"""Pictures in CUDA memory, out of GStreamer's buffers and into them, by `cuda_memory.c`.

That library is built when it is first asked for, where GStreamer 1.24 or later, its headers and CUDA's
`cuda.h` are; `fault` says why it is not to be had. A run hands encoders its pictures by it; what a decoder
has on the device (`lent`) it does not use yet.

`nvh264dec` gives, and `nvh264enc` takes, `video/x-raw(memory:CUDAMemory)`. What is pushed must be in the
device's primary context, which the encoder is told to work in (`share`), and its work on the device done.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door

log = logging.getLogger(__name__)

FEATURE = "memory:CUDAMemory"
"""Of the caps of pictures on a device."""
_THERE = f"video/x-raw({FEATURE}),format=NV12"
TO_DEVICE = f'capsfilter caps="{_THERE};video/x-raw,format=NV12" ! cudaupload ! {_THERE}'
"""From NV12 of the host or the device to the device's alone, in launch syntax."""
OLDEST = (1, 24)
"""GStreamer's first whose CUDA library wraps memory of others (`gst_cuda_allocator_alloc_wrapped`)."""
_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
_PACKAGES = ("gstreamer-cuda-1.0", "gstreamer-app-1.0", "gstreamer-video-1.0")
_NONE_NS = 2**64 - 1  # GST_CLOCK_TIME_NONE
_PLANES = 4  # GST_VIDEO_MAX_PLANES
_held_for_good: list[dict[int, Any]] = []  # an element that still reads must not read what is freed


class _Picture(ctypes.Structure):
    """`IrchromaPicture`."""

    _fields_ = (
        ("address", ctypes.c_uint64 * _PLANES),
        ("pitch", ctypes.c_int32 * _PLANES),
        ("planes", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("format", ctypes.c_char * 20),
        ("context", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class CudaPicture:
    """Where a picture lies on a device.

    Attributes:
        format: GStreamer's name: `NV12` of 8 bits, `P010_10LE` of 10.
        size: (H, W) in pixels.
        addresses: of each plane's first byte.
        pitches: bytes from row to row, of each plane.
        context: the CUcontext of that memory.
    """

    format: str
    size: tuple[int, int]
    addresses: tuple[int, ...]
    pitches: tuple[int, ...]
    context: int


class PlacedPicture(Protocol):
    """As `CudaPicture`."""

    @property
    def format(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def addresses(self) -> tuple[int, ...]: ...
    @property
    def pitches(self) -> tuple[int, ...]: ...
    @property
    def context(self) -> int: ...


def takes(element: str, pad: str = "sink", format_name: str = "NV12") -> bool:
    """Whether an element's pad has pictures in CUDA memory among its caps, by its templates."""
    gst = door.modules()["Gst"]
    factory = gst.ElementFactory.find(element)
    if factory is None:
        return False
    wanted = gst.Caps.from_string(f"video/x-raw({FEATURE}),format={format_name}")
    return any(
        template.direction == (gst.PadDirection.SINK if pad == "sink" else gst.PadDirection.SRC)
        and template.get_caps().can_intersect(wanted)
        for template in factory.get_static_pad_templates()
    )


@functools.cache
def fault() -> str | None:
    """Why pictures cannot stay on the device here; None where they can. Builds the library once."""
    try:
        library = _library()
    except StreamError as error:
        return str(error)
    if not library.irchroma_cuda_loads():
        return "no NVIDIA driver with a GPU here (libcuda.so.1)"
    return None


@functools.cache
def _library() -> Any:
    """The library, built where it has not been.

    Raises:
        StreamError: it is not to be had; with the reason.
    """
    found = door.modules()["Gst"].version()[:2]
    if tuple(found) < OLDEST:
        raise StreamError(f"expected GStreamer {OLDEST[0]}.{OLDEST[1]} or later, found {found[0]}.{found[1]}")
    path = _built()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise StreamError(f"{path} does not load: {error}") from error
    if library.irchroma_picture_bytes() != ctypes.sizeof(_Picture):
        raise StreamError(f"{path} was not built for this program")
    pointer, number = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("open", pointer, [ctypes.c_int]),
        ("context", pointer, [pointer]),
        ("close", None, [pointer]),
        ("share_context", None, [pointer, pointer]),
        ("returned", pointer, [pointer]),
        ("out", ctypes.c_int, [pointer]),
        ("push", ctypes.c_int, [pointer, pointer, ctypes.POINTER(_Picture), number, number, pointer]),
        ("read", pointer, [pointer, ctypes.POINTER(_Picture)]),
        ("give_back", None, [pointer]),
    ):
        function = getattr(library, f"irchroma_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _built() -> Path:
    """The library's file, made once for each source and GStreamer."""
    words = _command()
    said = f"{door.version()} {' '.join(words)}".encode()
    name = f"cuda_memory-{hashlib.sha256(_SOURCE.read_bytes() + said).hexdigest()[:16]}.so"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irchroma"
    if (folder / name).is_file():
        return folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            made = Path(own) / name
            _run([*words, "-o", str(made)], "the library for CUDA memory does not build")
            made.replace(folder / name)
    except OSError as error:
        raise StreamError(f"cannot keep the library for CUDA memory: {error}") from error
    log.info("built %s", folder / name)
    return folder / name


def _command() -> list[str]:
    compiler, asks = shutil.which(os.environ.get("CC") or "cc"), shutil.which("pkg-config")
    if compiler is None or asks is None:
        raise StreamError("no C compiler with pkg-config here: install gcc and pkg-config")
    said = _run(
        [asks, "--cflags", "--libs", *_PACKAGES],
        "GStreamer's headers are missing: install libgstreamer-plugins-bad1.0-dev",
    )
    headers = [flag for folder in _cuda_headers() for flag in ("-isystem", str(folder))]
    return [compiler, *_FLAGS, str(_SOURCE), *headers, *said.split()]


def _cuda_headers() -> list[Path]:
    """The folder of `cuda.h`; none where the compiler may find it by itself."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    homes.append(Path("/usr/local/cuda"))
    packaged = importlib.util.find_spec("nvidia")
    for folder in (packaged.submodule_search_locations or []) if packaged is not None else []:
        homes += [Path(folder) / name for name in ("cu13", "cuda_runtime")]
    return [home / "include" for home in homes if (home / "include" / "cuda.h").is_file()][:1]


def _run(words: list[str], trouble: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StreamError(f"{trouble}: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise StreamError(f"{trouble}: {next((one for one in lines if 'error' in one), lines[0]).strip()}")
    return done.stdout


@contextmanager
def lent(buffer: Any) -> Iterator[CudaPicture]:
    """Where the picture of a `Gst.Buffer` lies, until the end of the block; work on it has been waited for.

    Raises:
        StreamError: it is not in CUDA memory, or CUDA memory cannot be had here.
    """
    library, found = _library(), _Picture()
    lease = library.irchroma_read(hash(buffer), ctypes.byref(found))
    if not lease:
        raise StreamError("expected a picture in one piece of CUDA memory, got a buffer of another kind")
    try:
        yield CudaPicture(
            found.format.decode(),
            (found.height, found.width),
            tuple(found.address[: found.planes]),
            tuple(found.pitch[: found.planes]),
            found.context or 0,
        )
    finally:
        library.irchroma_give_back(lease)


class CudaSource:
    """Hands pictures that lie on a device to an appsrc whose caps have `FEATURE`, without a copy.

    Any thread may push, one at a time.

    Attributes:
        context: the CUcontext, the device's primary one, that pictures must be in.
    """

    def __init__(self, index: int = 0) -> None:
        """For memory of a device's primary context, retained until no element holds any of it.

        Args:
            index: of the device.

        Raises:
            StreamError: not here; says why.
        """
        why = fault()
        if why is not None:
            raise StreamError(f"pictures cannot stay on the device: {why}")
        self._library = _library()
        self._session = self._library.irchroma_open(index)
        if not self._session:
            raise StreamError(f"GStreamer does not take the context of GPU {index}")
        self.context: int = self._library.irchroma_context(self._session) or 0
        self._owners: dict[int, Any] = {}
        self._next = 1

    @property
    def out(self) -> int:
        """Pictures that some element still holds."""
        return int(self._library.irchroma_out(self._opened()))

    def share(self, element: Any) -> None:
        """Let an element, or a pipeline's, work in this context rather than their own; before they start."""
        self._library.irchroma_share_context(self._opened(), hash(element))

    def push(self, source: Any, picture: PlacedPicture, pts_ns: int, duration_ns: int, owner: Any) -> bool:
        """Give an appsrc a picture whose work is done.

        Args:
            source: the appsrc.
            picture: its planes lie in one piece of memory, in their order.
            pts_ns, duration_ns: nanoseconds; -1 for no duration.
            owner: kept until no element holds the picture any more, and `reclaim` or a later push sees that.

        Returns:
            False where the appsrc takes no more (flushing, or at its end).

        Raises:
            StreamError: the layout is none of that format, or it is in another context.
        """
        session = self._opened()
        if picture.context != self.context:
            raise StreamError("expected a picture in the device's primary context, got one of another")
        self.reclaim()
        count = len(picture.addresses)
        given = _Picture(planes=count, width=picture.size[1], height=picture.size[0])
        if count > _PLANES or count != len(picture.pitches):
            raise StreamError(f"expected up to {_PLANES} planes with a pitch each, got {picture}")
        given.address[:count], given.pitch[:count] = picture.addresses, picture.pitches
        given.format = picture.format.encode()
        ticket, self._next = self._next, self._next + 1
        self._owners[ticket] = owner
        duration_ns = duration_ns if duration_ns >= 0 else _NONE_NS
        flow = self._library.irchroma_push(session, hash(source), given, pts_ns, duration_ns, ticket)
        if flow == 1:
            del self._owners[ticket]
            raise StreamError(f"expected planes of {picture.format} one after another, got {picture}")
        return bool(flow == 0)

    def reclaim(self) -> None:
        """Let go of the owners of pictures that have come back."""
        while ticket := self._library.irchroma_returned(self._opened()):
            self._owners.pop(ticket, None)

    def close(self) -> None:
        """Let go; may be called twice. Stop the pipeline before: what it still holds then stays for good."""
        if self._session:
            self.reclaim()
            if self._owners:
                log.warning("%d pictures on the device are not given back", len(self._owners))
                _held_for_good.append(self._owners)
            self._library.irchroma_close(self._session)
            self._session = None

    def _opened(self) -> Any:
        if not self._session:
            raise StreamError("the device's pictures are closed")
        return self._session
