"""Training triples of the reference network: an infrared frame, its true color, and a picture given with it.

As He et al. (2018, section 4.2) propose: the scene's other crop, turned, mirrored and stretched; its other
frame where there are sequences; and a picture of another scene. Truth and reference get the same random cast,
contrast and saturation: the network can only know it from the reference. So does the chroma of the band's own
answer, which is the goal where the reference is of another scene: such a picture as it is must not harm, and
one with another palette gives that palette to what is alike. Pieces of other pictures are pasted into the
reference: what stood there and stands there no longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from irchroma.engines.network.network import Network
from irchroma.engines.recolor.color_space import BT601
from irchroma.engines.training.color.augmentation import degrade
from irchroma.engines.training.color.objective import rgb_to_ycc
from irchroma.engines.training.exemplar.modules import places
from irchroma.engines.training.exemplar.network import CELL_PX
from irchroma.engines.training.pictures import Picture, read_color, read_pairs, read_parts

OTHER_SCENE, OTHER_FRAME = 0.4, 0.08
"""Shares of the triples; the rest are other crops of the same picture."""
CAST_SHARE, STRONG_SHARE = 0.65, 0.15
"""Triples whose colors are changed, and those where they are changed beyond what is natural."""
PASTED_SHARE = 0.3
NEAREST_FRAMES = 12
MIRRORED = 0.3
"""References seen as in a mirror: places are then no hint."""
FOUND_SHARE, MISLAID = 0.9, 0.02
"""Of the scene's other crops, those that geometry is taken to find, and how far off it then is (of 2)."""
NOTHING = -1


