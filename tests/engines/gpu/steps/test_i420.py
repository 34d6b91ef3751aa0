"""Packed pictures have the levels that the standards give, on the CPU and on a device."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.on_device import OnDevice

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.gpu.steps.i420 import PackOptions, pack, pack_steps, packed_bytes

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def plain(color: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((4, 6, 3), color, np.uint8)


@pytest.mark.parametrize(
    ("color", "options", "levels"),
    [
        # 8-bit codes of 100 % bars: BT.601-7 and BT.709-6, limited range as in SMPTE EG 1 tables.
        (WHITE, PackOptions(), (235, 128, 128)),
        (BLACK, PackOptions(), (16, 128, 128)),
        (RED, PackOptions(), (63, 102, 240)),
        (RED, PackOptions(matrix="bt601"), (81, 90, 240)),
        (RED, PackOptions(matrix="bt601", full_range=True), (76, 85, 255)),
        (WHITE, PackOptions(full_range=True), (255, 128, 128)),
    ],
)
def test_known_colors_have_their_levels(
    color: tuple[int, int, int], options: PackOptions, levels: tuple[int, int, int]
) -> None:
    packed = pack(plain(color), options)
    assert packed.size == packed_bytes((4, 6)) == 36
    assert set(packed[:24]) == {levels[0]}
    assert packed[24:].tolist() == [levels[1], levels[2]] * 6


def test_i420_has_the_same_chroma_in_two_planes() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    nv12, i420 = pack(rgb, PackOptions()), pack(rgb, PackOptions(layout="i420"))
    np.testing.assert_array_equal(nv12[:48], i420[:48])
    np.testing.assert_array_equal(nv12[48:].reshape(-1, 2).T.ravel(), i420[48:])


@pytest.mark.parametrize("size", [(48, 64), (7, 9), (1, 1)])
@pytest.mark.parametrize("layout", ["nv12", "i420"])
@pytest.mark.parametrize("full_range", [False, True])
def test_a_device_packs_alike(
    on_device: OnDevice, size: tuple[int, int], layout: str, full_range: bool
) -> None:
    for matrix in ("bt601", "bt709"):
        options = PackOptions(layout, matrix, full_range)  # type: ignore[arg-type]
        rgb = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
        out = on_device.room((packed_bytes(size),), np.uint8)
        on_device.run(*pack_steps(on_device.put(rgb), out, options))
        off = np.abs(on_device.get(out).astype(int) - pack(rgb, options))
        assert off.max() <= 1  # float32 sums in another order, rounded
        assert (off > 0).mean() < 1e-2


def test_unknown_words_are_refused() -> None:
    with pytest.raises(EngineOptionError, match="bt601 or bt709"):
        PackOptions(matrix="bt2020")
    with pytest.raises(EngineOptionError, match="nv12 or i420"):
        PackOptions(layout="yuy2")  # type: ignore[arg-type]
