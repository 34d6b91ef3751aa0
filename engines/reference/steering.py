"""Steers a network's color by color pictures of the same scene: what stands still gets its real color."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import SURE
from irchroma.engines.reference import registration, structure
from irchroma.engines.reference.foreground import ForegroundMarker
from irchroma.engines.reference.overlay import Laid, Laying, Scenery, by_steady_light, in_calm_colors
from irchroma.engines.reference.pictures import AUTO, Reference, load_references
from irchroma.engines.reference.preference import Compared
from irchroma.engines.reference.visible_parts import Taken, kept, shown_alone

Plane = NDArray[np.float32]
Luma = NDArray[np.uint8]
log = logging.getLogger(__name__)
TRACK_REACH = 0.15
"""Largest shift, as a share of height and width, that is followed without a new search."""
LOST = 20.0
"""Evidence of the correlation with the frame that was registered, below which the view has changed; two
frames of one view have hundreds."""
FOLLOW_S, BELIEVED_PX = 0.25, 0.8
"""A camera that has moved by fewer work pixels since it was last followed is taken to stand, for so long."""
RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
"""Until another attempt when no reference fits what the camera shows; doubles from attempt to attempt.
Of references that the scene chooses it is not said before the third, 3 s after a cut: to choose takes 1.5."""
RENEW_S = 10.0
"""After which an alignment is looked at again: light wanders, lenses drift."""
FADE_S = 0.6
"""In which a reference that is exchanged goes, and the other one comes."""
STILL_PX = 0.3
"""Work pixels of shift below which the reference is not warped anew."""


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """How a reference steers.

    Attributes:
        path: a set of references, or a single color picture; `pictures.AUTO` for those that are handed over
            later (`ReferenceSteering.exchange`).
        weight: share of the reference's color where it is trusted, [0, 1].
        scenery: share of its picture, fine texture and all, that stands behind the sensor's detail at full
            size, [0, 1]; with 0 it gives color and base tone only.
        careful: a network looks at the reference too, and keeps what geometry would lose of the infrared.
        held: how far that is held back, and a dark picture, [0, 1].
        own_tone: beside thermal: a reference's tone stays in a band around the frame's own, as far as things
            are held back, and a bright one without a bright sky is a night, too.
        look: what is shown of a frame where the network is not sure.
        search: look for the reference at other zooms and turns too.
        steady: frames follow one another; off for pictures that do not.
    """

    path: Path
    weight: float = 1.0
    scenery: float = 1.0
    careful: bool = False
    held: float = 0.0
    own_tone: bool = False
    look: BandLook = field(default_factory=BandLook)
    search: bool = True
    steady: bool = True

    def __post_init__(self) -> None:
        for name in ("weight", "scenery", "held"):
            value = float(getattr(self, name))
            if not 0 <= value <= 1:
                raise EngineOptionError(f"{name} of the reference is 0 to 1, got {value:g}")

    def at(self, strength: float) -> ReferenceOptions:
        """The same where references count that much, [0, 2]: beyond 1 what is held back comes, too."""
        held = Taken.of(strength, wished=False).held if self.careful else 0.0
        return replace(self, weight=min(1.0, strength), held=held)

    def taken(self, reference: Reference) -> Taken:
        """How much of it."""
        return Taken(self.held, self.weight if reference.wished else 1.0 - self.held)


@dataclass(slots=True)
class _Placed:
    """A reference as it lies over one frame, the key frame, and what is needed to follow the camera."""

    reference: Reference
    alignment: registration.Alignment
    key_field: structure.Field
    key_spectrum: structure.Field
    since_ns: int
    shift: tuple[float, float]
    laid: Laid


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look has found: where the best one lies, None for nowhere, and what was lacking then."""

    placed: _Placed | None
    lacking: str = ""


def _steadily_lit(references: Sequence[Reference], options: ReferenceOptions) -> list[Reference]:
    """As they are laid; beside a network that looks at them, a night is held back in ways of its own."""
    if options.careful:
        return [in_calm_colors(one) if options.own_tone else one for one in references]
    return [by_steady_light(one, options.own_tone) for one in references]


