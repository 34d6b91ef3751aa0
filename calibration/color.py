"""Tunes a network to one camera by its own pairs of infrared and color, and judges it on pairs held back.

What is tuned is a linear correction in front of the network's last upsampling (`engines.network.tuning`),
found in closed form. Pairs are taken in the order of their names, which is time: the last part of them is
never learned from, and a network that does not color it better is not written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.confidence import ERROR_SCALE, logistic
from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.measures import metrics
from irchroma.engines.measures.metrics import Scores
from irchroma.engines.network.confidence import Said, Trust, WatchedNetwork, with_trust
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.tuning import Correction, Regression, tuned, with_tone
from irchroma.engines.network.weight_storage import load, save
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.work_picture import padded, reduced, work_size

RIDGES = (0.003, 0.03, 0.3)
"""Tried on a part of what is learned from: many pairs carry a freer correction than few."""
FEWEST, HELD_SHARE = 8, 0.25
"""Pairs to learn from, and half as many to judge by."""
LOOKED_AT = 200_000
"""About so many places say how the error goes with the features."""
LEAST_GAIN = {"": 0.3, "tone": 0.01}
"""By how much the mean CIEDE2000 of the pairs held back must fall for a network to be written; of less than a
hundredth nothing has changed."""
TONE_SHARE = 0.5
"""Of the way to one camera's tone: for a mean of squares half the way is three quarters of what there is to
gain."""

Luma = NDArray[np.uint8]
Rgb = NDArray[np.uint8]
Pair = tuple[Luma, Rgb]


@dataclass(frozen=True, slots=True)
class ColorTuningOptions:
    """What is tuned, and how it is judged.

    Attributes:
        engine: `nir` or `thermal`.
        size: of the network.
        weights: a float network of the user's own instead of the one that ships.
        held_share: of the pairs, the last ones, that judge.
        threads: CPU threads of the network that judges.
        only: `tone` leaves color and confidence as they are and moves the tone a part of the way, in the
            network's own weights: for a network that goes on coloring what other cameras see.
    """

    engine: str
    size: str = "fast"
    weights: Path | None = None
    held_share: float = HELD_SHARE
    threads: int = 0
    only: Literal["", "tone"] = ""

    def __post_init__(self) -> None:
        if self.only not in ("", "tone"):
            raise CalibrationError(f"--only knows tone, got {self.only}")
        if not 0 < self.held_share < 1:
            raise CalibrationError(f"--held must lie between 0 and 1, got {self.held_share:g}")

    @property
    def path(self) -> Path:
        """The network to start from."""
        return self.weights or catalog.weights_path(self.engine, self.size)


@dataclass(frozen=True, slots=True)
class ColorTuning:
    """The result of a tuning.

    Attributes:
        model: the tuned ONNX model.
        learned, held: numbers of pairs.
        ridge: that was chosen.
        before, after: measures of the pairs held back.
        least_gain: what CIEDE2000 must fall by to be worth it.
    """

    model: Any
    learned: int
    held: int
    ridge: float
    before: Scores
    after: Scores
    least_gain: float = LEAST_GAIN[""]

    @property
    def gain(self) -> float:
        """By how much CIEDE2000 has fallen."""
        return self.before.ciede2000 - self.after.ciede2000

    def require_gain(self) -> None:
        """Refuse what does not help.

        Raises:
            CalibrationError: the pairs held back are not colored better.
        """
        if self.gain < self.least_gain or self.after.psnr_db < self.before.psnr_db:
            raise CalibrationError(
                f"tuned on {self.learned} pairs, the {self.held} held back do not come out better: CIEDE2000"
                f" {self.before.ciede2000:.2f} and then {self.after.ciede2000:.2f}, PSNR"
                f" {self.before.psnr_db:.2f} and then {self.after.psnr_db:.2f} dB: nothing was written;"
                " check that the pairs lie on each other, or give more of them"
            )


def _what_helps(count: int) -> str:
    """What to do with so many pairs, whose shares to learn from and to judge by are too few."""
    judges = FEWEST // 2
    if count < FEWEST + judges:
        return f"give {FEWEST + judges - count} more"
    return f"--held {max(judges / count, HELD_SHARE):.2f} holds enough of them back"


def tune(
    pairs: Sequence[Pair], options: ColorTuningOptions, note: Callable[[float, str], None] = lambda *_: None
) -> ColorTuning:
    """Learn from the first pairs, judge by the last.

    Args:
        pairs: luma (H, W) and R'G'B' (H, W, 3) uint8 each, registered, in order of time.
        options: what is tuned.
        note: told how far it is, [0, 1], and what is done.

    Raises:
        CalibrationError: too few pairs.
        EngineError: the network cannot be tuned.
    """
    count = len(pairs) - round(len(pairs) * options.held_share)
    if count < FEWEST or len(pairs) - count < FEWEST // 2:
        raise CalibrationError(
            f"expected at least {FEWEST} pairs to learn from and {FEWEST // 2} to judge by,"
            f" got {count} and {len(pairs) - count}: {_what_helps(len(pairs))}"
        )
    network = WatchedNetwork(options.path)
    work_px = catalog.WORK_SIZE_PX[options.size]
    trial, whole = Regression(), Regression()
    seen = []
    for number, (luma, truth) in enumerate(pairs[:count]):
        note(0.6 * number / count, "learning")
        sample = _sample(network, luma, truth, work_px)
        seen.append(sample)
        whole.add(*sample)
        if number < count * 3 // 4:
            trial.add(*sample)
    ridge = min(RIDGES, key=lambda each: _error(trial.solve(each), seen[count * 3 // 4 :]))
    correction = whole.solve(ridge)
    if options.only == "tone":
        model = with_tone(load(options.path), correction, TONE_SHARE)
    else:
        model = with_trust(tuned(network.model, correction), _trust(correction, seen))
    with tempfile.TemporaryDirectory(prefix="irchroma-color-") as folder:
        made = Path(folder) / "tuned.onnx"
        save(model, made)
        before = _judge(options, options.path, pairs[count:], lambda share: note(0.6 + 0.2 * share, "before"))
        after = _judge(options, made, pairs[count:], lambda share: note(0.8 + 0.2 * share, "after"))
    return ColorTuning(model, count, len(pairs) - count, ridge, before, after, LEAST_GAIN[options.only])


def _sample(
    network: WatchedNetwork, luma: Luma, truth: Rgb, work_px: int
) -> tuple[Said, NDArray[np.float32], NDArray[np.float32]]:
    """What the network says of a pair, its luma and its truth, at the decoder's stride."""
    height, width = work_size((luma.shape[0], luma.shape[1]), work_px)
    small = reduced(luma, (height, width))
    whole = padded(small)
    said = network.infer(whole)
    stride = whole.shape[2] // said.tone.shape[1]
    rows, columns = height // stride, width // stride
    part = np.s_[..., :rows, :columns]
    said = replace(said, features=said.features[part], tone=said.tone[part], chroma=said.chroma[part])

    def at_stride(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        fitted = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        cut = fitted[: rows * stride, : columns * stride]
        shrunk = cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.float32)

    ycc = cv2.cvtColor(truth, cv2.COLOR_RGB2YCrCb)
    y, cr, cb = cv2.split(at_stride(np.asarray(ycc, np.uint8)))
    wanted = np.stack([y / 255, (cb - 128) / 255, (cr - 128) / 255])
    return said, at_stride(small) / np.float32(255), np.asarray(wanted, np.float32)


