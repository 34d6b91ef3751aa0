"""Packed pictures lie as encoders take them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engines.on_device import planes_of

from irchroma.engines.gpu.cpu_device import device_array
from irchroma.engines.gpu.steps.i420 import Layout, packed_arguments, packed_bytes, planar


def test_nv12_has_the_chroma_of_i420_in_pairs() -> None:
    packed = np.random.default_rng(0).integers(0, 256, packed_bytes((6, 8)), dtype=np.uint8)
    assert packed.size == 72
    for one, other in zip(
        planes_of(packed, (6, 8), "nv12"), planes_of(planar(packed, (6, 8)), (6, 8), "i420"), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (1, 1)])
@pytest.mark.parametrize("layout", ["nv12", "i420"])
def test_a_kernel_is_told_where_each_value_is_and_no_byte_beyond(
    size: tuple[int, int], layout: Layout
) -> None:
    packed = np.arange(packed_bytes(size), dtype=np.uint8)
    array = device_array(packed)
    where = packed_arguments(array, size, layout)
    rows, columns = (size[0] + 1) // 2, (size[1] + 1) // 2
    for name, plane in zip(("cb", "cr"), planes_of(packed, size, layout)[1:], strict=True):
        first = where[name].address - array.address
        at = first + where["pitch"] * np.arange(rows)[:, None] + where["step"] * np.arange(columns)
        np.testing.assert_array_equal(packed[at], plane)
        assert at.max() == first + where[name].nbytes - 1
