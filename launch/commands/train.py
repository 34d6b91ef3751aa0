"""`irchroma train NAME`: trains a network that colors, from pairs, or one that repairs, and exports it."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.engines.recolor.color_space import rgb_to_luma
from irchroma.launch.measured import write_json

if TYPE_CHECKING:
    from irchroma.engines.training.exemplar.training import ReferenceTrainOptions
    from irchroma.engines.training.loop import Recipe
    from irchroma.engines.training.pictures import Picture

EXAMPLE = (
    "irchroma train nir --data pictures --minutes 60\n"
    "  irchroma train partial-conv --data pictures --steps 6000"
)
SIZES = ("nano", "fast", "best")
RETRIEVAL = "retrieval"
CACHE = Path(".cache")
VIVIDNESS = {"nir": (1.0, 0.3), "thermal": (1.2, 0.0)}
"""Saturation and vibrance of the exported networks, unless others are asked for."""
TRANSLATION_STEPS = {"nir": 800, "thermal": 0}
"""Of training the helper that draws color pictures as infrared, unless others are asked for."""
MODULES = ("mfim", "csfem", "isga", "both-ways", "whole")
LOSSES = ("pattern", "perceptual", "contrastive", "adversarial", "harm")
PARTS = (*MODULES, *LOSSES)
"""Of the reference network and its loss, what can be left out, to see what it is worth."""
SYNTHETIC_SIZE = (320, 400)
"""(H, W) of the synthetic cameras' pictures."""
NIGHT_PALENESS = 0.3
"""Share of the color that a night's answer leaves out: nobody knows it, and it must stay calm."""
LIGHT_SIGMA_PX = 2.0
"""Smoothness of the light at night."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the command's parser."""
    parser.add_argument(
        "engine",
        choices=(*catalog.NETWORKS, *catalog.REPAIRS, RETRIEVAL),
        help="the engine or method of repair to train, or retrieval: what finds references (--steps, --seed)",
    )
    parser.add_argument(
        "--band",
        choices=tuple(catalog.BANDS),
        default="nir",
        help="a classic colorizer, reference: whose pairs it learns from (default: nir)",
    )
    parser.add_argument(
        "--size", choices=(*SIZES, "all"), default="all", help="what to export (default: all)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with nir/train and the like, or with ir/ and rgb/ of pairs",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for checkpoints, sheets and ONNX (default: runs/ENGINE)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="wall-clock budget (default: 60)")
    length.add_argument("--steps", type=int, help="number of steps")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--start",
        type=Path,
        help="checkpoint to start from (default: ImageNet's weights; a classic one: none)",
    )
    parser.add_argument(
        "--single-task", action="store_true", help="nir: infrared pairs alone, for comparison"
    )
    parser.add_argument(
        "--turned", action="store_true", help="nir: begin after the turn to infrared (with --start)"
    )
    parser.add_argument(
        "--without",
        nargs="+",
        choices=PARTS,
        default=[],
        metavar="PART",
        help=f"reference: leave out of network or loss: {', '.join(PARTS)}",
    )
    parser.add_argument(
        "--ablate", action="store_true", help="reference: train with everything, then without each part"
    )
    parser.add_argument(
        "--batch", type=int, default=12, help="crops of 192 pixels a step; fewer of larger ones (default: 12)"
    )
    parser.add_argument(
        "--side",
        type=int,
        nargs="+",
        default=[160, 192, 256, 320],
        metavar="PX",
        help="of crops, multiples of 32; every step draws one (default: 160 192 256 320)",
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate (default: 0.001)")
    parser.add_argument(
        "--hue", type=float, default=7.0, help="weight of too little color along the true hue (default: 7)"
    )
    parser.add_argument("--epoch", type=int, default=200, help="steps between validations (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder for translated pictures (default: .cache)"
    )
    parser.add_argument(
        "--translation-steps",
        type=int,
        help="training of the color-to-infrared helper (default: nir 800, thermal 0)",
    )
    parser.add_argument(
        "--synthetic", type=int, default=24, help="synthetic scenes in the mix (default: 24; 0: none)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of the exported mean color (default: 1)"
    )
    parser.add_argument(
        "--saturation", type=float, help="factor on the exported chroma (default: nir 1, thermal 1.2)"
    )
    parser.add_argument(
        "--vibrance",
        type=float,
        help="further factor, less 1, on nearly neutral chroma (default: nir 0.3, thermal 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Train to the end of the budget, then export and say where to."""
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable("training needs torch: pip install irchroma[train]") from error
    from irchroma.engines.training.export import ExportOptions, export
    from irchroma.engines.training.loop import Training, TrainOptions
    from irchroma.engines.training.objective import ObjectiveWeights

    if args.threads < 1:
        raise EngineOptionError(f"--threads must be 1 or more, got {args.threads}")
    _require_sense(args)
    if args.engine in catalog.CLASSICS:
        return _run_classic(args)
    if args.engine == catalog.REFERENCE.name:
        return _run_reference(args)
    if args.engine == RETRIEVAL:
        return _run_retrieval(args)
    if args.engine in catalog.REPAIRS:
        return _run_repair(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    out: Path = args.out or Path("runs") / args.engine
    minutes = args.minutes if args.minutes is not None or args.steps is not None else 60.0
    options = TrainOptions(
        out=out,
        minutes=minutes,
        steps=args.steps,
        batch=args.batch,
        sides=tuple(args.side),
        epoch=args.epoch,
        seed=args.seed,
        rate=args.rate,
        start=args.start,
        resume=args.resume,
        weights=ObjectiveWeights(hue=args.hue),
    )
    training = Training(_recipe(args), options)
    network = training.run()
    saturation, vibrance = (
        usual if asked is None else asked
        for asked, usual in zip((args.saturation, args.vibrance), VIVIDNESS[args.engine], strict=True)
    )
    for size in SIZES if args.size == "all" else (args.size,):
        baked = ExportOptions(size, args.temperature, saturation, vibrance)
        path = export(network, out / f"{args.engine}_{size}.onnx", baked)
        print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.step}))
    return 0


