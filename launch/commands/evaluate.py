"""`irchroma evaluate`: measures an engine on pairs of infrared and color pictures."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.measures import metrics
from irchroma.engines.measures.metrics import Scores
from irchroma.launch.measured import Measured, by_light, circumstances, finite, show_json, summary, words_of
from irchroma.launch.progress import Progress
from irchroma.launch.run.process import settle_threads
from irchroma.launch.stills.coloring import StillPictures, add_engine_arguments, luma_of, options_from
from irchroma.launch.stills.picture_files import (
    PictureError,
    contact_sheet,
    pairs_and_lacking,
    read_pair,
    write_rgb,
)

EXAMPLE = "irchroma evaluate pairs/ --engine nir --size best --json nir_best.json --sheet nir_best.png"

COLUMNS = {
    "psnr_db": ("PSNR", "{:7.2f}"),
    "ssim": ("SSIM", "{:7.3f}"),
    "ciede2000": ("dE2000", "{:7.2f}"),
    "colorfulness": ("color", "{:7.1f}"),
    "truth_colorfulness": ("true c.", "{:7.1f}"),
    "hue_agreement": ("hue", "{:7.2f}"),
    "detail_kept": ("detail", "{:7.3f}"),
    "detail_kept_worst_tenth": ("worst", "{:7.3f}"),
    "edges_kept": ("edges", "{:7.3f}"),
    "unnatural": ("unnat.", "{:7.3f}"),
    "halo": ("halo", "{:7.2f}"),
    "natural_ciede2000": ("dE nat.", "{:7.2f}"),
    "natural_hue_agreement": ("hue nat", "{:7.2f}"),
}
"""Measure -> (its heading, how it is printed)."""
MEANINGS = (
    "PSNR in dB and SSIM against the truth: more is better. dE2000: color difference CIEDE2000, less is "
    "better. color and true c.: colorfulness of output and truth. hue: share of the truth's colored "
    "pixels whose hue comes out within 45 degrees. detail, worst, edges: how much of the sensor's "
    "detail is kept, 0 to 1, on average, in the worst tenth of places, and of edges. unnat.: share of "
    "pixels of a color that photographs hardly ever have there. halo: levels by which smooth places "
    "beside edges are off. dE nat. and hue nat: against the truth without its camera's casts. ms: time "
    "of one picture."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="holds ir/ and rgb/ with equal file stems")
    add_engine_arguments(parser, "nir")
    add("--json", type=Path, metavar="FILE", help="write everything there; - shows it")
    add("--sheet", type=Path, metavar="FILE", help="write input, output, truth side by side")
    add("--brief", action="store_true", help="print the means only")
    parser.add_argument_group("columns", MEANINGS)


def run(args: argparse.Namespace) -> int:
    """Measure all pairs; 1 when one of them could not be, or lacks its color picture."""
    settle_threads(args.runtime, args.threads)
    pairs, lacking = pairs_and_lacking(args.folder)
    for line in lacking:
        print(f"irchroma evaluate: {line}", file=sys.stderr)
    measured: list[Measured] = []
    cells: list[tuple[str, NDArray[np.uint8]]] = []
    progress = Progress(len(pairs))
    failures = len(lacking)
    with StillPictures(options_from(args)) as still:
        for done, (infrared, color) in enumerate(pairs):
            progress.update(done, infrared.stem)
            try:
                pixels, truth = read_pair(infrared, color)
            except PictureError as error:
                progress.close()
                print(f"irchroma evaluate: {error}", file=sys.stderr)
                failures += 1
                continue
            timed = still.color_timed(pixels)
            rgb, milliseconds = timed.rgb, timed.milliseconds
            luma = luma_of(pixels)
            nir = pixels.dtype == np.uint8 and not args.engine.startswith("thermal")
            scores = metrics.score(rgb, truth, luma, nir)
            measured.append(Measured(infrared.stem, scores, milliseconds, metrics.taken_by_day(truth)))
            if args.sheet is not None:
                cells += _cells(measured[-1], luma, rgb, truth)
        progress.close()
        names, notes = still.names, still.notes
    if not measured:
        raise PictureError(f"{args.folder}: no pair could be measured")
    with redirect_stdout(words_of(args.json)):
        print_table(measured, args.brief)
        print(f"engine: {', '.join(names)}, {args.mode}; pictures: {len(measured)}")
        for line in notes:
            print(line)
    if args.json is not None:
        _write_json(args.json, report(measured, args, names))
    if args.sheet is not None:
        write_rgb(args.sheet, _sheet(cells))
    return 1 if failures else 0


def print_table(measured: list[Measured], brief: bool) -> None:
    """Every picture, then the mean, and the mean of those by day and by night where there are both."""
    wide = max(20, *(len(one.name) for one in measured))
    print(" " * wide + "".join(f"{heading:>8}" for heading, _ in COLUMNS.values()) + "      ms")
    if not brief:
        for one in measured:
            print(_line(one.name, one.scores, one.milliseconds, wide))
    for name, group in by_light(measured).items():
        scores = metrics.mean_scores([one.scores for one in group])
        milliseconds = float(np.mean([one.milliseconds for one in group]))
        print(_line(f"{name} ({len(group)})", scores, milliseconds, wide))


def report(measured: list[Measured], args: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        **circumstances(),
        "folder": args.folder.name,
        "engine": args.engine,
        "names": names,
        "options": {
            **{key: getattr(args, key) for key in ("size", "mode", "runtime", "device", "chroma_limit")},
            "work_size": args.work_size,
            **{key: getattr(args, key) for key in ("threads", "quick", "unsure", "reference_strength")},
            "weights": _file(args.weights),
            "reference": _file(args.reference),
        },
        "pictures": [
            {"name": one.name, **finite(one.scores), "milliseconds": round(one.milliseconds, 2)}
            for one in measured
        ],
        **summary(measured),
    }


def _file(path: Path | None) -> dict[str, str] | str | None:
    """A file that colors, by name and content; a folder, or a word that stands for one, by its name."""
    if path is None or not path.is_file():
        return None if path is None else path.name
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _line(name: str, scores: Scores, milliseconds: float, wide: int) -> str:
    values = asdict(scores)
    cells = [
        form.format(values[key]) if math.isfinite(values[key]) else "-" for key, (_, form) in COLUMNS.items()
    ]
    return f"{name:<{wide}}" + "".join(f"{cell:>8}" for cell in cells) + f"{milliseconds:8.1f}"


def _sheet(cells: list[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """One pair in a row, three where there are many."""
    across = 9 if len(cells) > 36 else 3
    rows = [cells[first : first + across] for first in range(0, len(cells), across)]
    return contact_sheet(rows, cell_width=256 if across == 9 else 400)


def _cells(
    one: Measured, luma: NDArray[np.uint8], rgb: NDArray[np.uint8], truth: NDArray[np.uint8]
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Input, output and truth with a few words each."""
    scores = one.scores
    return [
        (one.name, luma),
        (f"{scores.psnr_db:.1f} dB hue {scores.hue_agreement:.2f} detail {scores.detail_kept:.2f}", rgb),
        (f"dE {scores.ciede2000:.1f} color {scores.colorfulness:.0f}/{scores.truth_colorfulness:.0f}", truth),
    ]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    try:
        show_json(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise PictureError(f"{path}: cannot be written ({error.strerror})") from error
