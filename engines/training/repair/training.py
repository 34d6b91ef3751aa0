"""The training of a method of repair: infrared of both bands, random holes, the export."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from irchroma.engines.errors import EngineError, EngineOptionError
from irchroma.engines.repair.holes import draw
from irchroma.engines.training.classic.method import settled
from irchroma.engines.training.color.augmentation import degrade, expose
from irchroma.engines.training.export import Ports, write_graph
from irchroma.engines.training.pictures import FLAT, SUFFIXES, hold_back, read_gray
from irchroma.engines.training.repair.context_encoder import ContextEncoder
from irchroma.engines.training.repair.glcic import Glcic
from irchroma.engines.training.repair.method import SIDE, Exported, RepairBatch, RepairMethod
from irchroma.engines.training.repair.partial_convolution import PartialConvolution
from irchroma.engines.training.report import keep
from irchroma.engines.training.steps import Kept, StepOptions, Steps, follow

LOG = logging.getLogger(__name__)

METHODS: dict[str, Callable[[], RepairMethod]] = {
    "partial-conv": PartialConvolution,
    "context-encoder": ContextEncoder,
    "glcic": Glcic,
}
"""Name -> its method; a new one is a file and a line here."""
FIXED_SIZE = ("context-encoder",)
"""Those whose graph takes pictures of SIDE pixels alone."""
SHARES = {
    "center": 0.1, "blocks": 0.2, "blobs": 0.35, "strokes": 0.15, "rows": 0.05, "text": 0.05, "lost": 0.1,
}  # fmt: skip
"""Kind of hole -> share of the crops: what a network is asked for are patches rather than thin lines."""
ZOOM, LEAST_PX = (0.6, 2.5), 32
"""Source pixels per pixel of a crop, and of its side at least."""
BANDS = ("nir", "thermal", "thermal_video")
SETTLE_BATCHES = 16
"""From which the averaged network's statistics are taken."""


@dataclass(frozen=True)
class RepairTrainingOptions(StepOptions):
    """How long and how, see `StepOptions`.

    Attributes:
        average: decay of the averaged weights per step.
    """

    steps: int | None = 4000
    average: float = 0.998

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch < 2:
            raise EngineOptionError(f"repair trains with 2 crops or more, got {self.batch}")


class RepairPictures:
    """Infrared luma of both bands, and crops of it with holes.

    Args:
        data: folder with `nir/train/ir`, `thermal/train/ir` and the like, or with `ir/` alone.

    Raises:
        EngineError: there is no infrared in it.
    """

    def __init__(self, data: Path) -> None:
        self.train, self.validation = (infrared_in(data, part) for part in ("train", "val"))
        if not self.train:
            raise EngineError(
                f"no infrared pictures in {data}: expected {BANDS[0]}/train/ir/*.png, or ir/*.png"
            )
        if not self.validation:
            self.train, self.validation = hold_back(self.train, str(data))
            said = "judged by the last %d of %d pictures, which are not learned"
            LOG.info(said, len(self.validation), len(self.train) + len(self.validation))
        else:
            LOG.info("%d pictures are learned; judged by %d, of val/", len(self.train), len(self.validation))

    def batch(self, size: int, random: np.random.Generator) -> RepairBatch:
        """`size` crops of SIDE pixels."""
        lumas, holes, corners = [], [], []
        for _ in range(size):
            lumas.append(self._crop(random))
            hole = hole_of(random)
            holes.append(hole)
            corners.append(corner_around(hole, random))
        return RepairBatch(
            torch.from_numpy(np.stack(lumas)[:, None].astype(np.float32)),
            torch.from_numpy(np.stack(holes)[:, None].astype(np.float32)),
            torch.tensor(corners, dtype=torch.int64),
        )

    def _crop(self, random: np.random.Generator) -> np.ndarray:
        picture = self.train[int(random.integers(len(self.train)))]
        height, width = picture.shape
        span = int(np.clip(SIDE * np.exp(random.uniform(*np.log(ZOOM))), LEAST_PX, min(height, width)))
        top, left = int(random.integers(height - span + 1)), int(random.integers(width - span + 1))
        smooth = cv2.INTER_AREA if span > SIDE else cv2.INTER_LINEAR
        window = picture[top : top + span, left : left + span]
        luma = cv2.resize(window, (SIDE, SIDE), interpolation=smooth).astype(np.float32) / 255.0
        if random.random() < 0.5:
            luma = luma[:, ::-1]
        if random.random() < 0.5:
            luma = expose(luma, random, 2.0)
        if random.random() < 0.25:
            luma = degrade(luma, random)
        return np.ascontiguousarray(luma, np.float32)


def infrared_in(data: Path, part: str) -> list[np.ndarray]:
    """The (H, W) uint8 pictures of `BAND/part/ir` and `BAND/part/*/ir`; of `ir/` and `val/ir` themselves.

    Raises:
        EngineError: there are some, and in none is anything to learn.
    """
    folders = [data / "ir" if part == "train" else data / part / "ir"]
    for band in BANDS:
        folders += [data / band / part / "ir", *sorted((data / band / part).glob("*/ir"))]
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    found = {path: read_gray(path) for path in files if path.suffix.lower() in SUFFIXES}
    poor = [path for path, picture in found.items() if min(picture.shape) < LEAST_PX or picture.std() < FLAT]
    if poor:
        told = f"{len(poor)}, of one level or less than {LEAST_PX} pixels high or wide, such as {poor[0]}"
        if len(poor) == len(found):
            raise EngineError(f"no picture has anything to learn: left out {told}")
        LOG.warning("pictures left out: %s", told)
    return [picture for path, picture in found.items() if path not in poor]


