"""What of a reference is shown: the hues of a dark picture under the frame's own tone, and nothing where the
infrared's structure would be lost.

A picture by night is nearer to what the eye saw there, and nobody wants to watch it: people and trees drown
in it. Its hues are taken where something is lit, on the tones that are shown without it; tail lights, signs
and glare are no surface's color, and are held back. And wherever the infrared has edges that what is shown
has not, the own picture is the better one, whatever the reference says. Who asks for more than a strength of
1 gets the night: beside thermal under the sensor's own detail (`dusk.in_tone`). So does, up to 1 already, who
has named this very picture (`Reference.wished`): then the own picture is brought to that tone first, the
night's colors on it, and over that the picture itself, of a dark one `WISHED_LAID`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import SURE, UNSURE
from irchroma.engines.reference import registration, structure
from irchroma.engines.reference.dusk import dimmed, in_tone, tone_of, warm
from irchroma.engines.reference.preference import Compared, sky_of, small_size

Plane = NDArray[np.float32]

DARK = (0.18, 0.26)
"""Median Y' of a picture, [0, 1], up to which it is dark, and from which it is not: pictures by night under
lamps have 0.10 to 0.17, by day 0.27 to 0.7, and a tree that fills it 0.15, whose tone nobody liked either."""
NIGHT_SKY, BRIGHTEST, DEEP = (0.62, 0.7), 80, 2.0
"""Y' in the upper third of a picture up to which it is one by night, and from which it is not; which
percentile that is; how much of Cb counts with it, as a deep blue sky is dark by day. Of 22 pictures from a
car the eleven by night, which are brightened, have 0.36 to 0.62, by day 0.79 and more."""
SHADE = (0.18, 0.21)
"""Y' of a picture's darkest quarter up to which no daylight falls on it, however bright it is above, and from
which it may: where headlamps lit a street up to the top of the picture it was 0.15 to 0.18. By day one in
twenty pictures of streets and places has below 0.19; those from a car beside thermal have 0.43 and more."""
LAID_OVER = 0.5
"""Of a picture by night, what of it lies over a thermal frame where its tone comes: with all of it people
were lost in a market, with nothing of it signs and windows."""
WISHED_LAID = 0.4
"""The same of a dark one whose tone is wished for: signs and lit windows of a market. With more of it later
frames of a fixed camera had edges that the sensor has not."""
LIT, BY_NIGHT = (0.1, 0.4), 0.3
"""Y' that is shown from which a place is lit, and is wholly, and the share of a dark picture's color that is
taken there: what lamps did to shadows is murk, and with nine tenths a viewer saw brown patches."""
LIFTED = 2.0
"""Most that a dark picture's chroma is raised with its tone, or lowered."""
CAST = 0.03
"""Most of what a dark picture's colors have in common, sqrt(Cb^2 + Cr^2), the light of its lamps."""
CALM, MOST = 0.01, 0.025
"""How far a color is from it that is shown as it is, and what that never exceeds."""
WISHED_COLOR, WISHED_MOST, WISHED_PINK = 0.9, 0.05, 0.4
"""In place of `BY_NIGHT`, `MOST` and `PINK_LEFT` where the night's tone is wished for: as dark as that its
colors are no murk; tail lights on a road that has none now still are."""
LAMPS = 0.08
"""Most Y' that a night that is wished for is brighter than none: headlamps of then light no road of now."""
PINK, PINK_LEFT = np.exp(1j * np.pi / 3), 0.2
"""Direction of pink in Cb + i Cr, between purple and red, and what is left of it."""
KEPT = (0.3, 0.65)
"""Share of the infrared's edges that what is shown has, up to which it shows nothing, and all."""
LEAST_EDGES_PX = 80
"""Least long side at which edges are compared."""
AROUND_PX = 3.0
"""Gaussian sigma of the surroundings whose edges count, at `registration.COARSE_PX`."""
CLEAR_LEVELS = 3.0
"""Slope of the infrared, gray levels a pixel, of an edge that counts half."""
RICH = (0.15, 0.4)
"""Mean clearness of the edges around a place, from which it begins to be full of them, and is."""
BORDER_SHARE = 0.04
"""Softness of a reference's borders where it does not fill the picture, of the long side."""
FLAT = 0.02
"""Added to the edges around: where there are hardly any, nothing is lost."""


