"""`irchroma bench exemplars`: pairs colored by a reference, by every way there is, and what that costs.

The reference is the scene's other frame where the pairs are a sequence, or else another crop of the same
picture (seven eighths of its sides, one corner), or its other half (which holds nothing of what is measured);
and a picture of another scene. Pairs by day and by night stand apart, too, by how dark the first reference
is. Beside the engine `reference` by a picture that is named: the same by one that `--reference auto` has
chosen, whose night's tone stays away; at its strongest, which holds nothing back; its network alone,
geometry's picture without the network, and the transfer of color statistics.

Reference: Reinhard, Ashikhmin, Gooch, Shirley, Color Transfer between Images, IEEE CG&A 21(5), 2001, section
3 (there in l-alpha-beta, here in CIELAB).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.measures import metrics
from irchroma.engines.measures.metrics import Scores
from irchroma.engines.network.eight_bit.twins import in_turns, twin_path
from irchroma.engines.network.network import Network, NetworkOptions, open_network
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.neural.exemplar import ExemplarNetwork
from irchroma.engines.neural.given_picture import STRONGEST, GivenPicture
from irchroma.engines.neural.options import NeuralOptions
from irchroma.engines.recolor.color_space import lab_to_rgb, luma_to_rgb, rgb_to_lab, rgb_to_ycc
from irchroma.engines.reference.pictures import AUTO, Reference, is_gray
from irchroma.engines.reference.visible_parts import Light
from irchroma.launch.bench.child import json_of
from irchroma.launch.bench.speed.cpu import MASKS
from irchroma.launch.measured import finite, spread, write_json
from irchroma.launch.progress import Progress
from irchroma.launch.run.process import tune_process
from irchroma.launch.stills.coloring import read_luma_pair
from irchroma.launch.stills.picture_files import PictureError, list_pairs, write_rgb

EXAMPLE = "irchroma bench exemplars pairs/ --band thermal --json exemplars.json --sheet exemplars.png"
CROP = 0.875
FRAMES_AWAY = 10
SIZES_PX = ((256, 320), (160, 192))
"""(H, W) of what the network sees where its cost is measured: as it is, and a small one of the ladder."""
CALLS, STUCK_S = 30, 600
STRENGTHS = (0.0, 0.5, 1.0)
SHEET_ROWS, SHEET_REFERENCES = 6, 3
TILE_PX = (150, 200)
PRINTED = ("psnr_db", "ciede2000", "hue_agreement", "colorfulness")

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scene:
    """One pair to be colored, and the pictures that are given with it.

    Attributes:
        name: of the pair.
        luma: (H, W) uint8 infrared.
        truth: (H, W, 3) uint8.
        given: kind of reference -> (h, w, 3) uint8.
    """

    name: str
    luma: NDArray[np.uint8]
    truth: Rgb
    given: dict[str, Rgb]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="holds ir/ and rgb/ with equal file stems")
    add("--band", choices=tuple(catalog.BANDS), default="thermal", help="of the pairs")
    add(
        "--frames",
        action="store_true",
        help=f"the pairs are one sequence: the reference is the frame {FRAMES_AWAY} away",
    )
    add(
        "--cost-only",
        action="store_true",
        help="CPU time alone, with all instructions and with AVX2, on a machine that does nothing else",
    )
    add("--threads", type=int, default=0, metavar="N", help="CPU threads of the networks")
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--sheet", type=Path, metavar="FILE", help="references and strengths: a PNG")


def run(args: argparse.Namespace) -> int:
    """Color by every way, print a table, write JSON and sheet."""
    scenes = read_scenes(args.folder, args.frames)
    network = NetworkOptions(threads=args.threads, exact=True)
    band = NeuralOptions(engine=args.band, steady=False, network=network)
    about = {"bench": "exemplars", "band": args.band, "frames": args.frames, "pairs": len(scenes)}
    if args.cost_only:
        words = (str(args.folder), args.band, str(args.frames), str(args.threads))
        costs: dict[str, Any] = {}
        for mask, environment in MASKS.items():
            costs[mask] = json_of(_COST, words, f"measuring the cost, {mask},", environment, STUCK_S)
            for size, forms in costs[mask].items():
                _print_ratios(f"{mask}, {size}", args.band, forms)
        write_json(args.json, {**about, "threads": args.threads, "masks": MASKS, "cost": costs})
        return 0
    cost = measure_cost(args.band, network, scenes[0])
    for size, forms in cost.items():
        _print_ratios(size, args.band, forms)
    ways = Ways(band)
    progress = Progress(len(scenes))
    results: dict[str, list[Scores]] = {}
    by_light: dict[str, dict[str, list[Scores]]] = {"day": {}, "night": {}}
    for number, scene in enumerate(scenes):
        progress.update(number, scene.name)
        part = by_light["night" if is_dark(next(iter(scene.given.values())), args.band) else "day"]
        for name, shown, truth, luma in ways.of(scene):
            scores = metrics.score(shown, truth, luma, args.band == "nir")
            results.setdefault(name, []).append(scores)
            part.setdefault(name, []).append(scores)
    progress.close()
    table = _table(results)
    parts = {light: {"pairs": len(part.get("alone", [])), **_table(part)} for light, part in by_light.items()}
    for name, found in table.items():
        print(f"{name:34} " + " ".join(f"{key} {found['mean'][key] or 0.0:.3f}" for key in PRINTED))
    if args.sheet is not None:
        write_rgb(args.sheet, ways.sheet(scenes))
    ways.close()
    write_json(args.json, {**about, "cost": cost, "results": table, "by_light": parts})
    return 0


_COST = "import sys; from irchroma.launch.bench.color.exemplars import print_cost; print_cost(*sys.argv[1:])"


def print_cost(folder: str, band: str, frames: str, threads: str) -> None:
    """Measure the cost in a process that has its memory and threads as a run has, and print it as JSON."""
    tune_process()
    network = NetworkOptions(threads=int(threads), exact=True)
    print(json.dumps(measure_cost(band, network, read_scenes(Path(folder), frames == "True")[0])))


def _print_ratios(about: str, band: str, forms: dict[str, Any]) -> None:
    for form, found in forms.items():
        if form != "known":
            ratios = ", ".join(f"{kind} {found[kind]['ratio']:.2f}" for kind in ("placed", "mood"))
            print(f"{about} {form}: times the CPU time of {band}:fast: {ratios}")


def _table(results: dict[str, list[Scores]]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "mean": finite(metrics.mean_scores(found)),
            "psnr_db": spread([one.psnr_db for one in found]),
            "ciede2000": spread([one.ciede2000 for one in found]),
        }
        for name, found in results.items()
    }


def is_dark(rgb: Rgb, band: str) -> bool:
    """Whether a picture is rather one by night, of whose tone strengths up to 1 take none as auto."""
    heights = np.repeat(np.linspace(-1.0, 1.0, rgb.shape[0], dtype=np.float32), rgb.shape[1])
    return Light.of(rgb_to_ycc(rgb).reshape(-1, 3), heights).by_night(band == "thermal") > 0.5


def read_scenes(folder: Path, frames: bool) -> list[Scene]:
    """The pairs with the references for each.

    Raises:
        PictureError: there are too few.
    """
    read = []
    for pair in list_pairs(folder):
        read.append((pair[0].stem, *read_luma_pair(pair)))
    if len(read) < 2:
        raise PictureError(f"{folder}: a reference of another scene needs two pairs or more")
    scenes = []
    for number, (name, luma, truth) in enumerate(read):
        given = {}
        if frames:
            away = FRAMES_AWAY if number + FRAMES_AWAY < len(read) else -FRAMES_AWAY
            given["other frame"] = read[max(0, number + away)][2]
        else:
            given["other crop"] = crop(truth, number)
            given["other half"] = truth[:, truth.shape[1] // 2 :]
            given["other scene"] = read[(number + len(read) // 2) % len(read)][2]
        colored = {kind: rgb for kind, rgb in given.items() if not is_gray(rgb)}
        scenes.append(Scene(name, luma, truth, colored))
    return scenes


def crop(rgb: Rgb, number: int) -> Rgb:
    """Seven eighths of a picture's sides, one of its corners, which one by the number."""
    height, width = (round(CROP * side) for side in rgb.shape[:2])
    top = 0 if number % 2 else rgb.shape[0] - height
    left = 0 if number // 2 % 2 else rgb.shape[1] - width
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


