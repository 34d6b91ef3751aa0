"""Packed pictures have the levels that the standards give, on the CPU and on a device."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.on_device import OnDevice

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.gpu.kernels.source import launch
from irchroma.engines.gpu.steps.i420 import PackOptions, pack, packed_arguments, packed_bytes
from irchroma.engines.recolor import color_space

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
        luma, cb, cr = np.random.default_rng(1).integers(0, 256, (3, *size), dtype=np.uint8)
        out = on_device.room((packed_bytes(size),), np.uint8)
        height, width = size
        given = {
            "shown": on_device.put(luma),
            "chroma": on_device.put(np.stack([cb, cr])),
            "width": width,
            "height": height,
            "fine_width": width,
            "fine_height": height,
            "limit": -1.0,
        }
        extent = ((width + 1) // 2, (height + 1) // 2, 1)
        on_device.run(launch("compose_packed", extent, **packed_arguments(out, size, options), **given))
        off = np.abs(on_device.get(out).astype(int) - pack(color_space.color_luma(luma, cb, cr), options))
        assert off.max() <= 1  # float32 sums in another order, rounded
        assert (off > 0).mean() < 1e-2


def test_unknown_words_are_refused() -> None:
    with pytest.raises(EngineOptionError, match="bt601 or bt709"):
        PackOptions(matrix="bt2020")
    with pytest.raises(EngineOptionError, match="nv12 or i420"):
        PackOptions(layout="yuy2")  # type: ignore[arg-type]