def hole_of(random: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) bool hole of a kind by its share; never nothing and never all."""
    kinds, shares = list(SHARES), np.array(list(SHARES.values()))
    while True:
        hole = draw(str(random.choice(kinds, p=shares / shares.sum())), (SIDE, SIDE), random)
        if 16 <= hole.sum() <= 0.5 * hole.size:
            return hole


def corner_around(hole: np.ndarray, random: np.random.Generator) -> tuple[int, int]:
    """(row, column) of a square of half the side with a missing pixel, by chance, near its middle."""
    half = SIDE // 2
    places = np.argwhere(hole)
    row, column = places[int(random.integers(len(places)))] - half // 2
    return int(np.clip(row, 0, half)), int(np.clip(column, 0, half))


class RepairTraining:
    """A run that repeats from its seed and resumes exactly.

    Args:
        name: of METHODS.
        pictures: what to learn from.
        options: how long and how.
    """

    def __init__(self, name: str, pictures: RepairPictures, options: RepairTrainingOptions) -> None:
        self.options, self.pictures = options, pictures
        torch.manual_seed(options.seed)
        self.method = METHODS[name]()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = self.method.network.to(self.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=options.rate, weight_decay=0.01)
        self.judge_optimizer: torch.optim.Optimizer | None = None
        if self.method.judge is not None:
            self.method.judge.to(self.device, memory_format=torch.channels_last)
            self.judge_optimizer = torch.optim.AdamW(
                self.method.judge.parameters(), lr=2e-4, betas=(0.5, 0.999)
            )
        kept: dict[str, Kept] = {
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
        }
        if self.method.judge is not None and self.judge_optimizer is not None:
            kept |= {"judge": self.method.judge, "judge_optimizer": self.judge_optimizer}
        self.steps = Steps(options, kept, self.device)

    def settled_average(self) -> nn.Module:
        """A copy of the averaged network, its batch normalizations with statistics of its own, in eval mode.

        Those of the network that learns are of other weights: with a judge, whose weights go to and fro, the
        averaged network is up to 4 dB worse with them (glcic after 4000 steps: 15.0 dB instead of 18.7).
        """
        network = copy.deepcopy(self.average)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None  # the mean over all batches
        network.train()
        with torch.no_grad():
            for number in range(SETTLE_BATCHES):
                random = np.random.default_rng((self.options.seed, number, SETTLE_BATCHES))
                batch = self.pictures.batch(self.options.batch, random)
                network(batch.holed.to(self.device), batch.hole.to(self.device))
        return network.eval()

    def run(self) -> nn.Module:
        """Train to the last step and return the averaged network."""
        self.steps.run(self.make, self.advance, self.validate)
        return self.average

    def make(self, step: int) -> RepairBatch:
        """The batch of a step."""
        return self.pictures.batch(self.options.batch, self.steps.random(step))

    def advance(self, batch: RepairBatch) -> dict[str, float]:
        """One step of the judge, where it is its turn, and of the network; what the log says of it."""
        batch = RepairBatch(
            batch.luma.to(self.device), batch.hole.to(self.device), batch.corner.to(self.device)
        )
        progress = self.steps.progress
        self.steps.pace(self.optimizer)
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            made = self.network(batch.holed, batch.hole)
        made = made.float()
        parts: dict[str, float] = {}
        if self.judge_optimizer is not None:
            with torch.autocast(self.device.type, torch.bfloat16):
                judged = self.method.judgement(batch, made.detach(), progress)
            if judged is not None:
                self.judge_optimizer.zero_grad(set_to_none=True)
                judged.backward()
                self.judge_optimizer.step()
                parts["judge"] = judged.item()
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, said = self.method.loss(batch, made, progress)
        if loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
            self.optimizer.step()
            follow(self.average, self.network, self.steps.done, self.options.average)
        return parts | said

    def validate(self) -> None:
        """Fill holes of the validation pictures: the error in them in the log, and a sheet of pictures."""
        network = Exported(self.settled_average().cpu().float()).eval()
        random = np.random.default_rng(1)
        squared, rows = [], []
        for index in range(min(24, len(self.pictures.validation))):
            step = len(self.pictures.validation) // min(24, len(self.pictures.validation))
            picture = self.pictures.validation[index * step]
            span = min(*picture.shape, 2 * SIDE)
            luma = cv2.resize(picture[:span, :span], (SIDE, SIDE), interpolation=cv2.INTER_AREA) / 255.0
            hole = hole_of(random)
            holed = np.stack([luma * ~hole, hole]).astype(np.float32)
            with torch.no_grad():
                filled = network(torch.from_numpy(holed)[None])[0][0, 0].numpy()
            squared.append(float(np.mean((filled - luma)[hole] ** 2)))
            rows.append(np.hstack([holed[0], filled, luma]))
        row = {
            "step": self.steps.done,
            "psnr_in_hole_db": round(-10 * math.log10(float(np.mean(squared))), 3),
        }
        LOG.info("%s", json.dumps(row))
        half = -(-len(rows) // 2)
        blank = [np.zeros_like(rows[0])] * (2 * half - len(rows))
        sheet = np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:] + blank)])
        keep(self.options.out, row, "sheet.png", np.rint(sheet * 255).astype(np.uint8))

    def export(self, path: Path) -> Path:
        """Write the averaged network as an ONNX graph with float16 weights."""
        model = Exported(settled(self.settled_average()).cpu().float())
        varying = {0: "N"} if self.method.name in FIXED_SIZE else {0: "N", 2: "H", 3: "W"}
        outputs = ("filled", "confidence")
        ports = Ports(
            {"holed": torch.rand(1, 2, SIDE, SIDE)}, {name: varying for name in ("holed", *outputs)}, outputs
        )
        return write_graph(model, path, ports)
