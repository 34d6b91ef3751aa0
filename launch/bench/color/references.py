"""`irchroma bench references`: how often the color picture of a scene is found for its infrared frame.

In a library of the color partners and of pictures of everywhere else; also where the library has the scene
as another moment shows it, turned away by a seventh, and by day where the infrared is of the night.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.engines.reference import registration, structure
from irchroma.engines.retrieval import features
from irchroma.engines.retrieval.follower import FINALISTS
from irchroma.engines.retrieval.library import SHORTLIST
from irchroma.engines.retrieval.neighbors import Neighbors
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import luma_of
from irchroma.launch.stills.picture_files import (
    PictureError,
    contact_sheet,
    list_pairs,
    list_pictures,
    read_infrared,
    read_rgb,
    write_rgb,
)
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

EXAMPLE = "irchroma bench references data/ --json references.json --sheet references.png"
Luma = NDArray[np.uint8]
Vector = NDArray[np.float32]

DARK = 70.0
"""Mean luma of a color picture below which it was taken by night."""
PART = 0.85
"""Share of the sides that is left of a moved pair: of the infrared at the top left, of the color at the
bottom right, so that they have seven tenths of the sides in common."""
SYNTHETIC_SEEDS = range(200, 224)
GRID = (1, 2, 4, 8)
BINS = 8


@dataclass(frozen=True, slots=True)
class Question:
    """An infrared frame, and which pictures of the library show its scene.

    Attributes:
        luma: (H, W) uint8.
        right: rows of the library.
        dark: the scene's own color picture is of the night.
        name: for the sheet.
    """

    luma: Luma
    right: frozenset[int]
    dark: bool
    name: str


@dataclass(frozen=True, slots=True)
class Set_:
    """Questions to one library.

    Attributes:
        name: for the table.
        questions: infrared frames.
        library: (H, W, 3) uint8 R'G'B' each, those of the set first, then those of everywhere else.
    """

    name: str
    questions: list[Question]
    library: list[NDArray[np.uint8]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "data",
        type=Path,
        metavar="DIR",
        help="nir/val, thermal/val, thermal_fixed/*, thermal_video/val/* with ir/ and rgb/, and color/*",
    )
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--sheet", type=Path, metavar="FILE", help="frames and what was found: a PNG")


def run(args: argparse.Namespace) -> int:
    """Ask every set by every method, print, write."""
    elsewhere = [
        read_rgb(path)
        for folder in _folders(args.data / "color")
        if not folder.name.endswith("_labels")
        for path in list_pictures(folder)
    ]
    sets = list(_sets(args.data, elsewhere))
    if not sets:
        raise PictureError(f"{args.data}: no pairs in it: expected nir/val/ir and the like")
    results: dict[str, dict[str, Any]] = {}
    rows = []
    progress = Progress(len(sets))
    elsewhere_views = [features.describe(rgb_to_luma(rgb)) for rgb in elsewhere]
    known: dict[str, list[Vector]] = {"learned": [views[0] for views in elsewhere_views]}  # of elsewhere
    elsewhere_levels = [features.brightness(rgb_to_luma(rgb)) for rgb in elsewhere]
    for number, asked in enumerate(sets):
        progress.update(number, asked.name)
        lumas = [rgb_to_luma(rgb) for rgb in asked.library]
        own = len(lumas) - len(elsewhere)
        results[asked.name] = {"questions": len(asked.questions), "library": len(lumas)}
        for method, describe in METHODS.items():
            if method not in known:
                known[method] = [describe(luma) for luma in lumas[own:]]
            vectors = np.stack([*(describe(luma) for luma in lumas[:own]), *known[method]])
            order = [np.argsort(-(vectors @ describe(one.luma)), kind="stable") for one in asked.questions]
            found = [rows[:SHORTLIST].tolist() for rows in order]
            results[asked.name][method] = _recall(asked.questions, found)
        levels = [*map(features.brightness, lumas[:own]), *elsewhere_levels]
        views = [*map(features.describe, lumas[:own]), *elsewhere_views]
        shipped, taken = _as_shipped(asked, views, levels)
        results[asked.name] |= taken
        results[asked.name]["as it ships"] = _recall(asked.questions, shipped)
        checked = [
            _registered(question.luma, lumas, found)
            for question, found in zip(asked.questions, shipped, strict=True)
        ]
        results[asked.name]["registered"] = _recall(asked.questions, checked)
        rows += _rows(asked, shipped)
    progress.close()
    for name, result in results.items():
        print(
            f"{name}: {result['questions']} frames, {result['library']} pictures; taken: own"
            f" {result['own taken']}, another {result['another taken']}"
        )
        for method in (*METHODS, "as it ships", "registered"):
            print(f"  {method:12} {_line(result[method])}")
    write_json(args.json, {"bench": "references", "dimensions": features.KIND, "results": results})
    if args.sheet is not None:
        write_rgb(args.sheet, contact_sheet(rows, cell_width=220))
    return 0


def _sets(data: Path, elsewhere: list[NDArray[np.uint8]]) -> Iterator[Set_]:
    for band in ("nir", "thermal"):
        folder = data / band / "val"
        if not folder.is_dir():
            continue
        pairs = [(luma_of(read_infrared(ir)), read_rgb(rgb), ir.stem) for ir, rgb in list_pairs(folder)]
        questions = [
            Question(luma, frozenset({row}), float(rgb.mean()) < DARK, name)
            for row, (luma, rgb, name) in enumerate(pairs)
        ]
        colors = [rgb for _, rgb, _ in pairs]
        yield Set_(band, questions, [*colors, *elsewhere])
        moved = [replace(question, luma=_upper_left(question.luma)) for question in questions]
        yield Set_(f"{band}, moved", moved, [*map(_lower_right, colors), *elsewhere])
    cameras = [list_pairs(folder) for folder in _folders(data / "thermal_fixed")]
    if cameras:
        later = [(row, ir) for row, pairs in enumerate(cameras) for ir, _ in pairs[20::5]]
        questions = [
            Question(luma_of(read_infrared(ir)), frozenset({row}), True, ir.stem) for row, ir in later
        ]
        colors = [read_rgb(pairs[0][1]) for pairs in cameras]
        yield Set_("fixed cameras by night, first picture", questions, [*colors, *elsewhere])
    clips = [list_pairs(folder) for folder in _folders(data / "thermal_video" / "val")]
    if clips:
        later = [(row, ir) for row, pairs in enumerate(clips) for ir, _ in pairs[10:]]
        questions = [
            Question(luma_of(read_infrared(ir)), frozenset({row}), False, ir.stem) for row, ir in later
        ]
        colors = [read_rgb(pairs[0][1]) for pairs in clips]
        yield Set_("clip, first picture", questions, [*colors, *elsewhere])
    yield _synthetic(elsewhere)


def _synthetic(elsewhere: list[NDArray[np.uint8]]) -> Set_:
    """Near infrared by night of synthetic streets, whose color is known by day."""
    questions, colors = [], []
    for row, seed in enumerate(SYNTHETIC_SEEDS):
        by_light = {
            light: SyntheticCamera(SyntheticOptions(band="nir", size=(240, 320), seed=seed, light=light))
            for light in ("day", "night")
        }
        colors.append(by_light["day"].frame(30).rgb)
        luma = by_light["night"].frame(200).pixels
        questions.append(Question(np.asarray(luma, np.uint8), frozenset({row}), True, f"seed {seed}"))
    return Set_("synthetic nir by night, color by day", questions, [*colors, *elsewhere])


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _upper_left(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[: int(PART * height), : int(PART * width)])


def _lower_right(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[height - int(PART * height) :, width - int(PART * width) :])


def edges(luma: Luma) -> Vector:
    """(680,) float32 of unit length: histograms of edge directions, whatever their sign, on a pyramid."""
    size = features.SIZE
    field = structure.structure_field(cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA))
    length = np.hypot(field[..., 0], field[..., 1])
    place = np.arctan2(field[..., 1], field[..., 0]) % (2 * np.pi) / (2 * np.pi) * BINS
    low, share = np.floor(place).astype(int), place - np.floor(place)
    parts = []
    for cells in GRID:
        levels = []
        for bin_ in range(BINS):
            plane = length * ((low % BINS == bin_) * (1 - share) + ((low + 1) % BINS == bin_) * share)
            plane = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), size[0] / cells / 3)
            levels.append(cv2.resize(plane, (cells, cells), interpolation=cv2.INTER_AREA).ravel())
        parts.append(_unit(np.sqrt(np.maximum(np.concatenate(levels), 0.0))))
    return _unit(np.concatenate(parts))


def gray(luma: Luma) -> Vector:
    """(192,) float32 of unit length: the picture at 16 x 12 pixels less its mean."""
    small = cv2.resize(luma, (16, 12), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    return _unit(small - small.mean())


def whole(luma: Luma) -> Vector:
    """(128,) float32 of unit length: what the network says of the whole picture, its parts left out."""
    return np.asarray(features.describe(luma)[0], np.float32)


METHODS: dict[str, Callable[[Luma], Vector]] = {"gray": gray, "edges": edges, "learned": whole}


def _unit(vector: NDArray[Any]) -> Vector:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


def _as_shipped(
    asked: Set_, views: list[Vector], levels: list[Vector]
) -> tuple[list[list[int]], dict[str, float]]:
    """By the approximate index of all pictures' parts, then by the best of them and by brightness.

    Returns:
        The best rows for each question; shares of the questions for which the scene's own picture would be
        taken without being registered, and, were that not there, another.
    """
    index = Neighbors(np.concatenate(views))
    found, own_taken, other_taken = [], [], []
    for question in asked.questions:
        query, own = features.describe(question.luma), features.brightness(question.luma)
        near = {row // features.VIEWS for view in query for row in index.nearest(view, SHORTLIST)}
        scores = {row: features.score(query, own, views[row], levels[row]) for row in near}
        found.append(sorted(scores, key=lambda row, scores=scores: -scores[row]))  # type: ignore[misc]
        taken = {row for row in scores if scores[row] >= features.ALIKE}
        own_taken.append(bool(taken & question.right))
        other_taken.append(bool(taken - question.right))
    shares = {"own taken": own_taken, "another taken": other_taken}
    return found, {name: round(float(np.mean(share)), 4) for name, share in shares.items()}


def _registered(luma: Luma, lumas: Sequence[Luma], found: list[int]) -> list[int]:
    """Of the best few, the first that lies over the frame goes before the others."""
    small = registration.resized(luma, registration.FINE_PX)
    for row in found[:FINALISTS]:
        other = registration.resized(lumas[row], registration.FINE_PX)
        if registration.register(small, other, search=False).same_scene:
            return [row, *(one for one in found if one != row)]
    return found


def _recall(questions: Sequence[Question], found: Sequence[list[int]]) -> dict[str, float | int]:
    """Share of the questions whose answer is the first, and among the first five; of those by night too."""
    told: dict[str, float | int] = {}
    for label, chosen in (("", questions), ("dark ", [one for one in questions if one.dark])):
        if label and len(chosen) in (0, len(questions)):
            continue
        hits = {
            count: [
                bool(question.right & set(rows[:count]))
                for question, rows in zip(questions, found, strict=True)
                if not label or question.dark
            ]
            for count in (1, 5)
        }
        told[f"{label}questions"] = len(chosen)
        told |= {f"{label}recall at {count}": round(float(np.mean(hit)), 4) for count, hit in hits.items()}
    return told


def _line(told: dict[str, float | int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in told.items() if "recall" in key)


def _rows(asked: Set_, found: Sequence[list[int]]) -> list[list[tuple[str, NDArray[np.uint8]]]]:
    """Every fifth question of a set and its five best; a right one is marked."""
    return [
        [(f"{asked.name}: {question.name}", question.luma)]
        + [("right" if row in question.right else "other", asked.library[row]) for row in rows[:5]]
        for question, rows in list(zip(asked.questions, found, strict=True))[::5]
    ]
