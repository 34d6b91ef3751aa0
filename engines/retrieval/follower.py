"""Follows the scene that a camera shows: looks at a frame now and then, and says which picture suits it.

What both show counts first, then brightness; where a picture lies over the frame, edge on edge, it is of
this very scene and preferred. When another is taken is the chooser's to say.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.reference import registration
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.chooser import CLEARLY, SceneChooser
from irchroma.engines.retrieval.index import Entry
from irchroma.engines.retrieval.library import Match, ReferenceLibrary
from irchroma.engines.retrieval.neighbors import Neighbors

log = logging.getLogger(__name__)
Luma = NDArray[np.uint8]
Vector = NDArray[np.float32]

CUT = 0.7
"""Likeness of two looks below which there was a cut between them. In 16 clips, pans and gain jumps among
them, it was 0.78 and more; of 99 in 100 pairs of different scenes, streets too, it is 0.57 and less."""
SAME_PICTURE, DESCRIBED_S = 0.8, 5.0
"""Correlation of local contrast with the frame that was described last, from which what that shows counts for
this one too, and for how long: it takes 60 ms, and where a car comes by a fixed camera two pictures 3 s apart
correlate by 0.86 and are alike by 0.96. Of different scenes none come near it."""
CANDIDATES = 12
FINALISTS = 6
"""The best, of which it is found out whether they show this very scene, and lie over the frame."""
SAME_SCENE = 0.2
"""That such a one is better than its features say; at the least it is clearly more than what suits at all."""
SAME_VIEW = 0.8
"""Likeness of two looks at and above which the camera has not turned."""
MISSES = 3
"""Times in succession that what has lain over the frame no longer does, until it is taken for another scene:
people and cars in front of it hide a scene now and then."""
UNLIKE_LOOKS = 4
"""Without a picture that suits, after which that is said, once."""
REGISTER_EVERY_S, REGISTER_AGAIN_S = 30.0, 4.0
"""Of one view, and of one after another; at once after a cut."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look has found.

    Attributes:
        matches: of the library, the best first; scores have what registration adds.
        changes: another picture, or none, is to be taken from now on.
        entry, reference: that one; None for none.
        why: for a log.
    """

    matches: list[Match]
    changes: bool = False
    entry: Entry | None = None
    reference: Reference | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Described:
    """What a frame showed: (6, 128) float32, its local contrast, and its time."""

    views: NDArray[np.float32]
    contrast: NDArray[np.float32]
    at_s: float


class SceneFollower:
    """Follows the scene of one camera; used by one thread."""

    def __init__(self, library: ReferenceLibrary, may_be_empty: bool = False) -> None:
        """Begin without a picture.

        Args:
            library: that pictures are taken from.
            may_be_empty: pictures come while it is looked at.

        Raises:
            EngineOptionError: the library is empty.
            EngineUnavailable: what finds neighbors is not installed.
        """
        if not library.entries and not may_be_empty:
            raise EngineOptionError(
                f"the library of references in {library.folder} is empty: irchroma references add PICTURES"
                f" --library {library.folder}"
            )
        # What is missing is said before the run begins.
        if library.entries:
            library.search(np.zeros((64, 64), np.uint8), 1)
        else:
            Neighbors(np.ones((1, features.DIMENSIONS), np.float32))
        self.library = library
        self._chooser = SceneChooser()
        self._before: Vector | None = None
        self._views: _Described | None = None
        self._missed: dict[str, int] = {}
        self._registered: Vector | None = None
        self._registered_s = -math.inf
        self._unlike = 0

    def look(
        self,
        luma: NDArray[np.uint8],
        at_s: float,
        in_use: Entry | None,
        cut: bool = False,
        fixed: bool = False,
    ) -> Seen:
        """Look at a frame.

        Args:
            luma: (H, W) uint8, tone mapped.
            at_s: its time.
            in_use: the picture that is in use.
            cut: it has nothing to do with the frame before.
            fixed: the one in use stays whatever is seen.
        """
        views, levels = self._described(luma, at_s, cut), features.brightness(luma)
        whole = views[0]
        cut = cut or (self._before is not None and float(whole @ self._before) < CUT)
        self._before = whole
        matches = self.library.search_like(views, levels, CANDIDATES)
        scores = {match.entry.key: match.score for match in matches}
        if in_use is not None and in_use.key not in scores:
            scores[in_use.key] = features.score(views, levels, in_use.vectors, in_use.levels)
        self._register(luma, at_s, whole, matches, cut)
        sure = features.ALIKE + CLEARLY
        for key in self._missed.keys() & scores.keys():
            scores[key] = max(scores[key] + SAME_SCENE, sure)
        shown = sorted(
            (Match(one.entry, scores[one.entry.key]) for one in matches), key=lambda one: -one.score
        )
        if fixed:
            return Seen(shown)
        self._chooser.chosen = in_use.key if in_use is not None else None
        found = self._chooser.observe(at_s, scores, cut)
        if found is None:
            self._say_none(scores)
            return Seen(shown)
        entry, reference = self._first_readable(found)
        self._chooser.take(entry.key if entry is not None else None)
        why = "the scene is another"
        if entry is not None:
            same = entry.key in self._missed
            why = "shows this very scene" if same else f"suits the scene ({scores[entry.key]:.2f})"
        return Seen(shown, True, entry, reference, why)

    def _described(self, luma: Luma, at_s: float, cut: bool) -> NDArray[np.float32]:
        """`features.describe` of a frame, or of one before that is still what it shows."""
        contrast = features.prepared(luma)
        before = self._views
        if before is not None and not cut and 0 <= at_s - before.at_s < DESCRIBED_S:
            power = float((contrast * contrast).sum() * (before.contrast * before.contrast).sum())
            if float((contrast * before.contrast).sum()) >= SAME_PICTURE * math.sqrt(power):
                return before.views
        self._views = _Described(features.describe(luma), contrast, at_s)
        return self._views.views

    def _register(
        self,
        luma: NDArray[np.uint8],
        at_s: float,
        vector: NDArray[np.float32],
        matches: list[Match],
        cut: bool,
    ) -> None:
        """Find out anew which show this very scene, where the view is another or it was long ago."""
        same_view = self._registered is not None and float(vector @ self._registered) >= SAME_VIEW
        since_s = at_s - self._registered_s
        wait_s = REGISTER_EVERY_S if same_view else REGISTER_AGAIN_S
        if cut or not 0 <= since_s < wait_s:
            self._registered, self._registered_s = vector, at_s
            if cut:
                self._missed.clear()
            lying = self._lying_over(luma, matches)
            kept = {key: missed + 1 for key, missed in self._missed.items() if missed + 1 < MISSES}
            self._missed = kept | dict.fromkeys(lying, 0)

    def _lying_over(self, luma: Luma, matches: list[Match]) -> set[str]:
        """Keys of the best few that show this very scene: they lie over the frame."""
        small = registration.resized(luma, registration.FINE_PX)
        found = set()
        for match in matches[:FINALISTS]:
            _, reference = self._first_readable([match.entry.key])
            if reference is None:
                continue
            other = registration.resized(reference.luma, registration.FINE_PX)
            if registration.register(small, other, search=False).same_scene:
                found.add(match.entry.key)
        return found

    def _first_readable(self, keys: list[str]) -> tuple[Entry | None, Reference | None]:
        """The first whose picture is there still."""
        for key in keys:
            try:
                entry = self.library.find(key)
                return entry, self.library.load(entry)
            except EngineOptionError as error:
                log.warning("reference: %s", error)
                self.library.look_for_pictures()
        return None, None

    def _say_none(self, scores: dict[str, float]) -> None:
        best = max(scores.values(), default=0.0)
        if self._chooser.chosen is not None or best >= features.ALIKE or self._unlike >= UNLIKE_LOOKS:
            return
        if not self.library.entries:
            return
        self._unlike += 1
        if self._unlike < UNLIKE_LOOKS:
            return
        log.warning(
            "reference auto: none of %d pictures in %s is alike enough (best %.2f, needed %.2f): the"
            " network's own color is used",
            len(self.library.entries),
            self.library.folder,
            best,
            features.ALIKE,
        )
