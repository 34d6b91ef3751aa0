"""The kernels' arguments are what the sources declare, and a wrong launch is refused before it is run."""

from __future__ import annotations

import ctypes

import pytest

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.kernels import source
from irchroma.engines.gpu.kernels.source import FILES, FOLDER, frame_state_struct, kernel_names, launch


def test_every_source_is_part_of_the_unit_and_holds_kernels() -> None:
    assert {path.name for path in FOLDER.glob("*.cu")} == set(FILES)
    for name in FILES:
        assert "KERNEL(" in source.source(name)


def test_every_kernel_has_its_arguments() -> None:
    names = kernel_names()
    assert len(names) == len(set(names)) >= 30
    for name in names:
        assert source.argument_structs()[name]._fields_


def test_pointers_numbers_and_aliases_are_read_from_the_source() -> None:
    fields = dict(source.argument_structs()["box_columns"]._fields_)
    assert fields == {
        "planes": ctypes.c_void_p,
        "out": ctypes.c_void_p,
        "width": ctypes.c_int,
        "height": ctypes.c_int,
        "radius": ctypes.c_int,
    }


def test_the_frame_state_is_as_long_as_c_makes_it() -> None:
    assert ctypes.sizeof(frame_state_struct()) == 4 * (6 + 8 + 4) + 512


def test_a_launch_covers_its_grid_with_blocks() -> None:
    made = launch("clear_count", (33, 17, 2), count=None)
    assert made.blocks == (2, 3, 2)


@pytest.mark.parametrize(
    ("kernel", "extent", "values", "says"),
    [
        ("no_such", (1, 1, 1), {}, "no kernel is called"),
        ("clear_count", (0, 1, 1), {"count": 0}, "has no places"),
        ("clear_count", (1, 1, 1), {}, "takes \\['count'\\]"),
        ("clear_count", (1, 1, 1), {"count": 0, "more": 1}, "got \\['count', 'more'\\]"),
        ("clear_count", (1, 1, 1), {"count": "text"}, "clear_count"),
    ],
)
def test_a_wrong_launch_is_refused(
    kernel: str, extent: tuple[int, int, int], values: dict[str, object], says: str
) -> None:
    with pytest.raises(EngineError, match=says):
        launch(kernel, extent, **values)
