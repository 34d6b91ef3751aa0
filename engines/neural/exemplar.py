"""The `reference` engine's network: the band's own `fast` network, and beside it one that looks at a picture.

The picture is encoded once, when it is given; a frame pays for the attention to it. Without a picture, or at
strength 0, the answer is the band's own to the last bit. Of a picture of another scene the network takes
little, and is no surer by it; its mood comes later, over what is shown (`GivenPicture.lay_mood`).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from irchroma.engines.network.network import Graph, Network, NetworkOptions, Tensor, open_graph
from irchroma.engines.network.rewriting.early import EARLY, EARLY_CHANNELS, KnowsEarly, TakesEarly, alike
from irchroma.engines.network.sharing import NetworkSeat
from irchroma.engines.neural.given_picture import Encoded, GivenPicture, OpenGraph
from irchroma.engines.neural.tokens import CELL_PX, places
from irchroma.engines.recolor import guided
from irchroma.engines.recolor.band import Unsure
from irchroma.engines.reference.visible_parts import Light, Own, Taken, shown_of

CONTENT = 0.3
"""Share of what the network matches by content alone, where geometry has not found the scene: all of it takes
color away from brick and leaves, and viewers turned from it."""


AGREE_CELLS, AGREE_CONTRAST, GRAY_STAYS = 5, 0.1, 0.03
"""Radius of the windows in which what is matched by content must agree, contrast of luma from which it may
differ between light and dark there, and own chroma from which it is taken half: roads and cars stay gray."""


class ExemplarNetwork:
    """A `Network` that colors by a reference; used by one thread at a time but for `prepare`."""

    lanes, best_batch = 1, 1

    def __init__(
        self, own: Network, given: GivenPicture, options: NetworkOptions, opener: OpenGraph = open_graph
    ) -> None:
        """Load the graph of the frames.

        Args:
            own: the band's network; closed with this one.
            given: the reference; its owner's to close.
            options: runtime, threads, cache, precision.
            opener: loads the graph.

        Raises:
            EngineUnavailable: weights or runtime are not here.
            EngineOptionError: the runtime makes no sense.
        """
        self._own, self.given = own, given
        self._frames: Graph = opener(given.frames, options)
        self._early = _early_of(own, self._frames)
        self._size: tuple[int, int] | None = None
        given.attend(self)

    @property
    def name(self) -> str:
        return self._own.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        encoded, strength = self.given.encoded, self.given.strength
        if encoded is None or strength == 0.0:
            return self._own.infer(luma)
        known_early: list[dict[str, Tensor]] = [{}] * len(luma)
        if self._early is None:
            ycc, confidence = self._own.infer(luma)
        else:
            ycc, confidence, early = self._early.infer_early(luma)
            known_early = [{EARLY: one[None]} for one in early]
        height, width = luma.shape[2] // CELL_PX, luma.shape[3] // CELL_PX
        common: dict[str, Tensor] = {"place": places(height, width), **encoded.tokens}
        answers = []
        for picture, own, sure, first in zip(luma, ycc, confidence, known_early, strict=True):
            levels = np.asarray(cv2.convertScaleAbs(picture[0], alpha=255.0), np.uint8)
            there, known = encoded.placing.at(levels)
            taken = share_taken(strength, known)
            frame = {
                "luma": picture[None],
                "own": own[None],
                "sureness": sure[None],
                "there": there,
                "known": np.full((1, 1, 1, 1), known, np.float32),
                "strength": np.full((1, 1, 1, 1), taken, np.float32),
            }
            answer = self._frames.run(common | frame | first)
            if known > 0.0:
                of_it = Taken.of(max(1.0, strength), encoded.wished)
                own_picture = Own(own, sure[0], levels, self.given.look)
                answer = self._shown(answer, own_picture, frame["known"], encoded.light, of_it)
            if known < 1.0:
                sureness = frame["sureness"]  # whether it is sky or wall another scene's picture cannot say
                colored = evenly(answer["ycc"], own)
                if known > 0.0:
                    colored += known * (answer["ycc"] - colored)
                    sureness = sureness + known * (answer["confidence"] - sureness)
                answer = answer | {"ycc": colored, "confidence": sureness}
            answers.append(answer)
        if len(answers) == 1:
            return answers[0]["ycc"], answers[0]["confidence"]
        colored, sure = (np.concatenate([one[name] for one in answers]) for name in ("ycc", "confidence"))
        return np.asarray(colored, np.float32), np.asarray(sure, np.float32)

    def _shown(
        self, answer: dict[str, Tensor], own: Own, known: Tensor, light: Light, of_it: Taken
    ) -> dict[str, Tensor]:
        """What of the answer is shown, by a strength of up to 1, and as far as the scene is known to be the
        reference's."""
        ycc, confidence = shown_of(answer["ycc"][0], answer["confidence"][0, 0], own, light, of_it)
        if (strength := np.float32(self.given.strength)) < 1:
            without = own.as_shown()
            ycc = without + strength * (ycc - without)
        both = {"ycc": ycc[None], "confidence": confidence[None, None]}
        if known.item() == 1.0:
            return both
        return {name: answer[name] + known * (one - answer[name]) for name, one in both.items()}

    def prepare(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """Compile for frames of this size, and for references to come; what the band's network says of it.

        No reference is looked for in it: it shows nothing.
        """
        answer = self._own.infer(luma)
        self._size = (luma.shape[2], luma.shape[3])
        self.prepare_for(self.given.encoded)
        return answer

    def prepare_for(self, encoded: Encoded | None) -> None:
        """Compile for a reference before it is in use, of `None` for one of usual shape; any thread."""
        if self._size is None:
            return
        height, width = self._size
        rows, columns = height // CELL_PX, width // CELL_PX
        known = self.given.usual_tokens() if encoded is None else encoded.tokens
        tokens = {name: one.shape for name, one in known.items()}
        if self._early is not None:
            self._early.prepare_early((1, 1, height, width))
            tokens[EARLY] = (1, EARLY_CHANNELS, rows, columns)
        self._frames.prepare(
            {
                "luma": (1, 1, height, width),
                "own": (1, 3, height, width),
                "sureness": (1, 1, height, width),
                "place": (1, 2, rows, columns),
                "there": (1, 2, tokens["keys"][2]),
                "known": (1, 1, 1, 1),
                "strength": (1, 1, 1, 1),
                **tokens,
            }
        )

    def abandon(self) -> None:
        """A call hangs: the band's network is not given to anybody else."""
        if isinstance(self._own, NetworkSeat):
            self._own.abandon()

    def close(self) -> None:
        for network in (self._own, self._frames):
            network.close()


def evenly(ycc: Tensor, own: Tensor) -> Tensor:
    """What is matched by content with a picture of another scene, without patches; a new array.

    Wrong matches differ from place to place, right ones agree: taken is what local linear models of the luma
    say of large windows, as far as they explain what lies there. Where color was taken away from a thing, its
    hue alone changes.

    Args:
        ycc: (1, 3, H, W) Y', Cb, Cr, BT.601 full range, by what was matched.
        own: (3, H, W) the band's own.
    """
    height, width = own.shape[1:]
    cells = (max(1, width // CELL_PX), max(1, height // CELL_PX))
    luma, blue, red = (cv2.resize(plane, cells, interpolation=cv2.INTER_AREA) for plane in own)
    away = [
        cv2.resize(plane, cells, interpolation=cv2.INTER_AREA) - before
        for plane, before in zip(ycc[0, 1:], (blue, red), strict=True)
    ]
    lost = np.minimum(away[0] * blue + away[1] * red, 0.0) / (blue * blue + red * red + np.float32(1e-8))
    away = [change - lost * before for change, before in zip(away, (blue, red), strict=True)]
    seen = guided.windows(np.asarray(luma, np.float32), AGREE_CELLS)
    models = [guided.fit(seen, change, AGREE_CONTRAST) for change in away]
    even = [model.slope * luma + model.offset for model in models]
    power = guided.box(away[0] ** 2 + away[1] ** 2, seen.side_px)
    agree = np.minimum((even[0] ** 2 + even[1] ** 2) / (power + np.float32(1e-8)), 1.0)
    colorful = blue * blue + red * red
    agree *= colorful / (colorful + np.float32(GRAY_STAYS**2))
    made = np.array(own[None], np.float32)
    for plane, change in zip(made[0, 1:], even, strict=True):
        plane += cv2.resize(agree * change, (width, height))
    return made


def _early_of(own: Network, frames: Graph) -> KnowsEarly | None:
    """The band's network where the reference's begins with its very layers, and need not compute them."""
    if not isinstance(own, KnowsEarly) or not isinstance(frames, TakesEarly):
        return None
    return own if alike(own.first_layers(), frames.first_layers()) else None


def by_reference(
    own: Network,
    band: str,
    options: NetworkOptions,
    strength: float,
    opener: OpenGraph = open_graph,
    instead: Unsure = "auto",
    frames: Path | None = None,
) -> ExemplarNetwork:
    """A band's network with one that looks at a reference, and a reference of its own; see `GivenPicture`.

    Raises:
        EngineUnavailable, EngineOptionError: as of both; the band's network is closed then.
    """
    try:
        given = GivenPicture(band, options, strength, opener, instead, frames)
        try:
            return ExemplarNetwork(own, given, options, opener)
        except BaseException:
            given.close()
            raise
    except BaseException:
        own.close()
        raise


class PreparedNetwork:
    """A network as it is called with a picture that shows nothing, before the first frame."""

    lanes, best_batch = 1, 1

    def __init__(self, network: Network) -> None:
        self._network = network

    @property
    def name(self) -> str:
        return self._network.name

    def infer(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        """Compile for pictures of this size."""
        network = self._network
        return network.prepare(luma) if isinstance(network, ExemplarNetwork) else network.infer(luma)

    def close(self) -> None:
        """The network is its owner's to close."""


def share_taken(strength: float, known: float) -> float:
    """What the network is told as its strength, where the scene is known to be the reference's so far: there
    what is shown goes with strength, evenly, and so never back (`ExemplarNetwork._shown`)."""
    return known + CONTENT * strength * (1.0 - known)
