"""`irchroma train NAME`: trains a network that colors, from pairs, or one that repairs, and exports it."""

from __future__ import annotations

import argparse
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irchroma.calibration.synthetic_pairs import synthetic_pairs
from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.launch.measured import write_json

if TYPE_CHECKING:
    from irchroma.engines.training.color.nir import NirRecipe
    from irchroma.engines.training.color.thermal import ThermalRecipe
    from irchroma.engines.training.exemplar.pairs import ReferencePictures
    from irchroma.engines.training.exemplar.training import ReferenceTrainOptions
    from irchroma.engines.training.loop import Recipe

EXAMPLE = (
    "irchroma train nir --data pictures --minutes 60\n"
    "  irchroma train partial-conv --data pictures --steps 6000"
)
SIZES = ("nano", "fast", "best")
RETRIEVAL, DEFAULT_BAND = "retrieval", "nir"
VIVIDNESS = {"nir": (1.0, 0.3), "thermal": (1.35, 0.0)}
"""Saturation and vibrance of the exported networks."""
HELD_SATURATION = 1.04
"""Factor on the saturation where answers were held: leaves and grass are paler than what they are held to."""
MODULES = ("mfim", "csfem", "isga", "both-ways", "whole")
LOSSES = ("pattern", "perceptual", "contrastive", "adversarial", "harm")
PARTS = (*MODULES, *LOSSES)
"""Of the reference network and its loss, what can be left out, to see what it is worth."""
AGAIN = "everything, from other weights"
"""What chance is worth: as the first one on the same batches, but begun elsewhere."""
CLASSIC, REPAIR = "classic colorizers", "methods of repair"
BANDS = tuple(catalog.BANDS)
TAKEN_BY = {
    **dict.fromkeys(("size", "hue", "synthetic"), BANDS),
    **dict.fromkeys(("single_task", "turned", "composites", "hold", "teacher", "truth", "cache"), ("nir",)),
    "start": (*BANDS, CLASSIC),
    "side": (*BANDS, CLASSIC, catalog.REFERENCE.name),
    "band": (CLASSIC, catalog.REFERENCE.name),
    **dict.fromkeys(("without", "ablate", "larger"), (catalog.REFERENCE.name,)),
    **dict.fromkeys(("batch", "rate", "epoch", "resume"), (*BANDS, CLASSIC, catalog.REFERENCE.name, REPAIR)),
}
"""Option -> the trainings that it does something for; those that are not here are for all."""
ASKED = ("band", "truth", "single_task", "turned", "composites", "synthetic", "hue", "without", "larger")
"""Options of what is learned, which a run that goes on should share with its beginning."""
SYNTHETIC = 24
"""Synthetic scenes in the mix, unless another number is asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "engine",
        choices=(*catalog.NETWORKS, *catalog.REPAIRS, RETRIEVAL),
        help="what to train: an engine, a method of repair, or retrieval, which finds references",
    )
    add(
        "--band",
        choices=tuple(catalog.BANDS),
        help="classic colorizers, reference: the band whose pairs are learned (default: nir)",
    )
    add(
        "--size",
        choices=(*SIZES, "all"),
        help="nir, thermal: which networks to write (default: all); all are trained, with one encoder",
    )
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="pairs with equal names in ir/ and rgb/; those in val/ir and val/rgb judge, or else a tenth of"
        " the others does; nir/train, nir/val and the like are taken too",
    )
    add("--out", type=Path, help="folder for checkpoints, contact sheets and networks (default: runs/ENGINE)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="nir, thermal: how long to train (default: 60)")
    length.add_argument("--steps", type=int, help="to train (repair: 4000; retrieval: 2500; others: 2000)")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add(
        "--start",
        type=Path,
        help="nir, thermal, classic colorizers: checkpoint to begin with; nir, thermal: or NAME_SIZE.onnx",
    )
    add("--single-task", action="store_true", help="nir: learn from the pairs alone, not from gray pictures")
    add(
        "--turned",
        action="store_true",
        help="nir: learn mostly from infrared from the first step on; for weights that know it, with --start",
    )
    add(
        "--composites",
        type=float,
        metavar="SHARE",
        help="nir: share of the pairs that get another sky, trees or a ridge (default: 0)",
    )
    add(
        "--hold",
        type=Path,
        metavar="WEIGHTS",
        help="nir: as --start; a network whose answers are kept but in skies, trees before them and"
        " composites; only --size is trained",
    )
    add(
        "--truth",
        choices=("natural", "camera"),
        help="nir: the color to learn: natural, without the camera's casts and in the light that the infrared"
        " lets expect; or the camera's, as it is (default: natural)",
    )
    add(
        "--teacher",
        type=Path,
        metavar="WEIGHTS",
        help="nir, with --hold: as --start; whose best is learned from where nothing is held, in place of the"
        " truth",
    )
    add(
        "--without",
        nargs="+",
        choices=PARTS,
        default=[],
        metavar="PART",
        help=f"reference: parts of the network or of its loss to leave out: {', '.join(PARTS)}",
    )
    add("--ablate", action="store_true", help="reference: train whole, and without each part, in step")
    add("--larger", action="store_true", help="reference: a larger form, for GPUs")
    add(
        "--batch",
        type=int,
        help="crops in a step (repair: 8; reference: 6; others: 12; of nir, thermal fewer, where large)",
    )
    add(
        "--side",
        type=int,
        nargs="+",
        metavar="PX",
        help="of the crops, a multiple of 32 (reference: 192; classic colorizers: 160); nir, thermal: every"
        " step draws one (160 192 256 320)",
    )
    add("--rate", type=float, help="peak learning rate (nir, thermal: 0.001; others: 0.002)")
    add("--hue", type=float, help="nir, thermal: weight of too little color of the true hue (default: 7)")
    add(
        "--epoch",
        type=int,
        help="steps between checkpoints with a validation (nir, thermal: 200; others: 250); of nir, thermal"
        " its means are of pictures whose names begin with the same word, up to _",
    )
    add("--seed", type=int, default=0, help="of all that is drawn at random (default: 0)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    add("--cache", type=Path, help="nir: folder for color pictures drawn as infrared (default: .cache)")
    add(
        "--synthetic",
        type=int,
        help=f"nir, thermal: synthetic scenes that are learned, too (default: {SYNTHETIC}; 0: none)",
    )


def run(args: argparse.Namespace) -> int:
    """Train to the end of the budget, then export and say where to."""
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable("training needs torch: pip install irchroma[train]") from error
    from irchroma.engines.training.color.objective import ObjectiveWeights
    from irchroma.engines.training.export import ExportOptions, export
    from irchroma.engines.training.loop import Training, TrainOptions
    from irchroma.engines.training.steps import require_free
    from irchroma.engines.training.watch import CHECKPOINT

    if args.threads < 1:
        raise EngineOptionError(f"--threads must be 1 or more, got {args.threads}")
    _require_sense(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%X")
    torch.set_num_threads(args.threads)
    if args.engine in catalog.CLASSICS:
        return _run_classic(args)
    if args.engine == catalog.REFERENCE.name:
        return _run_reference(args)
    if args.engine == RETRIEVAL:
        return _run_retrieval(args)
    if args.engine in catalog.REPAIRS:
        return _run_repair(args)
    out: Path = args.out or Path("runs") / args.engine
    require_free(out / CHECKPOINT, args.resume)  # said before what takes minutes
    minutes = args.minutes if args.minutes is not None or args.steps is not None else 60.0
    own: dict[str, Any] = {} if args.side is None else {"sides": tuple(args.side)}
    if args.hold is not None and args.size not in (None, "all"):
        own["sizes"] = (args.size,)
    options = TrainOptions(
        out=out,
        minutes=minutes,
        **own,
        **_of_data(args),
        **_given(args, "steps", "batch", "epoch", "seed", "rate", "start", "hold", "teacher", "resume"),
        weights=ObjectiveWeights(**_given(args, "hue")),
    )
    training = Training(_recipe(args), options)
    network = training.run()
    saturation, vibrance = VIVIDNESS[args.engine]
    saturation *= 1.0 if args.hold is None else HELD_SATURATION
    for size in SIZES if args.size in (None, "all") else (args.size,):
        baked = ExportOptions(size, saturation, vibrance, args.engine)
        path = export(network, out / f"{args.engine}_{size}.onnx", baked, args.start)
        print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0


def _run_classic(args: argparse.Namespace) -> int:
    """Train a colorizer of the literature for one band and export it."""
    from irchroma.engines.training.classic.training import PICTURES, ClassicOptions, ClassicTraining
    from irchroma.engines.training.export import write_graph

    band = args.band or DEFAULT_BAND
    out: Path = args.out or Path("runs") / f"{args.engine}_{band}"
    options = ClassicOptions(out, **_of_steps(args), **_given(args, "start"))
    training = ClassicTraining(args.engine, PICTURES[band](args.data), options)
    method = training.run()
    method.network.eval()
    file, of = out / f"{args.engine}_{band}.onnx", f"{args.engine}:{band}"
    path = write_graph(method.exported().cpu(), file, trained=of)
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0


def _run_reference(args: argparse.Namespace) -> int:
    """Train the network that colors by a reference for one band, on top of its `fast`, and export it."""
    from irchroma.engines.network.network import NetworkOptions, open_network
    from irchroma.engines.training.exemplar.export import export_reference
    from irchroma.engines.training.exemplar.pairs import ReferencePictures
    from irchroma.engines.training.exemplar.training import ReferenceTraining

    band = args.band or DEFAULT_BAND
    out: Path = args.out or Path("runs") / f"{args.engine}_{band}"
    own = open_network(catalog.weights_path(band, "fast"), NetworkOptions(threads=args.threads, exact=True))
    try:
        pictures = ReferencePictures(args.data, band, own)
        if args.ablate:
            print(_ablate(args, band, pictures, out))
            return 0
        training = ReferenceTraining(band, pictures, _reference_options(args, out, args.without))
        network = training.run()
    finally:
        own.close()
    for path in export_reference(network, out / f"reference_{band}.onnx"):
        print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0


def _ablate(args: argparse.Namespace, band: str, pictures: ReferencePictures, out: Path) -> Path:
    """Train with everything, again from other weights, and without each part, in step; the JSON's path."""
    from irchroma.engines.training.exemplar.training import ReferenceTraining, train_together

    path = out / "ablation.json"
    every = _reference_options(args, out / "everything", args.without)
    options = {"everything": every, AGAIN: replace(every, out=out / "again", seed=every.seed + 1)}
    for part in PARTS:
        name = f"without {part}"
        options[name] = _reference_options(args, out / name.replace(" ", "_"), [*args.without, part])

    def write(steps: int, results: dict[str, Any]) -> None:
        about = {"train": "reference", "band": band, "steps": steps, "of": every.steps}
        setting = {"batch": every.batch, "side_px": every.side, "rate": every.rate, "seed": every.seed}
        write_json(path, {**about, **setting, "left_out": args.without, "results": results})

    train_together({name: ReferenceTraining(band, pictures, one) for name, one in options.items()}, write)
    return path