def _searched(
    lit: Callable[[], list[Reference]], search: bool, luma: Luma, field: structure.Field, pts_ns: int
) -> _Looked:
    """The reference that fits best, laid over the picture."""
    found = [(registration.register(luma, one.luma, search), one) for one in lit()]
    fitting = [pair for pair in found if pair[0].same_scene]
    if not fitting:
        nearest = max((alignment for alignment, _ in found), key=lambda one: (one.agreement, one.evidence))
        return _Looked(None, nearest.lacking)
    alignment, reference = max(fitting, key=lambda pair: pair[0].agreement)
    return _Looked(_laid_at(reference, alignment, luma, field, pts_ns))


def _looked_again(
    placed: _Placed, matrix: registration.Matrix, luma: Luma, field: structure.Field, pts_ns: int
) -> _Looked:
    """The same reference with this frame as its key frame, adjusted where that is clearly better."""
    matrix, agreement = registration.refine(luma, placed.reference.luma, [matrix])
    alignment = replace(placed.alignment, matrix=matrix, agreement=agreement)
    return _Looked(_laid_at(placed.reference, alignment, luma, field, pts_ns))


def _laid_at(
    reference: Reference, alignment: registration.Alignment, luma: Luma, field: structure.Field, pts_ns: int
) -> _Placed:
    laid = Laid(reference, alignment.matrix, luma)
    return _Placed(reference, alignment, field, structure.spectrum(field), pts_ns, (0.0, 0.0), laid)


