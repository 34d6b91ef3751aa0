"""Builds what a run consists of from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.choice import check_colorizer
from irchroma.engines.palette.tables import palette_table
from irchroma.launch.config import ConfigError
from irchroma.launch.run.control.rereading import Reread
from irchroma.launch.run.control.run_control import RunControl
from irchroma.launch.run.engines import ALONE, RunEngines, Shared, colorizer_options, references_of
from irchroma.launch.run.evidence import EvidenceFacts, evidence_sink, make_recorder
from irchroma.launch.run.monitoring.monitor import BandDoubt, FlickerWatch
from irchroma.launch.run.outputs import sink_options
from irchroma.launch.run.settings.options import (
    OutputOptions,
    RunConfig,
    with_damage,
    with_every_frame,
    with_scale,
    with_words,
)
from irchroma.launch.run.temperature.run_thermometer import Watches, thermometer_of
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import FrameRepair, FrameSink, FrameSource, FrameWatch
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.sensor.presets import find_profile
from irchroma.stream.sensor.profile import load_profile
from irchroma.stream.sinks.encoding.sound import LiveSound
from irchroma.stream.sinks.evidence.recorder import EvidenceRecorder
from irchroma.stream.sinks.evidence.tracks import ColorTrack, RawTrack
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink, public, takes_sound
from irchroma.stream.sources.gst_source import GstSource
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.pictures.picture_source import scale_of
from irchroma.stream.sources.rtsp_source import RtspSource
from irchroma.stream.view.cards import for_viewers
from irchroma.stream.view.composer import ViewComposer
from irchroma.stream.view.privacy import PrivacyMasks, PrivateComposer

if TYPE_CHECKING:
    from irchroma.launch.run.automatic import Governor


def build_loop(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None = None,
    extra_sinks: dict[str, FrameSink] | None = None,
    shared: Shared = ALONE,
    governor: Governor | None = None,
    reread: Reread | None = None,
) -> Loop:
    """A loop that is ready to run.

    Args:
        config: complete; `require` has been called on it.
        stats: what a page shows of the run.
        extra_sinks: label -> sink, beside those of the configuration.
        shared: what it has in common with the other cameras of the process, where there are some.
        governor: opens neural engines, and changes their settings while the run goes on.
        reread: the configuration, where it may be read again while the run goes on.

    Raises:
        StreamError, EngineError, ConfigError: with one clear line.
    """
    if config.auto and governor is None:
        raise ConfigError("auto settings are for a run of one camera: leave out auto (--auto)")
    camera = Camera(load_profile(find_profile(config.camera))) if config.camera else None
    config = _completed(config, camera)
    # A misspelled engine of a camera that is awaited would otherwise show when the camera comes.
    check_colorizer(config.engine, colorizer_options(config, shared))
    source = open_source(config.source, config.input)
    sound = _sound(config, source)
    composer = ViewComposer(config.view, config.osd, config.palette.gain, config.palette.offset)
    composer.name = shared.name
    engines = RunEngines(config, shared, governor, references_of(config))
    masks = _privacy(config, camera)
    control = engines.control = RunControl(config, composer, engines.choose, engines.references, masks)
    composer.scale_of, composer.is_timed = control.color_scale, lambda: not control.is_recording
    control.reread = reread.take if reread is not None else None
    thermometer = thermometer_of(config, shared.name)
    if thermometer is not None:
        control.thermometer, thermometer.on_change = thermometer, control.scale_changed
        composer.celsius_of = thermometer.celsius_of

    def told() -> dict[str, Any]:
        known = stats() if stats is not None else {}
        if known.get("reason"):
            known["reason"] = for_viewers(known["reason"])
        sent = {"view": composer.view.view, "wipe": composer.view.wipe}
        shown = {"sent": sent, "scale": control.scale, "ends": control.ends}
        return {**known, "latency_ms": control.latency_ms, **shown}

    sinks = sink_options(config, told, control, shared.name, shared.threads)
    sinks = replace(sinks, sound=sound, thermometer=thermometer)
    evidence = evidence_sink(config)
    recorder = make_recorder(config, evidence, sinks) if evidence is not None else None
    engines.facts = EvidenceFacts(
        PrivateComposer(engines.by_day(composer), masks, _own_palette(config)), recorder
    )
    seen = engines.by_scene(engines.facts)
    thermal = catalog.with_band(config.engine, "thermal")
    assumed = config.engine in ("auto", catalog.REFERENCE.name)  # the band
    engines.watch = FlickerWatch(BandDoubt(seen, thermal) if assumed else seen)
    writers = [_writer(text, sinks, recorder if text == evidence else None) for text in config.to]
    writers += [SinkWriter(sink, label) for label, sink in (extra_sinks or {}).items()]
    watches = _watches(config) + ([thermometer] if thermometer is not None else [])
    options = LoopOptions(
        config.tone_map,
        config.reconnect,
        config.repeat_s,
        config.color_camera,
        camera,
        watch=Watches(*watches),
        sound=sound,
        ended=engines.auto.close if engines.auto is not None else None,
        repair=_repair(config),
        mask=masks,
        whole_raw=config.privacy.raw == "whole",
    )
    raw = _raw_keeper(config.output, recorder)

    def remake() -> FrameSource:
        return _prepared(config, raw, sound, open_source(config.source, config.input))

    source = _prepared(config, raw, sound, source)
    loop = engines.loop = Loop(source, engines.make, engines.watch, writers, options, raw, remake)
    control.loop = loop
    if reread is not None:
        reread.control = control
    return loop


def _completed(config: RunConfig, camera: Camera | None) -> RunConfig:
    """The configuration with what its parts ask of one another, and the scale of its counts."""
    config = with_damage(with_every_frame(with_words(config, camera)))
    own_scale = scale_of(Path(config.source), config.input.pictures.max_megapixels)
    return with_scale(config, camera.profile.scale if camera is not None else own_scale)


def _sound(config: RunConfig, source: FrameSource) -> LiveSound | None:
    """A live source's sound, where it is asked for and something takes it."""
    if not config.output.audio or not isinstance(source, RtspSource):
        return None
    return LiveSound() if any(map(takes_sound, config.to)) else None


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
    return palette_table(name if name in catalog.PALETTES else "ironbow").reshape(256, 1, 3)


def _writer(text: str, options: SinkOptions, recorder: EvidenceRecorder | None) -> SinkWriter:
    """The writer of one sink. A live run opens the sink again when it fails, a recording under a new name."""
    if recorder is not None:
        track = partial(ColorTrack, recorder, options.pool)
        return SinkWriter(track(), public(text), track)
    again = replace(options, overwrite=False)
    return SinkWriter(open_sink(text, options), public(text), partial(open_sink, text, again))


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
        lossless=True, coded=coded, segment_s=output.segment_s, keep=output.keep(), overwrite=output.overwrite
    )
    again = partial(open_sink, str(path), replace(options, overwrite=False))
    return RawKeeper(SinkWriter(open_sink(str(path), options), str(path), again, patient=True), coded)