@dataclass(frozen=True, slots=True)
class Light:
    """How dark a reference is, and what its colors have in common then.

    Attributes:
        dark: 1 by night, 0 by day, [0, 1].
        cast: Cb + i Cr, held at `CAST`.
        night_sky: 1 where nothing above is as bright as a sky by day, or lamps alone lit it, [0, 1]; so is a
            wood, and where the infrared cannot tell leaves by their brightness, as thermal's cannot, that
            is no loss.
    """

    dark: float
    cast: complex
    night_sky: float = 0.0

    @staticmethod
    def of(ycc: Plane, height: Plane) -> Light:
        """Args:
        ycc: (n, 3) Y'CbCr of a picture's trusted pixels or cells, BT.601 full range.
        height: (n,) of their middles, -1 at the top and 1 at the bottom.
        """
        # Column by column: along the rows of so many numpy takes twice as long.
        luma, blue, red = (float(np.median(np.ascontiguousarray(column))) for column in ycc.T)
        low, high = DARK
        common = complex(blue, red)
        common *= min(1.0, CAST / max(abs(common), 1e-6))
        dark = float(np.clip((high - luma) / (high - low), 0.0, 1.0))
        sky_luma, sky_blue = ycc[height < -1 / 3, :2].T
        above = sky_luma + np.float32(DEEP) * np.maximum(sky_blue, 0.0)
        low, high = NIGHT_SKY
        sky = float(np.percentile(above, BRIGHTEST)) if above.size else high
        night = np.clip((high - sky) / (high - low), 0.0, 1.0)
        low, high = SHADE
        lamps = np.clip((high - np.percentile(ycc[:, 0], 25)) / (high - low), 0.0, 1.0)
        return Light(dark, common, float(max(night, lamps)))

    def by_night(self, thermal: bool) -> float:
        """How far it is one by night, [0, 1]: a dark one, and beside thermal one without a bright sky."""
        return max(self.dark, self.night_sky) if thermal else self.dark

    def own_tone(self, taken: Taken) -> float:
        """How far a dark picture's colors come to the frame's own tone, [0, 1]."""
        return self.dark * taken.held

    def dusk(self, taken: Taken, thermal: bool) -> float:
        """How far a night's tone comes instead, [0, 1], under the sensor's detail, which is thermal's."""
        return self.by_night(thermal) * taken.night if thermal else 0.0

    def wished(self, taken: Taken, thermal: bool) -> float:
        """How far a night's tone comes because somebody wishes for it, all else held back, [0, 1]."""
        return self.dusk(taken, thermal) - self.dusk(taken.chosen(), thermal)

    def laid_over(self, taken: Taken, thermal: bool) -> float:
        """How far its picture itself may lie over the frame, [0, 1]; of a dark one `WISHED_LAID` over the
        tone that is wished for. A lighter one, a car's night or a day under a roof or in a wood, lies over
        it wholly."""
        beyond = self.dark * self.dusk(taken.chosen(), thermal)
        share = 1.0 - self.own_tone(taken) - (1.0 - LAID_OVER) * beyond
        wished = self.dark * self.wished(taken, thermal)
        return share + wished * (WISHED_LAID - share)


@dataclass(frozen=True, slots=True)
class Taken:
    """How much is taken of a reference of the scene.

    Attributes:
        held: how far that is held back which viewers turned from, [0, 1].
        night: how far a night's tone is taken, [0, 1].
    """

    held: float
    night: float

    def chosen(self) -> Taken:
        """The same where a machine has chosen the picture."""
        return Taken(self.held, 1.0 - self.held)

    @staticmethod
    def of(strength: float, wished: bool) -> Taken:
        """All is held back up to a strength of 1, nothing at 2; the tone of a night that somebody wishes for
        comes with strength from 0 to 1.

        Args:
            strength: how much the reference counts, [0, 2].
            wished: see `Reference.wished`.
        """
        beyond = min(1.0, max(0.0, strength - 1.0))
        return Taken(1.0 - beyond, min(1.0, strength) if wished else beyond)


@lru_cache(4)
def _unknown(look: BandLook) -> Plane:
    """(3, 256) float32 Y', Cb, Cr of what is not known, by its gray level; not to be written to."""
    gray = np.arange(256, dtype=np.float32)[None] * np.float32(1 / 255)
    return np.vstack([np.broadcast_to(np.float32(one), gray.shape) for one in look.unknown(gray, "auto")])


