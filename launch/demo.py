"""The demonstration: a source (synthetic cameras by default) beside its color, as video, sheet and table."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.network.eight_bit.twins import settled, weights_for
from irchroma.launch.arguments import OneLineParser
from irchroma.launch.config import ConfigError
from irchroma.launch.run.automatic import prepare
from irchroma.launch.run.engines import open_engine
from irchroma.launch.run.loading import load_ahead, remembers
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.outputs import places
from irchroma.launch.run.process import left_with, set_up, spared_pauses, stop_on_signals, tune_process
from irchroma.launch.run.settings.options import OutputOptions, RunConfig, whole_name
from irchroma.launch.run.wiring import build_loop
from irchroma.launch.stills.picture_files import contact_sheet
from irchroma.stream.errors import StreamError
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.open_sink import public
from irchroma.stream.synthetic.options import parse_test_address
from irchroma.stream.synthetic.source import info_of
from irchroma.stream.view.views import ViewOptions

T = TypeVar("T")

DEFAULT_SOURCES = ("test:nir?seconds=8&live=1&ahead=1", "test:thermal?seconds=8&live=1&ahead=1")
_SHEET_ROWS = 3
_KEPT = 8 * _SHEET_ROWS
_READY_S = 300.0
"""From then on a machine that is not measured is shown as it is: it hangs, or has no time."""
_LATE = 0.5
"""Share of a drawn scene that may pass before its color is there; what comes later shows little of it."""
_WHOLE = 0.9
"""Share of its usual color from which a picture stands on the sheet, where it fades in."""
_EVERY_PX = 16
"""Of which every so many rows and columns are looked at for color."""
_COLORED = 1.0
"""Mean distance of the largest from the smallest of R', G', B', in codes, below which nothing is colored."""


class SampleSink:
    """Keeps a few pictures of a run, spread over its length, and sees when color is there.

    Attributes:
        samples: number of the picture, from 0, and the picture; at most `2 * _KEPT`.
        colors: of every picture so far, how colorful its right half is, and when it came, `time.monotonic`.
        keeps_all: it looks at every picture, however late.
    """

    keeps_all = True

    def __init__(self) -> None:
        self._every = 1
        self.samples: list[tuple[int, Picture]] = []
        self.colors: list[tuple[float, float]] = []
        self.drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Nothing to prepare."""

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        """Keep every n-th picture; n doubles whenever there are too many."""
        picture, number = Picture.of(pixels), len(self.colors)
        part = picture.sampled(_EVERY_PX, _EVERY_PX)
        right = part[:, part.shape[1] // 2 :].astype(np.int16)
        self.colors.append((float(np.ptp(right, axis=2).mean()), time.monotonic()))
        if number % self._every == 0:
            self.samples.append((number, picture))
            if len(self.samples) > 2 * _KEPT:
                self.samples = self.samples[::2]
                self._every *= 2

    def first_colored(self, share: float = 0.5) -> int | None:
        """Number of the first picture with a share of the color of the run's second half; None for none.

        By default a picture that has faded in to half counts, and a trace does not.
        """
        colors = np.array([color for color, _ in self.colors])
        usual = float(np.median(colors[len(colors) // 2 :])) if len(colors) else 0.0
        return int(np.argmax(colors >= share * usual)) if usual >= _COLORED else None

    def close(self) -> None:
        """Nothing to let go of."""


class KeptLatencies(LatencyMeter):
    """Remembers each duration too.

    Attributes:
        each: when it was counted, `time.monotonic`, and the duration in nanoseconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.each: list[tuple[float, int]] = []

    def add(self, duration_ns: int) -> None:
        self.each.append((time.monotonic(), duration_ns))
        super().add(duration_ns)


@dataclass(frozen=True, slots=True)
class Shown:
    """One source's demonstration.

    Attributes:
        stats: of the run.
        pictures: (H, W, 3) uint8 R'G'B', some, spread over the time in which there was color.
        first: number of the first colored picture; None for none.
        color_s: seconds from the beginning, with all that was made ready, until that.
        rate_hz: pictures a second from the first colored one on; of all where there is none.
        latencies_ms: the same pictures' times from their arrival until the encoder takes them, milliseconds.
        stopped: by Ctrl-C or the like, before its end.
    """

    stats: dict[str, Any]
    pictures: list[NDArray[np.uint8]]
    first: int | None
    color_s: float
    rate_hz: float = 0.0
    latencies_ms: tuple[float, ...] = ()
    stopped: bool = False

    @property
    def without(self) -> float:
        """Share of the run's pictures before there was color, `[0, 1]`; 0 where no network was to color."""
        if self.first is None:
            return 1.0 if self.stats["auto"] else 0.0
        return self.first / max(1, int(self.stats["frames"]))


