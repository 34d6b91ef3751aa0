"""Trains the networks of near infrared and thermal, and exports their sizes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irchroma.calibration.synthetic_pairs import synthetic_pairs
from irchroma.engines.errors import EngineOptionError
from irchroma.launch.commands.train.options import given, of_data

if TYPE_CHECKING:
    from irchroma.engines.training.color.nir import NirRecipe
    from irchroma.engines.training.color.thermal import ThermalRecipe
    from irchroma.engines.training.loop import Recipe

SIZES = ("nano", "fast", "best")
VIVIDNESS = {"nir": (1.0, 0.3), "thermal": (1.35, 0.0)}
"""Saturation and vibrance of the exported networks."""
HELD_SATURATION = 1.04
"""Factor on the saturation where answers were held: leaves and grass are paler than what they are held to."""
SYNTHETIC = 24
"""Synthetic scenes in the mix, unless another number is asked for."""


def run_band(args: argparse.Namespace) -> int:
    """Train the sizes of a band's network together, or one that is held alone, and export them."""
    from irchroma.engines.training.color.objective import ObjectiveWeights
    from irchroma.engines.training.export import ExportOptions, export
    from irchroma.engines.training.loop import Training, TrainOptions
    from irchroma.engines.training.steps import require_free
    from irchroma.engines.training.watch import CHECKPOINT

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
        **of_data(args),
        **given(args, "steps", "batch", "epoch", "seed", "rate", "start", "hold", "teacher", "resume"),
        weights=ObjectiveWeights(**given(args, "hue")),
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
