"""`irchroma calibrate confidence`: holds a network's confidence against pictures whose color is known."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from irchroma.calibration.confidence import (
    FEWEST,
    FEWEST_APART,
    KNOWN_QUANTILE,
    ConfidenceResult,
    Pair,
    calibrate,
    look,
)
from irchroma.calibration.errors import CalibrationError
from irchroma.engines import catalog
from irchroma.engines.measures.metrics import taken_by_day
from irchroma.engines.measures.natural_truth import natural
from irchroma.engines.network.confidence import WatchedNetwork, with_trust
from irchroma.engines.network.weight_storage import load, save
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.launch.commands.calibrate.tuned_network import add_network_arguments, asked_network
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import read_luma_pair
from irchroma.launch.stills.picture_files import list_pairs, list_pictures, read_rgb

EXAMPLE = """irchroma calibrate confidence pairs/train --beyond photographs/ --engine thermal:fast \\
      --out thermal_sure.onnx --json thermal_sure.json"""

SEED = 11
SYNTHETIC = 16
"""Scenes of the synthetic camera that are known, as in training."""
TEXTURES, TEXTURE_SIZE = 40, (256, 320)
"""Pictures of noise that are no scene, and their (H, W)."""
BLOWN_OUT = (240, 245, 250, 255)
"""Levels of pictures without anything in them: as far from all that was seen as the noise is, they move most
in float16, and a GPU shall doubt them as surely as a CPU."""
OTHERS = 3
"""Every so many pictures one is seen by another camera, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", nargs="+", metavar="PAIRS", help="what the network was trained on: folders with ir/, rgb/")
    add(
        "--beyond",
        nargs="+",
        required=True,
        metavar="DIR",
        help="what it was not trained on: folders with ir/ and rgb/, or of color pictures, made gray",
    )
    add(
        "--apart",
        metavar="PART",
        help="pictures of PAIRS with this in their name are strange too: rooms to a network of landscapes",
    )
    add(
        "--lost",
        type=float,
        default=KNOWN_QUANTILE,
        metavar="SHARE",
        help=f"of the pictures of its own kind that may count as strange ({KNOWN_QUANTILE:g})",
    )
    add_network_arguments(parser)
    add(
        "--most",
        type=int,
        default=240,
        metavar="N",
        help="pictures of each folder beyond, evenly thinned (240)",
    )
    add("--json", type=Path, metavar="FILE", help="write there what the held-back pictures say")


def run(args: argparse.Namespace) -> int:
    """Fit, judge, and write the network with its new confidence."""
    kind, size = asked_network(args)
    if not 0 <= args.lost <= 0.5:
        raise CalibrationError(f"--lost must be between 0 and 0.5, got {args.lost:g}")
    if args.most < 1:
        raise CalibrationError(f"--most must be 1 or more, got {args.most}")
    kinds = {Path(folder): "/".join(Path(folder).resolve().parts[-2:]) for folder in args.beyond}
    if len(set(kinds.values())) < len(args.beyond):
        raise CalibrationError(
            "--beyond: expected folders of different names, such as nir/train thermal/train"
        )
    sources = [Path(folder) for folder in args.source]
    own, set_apart = (_named(sources, args.apart, with_it) for with_it in (False, True))
    strangers = {name: _named([folder], None, False, args.most) for folder, name in kinds.items()}
    _require_enough(len(own), {name: len(files) for name, files in strangers.items()})
    path = args.weights or catalog.weights_path(kind, size)
    network = WatchedNetwork(path)
    progress = Progress(None)
    try:
        work_px = catalog.WORK_SIZE_PX[size]
        day = _by_day if kind == "thermal" else iter
        known = _as_others_see(day(_pairs(own, progress)), kind)
        seen = look(network, known, work_px, poor=True)
        rooms = look(network, day(_pairs(set_apart, progress)), work_px, poor=True)
        beyond = {}
        for name, files in strangers.items():
            others = _pairs(files, progress)
            if kind == "thermal":
                others = _drawn_too(others)
            beyond[name] = look(network, others, work_px)
        beyond["textures"] = look(network, _textures(), work_px)
        # A photograph whose color a thermal network happens to hit has a twin drawn as heat, which it misses.
        # The spread of heat tells training's cameras: by it, views from above and clouds passed for streets.
        near = kind != "thermal"
        result = calibrate(seen, beyond, rooms, args.lost, spare_right=near, spread=near)
    finally:
        progress.close()
    save(with_trust(load(path), result.trust), args.out)
    print("\n".join(table(result)))
    print(f"{args.out}: written")
    if args.json is not None:
        counts = [len(seen), sum(len(kind) for kind in beyond.values()), len(rooms)]
        write_json(args.json, report(args.engine, counts, result))
    return 0


def _require_enough(own: int, strangers: Mapping[str, int]) -> None:
    """CalibrationError for too few pictures of the user's: scenes and noise that are made up do not count."""
    if own < FEWEST:
        raise CalibrationError(f"expected at least {FEWEST} pairs that the network was trained on, got {own}")
    for name, count in strangers.items():
        if count < FEWEST_APART:
            raise CalibrationError(f"--beyond {name}: expected at least {FEWEST_APART} pictures, got {count}")
    if (count := sum(strangers.values())) < FEWEST:
        raise CalibrationError(f"--beyond: expected at least {FEWEST} pictures in all, got {count}")


