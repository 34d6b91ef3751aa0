"""Builds what a run consists of from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.choice import device_index, open_neural
from irchroma.engines.gpu.pool import DevicePool
from irchroma.engines.network.record import read_record, require_match
from irchroma.engines.network.sharing import NetworkPool
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.palette.colorizer import PaletteColorizer
from irchroma.engines.palette.gray import GrayColorizer
from irchroma.engines.palette.options import palette_from_name
from irchroma.engines.reference.pictures import load_references
from irchroma.launch.config import ConfigError
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.control import RunControl
from irchroma.launch.run.flicker_watch import FlickerWatch
from irchroma.launch.run.options import OutputOptions, RunConfig, band_of, whole_name, with_engine, with_scale
from irchroma.launch.run.outputs import source_file
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import Colorizer, FrameSink, VideoInfo
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.sensor.presets import find_profile
from irchroma.stream.sensor.profile import load_profile
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink, public, takes_planes
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.view.composer import ViewComposer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a camera has of a process with several.

    Attributes:
        name: the camera's, of its page; empty where the process has one.
        networks: gives networks that other cameras use too; None for networks of its own.
        devices: the same for networks on a GPU.
        threads: CPU threads of a network of its own, and of each encoder; 0 for their own choice.
    """

    name: str = ""
    networks: NetworkPool | None = None
    devices: DevicePool | None = None
    threads: int = 0


def build_loop(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None = None,
    extra_sinks: dict[str, FrameSink] | None = None,
    shared: Shared | None = None,
    governor: Governor | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        config: complete; `require` has been called on it.
        stats: what a page shows of the run.
        extra_sinks: label -> sink, beside those of the configuration.
        shared: what it has in common with the other cameras of the process, where there are some.
        governor: opens neural engines, and changes their settings while the run goes on.

    Raises:
        StreamError, EngineError, ConfigError: with one clear line.
    """
    if config.auto and governor is None:
        raise ConfigError("auto settings are for a run of one camera: leave out auto (--auto)")
    camera = Camera(load_profile(find_profile(config.camera))) if config.camera else None
    config = with_scale(config, camera)
    _check_engine(config)
    source = open_source(config.source, config.input)
    composer = ViewComposer(config.view, config.osd, config.palette.gain, config.palette.offset)

    def choose(engine: str) -> Colorizer:
        assert loop.reader.info is not None  # there are no viewers before
        return open_colorizer(with_engine(config, engine), loop.reader.info.counts, shared)

    control = RunControl(config.engine, composer, choose)
    watch = FlickerWatch(composer)

    def make_colorizer(info: VideoInfo) -> Colorizer:
        control.engine_is(whole_name(config, info.counts))
        if governor is not None:
            governor.expect(info.size)
        colorizer = open_colorizer(config, info.counts, shared, governor, info.size)
        if isinstance(colorizer, NeuralColorizer):
            colorizer.prepare(info.size)
        if colorizer.synthetic:
            watch.prepare()
        return colorizer

    sink_options = _sink_options(config, stats, control, shared)
    sinks = {public(text): open_sink(text, sink_options) for text in config.to} | (extra_sinks or {})
    writers = [SinkWriter(sink, label) for label, sink in sinks.items()]
    options = LoopOptions(config.tone_map, config.reconnect, config.repeat_s, config.color_camera, camera)
    raw_writer = _raw_writer(config.output)
    loop = Loop(source, make_colorizer, watch, writers, options, raw_writer)
    control.loop = loop
    return loop


def _sink_options(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None,
    control: RunControl,
    shared: Shared | None,
) -> SinkOptions:
    output, encoder, name = config.output, config.output.encoder, ""
    if shared is not None:
        name, encoder = shared.name, replace(encoder, threads=encoder.threads or shared.threads)
    return SinkOptions(
        encoder=encoder,
        audio_from=_audio_file(config.source) if output.audio else None,
        segment_s=output.segment_s,
        keep_segments=output.keep_segments,
        hls_segment_s=output.hls_segment_s,
        hls_keep=output.hls_keep,
        title=name or public(config.source),
        stats=stats,
        control=control if output.page_control else None,
        page=name,
    )


def _audio_file(source: str) -> Path | None:
    file = source_file(source) if not source.startswith("raw:") else None
    return file if file is not None and file.is_file() else None


def _raw_writer(output: OutputOptions) -> SinkWriter | None:
    path = output.keep_raw
    if path is None:
        return None
    if path.suffix != ".mkv":
        raise ConfigError(f"--keep-raw {path}: expected a .mkv file, which can hold 16-bit counts")
    options = SinkOptions(lossless=True, segment_s=output.segment_s, keep_segments=output.keep_segments)
    return SinkWriter(open_sink(str(path), options), str(path))


def _check_engine(config: RunConfig) -> None:
    """Raise what `open_colorizer` would of options that cannot be, before any source is asked.

    Otherwise a misspelled engine of a camera that is awaited would show when the camera comes.
    """
    name = catalog.parse("nir" if config.engine == "auto" else config.engine)
    if name.kind == "palette":
        open_colorizer(config, counts=False).close()
    if not name.neural:
        return
    if config.neural.weights is not None:
        read_record(config.neural.weights)
    if config.neural.reference is not None:
        load_references(config.neural.reference)
    device_index(config.neural.network.device)


def open_colorizer(
    config: RunConfig,
    counts: bool,
    shared: Shared | None = None,
    governor: Governor | None = None,
    size: tuple[int, int] | None = None,
) -> Colorizer:
    """The engine that the configuration names; `auto` is `thermal` for counts and `nir` for luma.

    A GPU is prepared for frames of `size` (H, W), where that is known.

    Raises:
        EngineError: there is no such engine, or it does not work here.
    """
    text = config.engine
    if text == "auto":
        text = band_of(config, counts)
        log.info("engine auto: %s, since the source gives %s", text, "counts" if counts else "luma")
    name = catalog.parse(text)
    if config.neural.reference is not None and name.kind not in catalog.BANDS:
        raise ConfigError(f"--reference steers the color of nir and thermal, not {text}")
    if config.neural.weights is not None:
        if not name.neural:
            raise ConfigError(f"--weights is a network for nir or thermal, not {text}")
        require_match(config.neural.weights, name.kind, name.variant)
    if name.kind == "gray":
        return GrayColorizer()
    if name.kind == "palette":
        options = config.palette
        if name.variant is not None:
            options = palette_from_name(text, gain=options.gain, offset=options.offset)
        return PaletteColorizer(options)
    neural = replace(config.neural, engine=name.kind, size=name.variant or config.neural.size)
    if governor is not None:
        if neural.network.device not in ("auto", "cpu"):
            raise ConfigError(f"--auto governs the CPU: --device {neural.network.device} contradicts it")
        return governor.open(neural)
    if shared is not None and shared.networks is not None:
        on_cpu = partial(NeuralColorizer, opener=shared.networks.open)
        return open_neural(neural, on_cpu, size, shared.devices, packs=encoders_only(config))
    if shared is not None and not neural.network.threads:
        neural = replace(neural, network=replace(neural.network, threads=shared.threads))
    return open_neural(neural, size=size, packs=encoders_only(config))


def encoders_only(config: RunConfig) -> bool:
    """Whether the color as it is goes to encoders and to pages alone, which take I420 as the device packs it.

    A viewer who chooses another view on a page gets it all the same, from chroma of half the size, which is
    what an encoder would have left.
    """
    encoded = all(takes_planes(text) for text in config.to)
    return encoded and config.view.view == "color" and not config.osd.show
