"""The picture that the engine `reference` colors by: encoded once, exchanged while the video goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

import numpy as np

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import Graph, NetworkOptions, Tensor, open_graph
from irchroma.engines.neural.tokens import CELL_PX, encode, encoded_size
from irchroma.engines.recolor.band import Unsure
from irchroma.engines.recolor.recoloring import Recoloring
from irchroma.engines.reference.mood import Mood, MoodOverFrames, Plane
from irchroma.engines.reference.overlay import in_calm_colors
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.placing import Placing
from irchroma.engines.reference.steering import FADE_S
from irchroma.engines.reference.visible_parts import Light

STRONGEST = 2.0
"""Strength beyond 1 is for moods, which are small, and for what is held back of the scene's own picture."""
USUAL_PX = (240, 320)
"""(H, W) of a picture of usual shape, for which networks are compiled before there is one."""
OpenGraph = Callable[[Path, NetworkOptions], Graph]
"""Opens a graph: on the CPU (`network.open_graph`), or on a device."""


class _Preparing(Protocol):
    def prepare_for(self, encoded: Encoded | None) -> None:
        """Compile what a picture of this shape needs."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A reference as the network knows it.

    Attributes:
        name: of the picture.
        tokens: the graph's inputs by name, see `exemplar.network.Tokens`.
        mood: of its trusted cells.
        placing: where its cells lie in the frames.
        light: of its trusted cells.
        wished: see `Reference.wished`.
    """

    name: str
    tokens: dict[str, Tensor]
    mood: Mood
    placing: Placing
    light: Light
    wished: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """How far a picture was known to lie in a frame when the network looked at that.

    Attributes:
        tokens: of the picture, by which it is told from others.
        share: [0, 1].
    """

    tokens: dict[str, Tensor]
    share: float


@dataclass(slots=True, eq=False)
class _Wish:
    """A picture that was asked for; `left` to a later one's thread, should that one fail."""

    reference: Reference | None
    taken: Callable[[], None] | None
    left: bool = False


