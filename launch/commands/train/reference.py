"""Trains the network that colors by a reference, and tells what each of its parts is worth."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irchroma.engines import catalog
from irchroma.launch.commands.train.options import DEFAULT_BAND, of_steps
from irchroma.launch.measured import write_json

if TYPE_CHECKING:
    from irchroma.engines.training.exemplar.pairs import ReferencePictures
    from irchroma.engines.training.exemplar.training import ReferenceTrainOptions

MODULES = ("mfim", "csfem", "isga", "both-ways", "whole")
LOSSES = ("pattern", "perceptual", "contrastive", "adversarial", "harm")
PARTS = (*MODULES, *LOSSES)
"""Of the reference network and its loss, what can be left out, to see what it is worth."""
AGAIN = "everything, from other weights"
"""What chance is worth: as the first one on the same batches, but begun elsewhere."""


def run_reference(args: argparse.Namespace) -> int:
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
        **of_steps(args),
        dim=LARGER_DIM if args.larger else DIM,
        modules=Modules(**{part.replace("-", "_"): False for part in MODULES if part in left_out}),
        weights=ReferenceWeights(**{part: 0.0 for part in LOSSES if part in left_out}),
    )
