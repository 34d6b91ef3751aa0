"""Where a run writes: no two outputs to one place, none over the source, and every file can be written."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from irchroma.engines.choice import device_index
from irchroma.engines.gpu import probe
from irchroma.engines.processor import usable_cores
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import SHOWN, show_json
from irchroma.launch.run.settings.options import RunConfig
from irchroma.launch.run.settings.passwords import page_token
from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.encoder_effort import HURRIED_WORK, hurried
from irchroma.stream.sinks.encoding.task import ASSUMED_RATE
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.listening import may_listen
from irchroma.stream.sinks.open_sink import (
    SinkOptions,
    is_recording,
    pool_for,
    public,
    rtsp_address,
    sink_place,
    takes_planes,
)
from irchroma.stream.sources.addresses import split_credentials
from irchroma.stream.sources.pictures.picture_file import SUFFIXES
from irchroma.stream.survey import device_way_fault

if TYPE_CHECKING:
    from irchroma.launch.run.control.run_control import RunControl

log = logging.getLogger(__name__)


def places(config: RunConfig, page: str = "") -> list[str]:
    """What the outputs of a run take, as `sink_place` says it.

    Args:
        config: of the run.
        page: the run's name among several on one HTTP port.

    Raises:
        ConfigError: two of its outputs are one place, or one would replace the source.
    """
    found = [place for text in config.to if (place := sink_place(text, page)) is not None]
    files = [config.output.keep_raw, config.output.stats]
    found += [str(path.resolve()) for path in files if path is not None]
    for place in found:
        if found.count(place) > 1:
            raise ConfigError(f"two of the outputs are {place}: give each a place of its own")
    require_locked_alike(config.to)
    source = source_file(config.source)
    if source is not None and str(source) in found:
        raise ConfigError(f"an output would replace the source {source}: give it another name")
    return found


def require_locked_alike(texts: Iterable[str]) -> None:
    """Refuse streams of one RTSP port of which only some have a password: the server asks for one or not.

    Args:
        texts: the outputs of all that run in one process.

    Raises:
        ConfigError: there are such; without their passwords.
    """
    open_ones: dict[tuple[str, int], tuple[bool, str]] = {}
    for text in texts:
        if text.partition("://")[0] != "rtsp":
            continue
        try:
            address = rtsp_address(text)
        except SinkError:
            continue  # which is told when it is opened
        if not address.port:
            continue  # each gets a free one
        shown, locked = str(address), bool(address.user)
        first = open_ones.setdefault((address.host, address.port), (locked, shown))
        if first[0] != locked:
            raise ConfigError(
                f"{first[1]} and {shown} are on one port, and only one of them has a password:"
                " give both one, or each a port of its own"
            )


def require_recording(config: RunConfig) -> None:
    """ConfigError where segments are asked for and nothing is recorded."""
    recorded = any((sink_place(text) or "").startswith("/") for text in config.to)
    if config.output.segment_s and not recorded and config.output.keep_raw is None:
        raise ConfigError(
            "segments are of recorded files, and this run records none: add --to FILE or leave out --segment"
        )


def require_folders(config: RunConfig) -> None:
    """ConfigError where the folder of a recording is missing, unless the run waits for what is not there."""
    for text in filter(is_recording, () if config.reconnect.wait_at_start else config.to):
        if not (path := Path(text.removeprefix("file:").removeprefix("//"))).parent.is_dir():
            raise ConfigError(f"--to {path}: the folder {path.parent} does not exist: make it first")


def require_outputs(config: RunConfig) -> None:
    """Refuse what could not be written before source and engine are opened.

    Of a file all that is asked for has to be written; beside a camera whose recording cannot be written now,
    its other outputs go on.

    Raises:
        ConfigError: a file's conversion, or every output of a camera, has no place to be written to; the
            folder of a recording is missing; or the masks that are drawn could not be kept.
    """
    require_masks_kept(config, "--privacy")
    require_folders(config)
    faults: list[ConfigError | None] = []
    for text in config.to:
        try:
            _require_output(text)
            faults.append(None)
        except ConfigError as error:
            faults.append(error)
    if source_file(config.source) is None and None in faults:
        return
    for fault in faults:
        if fault is not None:
            raise fault


def require_masks_kept(config: RunConfig, what: str) -> None:
    """ConfigError, which names it as `what`, where the masks that are drawn could not be kept."""
    if config.privacy.file is not None and not config.privacy.file.exists():  # one that is may be for reading
        require_writable(config.privacy.file, what)


def _require_output(text: str) -> None:
    place = sink_place(text) or ""
    if is_recording(text):
        require_writable(Path(text.removeprefix("file:").removeprefix("//")), "--to")
    elif place.startswith("hls:"):
        folder = Path(place.removeprefix("hls:"))
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise ConfigError(f"--to {text}: {there} is a file, expected a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ConfigError(f"--to {text}: nothing may be written to {there}")
    elif served := re.match(r"(http|rtsp|srt)://:(\d+)(?:/|$)", place):
        host, port, udp = urlsplit(text).hostname or "", int(served[2]), served[1] == "srt"
        if not may_listen(host, port, udp):
            raise ConfigError(
                f"--to {public(text)}: port {port} is in use, perhaps by another run: take another port"
                + (" (a server elsewhere is publish+rtsp://host:port/path)" if host and not udp else "")
            )


def pictures_stay(config: RunConfig) -> bool:
    """Whether pictures stay on the GPU for its encoder; said once where there is a GPU and they do not.

    For a run all of whose outputs take the color as it is (`encoders_only`).
    """
    if config.neural.network.device == "cpu" or probe.device_at() is None:
        return False
    index = device_index(config.neural.network.device)
    coded = [text for text in config.to if not text.startswith("http")]
    if not config.output.zero_copy:
        why: str | None = "zero_copy is off"
    elif index or (index is None and probe.device_count() > 1):
        why = "it is the first GPU's that takes them, and this run may color on another: --device 0"
    elif config.privacy.asked or config.output.evidence:
        why = "masks and evidence are made on the host"
    elif not coded:
        why = "a page alone takes them there"
    else:
        why = device_way_fault(config.output.encoder)
    if why is not None:
        _say_once(f"pictures go to the encoder by way of the host: {why}")
    return why is None


@functools.cache
def _say_once(text: str) -> None:
    log.info("%s", text)


def source_file(text: str) -> Path | None:
    """The full path of a source that is a file or folder; None for cameras, streams and test pictures."""
    if text.lower().startswith("file:"):
        text = unquote(urlsplit(text).path)
    elif text.startswith("raw:"):
        text = text.removeprefix("raw:").partition("?")[0]
    elif "://" in text or text.startswith("test:"):
        return None
    try:
        return Path(text).resolve()
    except OSError:  # such as a name that is too long, of which `open_source` will tell
        return None


def heading_of(source: str, camera: str = "") -> str:
    """What people who look at a run call it: short, and never with a password.

    Args:
        source: as `open_source` takes it.
        camera: its profile as `--camera` takes it. A file of the user's is called after the camera, but for
            the `camera.toml` of many examples.
    """
    profile = Path(camera)
    if profile.suffix.lower() == ".toml" and profile.stem != "camera":
        return profile.stem
    if source.startswith("test:"):
        kind = source.removeprefix("test:").partition("?")[0]
        return "Synthetic thermal camera" if kind == "thermal" else "Synthetic near-infrared camera"
    if source.startswith("/dev/"):
        return f"USB camera {source}"
    file = source_file(source)
    if file is not None:  # a folder's name may hold dots
        if file.name == "-" and source.startswith("raw:"):
            return "standard input"
        return (file.name if file.is_dir() else file.stem) or public(source)
    try:
        parts = urlsplit(split_credentials(source)[0])
        host, port = parts.hostname, parts.port
    except ValueError:
        return public(source)
    return host or (f"{parts.scheme.upper()} at port {port}" if port else public(source))


def require_writable(path: Path | None, what: str) -> None:
    """Raise where a file cannot be written, before a run that ends with it.

    Args:
        path: the file; it is not made if it is not there. None for none.
        what: the option that names it.

    Raises:
        ConfigError: it is a folder, its folder is missing, or writing is not allowed.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{what} {path}: is a folder: give the file's name")
    if path.is_fifo():
        raise ConfigError(f"{what} {path}: is a pipe, expected a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{what} {path}: the folder {path.parent} does not exist: make it first")
    there = path.exists()
    try:
        path.open("ab").close()
        if not there:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"{what} {path}: cannot be written ({error.strerror})") from error


