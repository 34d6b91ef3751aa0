"""Fills the holes of one picture: thin ones from their borders, wide ones by a network, blended in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.catalog import REPAIRS, repair_weights
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.network.network import GRAPH_RUNTIMES, Graph, NetworkOptions, open_graph
from irchroma.engines.repair.mask import SIDE_PX, Holes, Window
from irchroma.engines.repair.membrane import membrane

log = logging.getLogger(__name__)

CLASSICAL = ("telea", "navier-stokes")
"""OpenCV's: Telea 2004, An Image Inpainting Technique Based on the Fast Marching Method; Bertalmio, Bertozzi,
Sapiro 2001, Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting."""
METHODS = ("auto", *REPAIRS, *CLASSICAL)
DEFAULT_NETWORK = "partial-conv"
"""What `auto` fills wide holes with; see weights/repair.md for what was measured."""
REACH_PX = 3
"""Radius that the classical methods look around a pixel."""
OVERLAP_PX = 2
"""A hole is shown to the network so much wider, so that its answer can be held against what is known."""

STEPS, ROOM = np.float32(40_000), np.float32(12_000)
"""Whole numbers between luma 0 and 1, and beyond each of them."""

Plane = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FillOptions:
    """How holes are filled.

    Attributes:
        method: `auto`: thin holes from their borders, wide ones by a network; a network's name or its .onnx
            file, as `irchroma train` writes it; or one of `CLASSICAL` for holes of every size.
        network: runtime, threads, cache.
    """

    method: str = "auto"
    network: NetworkOptions = field(default_factory=NetworkOptions)

    def __post_init__(self) -> None:
        if self.method not in METHODS and own_network(self.method) is None:
            raise EngineOptionError(
                f"unknown method of repair {self.method!r}: use {', '.join(METHODS)} or a network's FILE.onnx"
            )


def own_network(method: str) -> Path | None:
    """The file of a method that is a network of the user's own; None of others."""
    path = Path(method)
    return path if path.suffix.lower() == ".onnx" else None


