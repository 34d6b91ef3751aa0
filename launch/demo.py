"""The demonstration: a source (synthetic cameras by default) beside its color, as video, sheet and table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.launch.arguments import OneLineParser
from irchroma.launch.config import ConfigError
from irchroma.launch.picture_files import contact_sheet
from irchroma.launch.run.automatic import prepare
from irchroma.launch.run.loading import load_ahead
from irchroma.launch.run.monitor import Monitor
from irchroma.launch.run.options import OutputOptions, RunConfig
from irchroma.launch.run.outputs import places
from irchroma.launch.run.process import left_with, spared_pauses, stop_on_signals, tune_process
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.errors import StreamError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.open_sink import public
from irchroma.stream.view.views import ViewOptions

DEFAULT_SOURCES = ("test:nir?seconds=8&live=1&ahead=1", "test:thermal?seconds=8&live=1&ahead=1")
_SHEET_ROWS = 3
_LATE = 0.5
"""Share of a drawn scene that may pass before its network is ready; what comes later shows little of it."""


class SampleSink:
    """Keeps a few pictures of a run, spread over its length.

    Attributes:
        samples: (H, W, 3) uint8 R'G'B', at most `2 * wanted`.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted, self._every, self._seen = wanted, 1, 0
        self.samples: list[NDArray[np.uint8]] = []
        self.drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Nothing to prepare."""

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        """Keep every n-th picture; n doubles whenever there are too many."""
        if self._seen % self._every == 0:
            self.samples.append(Picture.of(pixels).rgb)
            if len(self.samples) > 2 * self._wanted:
                self.samples = self.samples[::2]
                self._every *= 2
        self._seen += 1

    def close(self) -> None:
        """Nothing to let go of."""


def demonstrate(
    source: str, folder: Path, config: RunConfig
) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """Color one source side by side into `folder`; its statistics and some of its pictures."""
    stem = source.partition("?")[0].replace("test:", "")
    video = folder / f"{Path(stem).stem if '://' not in stem else 'stream'}.mp4"
    # A drawn scene's video takes the last one's place; of a camera each is kept.
    output = OutputOptions(audio=False, overwrite=source.startswith("test:"))
    config = replace(config, source=source, to=(str(video),), view=ViewOptions("side"), output=output)
    places(config)
    sampler = SampleSink(_SHEET_ROWS)
    load_ahead(config)
    config, governor = prepare(config, None, {})
    monitor = Monitor(config, False, governor)
    monitor.loop = build_loop(config, extra_sinks={"contact sheet": sampler}, governor=governor)
    stop_on_signals(monitor.loop.stop)
    print(f"demo: coloring {public(source)} into {video}")
    try:
        with spared_pauses():
            monitor.loop.run(monitor.on_frame)
    finally:
        monitor.finish()
    return monitor.stats(), sampler.samples


def without_color(stats: dict[str, Any]) -> float:
    """Share of a run's time, `[0, 1]`, before its network was ready; 0 where none had to be."""
    waited_s = (stats.get("auto") or {}).get("without_s", 0.0)
    return float(min(1.0, waited_s / stats["seconds"])) if stats["seconds"] else 0.0


def engine_of(stats: dict[str, Any]) -> str:
    """What colored, in words."""
    return str(stats["engine"] or "no color yet")


def main(argv: list[str] | None = None) -> int:
    """Color the named sources, or the synthetic ones, and say where the results lie."""
    parser = OneLineParser(prog="launch/demo", description="Color a source into out/demo.")
    parser.add_argument("source", nargs="*", metavar="SOURCE", help="what to color")
    parser.add_argument("--engine", default="auto", help="auto, nir, thermal, palette:ironbow ...")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="FOLDER")
    args = parser.parse_args(argv)
    tune_process()
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[list[tuple[str, NDArray[np.uint8]]]] = []
    table = []
    try:
        for source in args.source or DEFAULT_SOURCES:
            stats, samples = demonstrate(source, args.out, RunConfig(engine=args.engine))
            if source.startswith("test:") and without_color(stats) > _LATE:
                print("demo: its network had to be made ready first, which is done now: once more")
                stats, samples = demonstrate(source, args.out, RunConfig(engine=args.engine))
                if without_color(stats) > _LATE:
                    print("demo: color came late again: this machine is busy, or too slow for live video")
            table.append((public(source), stats))
            waited = without_color(stats)
            if waited:
                all_s = stats["seconds"]
                print(f"demo: its network was ready after {waited * all_s:.1f} of {all_s:.1f} s")
            # What went before shows nothing of the network; the video has it. Color fades in after it.
            for picture in spread_out(samples[int(len(samples) * waited) :] or samples, _SHEET_ROWS):
                half = picture.shape[1] // 2
                rows.append([("input", picture[:, :half]), (engine_of(stats), picture[:, half:])])
    except (StreamError, EngineError, ConfigError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    sheet = args.out / "contact_sheet.png"
    cv2.imwrite(str(sheet), cv2.cvtColor(contact_sheet(rows), cv2.COLOR_RGB2BGR))
    print(f"\n{'source':32} {'engine':32} {'frames':>6} {'fps':>6} {'latency p50':>12} {'p99':>9}")
    for source, stats in table:
        total = next(iter(stats["sinks"].values()))["capture_to_encoder"]
        print(
            f"{source.partition('?')[0][:32]:32} {engine_of(stats)[:32]:32}"
            f" {stats['frames']:6} {stats['frames_per_second']:6.1f}"
            f" {total['p50_ms']:9.1f} ms {total['p99_ms']:6.1f} ms"
        )
    print(f"\nvideos and contact sheet: {args.out}/ (look at {sheet})")
    return 0


def spread_out(samples: list[NDArray[np.uint8]], wanted: int) -> list[NDArray[np.uint8]]:
    """At most `wanted` of the samples, evenly spread, without the very first where there are others."""
    if len(samples) <= wanted:
        return samples
    places = np.linspace(len(samples) / (2 * wanted), len(samples) - 1, wanted)
    return [samples[int(place)] for place in places]


if __name__ == "__main__":
    sys.exit(left_with(main()))
