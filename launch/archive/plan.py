"""Which recordings there are, and where each is cut into segments."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from irchroma.launch.config import ConfigError
from irchroma.stream.errors import SourceError
from irchroma.stream.sources.packets import read_packets
from irchroma.stream.sources.pictures.picture_source import SEVERAL

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv")
STACKS = (".npy", ".npz", ".seq", ".csq")
"""Recordings of counts, which are colored in one piece."""
_KEPT = (".mp4", ".mkv")


@dataclass(frozen=True, slots=True)
class Recording:
    """One file to color.

    Attributes:
        source: it.
        target: what becomes of it.
        name: of the target, among all.
    """

    source: Path
    target: Path
    name: str


@dataclass(frozen=True, slots=True)
class Span:
    """A segment: `[begin_ns, end_ns)`, 0 for an end that is the recording's; -1 frames where not known.

    Attributes:
        warm_ns: the key frame with which its warm-up begins.
        before_ns: the last picture before that, -1 for none.
    """

    begin_ns: int
    end_ns: int
    frames: int
    warm_ns: int = 0
    before_ns: int = -1


def find_recordings(source: Path, target: Path) -> list[Recording]:
    """The files of a folder, in its folders too, or the one file. What is hidden is left out of a folder.

    Raises:
        ConfigError: there is nothing to color, or nowhere to put it.
    """
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if source.is_file():
        if source.suffix.lower() in SEVERAL and not is_stack(source):
            raise ConfigError(f"{source}: is no video, which an archive is of: irchroma run colors it")
        if target.is_dir():
            target /= target_name(source.name)
        if target.suffix.lower() not in _KEPT:
            raise ConfigError(f"{target}: expected a folder, or a name ending in {' or '.join(_KEPT)}")
        if target.exists() and target.samefile(source):
            raise ConfigError(f"{target}: is the input itself: give another name")
        return [Recording(source, target, target.name)]
    if target.is_file():
        raise ConfigError(f"{target}: is a file; recordings of a folder need a folder")
    if target.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"{target}: lies in {source}: give another place")
    found = [path for path in _visible(source) if path.suffix.lower() in (*SUFFIXES, *STACKS)]
    if not found:
        raise ConfigError(f"{source}: no recording in it: expected {', '.join((*SUFFIXES, *STACKS))}")
    names = [str(path.relative_to(source).with_name(target_name(path.name))) for path in found]
    return [Recording(path, target / name, name) for path, name in zip(found, names, strict=True)]


def left_out(source: Path) -> str:
    """What else than recordings is in a folder, by the ends of its names: `3 .dav, 1 without an ending`."""
    others = [path.suffix.lower() for path in _visible(source)] if source.is_dir() else []
    counts = Counter(suffix for suffix in others if suffix not in (*SUFFIXES, *STACKS))
    return ", ".join(f"{count} {suffix or 'without an ending'}" for suffix, count in counts.most_common())


def _visible(folder: Path) -> list[Path]:
    """Its files, in its folders too, and links that lead nowhere."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() or not path.exists())
    return [path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)]


def is_stack(path: Path) -> bool:
    """Whether it is a stack of pictures rather than a video."""
    return path.suffix.lower() in STACKS


def target_name(name: str) -> str:
    """`night.mp4` and `night.mkv` stay; what is not written here gets another ending, `night.avi.mkv`."""
    return name if name.endswith(_KEPT) else f"{name}.mkv"


def cut(path: Path, segment_s: float, overlap_s: float = 0.0, every: int = 1) -> list[Span]:
    """Segments that begin at key frames, of `segment_s` seconds or a little more.

    Args:
        path: of the recording.
        segment_s: least length.
        overlap_s: least warm-up.
        every: the network colors every so many frames: warm-ups begin with one of those.

    Raises:
        SourceError: the file cannot be read.
    """
    if is_stack(path):
        return [Span(0, 0, -1)]
    packets = list(read_packets(path))
    if not packets:
        raise SourceError(f"{path}: holds no pictures")
    times = sorted(packet.pts_ns for packet in packets)
    if times[0] < 0 or len(set(times)) < len(times):
        return [Span(0, 0, -1)]  # only decoding tells which picture is shown when
    keys = sorted(packet.pts_ns for packet in packets if packet.key)
    bounds = [0]
    for key_ns in keys:
        if key_ns - max(bounds[-1], times[0]) >= segment_s * 1e9:
            bounds.append(key_ns)
    number = {time_ns: at for at, time_ns in enumerate(times)}
    spans = []
    for begin_ns, end_ns in zip(bounds, [*bounds[1:], 0], strict=True):
        inside = [ns for ns in times if ns >= begin_ns and (not end_ns or ns < end_ns)]
        early = [ns for ns in keys if ns <= begin_ns - overlap_s * 1e9 and number[ns] % every == 0]
        warm_ns = early[-1] if early and number[early[-1]] else 0
        before_ns = times[number[warm_ns] - 1] if warm_ns else -1
        spans.append(Span(begin_ns, end_ns, len(inside), warm_ns, before_ns))
    return spans
