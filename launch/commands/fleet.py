"""`irchroma fleet`: what many cameras on many machines come to, before there are any."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields
from pathlib import Path

from irchroma.launch.fleet.simulation import Assumptions, Simulation
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma fleet simulate --cameras 1000 --nodes 60 --days 30 --json fleet.json"

_HELP = {
    "cameras": "how many cameras",
    "nodes": "how many machines, half of them twice as fast",
    "days": "how long",
    "seed": "of what is random",
    "load": "share of the machines that the cameras take",
    "group": "cameras that watch one place",
    "between_failures_days": "mean days between two failures of a machine",
    "repair_h": "mean hours until it is back",
    "maintenance_days": "days between two hours of maintenance, 0 for none",
    "noticed_s": "seconds until a failure is noticed",
    "start_s": "seconds until a camera is in color on another machine",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The assumptions, each with its default."""
    parser.add_argument(
        "what", choices=("simulate",), help="a fleet's failures over time, by the real placement"
    )
    for field in fields(Assumptions):
        kind = int if isinstance(field.default, int) else float
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (default {field.default:g})",
        )
    parser.add_argument("--json", type=Path, metavar="F", help="the figures")


def run(args: argparse.Namespace) -> int:
    """Print the figures, and write them where that is asked for."""
    assumed = Assumptions(**{field.name: getattr(args, field.name) for field in fields(Assumptions)})
    figures = Simulation(assumed).run()
    if args.json is not None:
        write_json(args.json, {"bench": "fleet simulate", "assumed": asdict(assumed), "figures": figures})
    dark = figures["dark_s_a_camera"]
    print(
        f"{figures['failures']} failures, {figures['drains']} drains, {figures['moves']} moves;"
        f" a camera was dark for {dark['median']:g} s (median), {dark['most']:g} s at most,"
        f" {figures['longest_dark_s']:g} s at once; {figures['in_color_share']:.5%} in color;"
        f" loads {figures['imbalance']['mean']:.2f} apart (mean), {figures['imbalance']['most']:.2f} at most"
    )
    return 0
