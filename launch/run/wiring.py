"""Builds what a run consists of from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.choice import (
    ColorizerOptions,
    DeviceWish,
    FailedRuntimes,
    check_colorizer,
    open_colorizer,
)
from irchroma.engines.network import ahead
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralColorizer
from irchroma.engines.palette.tables import PALETTES, palette_table
from irchroma.engines.reference.pictures import AUTO, load_references
from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.rereading import Reread
from irchroma.launch.run.control.run_control import RunControl
from irchroma.launch.run.evidence import EvidenceFacts, evidence_sink, make_recorder
from irchroma.launch.run.loading import remember
from irchroma.launch.run.monitoring.monitor import FlickerWatch
from irchroma.launch.run.outputs import pictures_stay, sink_options
from irchroma.launch.run.settings.options import (
    OutputOptions,
    RunConfig,
    band_of,
    whole_name,
    with_damage,
    with_engine,
    with_every_frame,
    with_scale,
    with_words,
)
from irchroma.launch.run.temperature.run_thermometer import Watches, thermometer_of
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import (
    Colorizer,
    Composer,
    FrameRepair,
    FrameSink,
    FrameSource,
    FrameWatch,
    VideoInfo,
)
from irchroma.stream.sensor import stripes
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.sensor.presets import find_profile
from irchroma.stream.sensor.profile import load_profile
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.evidence.recorder import EvidenceRecorder
from irchroma.stream.sinks.evidence.tracks import ColorTrack, RawTrack
from irchroma.stream.sinks.open_sink import (
    SinkOptions,
    open_sink,
    public,
    takes_planes,
    takes_sound,
)
from irchroma.stream.sources.gst_source import GstSource
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.pictures.picture_source import scale_of
from irchroma.stream.sources.rtsp_source import RtspSource
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.privacy import PrivacyMasks, PrivateComposer

if TYPE_CHECKING:
    from irchroma.launch.run.auto_reference import AutoReference, GivenReferences
    from irchroma.launch.run.automatic import Governor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What a camera has of a process with several.

    Attributes:
        name: the camera's, of its page; empty where the process has one.
        networks: gives networks that other cameras use too; None for networks of its own.
        threads: CPU threads of a network of its own, and of each encoder; 0 for their own choice.
    """

    name: str = ""
    networks: SharedPool | None = None
    threads: int = 0


