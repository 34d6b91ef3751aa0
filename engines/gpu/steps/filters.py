"""Guided filtering on a device: the launches that do what `guided` does, on stacks of planes.

Pictures made smaller on a device, as OpenCV's INTER_AREA makes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from irchroma.engines.gpu.device import DeviceArray, Workspace
from irchroma.engines.gpu.kernels.source import Launch, launch


@dataclass(frozen=True, slots=True)
class Fit:
    """How planes are modeled on a guide.

    Attributes:
        radius_px: of the windows.
        contrast: of the guide, [0, 1], above which its edges lead.
        lift: added to the models' offsets.
    """

    radius_px: int
    contrast: float
    lift: float = 0.0


class Windows:
    """Adds launches to `steps`; arrays that it makes lie in `space` under the names that it is given."""

    def __init__(self, space: Workspace, steps: list[Launch]) -> None:
        self._space = space
        self._steps = steps

    def box(self, planes: DeviceArray, radius_px: int, name: str) -> DeviceArray:
        """(n, h, w) means over windows, as `guided.box`, of (n, h, w)."""
        depth, height, width = planes.shape
        sums = self._space.array(f"{name}.rows", planes.shape)
        means = self._space.array(f"{name}.means", planes.shape)
        for kernel, source, target in (("box_rows", planes, sums), ("box_columns", sums, means)):
            self._steps.append(
                launch(
                    kernel,
                    (width, height, depth),
                    planes=source,
                    out=target,
                    width=width,
                    height=height,
                    radius=radius_px,
                )
            )
        return means

    def seen(self, guide: DeviceArray, radius_px: int, name: str) -> DeviceArray:
        """(2, h, w) windows' means of the guide (h, w) and of its square, as `guided.windows`."""
        height, width = guide.shape
        squared = self._space.array(f"{name}.squared", (2, height, width))
        self._steps.append(
            launch("square", (width, height, 1), plane=guide, out=squared, width=width, height=height)
        )
        return self.box(squared, radius_px, name)

    def fit(
        self, values: DeviceArray, guide: DeviceArray, seen: DeviceArray, how: Fit, name: str
    ) -> DeviceArray:
        """(n, 2, h, w) slopes and offsets of (n, h, w) values in the guide (h, w), as `guided.fit`."""
        depth, height, width = values.shape
        size = {"width": width, "height": height}
        extent = (width, height, depth)
        products = self._space.array(f"{name}.products", (3 * depth, height, width))
        self._steps.append(launch("multiply", extent, values=values, guide=guide, out=products, **size))
        means = self.box(products, how.radius_px, f"{name}.products")
        weighted = self._space.array(f"{name}.weighted", (3 * depth, height, width))
        self._steps.append(
            launch("fit_windows", extent, means=means, seen=seen, out=weighted, contrast=how.contrast, **size)
        )
        means = self.box(weighted, how.radius_px, f"{name}.weighted")
        models = self._space.array(f"{name}.models", (depth, 2, height, width))
        self._steps.append(launch("average_models", extent, means=means, out=models, lift=how.lift, **size))
        return models


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
