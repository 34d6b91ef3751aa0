"""Colors frames with a trained network: its small color, steadied in time, put on the sensor's detail."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.network.eight_bit.twins import weights_for
from irchroma.engines.network.network import Network, NetworkOptions, open_graph, open_network
from irchroma.engines.network.record import own_size, require_match
from irchroma.engines.network.sharing import NetworkSeat
from irchroma.engines.neural import people
from irchroma.engines.neural.background import Answer, CallsInOrder, ColorBeside
from irchroma.engines.neural.carried_models import CarriedModels
from irchroma.engines.neural.deferred_picture import DeferredPicture, InFlight
from irchroma.engines.neural.exemplar import ExemplarNetwork, PreparedNetwork, by_reference
from irchroma.engines.neural.given_picture import OpenGraph, checked_strength
from irchroma.engines.neural.options import AHEAD_FRAMES, NeuralOptions, NeuralPicture
from irchroma.engines.neural.steered import SteeredColor
from irchroma.engines.picture import require_picture
from irchroma.engines.processor import frame_turns, make_nice, usable_cores
from irchroma.engines.recolor import neutral
from irchroma.engines.recolor.recoloring import Recoloring, halves
from irchroma.engines.recolor.work_picture import STRIDE_PX, answer_at, at_size, padded, reduced, work_size
from irchroma.engines.reference.pictures import Reference, load_references
from irchroma.engines.reference.steering import ReferenceOptions, ReferenceSteering
from irchroma.engines.temporal import gain
from irchroma.engines.temporal.stage import TemporalStage, half_size

__all__ = ["NeuralColorizer", "NeuralOptions", "NeuralPicture"]

_GLIDE = 0.002
"""By which the factor on the sensor's detail goes in a frame to that of another network: about as its color
does, which takes two seconds."""
Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]


class NeuralColorizer:
    """A `Colorizer` of one video stream; several may share one network.

    `submit` runs network and motion, `collect` steadies the color and puts it on the full-size frame; called
    by two threads they overlap. With `ahead` the network has a thread of its own.

    Attributes:
        weights: the network's file.
    """

    synthetic = True
    depth = 2

    def __init__(
        self,
        options: NeuralOptions | None = None,
        network: Network | None = None,
        opener: Callable[[Path, NetworkOptions], Network] = open_network,
        graphs: OpenGraph = open_graph,
    ) -> None:
        """Load the network, or share one that is open and stays its owner's to close.

        Args:
            options: what is done.
            network: an open one.
            opener: loads the network where none is given; `SharedPool.open` shares it with other cameras.
            graphs: loads what looks at a reference.

        Raises:
            EngineUnavailable: weights or runtime are not here.
            EngineOptionError: an option makes no sense.
        """
        options = options or NeuralOptions()
        exemplar, self._owned = options.engine == catalog.REFERENCE.name, network is None
        self._band = catalog.band_of(options.engine, options.size)
        self.weights = _weights_of(options, self._band, shared=network is not None)
        record = None
        if self.weights.is_file():
            record = require_match(self.weights, self._band if exemplar else options.engine)
            if not exemplar:
                options = replace(options, size=own_size(self.weights) or options.size)
        self._precision = f" {record.precision}" if record is not None else ""
        if opener is open_network:
            options = _with_threads_left(options)
        self.options = options
        references = load_references(options.reference) if options.reference is not None else []
        self.network = network or opener(self.weights, options.network)
        if exemplar and network is None:
            strength, instead = options.reference_strength, options.recolor.instead
            frames = catalog.frames_graph(options.weights)
            self.network = by_reference(
                self.network, self._band, options.network, strength, graphs, instead, frames
            )
        self._given = self.network.given if isinstance(self.network, ExemplarNetwork) else None
        if self._given is not None and references:
            self._given.give(references[0])
        look = catalog.look_of(options.engine, options.size)
        self._stage = TemporalStage(options.temporal) if options.steady else None
        self._keep_dark = partial(neutral.keep_dark, neutral.dark_fade() if look.unlit is not None else None)
        alone = options.network.threads == 1
        beside = options.beside and self._stage is not None
        place_anew = self._given.place_anew if self._given is not None else None
        self._beside: ColorBeside | None = None
        if beside and self._stage is not None:
            self._beside = ColorBeside(self._stage, self._keep_dark, alone, place_anew)
        self._calls = CallsInOrder() if options.ahead and self._stage and not beside else None
        self.depth = AHEAD_FRAMES if self._calls is not None else type(self).depth
        self._recoloring, self._carried = Recoloring(options.recolor, look), CarriedModels()
        self._detail_gain = look.tone.detail_gain
        self._recoloring.other_look = catalog.BANDS[self._band].look  # without a reference
        self._steering: ReferenceSteering | None = None
        self._steered: SteeredColor | None = None
        if options.reference is not None:
            self._steering = self._steering_by(options.reference, references)
            self._steered = SteeredColor(self._steering, options.temporal.color_every)
        self._long_side_px = options.work_size_px or catalog.WORK_SIZE_PX[options.size]
        self._seen_px = self._long_side_px
        self._worked_at, self._pending = (0, 0), deque[InFlight]()

    def _steering_by(self, path: Path, references: list[Reference]) -> ReferenceSteering:
        """What lays the references on the frames, beside them where frames do not wait."""
        options, look = self.options, catalog.look_of(self.options.engine, self.options.size)
        careful = options.engine == catalog.REFERENCE.name
        asked = ReferenceOptions(path, careful=careful, steady=options.steady)
        asked = asked.at(options.reference_strength)
        asked = replace(asked, own_tone=look.unlit is None, look=look.showing(options.recolor.instead))
        return ReferenceSteering(asked, references, make_nice if self._beside else None)

    @property
    def name(self) -> str:
        """`nir fast, openvino bf16`; `nir fast int8 of FILE.onnx, ...` with a network of one's own."""
        steered = " + reference" if self._steering is not None else ""
        own = f" of {self.options.weights.name}" if self.options.weights is not None else ""
        about = f"{self.options.engine} {self.options.size}{self._precision}{own}{steered}"
        return f"{about}, {self.network.name}"

    def prepare(self, size: tuple[int, int]) -> None:
        """Compile the network for pictures of `size` (H, W) now, half a second, rather than on the first one.

        Raises:
            EngineError: the network does not work.
        """
        first = padded(np.zeros(work_size(size, self._seen_px), np.uint8))
        if self._beside is None:
            PreparedNetwork(self.network).infer(first)
        else:
            self._beside.prepare(PreparedNetwork(self.network), first)

    def submit(
        self, luma: Luma, pts_ns: int, *, counts: NDArray[np.uint16] | None = None, held: bool = False
    ) -> None:
        """Color one frame; see `irchroma.stream.protocols.Colorizer.submit`."""
        with frame_turns().turn():
            job = self._observe(luma, pts_ns, held, counts)
        job.pts_ns = pts_ns
        if self._beside is None:
            if job.seen is None or job.seen.needs_color:
                call = partial(self._call, job, self.network, self._seen_px)
                job.answer = (
                    self._calls.ask(call).result if self._calls is not None else partial(_same, call())
                )
            self._pending.append(job)
            return
        if job.seen is None:
            raise EngineError("a network beside the frames needs steadying")
        ycc, confidence = self._beside.color(job.seen, job.work, self.network, self._seen_px)
        job.news, job.said = job.news or self._beside.news, self._beside.said
        job.known = self._given.known if self._given is not None else None
        if job.known is not None and not job.said:  # it is of the scene before
            job.known = replace(job.known, share=0.0)
        size = job.small.shape[0], job.small.shape[1]
        if self._steered is not None:
            color = ycc, confidence, job.news
            steered = self._steered.live(job.seen, job.work, color, size, pts_ns)
            ycc, confidence, job.scenery, job.news = steered.parts
        elif size != confidence.shape:
            ycc, confidence = at_size(ycc, size), at_size(confidence, size)
        self._hand_over(job, ycc, confidence)
        self._pending.append(job)

    def collect(self) -> DeferredPicture:
        if not self._pending:
            raise EngineError("collect without submit")
        job = self._pending.popleft()
        answer = job.answer() if job.answer is not None else (None, None)
        with frame_turns().turn():
            if self._given is not None:
                if job.seen is not None and job.seen.cut:
                    self._given.begin_scene()
                at_ns = job.pts_ns if self._stage is not None else None
                self._given.choose_look(self._recoloring, at_ns, job.known)
            if self._beside is None:
                self._finish(job, *answer)
            self._model(job)
            picture = DeferredPicture(self._recoloring, job, self.options.recolor.mode == "full")
            if self._beside is not None:
                # Here, while the frame still counts as in flight: behind it live frames would queue up.
                _ = picture.planes
        return picture

    def retune(
        self, seen_px: int, color_every: int, network: Network, follow: bool = False, size: str = ""
    ) -> None:
        """Change what colors, between two frames of the thread that submits; color goes on without a jump.

        Args:
            seen_px: long side of the picture that the network sees; the work size is the most.
            color_every: run the network every n-th frame; without steadying, every frame all the same.
            network: that runs from now on; stays its owner's to close.
            follow: the work size becomes that, beside the frames and without references; else it stays.
            size: of the band's own networks, the one that this is; empty where it stays.
        """
        if self._owned:
            raise EngineError("a colorizer that is retuned shares its networks")
        self._long_side_px = seen_px if follow else self._long_side_px
        self._seen_px, self.network = max(STRIDE_PX, min(seen_px, self._long_side_px)), network
        if size and self.options.weights is None and self._given is None:
            self._detail_gain = catalog.look_of(self.options.engine, size).tone.detail_gain
        if self._stage is not None:
            self._stage.ask_every(color_every)
        if self._steered is not None:
            self._steered.color_every = color_every

    def exchange_references(self, references: Sequence[Reference]) -> None:
        """Be steered by these from now on, or by none, where there was a reference at first; any thread."""
        taken = partial(self._steering.exchange, references) if self._steering is not None else None
        if self._given is not None:
            self._given.give(references[0] if references else None, taken)
        elif taken is not None:
            taken()

    def set_reference_strength(self, strength: float) -> None:
        """How much the references count from now on, see `NeuralOptions`; any thread.

        Raises:
            EngineOptionError: it is not in [0, 2].
        """
        checked_strength(strength)
        if self._given is not None:
            self._given.set_strength(strength)
        if self._steering is not None:
            self._steering.options = self._steering.options.at(strength)

    @property
    def network_s(self) -> float:
        """Seconds that the network has worked beside the frames so far."""
        return 0.0 if self._beside is None else self._beside.worked_s

    def fade_in(self) -> None:
        """See `irchroma.stream.protocols.Colorizer`; without `beside` color is there or not."""
        if self._beside is not None:
            self._beside.fade_in()

    def reset(self) -> None:
        self._pending.clear()
        self._carried.forget()
        for told in (self._beside, self._given):
            if told is not None:
                told.forget()
        for seeing in (self._stage, self._steered):
            if seeing is not None:
                seeing.reset()

    def close(self) -> None:
        """Let go of the network, unless it is shared."""
        self._pending.clear()
        owned = (self.network, self._given) if self._owned else ()
        for part in (self._beside, self._calls, self._steering, *owned):
            if part is not None:
                part.close()

    def abandon(self) -> None:
        """A call hangs: a network that is shared is not given to anybody else."""
        if isinstance(self.network, NetworkSeat | ExemplarNetwork):
            self.network.abandon()

    def _observe(
        self, luma: Luma, pts_ns: int, held: bool, counts: NDArray[np.uint16] | None = None
    ) -> InFlight:
        require_picture(luma, counts)
        height, width = work_size((luma.shape[0], luma.shape[1]), self._long_side_px)
        scale = self.options.celsius if self._band == "thermal" else None
        warm = people.warm_in(counts, scale, (height, width))
        luma = luma if warm is None else people.shaded(luma, warm.people)
        small = reduced(luma, (height, width))
        if self._stage is None:
            return InFlight(luma, small, small, None, warm=warm)
        if small is luma:
            small = luma.copy()  # compared with the next frame; the caller may write to it by then
        half = half_size((height, width))
        resized, self._worked_at = self._worked_at != (height, width), (height, width)
        if resized and self._beside is not None:
            self._beside.resize(self._worked_at)
        halved = self.options.temporal.half_color and half != (height, width)
        halved = halved and (self._steering is None or self._beside is not None)
        halved = halved and halves(luma.shape, small.shape, self._beside is not None)
        self._stage.carries_half = (halved or self._beside is not None) and self._steering is None
        seen = self._stage.observe(small, pts_ns, held)
        if seen.luma_levels is not None:
            luma, small = gain.shown_luma(luma, seen.luma_levels), gain.shown_luma(small, seen.luma_levels)
        shown = reduced(small, half) if halved else small
        return InFlight(luma, small, shown, seen, halved, warm=warm, news=resized)

    def _call(self, job: InFlight, network: Network, seen_px: int) -> Answer:
        """What the network says of a frame, at the size at which its color is kept."""
        size = work_size((job.work.shape[0], job.work.shape[1]), seen_px)
        luma = padded(reduced(job.work, size))
        if self._given is not None and job.seen is not None and job.seen.cut:
            # Here, in the frames' order: for a dozen frames the new scene had the colors of the old one's
            # picture, and frames of that may still be on their way.
            self._given.place_anew()
        start_s = time.perf_counter()
        answer = network.infer(luma)
        job.cost_s = time.perf_counter() - start_s
        job.known = self._given.known if self._given is not None else None
        return answer_at(answer, 0, size, job.small.shape)

    def _finish(self, job: InFlight, ycc: Plane | None, confidence: Plane | None) -> None:
        job.news = ycc is not None
        if ycc is not None:
            self._keep_dark(ycc, job.small)
        if self._stage is not None and job.seen is not None:
            ycc, confidence = self._stage.update(job.seen, ycc, confidence, job.cost_s)
        if self._steered is not None and ycc is not None and confidence is not None:
            ycc, confidence, job.scenery, _ = self._steered.every(
                job.small, ycc, confidence, job.pts_ns
            ).parts
        self._hand_over(job, ycc, confidence)

    def _model(self, job: InFlight) -> None:
        if job.ycc is None or job.confidence is None:
            return
        self._glide()
        picture = job.luma, job.small, job.ycc, job.confidence
        make = partial(self._recoloring.models, *picture, job.halved, job.said)
        if (job.halved or job.said < 1.0) and job.seen is not None:
            job.models = self._carried.of(job.seen, job.news or job.warm is not None, make)
        elif self._given is not None and self._given.shows:
            # Now, by the look and the mood of this frame's time, whenever the picture is asked for.
            job.models = make()

    def _glide(self) -> None:
        """The pictures' look comes to be that of the network that colors now."""
        look = self._recoloring.look
        left = self._detail_gain - look.tone.detail_gain
        if left and self._given is None:
            gain = look.tone.detail_gain + min(max(left, -_GLIDE), _GLIDE)
            gain = gain if abs(left) > _GLIDE else self._detail_gain
            self._recoloring.look = replace(look, tone=replace(look.tone, detail_gain=gain))

    @staticmethod
    def _hand_over(job: InFlight, ycc: Plane | None, confidence: Plane | None) -> None:
        if job.warm is not None and ycc is not None and confidence is not None:
            people.paint(ycc, confidence, job.warm)
        job.ycc, job.confidence = ycc, confidence


def _weights_of(options: NeuralOptions, band: str, shared: bool) -> Path:
    """The network's file: of the engine `reference` its band's `fast`; an 8-bit twin where that is faster."""
    exemplar = options.engine == catalog.REFERENCE.name
    if options.weights is not None and not (exemplar and catalog.frames_graph(options.weights)):
        return options.weights
    engine, size = (band, "fast") if exemplar else (options.engine, options.size)
    if shared:
        return catalog.weights_path(engine, size)
    return weights_for(engine, size, options.network, not options.beside)


def _with_threads_left(options: NeuralOptions) -> NeuralOptions:
    """With half of the threads for a network that works beside the frames, whose the others are."""
    if not options.steady or not (options.beside or options.ahead) or options.network.threads:
        return options
    threads = max(1, usable_cores() // 2)
    return replace(options, network=replace(options.network, threads=threads))


def _same(answer: Answer) -> Answer:
    return answer
