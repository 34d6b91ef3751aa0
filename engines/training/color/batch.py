"""A batch of crops as tensors, made ahead of time in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from irchroma.engines.training.color.augmentation import Crop

Made = TypeVar("Made")


@dataclass
class Sample:
    """One input with its answer.

    Attributes:
        luma: (S, S) float32 in [0, 1].
        crop: color and labels.
        twin: the same crop as the sample before it, seen in another band: the two must agree.
        echo: the same scene as in the sample before it, a moment later: (S / 4, S / 4, 3) float32, where each
            cell was (x, y in [-1, 1]) and how much that counts; None for other samples.
        tone: weight of the tone loss.
        chroma: weight of the chroma losses.
    """

    luma: np.ndarray
    crop: Crop
    twin: bool = False
    echo: np.ndarray | None = None
    tone: float = 1.0
    chroma: float = 1.0


@dataclass
class Batch:
    """Tensors of N samples of S pixels a side.

    Attributes:
        luma: (N, 1, S, S) float32 in [0, 1].
        rgb: (N, 3, S, S) float32 in [0, 1].
        labels: (N, S / 8, S / 8) int64 CamVid classes.
        twins: (T, 2) int64 pairs of indices of samples that must agree.
        echoes: (E, 2) int64 pairs of indices: a sample and its echo.
        paths: (E, S / 4, S / 4, 3) float32, each echo's way back to its sample.
        tone, chroma: (N, 1, 1, 1) float32 weights.
        held: (N, 1, S, S) float32 in [0, 1] how much of each pixel keeps an earlier network's answer.
    """

    luma: Tensor
    rgb: Tensor
    labels: Tensor
    twins: Tensor
    echoes: Tensor
    paths: Tensor
    tone: Tensor
    chroma: Tensor
    held: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def stack(samples: Sequence[Sample]) -> Batch:
    """Samples of the same side -> batch."""
    side = len(samples[0].luma)
    eighth = (side // 8, side // 8)
    labels = [cv2.resize(sample.crop.labels, eighth, interpolation=cv2.INTER_NEAREST) for sample in samples]
    twins = [(index - 1, index) for index, sample in enumerate(samples) if sample.twin]
    echoes = [(index - 1, index) for index, sample in enumerate(samples) if sample.echo is not None]
    paths = [sample.echo for sample in samples if sample.echo is not None]
    quarter = side // 4
    loose = np.zeros((side, side), np.float32)
    held = [loose if sample.crop.held is None else sample.crop.held for sample in samples]
    return Batch(
        luma=torch.from_numpy(np.stack([sample.luma for sample in samples])[:, None].astype(np.float32)),
        rgb=torch.from_numpy(np.stack([sample.crop.rgb for sample in samples]))
        .permute(0, 3, 1, 2)
        .contiguous(),
        labels=torch.from_numpy(np.stack(labels).astype(np.int64)),
        twins=torch.tensor(twins, dtype=torch.int64).view(-1, 2),
        echoes=torch.tensor(echoes, dtype=torch.int64).view(-1, 2),
        paths=torch.from_numpy(np.array(paths, np.float32).reshape(-1, quarter, quarter, 3)),
        tone=torch.tensor([sample.tone for sample in samples]).view(-1, 1, 1, 1),
        chroma=torch.tensor([sample.chroma for sample in samples]).view(-1, 1, 1, 1),
        held=torch.from_numpy(np.stack(held)[:, None]),
    )


class BatchThread(Generic[Made]):
    """Makes batches ahead of the training step; `close()` ends it.

    Args:
        make: step number -> batch; called in order, in one thread, so that a run repeats.
        first: step to begin with.
    """

    def __init__(self, make: Callable[[int], Made], first: int) -> None:
        self._make, self._step = make, first
        self._ready: queue.Queue[Made | BaseException] = queue.Queue(maxsize=3)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        while not self._stop.is_set():
            item: Made | BaseException
            try:
                item = self._make(self._step)
            except Exception as error:  # noqa: BLE001 - handed to the training loop
                item = error
            self._step += 1
            while not self._stop.is_set():
                try:
                    self._ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue

    def next(self) -> Made:
        """The next batch; blocks until it is made."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
