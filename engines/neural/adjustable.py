"""A neural colorizer whose settings may change while it runs, without a stall and without a visible jump."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.network.eight_bit.twins import weights_for
from irchroma.engines.network.network import Network, NetworkOptions, Tensor, open_network
from irchroma.engines.network.preload import open_kept
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.neural.deferred_picture import DeferredPicture
from irchroma.engines.neural.exemplar import ExemplarNetwork, PreparedNetwork
from irchroma.engines.neural.given_picture import GivenPicture
from irchroma.engines.neural.speed.ladder import Rung
from irchroma.engines.processor import make_nice, usable_cores
from irchroma.engines.recolor.work_picture import padded, work_size
from irchroma.engines.reference.pictures import Reference

log = logging.getLogger(__name__)

_Key = tuple[str, int]
_CALM_START_S = 30.0
"""Before the networks of cheaper rungs are compiled, unless one is wished for: compiling one makes frames
late by up to 50 ms on two cores, and most runs keep what they begin with."""
_BETWEEN_S = 5.0  # between two of those networks, unless another rung is wished for
_AHEAD = 2
"""Cheaper rungs than the present one that are kept compiled: as far as a run that cannot keep up steps."""
RELIEF_EVERY = 8
"""Frames for each call of a network that is too slow, while a cheaper one is compiled: one color is carried
along for a quarter of a second, where two cores beside other work took 5 s to compile the cheaper one."""
_LAST_S = 10.0  # for what is done later and is under way at the end


class AdjustableColorizer:
    """A `Colorizer` that moves on a ladder of settings; a rung that is wished for is taken when ready.

    One network object for each (size, what it sees): those of other rungs are opened and compiled by a
    thread of their own when one is wished for, or about to be, so that no frame waits for them. The memory
    of the color is one and the same throughout.

    Networks below the top rung's get half of the threads: they are for times when others need the cores,
    and threads that wait for each other wait for the slowest. On two cores, one of them loaded, one thread
    was 1.15 times as fast as two; with nothing else to do, 0.85 times.
    """

    synthetic = True

    def __init__(
        self,
        options: NeuralOptions,
        ladder: Sequence[Rung],
        start: int = 0,
        size: tuple[int, int] | None = None,
        later: Callable[[], None] | None = None,
        pool: SharedPool | None = None,
        follow: bool = False,
    ) -> None:
        """Open the network of the starting rung.

        Args:
            options: of the colorizer; size, color-every and, unless it is given, the work size are the
                ladder's.
            ladder: best first.
            start: the rung that is taken first.
            size: (H, W) of the frames to come: the starting rung's network is compiled now.
            pool: gives networks that other cameras use too. One keeps few sizes compiled: those of other
                rungs are compiled when they are wished for. None for networks of its own.
            later: called at low priority when the next cheaper rungs are ready, and some seconds more have
                passed; of the cameras of one pool, by one of each band.
            follow: the work size of a rung is what its network sees; else that of the first rung stays.

        Raises:
            EngineUnavailable, EngineOptionError: as `NeuralColorizer`.
        """
        self.ladder = tuple(ladder)
        self._options, self._pool = options, pool
        cores = usable_cores()
        # Where there is a camera for each core, a second frame of one would only wait for the others' first.
        self.depth = 1 if pool is not None and pool.cameras >= max(2, cores) else NeuralColorizer.depth
        self._one_thread = pool is None and (options.network.threads or cores) < 4
        first = self.ladder[start]
        self._band = catalog.band_of(options.engine, options.size)
        self._given: GivenPicture | None = None
        if options.engine == catalog.REFERENCE.name:
            strength, instead = options.reference_strength, options.recolor.instead
            frames = catalog.frames_graph(options.weights)
            self._given = GivenPicture(self._band, options.network, strength, instead=instead, frames=frames)
        self._networks: dict[_Key, Network] = {}
        self._asked: dict[_Key, tuple[Path, NetworkOptions]] = {}
        self._networks[_key(first)] = self._open(first)
        self._ready, self._unusable = {_key(first)}, set[_Key]()
        self._lock = threading.Lock()
        self._rung = self._wished = start
        self._exchange: tuple[tuple[Rung, ...], Callable[[], None] | None] | None = None
        self._relieved = False
        self._size: tuple[int, ...] = size or ()
        self._preparing: threading.Thread | None = None
        self._closed = False
        self._closing = threading.Event()
        self._hurried = threading.Event()  # somebody waits for a network that is not compiled
        self._all_of_them = False
        self._later = later
        self._last: threading.Thread | None = None
        self._submitting_s = self._collecting_s = 0.0
        self._colorizer = NeuralColorizer(
            replace(
                options,
                size=first.size if self._given is None else options.size,
                work_size_px=options.work_size_px or max(rung.seen_px for rung in self.ladder),
                temporal=replace(options.temporal, color_every=first.color_every),
            ),
            self._networks[_key(first)],
        )
        # Not where the color is a reference's, whose memory has a size of its own.
        self._follow = follow and options.beside and options.reference is None and self._given is None
        self._work_px = options.work_size_px or self.ladder[0].seen_px
        self._take(start)
        if size is not None:
            self._colorizer.prepare(size)
            self._prepare()

    @property
    def name(self) -> str:
        """`nir auto, openvino bf16`; `reference nir auto, ...`."""
        engine = self._options.engine if self._given is None else f"{self._options.engine} {self._band}"
        return f"{engine} auto, {self._colorizer.network.name}"

    @property
    def weights(self) -> Path:
        """The file of the network that colors now."""
        return self._asked[_key(self.setting)][0]

    @property
    def first_network(self) -> tuple[Path, NetworkOptions, tuple[int, ...]] | None:
        """What `ahead.open_ahead` is to be asked for before the next run like this; None where that is more
        than one network, or not known yet."""
        if self._given is not None or self._pool is not None or not self._size:
            return None
        rung = self.setting
        return (*self._asked[_key(rung)], self._input(rung).shape)

    @property
    def rung(self) -> int:
        """The rung that colors now."""
        return self._rung

    @property
    def setting(self) -> Rung:
        """That rung itself; any thread."""
        with self._lock:
            return self.ladder[self._rung]

    @property
    def under_way(self) -> bool:
        """Another rung has been wished for, and is still to come."""
        with self._lock:
            wished = self._wished
            return wished != self._rung and _key(self.ladder[wished]) not in self._unusable

    def exchange_ladder(self, ladder: tuple[Rung, ...], later: Callable[[], None] | None) -> None:
        """Another ladder, with every rung of this one, is `ladder` from the next frame on, and its top is
        wished for; `later` as in the constructor. Any thread; a rung may be taken meanwhile."""
        if not set(self.ladder) <= set(ladder):
            raise EngineError(f"expected a ladder with {self.ladder} in it, got {ladder}")
        self._exchange = ladder, later

    def wish(self, rung: int) -> None:
        """Ask for another rung; it is taken between two frames, once its network is ready. Any thread."""
        if not 0 <= rung < len(self.ladder):
            raise EngineError(f"no rung {rung} on a ladder of {len(self.ladder)}")
        self._wished = rung
        if rung != self._rung:
            self._hurried.set()

    def submit(
        self,
        luma: NDArray[np.uint8],
        pts_ns: int,
        *,
        counts: NDArray[np.uint16] | None = None,
        held: bool = False,
    ) -> None:
        if luma.shape != self._size:
            self._size = luma.shape
            self._prepare()
        if self._exchange is not None:
            with self._lock:
                now, self._wished = self.ladder[self._rung], 0
                (self.ladder, self._later), self._exchange = self._exchange, None
                self._rung = self.ladder.index(now)
        wished = self._wished
        if wished != self._rung:
            with self._lock:
                ready = _key(self.ladder[wished]) in self._ready
                unusable = _key(self.ladder[wished]) in self._unusable
            if ready:
                self._take(wished)
            elif unusable and self._relieved:  # what is relieved for does not come
                self._take(self._rung)
            elif wished > self._rung and not unusable and not self._relieved:
                self._relieve()
            self._begin(_BETWEEN_S if ready else 0.0)
        else:
            if self._relieved:  # it was not to be, or is wanted no more
                self._take(wished)
            if self._later is not None and self._last is None:  # it came when all was compiled
                self._begin(_BETWEEN_S)
        start_s = time.perf_counter()
        self._colorizer.submit(luma, pts_ns, counts=counts, held=held)
        self._submitting_s += time.perf_counter() - start_s

    def collect(self) -> DeferredPicture:
        start_s = time.perf_counter()
        picture = self._colorizer.collect()
        self._collecting_s += time.perf_counter() - start_s
        return picture

    @property
    def busy_s(self) -> float:
        """Seconds that the busiest of the two threads, and of the network's own, has spent in here so far."""
        return max(self._submitting_s, self._collecting_s, self._colorizer.network_s)

    def exchange_references(self, references: Sequence[Reference]) -> None:
        """See `NeuralColorizer.exchange_references`."""
        self._colorizer.exchange_references(references)

    def set_reference_strength(self, strength: float) -> None:
        """See `NeuralColorizer.set_reference_strength`."""
        self._colorizer.set_reference_strength(strength)

    def fade_in(self) -> None:
        self._colorizer.fade_in()

    def reset(self) -> None:
        """Forget the past, not the rung."""
        self._colorizer.reset()

    def abandon(self) -> None:
        """See `NeuralColorizer.abandon`; the networks of the other rungs are this colorizer's own."""
        self._colorizer.abandon()

    def wait_ready(self, timeout_s: float = 60.0) -> bool:
        """Have every rung compiled for the frames at hand, at once; false when the time was too short."""
        deadline_s = time.monotonic() + timeout_s
        self._all_of_them = True
        while (thread := self._preparing) is not None:
            self._hurried.set()
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive() or self._closed or self._next() is None:
                break
            self._begin(0.0)  # it had ended before it was told
        return thread is None or not thread.is_alive()

    def close(self) -> None:
        """Let go of every network; may be called twice."""
        with self._lock:
            self._closed = True
        self._closing.set()
        self.wait_ready()
        if self._last is not None:
            self._last.join(_LAST_S)
        self._colorizer.close()
        for network in self._networks.values():
            network.close()
        if self._given is not None:
            self._given.close()

    def _take(self, rung: int) -> None:
        setting = self.ladder[rung]
        network = self._networks[_key(setting)]
        self._colorizer.retune(setting.seen_px, setting.color_every, network, self._follow, setting.size)
        self._rung, self._relieved = rung, False

    def _relieve(self) -> None:
        """Until the cheaper network is there, the one at hand looks seldom: who compiles needs the cores."""
        setting = self.ladder[self._rung]
        self._colorizer.retune(setting.seen_px, RELIEF_EVERY, self._networks[_key(setting)])
        self._relieved = True

    def _prepare(self) -> None:
        """Frames of this size come: what is compiled for another one is not ready."""
        with self._lock:
            self._ready = {_key(self.ladder[self._rung])}  # which the thread that submits compiles itself
        self._begin(_CALM_START_S)

    def _begin(self, wait_s: float) -> None:
        """Compile what is needed next beside the frames, after a while or when it is wished for."""
        waits = self._later is not None and self._last is None
        if (self._preparing is not None and self._preparing.is_alive()) or not (self._next() or waits):
            return
        self._preparing = threading.Thread(
            target=self._compile, args=(wait_s,), name="compile rungs", daemon=True
        )
        self._preparing.start()

    def _next(self) -> Rung | None:
        """The rung that is wished for, else the next cheaper one, whose network is not compiled yet."""
        with self._lock:
            wanted = [self.ladder[self._wished]]
            if self._all_of_them:
                wanted += self.ladder
            elif self._pool is None:
                wanted += self.ladder[self._rung + 1 : self._rung + 1 + _AHEAD]
            known = self._ready | self._unusable
        return next((rung for rung in wanted if _key(rung) not in known), None)

    def _compile(self, wait_s: float) -> None:
        nice = False
        while (rung := self._next()) is not None:
            at_once = self._all_of_them or rung == self.ladder[self._wished]
            if not at_once and self._hurried.wait(wait_s) and not self._closing.is_set():
                self._hurried.clear()  # another one may be next now
                continue
            with self._lock:
                if self._closed:
                    return
            wait_s = _BETWEEN_S
            # One that is waited for comes first, unless its network would keep threads of that priority.
            first = rung == self.ladder[self._wished] and self._wished != self._rung and self._one_thread
            if not nice and not first:
                make_nice()
                nice = True
            self._compile_one(rung)
        if self._later is not None and self._last is None:
            self._last = threading.Thread(target=self._do_later, args=(self._later, wait_s), daemon=True)
            self._last.start()

    def _compile_one(self, rung: Rung) -> None:
        key, size = _key(rung), self._size
        try:
            network = self._networks.get(key) or self._open(rung)
            PreparedNetwork(network).infer(self._input(rung, size))
        except EngineError as error:
            log.warning("auto: %s cannot be used: %s", rung, error)
            with self._lock:
                self._unusable.add(key)
            return
        with self._lock:
            self._networks[key] = network
            if size == self._size:
                self._ready.add(key)

    def _do_later(self, work: Callable[[], None], wait_s: float) -> None:
        if self._closing.wait(wait_s):
            return
        # Asked now, not at the start: a camera that is gone by then has not taken it from the others.
        if self._pool is not None and not self._pool.first_to(f"measure {self._band}"):
            return
        make_nice()
        try:
            work()
        except EngineError as error:
            log.warning("auto: %s", error)

    def _input(self, rung: Rung, size: tuple[int, ...] = ()) -> Tensor:
        """(1, 1, h, w) black, as a rung's network sees frames of (H, W), or those at hand."""
        height, width = size or self._size
        work = work_size((height, width), rung.seen_px if self._follow else self._work_px)
        return padded(np.zeros(work_size(work, rung.seen_px), np.uint8))

    def _open(self, rung: Rung) -> Network:
        options, cores = self._options.network, usable_cores()
        opened = next(iter(self._networks.values()), None)
        if self._pool is None:
            if _key(rung) != _key(self.ladder[0]) or (self._options.beside and not options.threads):
                options = replace(options, threads=max(1, (options.threads or cores) // 2))
            if opened is not None:  # what `auto` has chosen is chosen
                options = replace(options, runtime=opened.name.split()[0])
        path = self._options.weights or weights_for(self._band, rung.size, options, not self._options.beside)
        self._asked[_key(rung)] = path, options
        network: Network
        if self._pool is not None:
            network = self._pool.open(path, options)
        else:
            network = open_kept(path, options) if opened is None else open_network(path, options)
        if self._given is None:
            return network
        try:
            return ExemplarNetwork(network, self._given, options)
        except BaseException:
            network.close()
            raise


def _key(rung: Rung) -> _Key:
    return rung.size, rung.seen_px
