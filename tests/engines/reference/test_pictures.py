"""Reference pictures and sets of them as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.errors import EngineOptionError
from irchroma.engines.reference.pictures import Reference, load_references, save_references
from irchroma.engines.reference.steering import ReferenceOptions


def test_a_set_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rgb, _ = daytime_scene.draw(3)
    trust = np.full(rgb.shape[:2], 255, np.uint8)
    trust[50:90, 60:80] = 0
    written = save_references(
        tmp_path / "yard.toml",
        [Reference(rgb, trust, 'a "b"'), Reference(rgb[::-1], np.full_like(trust, 255), "scene.png")],
    )
    assert [path.name for path in written] == ["yard.toml", "yard-1.png", "yard-2.png"]
    first, second = load_references(tmp_path / "yard.toml")
    assert np.array_equal(first.rgb, rgb)
    assert np.array_equal(first.trust, trust)
    assert np.array_equal(second.rgb, rgb[::-1])
    assert (second.trust == 255).all()
    (alone,) = load_references(tmp_path / "yard-1.png")
    assert np.array_equal(alone.trust, trust)


def test_files_that_are_no_reference_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineOptionError, match="no color reference at"):
        load_references(tmp_path / "none.png")
    text = tmp_path / "notes.toml"
    text.write_text("hello", encoding="utf-8")
    with pytest.raises(EngineOptionError, match="neither a picture nor a set"):
        load_references(text)
    gray = tmp_path / "gray.png"
    cv2.imwrite(str(gray), np.full((40, 40), 90, np.uint8))
    with pytest.raises(EngineOptionError, match="has no color"):
        load_references(gray)
    speck, folder = tmp_path / "speck.png", tmp_path / "pictures"
    cv2.imwrite(str(speck), np.full((1, 1, 3), (20, 90, 200), np.uint8))
    with pytest.raises(EngineOptionError, match="is 1x1: a reference has sides of 32 or more"):
        load_references(speck)
    cv2.imwrite(str(speck), np.full((60, 4000, 3), (20, 90, 200), np.uint8))  # 1280x19 when it is reduced
    with pytest.raises(
        EngineOptionError, match="is 4000x60: a reference is at most 40 times as long as wide"
    ):
        load_references(speck)
    folder.mkdir()
    with pytest.raises(EngineOptionError, match="pictures is a folder: give one picture of it"):
        load_references(folder)
    with pytest.raises(EngineOptionError, match="weight of the reference"):
        ReferenceOptions(gray, weight=2)