class ReferenceSteering:
    """Mixes the reference's color into the network's, frame after frame of one camera. Used by one thread."""

    def __init__(
        self,
        options: ReferenceOptions,
        references: list[Reference] | None = None,
        beside: Callable[[], None] | None = None,
    ) -> None:
        """Read the references, or take those given.

        Args:
            options: how they steer.
            references: those given.
            beside: they are looked for, 0.3 s of work, by a thread that calls this first, and frames go on
                without; None: frames wait.

        Raises:
            EngineOptionError: the file is missing or unfit.
        """
        self.options = options
        self._take(load_references(options.path) if references is None else references)
        self._marker = ForegroundMarker()
        self._placed: _Placed | None = None
        self._beside = ThreadPoolExecutor(1, "reference", beside) if beside is not None else None
        self._looking: Future[_Looked] | None = None
        self._marked: Reference | None = None
        self._size = (0, 0)
        self._edges: structure.Edges | None = None
        self._tried_ns: int | None = None
        self._wait_ns = 0.0
        self._told = ""
        self._lock = threading.Lock()
        self._wished: list[Reference] | None = None
        self._level = 1.0
        self._seen_ns: int | None = None
        self._followed_ns, self._moved_px = 0, math.inf
        self.scenery: Scenery | None = None
        """Of the frame last steered, to be put behind its full-size picture; None where no reference fits."""
        self.share: Plane | None = None
        """Of the frame last steered, (h, w) float32 in [0, 1]: how far its color is a reference's."""

    @property
    def alignment(self) -> registration.Alignment | None:
        """How the reference in use lies over the picture; None while none fits."""
        return self._placed.alignment if self._placed is not None else None

    def exchange(self, references: Sequence[Reference]) -> None:
        """Take other references, or none; any thread, which waits for nothing. What is shown fades out before
        the others fade in."""
        with self._lock:
            self._wished = list(references)

    def _take(self, references: list[Reference]) -> None:
        """Whoever looks for them first, beside the frames where there is such a thread, lights them."""
        self.references = references
        self._lit = cache(partial(_steadily_lit, references, self.options))

    def reset(self) -> None:
        """Forget the past (a cut, another camera)."""
        self._placed = self._tried_ns = self._looking = self._marked = self.scenery = None
        self._moved_px = math.inf
        self._marker.reset()

    def close(self) -> None:
        """End with the look in hand; may be called twice."""
        if self._beside is not None:
            self._beside.shutdown(cancel_futures=True)

    def apply(
        self, luma_small: Luma, ycc: Plane, confidence: Plane, pts_ns: int, moved_px: float = math.inf
    ) -> tuple[Plane, Plane]:
        """Steer one frame's color.

        Args:
            luma_small: (h, w) uint8 at work size.
            ycc: (h, w, 3) float32 of the network, BT.601 full range; not written to.
            confidence: (h, w) float32 in [0, 1]; not written to.
            pts_ns: time of the frame.
            moved_px: see `lay`.

        Returns:
            Both steered; the very arrays that came in where no reference fits, or a night's is held back.
        """
        laying = self.lay(luma_small, pts_ns, moved_px)
        self.scenery = self.share = None
        if laying is None:
            return ycc, confidence
        laid, shown, share = laying.laid, laying.ycc, laying.share
        ycc = shown_alone(ycc, confidence, luma_small, self.options.look)
        lift: Plane | None = None
        if held := np.float32(self.options.held):
            given, own = shown.transpose(2, 0, 1), ycc.transpose(2, 0, 1)
            keeps = kept(np.ascontiguousarray(given[0]), luma_small, self._edges)
            wished = laid.light.wished(self.options.taken(laid.reference), self.options.own_tone)
            both = Compared.of(given, own)
            sure = laid.where_sure(luma_small, both.worth()[1], keeps, wished)
            share *= 1.0 - held * (1.0 - sure)
            if self.options.own_tone:
                lift = held * both.back_in_band()
                shown = np.dstack([given[0] + lift, *given[1:]])
        if self.options.scenery:
            self.scenery = Scenery(laid, shown, share * np.float32(self.options.scenery), lift)
        self.share = share
        steered = ycc + (shown - ycc) * share[..., None]
        return np.asarray(steered, np.float32), np.maximum(confidence + (1.0 - confidence) * share, SURE)

    def lay(self, luma_small: Luma, pts_ns: int, moved_px: float = math.inf) -> Laying | None:
        """Follow the camera in one frame; all that is done without its color.

        Args:
            luma_small: (h, w) uint8 at work size.
            pts_ns: time of the frame.
            moved_px: by which the camera may have moved since the last call, all frames between counted.

        Returns:
            Which reference, and how far it is taken where nothing of it is held back; None as for `apply`.
        """
        if not self.options.steady or luma_small.shape != self._size:
            self.reset()
            self._size = luma_small.shape
        level = self._level_at(pts_ns)
        small = registration.resized(luma_small, registration.COARSE_PX)
        self._edges = structure.Edges.of(small)
        field = self._edges.field
        self._moved_px += moved_px
        believed = self._moved_px < BELIEVED_PX and 0 <= pts_ns - self._followed_ns < FOLLOW_S * 1e9
        placed = None if believed else self._placed
        lost = placed is not None and not self._follow(placed, luma_small, field, pts_ns)
        if lost:
            self._placed = self._looking = None
        if self._look(luma_small, field, pts_ns, lost) and self._beside is not None:
            self._level = level = 0.0  # frames without it have gone before: it fades in
        if self._placed is None:
            return None
        laid = self._placed.laid
        over = 1.0
        if self.options.careful:
            taken = self.options.taken(self._placed.reference)
            over = laid.light.laid_over(taken, self.options.own_tone)
        if over <= 0:
            return None
        foreground = self._marker.mark(luma_small, laid.backdrop, field, pts_ns)
        share = laid.trust * (1.0 - foreground) * np.float32(self.options.weight * level * over)
        return Laying(laid, laid.ycc(luma_small), np.asarray(share, np.float32))

    def _level_at(self, pts_ns: int) -> float:
        """How much the references count in this frame, [0, 1]; takes those that are wished for."""
        elapsed_s = 0.0 if self._seen_ns is None else max(0, pts_ns - self._seen_ns) / 1e9
        first, self._seen_ns = self._seen_ns is None, pts_ns
        step = elapsed_s / FADE_S
        with self._lock:
            if self._wished is None:
                self._level = min(1.0, self._level + step)
                return self._level
            self._level = max(0.0, self._level - step)
            if self._placed is None or self._level == 0.0:
                self._take(self._wished)
                self._wished = None
                self.reset()
                self._level = 0.0 if self.options.steady and not first else 1.0
            return self._level

    def _follow(self, placed: _Placed, luma: Luma, field: structure.Field, pts_ns: int) -> bool:
        """Keep the reference on the picture while the camera shakes; False once the view has changed."""
        if pts_ns < placed.since_ns:
            return False
        self._followed_ns, self._moved_px = pts_ns, 0.0
        peak = structure.correlate(placed.key_field, field, placed.key_spectrum, TRACK_REACH)
        if peak.evidence < LOST:
            return False
        size = (luma.shape[0], luma.shape[1])
        step = size[1] / field.shape[1]
        shift = (peak.shift_px[0] * step, peak.shift_px[1] * step)
        if math.dist(shift, placed.shift) > STILL_PX:
            self._lay(placed, luma, shift)
        return True

    def _look(self, luma: Luma, field: structure.Field, pts_ns: int, lost: bool) -> bool:
        """Look for the reference, or anew at how it lies, where that is due, and take what was found.

        Returns:
            Whether a reference lies there now that did not before.
        """
        if self._looking is None:
            job = self._due(luma, field, pts_ns, lost)
            if job is None:
                return False
            self._looking = self._begun(job)
        if not self._looking.done():
            return False
        looked, self._looking = self._looking.result(), None
        placed, before = looked.placed, self._placed
        if placed is None:
            self._marker.reset()
            self._marked = None
            moody = self.options.careful and self.options.weight > 0
            used = "the mood of the first is taken, no more" if moody else "the network's color is used"
            chosen = self.options.path == AUTO and self.options.steady
            if not chosen or self._wait_ns > 2 * RETRY_S * 1e9:
                self._tell(logging.WARNING, f"no reference is of this scene ({looked.lacking}): {used}")
            return False
        if placed.since_ns != pts_ns and not self._follow(placed, luma, field, pts_ns):
            return False  # the view has changed meanwhile
        if self._marked is not placed.reference:
            self._marker.reset()
            self._marked = placed.reference
        self._tell(logging.INFO, f"reference {placed.reference.name} in use")
        self._placed = placed
        return before is None

    def _begun(self, job: Callable[[], _Looked]) -> Future[_Looked]:
        """The job, at work beside the frames or done already."""
        if self._beside is not None:
            return self._beside.submit(job)
        done: Future[_Looked] = Future()
        done.set_result(job())
        return done

    def _due(
        self, luma: Luma, field: structure.Field, pts_ns: int, lost: bool
    ) -> Callable[[], _Looked] | None:
        """What is to be found out by this frame; None for nothing."""
        placed = self._placed
        if placed is not None:
            if pts_ns - placed.since_ns <= RENEW_S * 1e9:
                return None
            return partial(_looked_again, placed, placed.laid.matrix, luma, field, pts_ns)
        if not self.references:
            return None
        if not lost and self._tried_ns is not None and 0 <= pts_ns - self._tried_ns < self._wait_ns:
            return None
        self._wait_ns = min(2 * self._wait_ns, LONGEST_RETRY_S * 1e9)
        if lost or self._tried_ns is None:
            self._wait_ns = RETRY_S * 1e9
        self._tried_ns = pts_ns
        return partial(_searched, self._lit, self.options.search, luma, field, pts_ns)

    def _lay(self, placed: _Placed, luma: Luma, shift: tuple[float, float]) -> None:
        """Warp the reference onto a frame that lies `shift` work pixels beside the key frame."""
        size = luma.shape
        matrix = placed.alignment.matrix.copy()
        matrix[:, 2] -= matrix[:, :2] @ (shift[0] / size[1], shift[1] / size[0])
        placed.laid = Laid(placed.reference, matrix, luma)
        placed.shift = shift

    def _tell(self, level: int, text: str) -> None:
        """Log a change, once."""
        if text.partition("(")[0] != self._told:
            self._told = text.partition("(")[0]
            log.log(level, "%s", text)
