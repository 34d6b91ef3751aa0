"""`irchroma bench repair`: methods of repair on validation pictures and clips, inside the holes alone."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.catalog import REPAIRS, repair_weights
from irchroma.engines.measures.flicker_report import read_frames
from irchroma.engines.measures.metrics import ssim_within
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.repair import holes
from irchroma.engines.repair.filling import CLASSICAL, Filling, FillOptions
from irchroma.engines.repair.mask import WIDE_PX, Holes, Mask
from irchroma.engines.repair.repairer import RepairOptions, VideoRepair
from irchroma.launch.bench.color.damage import measure_damage
from irchroma.launch.measured import spread, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.picture_files import (
    PictureError,
    contact_sheet,
    list_pictures,
    read_infrared,
    write_rgb,
)

EXAMPLE = "irchroma bench repair --data DIR --clip pan.mp4 --json repair.json --sheet repair.png"
Luma = NDArray[np.uint8]
BANDS = {"nir": ("nir/val/ir",), "thermal": ("thermal/val/ir", "thermal_video/val/*/ir")}
BLOBS_PX = (3, 5, 8, 12, 16, 24, 32, 48, 64)
KINDS = ("rows", "text", "lost", *(f"blob {diameter}" for diameter in BLOBS_PX))
SMALL = ("rows", "blob 3", "blob 5")
"""Holes that no network is asked for by itself."""
SHOWN = ("text", "lost", "blob 24", "blob 48")
"""Holes that are on the sheet."""
METHODS = (*CLASSICAL, *REPAIRS, "auto")
BLOB_SHARE = 0.03
"""Of a picture, that blobs of one size take; one of the largest takes more of a small picture."""
LEAST_DB, MOST_DB = 0.0, 60.0
WAYS = {
    "telea, frame by frame": ("telea", False),
    "navier-stokes, frame by frame": ("navier-stokes", False),
    "auto, frame by frame": ("auto", False),
    "auto": ("auto", True),
}
PARTS = ("pictures", "clips", "damage", "speed")
"""Of the bench."""
SPEED_SIZE, SPEED_FRAMES, PAN_PX = (512, 640), 120, 3
_NO_DICE = np.random.default_rng(0)
SHARES = (0.01, 0.03, 0.05)


@dataclass
class Tally:
    """Sums over pictures for one method and one kind of hole."""

    psnr_db: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def add(self, made: Luma, truth: Luma, mask: Mask, ms: float) -> None:
        """One picture."""
        squared = float(np.mean((made.astype(np.float32) - truth)[mask] ** 2))
        decibels = 10 * math.log10(255.0**2 / squared) if squared > 0 else MOST_DB
        self.psnr_db.append(min(max(decibels, LEAST_DB), MOST_DB))
        self.ssim.append(ssim_within(made, truth, mask))
        self.ms.append(ms)

    def row(self) -> dict[str, Any]:
        """Means, and the spread of the time."""
        return {
            "psnr_db": round(float(np.mean(self.psnr_db)), 3),
            "ssim": round(float(np.mean(self.ssim)), 4),
            "ms": spread(self.ms),
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="holds nir/val/ir and the like, or ir alone")
    add("--clip", type=Path, action="append", default=[], metavar="VIDEO", help="infrared; may be repeated")
    add("--frames", type=int, default=90, metavar="N", help="of each clip (90)")
    add("--every", type=int, default=1, metavar="N", help="every so many pictures (all)")
    add("--only", choices=PARTS, action="append", metavar="PART", help=f"of {', '.join(PARTS)} (all)")
    add("--runtime", default="auto", metavar="R", help="auto, openvino, onnxruntime, torch")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the networks")
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--sheet", type=Path, metavar="FILE.png", help="pictures of every method, to look at")


def run(args: argparse.Namespace) -> int:
    """Measure pictures, clips, damaged streams and speed; print tables, write JSON and sheet."""
    network = NetworkOptions(args.runtime, args.threads)
    rows: list[list[tuple[str, Luma]]] = []
    parts = args.only or PARTS
    results: dict[str, Any] = {"bench": "repair"}
    if "pictures" in parts:
        results["pictures"] = _run_pictures(args, network, rows)
    if "clips" in parts:
        results["clips"] = {}
    if "damage" in parts:
        results["damaged_streams"] = {}
    for clip in args.clip:
        frames = [
            rgb_to_luma(frame) for frame, _ in zip(read_frames(clip)[1], range(args.frames), strict=False)
        ]
        for name, lost in (("standing", False), ("lost blocks", True)) if "clips" in parts else ():
            found = measure_clip(frames, network, lost)
            results["clips"][f"{clip.name}, {name}"] = found
            _print(f"{clip.name}, {name}, {len(frames)} frames", {"": found})
        if "damage" in parts:
            spoiled = results["damaged_streams"][clip.name] = measure_damage(frames, network)
            for codec, row in spoiled.items():
                print(f"{clip.name}, {codec}, damaged: {row}")
    if "speed" in parts:
        results["speed"] = measure_speed(network)
        _print("640x512", {"": results["speed"]})
    write_json(args.json, results)
    if args.sheet is not None:
        write_rgb(args.sheet, contact_sheet(rows, cell_width=320))
    return 0


def _run_pictures(
    args: argparse.Namespace, network: NetworkOptions, rows: list[list[tuple[str, Luma]]]
) -> dict[str, Any]:
    """Band -> how many pictures, and what was measured on them."""
    results: dict[str, Any] = {}
    bands = {"pictures": ("ir",)} if (args.data / "ir").is_dir() else BANDS
    for band, places in bands.items():
        pictures = [read_luma(path) for path in _files(args.data, places)[:: args.every]]
        found = measure_pictures(pictures, network, rows if args.sheet else None)
        results[band] = {"count": len(pictures), "methods": found}
        _print(f"{band}, {len(pictures)} pictures", found)
    return results


def read_luma(path: Path) -> Luma:
    """(H, W) uint8; 16-bit pictures are not expected among these."""
    return np.asarray(read_infrared(path), np.uint8)


def _files(data: Path, places: tuple[str, ...]) -> list[Path]:
    folders = [folder for place in places for folder in sorted(data.glob(place))]
    if not folders:
        raise PictureError(f"{data}: has no {places[0]}: give the folder that holds it")
    return [path for folder in folders for path in list_pictures(folder)]


def mask_for(kind: str, size: tuple[int, int], random: np.random.Generator) -> Mask:
    """Holes of one of KINDS."""
    name, _, diameter = kind.partition(" ")
    if name != "blob":
        while not (mask := holes.draw(name, size, random)).any():
            pass
        return mask
    across = int(diameter)
    mask = np.zeros(size, bool)
    while not mask.any() or mask.mean() < BLOB_SHARE - 0.4 * across**2 / mask.size:
        mask |= holes.blob(size, across, random)
    return mask


def methods() -> list[str]:
    """Those of METHODS whose weights are here; the others are printed."""
    lacking = [name for name in REPAIRS if not repair_weights(name).is_file()]
    if lacking:
        print(f"left out, as their weights are not here: {', '.join(lacking)}")
    return [name for name in METHODS if name not in lacking]


def measure_pictures(
    pictures: list[Luma], network: NetworkOptions, rows: list[list[tuple[str, Luma]]] | None
) -> dict[str, Any]:
    """Kind of hole -> method -> numbers; networks fill holes of every size but for `auto`.

    Args:
        pictures: the truth.
        network: how the networks run.
        rows: gets some pictures for a sheet.
    """
    fillings = {name: Filling(FillOptions(name, network)) for name in methods()}
    tallies = {kind: {name: Tally() for name in fillings} for kind in KINDS}
    for filling in fillings.values():  # networks are compiled on what they see first
        filling.fill(np.zeros((128, 128), np.float32), Holes(holes.draw("center", (128, 128), _NO_DICE)))
    progress = Progress(len(KINDS) * len(pictures))
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng(number)
        for index, truth in enumerate(pictures):
            progress.update(number * len(pictures) + index, kind)
            mask = mask_for(kind, truth.shape[:2], random)
            luma = np.where(mask, 0, truth).astype(np.float32) / np.float32(255)
            shown = [(kind, np.where(mask, 255, truth).astype(np.uint8))]
            for name, filling in fillings.items():
                if name in REPAIRS and kind in SMALL:
                    continue  # hundreds of windows, and worse
                start = time.perf_counter()
                found = Holes(mask, wide_px=1 if name in REPAIRS else WIDE_PX)
                made = np.rint(np.clip(filling.fill(luma, found), 0, 1) * 255).astype(np.uint8)
                ms = (time.perf_counter() - start) * 1e3
                tallies[kind][name].add(made, truth, mask, ms)
                shown.append((name, made))
            if rows is not None and kind in SHOWN and index in (2, len(pictures) // 2):
                rows.append([*shown, ("truth", truth)])
    progress.close()
    for filling in fillings.values():
        filling.close()
    return {
        kind: {name: one.row() for name, one in found.items() if one.ms} for kind, found in tallies.items()
    }


def measure_clip(frames: list[Luma], network: NetworkOptions, lost: bool) -> dict[str, Any]:
    """Way -> numbers, of holes that stand in the picture or of blocks lost in every third frame."""
    size = frames[0].shape[:2]
    standing = _mixed(size, np.random.default_rng(3))
    found = {}
    for way, (method, remember) in WAYS.items():
        options = RepairOptions(FillOptions(method, network), remember)
        video = VideoRepair(options, None if lost else standing)
        random, tally, changes = np.random.default_rng(5), Tally(), []
        before: NDArray[np.float32] | None = None
        for number, truth in enumerate(frames):
            missing = holes.draw("lost", size, random) if lost and number % 3 == 2 else None
            mask = standing if not lost else missing if missing is not None else np.zeros(size, bool)
            given = np.where(mask, 128 if lost else 255, truth).astype(np.uint8)
            start = time.perf_counter()
            made = video.apply(given, round(number * 1e9 / 30), lost=missing)[0]
            ms = (time.perf_counter() - start) * 1e3
            if mask.any() and number:
                tally.add(np.asarray(made, np.uint8), truth, mask, ms)
            off = made.astype(np.float32) - truth
            if before is not None and not lost:
                changes.append(float(np.abs(off - before)[standing].mean()))
            before = off
        seen = video.summary()
        found[way] = {
            **tally.row(),
            "flicker_levels": round(float(np.mean(changes)), 4) if changes else None,
            "seen_before": seen["seen_before"],
            "network_windows": seen["network_windows"],
        }
        video.close()
    return found


def _mixed(size: tuple[int, int], random: np.random.Generator) -> Mask:
    """Blobs of 8 to 48 pixels, a line of text, dead rows."""
    mask = holes.draw("text", size, random) | holes.draw("rows", size, random)
    for diameter in (8, 16, 24, 32, 48):
        mask |= holes.blob(size, diameter, random)
    return mask


def measure_speed(network: NetworkOptions) -> dict[str, Any]:
    """Milliseconds of a frame of 640x512 by what is missing, of the clock and of all cores for this run."""
    found = {}
    for share in SHARES:
        for name, step in (("still", 0), ("panning", PAN_PX)):
            random = np.random.default_rng(1)
            mask = np.zeros(SPEED_SIZE, bool)
            while mask.mean() < share:
                mask |= holes.blob(SPEED_SIZE, random.uniform(8, 64), random)
            video = VideoRepair(RepairOptions(FillOptions("auto", network)), mask)
            times, busy = [], []
            for number, frame in enumerate(_pan(step)):
                start, start_cpu = time.perf_counter(), time.process_time()
                video.apply(frame, round(number * 1e9 / 30))
                busy.append((time.process_time() - start_cpu) * 1e3)
                times.append((time.perf_counter() - start) * 1e3)
            video.close()
            found[f"{share:.0%}, {name}"] = {
                "first_ms": round(times[0], 2),
                "ms": spread(times[1:]),
                "cpu_ms": spread(busy[1:]),
                "mean_cpu_ms": round(float(np.mean(busy[1:])), 2),
            }
    return found


def _pan(step: int) -> Iterator[Luma]:
    """A textured view with a sensor's noise."""
    random = np.random.default_rng(0)
    height, width = SPEED_SIZE
    long = width + step * SPEED_FRAMES
    coarse = cv2.resize(random.integers(30, 220, (12, long // 40)).astype(np.uint8), (long, height))
    fine = cv2.GaussianBlur(random.normal(0, 30, (height, long)).astype(np.float32), (0, 0), 1.5)
    view = coarse.astype(np.float32) + fine
    for number in range(SPEED_FRAMES):
        noise = random.normal(0, 1.5, SPEED_SIZE).astype(np.float32)
        part = view[:, step * number : step * number + width]
        yield np.clip(part + noise, 0, 255).astype(np.uint8)


def _print(title: str, found: dict[str, Any]) -> None:
    """A table for people: a row for each kind of hole and method."""
    print(title)
    for kind, ways in found.items():
        for way, row in ways.items():
            told = [f"{key} {row[key]:.3f}" for key in ("psnr_db", "ssim", "flicker_levels") if row.get(key)]
            took = f"{row['ms']['median']:.1f} ms (p95 {row['ms']['p95']:.1f})"
            print(f"  {kind:8} {way:30} {'  '.join(told)}  {took}")
