"""The reference network: which place of a color picture each place of the infrared is like, and what to take.

Everything happens in cells of 8 x 8 pixels, on top of what the band's `fast` network says. A similarity
branch compares both pictures; the color branch takes color and low-pass tone from the places that agree
both ways; where the reference has nothing to offer, the band's own answer stands (He et al.'s perceptual
branch), to which a gate that starts nearly shut gives way.

Reference: He, Chen, Liao, Sander, Yuan, Deep Exemplar-based Colorization, SIGGRAPH 2018, sections 3 and 4.
Different here: both features and attention are learned (there VGG-19 and PatchMatch), the similarity's
second direction is a soft round trip, tone is taken too, as infrared luma is not that of the scene, and the
color is put on the pixels by local linear models of the infrared (He, Sun, Fast Guided Filter, 2015).
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.training.encoder import Encoder
from irchroma.engines.training.exemplar.modules import DIM, Side, Trunk, direction_of, of_length_one

CELL_PX = 8
SIGNATURE = 16
"""Numbers by which a place is known again after the round trip."""
SHARPNESS = 8.0
"""To begin with: factor on the cosine of two places before the softmax."""
GATES = 4
"""Matched tone and chroma, global tone and chroma."""
SHUT = -2.0
"""To begin with: logit of the gates."""
FLAT = 4e-3
"""Variance of the infrared's cells below which they explain nothing (the guided filter's ridge)."""
NEAR, REACH = 150.0, 0.3
"""To begin with: logits that a place loses by the square of its distance from where geometry has it (a
picture is 2 wide), and the distance from which that hardly grows: beyond what both show content decides."""
YCC_LIMITS = (0.0, -0.5, -0.5), (1.0, 0.5, 0.5)
"""Of Y', Cb, Cr."""
STEEPEST = 0.6
"""Change of color by a change of luma at most."""
MOST_STRETCHED = 2.5


@dataclass(frozen=True)
class Modules:
    """What is in the network; each can be left out to see what it is worth.

    Attributes:
        mfim: several receptive fields.
        csfem: channel and spatial enhancement.
        isga: the gradient of the color does not reach the reference's side of the attention.
        both_ways: the gate sees the round trip.
        whole: the reference's statistics as a second source.
    """

    mfim: bool = True
    csfem: bool = True
    isga: bool = True
    both_ways: bool = True
    whole: bool = True


@dataclass
class Tokens:
    """A reference as the network knows it, M cells.

    Attributes:
        keys: (N, dim, M) of length 1.
        values: (N, M, 8) Y', Cb, Cr (BT.601 full range) of the cells, their squares, and x and y.
        scene: (N, dim, 1, 1) mean direction of the whole picture, of length 1.
        level: (N, 6, 1, 1) mean and standard deviation of Y', Cb, Cr.
        bias: (N, 1, M) added to the similarities: 0, or strongly negative where the reference is not trusted.
        there: (N, 2, M) where a cell lies in the infrared's picture, x and y in [-1, 1] and beyond.
        known: (N, 1, 1, 1) 1 where geometry has found both to be of one scene, 0 where it has not.
    """

    keys: Tensor
    values: Tensor
    scene: Tensor
    level: Tensor
    bias: Tensor
    there: Tensor
    known: Tensor


@dataclass
class Matched:
    """What the network says.

    Attributes:
        ycc: (N, 3, H, W).
        confidence: (N, 1, H, W).
        similarity: (N, P, M) logits, of cells of the infrared and of the reference, by content alone.
        gates: (N, 4, h, w).
    """

    ycc: Tensor
    confidence: Tensor
    similarity: Tensor
    gates: Tensor