class GivenPicture:
    """The reference of one video, and its encoder, for all the networks that color by it.

    Attributes:
        encoded: the picture in use; None for none.
        frames: the graph for frames.
        strength: how much it counts, [0, `STRONGEST`].
        look: of the band by a reference, with what is wished for where color is not known.
    """

    def __init__(
        self,
        band: str,
        options: NetworkOptions,
        strength: float = 1.0,
        opener: OpenGraph = open_graph,
        instead: Unsure = "auto",
        frames: Path | None = None,
    ) -> None:
        """Load the encoder; without a picture to begin with.

        Args:
            band: of the frames.
            options: runtime, threads, cache; the graph runs in float32.
            strength: how much the picture counts.
            opener: loads the graph.
            instead: see `RecolorOptions`.
            frames: the graph for frames, the encoder's beside it (`catalog.picture_side`); None: what ships.

        Raises:
            EngineUnavailable: weights or runtime are not here.
            EngineOptionError: strength or runtime make no sense.
        """
        self.band, self.strength = band, checked_strength(strength)
        self.encoded: Encoded | None = None
        self.look = catalog.look_of(catalog.REFERENCE.name, band).showing(instead)
        self.frames = frames or catalog.weights_path(catalog.REFERENCE.name, band)
        self._pictures: Graph = opener(catalog.picture_side(self.frames), options)
        self._encoding, self._asking = threading.Lock(), threading.Lock()
        self._wishes: list[_Wish] = []
        self._usual: dict[str, Tensor] | None = None
        self._reference: Reference | None = None
        self._networks: WeakSet[_Preparing] = WeakSet()
        self._counts = self._moody = 0.0
        self._mood = MoodOverFrames()
        self._seen_ns: int | None = None
        self._known: Known | None = None

    @property
    def name(self) -> str | None:
        """The name of the picture that is in use; None where there is none."""
        return self.encoded.name if self.encoded is not None else None

    @property
    def shows(self) -> bool:
        """Whether it changes how frames look: one that goes does until it is gone."""
        return self.encoded is not None or self._counts > 0 or self._moody > 0

    @property
    def known(self) -> Known | None:
        """Of the picture in use, in the frame that the network has just looked at; by the thread of that."""
        encoded = self.encoded
        return Known(encoded.tokens, encoded.placing.known) if encoded is not None else None

    def counts_at(self, pts_ns: int | None, known: Known | None = None) -> float:
        """How far a picture counts for what is done to colors in a frame, [0, 1], which glides from frame to
        frame; None for a frame by itself, after the network's call. Another scene's does not: the colors are
        the band's own under its mood. By the thread of the frames.

        Args:
            pts_ns: time of the frame.
            known: in that frame, as the network may be frames ahead; None where it did not look.
        """
        encoded, self._known = self.encoded, known or self._known
        share = 0.0 if encoded is None else encoded.placing.known
        if encoded is not None and self._known is not None and self._known.tokens is encoded.tokens:
            share = self._known.share
        goal = share if self.strength > 0 else 0.0
        moody = 0.0 if encoded is None else self.strength * (1.0 - share)
        step = STRONGEST
        if pts_ns is None:
            self._mood.forget()
        elif self._seen_ns is not None:
            step = max(0, pts_ns - self._seen_ns) / 1e9 / FADE_S
        self._counts += min(max(goal - self._counts, -step), step)
        self._moody += min(max(moody - self._moody, -step), step)
        self._seen_ns = pts_ns
        return self._counts

    def choose_look(self, recoloring: Recoloring, pts_ns: int | None, known: Known | None = None) -> None:
        """Set how a frame's colors are shown: by the reference's rules as far as it counts, by the band's for
        the rest, then by the reference's mood.

        Args:
            recoloring: whose other look is the band's.
            pts_ns, known: see `counts_at`.
        """
        counts = self.counts_at(pts_ns, known)
        recoloring.look = self.look if counts > 0 else recoloring.other_look
        recoloring.other_share = 1.0 - counts if counts > 0 else 0.0
        recoloring.mood = self.lay_mood

    def lay_mood(self, tone: Plane, cb: Plane, cr: Plane) -> None:
        """Bring what would be shown of a frame, (h, w) float32 Y', Cb, Cr, under the picture's mood, in
        place, as far as that counts in this frame (`counts_at`)."""
        if self._moody > 0:
            if (encoded := self.encoded) is not None:
                self._mood.follow(encoded.mood)
            self._mood.lay(tone, cb, cr, self._moody, self._seen_ns)

    def attend(self, network: _Preparing) -> None:
        """This network colors by the picture from now on."""
        with self._encoding:
            self._networks.add(network)

    def give(self, reference: Reference | None, taken: Callable[[], None] | None = None) -> None:
        """Color by this picture from the next frame on, or by none; any thread, which waits until it is
        encoded and networks are compiled for it, 0.1 to 0.5 s. Of several the last to come has its way, or
        where it fails the one before it.

        Args:
            reference: the picture.
            taken: called as soon as it is in use, unless another was asked for meanwhile; must not wait.
        """
        wish = _Wish(reference, taken)
        with self._asking:
            if reference is None:
                return self._use(wish, None)
            self._wishes.append(wish)
        with self._encoding:
            self._serve(wish)

    def _serve(self, wish: _Wish) -> None:
        """Take the wish if none came after it; the thread of a later one serves that itself."""
        with self._asking:
            if not self._is_last(wish):
                return
        try:
            encoded = self._encoded(wish.reference)
        except BaseException:
            with self._asking:
                self._wishes = [one for one in self._wishes if one is not wish]
                left = [one for one in self._wishes[-1:] if one.left]
            for older in left:
                self._serve(older)
            raise
        with self._asking:
            if self._is_last(wish):
                self._use(wish, encoded)

    def _is_last(self, wish: _Wish) -> bool:
        wish.left = not self._wishes or wish is not self._wishes[-1]
        return not wish.left

    def _encoded(self, reference: Reference | None) -> Encoded | None:
        if reference is None:
            return None
        tokens = encode(in_calm_colors(reference) if self.look.unlit is None else reference, self._pictures)
        trusted = tokens["bias"].ravel() == 0.0
        cells = tokens["values"][0]
        cells = cells[trusted] if trusted.any() else cells
        mood = Mood.of(cells[:, :3], cells[:, 7], reference.wished)
        light = Light.of(cells[:, :3], cells[:, 7])
        encoded = Encoded(reference.name, tokens, mood, _placing(reference), light, reference.wished)
        for network in self._networks:
            network.prepare_for(encoded)
        return encoded

    def _use(self, wish: _Wish, encoded: Encoded | None) -> None:
        """From the next frame on; whatever was asked for before is done with."""
        self._wishes.clear()
        self._reference, self.encoded = wish.reference, encoded
        if wish.taken is not None:
            wish.taken()

    def usual_tokens(self) -> dict[str, Tensor]:
        """Of a gray picture of usual shape, by whose shapes networks are compiled; any thread."""
        with self._encoding:
            if self._usual is None:
                gray = np.full((*USUAL_PX, 3), 128, np.uint8)
                self._usual = encode(Reference(gray, np.full(USUAL_PX, 255, np.uint8)), self._pictures)
            return self._usual

    def set_strength(self, strength: float) -> None:
        """How much the reference counts from the next frame on, [0, `STRONGEST`]; any thread."""
        self.strength = checked_strength(strength)

    def forget(self) -> None:
        """Another view may come, and no frame of the one before is on its way."""
        self.begin_scene()
        self.place_anew()

    def begin_scene(self) -> None:
        """The next frame is of another scene: nothing glides over to it. By the thread of the frames."""
        self._seen_ns = self._known = None
        self._mood.forget()

    def place_anew(self) -> None:
        """Where the reference lies is found anew in what the network looks at next; by the thread of that, as
        frames of the scene before may wait for the network."""
        with self._asking:
            encoded, reference = self.encoded, self._reference
            if encoded is not None and reference is not None:
                self.encoded = replace(encoded, placing=_placing(reference))

    def close(self) -> None:
        """Let go of the encoder; may be called twice."""
        self._pictures.close()


def checked_strength(strength: float) -> float:
    """Raises:
    EngineOptionError: it is not in [0, `STRONGEST`].
    """
    if not 0 <= strength <= STRONGEST:
        raise EngineOptionError(f"strength of the reference is 0 to {STRONGEST:g}, got {strength:g}")
    return strength


def _placing(reference: Reference) -> Placing:
    height, width = encoded_size(reference.rgb.shape[:2])
    return Placing(reference.luma, (height // CELL_PX, width // CELL_PX))
