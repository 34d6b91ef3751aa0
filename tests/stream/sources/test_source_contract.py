"""What every source does, wherever its frames come from: see `irchroma.stream.protocols.FrameSource`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySource
from irchroma.stream.protocols import FrameSource
from irchroma.stream.sources.open_source import open_source

SIZE = (48, 64)


def _pictures(folder: Path) -> FrameSource:
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.png"), np.full(SIZE, 40 * number, np.uint8))
    return open_source(str(folder))


def _counts(folder: Path) -> FrameSource:
    (folder / "counts.gray16").write_bytes(np.full((4, *SIZE), 9000, np.uint16).tobytes())
    return open_source(f"raw:{folder / 'counts.gray16'}?size={SIZE[1]}x{SIZE[0]}&format=gray16le")


SOURCES: dict[str, Callable[[Path], FrameSource]] = {
    "memory": lambda folder: MemorySource(
        [Frame(np.zeros(SIZE, np.uint8), n * 40_000_000) for n in range(4)]
    ),
    "test": lambda folder: open_source("test:nir?seconds=0.2&size=64x48"),
    "pictures": _pictures,
    "raw": _counts,
}


@pytest.mark.gst
@pytest.mark.parametrize("name", SOURCES)
def test_frames_come_with_rising_times_until_none_and_it_closes_twice(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    source.close()  # in any state
    info = source.open()
    assert info.size == SIZE
    frames: list[Frame] = []
    while (frame := source.read(5.0)) is not None:
        frames.append(frame)
    assert len(frames) >= 4
    assert all(frame.size == SIZE for frame in frames)
    assert info.counts == frames[0].is_counts
    times = [frame.pts_ns for frame in frames]
    assert times == sorted(set(times))
    assert source.drops == 0
    source.close()
    source.close()
