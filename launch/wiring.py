"""Builds what a run consists of from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from irchroma.calibration.camera_presets import find_profile
from irchroma.engines import catalog
from irchroma.engines.device_choice import open_neural
from irchroma.engines.gray import GrayColorizer
from irchroma.engines.palette import PaletteColorizer
from irchroma.engines.palette_options import palette_from_name
from irchroma.launch.config import ConfigError
from irchroma.launch.flicker_watch import FlickerWatch
from irchroma.launch.run_config import RunConfig
from irchroma.stream.camera import Camera
from irchroma.stream.camera_profile import load_profile
from irchroma.stream.compose import ViewComposer
from irchroma.stream.loop import Loop, LoopOptions
from irchroma.stream.protocols import Colorizer, FrameSink, VideoInfo
from irchroma.stream.sinks.sink_uri import SinkOptions, open_sink, public
from irchroma.stream.sources.source_uri import open_source
from irchroma.stream.writer import SinkWriter

log = logging.getLogger(__name__)


def build_loop(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None = None,
    extra_sinks: dict[str, FrameSink] | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        config: complete; `require` has been called on it.
        stats: what a page shows of the run.
        extra_sinks: label -> sink, beside those of the configuration.

    Raises:
        StreamError, EngineError, ConfigError: with one clear line.
    """
    camera = Camera(load_profile(find_profile(config.camera))) if config.camera else None
    config = with_scale(config, camera)
    source = open_source(config.source, config.input)
    output = config.output
    sink_options = SinkOptions(
        encoder=output.encoder,
        audio_from=Path(config.source) if output.audio and Path(config.source).is_file() else None,
        segment_s=output.segment_s,
        keep_segments=output.keep_segments,
        hls_segment_s=output.hls_segment_s,
        hls_keep=output.hls_keep,
        title=public(config.source),
        stats=stats,
    )
    sinks = {public(text): open_sink(text, sink_options) for text in config.to} | (extra_sinks or {})
    writers = [SinkWriter(sink, label) for label, sink in sinks.items()]
    raw_writer = None
    if output.keep_raw is not None:
        if output.keep_raw.suffix != ".mkv":
            raise ConfigError(
                f"--keep-raw {output.keep_raw}: expected a .mkv file, which can hold 16-bit counts"
            )
        raw_sink = open_sink(str(output.keep_raw), SinkOptions(lossless=True))
        raw_writer = SinkWriter(raw_sink, str(output.keep_raw))
    options = LoopOptions(config.tone_map, config.reconnect, config.repeat_s, config.color_camera, camera)

    composer = FlickerWatch(ViewComposer(config.view, config.osd, config.palette.gain, config.palette.offset))

    def make_colorizer(info: VideoInfo) -> Colorizer:
        return open_colorizer(config, counts=info.counts)

    return Loop(source, make_colorizer, composer, writers, options, raw_writer)


def with_scale(config: RunConfig, camera: Camera | None) -> RunConfig:
    """The configuration with the camera's degrees for each count, unless it gives its own."""
    scale = camera.profile.scale if camera is not None else None
    if scale is None or config.palette.gain is not None:
        return config
    palette = replace(config.palette, gain=1 / scale.per_kelvin, offset=scale.offset_celsius)
    return replace(config, palette=palette)


def open_colorizer(config: RunConfig, counts: bool) -> Colorizer:
    """The engine that the configuration names; `auto` is `thermal` for counts and `nir` for luma.

    Raises:
        EngineError: there is no such engine, or it does not work here.
    """
    text = config.engine
    if text == "auto":
        band = "thermal" if counts or config.source.startswith("test:thermal") else "nir"
        log.info("engine auto: %s, since the source gives %s", band, "counts" if counts else "luma")
        text = band
    name = catalog.parse(text)
    if config.neural.reference is not None and name.kind not in catalog.BANDS:
        raise ConfigError(f"--reference steers the color of nir and thermal, not {text}")
    if name.kind == "gray":
        return GrayColorizer()
    if name.kind == "palette":
        options = config.palette
        if name.variant is not None:
            options = palette_from_name(text, gain=options.gain, offset=options.offset)
        return PaletteColorizer(options)
    return open_neural(replace(config.neural, engine=name.kind, size=name.variant or config.neural.size))
