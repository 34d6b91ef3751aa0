from __future__ import annotations

import threading

import numpy as np
import pytest

from irchroma.engines.palette.gray import GrayColorizer
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySink, MemorySource, Step
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.picture import lettering
from irchroma.stream.picture.lettering import boxed, fitted, letter_height, lettered, outlined, text_mask
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Job


def test_text_is_drawn_and_longer_text_is_wider() -> None:
    short, long = text_mask("fps", 16), text_mask("29.9 fps", 16)
    assert short.max() > 200
    assert long.shape[1] > short.shape[1]
    assert long.shape[0] == short.shape[0]


@pytest.mark.parametrize("text", ["36.6 °C", "größer · …", "", " ", "日本", "a\tb"])
def test_any_text_can_be_drawn(text: str) -> None:
    for letter_px in (8, 31):
        assert text_mask(text, letter_px).ndim == 2


def test_a_long_line_is_shortened_to_fit() -> None:
    line = "palette ironbow, above 37 °C"
    assert fitted(line, 14, 1000) == line
    short = fitted(line, 14, 100)
    assert short.endswith("…")
    assert line.startswith(short[:-1])
    assert text_mask(short, 14).shape[1] <= 100
    assert fitted(line, 14, 3) == ""


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
@pytest.mark.parametrize(
    "sprite", [boxed(("29.9 fps", "palette"), 16), outlined("36.6 °C", 16)], ids=["boxed", "outlined"]
)
def test_letters_are_legible_on_any_brightness(sprite: object, level: int) -> None:
    picture = np.full((120, 200, 3), level, np.uint8)
    sprite.lay_on(picture, 20, 20)  # type: ignore[attr-defined]
    brightest, rows = picture.max(), picture[..., 0].astype(int)
    assert brightest > 215
    # beside bright strokes lies something much darker: the box or the rim
    bright = (
        np.argwhere(rows > 0.85 * brightest) if level < 200 else np.argwhere(sprite.light[..., 0] > 200) + 20
    )  # type: ignore[attr-defined]
    contrasts = [rows[y, x] - rows[y - 4 : y + 5, x - 4 : x + 5].min() for y, x in bright]
    assert np.median(contrasts) > 80


@pytest.mark.parametrize("at", [(-10, -10), (-1000, 5), (95, 190), (5, 1000), (40, 50)])
def test_a_sprite_may_lie_partly_or_wholly_outside(at: tuple[int, int]) -> None:
    picture = np.full((100, 200, 3), 90, np.uint8)
    sprite = boxed(("outside",), 16, accent=(255, 176, 32))
    sprite.lay_on(picture, *at)
    rows = np.zeros(picture.shape[:2], bool)
    y, x = at
    rows[max(y, 0) : max(y + sprite.size[0], 0), max(x, 0) : max(x + sprite.size[1], 0)] = True
    assert (picture[~rows] == 90).all()


def test_letters_have_the_color_asked_for() -> None:
    picture = np.zeros((60, 300, 3), np.uint8)
    lettered("No signal", 40, (255, 176, 32)).lay_on(picture, 0, 0)
    assert tuple(picture.reshape(-1, 3).max(axis=0)) == (255, 176, 32)


def test_letters_grow_with_the_picture() -> None:
    sizes = [letter_height(size) for size in ((120, 160), (512, 640), (1080, 1920), (4320, 7680))]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 11
    assert sizes[2] >= 28


def test_who_draws_letters_has_the_font_before_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 5 loads it for each thread, which would be 20 ms of the first frame."""
    said: list[tuple[str, int]] = []
    prepare = lettering.prepare

    def noted() -> None:
        prepare()
        said.append(("font", threading.get_ident()))

    class Gray:
        def compose(self, job: Job) -> Picture:
            said.append(("frame", threading.get_ident()))
            return Picture(job.luma)

        def no_signal(self, silent_s: float, reason: str) -> Picture:
            raise AssertionError(reason)

    monkeypatch.setattr(lettering, "prepare", noted)
    frames: list[Step] = [Frame(np.zeros((96, 96), np.uint8), number * 40_000_000) for number in range(2)]
    writer = SinkWriter(MemorySink(), "memory")
    Loop(MemorySource(frames), lambda info: GrayColorizer(), Gray(), [writer], LoopOptions()).run()
    assert [what for what, _ in said] == ["font", "frame", "frame"]
    assert len({thread for _, thread in said}) == 1