def forms_of(band: str, options: NetworkOptions) -> dict[str, Network]:
    """The band's own `fast` network in every precision that it has here."""
    path, twin = catalog.weights_path(band, "fast"), twin_path(band, "fast")
    found = {"f32": open_network(path, replace(options, exact=True))}
    other = open_network(path, replace(options, exact=False))
    found[other.name.split()[-1]] = other
    if twin.is_file():
        found["int8"] = open_network(twin, replace(options, exact=True))
    return found


def measure_cost(band: str, options: NetworkOptions, scene: Scene) -> dict[str, dict[str, Any]]:
    """CPU milliseconds of a call of the band's network and of the reference's on top of it, in turns.

    The reference's is in float32 beside float32, and in bf16, where the processor has that, beside all else.

    Args:
        band: of the frames.
        options: threads of the networks.
        scene: whose first picture is its reference ("placed"), beside noise ("mood").

    Returns:
        Size -> precision of the band's network -> "fast_cpu_ms", and of "placed" and "mood" the same and the
        ratio; "known": how far geometry has found the picture, [0, 1].
    """
    noise = np.random.default_rng(0).integers(0, 256, (192, 256, 3), dtype=np.uint8)
    pictures = {"placed": next(iter(scene.given.values())), "mood": noise}
    owns, given, networks = forms_of(band, options), {}, {}
    for kind, rgb in pictures.items():
        given[kind] = GivenPicture(band, options)
        given[kind].give(
            Reference(np.ascontiguousarray(rgb), np.full(rgb.shape[:2], 255, np.uint8), wished=True)
        )
        networks[kind] = {
            form: ExemplarNetwork(own, given[kind], replace(options, exact=form == "f32"))  # as in a run
            for form, own in owns.items()
        }
    found: dict[str, dict[str, Any]] = {}
    for size in SIZES_PX:
        pixels = cv2.resize(scene.luma, size[::-1], interpolation=cv2.INTER_AREA)
        luma = pixels[None, None].astype(np.float32) / np.float32(255)
        calls: dict[tuple[str, str], Network] = {(form, "fast"): own for form, own in owns.items()}
        calls |= {(form, kind): one for kind, some in networks.items() for form, one in some.items()}
        for one in given.values():
            one.forget()
        times = 1e3 * in_turns([*calls.values()], luma, CALLS + 1, clock=time.process_time)[:, 1:, 0]
        spent = dict(zip(calls, times.tolist(), strict=True))
        name = f"{size[1]}x{size[0]}"
        found[name] = {form: _compared(form, spent) for form in owns}
        placed = given["placed"].encoded
        found[name]["known"] = (
            placed.placing.at(np.asarray(pixels, np.uint8))[1] if placed is not None else 0.0
        )
    for one in given.values():
        one.close()
    for some in networks.values():
        for exemplar in some.values():
            exemplar.close()
    return found