def _corrected(correction: Correction, said: Said, luma: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3, h, w): Y', Cb, Cr as the tuned network gives them at its stride."""
    shape = said.tone.shape[1:]
    features = said.features.reshape(len(said.features), -1).astype(np.float64)
    ones = np.vstack([features, np.ones(features.shape[1])])
    slope, offset = said.tone.reshape(2, -1) + correction.tone @ ones
    chroma = said.chroma.reshape(2, -1) + correction.chroma @ ones
    return np.vstack([(slope * luma.ravel() + offset)[None], chroma]).reshape(3, *shape)


def _error(correction: Correction, samples: Sequence[tuple[Said, Any, Any]]) -> float:
    """Mean squared error of Y', Cb and Cr."""
    return float(
        np.mean([np.mean((_corrected(correction, said, luma) - truth) ** 2) for said, luma, truth in samples])
    )


def _trust(correction: Correction, samples: Sequence[tuple[Said, Any, Any]]) -> Trust:
    """The confidence of the tuned network; no picture of this camera is strange to it."""
    features = np.concatenate([said.features.reshape(len(said.features), -1).T for said, _, _ in samples])
    error = np.concatenate(
        [
            255 * np.linalg.norm(_corrected(correction, said, luma)[1:] - truth[1:], axis=0).ravel()
            for said, luma, truth in samples
        ]
    )
    every = max(1, len(error) // LOOKED_AT)
    weight, bias = logistic(features[::every].astype(np.float64), np.exp(-error[::every] / ERROR_SCALE))
    return Trust(weight, bias)


def _judge(
    options: ColorTuningOptions, path: Path, pairs: Sequence[Pair], note: Callable[[float], None]
) -> Scores:
    neural = NeuralOptions(
        engine=options.engine,
        size=options.size,
        steady=False,
        weights=path,
        network=NetworkOptions("auto", options.threads, None, exact=True, device="cpu"),
    )
    colorizer = NeuralColorizer(neural)
    scores = []
    try:
        for number, (luma, truth) in enumerate(pairs):
            note(number / len(pairs))
            colorizer.submit(luma, 0)
            scores.append(metrics.score(colorizer.collect().rgb, truth, luma))
    finally:
        colorizer.close()
    return metrics.mean_scores(scores)