class Filling:
    """Fills holes of single pictures. Used by one thread.

    Attributes:
        name: for people: `partial-conv, openvino bf16`.
    """

    def __init__(self, options: FillOptions | None = None) -> None:
        """Open the network that is needed.

        Raises:
            EngineUnavailable: what was asked for by name is not here; `auto` says so and does without.
        """
        self.options = options or FillOptions()
        method = self.options.method
        self._network: Graph | None = None
        own = own_network(method)
        if own is not None or method in ("auto", *REPAIRS):
            name = DEFAULT_NETWORK if method == "auto" else method
            settings = self.options.network
            settings = replace(settings, threads=settings.threads or 1)  # a window is too small to share
            if settings.runtime not in GRAPH_RUNTIMES:  # the colorizer's alone, such as a GPU's
                settings = replace(settings, runtime="auto")
            try:
                self._network = open_graph(own or repair_weights(name), settings)
                if own is not None:
                    _require_filling(self._network, own)
            except EngineUnavailable as error:
                if method != "auto":
                    raise
                log.warning("wide holes are filled by navier-stokes, not by a network: %s", error)
        about = f"{DEFAULT_NETWORK if method == 'auto' else own.name if own is not None else method}"
        self.name = f"{about}, {self._network.name}" if self._network is not None else method

    @property
    def networked(self) -> bool:
        """Whether wide holes go to a network."""
        return self._network is not None

    def fill(self, luma: Plane, holes: Holes) -> Plane:
        """A copy with every hole filled.

        Args:
            luma: (H, W) float32, [0, 1]; what it holds in holes plays no part.
            holes: of that size.
        """
        filled = luma.copy()
        if self._network is None:
            self.fill_from_borders(filled, holes.mask)
            return filled
        self.fill_thin(filled, holes)
        self.fill_wide(filled, holes, holes.windows)
        return filled

    def fill_thin(self, luma: Plane, holes: Holes) -> None:
        """Fill the thin holes in place, from their borders; wide holes are taken for a smooth surface."""
        if holes.thin.any():
            if holes.wide.any():
                bridged = membrane(luma, holes.known)
                luma[holes.wide] = bridged[holes.wide]
            self.fill_from_borders(luma, holes.thin)

    def fill_wide(
        self, luma: Plane, holes: Holes, windows: Sequence[Window], seen: NDArray[np.bool_] | None = None
    ) -> None:
        """Fill the holes of some windows in place, by the network, blended with their borders.

        Args:
            luma: (H, W) float32, [0, 1].
            holes: of that size.
            windows: of these holes.
            seen: (H, W) bool, pixels of holes that the luma holds all the same; None for none.
        """
        if self._network is None:
            raise EngineUnavailable("there is no network for wide holes")
        flat = luma.reshape(-1)
        missing = (holes.wide if seen is None else holes.wide & ~seen).astype(np.uint8)
        for window in windows:
            made = self._seen_in(luma, missing, window, self._network)
            own = window.own[missing.reshape(-1)[window.own] > 0]
            rows, columns = np.divmod(own, luma.shape[1])
            flat[own] = made[rows - window.top, columns - window.left]

    def close(self) -> None:
        """Let go of the network; may be called twice."""
        if self._network is not None:
            self._network.close()

    def fill_from_borders(self, luma: Plane, mask: NDArray[np.bool_]) -> None:
        """Fill (H, W) float32 where the mask is true, in place, by a classical method."""
        way = cv2.INPAINT_TELEA if self.options.method == "telea" else cv2.INPAINT_NS
        missing = mask.astype(np.uint8)
        x, y, width, height = cv2.boundingRect(missing)
        margin = 2 * REACH_PX
        part = np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
        # OpenCV's Telea rounds what it is given to whole numbers: 16 bits of them, with room at both ends.
        whole = np.clip(luma[part] * STEPS + ROOM, 0, 65535).astype(np.uint16)
        made = cv2.inpaint(whole, missing[part], REACH_PX, way).astype(np.float32)
        luma[part] = np.where(mask[part], (made - ROOM) / STEPS, luma[part])

    def _seen_in(self, luma: Plane, missing: NDArray[np.uint8], window: Window, network: Graph) -> Plane:
        """(side, side) float32: the window's picture with its holes filled and blended."""
        seen = _cut(luma, window)
        hole = _cut(missing, window)
        size = 2 * OVERLAP_PX + 1
        shown = cv2.dilate(hole, np.ones((size, size), np.uint8))
        known = (shown == 0).astype(np.float32)
        small, small_known = seen * known, known
        if window.side != SIDE_PX:
            to = (SIDE_PX, SIDE_PX)
            small_known = cast(Plane, cv2.resize(known, to, interpolation=cv2.INTER_AREA))
            small = cast(Plane, cv2.resize(small, to, interpolation=cv2.INTER_AREA))
            small = np.asarray(small / np.maximum(small_known, 1e-3), np.float32)
            small_known = (small_known > 0.5).astype(np.float32)
            small *= small_known
        holed = np.stack([small, 1.0 - small_known])[None]  # (1, 2, 128, 128)
        answer = np.array(network.run({"holed": np.asarray(holed, np.float32)})["filled"][0, 0])
        if window.side != SIDE_PX:
            to = (window.side, window.side)
            answer = cast(Plane, cv2.resize(answer, to, interpolation=cv2.INTER_CUBIC))
        over = (shown > 0) & (hole == 0)  # known, and answered all the same
        off = membrane(seen - answer, over.astype(np.float32))
        return np.asarray(np.clip(answer + off, 0.0, 1.0), np.float32)


def _require_filling(network: Graph, path: Path) -> None:
    """Raise EngineUnavailable, and close the network, unless it fills a window with a hole."""
    try:
        network.run({"holed": np.zeros((1, 2, SIDE_PX, SIDE_PX), np.float32)})["filled"][0, 0]
    except Exception as error:
        network.close()
        raise EngineUnavailable(
            f"{path} does not fill holes: name what irchroma train {' or '.join(REPAIRS)} wrote"
        ) from error


def _cut(picture: NDArray[np.generic], window: Window) -> NDArray[np.float32]:
    """(side, side) of the picture, mirrored where the window reaches beyond it."""
    height, width = picture.shape
    top, left = max(0, window.top), max(0, window.left)
    bottom, right = min(height, window.top + window.side), min(width, window.left + window.side)
    part = picture[top:bottom, left:right]
    if part.shape == (window.side, window.side):
        return cast(NDArray[np.float32], np.ascontiguousarray(part))
    borders = (
        top - window.top,
        window.top + window.side - bottom,
        left - window.left,
        window.left + window.side - right,
    )
    return cast(
        NDArray[np.float32], cv2.copyMakeBorder(np.ascontiguousarray(part), *borders, cv2.BORDER_REFLECT_101)
    )
