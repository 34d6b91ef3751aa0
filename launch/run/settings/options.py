"""The whole configuration of a run: what the command line and a TOML file may say.

Which engine it means follows from its source, its camera, its weights, or a viewer's choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from irchroma.engines import catalog
from irchroma.engines.network.record import read_record
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed.load_control import LIMIT_MS
from irchroma.engines.palette.options import PaletteOptions, palette_from_name
from irchroma.engines.repair.filling import METHODS, own_network
from irchroma.launch.config import ConfigError, from_file, from_table
from irchroma.stream.loop.reader import ReconnectOptions
from irchroma.stream.sensor.correction import Camera
from irchroma.stream.sensor.profile import CameraScale
from irchroma.stream.sensor.thermometer import ThermometerOptions
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.open_sink import is_recording
from irchroma.stream.sources.open_source import SourceOptions
from irchroma.stream.tone.options import ToneMapOptions
from irchroma.stream.view.osd import OsdOptions
from irchroma.stream.view.privacy import PrivacyOptions
from irchroma.stream.view.views import ViewOptions


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What all sinks of a run share.

    Attributes:
        keep_raw: a .mkv file that gets the input untouched, beside the color; None for none.
        keep_raw_as: `frames` (each as it was decoded, lossless) or `bitstream` (the camera's own coded
            pictures, as they came: a tenth of the size and less, and no work).
        evidence: the run's .mkv recording holds the untouched input and the facts of each frame too, chained
            and signed; see `irchroma verify`.
        evidence_key: the Ed25519 key that signs it, PEM; None for this machine's own, made when first needed.
        collect: a folder that gets pairs of infrared and color when the camera's filter switches, for
            `irchroma calibrate color`; None for none.
        stats: a JSON file that gets the latencies and counts at the end; None for none.
        audio: keep the sound of a file or an RTSP camera where the sink can hold it.
        segment_s: seconds a recorded file (raw ones too) lasts before the next one begins, 0 for one file.
        keep_segments: recorded files to keep of each row, older ones are deleted; 0 keeps all.
        keep_days: days that a recorded file stays; 0 for ever.
        keep_gb: gigabytes that the files of each row may take, older ones are deleted; 0 for all there is.
        overwrite: replace recordings of cameras, and raw tracks, that are there; without it a new one is
            numbered on (night-2.mkv), since nobody could make the old one again.
        hls_segment_s: seconds of one HLS segment.
        hls_keep: HLS segments in the playlist.
        page_control: an `http://` page's operators may change the view and the engine, for every sink.
        page_token: what makes its holder an operator of the page; with one, other machines are served.
        page_viewer_token: what makes its holder a viewer, who changes nothing.
        page_names: by which the page may be called, beside addresses and the machine's own name.
        page_certificate, page_key: PEM files by which the page is served over HTTPS.
        onvif: recorders find the RTSP streams by WS-Discovery and ONVIF's device and media services.
        onvif_port: of those services; several cameras are several profiles of one device.
        encoder: which video encoder, how good, how often a keyframe.
        zero_copy: pictures go from the GPU that colors to its encoder without the host, where that works.
    """

    keep_raw: Path | None = None
    keep_raw_as: Literal["frames", "bitstream"] = "frames"
    evidence: bool = False
    evidence_key: Path | None = None
    collect: Path | None = None
    stats: Path | None = None
    audio: bool = True
    segment_s: float = 0.0
    keep_segments: int = 0
    keep_days: float = 0.0
    keep_gb: float = 0.0
    overwrite: bool = False
    hls_segment_s: float = 2.0
    hls_keep: int = 6
    page_control: bool = True
    page_token: str = field(default="", repr=False)
    page_viewer_token: str = field(default="", repr=False)
    page_names: tuple[str, ...] = ()
    page_certificate: Path | None = None
    page_key: Path | None = None
    onvif: bool = False
    onvif_port: int = 8000
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    zero_copy: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.segment_s < math.inf:
            raise ConfigError(f"segments: expected a length of 0 or more, got {self.segment_s:g} s")
        if not 0 <= self.onvif_port <= 65535:
            raise ConfigError(f"onvif_port: expected a port, 0 to 65535, got {self.onvif_port}")
        self.keep()

    def keep(self) -> Retention:
        """Which recorded files stay."""
        return Retention(self.keep_segments, self.keep_days, self.keep_gb)


