"""What Debian's Chromium shows: the page, and recordings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.browser import SHOWN, WIDTH, opened
from tests.clients.viewers import SIZE, TOLERANCE, Served, expected_colors

pytestmark = [pytest.mark.gst, pytest.mark.timeout(180)]


PIXELS = """(async (shown) => {
  if (shown.readyState < 2) await new Promise((there) => { shown.onloadeddata = there; });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [320, 240];
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0);
  return [40, 120, 200, 280].map((x) => [...context.getImageData(x, 60, 1, 1).data].slice(0, 3));
})"""
"""JavaScript: an element's colors in the middle of the four patches."""


def require_colors(pixels: list[list[int]]) -> None:
    assert np.abs(np.array(pixels) - expected_colors()).max() <= 2 * TOLERANCE


@pytest.mark.browser
def test_chromium_shows_the_page(served: Served, tmp_path: Path) -> None:
    page = served.streams["page"][0].removesuffix("live.mjpg")
    with opened(page, tmp_path / "profile") as tab:
        tab.wait_for(f"{WIDTH} === {SIZE[1]}")
        require_colors(tab.value(f"{PIXELS}({SHOWN})"))


@pytest.mark.browser
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "killed.mp4"])
def test_chromium_plays_a_recording(recorded: Path, tmp_path: Path, name: str) -> None:
    with opened((recorded / name).as_uri(), tmp_path / "profile") as tab:
        tab.wait_for("document.querySelector('video').readyState >= 2")
        shown = tab.value("(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))")
        assert shown[:2] == [SIZE[1], SIZE[0]]
        assert name == "killed.mp4" or shown[2] == pytest.approx(4, abs=0.1)
        tab.screenshot(tmp_path / "seen.png")
    seen = cv2.cvtColor(cv2.imread(str(tmp_path / "seen.png")), cv2.COLOR_BGR2RGB)
    # A file's page is of no origin whose pixels a script may read: the picture stands in the middle of it.
    top, left = (seen.shape[0] - SIZE[0]) // 2, (seen.shape[1] - SIZE[1]) // 2
    require_colors([seen[top + 60, left + x].tolist() for x in (40, 120, 200, 280)])
