"""The bench of colors by a reference over drawn scenes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines import catalog
from irchroma.engines.network.network import installed
from irchroma.launch.bench.color import exemplars
from irchroma.launch.cli import main

pytestmark = [
    pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed"),
    pytest.mark.skipif(
        not catalog.weights_path("reference", "thermal").is_file(), reason="no weights of reference:thermal"
    ),
]


@pytest.mark.timeout(600)  # it only calculates: two minutes on a busy machine
def test_every_way_is_in_the_table_and_no_reference_is_the_band_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exemplars, "CALLS", 8)
    monkeypatch.setattr(exemplars, "SIZES_PX", ((256, 320), (64, 96)))
    for side in ("ir", "rgb"):
        (tmp_path / side).mkdir()
    for number in range(2):
        rgb, infrared = daytime_scene.draw(number)
        cv2.imwrite(str(tmp_path / "rgb" / f"f{number}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        cv2.imwrite(str(tmp_path / "ir" / f"f{number}.png"), infrared)
    out, sheet = tmp_path / "exemplars.json", tmp_path / "sheet.png"
    words = ["--band", "thermal", "--threads", "1", "--json", str(out), "--sheet", str(sheet)]
    assert main(["bench", "exemplars", str(tmp_path), *words]) == 0
    said = json.loads(out.read_text(encoding="utf-8"))
    rows = said["results"]
    assert rows["no reference"] == rows["alone"]
    for kind in ("other crop", "other half", "other scene"):
        for way in ("reference", "auto", "network", "geometry", "statistics", "strength 2"):
            assert f"{kind}: {way}" in rows
    parts = said["by_light"]
    assert parts["day"]["pairs"] + parts["night"]["pairs"] == 2
    assert parts["day"]["other crop: reference"] == rows["other crop: reference"]
    near, alone = rows["other crop: reference"]["mean"], rows["alone"]["mean"]
    assert near["psnr_db"] > alone["psnr_db"] + 1
    for form in ("f32", "int8"):
        cost = said["cost"]["320x256"][form]
        assert cost["fast_cpu_ms"]["count"] == cost["placed"]["cpu_ms"]["count"] == 8
        assert 1.0 < cost["mood"]["ratio"] < 4.0
    assert said["cost"]["320x256"]["known"] == 1.0
    assert cv2.imread(str(sheet)) is not None


def test_statistics_are_taken_over() -> None:
    random = np.random.default_rng(0)
    dull = random.integers(90, 140, (40, 50, 3), dtype=np.uint8)
    given = np.clip(random.normal((120, 150, 100), 12, (40, 50, 3)), 0, 255).astype(np.uint8)
    made = exemplars.reinhard(dull, given).astype(float)
    np.testing.assert_allclose(made.mean((0, 1)), given.mean((0, 1)), atol=3)


def test_a_night_is_dark_and_a_day_is_not() -> None:
    rgb, _ = daytime_scene.draw(0)
    for band in ("nir", "thermal"):
        assert not exemplars.is_dark(rgb, band)
        assert exemplars.is_dark(rgb // 4, band)
