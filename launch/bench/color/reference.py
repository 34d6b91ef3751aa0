"""`irchroma bench reference`: a fixed camera's early color pictures as its only reference, one by one.

For every one of them: how much nearer the later frames come to their true color, and how much they show
that the sensor does not see (`ghost`).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.measures import metrics
from irchroma.engines.measures.ghost import ghost
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.engines.recolor.color_space import luma_to_rgb
from irchroma.engines.reference.pictures import read_picture, save_references
from irchroma.launch.measured import spread, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import read_luma_pair
from irchroma.launch.stills.picture_files import PictureError, list_pairs, read_rgb, write_rgb

EXAMPLE = "irchroma bench reference camera/ --band thermal --json reference.json --sheet reference.png"
FRAME_NS = 1_000_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="ir/ and rgb/ of one fixed camera, in order")
    add("--band", choices=tuple(catalog.BANDS), default="thermal", help="of the camera")
    add("--network", action="store_true", help="the engine reference: its network looks at the reference too")
    add("--references", type=int, default=10, metavar="N", help="first pictures (10)")
    add("--every", type=int, default=10, metavar="N", help="of the later frames (10)")
    add("--trusted", action="store_true", help="as if several pictures had shown that each stands still")
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--sheet", type=Path, metavar="FILE", help="reference, infrared, result, truth: a PNG")


def run(args: argparse.Namespace) -> int:
    """Color the later frames without a reference and with each of the first pictures, print, write JSON."""
    pairs = list_pairs(args.folder)
    later = pairs[args.references :: max(1, args.every)]
    if not later:
        raise PictureError(f"{args.folder}: {len(pairs)} pictures leave none after {args.references}")
    references: list[Path | None] = [None, *(color for _, color in pairs[: args.references])]
    progress = Progress(len(references) * len(later))
    results: dict[str, dict[str, Any]] = {}
    rows: list[NDArray[np.uint8]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, reference in enumerate(references):
            given = _trusted(reference, Path(folder)) if args.trusted and reference else reference
            progress.update(number * len(later), reference.stem if reference else "none")
            found, shown = _measure(_options(args.band, given, args.network), later)
            results[reference.name if reference else "none"] = found
            if reference is not None:
                index = number % len(later)
                luma, truth = read_luma_pair(later[index])
                cells = (read_rgb(reference), luma_to_rgb(luma), shown[index], truth)
                rows.append(np.hstack(cells))
    progress.close()
    for name, found in results.items():
        print(
            f"{name:28} PSNR {found['psnr_db']['median']:6.2f} dB  CIEDE2000"
            f" {found['ciede2000']['median']:6.2f}  ghost {100 * found['ghost']['median']:6.3f} %"
        )
    content = {
        "bench": "reference",
        "band": args.band,
        "trusted": args.trusted,
        "network": args.network,
        "frames": len(later),
        "results": results,
    }
    write_json(args.json, content)
    if args.sheet is not None:
        write_rgb(args.sheet, np.vstack(rows))
    return 0


def _options(band: str, reference: Path | None, network: bool) -> NeuralOptions:
    exact = NetworkOptions(exact=True)
    if network:
        return NeuralOptions(engine=catalog.REFERENCE.name, size=band, reference=reference, network=exact)
    return NeuralOptions(engine=band, reference=reference, network=exact)


def _measure(
    options: NeuralOptions, later: list[tuple[Path, Path]]
) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """Spreads of the measures over the frames, and the pictures."""
    psnr, ciede2000, ghosts, shown = [], [], [], []
    colorizer = NeuralColorizer(options)
    for step, pair in enumerate(later):
        luma, truth = read_luma_pair(pair)
        colorizer.submit(luma, step * FRAME_NS)
        rgb = colorizer.collect().rgb
        scores = metrics.score(rgb, truth, luma)
        psnr.append(scores.psnr_db)
        ciede2000.append(scores.ciede2000)
        ghosts.append(ghost(rgb, [luma]))
        shown.append(rgb)
    colorizer.close()
    found = {"psnr_db": spread(psnr), "ciede2000": spread(ciede2000), "ghost": spread(ghosts)}
    return found, shown


def _trusted(path: Path, folder: Path) -> Path:
    """The picture as a reference set that is marked as standing still."""
    made = folder / f"{path.stem}.toml"
    save_references(made, [replace(read_picture(path), still=True)])
    return made