def demonstrate(source: str, folder: Path, config: RunConfig) -> Shown:
    """Color one source side by side into `folder`."""
    begin_s = time.monotonic()
    stem = source.partition("?")[0].replace("test:", "")
    video = folder / f"{Path(stem).stem if '://' not in stem else 'stream'}.mp4"
    # A drawn scene's video takes the last one's place; of a camera each is kept.
    output = OutputOptions(audio=False, overwrite=source.startswith("test:"))
    config = replace(config, source=source, to=(str(video),), view=ViewOptions("side"), output=output)
    places(config)
    sampler = SampleSink()
    if source.startswith("test:"):
        make_ready(config)
    load_ahead(config)
    config, governor = prepare(config, None, {})
    monitor = Monitor(config, False, governor)
    monitor.loop = build_loop(config, extra_sinks={"contact sheet": sampler}, governor=governor)
    monitor.loop.writers[0].total = latencies = KeptLatencies()
    stopped = stop_on_signals(monitor.loop.stop)
    print(f"demo: coloring {public(source)} into {video}")
    try:
        with spared_pauses():
            monitor.loop.run(monitor.on_frame)
    finally:
        monitor.finish()
    first = sampler.first_colored()
    times = [at_s for _, at_s in sampler.colors[first or 0 :]]
    from_s = times[0] if times else begin_s
    whole = sampler.first_colored(_WHOLE) or 0
    pictures = [picture for number, picture in sampler.samples if number >= whole]
    return Shown(
        monitor.stats(),
        [one.rgb for one in spread_out(pictures, _SHEET_ROWS)],
        first,
        from_s - begin_s if first is not None else 0.0,
        (len(times) - 1) / (times[-1] - from_s) if len(times) > 1 else 0.0,
        tuple(duration_ns / 1e6 for at_s, duration_ns in latencies.each if not first or at_s >= from_s),
        bool(stopped),
    )


def make_ready(config: RunConfig) -> None:
    """What a first run on a machine does beside its frames is done before a drawn scene begins to move.

    Whether 8 bits are faster and how fast the machine is are measured, and the network is compiled. Five
    minutes are waited for that.
    """
    info = info_of(parse_test_address(config.source))
    config, governor = prepare(config, None, {})
    engine = whole_name(config, info.counts)
    network, kind = config.neural.network, catalog.parse(engine).kind
    if governor is None or not info.live or network.cache is None or kind not in catalog.BANDS:
        return  # nothing is measured, or nothing remembered
    fast = catalog.SIZES[0]
    if remembers(config) and settled(kind, fast, network):
        return
    print(f"demo: measuring this machine with {kind} and compiling, which is remembered")
    weights_for(kind, fast, network)
    governor.patience_s = _READY_S
    open_engine(config, info, governor).close()


def name_of(source: str) -> str:
    """What the table calls a source: a file by its name alone, an address without password and switches."""
    return public(source).partition("?")[0] if ":" in source else Path(source).name


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
    set_up("text", logging.WARNING)
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[list[tuple[str, NDArray[np.uint8]]]] = []
    table = []
    try:
        for source in args.source or DEFAULT_SOURCES:
            shown = demonstrate(source, args.out, RunConfig(engine=args.engine))
            if source.startswith("test:") and shown.without > _LATE and not shown.stopped:
                print("demo: its network had to be made ready first, which is done now: once more")
                shown = demonstrate(source, args.out, RunConfig(engine=args.engine))
                if shown.without > _LATE:
                    print("demo: color came late again: this machine is busy, or too slow for live video")
            table.append((name_of(source), shown))
            if (
                args.engine == "auto"
                and not source.startswith("test:")
                and engine_of(shown.stats)[:3] == "nir"
            ):
                print(
                    f"demo: {name_of(source)} was taken for near infrared; for thermal add --engine thermal"
                )
            if shown.first:
                print(
                    f"demo: {shown.first} of {shown.stats['frames']} pictures went out before color was there"
                )
            for picture in shown.pictures:
                half = picture.shape[1] // 2
                rows.append([("input", picture[:, :half]), (engine_of(shown.stats), picture[:, half:])])
            if shown.stopped:
                break
    except (StreamError, EngineError, ConfigError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    sheet = args.out / "contact_sheet.png"
    cv2.imwrite(str(sheet), cv2.cvtColor(contact_sheet(rows), cv2.COLOR_RGB2BGR))
    print(
        f"\n{'source':20} {'engine':32} {'frames':>6} {'fps':>6}"
        f" {'latency p50':>12} {'p99':>9} {'color after':>12}"
    )
    for source, shown in table:
        p50_ms, p99_ms = np.percentile(shown.latencies_ms or (0.0,), (50, 99))
        print(
            f"{source[:20]:20} {engine_of(shown.stats)[:32]:32}"
            f" {shown.stats['frames']:6} {shown.rate_hz:6.1f} {p50_ms:9.1f} ms {p99_ms:6.1f} ms"
            f" {f'{shown.color_s:.1f} s' if shown.first is not None else '-':>12}"
        )
    print("fps and latency: from the first colored picture on; color after: from the beginning of its run,")
    print("what is measured, compiled and drawn included")
    print(f"\nvideos and contact sheet: {args.out}/ (look at {sheet})")
    return 0


def spread_out(samples: Sequence[T], wanted: int) -> list[T]:
    """At most `wanted` of the samples, evenly spread from the first to the last."""
    places = np.linspace(0, len(samples) - 1, min(wanted, len(samples)))
    return [samples[int(place)] for place in places]


if __name__ == "__main__":
    sys.exit(left_with(main()))
