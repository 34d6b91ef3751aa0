"""`irchroma train NAME`: trains a network that colors, from pairs, or one that repairs, and exports it."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError, EngineUnavailable
from irchroma.launch.commands.train.bands import SIZES, SYNTHETIC, run_band
from irchroma.launch.commands.train.methods import run_classic, run_repair, run_retrieval
from irchroma.launch.commands.train.options import RETRIEVAL, require_sense
from irchroma.launch.commands.train.reference import PARTS, run_reference

EXAMPLE = (
    "irchroma train nir --data pictures --minutes 60\n"
    "  irchroma train partial-conv --data pictures --steps 6000"
)


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
    if args.threads < 1:
        raise EngineOptionError(f"--threads must be 1 or more, got {args.threads}")
    require_sense(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%X")
    torch.set_num_threads(args.threads)
    if args.engine in catalog.CLASSICS:
        return run_classic(args)
    if args.engine == catalog.REFERENCE.name:
        return run_reference(args)
    if args.engine == RETRIEVAL:
        return run_retrieval(args)
    if args.engine in catalog.REPAIRS:
        return run_repair(args)
    return run_band(args)
