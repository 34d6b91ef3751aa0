"""`irchroma bench element`: what the element costs beside the engine, and beside a pipeline without it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.launch.arguments import size_of
from irchroma.launch.config import ConfigError
from irchroma.launch.gstreamer.element import BufferColorizer, ElementOptions, element_class
from irchroma.launch.measured import spread, write_json
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import caps_of

EXAMPLE = "irchroma bench element --engine palette:ironbow --engine nir --json element.json"

_WARM_FRAMES = 10
_WAIT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--engine", action="append", metavar="E", help="palette:ironbow and nir, unless others are named")
    add("--size", type=size_of, default=(512, 640), metavar="WxH", help="of the frames (default 640x512)")
    add("--frames", type=int, default=60, help="of each measurement (default 60)")
    add("--repeats", type=int, default=5, help="rounds, in which all are measured in turn (default 5)")


def run(args: argparse.Namespace) -> int:
    """Measure in rounds: a plain pipeline, the element, the same engine called directly."""
    if args.repeats < 1 or args.frames < 1:
        raise ConfigError("--repeats and --frames: expected 1 or more")
    register()
    engines = args.engine or ["palette:ironbow", "nir"]
    plain: list[float] = []
    through: dict[str, list[float]] = {engine: [] for engine in engines}
    direct: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(args.repeats):
        plain.append(_pipeline_ms("identity", args.size, args.frames, "GRAY8"))
        for engine in engines:
            through[engine].append(_pipeline_ms(f"irchroma engine={engine}", args.size, args.frames))
            direct[engine].append(_direct_ms(engine, args.size, args.frames))
    results: dict[str, Any] = {
        "bench": "element",
        "size": list(args.size),
        "frames": args.frames,
        "plain_pipeline_ms": spread(plain),
        "engines": {},
    }
    for engine in engines:
        extra = [t - d - p for t, d, p in zip(through[engine], direct[engine], plain, strict=True)]
        told = results["engines"][engine] = {
            "element_ms": spread(through[engine]),
            "engine_alone_ms": spread(direct[engine]),
            "overhead_ms": spread(extra),
        }
        print(
            f"{engine}: {told['element_ms']['median']:.2f} ms a frame in a pipeline,"
            f" {told['engine_alone_ms']['median']:.2f} ms alone,"
            f" {results['plain_pipeline_ms']['median']:.2f} ms the pipeline without it:"
            f" overhead {told['overhead_ms']['median']:.2f} ms"
        )
    write_json(args.json, results)
    return 0


def register() -> None:
    """Make the element known to this process's pipelines, wherever GStreamer looks for it.

    Raises:
        StreamError: GStreamer takes it not.
    """
    gst = door.modules()["Gst"]
    if gst.ElementFactory.find("irchroma") is None and not gst.Element.register(
        None, "irchroma", 0, element_class()
    ):
        raise StreamError("GStreamer did not take the element irchroma")


def _pipeline_ms(middle: str, size: tuple[int, int], frames: int, given: str = "RGB") -> float:
    """Milliseconds a frame, once it runs."""
    caps = f"video/x-raw,format=GRAY8,width={size[1]},height={size[0]},framerate=30/1"
    source = f"videotestsrc pattern=ball num-buffers={frames + _WARM_FRAMES} ! {caps}"
    pipeline = Pipeline(
        f"{source} ! {middle} ! video/x-raw,format={given} ! appsink name=out sync=false max-buffers=1"
    )
    pipeline.start()
    try:
        for number in range(_WARM_FRAMES + frames):
            if pipeline.pull("out", _WAIT_S) is None:
                raise StreamError(f"{middle}: no frame within {_WAIT_S:g} s")
            if number == _WARM_FRAMES - 1:
                begin_s = time.perf_counter()
        return (time.perf_counter() - begin_s) / frames * 1e3
    finally:
        pipeline.stop()


def _direct_ms(engine: str, size: tuple[int, int], frames: int) -> float:
    """The same engine on the same kind of frames, without a pipeline."""
    text = "video/x-raw,format={},width=" + f"{size[1]},height={size[0]},framerate=30/1"
    gst = door.modules()["Gst"]
    taken, given = (caps_of(gst.Caps.from_string(text.format(name))) for name in ("GRAY8", "RGB"))
    colorizer = BufferColorizer(ElementOptions(engine), taken, given)
    picture = np.zeros((size[0], taken.strides[0]), np.uint8)
    try:
        for number in range(_WARM_FRAMES + frames):
            if number == _WARM_FRAMES:
                begin_s = time.perf_counter()
            at = number * 4 % (size[1] - 40)
            picture[:] = 0
            picture[100:140, at : at + 40] = 255
            colorizer.color(picture.reshape(-1), number * 33_333_333)
        return (time.perf_counter() - begin_s) / frames * 1e3
    finally:
        colorizer.close()
