"""Repair of pictures and videos: what was seen comes first, what is known stays, bad masks are told."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.catalog import REPAIRS
from irchroma.engines.errors import EngineOptionError
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.repair import holes
from irchroma.engines.repair.filling import Filling, FillOptions
from irchroma.engines.repair.mask import Holes, MaskError, read_mask
from irchroma.engines.repair.membrane import membrane
from irchroma.engines.repair.repairer import RepairOptions, VideoRepair

SIZE = (128, 160)
FRAME_NS = 33_000_000
CLASSICAL = RepairOptions(FillOptions("navier-stokes"))


def scene(width: int = 480) -> np.ndarray:
    """A textured hill, (128, width) uint8."""
    random = np.random.default_rng(2)
    coarse = cv2.resize(random.integers(40, 200, (9, width // 16)).astype(np.uint8), (width, SIZE[0]))
    fine = cv2.GaussianBlur(random.normal(0, 60, (SIZE[0], width)).astype(np.float32), (0, 0), 1.6)
    return np.clip(coarse + fine, 0, 255).astype(np.uint8)


def panned(step: int, count: int) -> list[np.ndarray]:
    whole = scene()
    return [np.ascontiguousarray(whole[:, step * n : step * n + SIZE[1]]) for n in range(count)]


def blob(top: int = 50, left: int = 60, side: int = 24) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def error(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    return float(np.abs(picture.astype(float) - truth)[mask].mean())


def spoiled(frame: np.ndarray, mask: np.ndarray, value: int = 255) -> np.ndarray:
    made = frame.copy()
    made[mask] = value
    return made


def test_what_was_seen_comes_back_on_a_pan() -> None:
    mask, frames = blob(), panned(3, 20)
    each = VideoRepair(RepairOptions(FillOptions("navier-stokes"), remember=False), mask)
    video = VideoRepair(CLASSICAL, mask)
    for number, frame in enumerate(frames):
        seen = video.apply(spoiled(frame, mask), number * FRAME_NS)[0]
        alone = each.apply(spoiled(frame, mask), number * FRAME_NS)[0]
    assert error(seen, frames[-1], mask) < 0.5 * error(alone, frames[-1], mask)
    assert video.summary()["seen_before"] > 0.4
    assert each.summary()["seen_before"] == 0.0


def test_a_block_that_is_lost_in_one_frame_is_taken_from_the_one_before() -> None:
    frames, lost = panned(2, 6), blob(32, 48, 32)
    video = VideoRepair(CLASSICAL)
    for number, frame in enumerate(frames[:-1]):
        out, mark = video.apply(frame, number * FRAME_NS)
        assert out is frame
        assert mark is None
    out, mark = video.apply(spoiled(frames[-1], lost, 128), 5 * FRAME_NS, lost=lost)
    assert error(out, frames[-1], lost) < 6.0
    assert mark is not None
    assert np.array_equal(mark > 0, lost)


def test_blocks_are_lost_beside_a_mask_that_stays() -> None:
    random = np.random.default_rng(1)
    standing = np.zeros(SIZE, bool)
    standing[20:50, 20:50] = standing[70:100, 100:140] = True
    video = VideoRepair(RepairOptions(FillOptions("partial-conv"), windows=1), standing)
    for number, frame in enumerate(panned(4, 24)):
        lost = holes.draw("lost", SIZE, random) if number % 2 else None
        mask = standing | lost if lost is not None else standing
        out, mark = video.apply(spoiled(frame, mask), number * FRAME_NS, lost=lost)
        assert mark is not None
        assert np.array_equal(mark > 0, mask)
        assert np.array_equal(out[~mask], frame[~mask])
        assert error(out, frame, mask) < 60
    video.close()


def test_a_still_scene_keeps_its_fill_and_costs_the_network_little() -> None:
    frame, mask = scene()[:, : SIZE[1]], blob()
    video = VideoRepair(RepairOptions(FillOptions("partial-conv")), mask)
    outs = [video.apply(spoiled(frame, mask), number * FRAME_NS)[0] for number in range(17)]
    assert video.counts.windows <= 3  # the first, and one each eighth frame
    assert np.abs(outs[-1].astype(int) - outs[-2])[mask].max() <= 1
    video.close()


def test_a_fill_follows_the_light() -> None:
    frame, mask = scene()[:, : SIZE[1]] // 2, blob()
    video = VideoRepair(CLASSICAL, mask)
    before = video.apply(spoiled(frame, mask), 0)[0]
    after = video.apply(spoiled(frame + 40, mask), FRAME_NS)[0]
    assert after[mask].mean() - before[mask].mean() == pytest.approx(40, abs=3)


def test_counts_are_repaired_in_counts() -> None:
    frame = scene()[:, : SIZE[1]].astype(np.uint16) * 7 + 29_000
    mask = blob(side=9)
    out, mark = VideoRepair(CLASSICAL, mask).apply(spoiled(frame, mask, 0), 0)
    assert out.dtype == np.uint16
    assert np.array_equal(out[~mask], frame[~mask])
    assert error(out, frame, mask) < 250
    assert mark is not None


def test_nothing_but_the_hole_changes_and_the_frame_is_not_written_to() -> None:
    frame, mask = scene()[:, : SIZE[1]], blob()
    given = spoiled(frame, mask)
    kept = given.copy()
    for method in ("auto", "telea", *REPAIRS):
        out, _ = VideoRepair(RepairOptions(FillOptions(method)), mask).apply(given, 0)
        assert np.array_equal(given, kept)
        assert np.array_equal(out[~mask], frame[~mask]), method
        assert error(out, frame, mask) < error(given, frame, mask)


def test_a_cut_forgets_the_past() -> None:
    mask = blob()
    bright = np.where(np.indices(SIZE).sum(0) // 8 % 2 > 0, 240, 180).astype(np.uint8)
    video = VideoRepair(CLASSICAL, mask)
    video.apply(scene()[:, : SIZE[1]] // 4, 0)
    out, _ = video.apply(spoiled(bright, mask, 0), FRAME_NS)
    assert out[mask].min() > 150


def test_what_a_new_mask_marks_was_wrong_before_and_is_not_taken_from_the_past() -> None:
    frame = scene()[:, : SIZE[1]]
    first, second = blob(10, 10, 12), blob(60, 80, 12)
    video = VideoRepair(CLASSICAL, first)
    video.apply(spoiled(frame, first | second), 0)
    video.use(second)
    for number in range(1, 4):
        out, mark = video.apply(spoiled(frame, second), number * FRAME_NS)
    assert mark is not None
    assert np.array_equal(mark > 0, second)
    assert out[second].max() < 255
    assert error(out, frame, second) < 40


@pytest.mark.parametrize("size", [(16, 16), (40, 300), (120, 90)])
def test_pictures_smaller_than_a_window_are_repaired(size: tuple[int, int]) -> None:
    frame = np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(np.uint8) // 2 + 30
    mask = np.zeros(size, bool)
    mask[3:15, 3:15] = True
    video = VideoRepair(RepairOptions(FillOptions("partial-conv")), mask)
    for number in range(3):
        out, _ = video.apply(spoiled(frame, mask), number * FRAME_NS)
    assert out.shape == size
    assert error(out, frame, mask) < 30


def test_bad_masks_are_one_clear_line(tmp_path: Path) -> None:
    frame = scene()[:, : SIZE[1]]
    other = np.zeros((64, 64), bool)
    other[3:9, 3:9] = True
    with pytest.raises(MaskError, match=r"yard\.png: is 64x64, the picture 160x128"):
        VideoRepair(CLASSICAL, other, "yard.png").apply(frame, 0)
    with pytest.raises(MaskError, match="marks the whole picture"):
        VideoRepair(CLASSICAL, np.ones(SIZE, bool), "all").apply(frame, 0)
    for name, picture, told in (
        ("empty.png", np.zeros(SIZE, np.uint8), "marks nothing"),
        ("full.png", np.full(SIZE, 255, np.uint8), "marks the whole picture"),
    ):
        cv2.imwrite(str(tmp_path / name), picture)
        with pytest.raises(MaskError, match=told):
            read_mask(tmp_path / name)
    (tmp_path / "note.png").write_text("no picture")
    with pytest.raises(MaskError, match="not a picture"):
        read_mask(tmp_path / "note.png")
    with pytest.raises(MaskError, match="no such file"):
        read_mask(tmp_path / "gone.png")
    with pytest.raises(EngineOptionError, match="unknown method"):
        FillOptions("magic")
    with pytest.raises(EngineOptionError, match="windows a frame"):
        RepairOptions(windows=0)


def test_thin_holes_are_told_from_wide_ones() -> None:
    mask = np.zeros(SIZE, bool)
    mask[20:22] = True  # two dead rows
    mask[60:80, 60:90] = True
    found = Holes(mask)
    assert found.thin[20:22].all()
    assert found.wide[60:80, 60:90].all()
    assert not (found.thin & found.wide).any()
    assert np.array_equal(found.thin | found.wide, mask)


def test_every_wide_pixel_is_filled_from_exactly_one_window() -> None:
    random = np.random.default_rng(0)
    mask = np.zeros((400, 600), bool)
    mask[100:140, 50:500] = True  # long: side by side
    mask[200:330, 300:430] = True  # larger than a window's core: scaled
    for _ in range(20):
        mask |= holes.blob(mask.shape, 20, random)
    found = Holes(mask)
    owned = np.concatenate([window.own for window in found.windows])
    assert np.array_equal(np.sort(owned), np.flatnonzero(found.wide))
    for window in found.windows:
        rows, columns = np.divmod(window.own, 600)
        assert rows.min() >= window.top
        assert rows.max() < window.top + window.side
        assert columns.min() >= window.left
        assert columns.max() < window.left + window.side


def test_a_membrane_keeps_what_is_known_and_is_level_where_its_border_is() -> None:
    values = np.full((50, 70), 3.0, np.float32)
    known = np.ones_like(values)
    known[10:40, 20:60] = 0.0
    values[10:40, 20:60] = 99.0
    assert np.allclose(membrane(values, known), 3.0, atol=1e-4)
    assert (membrane(values, np.zeros_like(known)) == 0).all()


@pytest.mark.parametrize("kind", holes.KINDS)
def test_every_kind_of_hole_can_be_drawn_and_repeats_from_its_seed(kind: str) -> None:
    drawn = [holes.draw(kind, SIZE, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.shape == SIZE and one.dtype == bool for one in drawn)
    assert all(0 < one.mean() < 0.6 for one in drawn if one.any())
    assert any(one.any() for one in drawn)
    assert np.array_equal(drawn[3], holes.draw(kind, SIZE, np.random.default_rng(3)))


def test_classical_fills_have_the_precision_of_counts() -> None:
    slope = np.add.outer(np.zeros(32), np.linspace(0.2, 0.21, 64)).astype(np.float32)
    mask = np.zeros(slope.shape, bool)
    mask[10:14, 20:24] = True
    for method in ("telea", "navier-stokes"):
        made = Filling(FillOptions(method, NetworkOptions())).fill(slope, Holes(mask))
        assert np.abs(made - slope)[mask].max() < 1e-3


def test_a_picture_that_is_lost_wholly_is_held_and_shows_what_changes() -> None:
    frames, everything = panned(0, 4), np.ones(SIZE, bool)
    moving = [np.full(SIZE, 128, np.uint8) for _ in frames]  # drawn from a gray that a decoder made up
    moving[3][20:40, 30:50] = 168
    video = VideoRepair(CLASSICAL)
    first, mended = video.apply(moving[1], 0, lost=everything)
    assert np.array_equal(first, moving[1])  # there is nothing to hold
    assert mended is None
    video.apply(frames[0], FRAME_NS)
    held, mended = video.apply(moving[1], 2 * FRAME_NS, lost=everything)
    assert np.array_equal(held, frames[0])
    assert mended is not None
    assert (mended == 255).all()
    shown = video.apply(moving[3], 3 * FRAME_NS, lost=everything, lasting=everything)[0]
    changed = np.clip(frames[0].astype(int) + moving[3] - 128, 0, 255)
    assert np.array_equal(shown, changed)
    again = video.apply(moving[2], 4 * FRAME_NS, lost=everything, lasting=everything)[0]
    assert np.array_equal(again, frames[0])  # what was cut off at white has come back
    assert np.array_equal(video.apply(frames[1], 5 * FRAME_NS)[0], frames[1])
    assert video.summary()["seen_before"] == 1.0
