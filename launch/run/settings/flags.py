"""The flags of `irchroma run`: each one is a key of the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.errors import EngineOptionError
from irchroma.launch.arguments import rate
from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import RunConfig


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line flag and the configuration key that it sets.

    Attributes:
        name: with dashes.
        key: dotted key of `RunConfig`.
        help: one line.
        kind: turns the word into a value; bool makes a switch.
        value: what a switch sets.
        metavar: what the word is called.
    """

    name: str
    key: str
    help: str
    kind: Any = str
    value: Any = True
    metavar: str | None = None


def _span(word: str) -> list[float]:
    low, _, high = word.partition(",")
    try:
        return [float(low), float(high)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two values LOW,HIGH, got {word!r}") from None


def _every(word: str) -> int | str:
    if word != "auto" and not word.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number or auto, got {word!r}")
    return word if word == "auto" else int(word)


def _texts(word: str) -> list[str]:
    return [text.strip() for text in word.split(";") if text.strip()]


_READINGS = ["rate", "latency", "engine", "time", "spot", "camera", "scale"]

GROUPS: dict[str, tuple[Flag, ...]] = {
    "engine": (
        Flag("--engine", "engine", "auto, nir, thermal, nir:best, palette:NAME, palette:FILE.csv, gray ..."),
        Flag(
            "--runtime",
            "neural.network.runtime",
            "auto, tensorrt, tensorrt-rtx, torch (on a GPU), openvino, onnxruntime",
        ),
        Flag(
            "--device",
            "neural.network.device",
            "auto, cpu, a GPU (0, cuda:1 ...), all: each camera the next GPU, as auto does with several",
        ),
        Flag("--size", "neural.size", "network size: fast or best"),
        Flag(
            "--weights",
            "neural.weights",
            "a network of your own, such as calibrate precision wrote",
            Path,
            metavar="FILE.onnx",
        ),
        Flag("--mode", "neural.recolor.mode", "full, or chroma: the sensor's luma kept exactly"),
        Flag(
            "--reference",
            "neural.reference",
            "a color picture of this scene, or for a fixed camera calibrate reference's set; by --engine"
            " reference any picture, for its mood; auto: of a library, without a night's tone",
            Path,
            metavar="FILE|auto",
        ),
        Flag(
            "--references",
            "references",
            "the library for --reference auto, made by irchroma references add; the user's own",
            Path,
            metavar="DIR",
        ),
        Flag(
            "--gather-references",
            "gather_references",
            "with --reference auto: by day the camera's own color goes into the library, for its nights",
            bool,
        ),
        Flag(
            "--reference-strength",
            "neural.reference_strength",
            "how much the reference counts, 0 to 2 (1): color and a named night's tone fade below 1",
            float,
            metavar="X",
        ),
        Flag("--unsure", "neural.recolor.instead", "where color is not known: gray, palette (calm)"),
        Flag("--chroma-limit", "neural.recolor.chroma_limit", "cap of the color, 0 to 255", float),
        Flag(
            "--color-every", "neural.temporal.color_every", "run the network every N frames, or auto", _every
        ),
        Flag("--auto", "auto", "settings by what this machine can, as live sources have them anyway", bool),
        Flag("--fixed", "fixed", "live sources too keep their settings, whatever the load", bool),
        Flag("--best", "best", "the best network at every frame, however long it takes: for files", bool),
        Flag("--no-steady", "neural.steady", "no smoothing of the color in time", bool, False),
        Flag(
            "--no-steady-brightness",
            "neural.temporal.steady_brightness",
            "let the camera's gain jumps through",
            bool,
            False,
        ),
        Flag("--exact", "neural.network.exact", "the network in full float32: no bf16, no 8 bits", bool),
        Flag("--threads", "neural.network.threads", "CPU threads of the network (0: all)", int, metavar="N"),
    ),
    "tone map": (
        Flag("--tone-map", "tone_map.method", "auto, none, lift, linear, plateau, clahe"),
        Flag("--span", "tone_map.span", "fixed limits in sensor values", _span, metavar="LOW,HIGH"),
    ),
    "view": (
        Flag("--view", "view.view", "color, raw, side, wipe, blend, confidence"),
        Flag("--wipe", "view.wipe", "place of the wipe's line, 0 to 1", float, metavar="X"),
        Flag("--blend", "view.blend", "share of color in the blend, 0 to 1", float, metavar="X"),
        Flag(
            "--osd",
            "osd.show",
            "readings on the picture: rate, latency (of live sources), engine, time, spot, camera, scale",
            bool,
            _READINGS,
        ),
        Flag(
            "--privacy",
            "privacy.file",
            "keeps the privacy masks that are drawn on the page, which are in force from its start;"
            " [[privacy.masks]] of --config: fixed ones",
            Path,
            metavar="FILE.json",
        ),
        Flag("--no-mark", "osd.mark", "leave out the 'synthetic color' mark", bool, False),
    ),
    "thermometer, where counts have a scale": (
        Flag(
            "--measure",
            "thermometer.measure",
            "a region: NAME=point X,Y, NAME=box X,Y X,Y or NAME=line X,Y X,Y, each 0 to 1; more by ';'",
            _texts,
            metavar="REGION",
        ),
        Flag(
            "--alarm",
            "thermometer.alarm",
            "'NAME above 60', 'NAME below 5' (degrees Celsius), 'NAME rise 3' (kelvin a minute); more by ';'",
            _texts,
            metavar="ALARM",
        ),
        Flag("--emissivity", "thermometer.emissivity", "of what is looked at, to 1", float, metavar="X"),
        Flag(
            "--reflected",
            "thermometer.reflected_celsius",
            "temperature of what it reflects",
            float,
            metavar="CELSIUS",
        ),
        Flag(
            "--mqtt",
            "mqtt",
            "tell a broker: mqtt://user:password@host; Home Assistant finds it",
            metavar="URL",
        ),
    ),
    "output": (
        Flag(
            "--keep-raw", "output.keep_raw", "record the untouched input, a .mkv file", Path, metavar="FILE"
        ),
        Flag(
            "--evidence",
            "output.evidence",
            "the run's .mkv holds the untouched input and each frame's facts too, chained and signed",
            bool,
        ),
        Flag(
            "--evidence-key",
            "output.evidence_key",
            "the Ed25519 key that signs it; this machine's own without",
            Path,
            metavar="FILE",
        ),
        Flag(
            "--keep-raw-as",
            "output.keep_raw_as",
            "frames (as decoded, lossless) or bitstream (what the camera sends, not encoded again)",
        ),
        Flag(
            "--collect",
            "output.collect",
            "gather pairs of infrared and color at dusk and dawn, for calibrate color",
            Path,
            metavar="DIR",
        ),
        Flag("--encoder", "output.encoder.name", "auto, x264, openh264, x265, nvenc, va, v4l2 ..."),
        Flag("--codec", "output.encoder.codec", "auto (h264, in .webm vp9), or h265 for files, rtsp and srt"),
        Flag(
            "--bitrate", "output.encoder.bitrate_kbps", "kilobits a second (0: quality)", int, metavar="KBPS"
        ),
        Flag("--quality", "output.encoder.quality", "quantizer, 0 (best) to 50", int, metavar="Q"),
        Flag("--segment", "output.segment_s", "seconds of a recording (0: one file)", float, metavar="S"),
        Flag("--keep-segments", "output.keep_segments", "recorded files to keep (0: all)", int, metavar="N"),
        Flag("--keep-days", "output.keep_days", "days a recording is kept (0: ever)", float, metavar="D"),
        Flag("--keep-gb", "output.keep_gb", "gigabytes of recorded files (0: all)", float, metavar="GB"),
        Flag(
            "--overwrite",
            "output.overwrite",
            "replace a camera's recording or a raw track that is there, rather than number on",
            bool,
        ),
        Flag(
            "--token",
            "output.page_token",
            "of the http:// page's operators, e.g. '${NAME}' of the environment; opens it to other machines",
            metavar="TOKEN",
        ),
        Flag("--viewer-token", "output.page_viewer_token", "of those who may only look", metavar="TOKEN"),
        Flag(
            "--tls-cert", "output.page_certificate", "serve the page over HTTPS with it", Path, metavar="FILE"
        ),
        Flag("--tls-key", "output.page_key", "of that certificate", Path, metavar="FILE"),
        Flag(
            "--onvif",
            "output.onvif",
            "let recorders find the rtsp:// stream (ONVIF, WS-Discovery; services on TCP 8000)",
            bool,
        ),
        Flag(
            "--no-page-control",
            "output.page_control",
            "nobody may change the view and the engine on the http:// page",
            bool,
            False,
        ),
        Flag(
            "--on-event",
            "on_event",
            "tell a command (JSON on its standard input) or post to an address: lost, live, failed ...",
            metavar="COMMAND|URL",
        ),
        Flag("--no-audio", "output.audio", "leave the sound of a file or camera out", bool, False),
        Flag(
            "--strict",
            "strict",
            "fail at the end if anything was dropped, replaced, guessed, shortened",
            bool,
        ),
        Flag("--stats", "output.stats", "latencies and counts as JSON; - shows it", Path, metavar="FILE"),
    ),
    "source": (
        Flag("--latency", "input.rtsp.latency_ms", "buffer of RTSP sources, milliseconds", int, metavar="MS"),
        Flag("--transport", "input.rtsp.transport", "RTSP transport: auto, tcp, udp"),
        Flag("--rate", "input.picture_rate", "pictures a second of folders (25)", rate, metavar="FPS"),
        Flag("--loop", "input.loop", "begin a file or a folder again at its end, until stopped", bool),
        Flag(
            "--stall",
            "reconnect.stall_s",
            "seconds of silence after which a source is lost",
            float,
            metavar="S",
        ),
        Flag(
            "--max-megapixels",
            "input.pictures.max_megapixels",
            "largest picture that is decoded, million pixels",
            float,
            metavar="N",
        ),
        Flag("--wait", "reconnect.wait_at_start", "keep trying until source and folder are there", bool),
        Flag(
            "--camera",
            "camera",
            "profile: a file of irchroma calibrate, or lepton, boson, tau2, seek, infiray-split ...",
            metavar="FILE",
        ),
        Flag(
            "--repair",
            "repair.mask",
            "fill in what is white in MASK.png (or a folder of them, numbered as the frames), a profile's bad"
            " pixels, or the burnt-in text and the damage it finds: auto",
            metavar="MASK|DIR|FILE|auto",
        ),
        Flag(
            "--repair-with",
            "repair.method",
            "auto, partial-conv, glcic, context-encoder, telea, navier-stokes or FILE.onnx",
            metavar="METHOD",
        ),
        Flag(
            "--no-color-camera",
            "color_camera",
            "color the picture even while the camera is in color",
            bool,
            False,
        ),
    ),
}


def add_to(parser: argparse.ArgumentParser, hidden: Collection[str] = ()) -> None:
    """Every flag, in its group; one that is not given stays out of the result, of `hidden` keys the help."""
    for title, flags in GROUPS.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            said = argparse.SUPPRESS if flag.key in hidden else flag.help
            if flag.kind is bool:
                group.add_argument(
                    flag.name,
                    dest=flag.key,
                    action="store_const",
                    const=flag.value,
                    default=argparse.SUPPRESS,
                    help=said,
                )
                continue
            group.add_argument(
                flag.name,
                dest=flag.key,
                type=flag.kind,
                metavar=flag.metavar or flag.name.strip("-").upper(),
                default=argparse.SUPPRESS,
                help=said,
            )


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Dotted key -> value of the flags that were given. ConfigError where two contradict each other."""
    keys = {flag.key for flags in GROUPS.values() for flag in flags}
    found = {key: value for key, value in vars(args).items() if key in keys}
    size = found.get("neural.size") or str(found.get("engine", "")).partition(":")[2]
    if found.get("best") and size in catalog.SIZES[:-1]:
        raise ConfigError(f"--best is the network of size {catalog.SIZES[-1]}: leave it out, or size {size}")
    return {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}


_OF_PAGES = ("output.page_token", "output.page_viewer_token", "output.page_certificate", "output.page_key")
_NOT_OF_NETWORKS = {"engine", "fixed", "auto", "neural.network.threads"}
_CHECKED_ELSEWHERE = {"neural.weights", "neural.reference", "references", "gather_references"}
_OF_NETWORKS = {flag.key for flag in GROUPS["engine"]} - _NOT_OF_NETWORKS - _CHECKED_ELSEWHERE


def require_used(settings: dict[str, Any], runs: Sequence[RunConfig]) -> None:
    """ConfigError for a flag of a page's safety in runs without a page, and for two sizes of one network.

    What a configuration file says is left alone: it may be kept for another day's sinks and engines.
    """
    if not any(_has_page(run) for run in runs):
        for flag in given(settings, _OF_PAGES):
            raise ConfigError(
                f"{flag} is of a page, and no output is one (rtsp:// and srt:// have their own passwords, and"
                f" no TLS): add --to http://:8080, or leave out {flag}"
            )
    for run in runs if "neural.size" in settings else ():
        if run.engine != "auto" and catalog.parse(run.engine).variant not in (None, run.neural.size):
            raise ConfigError(f"--size {run.neural.size} contradicts engine {run.engine}: leave one out")


def unused(settings: dict[str, Any], runs: Sequence[RunConfig]) -> list[str]:
    """A remark for each flag of networks where no run has one; scripts try engines by the same words."""
    # on a page with controls an operator may choose a network later
    if any(_colors_by_network(run) or (_has_page(run) and run.output.page_control) for run in runs):
        return []
    return [
        f"{flag} is of networks, and engine {runs[0].engine} is none: it does nothing"
        for flag in given(settings, _OF_NETWORKS)
    ]


def _has_page(run: RunConfig) -> bool:
    return any(text.startswith("http:") for text in run.to)


def given(settings: dict[str, Any], keys: Collection[str]) -> list[str]:
    """The flags of these keys that were given."""
    flags = [flag for group in GROUPS.values() for flag in group]
    return [flag.name for flag in flags if flag.key in keys and flag.key in settings]


def _colors_by_network(run: RunConfig) -> bool:
    try:
        return run.engine == "auto" or catalog.parse(run.engine).neural
    except EngineOptionError:  # told where the engine is opened, with the camera's name
        return True