def build_loop(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None = None,
    extra_sinks: dict[str, FrameSink] | None = None,
    shared: Shared | None = None,
    governor: Governor | None = None,
    reread: Reread | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        config: complete; `require` has been called on it.
        stats: what a page shows of the run.
        extra_sinks: label -> sink, beside those of the configuration.
        shared: what it has in common with the other cameras of the process, where there are some.
        reread: the configuration, where it may be read again while the run goes on.
        governor: opens neural engines, and changes their settings while the run goes on.

    Raises:
        StreamError, EngineError, ConfigError: with one clear line.
    """
    if config.auto and governor is None:
        raise ConfigError("auto settings are for a run of one camera: leave out auto (--auto)")
    camera = Camera(load_profile(find_profile(config.camera))) if config.camera else None
    config = with_damage(with_every_frame(with_words(config, camera)))
    own_scale = scale_of(Path(config.source), config.input.pictures.max_megapixels)
    config = with_scale(config, camera.profile.scale if camera is not None else own_scale)
    # A misspelled engine of a camera that is awaited would otherwise show when the camera comes.
    check_colorizer(config.engine, _colorizer_options(config, shared))
    source = open_source(config.source, config.input)
    hears = config.output.audio and isinstance(source, RtspSource) and any(map(takes_sound, config.to))
    sound = LiveSound() if hears else None
    composer = ViewComposer(config.view, config.osd, config.palette.gain, config.palette.offset)

    failed = FailedRuntimes()

    def choose(engine: str) -> Colorizer:
        chosen = with_engine(control.config, engine)
        info = loop.reader.info
        options = _colorizer_options(chosen, shared, failed, info)
        return attended(open_colorizer(chosen.engine, options))

    references = _references(config)
    auto = cast("AutoReference", references) if config.neural.reference == AUTO else None

    def attended(colorizer: Colorizer) -> Colorizer:
        if references is not None:
            references.attend(colorizer)
        return facts.opened(colorizer)

    masks = _privacy(config, camera)
    control = RunControl(config, composer, choose, references, masks)
    control.reread = reread.take if reread is not None else None
    thermometer = thermometer_of(config, shared.name if shared is not None else "")
    if thermometer is not None:
        control.thermometer, thermometer.on_change = thermometer, control.scale_changed
        composer.celsius_of = thermometer.celsius_of
    name, threads = (shared.name, shared.threads) if shared is not None else ("", 0)
    sinks = sink_options(config, stats, control, name, threads)
    sinks = replace(sinks, sound=sound, thermometer=thermometer)
    evidence = evidence_sink(config)
    recorder = make_recorder(config, evidence, sinks) if evidence is not None else None
    colors: Composer = composer
    if auto is not None and config.gather_references:
        from irchroma.launch.run.auto_reference import DayWatch

        colors = DayWatch(composer, auto)
    facts = EvidenceFacts(PrivateComposer(colors, masks, _own_palette(config)), recorder)
    shown: Composer = facts
    if auto is not None:
        from irchroma.launch.run.auto_reference import SceneWatch

        shown = SceneWatch(facts, auto)
    watch = FlickerWatch(shown)

    def make_colorizer(info: VideoInfo) -> Colorizer:
        control.engine_is(whole_name(config, info.counts))
        if info.counts and config.tone_map.stripes:
            stripes.prepare(info.size)
        colorizer = open_engine(config, info, governor, shared, failed)
        ahead.let_go()  # another engine, or a GPU, needs none of it
        if colorizer.synthetic:
            watch.prepare()
        if auto is not None:
            auto.waits = not info.live
        return attended(colorizer)

    writers = [_writer(text, sinks, recorder if text == evidence else None) for text in config.to]
    writers += [SinkWriter(sink, label) for label, sink in (extra_sinks or {}).items()]
    watches = _watches(config)
    if thermometer is not None:
        watches.append(thermometer)
    options = LoopOptions(
        config.tone_map,
        config.reconnect,
        config.repeat_s,
        config.color_camera,
        camera,
        watch=Watches(*watches),
        sound=sound,
        ended=auto.close if auto is not None else None,
        repair=_repair(config),
        mask=masks,
        whole_raw=config.privacy.raw == "whole",
    )
    raw = _raw_keeper(config.output, recorder)

    def remake() -> FrameSource:
        return _prepared(config, raw, sound, open_source(config.source, config.input))

    source = _prepared(config, raw, sound, source)
    loop = Loop(source, make_colorizer, watch, writers, options, raw, remake)
    control.loop = loop
    if reread is not None:
        reread.control = control
    return loop


def open_engine(
    config: RunConfig,
    info: VideoInfo,
    governor: Governor | None = None,
    shared: Shared | None = None,
    failed: FailedRuntimes | None = None,
) -> Colorizer:
    """The engine of a run for frames as `info` says, compiled; the next run has its network ahead.

    Raises:
        EngineError, ConfigError: it cannot be had.
    """
    from irchroma.launch.run.automatic import fitted  # nothing that palettes need

    options = _colorizer_options(config, shared, failed, info)
    engine = catalog.with_band(config.engine, band_of(config, info.counts))
    if config.engine == "auto":
        log.info("engine auto: %s, as the source gives %s", engine, "counts" if info.counts else "luma")
    colorizer = open_colorizer(engine, fitted(engine, config, info, options, governor))
    if isinstance(colorizer, NeuralColorizer):
        colorizer.prepare(info.size)
    elif isinstance(colorizer, AdjustableColorizer) and colorizer.first_network is not None:
        remember(config, *colorizer.first_network)
    return colorizer


def _watches(config: RunConfig) -> list[FrameWatch]:
    if config.output.collect is None:
        return []
    from irchroma.calibration.pairs import PairCollector

    return [PairCollector(config.output.collect)]


def _repair(config: RunConfig) -> FrameRepair | None:
    if not config.repair.mask:
        return None
    from irchroma.launch.run.repairing import RunRepair

    return RunRepair(config.repair, config.neural.network)


def _privacy(config: RunConfig, camera: Camera | None) -> PrivacyMasks:
    """The run's masks, none at first where it asks for none.

    Raises:
        ConfigError: its raw track could not be masked, and is not said to be whole.
    """
    output, raw = config.output, config.output.keep_raw is not None or config.output.evidence
    coded = output.keep_raw is not None and output.keep_raw_as == "bitstream"
    unpacked = raw and camera is not None and camera.unpacks
    if config.privacy.asked and config.privacy.raw == "masked" and (coded or unpacked):
        why = "what a camera sends coded" if coded else "frames in the layout of this camera"
        raise ConfigError(
            f'privacy: {why} cannot be masked in a raw track: keep none, or say raw = "whole" in [privacy]'
        )
    return PrivacyMasks(config.privacy)


def _own_palette(config: RunConfig) -> NDArray[np.uint8]:
    """(256, 1, 3) uint8, for where privacy allows a palette only: the run's, where it has a name."""
    name = config.palette.palette
    return palette_table(name if name in PALETTES else "ironbow").reshape(256, 1, 3)


def _references(config: RunConfig) -> AutoReference | GivenReferences | None:
    """The references of the run, which pages show; None where it has none."""
    path, strength = config.neural.reference, config.neural.reference_strength
    if path == AUTO:
        from irchroma.engines.retrieval.gathering import DayPictures
        from irchroma.engines.retrieval.library import ReferenceLibrary, default_folder
        from irchroma.launch.run.auto_reference import AutoReference, without_passers_by

        gathers = config.gather_references
        library = ReferenceLibrary(config.references or default_folder(), make=gathers)
        days = DayPictures(library, public(config.source), without_passers_by) if gathers else None
        return AutoReference(library, strength, gather=days)
    if config.gather_references:
        raise ConfigError("--gather-references is for --reference auto: add that")
    if config.references is not None:
        raise ConfigError("--references is the library of --reference auto: add that")
    if path is None:
        return None
    from irchroma.launch.run.auto_reference import GivenReferences

    return GivenReferences(load_references(path), strength)


def _writer(text: str, options: SinkOptions, recorder: EvidenceRecorder | None) -> SinkWriter:
    """Of one sink; a live run opens it again when it fails, a recording beside what it has recorded."""
    if recorder is not None:
        track = partial(ColorTrack, recorder, options.pool)
        return SinkWriter(track(), public(text), track)
    again = replace(options, overwrite=False)
    return SinkWriter(open_sink(text, options), public(text), partial(open_sink, text, again))


def _colorizer_options(
    config: RunConfig,
    shared: Shared | None,
    failed: FailedRuntimes | None = None,
    info: VideoInfo | None = None,
) -> ColorizerOptions:
    neural, pool = config.neural, None
    size = None
    if info is not None:
        size, neural = info.size, replace(neural, beside=config.beside and info.live, ahead=not info.live)
    if shared is not None:
        pool = shared.networks
        if pool is None and not neural.network.threads:
            neural = replace(neural, network=replace(neural.network, threads=shared.threads))
    if config.palette.gain is not None and neural.celsius is None:
        neural = replace(neural, celsius=(config.palette.gain, config.palette.offset))
    planes = encoders_only(config)
    stays = planes and info is not None and pictures_stay(config)
    wish = DeviceWish(size, pool, planes, stays, failed or FailedRuntimes())
    return ColorizerOptions(neural, config.palette, wish)


def _prepared(
    config: RunConfig, raw: RawKeeper | None, sound: LiveSound | None, source: FrameSource
) -> FrameSource:
    """The source, told what is to be had of it beside its frames."""
    if sound is not None and isinstance(source, RtspSource):
        source.want_sound()
    if raw is not None and raw.coded:
        if not isinstance(source, GstSource):
            raise ConfigError(
                f"--keep-raw-as bitstream: {public(config.source)} is no coded video:"
                " use --keep-raw-as frames"
            )
        source.give_units(raw.take)
    return source


def _raw_keeper(output: OutputOptions, recorder: EvidenceRecorder | None) -> RawKeeper | None:
    if recorder is not None:
        track = partial(RawTrack, recorder)
        return RawKeeper(SinkWriter(track(), f"{recorder.path} (untouched input)", track, patient=True))
    path = output.keep_raw
    if path is None:
        return None
    if path.suffix != ".mkv":
        raise ConfigError(f"--keep-raw {path}: expected a .mkv file, which can hold 16-bit counts")
    coded = output.keep_raw_as == "bitstream"
    options = SinkOptions(
        lossless=True,
        coded=coded,
        segment_s=output.segment_s,
        keep=output.keep(),
        overwrite=output.overwrite,
    )
    again = partial(open_sink, str(path), replace(options, overwrite=False))
    return RawKeeper(SinkWriter(open_sink(str(path), options), str(path), again, patient=True), coded)


def encoders_only(config: RunConfig) -> bool:
    """Whether the color as it is goes to encoders and to pages alone, which take I420 as a device packs it.

    A viewer who chooses another view on a page gets it all the same, from chroma of half the size, which is
    what an encoder would have left.
    """
    encoded = all(takes_planes(text) for text in config.to)
    return encoded and config.view.view == "color" and not config.osd.show
