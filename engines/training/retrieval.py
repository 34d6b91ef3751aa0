"""Trains what finds the color picture of a scene for its infrared frame: one vector for both.

Two views of every scene of a batch, the infrared and the luma of the color picture, each cropped by itself
as another moment or camera would show it; each vector is to be nearer to its partner's than to those of all
other scenes of the batch (van den Oord, Li, Vinyals, Representation Learning with Contrastive Predictive
Coding, arXiv 1807.03748, eq. 4; symmetric as in Radford et al., arXiv 2103.00020, figure 3).
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from irchroma.engines.errors import EngineError
from irchroma.engines.retrieval.features import SIZE, prepared
from irchroma.engines.training.color.augmentation import degrade, expose
from irchroma.engines.training.encoder import Encoder, load_pretrained
from irchroma.engines.training.export import Ports, fold, write_graph
from irchroma.engines.training.pictures import Picture, read_pairs, rgb_to_gray

log = logging.getLogger(__name__)

FEATURES, WIDTH, DIMENSIONS = 80, 32, 128
FEWEST = 16
"""Scenes that a training needs at least, to tell one from others."""
DECAY, FORGET = 0.05, 0.2
SAY_EVERY = 200
NARROWEST = 0.7
"""Share of the picture's side that a crop shows at least."""
WANDER = 0.12
"""How far the partner's crop may lie beside, as a share of the side."""
INVERTED, MIRRORED, DARK = 0.25, 0.5, 0.3
TEMPERATURE = 0.07


@dataclass(frozen=True)
class RetrievalOptions:
    """How long and on what.

    Attributes:
        views: of every scene, drawn and looked at by the pretrained layers once.
        steps: of the optimizer, which trains the layers after those.
        batch: scenes a step.
        rate: peak learning rate.
        seed: of views and batches.
    """

    views: int = 16
    steps: int = 2500
    batch: int = 192
    rate: float = 2e-3
    seed: int = 0