def require_results_writable(args: argparse.Namespace, is_shown: bool = True) -> None:
    """The same for the files that a command's `--json`, `--sheet` and `--plot` name.

    Args:
        args: of the command.
        is_shown: there is a standard output, for `-`.
    """
    for option in ("json", "sheet", "plot"):
        named = getattr(args, option, None)
        if named is not None and Path(named) != SHOWN:
            require_writable(Path(named), f"--{option}")
        elif named is not None and not is_shown:
            raise ConfigError(f"--{option} -: standard output is closed")


def make_folder_of(path: Path, what: str) -> None:
    """Make the folder that a result goes into.

    Args:
        path: the result.
        what: the option that names it.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{what} {path}: its folder {path.parent} cannot be made ({error.strerror})"
        ) from error


def write_statistics(path: Path, text: str) -> None:
    """The statistics of a run that is over; a new file is for its owner alone, `-` is standard output.

    Raises:
        ConfigError: they cannot be written; says why.
    """
    try:
        if path == SHOWN:
            show_json(path, text)
            return
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"--stats {path}: cannot be written ({error.strerror})") from error


def encoding_work(config: RunConfig, info: VideoInfo, cameras: int = 1) -> float:
    """Work of encoding a frame's pictures, in that of frames in plain color: 0 where no output takes coded
    ones (see `pace.Demand`).

    Args:
        config: of the run.
        info: what comes.
        cameras: that share the processor.
    """
    if all(place in _UNCODED for place in config.to):
        return 0.0
    plain = config.view.view == "color" and not config.osd.show
    (height, width), wide = info.size, 2 if config.view.view == "side" else 1
    threads = config.output.encoder.threads or (max(1, usable_cores() // cameras) if cameras > 1 else 0)
    much = hurried((height, width * wide), info.rate or ASSUMED_RATE, threads)
    return (1.0 if plain else COMPOSED) * wide * (HURRIED_WORK if much and _may_hurry(config, info) else 1.0)


def _may_hurry(config: RunConfig, info: VideoInfo) -> bool:
    """Whether all that is coded is H.264 of what is live, which x264 hurries with."""
    encoder, recordings = config.output.encoder, [text for text in config.to if is_recording(text)]
    if encoder.codec not in ("auto", "h264") or encoder.name not in ("auto", "x264", "x264enc"):
        return False
    if recordings:
        return info.live and not any(text.lower().endswith(".webm") for text in recordings)
    return any(takes_planes(text) for text in config.to)


COMPOSED = 1.15
"""Work of a pixel that is encoded in a view, or under readings, in that of one that the encoder takes as it
was colored: frames of 640x512 took 6.5 ms of CPU time as they were, 14.8 side by side with the raw ones."""
_UNCODED = ("null", "window")


def sink_options(
    config: RunConfig,
    stats: Callable[[], dict[str, Any]] | None,
    control: RunControl,
    name: str = "",
    threads: int = 0,
) -> SinkOptions:
    """What the run asks of its sinks.

    Args:
        config: of the run.
        stats: what a page shows of it.
        control: what viewers of a page change it by.
        name: the camera's where the process has several, else empty.
        threads: of each encoder where the configuration leaves that open, 0 for its own choice.
    """
    output, encoder = config.output, config.output.encoder
    onvif = None
    if output.onvif:
        from irchroma.stream.sinks.onvif.sink import OnvifOptions

        onvif = OnvifOptions(output.onvif_port, output.page_names)
    return SinkOptions(
        encoder=replace(encoder, threads=encoder.threads or threads),
        audio_from=_audio_file(config.source) if output.audio and not config.input.loop else None,
        segment_s=output.segment_s,
        keep=output.keep(),
        overwrite=output.overwrite,
        hls_segment_s=output.hls_segment_s,
        hls_keep=output.hls_keep,
        title=name or public(config.source),
        heading=name or heading_of(config.source, config.camera),
        stats=stats,
        control=control if output.page_control else None,
        page=name,
        pool=pool_for(config.to),
        access=Access(
            output.page_token,
            output.page_viewer_token,
            names=output.page_names,
            certificate=output.page_certificate,
            key=output.page_key,
        ),
        spare_token=page_token,
        onvif=onvif,
    )


def _audio_file(source: str) -> Path | None:
    file = source_file(source) if not source.startswith("raw:") else None
    pictures = file is not None and file.suffix.lower() in SUFFIXES  # they have no sound to look for
    return file if file is not None and file.is_file() and not pictures else None
