"""Color to near infrared: a small network that turns plain color pictures into training pairs.

The reverse of the product's task, and far easier: color says what is foliage. Its pictures are the
infrared side of the proxy task, and the way from gray to infrared that the in-between inputs walk.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from irchroma.engines.cache import replaced
from irchroma.engines.training.color.objective import ssim
from irchroma.engines.training.coloring_network import ColorNetwork
from irchroma.engines.training.encoder import load_pretrained
from irchroma.engines.training.pictures import Picture
from irchroma.engines.training.steps import StepOptions, Steps
from irchroma.engines.training.watch import CHECKPOINT

LOG = logging.getLogger(__name__)
CROP, BATCH, RATE = 160, 12, 5e-4


def predict_infrared(network: ColorNetwork, rgb: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> (N, 1, H, W): a locally affine mix of R, G and B."""
    said = network(rgb, ("fast",))["fast"]
    mix = functional.interpolate(said.logits[:, :4].float(), scale_factor=4.0, mode="bilinear")
    base = rgb.mean(1, keepdim=True)
    return base + (mix[:, :3] * rgb).sum(1, keepdim=True) + mix[:, 3:4]


def translated(
    pictures: Sequence[Picture], pairs: Sequence[Picture], cache: Path, steps: int, band: str
) -> list[np.ndarray]:
    """(H, W) uint8 of each color picture, as a network that was trained on the pairs sees it.

    They are kept under a name that depends on all that they are made of, and so is a training that was
    stopped: the next one goes on where that was.

    Args:
        pictures: in color.
        pairs: of infrared and color.
        cache: folder where they are kept.
        steps: of training.
        band: for the name, and for what is said.
    """
    made_of = hashlib.sha256(f"{steps} {CROP} {BATCH} {RATE}".encode())
    for picture in (*pairs, *pictures):
        made_of.update(picture.name.encode())
        for pixels in (picture.rgb, picture.ir):
            made_of.update(b"" if pixels is None else np.ascontiguousarray(pixels).data)
    path = cache / f"{band}_like_{made_of.hexdigest()[:12]}.npz"
    if not path.is_file():
        network = train_translation(pairs, steps, path.with_suffix(""), title=f"color to {band}")
        LOG.info("color to %s: drawing %d pictures", band, len(pictures))
        made = {f"{number}": translate(network, picture.rgb) for number, picture in enumerate(pictures)}
        with replaced(path) as partial:
            np.savez(partial, **made)
        shutil.rmtree(path.with_suffix(""))
    with np.load(path) as kept:
        return [kept[f"{number}"] for number in range(len(pictures))]


def train_translation(
    pairs: Sequence[Picture], steps: int, out: Path, seed: int = 0, title: str = "translation"
) -> ColorNetwork:
    """Learn color to infrared from registered pairs; the same again from the same seed.

    Args:
        pairs: of infrared and color.
        steps: how many.
        out: folder of the checkpoint, from which it goes on where there is one.
        seed: of everything drawn.
        title: of what is said.
    """
    torch.manual_seed(seed)
    network: ColorNetwork = ColorNetwork(channels=3)
    load_pretrained(network.encoder)
    network = network.to(memory_format=torch.channels_last)
    parameters = [
        p for name, p in network.named_parameters() if "best" not in name and "stages.5" not in name
    ]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    begun = (out / CHECKPOINT).is_file()
    options = StepOptions(out, steps, BATCH, epoch=steps, seed=seed, rate=RATE, resume=begun)
    course = Steps(options, {"network": network, "optimizer": optimizer}, torch.device("cpu"))

    def make(step: int) -> tuple[Tensor, Tensor]:
        random = course.random(step)
        chosen = random.integers(len(pairs), size=BATCH)
        rgb, ir = zip(*(_crop(pairs[index], random) for index in chosen), strict=True)
        colors = torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2).float() / 255.0
        return colors, torch.from_numpy(np.stack(ir))[:, None].float() / 255.0

    def advance(batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        colors, truth = batch
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (course.done + 1) / 20) * (1.0 - course.progress) + 1e-5
        with torch.autocast("cpu", torch.bfloat16):
            answer = predict_infrared(network, colors.contiguous(memory_format=torch.channels_last))
        loss = (answer - truth).abs().mean() + 0.3 * (1.0 - ssim(answer, truth))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"loss": loss.item()}

    course.run(make, advance, title=title, again="the same command")
    network.eval()
    return network


def _crop(picture: Picture, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    height, width = picture.infrared.shape
    side = int(min(height, width, CROP * random.uniform(1.0, 1.6)))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    rgb, ir = (
        cv2.resize(pixels[top : top + side, left : left + side], (CROP, CROP), interpolation=cv2.INTER_AREA)
        for pixels in (picture.rgb, picture.infrared)
    )
    if random.random() < 0.5:
        rgb, ir = rgb[:, ::-1], ir[:, ::-1]
    return np.ascontiguousarray(rgb), np.ascontiguousarray(ir)


@torch.no_grad()  # type: ignore[untyped-decorator]
def translate(network: ColorNetwork, rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) uint8 likeness of a near-infrared picture."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    colors = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255.0
    with torch.autocast("cpu", torch.bfloat16):
        answer = predict_infrared(network, colors)[0, 0, :height, :width]
    return np.asarray((answer.clamp(0.0, 1.0) * 255.0).round().byte().numpy())