@dataclass(frozen=True, slots=True)
class Own:
    """A frame as its band's network alone colors it.

    Attributes:
        ycc: (3, h, w) float32 Y', Cb, Cr, BT.601 full range.
        confidence: (h, w) float32.
        luma: (h, w) uint8 infrared.
        look: of the band, whose palette stands where the network is not sure.
    """

    ycc: Plane
    confidence: Plane
    luma: NDArray[np.uint8]
    look: BandLook

    def as_shown(self) -> Plane:
        """(3, h, w) float32, not to be written to: the network's where it is sure, elsewhere what its band
        shows of luma alone."""
        if float(self.confidence.min()) >= SURE:
            return self.ycc
        sure = self.confidence * np.float32(1 / (SURE - UNSURE))
        sure -= np.float32(UNSURE / (SURE - UNSURE))
        np.clip(sure, 0.0, 1.0, out=sure)
        made = np.empty_like(self.ycc)
        for plane, levels in zip(made, _unknown(self.look), strict=True):
            cv2.LUT(self.luma, levels, dst=plane)
        away = self.ycc - made
        away *= sure
        made += away
        return made


def shown_alone(ycc: Plane, confidence: Plane, luma: NDArray[np.uint8], look: BandLook) -> Plane:
    """`Own.as_shown` of (h, w, 3), over which a reference is laid: that makes it surer, and what the network
    guesses there would be seen. The same array where it is sure."""
    if float(confidence.min()) >= SURE:
        return ycc
    planes = np.ascontiguousarray(ycc[..., :3].transpose(2, 0, 1))
    return np.dstack(list(Own(planes, confidence, luma, look).as_shown()))


def shown_of(ycc: Plane, confidence: Plane, own: Own, light: Light, taken: Taken) -> tuple[Plane, Plane]:
    """What of a network's answer by a reference of the scene is shown, both new.

    Args:
        ycc: (3, h, w) float32 Y', Cb, Cr by the reference; not written to.
        confidence: (h, w) float32 of it; not written to.
        own: without it.
        light: of the reference.
        taken: how much of it.
    """
    held = np.float32(taken.held)
    base = shown = own.as_shown()
    night = None
    ycc = Own(ycc, confidence, own.luma, own.look).as_shown()
    thermal, given = own.look.unlit is None, ycc[0]
    wished = np.float32(light.wished(taken, thermal))
    if wished > 0:
        given = given - wished * np.maximum(given - shown[0] - np.float32(LAMPS), 0.0)
        sky = sky_of(shown)
        night = tone_of(own.luma, given, cast(Plane, sky * shown[0]))
        shown = dimmed(shown, night, float(wished))
    both = Compared.of(ycc, shown)
    shares = both.worth()
    if wished < 1:
        keeps = kept(ycc[0], own.luma)
        if wished > 0:
            keeps += wished * (1.0 - keeps)  # the structure is the sensor's there
        shares = keeps * shares[0], keeps * shares[1]
    if held < 1:
        shares = 1.0 - held * (1.0 - shares[0]), 1.0 - held * (1.0 - shares[1])
    tone, color = (cv2.resize(one, given.shape[::-1]) for one in shares)
    if wished > 0:
        color = color + wished * sky * (1.0 - color)  # half blue and half a sunset is mustard
        color *= 1.0 - wished * warm(own.luma)  # people have moved, and have none of its colors
    own_tone = np.float32(light.own_tone(taken))
    if own_tone > 0:
        ycc = by_night(ycc, shown, light, float(own_tone), float(wished))
    if (stays := max(own_tone, wished)) > 0:
        base = shown if stays == 1 else base + stays * (shown - base)
    colored = ycc - base
    if held > 0 and thermal:
        colored[0] += held * both.back_in_band(ycc[0] if own_tone > 0 else None)
    colored[0] *= tone
    colored[1:] *= color
    colored += base
    sure = confidence - own.confidence
    sure *= color
    sure += own.confidence
    np.maximum(sure, np.float32(SURE), out=sure)  # what is shown where nobody is sure is in it already
    if (dusk := light.dusk(taken, thermal)) > 0:
        colored = in_tone(colored, tone_of(own.luma, given) if night is None else night, dusk)
    return np.asarray(colored, np.float32), np.asarray(sure, np.float32)


