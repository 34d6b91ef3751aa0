"""Calibrates a network's confidence on pictures whose color is known: of its own kind, and of others.

What a confidence says: the mean of exp(-error / 15.3) over places like this, the error of the chroma
(Euclidean in CbCr) in 8-bit levels. How that goes with the decoder's features is learned from pairs of both
kinds; which pictures are of its own kind, from what is common to those and to no others
(`engines.network.trust`). A quarter of either kind, whole runs of names so that no scene is on both sides, is
held back and tells what was reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
KNOWN_QUANTILE, GLIDE = 0.1, 1.0
"""Of known pictures' likeness, a logit, to the others of their kind: below it a picture is strange, wholly so
that much below."""
FEWEST = 40
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
        mean: (k,) mean features of the picture.
        features: (n, c) of the decoder; n is 0 where the color is not known.
        said: (n,) confidence of the network as it is.
        error: (n,) levels of CbCr.
        chroma: (n,) levels of CbCr that the network gives.
    """

    mean: NDArray[np.float64]
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
        before: of the held-back pictures, as the network was: "known", "beyond", "both".
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
    note: Callable[[str], None] = lambda _: None,
) -> ConfidenceResult:
    """Fit and judge.

    Args:
        known: pictures like those of training, in the order of their names.
        beyond: pictures of other kinds.
        note: told what is being done.

    Raises:
        CalibrationError: there are too few pictures.
    """
    if len(known) < FEWEST or len(beyond) < FEWEST:
        raise CalibrationError(
            f"expected at least {FEWEST} pictures of the network's own kind and as many of others,"
            f" got {len(known)} and {len(beyond)}"
        )
    note("fitting")
    held = [_held_back(len(known)), _held_back(len(beyond))]
    judged = _fit(known, beyond, held)
    # The held-back pictures have judged; what is written has learned from all of them.
    return ConfidenceResult(
        _fit(known, beyond, [np.zeros(len(known), bool), np.zeros(len(beyond), bool)]),
        _judge(known, beyond, held, judged, False),
        _judge(known, beyond, held, judged, True),
    )


def _fit(
    known: Sequence[list[Places]], beyond: Sequence[list[Places]], held: Sequence[NDArray[np.bool_]]
) -> Trust:
    own = [picture for picture, out in zip(known, held[0], strict=True) if not out]
    others = [picture for picture, out in zip(beyond, held[1], strict=True) if not out]
    places = [
        (place, 0.5 / (len(group) * len(picture)))
        for group in (own, others)
        for picture in group
        for place in picture
    ]
    weight, bias = logistic(
        np.concatenate([place.features for place, _ in places]),
        np.exp(-np.concatenate([place.error for place, _ in places]) / ERROR_SCALE),
        np.concatenate([np.full(len(p.error), share / max(1, len(p.error))) for p, share in places]),
    )
    return Trust(weight, bias, _strangeness(own, others))


def _strangeness(own: Sequence[list[Places]], others: Sequence[list[Places]]) -> Strangeness:
    """What tells pictures of a kind from others, and from where on a picture is one of the others."""
    fold = np.arange(len(own)) * FOLDS // len(own)  # whole runs: neighbors show one scene
    likeness = []
    for number in range(FOLDS):  # a picture is more like a kind that it is part of
        weight, bias = _likeness([p for p, part in zip(own, fold, strict=True) if part != number], others)
        out = [picture[0].mean for picture, part in zip(own, fold, strict=True) if part == number]
        likeness.append(np.stack(out) @ weight + bias)
    least = float(np.quantile(np.concatenate(likeness), KNOWN_QUANTILE))
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
    known: Sequence[list[Places]],
    beyond: Sequence[list[Places]],
    held: Sequence[NDArray[np.bool_]],
    trust: Trust,
    calibrated: bool,
) -> dict[str, Sureness]:
    groups: dict[str, list[tuple[Places, float]]] = {"known": [], "beyond": []}
    for name, pictures, out in (("known", known, held[0]), ("beyond", beyond, held[1])):
        for index in np.flatnonzero(out).tolist():
            places = pictures[index][0]
            strange = 0.0 if trust.strangeness is None else float(trust.strangeness.of(places.mean[None])[0])
            groups[name].append((places, strange))
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
    return np.stack([place.mean for picture in pictures for place in picture])


def _places(network: WatchedNetwork, luma: Luma, truth: Rgb | None, long_side_px: int) -> Places:
    height, width = work_size((luma.shape[0], luma.shape[1]), long_side_px)
    said: Said = network.infer(padded(reduced(luma, (height, width))))
    if truth is None:
        nothing = np.empty(0)
        return Places(said.mean, np.empty((0, len(said.features))), nothing, nothing, nothing)
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
        said.mean,
        np.stack([mean(plane[:rows, :columns]) for plane in said.features], axis=1),
        mean(said.confidence[:height, :width]),
        mean(np.asarray(np.linalg.norm(given - true, axis=2), np.float32)),
        mean(np.asarray(np.linalg.norm(given, axis=2), np.float32)),
    )
