"""The CUDA kernels' sources, and the layout of their arguments as the sources declare it.

The kernels are one translation unit (`UNIT`), so that one module is built and loaded. Their argument structs
are read from the very text that is compiled: there is no second list that could differ from it.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from irchroma.engines.errors import EngineError

FOLDER = Path(__file__).parent
FILES = (
    "prepare.cu", "temporal.cu", "windows.cu", "smooth.cu", "tone.cu", "borders.cu", "believed.cu",
    "recolor.cu", "heat.cu", "scenery.cu", "motion.cu",
)  # fmt: skip
UNIT = "".join(f'#include "{name}"\n' for name in FILES)
BLOCK = (32, 8)
"""Threads of a block along x and y."""
LANES = 8
"""Threads for each place of a kernel that shares a place's rows among threads; its grid is as much wider."""
SHARED_BYTES = 48 << 10
"""Memory that every GPU gives a block."""

Extent = tuple[int, int, int]
"""Width, height and depth of a kernel's grid in places, not in blocks."""
Span = tuple[int, int]
"""Of memory: the address of its first byte, and of the first after it."""

_COMMENT = re.compile(r"//[^\n]*")
_STRUCT = re.compile(r"struct (\w+) \{(.*?)\n\};", re.DOTALL)
_KERNEL = re.compile(r"^(?:TILED_|LANE_)?KERNEL\((\w+)(?:, (\d+), \d+)?\)", re.MULTILINE)
_FIELD = re.compile(r"(\*?)(\w+)(?:\[(\d+)\])?$")
_TYPES: dict[str, Any] = {"int": ctypes.c_int, "float": ctypes.c_float, "u8": ctypes.c_ubyte}