def _reference_options(args: argparse.Namespace, out: Path, left_out: list[str]) -> ReferenceTrainOptions:
    from irchroma.engines.training.exemplar.modules import DIM, LARGER_DIM
    from irchroma.engines.training.exemplar.network import Modules
    from irchroma.engines.training.exemplar.objective import ReferenceWeights
    from irchroma.engines.training.exemplar.training import ReferenceTrainOptions

    return ReferenceTrainOptions(
        out,
        **_of_steps(args),
        dim=LARGER_DIM if args.larger else DIM,
        modules=Modules(**{part.replace("-", "_"): False for part in MODULES if part in left_out}),
        weights=ReferenceWeights(**{part: 0.0 for part in LOSSES if part in left_out}),
    )


def _run_retrieval(args: argparse.Namespace) -> int:
    """Train what finds the color picture of a scene, and export it."""
    from irchroma.engines.training.retrieval import RetrievalOptions, RetrievalTraining

    options = RetrievalOptions(**_given(args, "steps", "seed"))
    training = RetrievalTraining(args.data, options)
    training.run()
    path = training.export((args.out or Path("runs") / RETRIEVAL) / f"{RETRIEVAL}.onnx")
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": options.steps}))
    return 0


def _run_repair(args: argparse.Namespace) -> int:
    """Train a method of repair on the infrared of both bands and export it."""
    from irchroma.engines.training.repair import training as repair

    out: Path = args.out or Path("runs") / args.engine
    options = repair.RepairTrainingOptions(out, **_of_steps(args))
    training = repair.RepairTraining(args.engine, repair.RepairPictures(args.data), options)
    training.run()
    path = training.export(out / catalog.repair_weights(args.engine).name)
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0


