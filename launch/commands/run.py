"""`irchroma run`: color a stream or a file and send it to one or more sinks."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from irchroma.launch.config import to_toml
from irchroma.launch.measured import SHOWN
from irchroma.launch.run.cameras import cameras_toml, has_cameras, load_cameras
from irchroma.launch.run.control.rereading import Reread, reread_all
from irchroma.launch.run.feeds import run_cameras
from irchroma.launch.run.loading import load_ahead
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.monitoring.notices import ServiceNotices, idle_since
from irchroma.launch.run.outputs import places, require_outputs, require_recording, require_writable
from irchroma.launch.run.process import set_up, settle_threads, spared_pauses, stop_on_signals, tune_process
from irchroma.launch.run.settings import flags as run_flags
from irchroma.launch.run.settings.options import RunConfig, load, require
from irchroma.launch.run.settings.passwords import explanation, masked, revealed
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import SourceLost
from irchroma.stream.loop.loop import Loop
from irchroma.stream.remarks import remark, run_remarks

log = logging.getLogger(__name__)

EXAMPLE = """irchroma run night.mp4 --to color.mp4
  irchroma run 'rtsp://user:${PASSWORD}@camera/stream' --to rtsp://viewer:password@:8554/gate --engine nir
  irchroma run /dev/video0 --to http://:8080 --to recording.mp4 --keep-raw counts.mkv --osd
  irchroma run 'test:thermal?seconds=10' --to out.mp4 --engine palette:ironbow --view side
  irchroma run --config launch/cameras.toml    (several cameras: one [[cameras]] table for each)

source: a file, a folder of pictures, rtsp://.., http://.., srt://.., tcp://.., /dev/videoN,
        raw:FILE?size=WxH, test:nir, test:thermal
sinks:  file.mp4|.mkv|.webm, rtsp://:PORT/NAME, srt://.., hls:DIR, http://:PORT, /dev/videoN, window, null
rtsp://:PORT and http://:PORT serve this machine alone; rtsp://user:password@:PORT/NAME, --token: others too
${NAME} and ${file:PATH} stand for a password of the environment, of systemd's credentials, of a file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags; everything else is in the configuration file."""
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="what to color")
    parser.add_argument(
        "--to",
        action="append",
        metavar="SINK",
        help="where to send the picture; may be given several times; rtsp:// is a server on this machine,"
        " publish+rtsp:// (RECORD), whip+https:// and srt://HOST call one elsewhere",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; flags win over it")
    parser.add_argument(
        "--print-config", action="store_true", help="show the effective configuration and stop"
    )
    parser.add_argument("--log", choices=("text", "json"), default="text", help="how log lines are written")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only, no progress")
    run_flags.add_to(parser)


def run(args: argparse.Namespace) -> int:
    """Run until the source ends or a signal comes; 0 when everything was written."""
    return run_with(args, run_flags.settings(args))


def run_with(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    """The same with the settings of the flags, and others, by their dotted keys."""
    if args.source:
        settings["source"] = args.source
    if args.to:
        settings["to"] = args.to
    if has_cameras(args.config):
        return _run_cameras(args, settings)
    config = load(args.config, settings)
    if args.print_config:
        shown, left_out = masked(config)
        sys.stdout.write(explanation(left_out) + to_toml(shown))
        return 0
    asked = revealed(config)
    _require_runnable(asked, settings)
    tune_process()
    settle_threads(asked.neural.network.runtime, asked.neural.network.threads)
    set_up(args.log, logging.WARNING if args.quiet else logging.INFO)
    config, governor = asked, None
    if asked.auto or not asked.fixed:
        from irchroma.launch.run.automatic import prepare  # nothing that several cameras need

        config, governor = prepare(asked, args.config, settings)
    load_ahead(config)
    monitor = Monitor(config, args.quiet, governor)
    run_remarks.set(monitor.remarks)
    for text in run_flags.unused(settings, [asked]):
        remark(text)
    reread = Reread(asked, lambda: revealed(load(args.config, dict(settings)))) if args.config else None
    loop = monitor.loop = build_loop(config, stats=monitor.stats, governor=governor, reread=reread)
    told_to_stop = stop_on_signals(loop.stop, (lambda: reread_all([reread])) if reread else None)
    try:
        _turn(loop, monitor, told_to_stop)
    except SourceLost as error:
        if loop.frames or config.reconnect.wait_at_start:
            raise
        raise SourceLost(f"{error} (--wait waits until it is there)") from error
    monitor.require_clean()
    if not told_to_stop:
        return 0
    if lacking := loop.cut_short() if loop.frames else "":
        log.error("%s", lacking)
    return 128 + told_to_stop[0] if lacking or not loop.frames else 0


def _require_runnable(config: RunConfig, settings: dict[str, Any]) -> None:
    """Raise where the settings are known not to run, before anything is opened."""
    require(config)
    run_flags.require_used(settings, [config])
    require_recording(config)
    places(config)
    require_outputs(config)
    if config.output.stats != SHOWN:
        require_writable(config.output.stats, "--stats")


def _turn(loop: Loop, monitor: Monitor, told_to_stop: list[int]) -> None:
    """Color until the source ends or a signal comes, watched by the monitor and the service manager."""
    monitor.health.start()
    notices = ServiceNotices(lambda: idle_since(loop.turned_s), monitor.status)
    notices.start()
    failure: str | None = "unexpected end"
    try:
        with spared_pauses():
            loop.run(monitor.on_frame)
        failure = None
    except Exception as error:
        if told_to_stop and not loop.frames:
            failure = None  # it was still waiting for its source
        else:
            failure = str(error) or type(error).__name__
            raise
    finally:
        notices.stop()
        monitor.finish(failure)


def _run_cameras(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    config = load_cameras(args.config, settings)
    if args.print_config:
        cameras, left_out = [], []
        for camera in config.cameras:
            shown, secrets = masked(camera, camera.name)
            cameras.append(shown)
            left_out += secrets
        sys.stdout.write(explanation(left_out) + cameras_toml(replace(config, cameras=tuple(cameras))))
        return 0
    run_flags.require_used(settings, config.cameras)
    config = replace(config, cameras=tuple(revealed(camera, camera.name) for camera in config.cameras))
    tune_process()
    set_up(args.log, logging.WARNING if args.quiet else logging.INFO)
    for text in run_flags.unused(settings, config.cameras):
        remark(text)
    with spared_pauses():
        return run_cameras(config, quiet=args.quiet, again=lambda: load_cameras(args.config, settings))