def _compared(form: str, spent: dict[tuple[str, str], list[float]]) -> dict[str, Any]:
    fast = spread(spent[form, "fast"])
    made: dict[str, Any] = {"fast_cpu_ms": fast}
    for kind in ("placed", "mood"):
        cost = spread(spent[form, kind])
        made[kind] = {"cpu_ms": cost, "ratio": round(cost["median"] / fast["median"], 3)}
    return made


class Ways:
    """The ways to color by a reference; `close()` lets go of their networks."""

    def __init__(self, band: NeuralOptions) -> None:
        """Args:
        band: options of the band's own engine.
        """
        self.band = band
        self._alone = NeuralColorizer(replace(band, size="fast"))
        self._by_network = NeuralColorizer(replace(band, engine="reference", size=band.engine))
        self._geometry = NeuralColorizer(replace(band, size="fast", reference=AUTO))
        self._both = NeuralColorizer(replace(band, engine="reference", size=band.engine, reference=AUTO))

    def of(self, scene: Scene) -> list[tuple[str, Rgb, Rgb, NDArray[np.uint8]]]:
        """(name, picture, truth, luma) of every way and reference; half pictures where that is measured."""
        alone = colored(self._alone, scene.luma, None)
        found = [("alone", alone, scene.truth, scene.luma)]
        found.append(("no reference", colored(self._by_network, scene.luma, None), scene.truth, scene.luma))
        for kind, given in scene.given.items():
            half = kind == "other half"
            part = slice(0, scene.luma.shape[1] // 2) if half else slice(None)
            luma, truth = np.ascontiguousarray(scene.luma[:, part]), scene.truth[:, part]
            if half:
                found.append(("alone, first half", colored(self._alone, luma, None), truth, luma))
            by = {
                "reference": colored(self._both, luma, given),
                "network": colored(self._by_network, luma, given),
                "geometry": colored(self._geometry, luma, given),
                "statistics": reinhard(colored(self._alone, luma, None), given),
            }
            by["auto"] = colored(self._both, luma, given, wished=False)
            self._both.set_reference_strength(STRONGEST)
            by["strength 2"] = colored(self._both, luma, given)
            self._both.set_reference_strength(1.0)
            found += [(f"{kind}: {name}", shown, truth, luma) for name, shown in by.items()]
        return found

    def sheet(self, scenes: list[Scene]) -> Rgb:
        """(H, W, 3): infrared, alone, then each of some references with what it makes; then strengths."""
        rows = []
        chosen = scenes[:: max(1, len(scenes) // SHEET_ROWS)][:SHEET_ROWS]
        for number, scene in enumerate(chosen):
            cells = [luma_to_rgb(scene.luma), colored(self._by_network, scene.luma, None)]
            own = next(iter(scene.given.values()))
            others = [one.truth for one in chosen[number + 1 :] + chosen[:number]][: SHEET_REFERENCES - 1]
            for given in (own, *others):
                cells += [given, colored(self._by_network, scene.luma, given)]
            for strength in STRENGTHS:
                self._by_network.set_reference_strength(strength)
                cells.append(colored(self._by_network, scene.luma, own))
            self._by_network.set_reference_strength(1.0)
            cells.append(scene.truth)
            rows.append(
                np.hstack([cv2.resize(cell, TILE_PX[::-1], interpolation=cv2.INTER_AREA) for cell in cells])
            )
        return np.vstack(rows)

    def close(self) -> None:
        for one in (self._alone, self._by_network, self._geometry, self._both):
            one.close()


def colored(
    colorizer: NeuralColorizer, luma: NDArray[np.uint8], given: Rgb | None, wished: bool = True
) -> Rgb:
    """(H, W, 3) uint8 of one picture by that reference, given by name or as a library's."""
    colorizer.reset()
    references = []
    if given is not None:
        rgb = np.ascontiguousarray(given)
        references = [Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), "given", wished=wished)]
    colorizer.exchange_references(references)
    colorizer.submit(luma, 0)
    return np.asarray(colorizer.collect().rgb, np.uint8)


def reinhard(rgb: Rgb, given: Rgb) -> Rgb:
    """A colored picture with the mean and standard deviation of another one's CIELAB channels."""
    lab, goal = rgb_to_lab(rgb), rgb_to_lab(given)
    mean, spread_ = lab.mean((0, 1)), lab.std((0, 1)) + 1e-3
    return lab_to_rgb((lab - mean) * (goal.std((0, 1)) / spread_) + goal.mean((0, 1)))