def _require_sense(args: argparse.Namespace) -> None:
    """EngineOptionError for switches that would do nothing here, or contradict each other."""
    if args.engine not in catalog.BANDS and args.minutes is not None:
        raise EngineOptionError(f"{args.engine} repeats from its seed: say --steps, not --minutes")
    kind = CLASSIC if args.engine in catalog.CLASSICS else args.engine
    kind = REPAIR if args.engine in catalog.REPAIRS else kind
    for option, kinds in TAKEN_BY.items():
        given = getattr(args, option)
        if not (given is None or given is False or given == []) and kind not in kinds:
            raise EngineOptionError(
                f"--{option.replace('_', '-')} does nothing for {args.engine}: leave it out (it is for"
                f" {', '.join(kinds)})"
            )
    if args.engine not in catalog.BANDS and args.side is not None and len(args.side) > 1:
        raise EngineOptionError(f"{args.engine} has crops of one size: give one --side, got {len(args.side)}")
    if args.engine in catalog.CLASSICS and args.start is not None and args.resume:
        raise EngineOptionError("--resume goes on from --out's checkpoint: leave out --start")
    if args.ablate and args.resume:
        raise EngineOptionError("--ablate trains from nothing: leave out --resume")
    for option, least in (("epoch", 1), ("synthetic", 0), ("hue", 0)):
        if (given := getattr(args, option)) is not None and given < least:
            raise EngineOptionError(f"--{option}: expected {least} or more, got {given:g}")
    for option in ("minutes", "rate"):
        if (given := getattr(args, option)) is not None and given <= 0:
            raise EngineOptionError(f"--{option}: expected a number above 0, got {given:g}")
    if args.turned and args.start is None:
        raise EngineOptionError("--turned is for weights that know both bands: add --start CHECKPOINT")
    if args.teacher is not None and args.hold is None:
        raise EngineOptionError("--teacher says what to learn where nothing is held: add --hold WEIGHTS")
    if args.composites is not None and not 0.0 <= args.composites <= 1.0:
        raise EngineOptionError(f"--composites is a share of the pairs, 0 to 1, got {args.composites:g}")


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that were said; of the others each training has its own."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _of_steps(args: argparse.Namespace) -> dict[str, Any]:
    """What `StepOptions` has, and the side of crops."""
    side: dict[str, Any] = {} if args.side is None else {"side": args.side[0]}
    return side | _of_data(args) | _given(args, "steps", "batch", "epoch", "seed", "rate", "resume")


