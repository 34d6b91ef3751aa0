"""Colors frames with everything between copy-in and copy-out on a device.

The host keeps what is decided rather than computed: cuts, gain jumps, whether the network is asked, and how a
reference of the scene lies over the frame. The device does the rest, and the picture is that of
`neural.NeuralColorizer` within rounding, since every kernel is held against the function of the CPU path that
it stands for. The motion that color is carried along is
another, as good one, unless `TemporalOptions.device_motion` is off.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError, EngineOptionError, EngineUnavailable
from irchroma.engines.gpu.chain import ChainOptions, DeviceChain, OpenSeat
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.frames.pictures import PictureOnDevice
from irchroma.engines.gpu.frames.transfer import DevicePicture
from irchroma.engines.gpu.stages import stage
from irchroma.engines.network.record import own_size, require_match
from irchroma.engines.neural.colorizer import NeuralOptions, NeuralPicture
from irchroma.engines.neural.given_picture import checked_strength
from irchroma.engines.picture import require_picture
from irchroma.engines.processor import make_nice
from irchroma.engines.recolor.work_picture import reduced, reduced_by_halves, work_size
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.steering import ReferenceOptions, ReferenceSteering
from irchroma.engines.temporal import gain
from irchroma.engines.temporal.memory import Observation
from irchroma.engines.temporal.motion import Area, Found, Luma
from irchroma.engines.temporal.stage import TemporalStage, half_size

log = logging.getLogger(__name__)


class DeviceColorizer:
    """A `Colorizer` of one video stream on a device."""

    synthetic = True

    def __init__(
        self,
        options: NeuralOptions,
        open_device: Callable[[], Device],
        depth: int = 2,
        graphs: bool = True,
        on_failure: Callable[[Exception], None] | None = None,
        open_seat: OpenSeat | None = None,
        packs: bool = False,
        stays: bool = False,
    ) -> None:
        """Open the device; memory and network are taken when the first frame tells its size.

        Args:
            options: what the colorizer does; its `network.runtime` is the device's business.
            open_device: called once; the colorizer closes what it gives.
            depth: frames in flight.
            graphs: record the work as graphs.
            on_failure: told, before the caller is, of what ends the device's work.
            open_seat: gives a place at a network that other videos use too; None for a network of its own.
            packs: pictures come back as I420 for encoders where their size lets them.
            stays: pictures stay on the device for encoders there, where their size lets them.

        Raises:
            EngineUnavailable: the weights are not here, or the device is not.
            EngineOptionError: an option makes no sense on a device.
        """
        if options.engine == catalog.REFERENCE.name:
            raise EngineOptionError(
                "of the engine reference the networks alone run on a device, see `graphs`"
            )
        if options.celsius is not None and options.engine == "thermal":
            log.warning("people are not told by their temperature on a GPU, as on the CPU: --device cpu")
        record = None
        if options.weights is not None and options.weights.is_file():
            record = require_match(options.weights, options.engine)
            options = replace(options, size=own_size(options.weights) or options.size)
        self._precision = "" if record is None else f" {record.precision}"
        self.options = options
        self.depth = depth
        self._on_failure = on_failure
        self._open_seat = open_seat
        # Whoever closes waits for whoever collects or submits: pinned memory must not go while it is read.
        self._submitting, self._collecting = threading.Lock(), threading.Lock()
        self._path = options.weights or catalog.weights_path(options.engine, options.size)
        if not self._path.is_file():
            raise EngineUnavailable(
                f"no weights at {self._path}: reinstall irchroma, or train them: irchroma train"
            )
        self._long_side_px = options.work_size_px or catalog.WORK_SIZE_PX[options.size]
        steered: ReferenceOptions | None = None
        self._steering: ReferenceSteering | None = None
        if options.reference is not None:
            thermal = catalog.look_of(options.engine, options.size).unlit is None
            steered = ReferenceOptions(options.reference, steady=options.steady, own_tone=thermal)
            # As beside the CPU's networks: to look for it takes 0.3 s, for which a live camera does not wait.
            looks = make_nice if options.beside and options.steady else None
            self._steering = ReferenceSteering(steered.at(options.reference_strength), beside=looks)
        self._chain_options = ChainOptions(
            weights=self._path,
            recolor=options.recolor,
            look=catalog.look_of(options.engine, options.size),
            temporal=options.temporal if options.steady else None,
            depth=depth,
            graphs=graphs,
            packs=packs,
            stays=stays,
            scenery=None if steered is None else steered.scenery,
        )
        searches = options.temporal.device_motion
        self._stage = TemporalStage(options.temporal, self if searches else None) if options.steady else None
        if self._stage is not None:
            self._stage.carries_half = True  # the device enlarges the motion itself
        self._chain: DeviceChain | None = None
        self._in_flight: deque[DeviceChain] = deque()
        self._retired: list[DeviceChain] = []
        self._device: Device | None = open_device()
        self._device_name = self._device.name

    @property
    def weights(self) -> Path:
        """The network's file."""
        return self._path

    @property
    def name(self) -> str:
        """`nir fast, tensorrt fp16 on NVIDIA H200`."""
        where = self._device_name if self._chain is None else self._chain.network.name
        steered = " + reference" if self._steering is not None else ""
        return f"{self.options.engine} {self.options.size}{self._precision}{steered}, {where}"

    @property
    def chain(self) -> DeviceChain | None:
        """What works on frames of the size that was seen last; None before the first."""
        return self._chain

    def prepare(self, size: tuple[int, int]) -> None:
        """Take memory and network for pictures of `size` (H, W) now, and color one, rather than on the first.

        No reference is looked for in it. A TensorRT plan that is not in the cache is built, which takes
        seconds to minutes.

        Raises:
            EngineError: the device does not work.
        """
        with self._submitting, self._told():
            self._submit(np.zeros(size, np.uint8), 0, held=False, steered=False)
        self.collect()
        self.reset()

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        """Start one frame; see `irchroma.stream.protocols.Colorizer.submit`."""
        require_picture(luma, counts)
        with self._submitting, self._told():
            self._submit(luma, pts_ns, held)

    def exchange_references(self, references: Sequence[Reference]) -> None:
        """See `NeuralColorizer.exchange_references`."""
        if self._steering is not None:
            self._steering.exchange(references)

    def set_reference_strength(self, strength: float) -> None:
        """See `NeuralColorizer.set_reference_strength`."""
        checked_strength(strength)
        if self._steering is not None:
            self._steering.options = self._steering.options.at(strength)

    def _submit(self, luma: NDArray[np.uint8], pts_ns: int, held: bool, steered: bool = True) -> None:
        chain = self._chain_for((luma.shape[0], luma.shape[1]))
        seen = laying = None
        if self._stage is not None:
            chain.begin()
            with stage("observe"):
                seen = self._observe(self._stage, luma, chain, pts_ns, held)
        if self._steering is not None and steered:
            small = reduced(luma, chain.work)
            if seen is not None and seen.luma_levels is not None:
                small = gain.shown_luma(small, seen.luma_levels)
            with stage("lay the reference"):
                laying = self._steering.lay(small, pts_ns)
        chain.submit(luma, seen, laying)
        self._in_flight.append(chain)

    def _observe(
        self, stage: TemporalStage, luma: NDArray[np.uint8], chain: DeviceChain, pts_ns: int, held: bool
    ) -> Observation:
        """What the temporal stage sees, in its own copy of the frame.

        Where the device searches for motion nothing here needs the picture at work size.
        """
        if chain.search is None:
            small = reduced(luma, chain.work)
            return stage.observe(luma.copy() if small is luma else small, pts_ns, held)
        half = reduced_by_halves(luma, half_size(chain.work))
        return stage.observe_half(luma.copy() if half is luma else half, chain.work, pts_ns, held)

    def search(
        self, previous: Luma, current: Luma, area: Area, near: Luma | None, start: tuple[float, float]
    ) -> Found:
        """See `motion.MotionSearch`: the stage asks for the motion of the frame that is submitted."""
        if self._chain is None or self._chain.search is None:
            raise EngineError("motion is asked for before the device has memory for it")
        return self._chain.search.search(previous, current, area, near, start)

    def collect(self) -> NeuralPicture | DevicePicture | PictureOnDevice:
        """The oldest frame in flight; blocks until it is back from the device."""
        with self._collecting:
            if not self._in_flight:
                raise EngineError("collect without submit")
            chain = self._in_flight[0]
            with self._told():
                picture = chain.collect()
            self._in_flight.popleft()
            self._close_retired()
            return picture

    def reset(self) -> None:
        """Forget the past and what is in flight."""
        with self._submitting, self._collecting:
            for chain in {id(chain): chain for chain in self._in_flight}.values():
                chain.ring.drop()
            self._in_flight.clear()
            self._close_retired()
            if self._stage is not None:
                self._stage.reset()
            if self._steering is not None:
                self._steering.reset()

    def close(self) -> None:
        """Give the device back, even one that fails over it; may be called twice."""
        with self._submitting, self._collecting, ExitStack() as last_first:
            self._in_flight.clear()
            device, self._device = self._device, None
            if device is not None:
                last_first.callback(device.close)
            chain, self._chain = self._chain, None
            if chain is not None:
                last_first.callback(chain.close)
            last_first.callback(self._close_retired)
            if self._steering is not None:
                last_first.callback(self._steering.close)

    def abandon(self) -> None:
        """A call hangs: a network that is shared is not given to anybody else."""
        chain = self._chain
        if chain is not None:
            chain.abandon()

    def _chain_for(self, size: tuple[int, int]) -> DeviceChain:
        if self._chain is not None and self._chain.size == size:
            return self._chain
        if self._device is None:
            raise EngineError("the colorizer is closed")
        if self._chain is not None:
            self._retired.append(self._chain)
            self._chain = None
        if self._stage is not None:
            self._stage.reset()
        work = work_size(size, self._long_side_px)
        self._chain = DeviceChain(self._device, size, work, self._chain_options, self._open_seat)
        return self._chain

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._on_failure is not None:
                self._on_failure(error)
            raise

    def _close_retired(self) -> None:
        """Chains of a size that is over, once their last frame has been collected."""
        for chain in [chain for chain in self._retired if chain not in self._in_flight]:
            self._retired.remove(chain)
            chain.close()
