"""What the trainings have of their command line, and what of it makes no sense."""

from __future__ import annotations

import argparse
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError

RETRIEVAL, DEFAULT_BAND = "retrieval", "nir"
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


def require_sense(args: argparse.Namespace) -> None:
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


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that were said; of the others each training has its own."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def of_steps(args: argparse.Namespace) -> dict[str, Any]:
    """What `StepOptions` has, and the side of crops."""
    side: dict[str, Any] = {} if args.side is None else {"side": args.side[0]}
    return side | of_data(args) | given(args, "steps", "batch", "epoch", "seed", "rate", "resume")


def of_data(args: argparse.Namespace) -> dict[str, Any]:
    """Of `StepOptions`, what is learned from and how: said, or refused, where a run goes on with another."""
    from irchroma.engines.training.pictures import fingerprint

    asked = [(name, value) for name in ASKED if (value := getattr(args, name)) not in (None, [])]
    given = [name if value is True else f"{name} {value}" for name, value in asked if value is not False]
    return {"data": fingerprint(args.data), "recipe": ", ".join(given).replace("_", "-") or "as usual"}
