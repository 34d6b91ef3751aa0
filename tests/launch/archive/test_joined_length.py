"""A joined recording knows how long it will be: its MP4's ticks are chosen by that."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from irchroma.launch.archive import archive
from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo


def test_the_joined_file_is_told_how_long_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[VideoInfo] = []

    class Told:
        def __init__(self, *_: object) -> None:
            pass

        def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
            told.append(info)
            raise SinkError("that is all")

        def close(self) -> None:
            pass

    monkeypatch.setattr(archive, "JoinedFile", Told)
    jobs: list[Any] = [SimpleNamespace(number=0, target="a"), SimpleNamespace(number=1, target="b")]
    times = [(0, 1), (3_600_000_000_000, 1)], [(7_200_000_000_000, 1)]
    done: dict[int, Any] = {
        number: SimpleNamespace(size=(48, 64), rate="25", times=of) for number, of in enumerate(times)
    }
    with pytest.raises(SinkError, match="that is all"):
        archive.join(jobs, done, Path("all.mp4"), Path("night.mp4"), audio=False)
    assert told[0].duration_ns == 7_200_000_000_000
