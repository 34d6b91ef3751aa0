"""All memory and work of one video on a device, for frames of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.capture.branches import BRANCHES, Step
from irchroma.engines.gpu.device import Device, DeviceArray, Workspace
from irchroma.engines.gpu.frames.batching import BatchedFrame, BatchSeat
from irchroma.engines.gpu.frames.motion import DeviceSearch
from irchroma.engines.gpu.frames.pictures import PictureOnDevice, PicturePool, can_stay
from irchroma.engines.gpu.frames.ring import FrameRing, Slot
from irchroma.engines.gpu.frames.shared_ring import AFTER, LOOK, BatchedRing
from irchroma.engines.gpu.frames.transfer import DevicePicture, FrameLayout, FrameWriter, can_pack
from irchroma.engines.gpu.kernels.source import Launch, launch
from irchroma.engines.gpu.steps.i420 import Layout, packed_bytes, planar
from irchroma.engines.gpu.steps.recolor import FrameArrays, RecolorSteps
from irchroma.engines.gpu.steps.scenery import Behind, LaidLayout, LaidWriter, lay_step
from irchroma.engines.gpu.steps.temporal import (
    Seen,
    input_step,
    look_steps,
    memory_steps,
    output_step,
    place_of,
)
from irchroma.engines.neural.options import NeuralPicture
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import RecolorOptions
from irchroma.engines.recolor.work_picture import STRIDE_PX
from irchroma.engines.reference.overlay import Laying
from irchroma.engines.temporal import gain
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import SMALLEST_PX
from irchroma.engines.temporal.stage import TemporalOptions

COLORED, CARRIED = "colored", "carried"
"""Kinds of frame: the network is asked for its color, or the last color is carried on."""
OpenSeat = Callable[[Path, tuple[int, int]], BatchSeat]
"""From a network's ONNX file and (H, W) of its input."""
_ALIGNMENT_BYTES = 256


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """What a chain does.

    Attributes:
        weights: the float32 ONNX file of the network.
        recolor: mode, chroma limit and filters.
        look: of the band.
        temporal: how the color is kept steady; None for pictures that do not follow one another.
        depth: frames in flight.
        graphs: record the work as graphs.
        packs: pictures come back as I420 for encoders where their size lets them, half the bytes of R'G'B'.
        stays: they do not come back, for encoders on the device, where their size lets them.
        branches: into how many a graph may fork, see `branches`.
        scenery: a reference lies over the color, and this share of its picture behind the frame's, see
            `ReferenceOptions.scenery`; None where there is no reference.
    """

    weights: Path
    recolor: RecolorOptions
    look: BandLook
    temporal: TemporalOptions | None
    depth: int = 2
    graphs: bool = True
    packs: bool = False
    stays: bool = False
    branches: int = BRANCHES
    scenery: float | None = None


