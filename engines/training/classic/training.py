"""The training of a classic colorizer: pairs of a band and gray pictures, its steps, a validation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from irchroma.engines.errors import EngineError
from irchroma.engines.measures import metrics
from irchroma.engines.training.classic.cheng2015 import Cheng2015
from irchroma.engines.training.classic.iizuka2016 import Iizuka2016
from irchroma.engines.training.classic.method import UNKNOWN, ClassicBatch, Method, scene_of
from irchroma.engines.training.classic.zhang2016 import Zhang2016
from irchroma.engines.training.color.augmentation import augment_lightly, cut
from irchroma.engines.training.color.batch import stack
from irchroma.engines.training.color.thermal import ThermalRecipe
from irchroma.engines.training.pictures import Picture, read_color, read_parts, rgb_to_gray
from irchroma.engines.training.report import color, keep, sheet, shrink
from irchroma.engines.training.steps import CropOptions, Steps

LOG = logging.getLogger(__name__)

METHODS: dict[str, Callable[[], Method]] = {
    "cheng2015": Cheng2015,
    "iizuka2016": Iizuka2016,
    "zhang2016": Zhang2016,
}
"""Engine name -> its method; a new one is a file and a line here."""
GRAY_SHARE = 0.3
"""Of the crops: gray made from color photographs, which the methods were invented for."""
ZOOM = (0.7, 2.0)


@dataclass(frozen=True)
class ClassicOptions(CropOptions):
    """How long and how, see `CropOptions`.

    Attributes:
        start: checkpoint whose weights are begun with, of another band for example.
    """

    batch: int = 12
    start: Path | None = None


class ClassicPictures(Protocol):
    """What a band's colorizer learns from.

    Attributes:
        validation: pictures that it never sees.
    """

    validation: list[Picture]

    def truths(self) -> list[np.ndarray]:
        """(H, W, 3) uint8 color of every picture that is learned from."""

    def batch(self, size: int, side: int, random: np.random.Generator) -> ClassicBatch:
        """`size` crops of `side` pixels."""


class NirPictures:
    """`ClassicPictures`: the pairs of near infrared and color photographs, and crops of them.

    Args:
        data: see `read_parts`; and `color/` where there is gray to learn.
    """

    def __init__(self, data: Path) -> None:
        self.pairs, self.validation = read_parts(data, "nir")
        folder = data / "color"
        self.colors = [
            *read_color(folder / "camvid", folder / "camvid_labels"),
            *read_color(folder / "bsds"),
            *read_color(folder / "places"),
        ]

    def truths(self) -> list[np.ndarray]:
        return [picture.rgb for picture in (*self.pairs, *self.colors)]

    def batch(self, size: int, side: int, random: np.random.Generator) -> ClassicBatch:
        lumas, rgbs, labels, scenes = [], [], [], []
        for _ in range(size):
            gray = bool(self.colors) and random.random() < GRAY_SHARE
            chosen = self.colors if gray else self.pairs
            picture = chosen[int(random.integers(len(chosen)))]
            luma = rgb_to_gray(picture.rgb) if gray else picture.infrared
            crop = cut(picture, {"luma": luma}, side, ZOOM, random)
            augment_lightly(crop, random)
            lumas.append(crop.inputs["luma"])
            rgbs.append(crop.rgb)
            labels.append(cv2.resize(crop.labels, (side // 8, side // 8), interpolation=cv2.INTER_NEAREST))
            scenes.append(scene_of(picture.name))
        return ClassicBatch(
            torch.from_numpy(np.stack(lumas)[:, None].astype(np.float32)),
            torch.from_numpy(np.stack(rgbs).astype(np.float32)).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.stack(labels).astype(np.int64)),
            torch.tensor(scenes, dtype=torch.int64),
        )


class ThermalPictures:
    """`ClassicPictures` of the `thermal` recipe: pairs by day and labeled color pictures drawn as thermal.

    What is asked for is the scene as on a fine day. No name tells a kind of scene: all of them are roads.

    Args:
        data: see `ThermalRecipe`.
    """

    def __init__(self, data: Path) -> None:
        self.recipe = ThermalRecipe(data)
        self.validation = self.recipe.validation

    def truths(self) -> list[np.ndarray]:
        return self.recipe.colors()

    def batch(self, size: int, side: int, random: np.random.Generator) -> ClassicBatch:
        made = stack(self.recipe.scenes(size, side, random))
        return ClassicBatch(made.luma, made.rgb, made.labels, torch.full((size,), UNKNOWN))


PICTURES: dict[str, Callable[[Path], ClassicPictures]] = {"nir": NirPictures, "thermal": ThermalPictures}
"""Band -> what is learned from, given the data's folder."""


class ClassicTraining:
    """A run that repeats from its seed and resumes exactly.

    Args:
        name: of METHODS.
        pictures: what to learn from.
        options: how long and how.
    """

    def __init__(self, name: str, pictures: ClassicPictures, options: ClassicOptions) -> None:
        self.options, self.pictures = options, pictures
        torch.manual_seed(options.seed)
        self.method = METHODS[name]()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = self.method.network.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.rate, weight_decay=0.01)
        kept = {"network": self.network, "optimizer": self.optimizer}
        self.steps = Steps(options, kept, self.device)
        if options.start is not None and not options.resume:
            self._start(options.start)
        truths = [torch.from_numpy(rgb).permute(2, 0, 1).float() / 255.0 for rgb in pictures.truths()]
        self.method.begin(truths)

    def _start(self, checkpoint: Path) -> None:
        if not checkpoint.is_file():
            raise EngineError(f"nothing to start from: no {checkpoint}")
        state = torch.load(checkpoint, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(state["network"])
        except (KeyError, RuntimeError) as error:
            raise EngineError(f"{checkpoint} is of another method: give one of {self.method.name}") from error

    def run(self) -> Method:
        """Train to the last step."""
        self.steps.run(self.make, self.advance)
        self.validate()
        return self.method

    def make(self, step: int) -> ClassicBatch:
        """The batch of a step."""
        return self.pictures.batch(self.options.batch, self.options.side, self.steps.random(step))

    def advance(self, batch: ClassicBatch) -> dict[str, float]:
        """One step; what the log says of it."""
        batch = batch.to(self.device)
        self.steps.pace(self.optimizer)
        self.network.train()
        batch.luma = batch.luma.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, parts = self.method.loss(batch, self.steps.progress)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return parts

    def validate(self) -> None:
        """Color the validation pictures: a line of measures in the log, a contact sheet."""
        self.network.eval()
        model = self.method.exported().eval()
        small = [shrink(picture) for picture in self.pictures.validation]
        answers = [color(model, picture.infrared)[0] for picture in small]
        mean = metrics.mean_scores(
            [metrics.score(answer, one.rgb, one.infrared) for one, answer in zip(small, answers, strict=True)]
        )
        row = {name: round(value, 4) for name, value in mean.as_dict().items()}
        step, made = self.steps.done, sheet(small, {self.method.name: answers})
        LOG.info("step %d: %s", step, json.dumps(row))
        keep(self.options.out, {"step": step, "mean": row}, f"sheet_{step:06d}.jpg", made)
