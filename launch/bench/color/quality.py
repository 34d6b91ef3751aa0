"""`irchroma bench quality`: every engine and size on the same pairs; quality over time, plotted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.choice import ColorizerOptions, open_colorizer
from irchroma.engines.measures import metrics
from irchroma.engines.measures.flicker import ColorDistribution, StaticFlicker
from irchroma.engines.measures.metrics import SurenessCurve
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.onnx_summary import inspect
from irchroma.engines.neural.options import NeuralOptions
from irchroma.launch.bench.clips import Clip, recorded
from irchroma.launch.measured import Measured, summary, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.stills.coloring import StillOptions, StillPictures, luma_of
from irchroma.launch.stills.picture_files import PictureError, contact_sheet, list_pairs, read_pair, write_rgb
from irchroma.stream.picture.lettering import WHITE

EXAMPLE = "irchroma bench quality pairs/ --band nir --json quality.json --plot quality.png"
MEASURES = {"ciede2000": "CIEDE2000, lower is better", "hue_agreement": "hue agreement, higher is better"}
"""What is plotted over time: measure -> title of its panel."""
PRINTED = (
    *("psnr_db", "ssim", *MEASURES, "detail_kept", "edges_kept"),
    *("unnatural", "halo", "natural_hue_agreement"),
)
SHOWN = 8
"""Pictures on the sheet, about."""
PANEL_PX = (420, 540)
MARGINS_PX = (48, 24, 56, 72)  # top, right, bottom, left
LEGEND_PX = 190
INK, PALE = (40, 40, 40), (210, 210, 210)
COLORS = (
    (200, 60, 40), (30, 90, 180), (30, 130, 60), (150, 90, 170), (190, 130, 20), (90, 90, 90), (0, 150, 170),
    (230, 110, 150), (120, 90, 50), (60, 60, 200),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to color: its name in the plot, and its options."""

    name: str
    options: StillOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="holds ir/ and rgb/ with equal file stems")
    add("--band", choices=tuple(catalog.BANDS), default="nir", help="whose networks are run")
    add("--match", default="", metavar="TEXT", help="only pairs whose name has this in it")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the networks")
    add(
        "--work-size",
        action="append",
        type=int,
        default=[],
        metavar="PX",
        help="the networks alone, exact, seeing so much; may be given again (the ladder's numbers)",
    )
    add("--classics", action="store_true", help="the colorizers of the literature as well")
    add("--clip", type=Path, metavar="VIDEO", help="infrared, for a column of flicker")
    add("--frames", type=int, default=60, metavar="N", help="of the clip (60), 0 for all")
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--plot", type=Path, metavar="FILE", help="write the plot there, a PNG")
    add("--sheet", type=Path, metavar="FILE.png", help="some pictures of each, to look at")


