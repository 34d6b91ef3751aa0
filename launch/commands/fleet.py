"""`irchroma fleet`: many cameras on many machines, by Ray; and what they come to before there are any."""

from __future__ import annotations

import argparse
import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irchroma.engines.cache import write_atomically
from irchroma.launch.arguments import add_actions
from irchroma.launch.config import ConfigError
from irchroma.launch.fleet.simulation import Assumptions, Simulation
from irchroma.launch.measured import words_of, write_json
from irchroma.stream.errors import StreamError

if TYPE_CHECKING:
    from irchroma.launch.fleet.config import FleetConfig

log = logging.getLogger(__name__)

EXAMPLE = """irchroma fleet up --config launch/fleet/fleet.toml
  irchroma fleet simulate --cameras 1000 --nodes 60 --days 30 --json fleet.json"""
ACTIONS = {
    "up": (
        "run the cameras on the machines of a Ray cluster",
        "irchroma fleet up --config launch/fleet/fleet.toml",
    ),
    "status": ("what runs where, and how", "irchroma fleet status --json fleet.json"),
    "logs": ("what all machines log, or one camera", "irchroma fleet logs gate --follow"),
    "drain": ("move a machine's cameras away, before maintenance", "irchroma fleet drain rack1-3f9a20"),
    "rejoin": ("give a machine that was drained cameras again", "irchroma fleet rejoin rack1-3f9a20"),
    "simulate": (
        "a fleet's failures over time, by the real placement",
        "irchroma fleet simulate --cameras 1000 --nodes 60 --days 30 --json fleet.json",
    ),
}
_STEP_S, _METRICS_S, _REREAD_S = 0.5, 5.0, 10.0
_FOLLOW_S = 1.0
_said_last: dict[Path, str] = {}  # of a configuration that makes no sense, told once

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
    made = add_actions(parser, ACTIONS)
    up = made["up"]
    up.add_argument("--config", type=Path, required=True, metavar="FILE", help="cameras, and a table [fleet]")
    up.add_argument(
        "--metrics", type=Path, metavar="FILE", help="all cameras' figures for Prometheus' textfile collector"
    )
    up.add_argument(
        "--serve",
        metavar="[HOST]:PORT",
        help="/metrics of all cameras for Prometheus, and /status; without HOST for this machine alone",
    )
    for name in ("status", "logs", "drain", "rejoin"):
        made[name].add_argument("--address", default="auto", help="of Ray (auto: this machine's cluster)")
    for name in ("drain", "rejoin"):
        made[name].add_argument("node", metavar="NODE", help="as `status` names it")
    made["status"].add_argument("--json", type=Path, metavar="F", help="all of it; - shows it")
    made["status"].add_argument(
        "--prometheus", action="store_true", help="all cameras' figures as Prometheus reads them"
    )
    logs = made["logs"]
    logs.add_argument("camera", nargs="?", default="", metavar="CAMERA", help="its lines alone")
    logs.add_argument("--follow", action="store_true", help="go on with what comes")
    logs.add_argument("--lines", type=int, default=100, metavar="N", help="newest lines to begin with (100)")
    logs.add_argument("--jsonl", action="store_true", help="one JSON object a line")
    for field in fields(Assumptions):
        kind = int if isinstance(field.default, int) else float
        made["simulate"].add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (default {field.default:g})",
        )
    made["simulate"].add_argument("--json", type=Path, metavar="F", help="the figures; - shows them")


def run(args: argparse.Namespace) -> int:
    if args.action == "simulate":
        return _simulate(args)
    if args.action == "up":
        return _up(args)
    from irchroma.launch.fleet.ray_cluster import board, joined

    ray = joined(args.address)
    try:
        told = board(ray)
        if args.action == "logs":
            return _logs(args, lambda after: ray.get(told.lines.remote(after, args.camera)))
        if args.action == "status":
            status = ray.get(told.status.remote())
            text = _metrics(status).decode() if args.prometheus else "\n".join(_lines(status))
            print(text, file=words_of(args.json))
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
    from irchroma.launch.fleet.reports import FleetPage, LogTail
    from irchroma.launch.fleet.shared_files import SharedFiles
    from irchroma.launch.fleet.supervisor import Fleet
    from irchroma.launch.run.process import set_up, stop_on_signals

    given = load_fleet(args.config)
    options = given.options
    set_up("text", logging.INFO)
    files = SharedFiles(options.files)
    with ExitStack() as last_first:
        config = given.stamped(files.stamped)
        cluster = RayCluster(options.address, options.lost_after_s, options.cameras_per_process)
        last_first.callback(cluster.close)
        fleet = Fleet(config, cluster)
        last_first.callback(fleet.close)
        tail, said_to = LogTail(), 0
        tail.attach()
        last_first.callback(tail.detach)
        newest = {"status": fleet.status()}
        if args.serve:
            page = FleetPage(args.serve, lambda: newest["status"])
            last_first.callback(page.close)
            log.info("all cameras' figures: http://%s:%d/metrics", page.host, page.port)
        stopping = threading.Event()
        stop_on_signals(stopping.set)
        draining: set[str] = set()
        metrics_s = reread_s = time.monotonic()
        while not stopping.wait(_STEP_S):
            fleet.step(draining)
            status = newest["status"] = fleet.status()
            said_to, own = tail.after(said_to)
            draining = cluster.exchange(status, [*own, *fleet.lines()])
            now_s = time.monotonic()
            if args.metrics is not None and now_s >= metrics_s:
                metrics_s = now_s + _METRICS_S
                write_atomically(args.metrics, [_metrics(status)])
            if now_s >= reread_s + _REREAD_S:
                reread_s = now_s
                config = _reread(args.config, config, files.stamped)
                fleet.use(config)
    return 0


def _reread(path: Path, config: FleetConfig, stamped: Callable[[str], str]) -> FleetConfig:
    """The configuration read again, with its files; the one before where the new one makes no sense."""
    from irchroma.launch.fleet.config import load_fleet

    try:
        new = load_fleet(path).stamped(stamped)
    except (ConfigError, StreamError, OSError) as error:
        if str(error) != _said_last.get(path):
            log.error("%s; what runs goes on as it is", error)
        _said_last[path] = str(error)
        return config
    _said_last.pop(path, None)
    if new.options != config.options:
        log.warning("%s: what [fleet] says counts from the next `fleet up` on, but for its balance", path)
    return new


def _logs(args: argparse.Namespace, ask: Callable[[int], tuple[int, list[dict[str, Any]]]]) -> int:
    """Print what is there, and with `--follow` what comes."""
    from irchroma.launch.fleet.reports import shown
    from irchroma.launch.run.process import stop_on_signals

    if args.lines < 1:
        raise ConfigError(f"--lines: expected 1 or more, got {args.lines}")
    stopping = threading.Event()
    stop_on_signals(stopping.set)
    after = -args.lines
    while True:
        behind, lines = ask(after)
        for line in lines:
            print(json.dumps(line, ensure_ascii=False) if args.jsonl else shown(line), flush=True)
        more, after = bool(lines), behind
        if not more and (not args.follow or stopping.wait(_FOLLOW_S)):
            return 0


def _metrics(status: dict[str, Any]) -> bytes:
    """Of all cameras under the names that their pages have, see `metrics.exposition`."""
    from irchroma.launch.fleet.reports import prometheus

    return bytes(prometheus().exposition(status.get("cameras", {}), status.get("nodes", {})))


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
        f" loads {figures['imbalance']['mean']:.2f} apart (mean), {figures['imbalance']['most']:.2f} at most",
        file=words_of(args.json),
    )
    return 0
