"""The training of the reference network: triples, steps, averaged weights, checkpoints, validation."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.measures import metrics
from irchroma.engines.reference.placing import Placing
from irchroma.engines.training.color.objective import rgb_to_ycc
from irchroma.engines.training.encoder import Encoder, load_pretrained
from irchroma.engines.training.exemplar.modules import DIM, places
from irchroma.engines.training.exemplar.network import CELL_PX, Modules, ReferenceNetwork
from irchroma.engines.training.exemplar.objective import ReferenceObjective, ReferenceWeights
from irchroma.engines.training.exemplar.pairs import ReferencePictures, Triples
from irchroma.engines.training.export import weights_of
from irchroma.engines.training.report import compose, keep, shrink
from irchroma.engines.training.steps import CropOptions, Steps, follow

LOG = logging.getLogger(__name__)
KINDS = ("without", "same scene", "same scene by content", "other scene")
"""Of references at validation; `by content` is told nothing of where it lies, and so gives color alone."""
AVERAGE = 0.995
JUDGED_FROM = 0.1
"""Share of the steps after which the discriminator has a say."""
TRUNK_RATE = 0.3
TILE = (160, 208)


@dataclass(frozen=True)
class ReferenceTrainOptions(CropOptions):
    """How long and how, see `CropOptions`; a batch is of triples.

    Attributes:
        modules: what is in the network.
        weights: of the objective's parts.
        dim: channels of the features that are compared, a multiple of 16.
    """

    batch: int = 6
    side: int = 192
    modules: Modules = field(default_factory=Modules)
    weights: ReferenceWeights = field(default_factory=ReferenceWeights)
    dim: int = DIM

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % 16 or self.dim < 16:
            raise EngineOptionError(f"dim must be a multiple of 16, got {self.dim}")


def load_shipped(encoder: Encoder, band: str) -> None:
    """Start the infrared's encoder from that of the band's `fast` network as it ships.

    Raises:
        EngineUnavailable: onnx or the weights are not here.
    """
    path = catalog.weights_path(band, "fast")
    if not path.is_file():
        raise EngineUnavailable(f"no weights at {path}: train {band} first: irchroma train {band}")
    found = {
        name.removeprefix("encoder."): values
        for name, values in weights_of(path).items()
        if name.startswith("encoder.")
    }
    own = encoder.state_dict()
    scales = {name: torch.ones_like(value) for name, value in own.items() if name.endswith(".scale")}
    kept = {name: value for name, value in own.items() if name.startswith("stages.5.")}  # not used here
    try:
        encoder.load_state_dict(found | scales | kept)
    except RuntimeError as error:
        raise EngineUnavailable(f"{path} does not hold the encoder that is trained here") from error


class ReferenceTraining:
    """A run that repeats from its seed and resumes as if it had not stopped.

    Args:
        band: `nir` or `thermal`.
        pictures: what to learn from.
        options: how long and how.
    """

    def __init__(self, band: str, pictures: ReferencePictures, options: ReferenceTrainOptions) -> None:
        self.options, self.pictures = options, pictures
        torch.manual_seed(options.seed)
        infrared, visible, judge = Encoder(1), Encoder(1), Encoder(3)
        load_shipped(infrared, band)
        load_shipped(visible, "nir")  # which has learned gray photographs too
        load_pretrained(judge)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network: ReferenceNetwork = ReferenceNetwork(infrared, visible, options.modules, options.dim)
        self.network: ReferenceNetwork = network.to(self.device, memory_format=torch.channels_last)
        self.average: ReferenceNetwork = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.objective = ReferenceObjective(options.weights, judge)
        self.objective.judge.to(self.device)
        self.objective.discriminator.to(self.device)
        slow = {
            id(one)
            for name, one in self.network.named_parameters()
            if ".trunk." in name and one.requires_grad
        }
        groups = [
            {"params": [p for p in self.network.parameters() if id(p) in slow], "share": TRUNK_RATE},
            {
                "params": [p for p in self.network.parameters() if p.requires_grad and id(p) not in slow],
                "share": 1.0,
            },
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=0.01)
        judging = self.objective.discriminator.parameters()
        self.judging = torch.optim.Adam(judging, lr=options.rate, betas=(0.0, 0.9))
        kept = {
            "network": self.network,
            "average": self.average,
            "optimizer": self.optimizer,
            "discriminator": self.objective.discriminator,
            "judging": self.judging,
        }
        self.steps = Steps(options, kept, self.device)

    def run(self) -> ReferenceNetwork:
        """Train to the last step; the averaged network."""
        self.steps.run(self.make, self.advance, self.validate)
        return self.average

    def make(self, step: int) -> Triples:
        """The batch of a step."""
        return self.pictures.batch(self.options.batch, self.options.side, self.steps.random(step))

    def advance(self, batch: Triples) -> dict[str, float]:
        """One step; what the log says of it."""
        batch = batch.to(self.device)
        self.steps.pace(self.optimizer)
        judged = bool(self.options.weights.adversarial) and self.steps.progress >= JUDGED_FROM
        self.network.train()
        tokens = self.network.tokens(rgb_to_ycc(batch.reference), batch.place, batch.there, batch.known)
        strength = torch.ones(1, 1, 1, 1, device=self.device)
        said = self.network(batch.luma, batch.own, batch.confidence, batch.place, tokens, strength)
        loss, parts = self.objective(said, batch, judged)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if judged:
            self.judging.zero_grad(set_to_none=True)
            wrong = self.objective.judging(said, batch)
            wrong.backward()
            self.judging.step()
            parts["judge"] = wrong.item()
        follow(self.average, self.network, self.steps.done, AVERAGE)
        return parts

    def validate(self) -> dict[str, dict[str, float]]:
        """Color the validation pictures by every kind of reference; kind -> measure -> mean."""
        scores: dict[str, list[metrics.Scores]] = {kind: [] for kind in KINDS}
        rows = []
        small = [shrink(picture) for picture in self.pictures.validation]
        for index, picture in enumerate(small):
            shown = [np.repeat(picture.infrared[..., None], 3, axis=2)]
            crop = _crop(picture.rgb, index)
            other = _next(small, index) if len(small) > 1 else self.pictures.pairs[0].rgb
            for kind, reference in zip(KINDS, (None, crop, crop, other), strict=True):
                answer = self.color(picture.infrared, reference, placed=not kind.endswith("by content"))
                scores[kind].append(metrics.score(answer, picture.rgb, picture.infrared))
                shown += [answer] if reference is None else [reference, answer]
            tiles = [
                cv2.resize(tile, TILE[::-1], interpolation=cv2.INTER_AREA) for tile in (*shown, picture.rgb)
            ]
            rows.append(np.hstack(tiles))
        table = {
            kind: {
                name: round(metrics.mean_scores(found).as_dict()[name], 4)
                for name in ("psnr_db", "ciede2000", "hue_agreement", "colorfulness")
            }
            for kind, found in scores.items()
        }
        for kind, row in table.items():
            LOG.info("step %d %-12s %s", self.steps.done, kind, json.dumps(row))
        step = self.steps.done
        keep(self.options.out, {"step": step, "table": table}, f"sheet_{step:06d}.png", np.vstack(rows[:12]))
        return table

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def color(
        self, luma: np.ndarray, reference: np.ndarray | None, strength: float = 1.0, placed: bool = True
    ) -> np.ndarray:
        """(H, W, 3) uint8 of (H, W) uint8 infrared and (h, w, 3) uint8 reference, by the averaged network.

        Without `placed` geometry does not say where the reference lies.
        """
        height, width = luma.shape
        seen = _tensor(luma)[:, None] if luma.ndim == 2 else _tensor(luma)
        ycc, sure = (torch.from_numpy(np.array(one)) for one in self.pictures.network.infer(seen.numpy()))
        if reference is not None:
            rgb = _tensor(reference).permute(0, 3, 1, 2)
            there, known = _laid(seen, rgb)
            known = known if placed else torch.zeros_like(known)
            given = (rgb_to_ycc(rgb), _places(rgb), there, known)
            tokens = self.average.tokens(*(one.to(self.device) for one in given))
            frame = (seen, ycc, sure, _places(seen))
            said = self.average(
                *(one.to(self.device) for one in frame),
                tokens,
                torch.full((1, 1, 1, 1), strength, device=self.device),
            )
            ycc = said.ycc.cpu()
        return compose(ycc[0, :, :height, :width].numpy())


def train_together(
    trainings: Mapping[str, ReferenceTraining],
    at_epoch: Callable[[int, dict[str, dict[str, dict[str, float]]]], None],
) -> None:
    """Train several networks on the same batches, in step: what differs between them is what they are.

    Those of the first one's seed begin with its weights wherever they have the same layers.

    Args:
        trainings: name -> one; equal in all options but the network's modules, the weights of the loss's
            parts, the seed and the folder. The first one's batches are taken.
        at_epoch: given the steps that are done and, by name, what validation says.
    """
    first, *others = trainings.values()
    begun = first.network.state_dict()
    for one in others:
        if one.options.seed != first.options.seed:
            continue
        own = one.network.state_dict()
        shared = {name: value for name, value in begun.items() if name in own}
        one.network.load_state_dict(own | shared)
        one.average.load_state_dict(own | shared)
        one.objective.discriminator.load_state_dict(first.objective.discriminator.state_dict())

    def advance(batch: Triples) -> dict[str, float]:
        said = first.advance(batch)
        for one in others:
            one.advance(batch)
            one.steps.done += 1
        return said

    def validate() -> None:
        at_epoch(first.steps.done, {name: one.validate() for name, one in trainings.items()})

    first.steps.run(first.make, advance, validate)


def _tensor(pixels: np.ndarray) -> Tensor:
    """(1, H', W') or (1, H', W', 3) float32 in [0, 1], mirrored to multiples of 32."""
    below, beside = -pixels.shape[0] % 32, -pixels.shape[1] % 32
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_REFLECT_101)
    return torch.from_numpy(padded.astype(np.float32) / 255.0)[None]


def _laid(luma: Tensor, rgb: Tensor) -> tuple[Tensor, Tensor]:
    """`there` and `known` of a reference, as they are at work."""
    size = (rgb.shape[2] // CELL_PX, rgb.shape[3] // CELL_PX)
    gray = rgb_to_ycc(rgb)[0, 0]
    reference, frame = ((255.0 * one).round().byte().numpy() for one in (gray, luma[0, 0]))
    there, known = Placing(reference, size).at(frame)
    return torch.from_numpy(there), torch.full((1, 1, 1, 1), known)


def _places(pictures: Tensor) -> Tensor:
    return places(1, pictures.shape[2] // CELL_PX, pictures.shape[3] // CELL_PX)


def _crop(rgb: np.ndarray, index: int) -> np.ndarray:
    """Seven eighths of a picture, one of its corners, which one by its number."""
    height, width = (round(0.875 * side) for side in rgb.shape[:2])
    top = 0 if index % 2 else rgb.shape[0] - height
    left = 0 if index // 2 % 2 else rgb.shape[1] - width
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def _next(pictures: list, index: int) -> np.ndarray:  # type: ignore[type-arg]
    """Another validation picture's color."""
    return np.asarray(pictures[(index + len(pictures) // 2) % len(pictures)].rgb)
