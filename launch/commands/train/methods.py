"""Trains methods of the literature: colorizers, repair, and what finds the color picture of a scene."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from irchroma.engines import catalog
from irchroma.launch.commands.train.options import DEFAULT_BAND, RETRIEVAL, given, of_steps


def run_classic(args: argparse.Namespace) -> int:
    """Train a colorizer of the literature for one band and export it."""
    from irchroma.engines.training.classic.training import PICTURES, ClassicOptions, ClassicTraining
    from irchroma.engines.training.export import write_graph

    band = args.band or DEFAULT_BAND
    out: Path = args.out or Path("runs") / f"{args.engine}_{band}"
    options = ClassicOptions(out, **of_steps(args), **given(args, "start"))
    training = ClassicTraining(args.engine, PICTURES[band](args.data), options)
    method = training.run()
    method.network.eval()
    file, of = out / f"{args.engine}_{band}.onnx", f"{args.engine}:{band}"
    path = write_graph(method.exported().cpu(), file, trained=of)
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0


def run_retrieval(args: argparse.Namespace) -> int:
    """Train what finds the color picture of a scene, and export it."""
    from irchroma.engines.training.retrieval import RetrievalOptions, RetrievalTraining

    options = RetrievalOptions(**given(args, "steps", "seed"))
    training = RetrievalTraining(args.data, options)
    training.run()
    path = training.export((args.out or Path("runs") / RETRIEVAL) / f"{RETRIEVAL}.onnx")
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": options.steps}))
    return 0


def run_repair(args: argparse.Namespace) -> int:
    """Train a method of repair on the infrared of both bands and export it."""
    from irchroma.engines.training.repair import training as repair

    out: Path = args.out or Path("runs") / args.engine
    options = repair.RepairTrainingOptions(out, **of_steps(args))
    training = repair.RepairTraining(args.engine, repair.RepairPictures(args.data), options)
    training.run()
    path = training.export(out / catalog.repair_weights(args.engine).name)
    print(json.dumps({"graph": str(path), "bytes": path.stat().st_size, "steps": training.steps.done}))
    return 0