class ExtentStruct(ctypes.Structure):
    """`Extent` of portable.h."""

    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int), ("depth", ctypes.c_int)]


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel with all that it needs, ready to be run again and again.

    Attributes:
        kernel: its name.
        extent: of its grid.
        arguments: its struct.
        holds: what the struct points to, so that it stays.
        reads: memory that it only reads, which its struct declares `const`.
        writes: memory that it writes, and may read.
    """

    kernel: str
    extent: Extent
    arguments: ctypes.Structure
    holds: tuple[Any, ...] = ()
    reads: tuple[Span, ...] = ()
    writes: tuple[Span, ...] = ()

    @property
    def shared_bytes(self) -> int:
        """Memory that the threads of a block share: of a tiled kernel, its planes of sums along columns."""
        planes = tiled_kernels().get(self.kernel)
        if planes is None:
            return 0
        return 4 * planes * BLOCK[1] * (BLOCK[0] + 2 * int(self.arguments.radius))

    @property
    def blocks(self) -> Extent:
        """How many blocks of BLOCK threads cover the grid."""
        width, height, depth = self.extent
        return -(-width // BLOCK[0]), -(-height // BLOCK[1]), depth


def launch(kernel: str, extent: Extent, **values: Any) -> Launch:
    """Put a launch together.

    Args:
        kernel: a name of `kernel_names()`.
        extent: width, height and depth, each at least 1.
        values: every field of the kernel's arguments: numbers, memory as an object with `address` and
            `nbytes` (an address alone does not keep its memory), None for a null pointer. The kernel touches
            nothing beyond those bytes: what may run beside it follows from them.

    Raises:
        EngineError: there is no such kernel, or a field is missing, unknown or of the wrong type.
    """
    structs = argument_structs()
    if kernel not in structs:
        raise EngineError(f"no kernel is called {kernel!r}: there are {', '.join(sorted(structs))}")
    if min(extent) < 1:
        raise EngineError(f"kernel {kernel}: an extent of {extent} has no places")
    struct = structs[kernel]
    wanted = {name for name, _ in struct._fields_}
    if wanted != values.keys():
        raise EngineError(f"kernel {kernel} takes {sorted(wanted)}, got {sorted(values)}")
    try:
        if kernel in tiled_kernels() and not 0 <= values["radius"] <= largest_radius(kernel):
            side, most = values["radius"], largest_radius(kernel)
            raise EngineError(f"windows of {side} pixels to either side: on a GPU they have up to {most}")
        plain = {name: getattr(value, "address", value) for name, value in values.items()}
        spans: dict[bool, list[Span]] = {True: [], False: []}
        for name, value in values.items():
            if hasattr(value, "address"):
                only_read = name in constant_fields()[kernel]
                spans[only_read].append((value.address, value.address + value.nbytes))
        whole = tuple(values.values())
        return Launch(kernel, extent, struct(**plain), whole, tuple(spans[True]), tuple(spans[False]))
    except TypeError as error:
        raise EngineError(f"kernel {kernel}: {error}") from error


def kernel_names() -> tuple[str, ...]:
    """All kernels, in the order of the sources."""
    return tuple(argument_structs())


@lru_cache(maxsize=1)
def argument_structs() -> dict[str, Any]:
    """Kernel -> the ctypes structure of its arguments."""
    text = "".join(source(name) for name in FILES)
    structs = _structs(text)
    return {name: structs[f"{name}_arguments"] for name, _ in _KERNEL.findall(text)}


@lru_cache(maxsize=1)
def constant_fields() -> dict[str, frozenset[str]]:
    """Kernel -> the pointers among its arguments through which it only reads: those to `const`."""
    text = "".join(source(name) for name in FILES)
    bodies = dict(_STRUCT.findall(text))
    found = {}
    for kernel, _ in _KERNEL.findall(text):
        declared = [part.strip() for part in bodies[f"{kernel}_arguments"].split(";")]
        words = [part.split(None, 2)[2].split(",") for part in declared if part.startswith("const ")]
        found[kernel] = frozenset(word.strip().lstrip("*") for each in words for word in each)
    return found


@lru_cache(maxsize=1)
def tiled_kernels() -> dict[str, int]:
    """Kernels whose blocks share memory -> planes of sums, or of what is least, that they keep there."""
    text = "".join(source(name) for name in FILES)
    return {name: int(planes) for name, planes in _KERNEL.findall(text) if planes}


def largest_radius(kernel: str) -> int:
    """Of a tiled kernel's windows, pixels: as many as its planes of sums leave room for."""
    columns = SHARED_BYTES // (4 * tiled_kernels()[kernel] * BLOCK[1])
    return (columns - BLOCK[0]) // 2


@lru_cache(maxsize=1)
def frame_state_struct() -> Any:
    """The ctypes structure of `FrameState`, which tells the device about one frame."""
    return _structs(source("frame_state.h"))["FrameState"]


@lru_cache(maxsize=1)
def search_state_struct() -> Any:
    """The ctypes structure of `SearchState`, which tells the device about one search for motion."""
    return _structs(source("motion.cu"))["SearchState"]


def source(name: str) -> str:
    """The text of one file of the kernels' folder, without comments."""
    return _COMMENT.sub("", (FOLDER / name).read_text(encoding="utf-8"))


def _structs(text: str) -> dict[str, Any]:
    return {
        name: type(name, (ctypes.Structure,), {"_fields_": _fields(body)})
        for name, body in _STRUCT.findall(text)
        if name.endswith(("_arguments", "State"))
    }


def _fields(body: str) -> list[tuple[str, Any]]:
    fields = []
    for declaration in filter(None, (part.strip() for part in body.split(";"))):
        kind, names = declaration.removeprefix("const ").split(None, 1)
        for word in names.split(","):
            found = _FIELD.match(word.strip())
            if found is None or not (found[1] or kind in _TYPES):
                raise EngineError(f"the kernels' sources declare {declaration!r}, which is not understood")
            plain: Any = ctypes.c_void_p if found[1] else _TYPES[kind]
            fields.append((found[2], plain * int(found[3]) if found[3] else plain))
    return fields