class SceneNetwork(nn.Module):
    """(N, 1, 128, 160) local contrast -> (N, 128) unit vectors.

    EfficientNet-Lite0's layers to stride 16 stay as ImageNet has made them: training them too takes hours
    on a processor, and there are few pairs. What is trained is which of their features say in both bands
    what a place shows, and where in the picture.
    """

    def __init__(self) -> None:
        super().__init__()
        whole = Encoder()
        load_pretrained(whole)
        self.stem = whole.stem
        self.stages = nn.Sequential(*whole.stages[:3], whole.stages[3][0])
        self.register_buffer("middle", torch.zeros(1, FEATURES, 1, 1))
        self.register_buffer("spread", torch.ones(1, FEATURES, 1, 1))
        self.narrow = nn.Conv2d(FEATURES, WIDTH, 1)
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Linear(WIDTH * (SIZE[0] // 32) * (SIZE[1] // 32), DIMENSIONS)

    def look(self, x: Tensor) -> Tensor:
        """(N, 80, 8, 10) features, what stays as it is."""
        return self.stages(functional.relu6(self.stem(x)))

    def say(self, y: Tensor, forget: float = 0.0) -> Tensor:
        """(N, 128) vectors of features; `forget` is the share that training leaves out."""
        y = functional.dropout2d((y - self.middle) / self.spread, forget, self.training)
        y = self.pool(functional.relu(self.narrow(y)))
        return functional.normalize(self.last(functional.dropout(y.flatten(1), forget, self.training)), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.look(x))


class RetrievalTraining:
    """One training, on the pairs of a folder with `nir/train`, `thermal/train`, `thermal_video/train`."""

    def __init__(self, data: Path, options: RetrievalOptions) -> None:
        """Read the pairs.

        Raises:
            EngineError: there are too few.
        """
        self.options = options
        self.scenes = scenes_of(data)
        if len(self.scenes) < FEWEST:
            raise EngineError(f"{data}: {len(self.scenes)} scenes, expected at least {FEWEST}")
        torch.manual_seed(options.seed)
        self.network = SceneNetwork()
        self._random = np.random.default_rng(options.seed)

    def run(self) -> SceneNetwork:
        """Train; logs the loss and how many of a batch find their partner first."""
        options, network = self.options, self.network
        seen = self._look()  # (2, scenes, views, 80, 8, 10)
        network.middle.copy_(seen.float().mean((0, 1, 2, 4, 5)).view(1, -1, 1, 1))
        network.spread.copy_(seen.float().std((0, 1, 2, 4, 5)).view(1, -1, 1, 1))
        temperature = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        trained = [*network.narrow.parameters(), *network.last.parameters()]
        optimizer = torch.optim.AdamW([*trained, temperature], lr=options.rate, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.rate, options.steps)
        batch = min(options.batch, len(self.scenes))
        said_loss, said_found = 0.0, 0.0
        network.train()
        for step in range(1, options.steps + 1):
            chosen = torch.from_numpy(self._random.choice(len(self.scenes), batch, replace=False))
            views = torch.from_numpy(self._random.integers(options.views, size=batch))
            pair = seen[:, chosen, views].float()
            infrared, color = network.say(pair.flatten(0, 1), FORGET).chunk(2)
            scores = infrared @ color.T * temperature.exp().clamp(max=50)
            own = torch.arange(batch)
            loss = (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            said_loss += loss.item() / SAY_EVERY
            said_found += float((scores.argmax(1) == own).float().mean()) / SAY_EVERY
            if step % SAY_EVERY == 0:
                log.info("step %d: loss %.3f, %.1f %% found", step, said_loss, 100 * said_found)
                said_loss = said_found = 0.0
        network.eval()
        return network

    def export(self, path: Path) -> Path:
        """Write the network as ONNX, weights in float16."""
        axes = {name: {0: "N"} for name in ("contrast", "vector")}
        ports = Ports({"contrast": torch.zeros(1, 1, *SIZE)}, axes, ("vector",))
        return write_graph(fold(copy.deepcopy(self.network)), path, ports)

    def _look(self) -> Tensor:
        """(2, scenes, views, 80, 8, 10) float16: what the pretrained layers say of views of every scene."""
        shape = (2, len(self.scenes), self.options.views, FEATURES, SIZE[0] // 16, SIZE[1] // 16)
        seen = torch.empty(shape, dtype=torch.float16)
        for number, scene in enumerate(self.scenes):
            views = [self._views(scene) for _ in range(self.options.views)]
            for side in (0, 1):
                stack = np.stack([view[side] for view in views])[:, None]
                with torch.no_grad():
                    seen[side, number] = self.network.look(torch.from_numpy(stack)).half()
            if number % 100 == 0:
                log.info("looked at %d of %d scenes", number, len(self.scenes))
        return seen

    def _views(self, scene: Sequence[Picture]) -> tuple[np.ndarray, np.ndarray]:
        """Of one scene: an infrared picture and, of a sequence, any color picture, each as it is seen."""
        random = self._random
        here = scene[int(random.integers(len(scene)))]
        there = scene[int(random.integers(len(scene)))]
        infrared, gray = here.infrared, rgb_to_gray(there.rgb)
        if random.random() < MIRRORED:
            infrared, gray = infrared[:, ::-1], gray[:, ::-1]
        side = random.uniform(NARROWEST, 1.0)
        place = random.uniform(0, 1 - side, 2)
        views = [cropped(infrared, side, place)]
        if random.random() < 0.7:
            side = float(np.clip(side * random.uniform(0.85, 1.15), NARROWEST, 1.0))
            place = np.clip(place + random.uniform(-WANDER, WANDER, 2), 0, 1 - side)
        views.append(cropped(gray, side, place))
        seen = degrade(expose(_unit(views[0]), random), random)
        if random.random() < INVERTED:
            seen = np.float32(1.0) - seen
        shown = expose(_unit(views[1]), random)
        if random.random() < DARK:
            shown = degrade(shown * np.float32(random.uniform(0.1, 0.5)), random)
        return prepared(_bytes(seen)), prepared(_bytes(shown))


def scenes_of(data: Path) -> list[list[Picture]]:
    """Pictures of one scene each: pairs are their own, a sequence of frames is one."""
    scenes: list[list[Picture]] = []
    for folder in (data / "nir" / "train", data / "thermal" / "train"):
        if folder.is_dir():
            scenes += [[picture] for picture in read_pairs(folder)]
    sequences = data / "thermal_video" / "train"
    if sequences.is_dir():
        scenes += [read_pairs(folder) for folder in sorted(sequences.iterdir()) if folder.is_dir()]
    if not scenes:
        scenes = [[picture] for picture in read_pairs(data)]
    return scenes


def _unit(luma: np.ndarray) -> np.ndarray:
    return luma.astype(np.float32) * np.float32(1 / 255)


def _bytes(luma: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(luma * 255.0, 0, 255), np.uint8)


def cropped(luma: np.ndarray, side: float, place: np.ndarray) -> np.ndarray:
    """The part of a picture with that share of both sides, its corner at `place` (y, x) of [0, 1)."""
    height, width = luma.shape
    top, left = int(place[0] * height), int(place[1] * width)
    part = luma[top : top + max(8, int(side * height)), left : left + max(8, int(side * width))]
    return np.asarray(
        cv2.resize(np.ascontiguousarray(part), SIZE[::-1], interpolation=cv2.INTER_AREA), np.uint8
    )