def pooled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 8, W / 8), means of cells."""
    return functional.avg_pool2d(x, CELL_PX)


def statistics(small: Tensor) -> Tensor:
    """(N, 3, h, w) -> (N, 6, 1, 1): means, then standard deviations."""
    mean = small.mean((2, 3), keepdim=True)
    centered = 4.0 * (small - mean)  # squares of small chroma are denormals in float16
    spread = 0.25 * torch.sqrt((centered * centered).mean((2, 3), keepdim=True) + 1e-3)
    return torch.cat([mean, spread], dim=1)


class ReferenceSide(nn.Module):
    """The reference's encoder: what is computed once for a picture."""

    def __init__(self, encoder: Encoder, modules: Modules, dim: int = DIM) -> None:
        super().__init__()
        self.side = Side(encoder, modules.mfim, modules.csfem, dim)

    def forward(self, luma: Tensor, place: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """`keys` (N, dim, M) and `scene` (N, dim, 1, 1) of (N, 1, H, W) luma, its cells' places and `ycc`."""
        _, compared = self.side(luma, place, small)
        scene = of_length_one(compared.mean((2, 3), keepdim=True))
        return direction_of(compared).flatten(2), scene


class ReferenceNetwork(nn.Module):
    """Both encoders, the attention between them and the gate.

    Args:
        infrared: encoder of the band's frames.
        visible: encoder of gray photographs, which sees the reference's luma: its features hold whatever the
            color. Best of one origin with the other: both sides begin with the same layers behind it.
        modules: what is in it.
        dim: channels of the features that are compared.
    """

    def __init__(
        self, infrared: Encoder, visible: Encoder, modules: Modules | None = None, dim: int = DIM
    ) -> None:
        super().__init__()
        self.modules_in, self.dim = modules or Modules(), dim
        modules = self.modules_in
        self.infrared = Side(infrared, modules.mfim, modules.csfem, dim)
        self.reference = ReferenceSide(visible, modules, dim)
        for mine, theirs in zip(self.infrared.children(), self.reference.side.children(), strict=True):
            if not isinstance(mine, Trunk):
                theirs.load_state_dict(mine.state_dict())
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.signature = nn.Conv2d(dim, SIGNATURE, 1)
        self.near = nn.Parameter(torch.tensor(NEAR).log())
        seen = dim + 3 * 5 + 2 * 3 + 5
        self.look = nn.Conv2d(seen, 32, 3, padding=1)
        self.gate = nn.Conv2d(32, GATES, 3, padding=1)
        nn.init.normal_(self.gate.weight, std=0.01)
        nn.init.constant_(self.gate.bias, SHUT)

    def tokens(
        self, ycc: Tensor, place: Tensor, there: Tensor | None = None, known: Tensor | None = None
    ) -> Tokens:
        """A reference, encoded.

        Args:
            ycc: (N, 3, H, W) Y', Cb, Cr, BT.601 full range.
            place: of its cells.
            there, known: see `Tokens`; None where geometry has not found it.
        """
        small = pooled(ycc)
        keys, scene = self.reference(ycc[:, 0:1], place, small)
        values = torch.cat([small, small * small, place], dim=1).flatten(2).transpose(1, 2)
        bias = torch.zeros_like(keys[:, :1])
        if there is None or known is None:
            there, known = place.flatten(2), torch.zeros_like(scene[:, :1])
        return Tokens(keys, values, scene, statistics(small), bias, there, known)

    def forward(
        self, luma: Tensor, own: Tensor, confidence: Tensor, place: Tensor, tokens: Tokens, strength: Tensor
    ) -> Matched:
        """Color by the reference.

        Args:
            luma: (N, 1, H, W) in [0, 1], H and W multiples of 32.
            own: (N, 3, H, W) the band's own answer, `ycc`.
            confidence: (N, 1, H, W) of it.
            place: (N, 2, H / 8, W / 8) of the cells.
            tokens: of the reference.
            strength: (1, 1, 1, 1) in [0, 1].
        """
        small = pooled(own)
        features, compared = self.infrared(luma, place, small)
        direction = direction_of(compared)
        height, width = features.shape[2], features.shape[3]
        query = direction.flatten(2).transpose(1, 2)  # (N, P, dim)
        sharpness = self.sharpness.exp()
        similarity = query @ tokens.keys * sharpness
        content = similarity
        if self.training and self.modules_in.isga:
            content = query @ tokens.keys.detach() * sharpness
        attended = content + tokens.bias + self._geometry(place, tokens)
        share = torch.softmax(attended, dim=2)

        def at_places(rows: Tensor) -> Tensor:
            return rows.transpose(1, 2).reshape(rows.shape[0], -1, height, width)

        taken = at_places(share @ torch.cat([tokens.values, tokens.there.transpose(1, 2)], dim=2))
        matched = taken[:, 0:3]
        spread = torch.sqrt((taken[:, 3:6] - matched * matched).clamp(min=0.0) + 1e-4)
        nearness = at_places((share * content).sum(2, keepdim=True)) / sharpness
        mark = of_length_one(self.signature(features))
        if self.modules_in.both_ways:
            back = torch.softmax(attended, dim=1).transpose(1, 2)  # (N, M, P)
            returned = at_places(share @ (back @ mark.flatten(2).transpose(1, 2)))
            agreed = (of_length_one(returned) * mark).sum(1, keepdim=True)
        else:
            agreed = torch.ones_like(nearness)
        level = statistics(small)
        stretch = (tokens.level[:, 3:6] / level[:, 3:6]).clamp(1 / MOST_STRETCHED, MOST_STRETCHED)
        whole = tokens.level[:, 0:3] + (small - level[:, 0:3]) * stretch
        alike = (of_length_one(compared.mean((2, 3), keepdim=True)) * tokens.scene).sum(1, keepdim=True)
        where = taken[:, 6:8]  # places that are neighbors here are so there, if it is one scene
        astray = (where - functional.avg_pool2d(where, 5, 1, 2, count_include_pad=False)).abs()
        seen = torch.cat(
            [
                features,
                4.0 * (matched - small),
                4.0 * (whole - small),
                4.0 * small - 1.0,
                4.0 * matched - 1.0,
                8.0 * spread,
                where,
                8.0 * astray,
                8.0 * tokens.known * (taken[:, 8:10] - place),
                nearness,
                agreed,
                alike.expand_as(nearness),
                tokens.known.expand_as(nearness),
                pooled(confidence),
            ],
            dim=1,
        )
        gates = torch.sigmoid(self.gate(functional.relu(self.look(seen))))
        kin = tokens.known  # only of its own scene's picture are tone and cast taken
        gates = torch.cat([gates[:, 0:1] * kin, gates[:, 1:2], gates[:, 2:4] * kin], dim=1)
        change = strength * (self._change(gates, matched - small, whole - small))
        change, surer = _on_pixels(change, strength * gates[:, 1:2], luma)
        least, most = (own.new_tensor(limits).reshape(1, 3, 1, 1) for limits in YCC_LIMITS)
        ycc = torch.minimum(torch.maximum(own + change, least), most)
        surer = confidence + (1.0 - confidence) * surer
        return Matched(ycc, surer.clamp(0.0, 1.0), similarity, gates)

    def _geometry(self, place: Tensor, tokens: Tokens) -> Tensor:
        """(N, P, M) logits: how far the reference's cells are from where geometry has the infrared's."""
        here, there = place.flatten(2).transpose(1, 2), tokens.there
        away = (here * here).sum(2, keepdim=True) + (there * there).sum(1, keepdim=True)
        away = (away - 2.0 * (here @ there)).clamp(min=0.0)
        strictness = self.near.exp() * tokens.known[:, :, :, 0]
        return -strictness * away / (1.0 + away * (1.0 / REACH**2))

    def _change(self, gates: Tensor, matched: Tensor, whole: Tensor) -> Tensor:
        """(N, 3, h, w): what to add to the cells' own color at full strength."""
        near = torch.cat([gates[:, 0:1], gates[:, 1:2], gates[:, 1:2]], dim=1)
        change = near * matched
        if self.modules_in.whole:
            far = torch.cat([gates[:, 2:3], gates[:, 3:4], gates[:, 3:4]], dim=1)
            change = change + (1.0 - near) * far * whole
        return change


def _on_pixels(change: Tensor, surer: Tensor, luma: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, h, w) and (N, 1, h, w) at the cells -> at the pixels, edges of the first where the luma's are.

    All is enlarged at once: by OpenVINO one plane takes as long as seven.
    """

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    gray = pooled(luma)
    mean_gray, mean_change = mean(gray), mean(change)
    away = mean(gray * gray) - mean_gray * mean_gray
    slope = (mean(change * gray) - mean_change * mean_gray) / (away.clamp(min=0.0) + FLAT)
    slope = slope.clamp(-STEEPEST, STEEPEST)
    offset = mean_change - slope * mean_gray
    cells = torch.cat([mean(torch.cat([slope, offset], dim=1)), surer], dim=1)
    pixels = functional.interpolate(cells, scale_factor=float(CELL_PX), mode="bilinear")
    slope, offset, surer = torch.split(pixels, [3, 3, 1], dim=1)
    return slope * luma + offset, surer


class ExportedMatcher(nn.Module):
    """What is exported for the frames: tokens as plain tensors."""

    def __init__(self, network: ReferenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        luma: Tensor,
        own: Tensor,
        sureness: Tensor,
        place: Tensor,
        keys: Tensor,
        values: Tensor,
        scene: Tensor,
        level: Tensor,
        bias: Tensor,
        there: Tensor,
        known: Tensor,
        strength: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """See `ReferenceNetwork.forward` -> `ycc`, `confidence`."""
        said = self.network(
            luma, own, sureness, place, Tokens(keys, values, scene, level, bias, there, known), strength
        )
        return said.ycc, said.confidence
