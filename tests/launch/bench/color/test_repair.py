"""`irchroma bench repair` measures inside the holes alone, on pictures and clips, and how long it took."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("skimage")

from irchroma.engines.measures.metrics import ssim_within
from irchroma.engines.network.network import NetworkOptions
from irchroma.launch.bench.clips import code, lose_slices, shown
from irchroma.launch.bench.color import damage, repair
from irchroma.launch.bench.color.repair import KINDS, Tally, mask_for
from irchroma.launch.cli import main


def test_psnr_and_ssim_are_of_the_hole_alone() -> None:
    truth = np.random.default_rng(0).integers(60, 180, (40, 50)).astype(np.uint8)
    mask = np.zeros(truth.shape, bool)
    mask[10:20, 10:20] = True
    made = truth.copy()
    made[mask] += 5
    made[30:, :] = 0  # beside the hole: of no account
    tally = Tally()
    tally.add(made, truth, mask, 2.0)
    assert tally.psnr_db[0] == pytest.approx(20 * np.log10(255 / 5))
    assert ssim_within(truth, truth, mask) == pytest.approx(1.0)
    assert tally.ssim[0] < 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_mask_leaves_most_of_the_picture(kind: str) -> None:
    mask = mask_for(kind, (240, 320), np.random.default_rng(0))
    assert 0 < mask.mean() < 0.25


@pytest.mark.gst
def test_the_bench_runs_on_a_folder_and_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "SPEED_FRAMES", 3)
    monkeypatch.setattr(repair, "SHARES", (0.01,))
    monkeypatch.setattr(repair, "KINDS", ("text", "blob 24"))
    random = np.random.default_rng(0)
    for place in ("nir/val/ir", "thermal/val/ir"):
        (tmp_path / place).mkdir(parents=True)
        for number in range(2):
            picture = cv2.resize(random.integers(20, 230, (9, 12)).astype(np.uint8), (160, 128))
            cv2.imwrite(str(tmp_path / place / f"{number}.png"), picture)
    clip, out, sheet = tmp_path / "clip.mkv", tmp_path / "out.json", tmp_path / "sheet.png"
    assert (
        main(["run", "test:nir?size=160x128&frames=6", "--to", str(clip), "--engine", "gray", "--quiet"]) == 0
    )
    words = ["--data", str(tmp_path), "--clip", str(clip), "--json", str(out), "--sheet", str(sheet)]
    assert main(["bench", "repair", *words]) == 0
    told = json.loads(out.read_text())
    for band in ("nir", "thermal"):
        assert set(told["pictures"][band]["methods"]["blob 24"]) == set(repair.methods())
    lost = told["clips"]["clip.mkv, lost blocks"]
    assert lost["auto"]["psnr_db"] > lost["auto, frame by frame"]["psnr_db"]
    assert told["speed"]["1%, still"]["ms"]["median"] > 0
    assert told["speed"]["1%, still"]["mean_cpu_ms"] > 0
    for way, row in told["damaged_streams"]["clip.mkv"].items():
        assert (row["frames"], row["false_alarms"], row["repeats"]) == (6, 0, True), way
    assert sheet.is_file()
    assert main(["bench", "repair", "--data", str(tmp_path / "gone"), "--json", str(out)]) == 1


@pytest.mark.gst
def test_slices_are_lost_and_what_goes_on_from_them_is_doubted(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wide = cv2.resize(random.integers(40, 220, (24, 60)).astype(np.uint8), (480, 192))
    frames = [np.ascontiguousarray(wide[:, 4 * n : 4 * n + 256]) for n in range(30)]
    whole = code(frames, tmp_path / "whole.ts", "h264, slices lost")
    truth, came = shown(whole), shown(lose_slices(whole, tmp_path / "bad.ts"))
    assert len(truth) == len(came) == 30
    assert all(frame.damaged_from is None for frame in truth)
    first = [frame.damaged_from for frame in came if frame.damaged_from not in (None, 1.0)]
    assert len(first) == 5
    assert set(first) <= {0.25, 0.5, 0.75}  # of four slices the first is never lost
    row = damage._of_damage(truth, came, NetworkOptions(threads=1))
    assert row["found_or_doubted_share"] > 0.8
    assert row["doubted_frames"] == row["damaged_frames"] > 5
    only = tmp_path / "only.json"
    words = ["--data", str(tmp_path), "--json", str(only), "--only", "damage"]
    assert main(["bench", "repair", *words]) == 0
    assert json.loads(only.read_text())["damaged_streams"] == {}