def _of_data(args: argparse.Namespace) -> dict[str, Any]:
    """Of `StepOptions`, what is learned from and how: said, or refused, where a run goes on with another."""
    from irchroma.engines.training.pictures import fingerprint

    asked = [(name, value) for name in ASKED if (value := getattr(args, name)) not in (None, [])]
    given = [name if value is True else f"{name} {value}" for name, value in asked if value is not False]
    return {"data": fingerprint(args.data), "recipe": ", ".join(given).replace("_", "-") or "as usual"}


def _recipe(args: argparse.Namespace) -> Recipe:
    pairs = (args.data / "ir", args.data / args.engine / "train")
    if not any(place.is_dir() for place in pairs):
        raise EngineOptionError(
            f"--data {args.data}: expected ir/ and rgb/ of pairs in it, or {args.engine}/train"
        )
    recipe: NirRecipe | ThermalRecipe
    if args.engine == "nir":
        from irchroma.engines.training.color.nir import NirRecipe

        recipe = NirRecipe(
            args.data,
            cooperative=not args.single_task,
            cache=args.cache or Path(".cache"),
            turned=args.turned,
            composites=args.composites or 0.0,
            hold=args.hold is not None,
            camera_truth=args.truth == "camera",
        )
    else:
        from irchroma.engines.training.color.thermal import ThermalRecipe

        recipe = ThermalRecipe(args.data, start=args.start)
    count = SYNTHETIC if args.synthetic is None else args.synthetic
    if count > 0:  # drawn once the pairs are known to be good: it takes a while
        recipe.extra = synthetic_pairs(args.engine, count)
    return recipe
