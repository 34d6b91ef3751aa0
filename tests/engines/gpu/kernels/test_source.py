"""The kernels' arguments are what the sources declare, and a wrong launch is refused before it is run."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.kernels import host, source
from irchroma.engines.gpu.kernels.source import FILES, FOLDER, frame_state_struct, kernel_names, launch
from irchroma.engines.recolor.heat import RADIUS_PX


def test_every_source_is_part_of_the_unit_and_holds_kernels() -> None:
    assert {path.name for path in FOLDER.glob("*.cu")} == set(FILES)
    for name in FILES:
        assert "KERNEL(" in source.source(name)


def test_every_kernel_has_its_arguments() -> None:
    names = kernel_names()
    assert len(names) == len(set(names)) >= 25
    for name in names:
        assert source.argument_structs()[name]._fields_


def test_pointers_and_numbers_are_read_from_the_source() -> None:
    fields = dict(source.argument_structs()["box"]._fields_)
    assert fields == {
        "planes": ctypes.c_void_p,
        "out": ctypes.c_void_p,
        "width": ctypes.c_int,
        "height": ctypes.c_int,
        "radius": ctypes.c_int,
    }


def test_tiled_kernels_ask_for_the_memory_that_their_blocks_share() -> None:
    assert source.tiled_kernels()["window_models"] == 3
    size = {"width": 8, "height": 8}
    made = launch("box", (8, 8, 1), planes=None, out=None, radius=2, **size)
    assert made.shared_bytes == 4 * 8 * (32 + 2 * 2)
    assert launch("show_confidence", (8, 8, 1), confidence=None, out=None, width=8).shared_bytes == 0
    for kernel, planes in source.tiled_kernels().items():
        radius = source.largest_radius(kernel)
        assert 4 * planes * 8 * (32 + 2 * radius) <= 48 << 10 < 4 * planes * 8 * (32 + 2 * (radius + 1))
    assert source.largest_radius("window_models") == 240 > source.largest_radius("heat_places") >= RADIUS_PX
    with pytest.raises(
        EngineError, match="windows of 753 pixels to either side: on a GPU they have up to 752"
    ):
        launch("box", (8, 8, 1), planes=None, out=None, radius=753, **size)


COUNTED = """
#include "portable.h"
struct counted_arguments { int *seen; int radius; };
PLACE void counted_seen(const counted_arguments &a, int, int, int, float (&seen)[1]) {
    ++*a.seen, seen[0] = 0.0f;
}
PLACE void counted_at(const counted_arguments &, const Tile &, int, int, int) {}
TILED_KERNEL(counted, 1, 1)
"""


@pytest.mark.parametrize(("radius", "most"), [(1, 3), (2, 4), (6, 10), (28, 45), (60, 80)])
def test_a_window_asks_for_few_of_its_values_anew(tmp_path: Path, radius: int, most: int) -> None:
    """Of each place: it was all of a row's for each row that a block reaches, 456 of a window of 57x57."""
    compiler = host.compiler()
    if compiler is None:
        pytest.skip("no C++ compiler on this machine: install g++")
    made = tmp_path / "counted.so"
    words = [compiler, *host.FLAGS, "-Wno-unused-function", f"-I{FOLDER}", "-o", str(made), "-"]
    subprocess.run(words, input=COUNTED, encoding="utf-8", check=True)

    class Arguments(ctypes.Structure):
        _fields_ = [("seen", ctypes.c_void_p), ("radius", ctypes.c_int)]

    seen, (width, height) = ctypes.c_int(), (320, 200)
    arguments = Arguments(ctypes.addressof(seen), radius)
    ctypes.CDLL(str(made)).counted(source.ExtentStruct(width, height, 1), ctypes.byref(arguments))
    assert 1 <= seen.value / (width * height) <= most


def test_the_frame_state_is_as_long_as_c_makes_it() -> None:
    assert ctypes.sizeof(frame_state_struct()) == 4 * (6 + 8 + 4) + 512


def test_a_launch_covers_its_grid_with_blocks() -> None:
    made = launch("show_confidence", (33, 17, 2), confidence=None, out=None, width=33)
    assert made.blocks == (2, 3, 2)


def test_no_kernel_has_more_arguments_than_the_stand_in_for_the_driver_copies() -> None:
    """It would run with what lies behind them, and a GPU with all of them: a driver takes 4 KB."""
    stand_in = Path(__file__).parents[1] / "cuda" / "driver_stand_in.cpp"
    told = re.search(r"ARGUMENT_BYTES = (\d+)", stand_in.read_text(encoding="utf-8"))
    assert told is not None
    longest = max(ctypes.sizeof(one) for one in source.argument_structs().values())
    assert 128 < longest <= int(told[1]) <= 4096 - ctypes.sizeof(source.ExtentStruct)


GIVEN = {"confidence": None, "out": None, "width": 8}


@pytest.mark.parametrize(
    ("kernel", "extent", "values", "says"),
    [
        ("no_such", (1, 1, 1), {}, "no kernel is called"),
        ("show_confidence", (0, 1, 1), GIVEN, "has no places"),
        ("show_confidence", (1, 1, 1), {}, "takes \\['confidence', 'out', 'width'\\]"),
        (
            "show_confidence",
            (1, 1, 1),
            {**GIVEN, "more": 1},
            "got \\['confidence', 'more', 'out', 'width'\\]",
        ),
        ("show_confidence", (1, 1, 1), {**GIVEN, "width": "text"}, "show_confidence"),
    ],
)
def test_a_wrong_launch_is_refused(
    kernel: str, extent: tuple[int, int, int], values: dict[str, object], says: str
) -> None:
    with pytest.raises(EngineError, match=says):
        launch(kernel, extent, **values)
