"""Large pictures, modeled at a quarter of their size: those made at once, and text without color."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.engines.recolor.test_recoloring import color, scene, small_of

from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions


@pytest.mark.parametrize("mode", ["full", "chroma"])
def test_a_large_video_picture_by_a_quarter_is_the_same_but_for_little(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    luma = scene((480, 640))
    text = np.zeros_like(luma)
    cv2.putText(text, "12:34:56", (250, 400), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 4)
    luma = np.maximum(luma, text)
    small = small_of(luma)
    ycc, confidence = color(small, 0.15, -0.1, 0.6)
    ycc[..., 1] *= 0.5 + small / np.float32(255)
    made = []
    for pixels in (luma.size + 1, luma.size):
        monkeypatch.setattr(f"{Recoloring.__module__}.QUARTERED_CHROMA", pixels)
        recoloring = Recoloring(RecolorOptions(mode=mode))  # type: ignore[arg-type]
        made.append(recoloring.planes(luma, small, ycc, confidence))
    for whole, quarter, least_db in zip(*made, (50.0, 45.0, 45.0), strict=True):
        assert whole.shape == quarter.shape
        error = float(np.mean((whole.astype(np.float32) - quarter) ** 2))
        assert error < 255**2 / 10 ** (least_db / 10)
    strokes = cv2.resize(text, (320, 240), interpolation=cv2.INTER_AREA) > 192
    colors = [np.abs(np.array(planes[1:])[:, strokes].astype(int) - 128).mean() for planes in made]
    assert colors[1] < colors[0] + 1  # 6.2 in place of 1.0 where white is looked for at a quarter alone