def by_night(ycc: Plane, shown: Plane, light: Light, own_tone: float, wished: float = 0.0) -> Plane:
    """A dark reference's color, on the tone and beside the colors of what is shown without it.

    Args:
        ycc: (3, h, w) float32 Y', Cb, Cr by the reference.
        shown: (3, h, w) float32 without it, see `Own.as_shown`.
        light: of the reference.
        own_tone: see `Light.own_tone`.
        wished: how far `shown` is in the night's own tone, [0, 1]: `Light.wished`.

    Returns:
        (3, h, w) float32, new: `ycc` where `own_tone` is 0.
    """
    held, let = (BY_NIGHT, MOST, PINK_LEFT), (WISHED_COLOR, WISHED_MOST, WISHED_PINK)
    share, most, left = (a + (b - a) * wished for a, b in zip(held, let, strict=True))
    tone = shown[0]
    lift = np.clip(tone / np.maximum(ycc[0], np.float32(0.02)), 1 / LIFTED, LIFTED)
    blue, red = np.float32(light.cast.real), np.float32(light.cast.imag)
    away_blue, away_red = ycc[1] - blue, ycc[2] - red
    away = cv2.magnitude(away_blue, away_red)
    over, room = np.maximum(away - np.float32(CALM), 0.0), np.float32(most - CALM)
    near = (np.minimum(away, np.float32(CALM)) + room * over / (room + over)) / np.maximum(away, 1e-6)
    blue, red = blue + near * away_blue, red + near * away_red
    across, up = np.float32(PINK.real), np.float32(PINK.imag)
    pink = np.float32(1.0 - left) * np.maximum(across * blue + up * red, 0.0)
    low, high = LIT
    lit = np.clip((tone - np.float32(low)) * np.float32(1 / (high - low)), 0.0, 1.0)
    lit = np.maximum(lit, np.float32(wished)) * np.float32(share)
    made = shown.copy()
    made[1] += lit * (lift * (blue - across * pink) - shown[1])
    made[2] += lit * (lift * (red - up * pink) - shown[2])
    made -= ycc
    made *= np.float32(own_tone)
    made += ycc
    return made


def kept(shown: Plane, luma: NDArray[np.uint8], edges: structure.Edges | None = None) -> Plane:
    """How far what is shown keeps the infrared's edges.

    Args:
        shown: (h, w) float32 Y', [0, 1].
        luma: (h, w) uint8 infrared.
        edges: its structure at `registration.COARSE_PX`, where it is at hand.

    Returns:
        Float32 in [0, 1], at the size of `worth.small_size`.
    """
    if edges is None:
        edges = structure.Edges.of(structure.shrunk(luma, _edges_px(luma.shape)))
    small = cv2.multiply(structure.shrunk(shown, max(edges.squared.shape)), 255.0)
    other = structure.Edges.of(small)
    clear, size = _clear(edges), small_size(luma.shape)
    found, total = (
        cv2.GaussianBlur(
            cv2.resize(cv2.multiply(edges.common(one), clear), size, interpolation=cv2.INTER_AREA),
            (0, 0),
            AROUND_PX * max(size) / min(max(luma.shape), registration.COARSE_PX),
        )
        + np.float32(FLAT)
        for one in (other, edges)
    )
    low, high = KEPT
    share = np.clip((found / total - np.float32(low)) * np.float32(1 / (high - low)), 0.0, 1.0)
    return cast(Plane, cv2.blur(share, (3, 3)))


def _edges_px(size: tuple[int, ...]) -> int:
    """Long side at which the edges of a frame (H, W) are compared: half of its own where that is enough,
    `registration.COARSE_PX` of one of usual size."""
    half = max(size) // 2
    return min(registration.COARSE_PX, half if half >= LEAST_EDGES_PX else max(size))


def surely(matrix: registration.Matrix, luma: NDArray[np.uint8], supported: Plane | None) -> Plane:
    """Where a reference that lies over the frame may be shown: softly less towards its borders, and not where
    the infrared is full of edges, leaves before the sky, that the reference does not have.

    Args:
        matrix: infrared -> reference.
        luma: (h, w) uint8 infrared.
        supported: (h, w) float32 of its detail, see `counterpart.supported`; None for all.

    Returns:
        (h, w) float32 in [0, 1].
    """
    size = (luma.shape[0], luma.shape[1])
    sure = within(matrix, size)
    if supported is not None:
        clear = _clear(structure.Edges.of(registration.resized(luma, registration.COARSE_PX)))
        low, high = RICH
        rich = np.clip((cv2.GaussianBlur(clear, (0, 0), AROUND_PX) - low) / (high - low), 0.0, 1.0)
        sure *= 1.0 - (1.0 - supported) * cv2.resize(rich, size[::-1])
    return np.asarray(sure, np.float32)


def within(matrix: registration.Matrix, size: tuple[int, int]) -> Plane:
    """(h, w) float32 in [0, 1], new: where a reference is at all, softly less towards its borders.

    Args:
        matrix: infrared -> reference.
        size: (h, w) of the infrared.
    """
    inside = registration.warp(np.full(size, 255, np.uint8), matrix, size, cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(
        inside.astype(np.float32) / 255, (0, 0), BORDER_SHARE * max(size), borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(np.clip(2.0 * soft - 1.0, 0.0, 1.0), np.float32)


def _clear(edges: structure.Edges) -> Plane:
    """How clear an edge every pixel of the infrared is, [0, 1)."""
    return np.asarray(edges.squared / (edges.squared + np.float32(CLEAR_LEVELS**2)), np.float32)