@dataclass(frozen=True, slots=True)
class RepairChoice:
    """What is mended before anything else sees it, and how.

    Attributes:
        mask: a picture that is white where the camera's are wrong, a folder of them with the number of their
            frame at the end of their names, a camera profile (.toml) with bad pixels or missing areas, or
            `auto`: burnt-in text and logos, and blocks that a damaged stream left flat or a decoder made up,
            are found while the run goes on; "" for none.
        method: `auto`, a name of `irchroma.engines.repair.filling.METHODS`, or a network's .onnx file.
    """

    mask: str = ""
    method: str = "auto"

    def __post_init__(self) -> None:
        own = own_network(self.method)
        if own is None and self.method not in METHODS:
            known = f"{', '.join(METHODS)} or a network's FILE.onnx"
            raise ConfigError(f"repair-with: unknown method {self.method!r}: use {known}")
        if own is not None and not own.is_file():
            raise ConfigError(f"repair-with: no file {own}: name what irchroma train wrote")
        if self.method != "auto" and not self.mask:
            raise ConfigError("--repair-with says how: add --repair MASK.png, a camera's FILE.toml or auto")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A run, complete.

    Attributes:
        source: what is colored; see `irchroma run --help`.
        to: where it goes, one or more.
        engine: `auto` (thermal for 16-bit counts, nir for luma), `nir`, `thermal`, `nir:best`,
            `palette:ironbow`, `gray` ...
        auto: choose settings by what this machine can (measured in a moment before the first frame, or what
            `calibrate speed` stored) and change them while the run goes on; live sources have that anyway.
        fixed: live sources too keep the settings they begin with, those that are said or the defaults.
        best: the best network at every frame, however long that takes; for files.
        beside: on live sources the network works beside the frames, and none waits for it.
        auto_latency_ms: with `auto`, the time from arrival until composed that frames should keep within, and
            while the engine works much that until the slowest sink took the picture. Later frames, and
            uneven ones later than three quarters of it and than the camera's next frame, take the run to
            cheaper settings. What a stored calibration says counts before the default.
        on_event: a command that is given what happens (lost, live ...) as JSON, or an address to post it to.
        thermometer: which temperatures are measured, and which of them alarm, where counts have a scale.
        mqtt: a broker that is told of both, `mqtt://user:password@host`; "" for none.
        repeat_s: after a loss the last picture is shown this long before the "no signal" card.
        camera: the camera's profile: a file of `irchroma calibrate`, or a name such as `lepton`; "" for none.
        color_camera: pass a camera's own color through while it is in color (by day).
        repair: what of the picture is mended.
        input: latency, transport, timeouts of the source.
        reconnect: how a live source is watched and found again.
        tone_map: counts or luma to displayed luma.
        palette: of palette engines.
        neural: of `nir` and `thermal`.
        references: the library that `auto` as the reference takes pictures from; None for the user's own.
        gather_references: while the camera is in color its pictures go into that library.
        view: what the picture shows.
        osd: readings on the picture.
        privacy: what of the picture nobody is to see, on no output, snapshot and raw track.
        output: of the sinks.
        strict: fail at the end where anything was dropped, replaced, guessed or shortened; a live source's
            frames that gave way to newer ones are counted, and are no failure.
    """

    BESIDE: ClassVar[tuple[str, ...]] = ("cameras", "sharing")
    """What a file may hold beside these keys, see `irchroma.launch.run.cameras`."""

    source: str = ""
    to: tuple[str, ...] = ()
    engine: str = "auto"
    auto: bool = False
    fixed: bool = False
    best: bool = False
    beside: bool = True
    auto_latency_ms: float = LIMIT_MS
    on_event: str = ""
    thermometer: ThermometerOptions = field(default_factory=ThermometerOptions)
    mqtt: str = ""
    repeat_s: float = 2.0
    camera: str = ""
    color_camera: bool = True
    repair: RepairChoice = field(default_factory=RepairChoice)
    input: SourceOptions = field(default_factory=SourceOptions)
    reconnect: ReconnectOptions = field(default_factory=ReconnectOptions)
    tone_map: ToneMapOptions = field(default_factory=ToneMapOptions)
    palette: PaletteOptions = field(default_factory=PaletteOptions)
    neural: NeuralOptions = field(default_factory=NeuralOptions)
    references: Path | None = None
    gather_references: bool = False
    view: ViewOptions = field(default_factory=ViewOptions)
    osd: OsdOptions = field(default_factory=OsdOptions)
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    strict: bool = False


def load(path: Path | None, settings: dict[str, Any]) -> RunConfig:
    """The file's settings, and over them those of the command line.

    Args:
        path: a TOML file, None for none.
        settings: dotted key -> value, `{"tone_map.method": "linear"}`.

    Raises:
        ConfigError: a key is unknown or a value makes no sense.
    """
    try:
        config = RunConfig() if path is None else from_file(RunConfig, path)
        return from_table(RunConfig, nested(settings), config)
    except ConfigError:
        raise
    except ValueError as error:  # the options' own word for a value that makes no sense
        raise ConfigError(str(error)) from error


def require(config: RunConfig) -> None:
    """ConfigError unless the run says what and where to."""
    if not config.source:
        raise ConfigError(
            "no source: name a file, rtsp://.., http://.., srt://.., /dev/videoN, test:nir or test:thermal"
        )
    if not config.to:
        raise ConfigError("no sink: name at least one, such as --to out.mp4 or --to rtsp://:8554/color")
    if config.best and (config.auto or config.fixed):
        other = "--auto" if config.auto else "--fixed"
        raise ConfigError(
            f"--best is the best network at every frame, however long it takes: leave out {other}, or --best"
        )
    if config.input.loop and config.output.keep_raw_as == "bitstream" and config.output.keep_raw is not None:
        raise ConfigError("--loop begins a file again, which no coded track does: use --keep-raw-as frames")
    if config.output.collect is not None and not config.color_camera:
        raise ConfigError(
            "--collect keeps pairs as the camera turns from color to infrared: leave out --no-color-camera"
        )
    kept = [text for text in config.to if is_recording(text) or text.startswith("hls:") or ".m3u8" in text]
    shown = [text for text in config.to if text not in kept and text.removesuffix(":") != "null"]
    bounded = config.output.keep_segments or config.output.keep_gb  # days alone bound no disk
    stays = (kept and not bounded) or (config.output.keep_raw is not None and not bounded)
    if config.input.loop and not shown and stays:
        raise ConfigError(
            "--loop never ends, and what only keeps it is written as fast as it goes, until the disk is full:"
            " leave out --loop, or add an output that shows it (http://:8080, rtsp://:8554/name)"
        )
    if config.output.onvif and not any(text.startswith("rtsp:") for text in config.to):
        raise ConfigError(
            "--onvif tells recorders of an RTSP stream: add --to rtsp://user:password@:8554/name"
        )
    if config.output.keep() and not config.output.segment_s:
        asked = "--keep-segments" if config.output.keep_segments else "--keep-days and --keep-gb"
        need = "needs" if config.output.keep_segments else "need"
        raise ConfigError(f"{asked} {need} --segment: how many seconds a recorded file lasts")


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables within tables."""
    table: dict[str, Any] = {}
    for dotted, value in settings.items():
        *folders, key = dotted.split(".")
        inner = table
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[key] = value
    return table


