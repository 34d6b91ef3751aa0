"""Calibrates a network's confidence on pictures whose color is known: of its own kind, and of others.

What a confidence says: the mean of exp(-error / 15.3) over places like this, the error of the chroma
(Euclidean in CbCr) in 8-bit levels. How that goes with the decoder's features is learned from pairs of both
kinds; which pictures are of its own kind, from what is common to those and to no others, one kind of others
at a time (`engines.network.trust`): a single line between what is known and thermal pictures, photographs and
noise alike ran through the middle of them. A quarter of every kind, whole runs of names so that no scene is
on both sides, is held back and tells what was reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.network.confidence import MOST_STRANGE, Said, Strangeness, Trust, WatchedNetwork
from irchroma.engines.recolor.recoloring import SURE, UNSURE
from irchroma.engines.recolor.work_picture import padded, reduced, work_size

ERROR_SCALE = 0.06 * 255
"""Levels of error in CbCr at which the confidence to be is 1 / e; training's."""
CELL_PX = 16
"""Places are means over cells of so many work pixels: pairs are not registered to the pixel."""
SCALES = (1.0, 0.6)
"""Of the work size at which pictures are looked at, since runs choose smaller ones where time is scarce."""
POOR_PX, POOR_CONTRAST, POOR_NOISE = 160, 0.6, 3.5
"""What a small camera makes of a scene, by which it shall not look strange: long side, contrast, and noise in
levels, the most that the tone map lets through."""
FOLDS = 8
KNOWN_QUANTILE, APART_QUANTILE, GLIDE = 0.05, 0.01, 1.0
"""Of known pictures' likeness, a logit, to the others of their kind rather than to those beyond or to those
set apart, who are told more clearly: below it a picture is strange, wholly so that much below."""
CAUGHT = 0.95
"""Of a kind of others: a line that so many are beyond is drawn no closer to what is known, as ploughed fields
would be noise otherwise, which is nowhere near them."""
RIGHT_SHARE = 0.25
"""How much pictures beyond whose color comes out right count among what is known."""
FEWEST, FEWEST_APART = 40, 12
STEPS, RIDGE, MEANS_RIDGE = 30, 1e-3, 5e-2
"""Of the regressions; the second of the pictures', of which there are few."""

Luma = NDArray[np.uint8]
Rgb = NDArray[np.uint8]
Pair = tuple[Luma, Rgb | None]
"""A picture and its color; None where it is not known, but the picture is of the network's own kind."""


@dataclass(frozen=True, slots=True)
class Places:
    """Cells of one picture at one scale.

    Attributes:
        scene: (2 k,) features of the whole picture, see `Said`.
        features: (n, c) of the decoder; n is 0 where the color is not known.
        said: (n,) confidence of the network as it is.
        error: (n,) levels of CbCr.
        chroma: (n,) levels of CbCr that the network gives.
    """

    scene: NDArray[np.float64]
    features: NDArray[np.float64]
    said: NDArray[np.float64]
    error: NDArray[np.float64]
    chroma: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sureness:
    """How errors go with confidence, sure to unsure.

    Attributes:
        confidence: mean of each fifth of the places.
        error: mean levels of CbCr of each fifth.
        strange: 10, 50 and 90 % quantile of the pictures' strangeness.
        shown: share of the network's chroma that a picture shows of it.
    """

    confidence: tuple[float, ...]
    error: tuple[float, ...]
    strange: tuple[float, ...]
    shown: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            key: round(value, 3) if isinstance(value, float) else [round(each, 3) for each in value]
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class ConfidenceResult:
    """What was found.

    Attributes:
        trust: to be written into the network.
        before: of the held-back pictures, as the network was: "known", "beyond", "both"; where there are
            some, "apart".
        after: the same with `trust`.
    """

    trust: Trust
    before: dict[str, Sureness]
    after: dict[str, Sureness]


def look(
    network: WatchedNetwork, pairs: Iterable[Pair], work_px: int, poor: bool = False
) -> list[list[Places]]:
    """Every picture at every scale, and, where `poor`, as a small noisy camera would give it besides."""
    seen = []
    for number, (luma, truth) in enumerate(pairs):
        sizes = [max(64, round(work_px * scale)) for scale in SCALES]
        seen.append([_places(network, luma, truth, size) for size in sizes])
        if poor:
            seen[-1].append(_places(network, _poor(luma, number), truth, POOR_PX))
    return seen