def run(args: argparse.Namespace) -> int:
    """Measure every candidate, print a table, write JSON and plot."""
    NetworkOptions(threads=args.threads)
    pairs = [pair for pair in list_pairs(args.folder) if args.match in pair[0].stem]
    if not pairs:
        raise PictureError(f"{args.folder}: no pair has {args.match!r} in its name")
    results: dict[str, dict[str, Any]] = {}
    tried = candidates(args.band, args.threads, args.classics)
    if args.work_size:
        tried = at_sizes(args.band, args.work_size, args.threads)
    progress = Progress(len(tried) * len(pairs))
    rows: dict[str, list[tuple[str, NDArray[np.uint8]]]] = {}
    for number, candidate in enumerate(tried):
        measured = []
        curve = SurenessCurve()
        with StillPictures(candidate.options) as still:
            for index, (infrared, color) in enumerate(pairs):
                progress.update(number * len(pairs) + index, candidate.name)
                one, rgb = _measure(still, infrared, color, curve, args.band == "nir")
                measured.append(one)
                if index % max(1, len(pairs) // SHOWN) == 0:
                    rows.setdefault(one.name, []).append((candidate.name, rgb))
            results[candidate.name] = {
                "names": still.names,
                **_cost(candidate.options.engine),
                **summary(measured),
                "chroma_error_sure_to_unsure": curve.errors(),
            }
    progress.close()
    about: dict[str, Any] = {"bench": "quality", "band": args.band, "match": args.match, "pairs": len(pairs)}
    if args.clip is not None:
        clip = recorded(args.clip, most_frames=args.frames)
        about |= {"clip": clip.name, "clip_frames": len(clip.luma)}
        for candidate in tried:
            results[candidate.name]["flicker"] = flicker(candidate.options, clip)
    for name, found in results.items():
        mean = found["mean"]
        cells = " ".join(f"{key} {math.nan if mean[key] is None else mean[key]:.3f}" for key in PRINTED)
        print(f"{name:24} {cells} {mean['milliseconds']:8.1f} ms{_flicker_cell(found)}")
    write_json(args.json, {**about, "results": results})
    if args.plot is not None:
        write_rgb(args.plot, plot({name: found["mean"] for name, found in results.items()}))
    if args.sheet is not None:
        truths = {infrared.stem: read_pair(infrared, color)[1] for infrared, color in pairs}
        shown = [[*cells, ("truth", truths[stem])] for stem, cells in rows.items()]
        write_rgb(args.sheet, contact_sheet(shown, cell_width=200))
    return 0


def _cost(engine: str) -> dict[str, int]:
    """Parameters, multiplications at `onnx_summary.COUNTED_SIZE` and bytes of an engine's network file."""
    name = catalog.parse(engine)
    if not name.neural or name.variant is None:
        return {}
    seen = inspect(catalog.weights_path(name.kind, name.variant))
    return {"parameters": seen.parameters, "macs": seen.macs, "bytes": seen.bytes}


def candidates(band: str, threads: int = 0, classics: bool = False) -> list[Candidate]:
    """Gray, two palettes, every size of the band's network, exact and as live runs do; the literature's."""
    plain = [Candidate(name, StillOptions(name)) for name in ("gray", "palette:ironbow", "palette:arctic")]
    networks = [
        Candidate(
            f"{band}:{size}, {'live' if quick else 'exact'}",
            StillOptions(f"{band}:{size}", quick=quick, threads=threads),
        )
        for size in catalog.SIZES
        for quick in (False, True)
    ]
    others = [
        Candidate(f"{name}:{band}", StillOptions(f"{name}:{band}", threads=threads))
        for name in catalog.CLASSICS
        if classics
    ]
    return plain + networks + others


def at_sizes(band: str, sizes: Sequence[int], threads: int = 0) -> list[Candidate]:
    """Every size of the band's network with pictures of so many pixels on their long side."""
    return [
        Candidate(f"{band}:{size} at {px}", StillOptions(f"{band}:{size}", threads=threads, work_size_px=px))
        for size in catalog.SIZES
        for px in sizes
    ]


def flicker(options: StillOptions, clip: Clip) -> dict[str, float | None]:
    """`static_ab` and `cdc` of a clip colored as a video, with the temporal stage, at every frame."""
    neural = NeuralOptions(network=NetworkOptions(options.runtime, options.threads, exact=not options.quick))
    static, distribution = StaticFlicker(), ColorDistribution()
    colorizer = open_colorizer(options.engine, ColorizerOptions(neural))
    try:
        for number, luma in enumerate(clip.luma):
            colorizer.submit(luma, round(number * 1e9 / clip.rate_hz))
            rgb = colorizer.collect().rgb
            static.add(rgb, luma)
            distribution.add(rgb)
    finally:
        colorizer.close()
    still = static.value()  # NaN where every pixel of the clip moves
    return {
        "static_ab": None if math.isnan(still) else round(still, 5),
        "cdc": round(distribution.value(), 6),
    }


def _flicker_cell(found: dict[str, Any]) -> str:
    value = found.get("flicker", {}).get("static_ab")
    return "" if value is None else f"  flicker {value:.4f}"


def _measure(
    still: StillPictures, infrared: Path, color: Path, curve: SurenessCurve, nir: bool
) -> tuple[Measured, NDArray[np.uint8]]:
    pixels, truth = read_pair(infrared, color)
    timed = still.color_timed(pixels)
    if timed.confidence is not None:
        curve.add(timed.confidence, timed.rgb, truth)
    scores = metrics.score(timed.rgb, truth, luma_of(pixels), nir)
    return Measured(infrared.stem, scores, timed.milliseconds, metrics.taken_by_day(truth)), timed.rgb


def plot(means: dict[str, dict[str, Any]]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 R'G'B': one panel for each of `MEASURES`, milliseconds on a logarithmic axis."""
    panels = [_panel(means, measure, title) for measure, title in MEASURES.items()]
    return np.hstack([*panels, _legend(list(means))])


def _panel(means: dict[str, dict[str, Any]], measure: str, title: str) -> NDArray[np.uint8]:
    height, width = PANEL_PX
    top, right, bottom, left = MARGINS_PX
    picture = np.full((height, width, 3), WHITE, np.uint8)
    times = [max(mean["milliseconds"], 1e-3) for mean in means.values()]
    values = [mean[measure] or 0.0 for mean in means.values()]
    first, last = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)) + 0.05)
    highest = max(values) * 1.1 or 1.0

    def place(milliseconds: float, value: float) -> tuple[int, int]:
        share = (math.log10(milliseconds) - first) / max(1, last - first)
        x = left + share * (width - left - right)
        return round(x), round(height - bottom - value / highest * (height - top - bottom))

    def text(words: str, x: int, y: int, color: tuple[int, int, int] = INK) -> None:
        cv2.putText(picture, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)

    text(title, left, top - 20)
    for power in range(first, last + 1):
        x = place(10.0**power, 0.0)[0]
        cv2.line(picture, (x, top), (x, height - bottom), PALE, 1)
        text(f"{10.0**power:g}", x - 12, height - bottom + 18)
    for step in range(5):
        x, y = place(10.0**first, highest * step / 4)
        cv2.line(picture, (x, y), (width - right, y), PALE, 1)
        text(f"{highest * step / 4:.3g}", 14, y + 4)
    text("milliseconds a picture", width // 2 - 60, height - 14)
    for color, milliseconds, value in zip(COLORS, times, values, strict=False):
        cv2.circle(picture, place(milliseconds, value), 6, color, -1, cv2.LINE_AA)
    return picture


def _legend(names: list[str]) -> NDArray[np.uint8]:
    picture = np.full((PANEL_PX[0], LEGEND_PX, 3), WHITE, np.uint8)
    for index, (name, color) in enumerate(zip(names, COLORS, strict=False)):
        y = MARGINS_PX[0] + 12 + 24 * index
        cv2.circle(picture, (12, y), 6, color, -1, cv2.LINE_AA)
        cv2.putText(picture, name, (26, y + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return picture