class DeviceChain:
    """Frames of one size in, pictures out; see `ring.FrameRing` for who may call what when.

    Attributes:
        search: what finds the motion on the device; None where the host does, or the picture is too small.
    """

    def __init__(
        self,
        device: Device,
        size: tuple[int, int],
        work: tuple[int, int],
        options: ChainOptions,
        open_seat: OpenSeat | None = None,
    ) -> None:
        """Take the memory, load the network, put the work together.

        Args:
            device: stays the caller's.
            size: (H, W) of the frames.
            work: (h, w) at which the network sees them.
            options: what is done.
            open_seat: gives a place at a network that other videos use too; None for a network of its own.

        Raises:
            EngineError: too little memory, or the network is not to be had here.
        """
        self.size, self.work = size, work
        self._device = device
        self._options = options
        self.stays = options.stays and can_stay(size)
        self.packs = self.stays or (options.packs and can_pack(size))
        self._layout, self._laid_layout = FrameLayout(size, work), LaidLayout(size, work, self.packs)
        self._pictures: PicturePool | None = None
        height, width = size
        self._picture_bytes = packed_bytes(size) if self.packs else height * width * 3
        self._blocks: list[DeviceArray] = []
        self._pinned: list[NDArray[np.uint8]] = []
        self._space = Workspace(device)
        self._spaces: list[Workspace] = []
        self._ring: FrameRing | None = None
        self._taken: Slot | None = None
        self.search: DeviceSearch | None = None
        temporal = options.temporal
        self._searches = temporal is not None and temporal.device_motion
        self._searches &= min(self._layout.half) >= SMALLEST_PX
        padded = tuple(-(-side // STRIDE_PX) * STRIDE_PX for side in work)
        place = (options.weights, (padded[0], padded[1]))
        self.network = device.open_network(*place) if open_seat is None else open_seat(*place)
        self._batched: dict[int, BatchedFrame] = {}
        try:
            if self.stays:
                self._pictures = PicturePool(device.open_pictures(), size)
            tile = gain.dither_tile()
            self._dither = self._block(tile.size).part(0, tile.shape, np.uint8)
            slots = [self._make_slot() for _ in range(options.depth)]
            self._places = {id(slot): index for index, slot in enumerate(slots)}
            self._writers = [
                FrameWriter(
                    self._layout,
                    slot.inbox_host,
                    options.temporal or TemporalOptions(),
                    searches=self._searches,
                )
                for slot in slots
            ]
            self._layers = [
                None if slot.laid_host is None else LaidWriter(self._laid_layout, slot.laid_host)
                for slot in slots
            ]
            if isinstance(self.network, BatchSeat):
                self._ring = BatchedRing(
                    device,
                    slots,
                    self.network,
                    self._batched,
                    options.graphs,
                    options.branches,
                    self._pictures,
                )
            else:
                self._ring = FrameRing(device, slots, options.graphs, options.branches, self._pictures)
            if self._searches:
                parts = [self._layout.on_device(slot.inbox) for slot in slots]
                places = [(one["half_source"], one["half_moving"]) for one in parts]
                queue, half = self._ring.inward, self._layout.half
                self.search = DeviceSearch(device, queue, half, places, options.graphs)
            self._upload(tile)
        except BaseException:
            self.close()
            raise

    @property
    def ring(self) -> FrameRing:
        """The order of work."""
        if self._ring is None:
            raise EngineError("the device's memory for this video is closed")
        return self._ring

    def abandon(self) -> None:
        """The device hangs: whoever comes new gets another network."""
        if isinstance(self.network, BatchSeat):
            self.network.report()

    def begin(self) -> Slot:
        """The memory of the next frame, for the motion that is searched for before it is submitted.

        Raises:
            EngineError: as many frames are in flight as can be.
        """
        if self._taken is None:
            self._taken = self.ring.take()
        if self.search is not None:
            self.search.aim(self._places[id(self._taken)])
        return self._taken

    def submit(self, luma: NDArray[np.uint8], seen: Observation | None, laying: Laying | None = None) -> None:
        """Start a frame (H, W) uint8; what the temporal stage saw in it and what is laid over it go along."""
        slot = self.begin()
        place = self._places[id(slot)]
        nbytes, layer = self._writers[place].write(luma, seen), self._layers[place]
        laid_nbytes = 0 if layer is None else layer.write(laying)
        self._taken = None
        colored = seen is None or seen.needs_color
        kinds = (AFTER, LOOK) if self._batched else (COLORED, CARRIED)
        try:
            self.ring.submit(slot, kinds[not colored], nbytes, laid_nbytes)
        except Exception:
            if layer is not None:
                layer.forget()
            raise

    def collect(self) -> NeuralPicture | DevicePicture | PictureOnDevice:
        """The oldest frame, the caller's to keep."""
        slot = self.ring.collect()
        held = slot.stays
        try:
            picture = slot.outbox_host[: self._picture_bytes if held is None else 0].copy()
            confidence = slot.outbox_host[_aligned(self._picture_bytes) :][: self.work[0] * self.work[1]]
            confidence = confidence.reshape(self.work).copy()
        finally:  # the host may have no memory left for copies
            self.ring.release(slot)
        if held is not None:
            return PictureOnDevice(held, confidence)
        if self.stays:
            picture = planar(picture, self.size)
        if self.packs:
            return DevicePicture(picture, self.size, confidence)
        return NeuralPicture(picture.reshape(*self.size, 3), confidence)

    def close(self) -> None:
        """Give everything back, all of it even if the device fails over some; may be called twice."""
        with ExitStack() as last_first:
            while self._pinned:
                last_first.callback(self._device.unpin, self._pinned.pop())
            while self._blocks:
                last_first.callback(self._device.free, self._blocks.pop())
            for space in (self._space, *self._spaces):
                last_first.callback(space.close)
            for frame in self._batched.values():
                last_first.callback(frame.looked.close)
            if self._pictures is not None:
                last_first.callback(self._pictures.close)
            last_first.callback(self.network.close)
            if self.search is not None:
                last_first.callback(self.search.close)
            ring, self._ring = self._ring, None
            if ring is not None:
                last_first.callback(ring.close)

    def _make_slot(self) -> Slot:
        inbox = self._block(self._layout.nbytes)
        outbox = self._block(_aligned(self._picture_bytes) + self.work[0] * self.work[1])
        marks: dict[str, Any] = {name: self._device.make_mark() for name in ("arrived", "worked")}
        # One frame at a time is asked for by whoever wants each as soon as it can be had.
        marks["returned"] = self._device.make_mark(spins=self._options.depth == 1)
        # What stands between a frame's halves is its slot's: the next frame's first half may come sooner.
        own = Workspace(self._device)
        self._spaces.append(own)
        parts = self._layout.on_device(inbox)
        seen, looking = look_steps(own, parts, self.work, self._dither)
        news = own.array("news", (4, *self.work))
        laid = None if self._options.scenery is None else self._block(self._laid_layout.nbytes)
        after = self._after(parts, seen, news, outbox, laid)
        fades = self._options.look.unlit is not None
        steps: dict[str, list[Step]]
        if isinstance(self.network, BatchSeat):
            steps = {LOOK: [*looking], AFTER: [*after]}
        else:
            tensors = place_of(self.network, 0)
            asking: list[Step] = [
                input_step(seen.small, tensors),
                self.network,
                output_step(tensors, seen.small, news, fades),
            ]
            steps = {COLORED: [*looking, *asking, *after], CARRIED: [*looking, *after]}
        slot = Slot(
            inbox=inbox,
            inbox_host=self._pin(inbox.nbytes),
            outbox=outbox,
            outbox_host=self._pin(outbox.nbytes),
            steps=steps,
            laid=laid,
            laid_host=None if laid is None else self._pin(laid.nbytes),
            **marks,
        )
        if isinstance(self.network, BatchSeat):
            looked = self._device.make_mark()
            self._batched[id(slot)] = BatchedFrame(seen.small, news, fades, looked)
        return slot

    def _after(
        self,
        parts: Mapping[str, DeviceArray],
        seen: Seen,
        news: DeviceArray,
        outbox: DeviceArray,
        laid: DeviceArray | None,
    ) -> list[Launch]:
        """From the network's color to the picture."""
        height, width = self.size
        shown = outbox.part(_aligned(self._picture_bytes), self.work, np.uint8)
        layout: Layout | None = None
        if self.packs:
            out = outbox.part(0, (self._picture_bytes,), np.uint8)
            layout = "nv12" if self.stays else "i420"
        else:
            out = outbox.part(0, (height, width, 3), np.uint8)
        recolor = RecolorSteps(self._space, self._options.recolor, self._options.look)
        color, behind = news, None
        steps: list[Launch] = []
        if self._options.temporal is not None:
            color, steps = memory_steps(self._space, parts, news, shown)
        if laid is not None and self._options.scenery is not None:
            over = self._laid_layout.on_device(laid)
            own, how = (color, seen.small), (self._options.recolor, self._options.look)
            color, plain, laying = lay_step(self._space, over, own, how, self.packs)
            steps.append(laying)
            if self._options.recolor.mode == "full" and self._options.scenery:
                behind = Behind(over, plain, self._options.scenery)
        steps += recolor.build(FrameArrays(seen.luma, seen.small, color, out, layout, behind))
        if self._options.temporal is None or laid is not None:
            steps.append(self._showing(color, shown))
        return steps

    def _showing(self, color: DeviceArray, shown: DeviceArray) -> Launch:
        """The confidence of (4, h, w) color, for people."""
        plane_bytes = self.work[0] * self.work[1] * color.dtype.itemsize
        return launch(
            "show_confidence",
            (self.work[1], self.work[0], 1),
            confidence=color.part(3 * plane_bytes, self.work, np.float32),
            out=shown,
            width=self.work[1],
        )

    def _block(self, nbytes: int) -> DeviceArray:
        made = self._device.allocate((nbytes,), np.uint8)
        self._blocks.append(made)
        return made

    def _pin(self, nbytes: int) -> NDArray[np.uint8]:
        made = self._device.pinned(nbytes)
        self._pinned.append(made)
        return made

    def _upload(self, tile: NDArray[np.uint8]) -> None:
        """The dither, once."""
        host = self._pin(tile.size)
        np.copyto(host, tile.ravel())
        queue, mark = self._device.open_queue(), self._device.make_mark()
        try:
            queue.upload(host, self._dither)
            queue.record(mark)
            mark.wait()
        finally:
            mark.close()
            queue.close()


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
