from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.palette.tables import load_palette, palette_table


def write_csv(path: Path, table: np.ndarray, heading: str = "") -> Path:
    path.write_text(
        heading + "\n".join(",".join(map(str, row)) for row in table.tolist()) + "\n", encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("entries", [256, 1024])
@pytest.mark.parametrize("heading", ["", "r,g,b\n", "\ufeffR, G, B\n\n"])
def test_a_csv_file_comes_back_as_it_was(tmp_path: Path, entries: int, heading: str) -> None:
    table = palette_table("arctic", entries)
    assert np.array_equal(load_palette(write_csv(tmp_path / "a.csv", table, heading)), table)


@pytest.mark.parametrize("entries", [256, 1024])
@pytest.mark.parametrize("kind", ["across", "down", "alpha", "deep"])
def test_a_png_strip_comes_back_as_it_was(tmp_path: Path, entries: int, kind: str) -> None:
    table = palette_table("lava", entries)
    strip = np.repeat(table[None, :, ::-1], 9, axis=0)
    if kind == "down":
        strip = strip.transpose(1, 0, 2)
    elif kind == "alpha":
        strip = np.dstack([strip, np.full(strip.shape[:2], 255, np.uint8)])
    elif kind == "deep":
        strip = strip.astype(np.uint16) * 257
    path = tmp_path / "strip.PNG"
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(strip))[1].tobytes())
    assert np.array_equal(load_palette(path), table)


def test_a_gray_png_strip_is_a_gray_palette(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    cv2.imwrite(str(path), np.arange(256, dtype=np.uint8)[None].repeat(4, axis=0))
    assert np.array_equal(load_palette(path), palette_table("white-hot"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("short.csv", b"1,2,3\n" * 255, "255 colors, expected 256 or 1024"),
        ("empty.csv", b"", "0 colors"),
        ("high.csv", b"1,2,3\n" * 9 + b"1,2,256\n", "line 10: expected r,g,b"),
        ("real.csv", b"0.5,0.1,1.0\n" * 256, "line 1: expected r,g,b"),
        ("four.csv", b"1,2,3,4\n" * 256, "line 1: expected r,g,b"),
        ("binary.csv", bytes(range(128, 256)), "not text"),
        ("broken.png", b"\x89PNG\r\n\x1a\nnothing", "not a picture"),
        ("empty.png", b"", "not a picture"),
        ("wide.png", cv2.imencode(".png", np.zeros((4, 300, 3), np.uint8))[1].tobytes(), "300 colors"),
        ("palette.txt", b"1,2,3\n", "neither .csv nor .png"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EngineOptionError, match=message) as caught:
        load_palette(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_missing_file_and_a_folder_say_why(tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="no such file"):
        load_palette(tmp_path / "none.csv")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(EngineOptionError, match="is a directory"):
        load_palette(tmp_path / "folder.png")