def _run_classic(args: argparse.Namespace) -> int:
    """Train a colorizer of the literature for one band and export it."""
    import torch

    from irchroma.engines.training.classic.training import PICTURES, ClassicOptions, ClassicTraining
    from irchroma.engines.training.export import write_graph

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    out: Path = args.out or Path("runs") / f"{args.engine}_{args.band}"
    options = ClassicOptions(
        out,
        steps=args.steps or ClassicOptions.steps,
        batch=args.batch,
        side=args.side[0],
        epoch=args.epoch,
        seed=args.seed,
        rate=args.rate,
        resume=args.resume,
        start=args.start,
    )
    training = ClassicTraining(args.engine, PICTURES[args.band](args.data), options)
    method = training.run()
    method.network.eval()
    path = write_graph(method.exported().cpu(), out / f"{args.engine}_{args.band}.onnx")
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.step}))
    return 0


def _run_reference(args: argparse.Namespace) -> int:
    """Train the network that colors by a reference for one band, on top of its `fast`, and export it."""
    import torch

    from irchroma.engines.network.network import NetworkOptions, open_network
    from irchroma.engines.training.exemplar.export import export_reference
    from irchroma.engines.training.exemplar.pairs import ReferencePictures
    from irchroma.engines.training.exemplar.training import ReferenceTraining

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    out: Path = args.out or Path("runs") / f"{args.engine}_{args.band}"
    own = open_network(
        catalog.weights_path(args.band, "fast"), NetworkOptions(threads=args.threads, exact=True)
    )
    try:
        pictures = ReferencePictures(args.data, args.band, own)
        if args.ablate:
            results = {}
            for part in ("", *PARTS):
                name = f"without {part}" if part else "everything"
                left_out = [*args.without, *([part] if part else [])]
                training = ReferenceTraining(
                    args.band, pictures, _reference_options(args, out / name.replace(" ", "_"), left_out)
                )
                training.run()
                results[name] = training.validate()
            write_json(out / "ablation.json", {"band": args.band, "steps": training.step, "results": results})
            print(out / "ablation.json")
            return 0
        training = ReferenceTraining(args.band, pictures, _reference_options(args, out, args.without))
        network = training.run()
    finally:
        own.close()
    for path in export_reference(network, out / f"reference_{args.band}.onnx"):
        print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.step}))
    return 0


def _reference_options(args: argparse.Namespace, out: Path, left_out: list[str]) -> ReferenceTrainOptions:
    from irchroma.engines.training.exemplar.network import Modules
    from irchroma.engines.training.exemplar.objective import ReferenceWeights
    from irchroma.engines.training.exemplar.training import ReferenceTrainOptions

    return ReferenceTrainOptions(
        out,
        steps=args.steps or ReferenceTrainOptions.steps,
        batch=args.batch,
        side=args.side[0],
        epoch=args.epoch,
        seed=args.seed,
        rate=args.rate,
        resume=args.resume,
        modules=Modules(**{part.replace("-", "_"): False for part in MODULES if part in left_out}),
        weights=ReferenceWeights(**{part: 0.0 for part in LOSSES if part in left_out}),
    )


def _run_retrieval(args: argparse.Namespace) -> int:
    """Train what finds the color picture of a scene, and export it."""
    import torch

    from irchroma.engines.training.retrieval import RetrievalOptions, RetrievalTraining

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    options = RetrievalOptions(steps=args.steps or RetrievalOptions.steps, seed=args.seed)
    training = RetrievalTraining(args.data, options)
    training.run()
    path = training.export((args.out or Path("runs") / RETRIEVAL) / f"{RETRIEVAL}.onnx")
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": options.steps}))
    return 0


