"""How a network does on validation pictures: a table in the log, a JSON file and a contact sheet."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from irchroma.engines.measures import metrics
from irchroma.engines.training.coloring_network import SIZES, ColorAt, ColorNetwork
from irchroma.engines.training.pictures import Picture

LOG = logging.getLogger(__name__)
COLUMNS = (
    *("psnr_db", "ssim", "ciede2000", "hue_agreement"),
    *("colorfulness", "truth_colorfulness", "detail_kept"),
)
FEWEST = 4
"""Pictures whose names begin alike that are averaged as a group; of names like 0001.png each is its own."""
GROUPED_BY = f"first word of the file's name, up to _, where {FEWEST} pictures or more share it"
BY_SKY = f"; dark sky: the color picture's upper third is no brighter than {metrics.DAYTIME_LEVEL:g} of 255"
LONG_SIDE = 320
"""Pixels: larger pictures are made this small before they are colored and measured."""


def compose(ycc: np.ndarray) -> np.ndarray:
    """(3, H, W) float32 of the network -> (H, W, 3) uint8 R'G'B': about `full` mode at work size."""
    tone, blue, red = ycc
    rgb = np.stack(
        [tone + 1.402 * red, tone - 0.344136 * blue - 0.714136 * red, tone + 1.772 * blue], axis=-1
    )
    return np.asarray((np.clip(rgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


@torch.no_grad()  # type: ignore[untyped-decorator]
def color(model: ColorAt, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Color one (H, W) uint8 picture; the result is (H, W, 3) uint8 and its (H, W) float32 confidence."""
    height, width = luma.shape
    padded = np.pad(luma, ((0, -height % 32), (0, -width % 32)), mode="reflect")
    device = next(model.parameters()).device
    ycc, confidence = model(torch.from_numpy(padded)[None, None].to(device).float() / 255.0)
    ycc, confidence = (
        ycc[0, :, :height, :width].float().cpu().numpy(),
        confidence[0, 0, :height, :width].float().cpu(),
    )
    return compose(ycc), confidence.numpy()


def shrink(picture: Picture) -> Picture:
    """The picture no larger than `LONG_SIDE`."""
    height, width = picture.infrared.shape
    scale = LONG_SIDE / max(height, width)
    if scale >= 1.0:
        return picture
    size = (round(width * scale), round(height * scale))
    rgb, ir = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (picture.rgb, picture.infrared))
    return Picture(picture.name, rgb, ir)


def groups_of(pictures: Sequence[Picture], by_sky: bool) -> list[str]:
    """The group that each picture is averaged in: see `GROUPED_BY`, and `BY_SKY` where it is so."""
    words = [picture.name.rpartition("/")[2].partition("_")[0] for picture in pictures]
    counts = Counter(words)
    rest = "others" if max(counts.values(), default=0) >= FEWEST else "all"
    groups = [word if counts[word] >= FEWEST else rest for word in words]
    dark = [by_sky and not metrics.taken_by_day(picture.rgb) for picture in pictures]
    return [f"{group} dark sky" if is_dark else group for group, is_dark in zip(groups, dark, strict=True)]


def validate(
    network: ColorNetwork,
    pictures: Sequence[Picture],
    out: Path,
    step: int,
    by_sky: bool = False,
) -> dict[str, dict[str, float]]:
    """Color the pictures with each size, log a table, write `validation.jsonl` and a contact sheet.

    Args:
        network: is not changed.
        pictures: to judge by.
        out: folder of what is written.
        step: the training's.
        by_sky: average pictures with a dark sky apart: a thermal night has no color that could be known.
    """
    names = groups_of(pictures, by_sky)
    table: dict[str, dict[str, float]] = {}
    small = [shrink(picture) for picture in pictures]
    answers: dict[str, list[np.ndarray]] = {}
    for size in SIZES:
        model = ColorAt(network, size).eval()
        answers[size] = [color(model, picture.infrared)[0] for picture in small]
        groups: dict[str, list[metrics.Scores]] = {}
        for name, picture, answer in zip(names, small, answers[size], strict=True):
            groups.setdefault(name, []).append(metrics.score(answer, picture.rgb, picture.infrared))
        for group, scores in groups.items():
            mean = metrics.mean_scores(scores).as_dict()
            table[f"{size} {group}"] = {name: round(mean[name], 4) for name in COLUMNS}
    for name, row in table.items():
        LOG.info("step %d %-16s %s", step, name, " ".join(f"{key} {value:.3f}" for key, value in row.items()))
    about = {"grouped_by": GROUPED_BY + BY_SKY * by_sky, "pictures": dict(Counter(names))}
    keep(out, {"step": step, **about, "table": table}, f"sheet_{step:06d}.jpg", sheet(small, answers))
    return table


def keep(out: Path, found: Mapping[str, Any], name: str, picture: np.ndarray) -> None:
    """Add what was found to `validation.jsonl`, and write the picture, (H, W) or (H, W, 3) uint8."""
    with (out / "validation.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(_known(found), allow_nan=False) + "\n")
    cv2.imwrite(str(out / name), picture[..., ::-1] if picture.ndim == 3 else picture)


def _known(found: Any) -> Any:
    """What was found, null in place of what is no number: the hue of gray has no agreement."""
    if isinstance(found, Mapping):
        return {name: _known(value) for name, value in found.items()}
    return None if isinstance(found, float) and not math.isfinite(found) else found


def sheet(pictures: Sequence[Picture], answers: dict[str, list[np.ndarray]], columns: int = 4) -> np.ndarray:
    """A contact sheet: input, each size's answer, truth; (H, W, 3) uint8."""
    tiles = []
    for index, picture in enumerate(pictures):
        shown = np.repeat(picture.infrared[..., None], 3, axis=2)
        row = [shown, *(found[index] for found in answers.values()), picture.rgb]
        tiles.append(np.hstack([cv2.resize(tile, (144, 112), interpolation=cv2.INTER_AREA) for tile in row]))
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])
