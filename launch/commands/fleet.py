"""`irchroma fleet`: many cameras on many machines, by Ray; and what they come to before there are any."""

from __future__ import annotations

import argparse
import logging
import threading
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from irchroma.engines.cache import write_atomically
from irchroma.launch.arguments import add_actions
from irchroma.launch.fleet.simulation import Assumptions, Simulation
from irchroma.launch.measured import write_json

log = logging.getLogger(__name__)

EXAMPLE = """irchroma fleet up --config launch/fleet.toml
  irchroma fleet simulate --cameras 1000 --nodes 60 --days 30 --json fleet.json"""
ACTIONS = {
    "up": (
        "run the cameras on the machines of a Ray cluster",
        "irchroma fleet up --config launch/fleet.toml",
    ),
    "status": ("what runs where, and how", "irchroma fleet status --json fleet.json"),
    "drain": ("move a machine's cameras away, before maintenance", "irchroma fleet drain rack1-3f9a20"),
    "rejoin": ("give a machine that was drained cameras again", "irchroma fleet rejoin rack1-3f9a20"),
    "simulate": (
        "a fleet's failures over time, by the real placement",
        "irchroma fleet simulate --cameras 1000 --nodes 60 --days 30 --json fleet.json",
    ),
}
_STEP_S, _METRICS_S = 0.5, 5.0

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
    """One subcommand for each action."""
    made = add_actions(parser, ACTIONS)
    up = made["up"]
    up.add_argument("--config", type=Path, required=True, metavar="FILE", help="cameras, and a table [fleet]")
    up.add_argument(
        "--metrics", type=Path, metavar="FILE", help="all cameras' figures for Prometheus' textfile collector"
    )
    for name in ("status", "drain", "rejoin"):
        made[name].add_argument("--address", default="auto", help="of Ray (auto: this machine's cluster)")
    for name in ("drain", "rejoin"):
        made[name].add_argument("node", metavar="NODE", help="as `status` names it")
    made["status"].add_argument("--json", type=Path, metavar="F", help="all of it")
    for field in fields(Assumptions):
        kind = int if isinstance(field.default, int) else float
        made["simulate"].add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (default {field.default:g})",
        )
    made["simulate"].add_argument("--json", type=Path, metavar="F", help="the figures")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.action == "simulate":
        return _simulate(args)
    if args.action == "up":
        return _up(args)
    from irchroma.launch.fleet.ray_cluster import board, joined

    ray = joined(args.address)
    try:
        told = board(ray)
        if args.action == "status":
            status = ray.get(told.status.remote())
            print("\n".join(_lines(status)))
            if args.json is not None:
                write_json(args.json, status)
            return 0
        if not ray.get(told.drain.remote(args.node, args.action == "drain")):
            known = ", ".join(ray.get(told.status.remote()).get("nodes", {})) or "none yet"
            log.error("there is no machine %s: there are %s", args.node, known)
            return 1
        return 0
    finally:
        ray.shutdown()


def _up(args: argparse.Namespace) -> int:
    from irchroma.launch.fleet.config import load_fleet
    from irchroma.launch.fleet.ray_cluster import RayCluster
    from irchroma.launch.fleet.supervisor import Fleet
    from irchroma.launch.run.process import set_up, stop_on_signals

    config = load_fleet(args.config)
    set_up("text", logging.INFO)
    cluster = RayCluster(config.options.address, config.options.lost_after_s)
    fleet = Fleet(config, cluster)
    stopping = threading.Event()
    stop_on_signals(stopping.set)
    draining: set[str] = set()
    steps = 0
    try:
        while not stopping.wait(_STEP_S):
            fleet.step(draining)
            status = fleet.status()
            draining = cluster.exchange(status)
            steps += 1
            if args.metrics is not None and steps % round(_METRICS_S / _STEP_S) == 1:
                write_atomically(args.metrics, [_metrics(status)])
    finally:
        fleet.close()
        cluster.close()
    return 0


def _metrics(status: dict[str, Any]) -> bytes:
    """Of all cameras under the names that their pages have, see `metrics.exposition`."""
    from irchroma.stream.sinks.http.metrics import exposition

    return exposition(status["cameras"])


def _lines(status: dict[str, Any]) -> list[str]:
    """The status for people."""
    lines = [
        f"{name}  {node['kind']}  {node['load']:.0%} full{'  draining' if node['draining'] else ''}"
        for name, node in status.get("nodes", {}).items()
    ]
    for name, camera in status.get("cameras", {}).items():
        rate = f"{camera.get('frames_per_second') or 0:g} fps"
        why = f"  {camera['failure']}" if camera.get("failure") else ""
        lines.append(f"{name}  {camera['node'] or 'no room'}  {camera.get('state', 'waiting')}  {rate}{why}")
    return lines or ["nothing is known yet"]


def _simulate(args: argparse.Namespace) -> int:
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