def with_scale(config: RunConfig, scale: CameraScale | None) -> RunConfig:
    """The configuration with the camera's degrees for each count, unless it or its engine has some.

    An engine that names its gain alone keeps the offset that is there.
    """
    palette = config.palette
    if scale is not None and palette.gain is None:
        palette = replace(palette, gain=1 / scale.per_kelvin, offset=scale.offset_celsius)
    if config.engine.startswith("palette:") and "gain=" in config.engine:
        named = palette_from_name(config.engine, offset=palette.offset)
        palette = replace(palette, gain=named.gain, offset=named.offset)
    return replace(config, palette=palette)


def with_every_frame(config: RunConfig) -> RunConfig:
    """The configuration with a camera's frames queued where the raw track must have them all."""
    frames = config.output.keep_raw is not None and config.output.keep_raw_as == "frames"
    if not frames and not config.output.evidence:
        return config
    pictures = replace(config.input.pictures, every_frame=True)
    return replace(config, input=replace(config.input, pictures=pictures))


def with_damage(config: RunConfig) -> RunConfig:
    """The configuration with decoders that say what is damaged, where that is to be found by itself."""
    if config.repair.mask != "auto":
        return config
    pictures = replace(config.input.pictures, tell_damage=True)
    return replace(config, input=replace(config.input, pictures=pictures))


def with_words(config: RunConfig, camera: Camera | None) -> RunConfig:
    """The configuration with packed frames read as the words that such a camera sends."""
    if camera is None or camera.profile.layout != "split":
        return config
    pictures = replace(config.input.pictures, words=True)
    return replace(config, input=replace(config.input, pictures=pictures))


def with_engine(config: RunConfig, engine: str) -> RunConfig:
    """The configuration with another engine, and without what only the old one understands."""
    name, neural = catalog.parse(engine), config.neural
    record = read_record(neural.weights) if neural.weights is not None else None
    other = record is not None and (record.engine, record.size) != (name.kind, name.variant or record.size)
    if other or not name.neural:
        neural = replace(neural, weights=None)
    if not name.neural:
        neural = replace(neural, reference=None)
    return replace(config, engine=engine, neural=neural)


def whole_name(config: RunConfig, counts: bool) -> str:
    """The configured engine with all that its name can say: `auto` and `nir` are `nir:fast`, for instance."""
    text = catalog.with_band(config.engine, band_of(config, counts))
    name = catalog.parse(text)
    if name.neural:
        record = read_record(config.neural.weights) if config.neural.weights is not None else None
        size = record.size if record is not None else config.neural.size
        return f"{name.kind}:{name.variant or size}"
    if name.kind == "palette" and name.variant is None:
        return f"palette:{config.palette.palette}"
    return text


def band_of(config: RunConfig, counts: bool) -> str:
    """What the engine `auto` is for such a source."""
    return "thermal" if counts or config.source.startswith("test:thermal") else "nir"