def _poor(luma: Luma, seed: int) -> Luma:
    small = reduced(luma, work_size((luma.shape[0], luma.shape[1]), POOR_PX)).astype(np.float32)
    noise = np.random.default_rng(seed).normal(0, POOR_NOISE, small.shape)
    return np.clip(128 + POOR_CONTRAST * (small - 128) + noise, 0, 255).astype(np.uint8)


def calibrate(
    known: Sequence[list[Places]],
    beyond: Mapping[str, Sequence[list[Places]]],
    apart: Sequence[list[Places]] = (),
    quantile: float = KNOWN_QUANTILE,
    spare_right: bool = True,
    spread: bool = True,
) -> ConfidenceResult:
    """Fit and judge.

    Args:
        known: pictures like those of training, in the order of their names.
        beyond: pictures of other kinds, by the name of each.
        apart: pairs of the network's band that shall be strange all the same, as rooms are to a network of
            landscapes: their errors count with those of `known`.
        quantile: share of the known pictures that may be as strange as those beyond.
        spare_right: whether pictures beyond whose color is no further off than the known ones' (their median)
            are no strangers: a street that comes out as gray as it is loses nothing by being believed, and
            doubt of what is right is as wrong as trust in what is not.
        spread: whether a picture is told by the spread of its features, too, or by their mean alone.

    Raises:
        CalibrationError: there are too few pictures.
    """
    count = sum(len(pictures) for pictures in beyond.values())
    if len(known) < FEWEST or count < FEWEST:
        raise CalibrationError(
            f"expected at least {FEWEST} pictures of the network's own kind and as many of others,"
            f" got {len(known)} and {count}"
        )
    if apart and len(apart) < FEWEST_APART:
        raise CalibrationError(
            f"expected at least {FEWEST_APART} pictures that are set apart, got {len(apart)}"
        )
    if not spread:
        known, apart = _by_mean(known), _by_mean(apart)
        beyond = {name: _by_mean(pictures) for name, pictures in beyond.items()}
    whole = _Kinds(known, beyond, apart)
    learned, judges = whole.halves()
    judged = _fit(learned, quantile, spare_right)
    # The held-back pictures have judged; what is written has learned from all of them.
    return ConfidenceResult(
        _fit(whole, quantile, spare_right), _judge(judges, judged, False), _judge(judges, judged, True)
    )


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Pictures by what they are to the network, see `calibrate`."""

    known: Sequence[list[Places]]
    beyond: Mapping[str, Sequence[list[Places]]]
    apart: Sequence[list[Places]]

    @property
    def others(self) -> list[list[Places]]:
        """All that are beyond."""
        return [picture for pictures in self.beyond.values() for picture in pictures]

    def halves(self) -> tuple[_Kinds, _Kinds]:
        """What is learned from, and what is held back."""

        def part(back: bool) -> _Kinds:
            return _Kinds(
                _part(self.known, back),
                {name: _part(pictures, back) for name, pictures in self.beyond.items()},
                _part(self.apart, back),
            )

        return part(False), part(True)


def _by_mean(pictures: Sequence[list[Places]]) -> list[list[Places]]:
    """The same, their features' spread left out."""

    def alone(place: Places) -> Places:
        return replace(place, scene=place.scene * (np.arange(len(place.scene)) < len(place.scene) // 2))

    return [[alone(place) for place in picture] for picture in pictures]


def _part(pictures: Sequence[list[Places]], back: bool) -> list[list[Places]]:
    """A quarter is held back, in eight runs of neighbors in the order of names; or the others."""
    held = (np.arange(len(pictures)) * 32 // max(1, len(pictures))) % 4 == 1
    return [pictures[index] for index in np.flatnonzero(held == back).tolist()]


def _fit(kinds: _Kinds, quantile: float, spare_right: bool) -> Trust:
    strangers, right = kinds.beyond, []
    if spare_right:
        limit = float(np.median([_error(picture) for picture in kinds.known if len(picture[0].error)]))
        right = [picture for picture in kinds.others if _error(picture) < limit]
        strangers = {
            name: [picture for picture in pictures if not _error(picture) < limit]
            for name, pictures in kinds.beyond.items()
        }
    strangeness = _strangeness(kinds.known, right, strangers, quantile)
    if kinds.apart:
        strangeness += _strangeness(kinds.known, [], {"apart": kinds.apart}, APART_QUANTILE)
    doubt = Trust(np.zeros(0), 0.0, strangeness)
    # What is strange is doubted already: how sure a place is, is learned where its picture is not.
    places = [
        (place, 0.5 / (len(group) * len(picture)) * float(1 - doubt.strange(place.scene[None])[0]))
        for group in ([*kinds.known, *kinds.apart], kinds.others)
        for picture in group
        for place in picture
    ]
    whole = sum(share for place, share in places if len(place.error))
    weight, bias = logistic(
        np.concatenate([place.features for place, _ in places]),
        np.exp(-np.concatenate([place.error for place, _ in places]) / ERROR_SCALE),
        np.concatenate([np.full(len(p.error), share / whole / max(1, len(p.error))) for p, share in places]),
    )
    return Trust(weight, bias, strangeness)


def _error(picture: list[Places]) -> float:
    """Mean of all scales in levels of CbCr; infinite where the color is not known."""
    return float(np.mean([places.error.mean() if len(places.error) else np.inf for places in picture]))


def _strangeness(
    own: Sequence[list[Places]],
    right: Sequence[list[Places]],
    others: Mapping[str, Sequence[list[Places]]],
    quantile: float,
) -> tuple[Strangeness, ...]:
    """What tells pictures from each kind of others, and from where on a picture is one of those.

    Kinds of fewer than `FEWEST_APART` pictures have none. Of the known pictures `quantile` at most are
    strange by any of them.
    """
    kinds = [pictures for pictures in others.values() if len(pictures) >= FEWEST_APART]
    if not kinds:
        return ()
    told = [_told(own, right, pictures) for pictures in kinds]
    likeness = np.stack([of_own for of_own, _ in told])
    ranks = np.argsort(np.argsort(likeness, axis=1), axis=1) / len(own)
    least = np.quantile(likeness, float(np.quantile(ranks.min(axis=0), quantile)), axis=1)
    found = []
    for pictures, (_, of_others), limit in zip(kinds, told, least.tolist(), strict=True):
        weight, bias = _likeness(own, right, pictures)
        limit = min(limit, float(np.quantile(of_others, CAUGHT)) + MOST_STRANGE * GLIDE)
        found.append(Strangeness(-weight / GLIDE, (limit - bias) / GLIDE))
    return tuple(found)


def _told(
    own: Sequence[list[Places]], right: Sequence[list[Places]], others: Sequence[list[Places]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Likeness of own pictures to their kind, and of the others, by regressions that have not seen them."""
    folds = [np.arange(len(kind)) * FOLDS // len(kind) for kind in (own, others)]  # whole runs: one scene
    said = np.empty(len(own)), np.empty(len(others))
    for number in range(FOLDS):  # a picture is more like a kind that it is part of
        weight, bias = _likeness(
            [picture for picture, part in zip(own, folds[0], strict=True) if part != number],
            right,
            [picture for picture, part in zip(others, folds[1], strict=True) if part != number],
        )
        for values, kind, fold in zip(said, (own, others), folds, strict=True):
            for index in np.flatnonzero(fold == number).tolist():
                values[index] = float(kind[index][0].scene @ weight + bias)
    return said


def _likeness(
    own: Sequence[list[Places]], right: Sequence[list[Places]], others: Sequence[list[Places]]
) -> tuple[NDArray[np.float64], float]:
    parts = [(own, 0.5 * (1 - RIGHT_SHARE) if right else 0.5), (right, 0.5 * RIGHT_SHARE), (others, 0.5)]
    means, known, share = [], [], []
    for pictures, part in parts:
        if pictures:
            means.append(np.stack([place.scene for picture in pictures for place in picture]))
            known.append(np.full(len(means[-1]), 0.0 if pictures is others else 1.0))
            share.append(np.full(len(means[-1]), part / len(means[-1])))
    return logistic(np.concatenate(means), np.concatenate(known), np.concatenate(share), MEANS_RIDGE)


def logistic(
    features: NDArray[np.float64],
    wanted: NDArray[np.float64],
    share: NDArray[np.float64] | None = None,
    ridge: float = RIDGE,
) -> tuple[NDArray[np.float64], float]:
    """(c,) weight and bias of sigmoid(features @ weight + bias) nearest to (n,) `wanted` in cross entropy.

    Args:
        features: (n, c).
        wanted: in [0, 1].
        share: (n,) how much each counts, of sum 1; None for all alike.
        ridge: how far the weights are held back.
    """
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    terms = np.hstack([(features - middle) / spread, np.ones((len(features), 1))])
    share = np.full(len(terms), 1 / len(terms)) if share is None else share
    held = ridge * np.eye(terms.shape[1])
    held[-1, -1] = 0.0
    found = np.zeros(terms.shape[1])
    for _ in range(STEPS):
        said = 1 / (1 + np.exp(-terms @ found))
        slope = terms.T @ (share * (wanted - said)) - held @ found
        bend = (terms * (share * np.maximum(said * (1 - said), 1e-3))[:, None]).T @ terms + held
        step = np.linalg.solve(bend, slope)
        found = found + step
        if float(np.abs(step).max()) < 1e-6:
            break
    weight = found[:-1] / spread
    return weight, float(found[-1] - weight @ middle)


def _judge(kinds: _Kinds, trust: Trust, calibrated: bool) -> dict[str, Sureness]:
    named = {"known": kinds.known, "beyond": kinds.others, "apart": kinds.apart}
    named |= {f"beyond {name}": pictures for name, pictures in kinds.beyond.items()}
    groups = {
        name: [(picture[0], float(trust.strange(picture[0].scene[None])[0])) for picture in pictures]
        for name, pictures in named.items()
        if any(len(picture[0].error) for picture in pictures)
    }
    groups["both"] = groups["known"] + groups["beyond"]
    return {name: _sureness(group, trust if calibrated else None) for name, group in groups.items()}


def _sureness(group: list[tuple[Places, float]], trust: Trust | None) -> Sureness:
    confidence = np.concatenate(
        [p.said if trust is None else trust.confidence(p.features, far) for p, far in group]
    )
    error = np.concatenate([places.error for places, _ in group])
    chroma = np.concatenate([places.chroma for places, _ in group])
    order = np.argsort(-confidence, kind="stable")
    quantiles = np.quantile([far for _, far in group], [0.1, 0.5, 0.9])
    share = np.clip((confidence - UNSURE) / (SURE - UNSURE), 0.0, 1.0)
    return Sureness(
        tuple(float(part.mean()) for part in np.array_split(confidence[order], 5)),
        tuple(float(part.mean()) for part in np.array_split(error[order], 5)),
        tuple(float(value) for value in quantiles),
        float((share * chroma).sum() / chroma.sum()),
    )


def _places(network: WatchedNetwork, luma: Luma, truth: Rgb | None, long_side_px: int) -> Places:
    height, width = work_size((luma.shape[0], luma.shape[1]), long_side_px)
    said: Said = network.infer(padded(reduced(luma, (height, width))))
    if truth is None:
        nothing = np.empty(0)
        return Places(said.scene, np.empty((0, len(said.features))), nothing, nothing, nothing)
    small = cv2.resize(truth, (width, height), interpolation=cv2.INTER_AREA)
    true = cv2.blur(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)[..., [2, 1]].astype(np.float32) - 128, (5, 5))
    given = np.moveaxis(said.ycc[1:, :height, :width], 0, 2) * np.float32(255)
    cells = (max(1, width // CELL_PX), max(1, height // CELL_PX))

    def mean(plane: NDArray[np.float32]) -> NDArray[np.float64]:
        whole = np.ascontiguousarray(plane)
        return np.asarray(cv2.resize(whole, cells, interpolation=cv2.INTER_AREA), np.float64).ravel()

    stride = said.ycc.shape[1] / said.features.shape[1]
    rows, columns = max(1, round(height / stride)), max(1, round(width / stride))
    return Places(
        said.scene,
        np.stack([mean(plane[:rows, :columns]) for plane in said.features], axis=1),
        mean(said.confidence[:height, :width]),
        mean(np.asarray(np.linalg.norm(given - true, axis=2), np.float32)),
        mean(np.asarray(np.linalg.norm(given, axis=2), np.float32)),
    )