def table(result: ConfidenceResult) -> list[str]:
    """Confidence and error of the fifths, before and after."""
    lines = ["pictures held back: error in levels of CbCr of each fifth of the places, sure to unsure"]
    width = max(len(name) for name in result.before) + 2
    for name, before in result.before.items():
        after = result.after[name]
        for title, one in (("before", before), ("after", after)):
            errors = " ".join(f"{value:5.1f}" for value in one.error)
            said = " ".join(f"{value:.2f}" for value in one.confidence)
            lines.append(
                f"  {name:{width}}{title:7}{errors}   confidence {said}   color shown {one.shown:.1%}"
            )
    return lines


def report(engine: str, counts: Sequence[int], result: ConfidenceResult) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        "calibration": "confidence",
        "engine": engine,
        "pictures": dict(zip(("known", "beyond", "apart"), counts, strict=True)),
        "before": {name: one.as_dict() for name, one in result.before.items()},
        "after": {name: one.as_dict() for name, one in result.after.items()},
    }


def _named(
    folders: Sequence[Path], part: str | None, with_it: bool, most: int = 0
) -> list[tuple[Path, Path]]:
    """Infrared and color of each folder's pictures, one file where there is no infrared: those with `part` in
    their name or those without, of each folder `most` at most."""
    chosen = []
    for folder in folders:
        paired = (folder / "ir").is_dir()
        files = list_pairs(folder) if paired else [(path, path) for path in list_pictures(folder)]
        files = [pair for pair in files if (part is not None and part in pair[0].name) == with_it]
        count = min(most or len(files), len(files))
        chosen += [files[at] for at in np.unique(np.linspace(0, len(files) - 1, count).astype(int)) if files]
    return chosen


def _pairs(files: Sequence[tuple[Path, Path]], progress: Progress) -> Iterator[Pair]:
    for number, (infrared, color) in enumerate(files, 1):
        progress.update(number, color.parent.name)
        if infrared != color:
            yield read_luma_pair((infrared, color))
        else:
            rgb = read_rgb(color)
            yield rgb_to_luma(rgb), rgb


def _by_day(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Pairs with the truth that thermal networks are trained to answer with: the scene on a fine day.

    Against a washed-out truth the sky, of which they are surest, would be what they are furthest off at. Of a
    night's color nothing is held against them: lamps and noise are no truth, but the scene is a known one.
    """
    from irchroma.engines.training.color.thermal import DARK
    from irchroma.engines.training.color.thermal_like import daylight_of_pair, light_people

    for luma, truth in pairs:
        if truth is None or taken_by_day(truth):
            yield luma, None if truth is None else daylight_of_pair(truth, luma)
        else:
            yield luma, light_people(natural(truth), luma) if truth.mean() > DARK["dusk"] else None


def _as_others_see(pairs: Iterator[Pair], band: str) -> Iterator[Pair]:
    """Each pair, some scenes once more as another camera or a lamp's night shows them; synthetic scenes.

    What is known is the scene, not the camera: of these the color is not judged.
    """
    from irchroma.calibration.synthetic_pairs import synthetic_pairs
    from irchroma.engines.training.color.augmentation import Crop, night
    from irchroma.engines.training.color.thermal_like import camera

    random = np.random.default_rng(SEED)
    for number, (luma, truth) in enumerate(pairs):
        yield luma, truth
        if number % OTHERS:
            continue
        side = min(luma.shape)
        seen = luma[:side, :side].astype(np.float32) / 255
        if band == "thermal":
            seen = camera(seen, random)
        else:
            crop = Crop({"ir": seen}, np.zeros((side, side, 3), np.float32), luma)
            night(crop, random)
            seen = crop.inputs["ir"]
        yield np.asarray(np.rint(seen * 255), np.uint8), None
    for picture in synthetic_pairs(band, SYNTHETIC):
        yield picture.infrared, None


def _drawn_too(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Each pair, and its scene once more as if heat had been seen: rooms and animals of a thermal camera."""
    from irchroma.engines.training.color.thermal_like import stranger

    random = np.random.default_rng(SEED)
    for luma, truth in pairs:
        yield luma, truth
        if truth is not None:
            yield stranger(truth, random), None


def _textures() -> Iterator[Pair]:
    """Fields of blobs, from pixels to a fifth of the picture, and blown-out pictures: no scenes, no color."""
    random = np.random.default_rng(SEED)
    for _ in range(TEXTURES):
        noise = random.normal(size=TEXTURE_SIZE).astype(np.float32)
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0 ** random.uniform(-1, 4.5)), np.float32)
        level, contrast = random.uniform(70, 180), random.uniform(12, 60)
        yield np.clip(level + contrast * (noise - noise.mean()) / noise.std(), 0, 255).astype(np.uint8), None
    for level in BLOWN_OUT:
        yield np.full(TEXTURE_SIZE, level, np.uint8), None
