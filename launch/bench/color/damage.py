"""Streams that are really damaged, for `irchroma bench repair`: what is found, doubted and mended of them."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.repair.filling import FillOptions
from irchroma.engines.repair.mask import Mask
from irchroma.engines.repair.repairer import RepairOptions, VideoRepair
from irchroma.engines.repair.stream_damage import StreamDamage
from irchroma.launch.bench.clips import CODECS, SENT, SLICED, code, lose, lose_slices, shown, spoil
from irchroma.stream.frame import Frame

Luma = NDArray[np.uint8]
WRONG_LEVELS, WRONG_SHARE = 8, 0.02
"""A pixel is wrong from so many gray levels on (mean of 25), a frame from such a share of them."""
NEAR_PX = 17
"""What is marked so near to a wrong pixel is marked rightly: blocks are larger than what is wrong in them."""


def wrong_pixels(truth: Luma, came: Luma) -> NDArray[np.bool_]:
    """(H, W) bool."""
    return np.asarray(cv2.blur(cv2.absdiff(truth, came), (5, 5)) > WRONG_LEVELS, bool)


def measure_damage(frames: list[Luma], network: NetworkOptions) -> dict[str, Any]:
    """Way of damage -> numbers of one clip, whole and damaged."""
    height, width = (side // 2 * 2 for side in frames[0].shape)
    even = [np.ascontiguousarray(frame[:height, :width]) for frame in frames]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in (*CODECS, *SENT, *SLICED):
            kind = "mkv" if way in CODECS else "ts"
            whole, bad = (Path(folder) / f"{name}.{kind}" for name in ("whole", "bad"))
            code(even, whole, way)
            truth = shown(whole)
            (spoil if way in CODECS else lose if way in SENT else lose_slices)(whole, bad)
            came = shown(bad)
            found[way] = {"frames": len(truth), "shown": len(came), "false_alarms": _alarms(truth)}
            found[way] |= {"repeats": _same(came, shown(bad)), **_of_damage(truth, came, network)}
    return found


def _same(first: list[Frame], second: list[Frame]) -> bool:
    """Whether a stream that is decoded twice gives the same pictures, and the same is said of them."""
    return len(first) == len(second) and all(
        one.damaged_from == two.damaged_from and np.array_equal(one.pixels, two.pixels)
        for one, two in zip(first, second, strict=True)
    )


def _luma_of(frame: Frame) -> Luma:
    return np.asarray(frame.pixels, np.uint8)


def _alarms(frames: list[Frame]) -> int:
    """Frames in which damage is found or doubted."""
    damage, alarms = StreamDamage(), 0
    for frame in frames:
        seen = damage.look(_luma_of(frame), frame.pts_ns, frame.damaged_from, frame.drawn_anew)
        alarms += seen.mended is not None or seen.doubted is not None
    return alarms


@dataclass
class Marks:
    """How much of what is wrong is marked, and how much of what is marked is wrong, pixels."""

    wrong: int = 0
    hit: int = 0
    marked: int = 0
    right: int = 0

    def add(self, wrong: Mask, mask: Mask | None) -> None:
        """One frame; in one that is hardly wrong what is not marked does not count."""
        if wrong.mean() >= WRONG_SHARE:
            self.wrong += int(wrong.sum())
            self.hit += 0 if mask is None else int((wrong & mask).sum())
        if mask is not None:
            near = cv2.dilate(wrong.astype(np.uint8), np.ones((NEAR_PX, NEAR_PX), np.uint8)) > 0
            self.marked, self.right = self.marked + int(mask.sum()), self.right + int((mask & near).sum())

    @property
    def shares(self) -> tuple[float | None, float | None]:
        """The share of wrong pixels that is marked, and of marked ones that is wrong."""
        return (
            round(self.hit / self.wrong, 3) if self.wrong else None,
            round(self.right / self.marked, 3) if self.marked else None,
        )


def _of_damage(truth: list[Frame], came: list[Frame], network: NetworkOptions) -> dict[str, Any]:
    """What is found and mended, of the frames that came; each is held against the one of its time."""
    damage, video = StreamDamage(), VideoRepair(RepairOptions(FillOptions("auto", network)))
    mended_marks, all_marks = Marks(), Marks()
    counts = {"damaged_frames": 0, "found_frames": 0, "doubted_frames": 0}
    psnr_db: dict[str, list[float]] = {"before": [], "after": [], "inside_before": [], "inside_after": []}
    for frame in came:
        one = _luma_of(min(truth, key=lambda other: abs(other.pts_ns - frame.pts_ns)))
        other = _luma_of(frame)
        wrong = wrong_pixels(one, other)
        seen = damage.look(other, frame.pts_ns, frame.damaged_from, frame.drawn_anew)
        mask, doubted = seen.mended, seen.doubted
        mended = video.apply(seen.pixels, frame.pts_ns, lost=seen.lost, lasting=seen.lasting)[0]
        mended_marks.add(wrong, mask)
        all_marks.add(wrong, mask if doubted is None else doubted if mask is None else mask | doubted)
        if wrong.mean() < WRONG_SHARE:
            continue
        counts["damaged_frames"] += 1
        counts["found_frames"] += mask is not None
        counts["doubted_frames"] += doubted is not None
        for name, made in (("before", other), ("after", np.asarray(mended, np.uint8))):
            psnr_db[name].append(_psnr(one, made))
            psnr_db[f"inside_{name}"].append(_psnr(one[wrong], made[wrong]))
    video.close()
    found, all_ = mended_marks.shares, all_marks.shares
    return {
        **counts,
        "found_share": found[0],
        "marked_rightly": found[1],
        "found_or_doubted_share": all_[0],
        "doubted_rightly": all_[1],
        **{
            f"{name}_psnr_db": round(float(np.mean(one)), 2) if one else None for name, one in psnr_db.items()
        },
    }


def _psnr(truth: Luma, made: Luma) -> float:
    squared = float(np.mean((truth.astype(np.float32) - made) ** 2))
    return 10 * math.log10(255.0**2 / max(squared, 0.01))