def _run_repair(args: argparse.Namespace) -> int:
    """Train a method of repair on the infrared of both bands and export it."""
    import torch

    from irchroma.engines.training.repair.training import (
        RepairPictures,
        RepairTraining,
        RepairTrainingOptions,
    )

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(args.threads)
    out: Path = args.out or Path("runs") / args.engine
    options = RepairTrainingOptions(
        out,
        steps=args.steps or RepairTrainingOptions.steps,
        batch=args.batch,
        epoch=args.epoch,
        seed=args.seed,
        rate=args.rate,
        resume=args.resume,
    )
    training = RepairTraining(args.engine, RepairPictures(args.data), options)
    training.run()
    path = training.export(out / catalog.repair_weights(args.engine).name)
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.step}))
    return 0


def _require_sense(args: argparse.Namespace) -> None:
    """EngineOptionError for switches that would do nothing here."""
    if args.engine not in catalog.BANDS and args.minutes is not None:
        raise EngineOptionError(f"{args.engine} repeats from its seed: say --steps, not --minutes")
    if args.engine in catalog.CLASSICS and args.start is not None and args.resume:
        raise EngineOptionError("--resume goes on from --out's checkpoint: leave out --start")
    if args.engine in catalog.REPAIRS and args.start is not None:
        raise EngineOptionError("methods of repair begin from nothing: leave out --start, or --resume")
    if args.engine == catalog.REFERENCE.name and args.start is not None:
        raise EngineOptionError("reference begins from the fast network that ships: leave out --start")
    if args.engine != catalog.REFERENCE.name and (args.without or args.ablate):
        raise EngineOptionError(
            f"--without and --ablate are of reference's network: leave them out for {args.engine}"
        )
    if args.ablate and args.resume:
        raise EngineOptionError("--ablate trains from nothing: leave out --resume")
    if args.engine != "nir" and (args.single_task or args.turned):
        raise EngineOptionError(
            f"--single-task and --turned are of nir's recipe: leave them out for {args.engine}"
        )
    if args.turned and args.start is None:
        raise EngineOptionError("--turned is for weights that know both bands: add --start CHECKPOINT")


def _recipe(args: argparse.Namespace) -> Recipe:
    extra = synthetic_pairs(args.engine, args.synthetic)
    usual = TRANSLATION_STEPS[args.engine]
    translation = usual if args.translation_steps is None else args.translation_steps
    if args.engine == "nir":
        from irchroma.engines.training.nir import NirRecipe

        cooperative = not args.single_task
        return NirRecipe(args.data, cooperative, args.cache, translation, extra, args.turned)
    from irchroma.engines.training.thermal import ThermalRecipe

    return ThermalRecipe(args.data, args.cache, translation, extra)


def synthetic_pairs(band: str, count: int) -> list[Picture]:
    """Pairs of the synthetic cameras: two moments by day of each of `count` scenes, for nir one at night too.

    The seeds are not those that `test:nir` and `test:thermal` show by default. Counts are spread
    linearly between their outermost half percents.
    """
    from irchroma.engines.training.pictures import Picture
    from irchroma.stream.synthetic.camera import SyntheticCamera
    from irchroma.stream.synthetic.options import SyntheticOptions

    moments = [("day", 30), ("day", 150)] + [("night", 90)] * (band == "nir")
    pictures = []
    for seed in range(100, 100 + count):
        for light, number in moments:
            options = SyntheticOptions(band=band, size=SYNTHETIC_SIZE, seed=seed, light=light)
            frame = SyntheticCamera(options).frame(number)
            luma, rgb = frame.pixels, frame.rgb
            if luma.dtype != np.uint8:
                low, high = np.percentile(luma, (0.5, 99.5))
                luma = np.clip((luma - low) * (255.0 / max(1.0, high - low)), 0, 255).astype(np.uint8)
            if light == "night":
                rgb = lit_as(rgb, luma)
            pictures.append(Picture(f"synthetic/{band}_{seed}_{number}", rgb, luma.astype(np.uint8)))
    return pictures


def lit_as(rgb: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The colors of (H, W, 3) uint8 by day, paler, under the light that (H, W) uint8 night luma shows."""
    day = np.maximum(rgb_to_luma(rgb).astype(np.float32), 24.0)
    light = cv2.GaussianBlur(luma.astype(np.float32) / day, (0, 0), LIGHT_SIGMA_PX)
    pale = rgb + NIGHT_PALENESS * (rgb_to_luma(rgb)[..., None] - rgb.astype(np.float32))
    return np.asarray(np.clip(pale * np.minimum(light, 1.2)[..., None], 0, 255).astype(np.uint8))
