"""Pictures made smaller on a device, as OpenCV's INTER_AREA makes them."""

from __future__ import annotations

from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.kernels.source import Launch, launch


def half_of(size: tuple[int, ...]) -> tuple[int, int]:
    """(h, w) of half a picture (H, W), rounded up."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def shrink(luma: DeviceArray, made: DeviceArray) -> Launch:
    """(H, W) uint8 into the smaller (h, w) uint8."""
    extent = (made.shape[1], made.shape[0], 1)
    return launch("shrink_luma", extent, luma=luma, out=made, **_sizes(luma.shape, made.shape))


def shrink_planes(planes: DeviceArray, made: DeviceArray) -> Launch:
    """(n, H, W) float32 into the smaller (n, h, w) float32."""
    extent = (made.shape[2], made.shape[1], made.shape[0])
    return launch(
        "shrink_planes", extent, planes=planes, out=made, **_sizes(planes.shape[1:], made.shape[1:])
    )


def _sizes(large: tuple[int, ...], small: tuple[int, ...]) -> dict[str, int]:
    return {"width": large[1], "height": large[0], "to_width": small[1], "to_height": small[0]}
