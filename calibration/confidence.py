"""Calibrates a network's confidence on pictures whose color is known: of its own kind, and of others.

What a confidence says: the mean of exp(-error / 15.3) over places like this, the error of the chroma
(Euclidean in CbCr) in 8-bit levels. How that goes with the decoder's features is learned from pairs of both
kinds; which pictures are of its own kind, from what is common to those and to no others
(`engines.network.trust`). A quarter of either kind, whole runs of names so that no scene is on both sides, is
held back and tells what was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.errors import CalibrationError
from irchroma.engines.network.trust import Said, Strangeness, Trust, WatchedNetwork
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
KNOWN_QUANTILE, APART_QUANTILE, GLIDE = 0.03, 0.05, 1.0
"""Of known pictures' likeness, a logit, to the others of their kind rather than to those beyond or to those
set apart, who are told more clearly: below it a picture is strange, wholly so that much below."""
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
    beyond: Sequence[list[Places]],
    apart: Sequence[list[Places]] = (),
    quantile: float = KNOWN_QUANTILE,
    note: Callable[[str], None] = lambda _: None,
) -> ConfidenceResult:
    """Fit and judge.

    Args:
        known: pictures like those of training, in the order of their names.
        beyond: pictures of other kinds.
        apart: pairs of the network's band that shall be strange all the same, as rooms are to a network of
            landscapes: their errors count with those of `known`.
        quantile: share of the known pictures that may be as strange as those beyond.
        note: told what is being done.

    Raises:
        CalibrationError: there are too few pictures.
    """
    if len(known) < FEWEST or len(beyond) < FEWEST:
        raise CalibrationError(
            f"expected at least {FEWEST} pictures of the network's own kind and as many of others,"
            f" got {len(known)} and {len(beyond)}"
        )
    if apart and len(apart) < FEWEST_APART:
        raise CalibrationError(
            f"expected at least {FEWEST_APART} pictures that are set apart, got {len(apart)}"
        )
    note("fitting")
    kinds = {"known": known, "beyond": beyond} | ({"apart": apart} if apart else {})
    held = {name: _held_back(len(pictures)) for name, pictures in kinds.items()}
    learned = {name: _part(pictures, ~held[name]) for name, pictures in kinds.items()}
    judged = _fit(learned, quantile)
    judges = {name: _part(pictures, held[name]) for name, pictures in kinds.items()}
    # The held-back pictures have judged; what is written has learned from all of them.
    return ConfidenceResult(
        _fit(kinds, quantile), _judge(judges, judged, False), _judge(judges, judged, True)
    )


def _part(pictures: Sequence[list[Places]], those: NDArray[np.bool_]) -> list[list[Places]]:
    return [pictures[index] for index in np.flatnonzero(those).tolist()]


def _fit(kinds: Mapping[str, Sequence[list[Places]]], quantile: float) -> Trust:
    own, others, apart = kinds["known"], kinds["beyond"], kinds.get("apart", ())
    strangeness = [_strangeness(own, others, quantile)]
    if apart:
        strangeness.append(_strangeness(own, apart, APART_QUANTILE))
    doubt = Trust(np.zeros(0), 0.0, tuple(strangeness))
    # What is strange is doubted already: how sure a place is, is learned where its picture is not.
    places = [
        (place, 0.5 / (len(group) * len(picture)) * float(1 - doubt.strange(place.scene[None])[0]))
        for group in ([*own, *apart], others)
        for picture in group
        for place in picture
    ]
    whole = sum(share for place, share in places if len(place.error))
    weight, bias = logistic(
        np.concatenate([place.features for place, _ in places]),
        np.exp(-np.concatenate([place.error for place, _ in places]) / ERROR_SCALE),
        np.concatenate([np.full(len(p.error), share / whole / max(1, len(p.error))) for p, share in places]),
    )
    return Trust(weight, bias, doubt.strangeness)


def _strangeness(own: Sequence[list[Places]], others: Sequence[list[Places]], quantile: float) -> Strangeness:
    """What tells pictures of a kind from others, and from where on a picture is one of the others."""
    fold = np.arange(len(own)) * FOLDS // len(own)  # whole runs: neighbors show one scene
    likeness = []
    for number in range(FOLDS):  # a picture is more like a kind that it is part of
        weight, bias = _likeness([p for p, part in zip(own, fold, strict=True) if part != number], others)
        out = [picture[0].scene for picture, part in zip(own, fold, strict=True) if part == number]
        likeness.append(np.stack(out) @ weight + bias)
    least = float(np.quantile(np.concatenate(likeness), quantile))
    weight, bias = _likeness(own, others)
    return Strangeness(-weight / GLIDE, (least - bias) / GLIDE)


def _likeness(
    own: Sequence[list[Places]], others: Sequence[list[Places]]
) -> tuple[NDArray[np.float64], float]:
    means = [_means(own), _means(others)]
    known = np.concatenate([np.full(len(means[0]), 1.0), np.zeros(len(means[1]))])
    share = np.where(known > 0, 0.5 / len(means[0]), 0.5 / len(means[1]))
    return logistic(np.concatenate(means), known, share, MEANS_RIDGE)


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


def _judge(
    kinds: Mapping[str, Sequence[list[Places]]], trust: Trust, calibrated: bool
) -> dict[str, Sureness]:
    groups = {
        name: [(picture[0], float(trust.strange(picture[0].scene[None])[0])) for picture in pictures]
        for name, pictures in kinds.items()
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


def _held_back(count: int) -> NDArray[np.bool_]:
    """(count,) True for a quarter, in eight runs of neighbors in the order of names."""
    return np.asarray((np.arange(count) * 32 // count) % 4 == 1, bool)


def _means(pictures: Sequence[list[Places]]) -> NDArray[np.float64]:
    return np.stack([place.scene for picture in pictures for place in picture])


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