@dataclass
class Triples:
    """Tensors of N triples, S pixels a side.

    Attributes:
        luma: (N, 1, S, S) float32 infrared, [0, 1].
        own: (N, 3, S, S) `ycc` that the band's network answers.
        confidence: (N, 1, S, S) of it.
        rgb: (N, 3, S, S) true R'G'B', [0, 1].
        reference: (N, 3, S, S) R'G'B' given with it.
        place: (N, 2, S / 8, S / 8) of the cells of both.
        partner: (N, P) int64 cell of the reference that shows the same as a cell of the infrared, -1 for none
            or not known.
        same: (N, 1, 1, 1) float32, 1 where both are of one scene.
        there: (N, 2, P) where the reference's cells lie in the infrared's picture, [-1, 1] and beyond.
        known: (N, 1, 1, 1) float32, 1 where geometry is taken to have found that.
        goal: (N, 3, S, S) `ycc` to be answered: the truth, and with another scene's picture the band's own
            answer, its chroma under that picture's cast.
    """

    luma: Tensor
    own: Tensor
    confidence: Tensor
    rgb: Tensor
    reference: Tensor
    place: Tensor
    partner: Tensor
    same: Tensor
    there: Tensor
    known: Tensor
    goal: Tensor

    def to(self, device: torch.device) -> Triples:
        return Triples(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class ReferencePictures:
    """The pairs of a band, its sequences, and color pictures of anything.

    Args:
        data: see `read_parts`; and `thermal_video/..`, `color/..` where they are.
        band: `nir` or `thermal`.
        network: the band's own, whose answers are the starting point.
    """

    def __init__(self, data: Path, band: str, network: Network) -> None:
        self.network = network
        self.pairs, self.validation = read_parts(data, band)
        self.sequences: list[list[Picture]] = []
        if band == "thermal" and (data / "thermal_video" / "train").is_dir():
            for folder in sorted((data / "thermal_video" / "train").iterdir()):
                self.sequences.append(read_pairs(folder))
        self.others = [
            picture for name in ("places", "camvid", "bsds") for picture in read_color(data / "color" / name)
        ]

    def batch(self, size: int, side: int, random: np.random.Generator) -> Triples:
        """`size` triples of `side` pixels."""
        made = [self._triple(side, random) for _ in range(size)]
        lumas = np.stack([one.luma for one in made])[:, None].astype(np.float32)
        answered = [self.network.infer(one[None]) for one in lumas]  # copied: the runtime's own memory
        own = np.concatenate([np.array(ycc, np.float32) for ycc, _ in answered])
        sure = np.concatenate([np.array(confidence, np.float32) for _, confidence in answered])
        cells = side // CELL_PX

        def stacked(pictures: Sequence[np.ndarray]) -> Tensor:
            every = torch.from_numpy(np.stack(pictures).astype(np.float32))
            return every.permute(0, 3, 1, 2).contiguous()

        goals = []
        for one, ycc in zip(made, own, strict=True):
            answer = one.truth
            if not one.same:
                answer = rgb_of(ycc.transpose(1, 2, 0))
                answer = answer if one.cast is None else one.cast.of(answer)
            goals.append(answer)
        goal = rgb_to_ycc(stacked(goals))
        same = torch.tensor([float(one.same) for one in made]).view(-1, 1, 1, 1)
        mine = torch.from_numpy(own)
        goal = torch.cat([same * goal[:, 0:1] + (1 - same) * mine[:, 0:1], goal[:, 1:3]], dim=1)
        return Triples(
            torch.from_numpy(lumas),
            mine,
            torch.from_numpy(sure),
            stacked([one.truth for one in made]),
            stacked([one.given for one in made]),
            places(size, cells, cells),
            torch.from_numpy(np.stack([one.partner for one in made]).astype(np.int64)),
            same,
            torch.from_numpy(np.stack([one.lies for one in made]).astype(np.float32)),
            torch.tensor([float(one.known) for one in made]).view(-1, 1, 1, 1),
            goal,
        )

    def _triple(self, side: int, random: np.random.Generator) -> _Triple:
        kind = random.random()
        framed = kind >= 1.0 - OTHER_FRAME and bool(self.sequences)
        if framed:
            sequence = self.sequences[int(random.integers(len(self.sequences)))]
            index = int(random.integers(len(sequence)))
            away = int(random.integers(-NEAREST_FRAMES, NEAREST_FRAMES + 1))
            picture = sequence[index]
            source = sequence[int(np.clip(index + away, 0, len(sequence) - 1))].rgb
        else:
            picture = self.pairs[int(random.integers(len(self.pairs)))]
            source = picture.rgb
        way = window(picture.rgb.shape[:2], side, random, turns=False)
        luma = taken(picture.infrared, way, side).astype(np.float32) / 255.0
        truth = taken(picture.rgb, way, side).astype(np.float32) / 255.0
        partner = np.full((side // CELL_PX) ** 2, NOTHING, np.int64)
        same = kind >= OTHER_SCENE
        if not same:
            source = self._other(picture, random).rgb
        there = window(source.shape[:2], side, random, turns=True)
        given = taken(source, there, side).astype(np.float32) / 255.0
        known = same and not framed and random.random() < FOUND_SHARE
        if same and not framed:
            partner = partners(way, there, side)
        lies = lying(there, way, side) + random.normal(0.0, MISLAID, (2, 1))
        cast = None
        if random.random() < CAST_SHARE:
            cast = Cast.drawn(random, random.random() < STRONG_SHARE)
            given = cast.of(given)
            truth = cast.of(truth) if same else truth
        if random.random() < 0.4:
            given = Cast.drawn(random, False, 0.3).of(given)
        if random.random() < PASTED_SHARE:
            stranger = self._other(picture, random)
            piece = taken(stranger.rgb, window(stranger.rgb.shape[:2], side, random, turns=True), side)
            given, hidden = pasted(given, piece.astype(np.float32) / 255.0, random)
            partner[np.isin(partner, np.flatnonzero(hidden))] = NOTHING
        if random.random() < 0.4:
            luma = degrade(luma, random)
        return _Triple(luma, truth, given, partner, same, lies, known, cast)

    def _other(self, picture: Picture, random: np.random.Generator) -> Picture:
        """A picture of another scene: half of them of this band's pairs, half of anything."""
        pool: Sequence[Picture] = self.pairs
        if self.others and random.random() < 0.5:
            pool = self.others
        for _ in range(8):
            found = pool[int(random.integers(len(pool)))]
            if found.name != picture.name:
                break
        return found


def window(size: Sequence[int], side: int, random: np.random.Generator, turns: bool) -> np.ndarray:
    """A random square of a picture.

    Args:
        size: (H, W) of the picture.
        side: of the square's pixels when it is cut out.
        random: where the dice come from.
        turns: turned, stretched and mirrored too.

    Returns:
        (2, 3) float64: pixels of the cut to those of the picture.
    """
    height, width = int(size[0]), int(size[1])
    longest = min(height, width)
    span = longest * math.exp(random.uniform(math.log(0.5), 0.0))
    span = max(span, min(longest, side / 2))
    scale = span / side
    angle = random.normal(0.0, 0.07) if turns else 0.0
    stretch = math.exp(random.normal(0.0, 0.08)) if turns else 1.0
    flip = -1.0 if turns and random.random() < MIRRORED else 1.0
    if not turns and random.random() < 0.5:
        flip = -1.0
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = scale * turn @ np.diag([flip * stretch, 1.0 / stretch])
    middle = np.array(
        [random.uniform(span / 2, width - span / 2), random.uniform(span / 2, height - span / 2)]
    )
    shift = middle - matrix @ np.full(2, (side - 1) / 2)
    return np.hstack([matrix, shift[:, None]])


def taken(pixels: np.ndarray, way: np.ndarray, side: int) -> np.ndarray:
    """(S, S) or (S, S, 3) uint8: what `window` has found."""
    scale = math.sqrt(abs(float(np.linalg.det(way[:, :2]))))
    if scale > 1.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * scale)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(pixels, way, (side, side), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cut, np.uint8)


def lying(way: np.ndarray, there: np.ndarray, side: int) -> np.ndarray:
    """(2, P) float64: where the cells cut out by `way` lie in the cut `there`, [-1, 1] and beyond."""
    cells = side // CELL_PX
    middles = (np.arange(cells) + 0.5) * CELL_PX - 0.5
    x, y = np.meshgrid(middles, middles)
    at = way[:, :2] @ np.stack([x.ravel(), y.ravel()]) + way[:, 2:]
    back = np.linalg.inv(there[:, :2]) @ (at - there[:, 2:])
    return np.asarray((back + 0.5) / side * 2.0 - 1.0)


def partners(way: np.ndarray, there: np.ndarray, side: int) -> np.ndarray:
    """(P,) int64: the reference's cell that shows what the infrared's cell shows, -1 outside of it."""
    cells = side // CELL_PX
    back = (lying(way, there, side) + 1.0) * 0.5 * cells
    column, row = np.floor(back).astype(np.int64)
    inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
    return np.where(inside, row * cells + column, NOTHING)


def rgb_of(ycc: np.ndarray) -> np.ndarray:
    """(S, S, 3) float32 R'G'B' in [0, 1] of `ycc`."""
    gray, blue, red = ycc[..., 0], ycc[..., 1], ycc[..., 2]
    made = [gray + 1.402 * red, gray - 0.344136 * blue - 0.714136 * red, gray + 1.772 * blue]
    return np.asarray(np.clip(np.stack(made, -1), 0.0, 1.0), np.float32)


@dataclass(frozen=True)
class Cast:
    """A change of color that a scene's truth and its reference share.

    Attributes:
        gain: (3,) factors on R', G', B'.
        gamma: exponent.
        saturation: factor on the distance from gray.
        hue: turn of the chroma, radians.
        lift: added.
    """

    gain: np.ndarray
    gamma: float
    saturation: float
    hue: float
    lift: float

    @staticmethod
    def drawn(random: np.random.Generator, strong: bool, amount: float = 1.0) -> Cast:
        """One at random; a `strong` one turns the hues."""
        return Cast(
            np.exp(random.normal(0.0, 0.1 * amount, 3)).astype(np.float32),
            math.exp(random.normal(0.0, 0.25 * amount)),
            math.exp(random.normal(0.1 * amount, 0.3 * amount)),
            random.uniform(-math.pi, math.pi) if strong else random.normal(0.0, 0.08 * amount),
            random.normal(0.0, 0.03 * amount),
        )

    def of(self, rgb: np.ndarray) -> np.ndarray:
        """(S, S, 3) float32 in [0, 1], changed."""
        rgb = np.clip(rgb, 0.0, 1.0) ** np.float32(self.gamma) * self.gain
        gray = rgb @ np.array(BT601, np.float32)
        blue, red = (rgb[..., 2] - gray) / 1.772, (rgb[..., 0] - gray) / 1.402
        cos, sin = math.cos(self.hue) * self.saturation, math.sin(self.hue) * self.saturation
        blue, red = cos * blue - sin * red, sin * blue + cos * red
        gray = gray + self.lift
        return rgb_of(np.stack([gray, blue, red], -1))


@dataclass(frozen=True)
class _Triple:
    """One triple: luma (S, S), truth and reference (S, S, 3), float32 in [0, 1]; the rest as `Triples`."""

    luma: np.ndarray
    truth: np.ndarray
    given: np.ndarray
    partner: np.ndarray
    same: bool
    lies: np.ndarray
    known: bool
    cast: Cast | None


def pasted(
    given: np.ndarray, piece: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The reference with one to three pieces of another picture on it, and which cells they cover."""
    side = len(given)
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(random.integers(1, 4))):
        middle = tuple(int(value) for value in random.integers(0, side, 2))
        axes = tuple(int(value) for value in random.uniform(0.04, 0.2, 2) * side)
        if random.random() < 0.5:
            corner = (middle[0] + axes[0], middle[1] + axes[1])
            cv2.rectangle(mask, (middle[0] - axes[0], middle[1] - axes[1]), corner, 1.0, -1)
        else:
            cv2.ellipse(mask, middle, axes, random.uniform(0, 180), 0, 360, 1.0, -1)
    cells = side // CELL_PX
    hidden = mask.reshape(cells, CELL_PX, cells, CELL_PX).mean((1, 3)).ravel() > 0.3
    soft = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
    return np.asarray(given + (piece - given) * soft, np.float32), hidden
