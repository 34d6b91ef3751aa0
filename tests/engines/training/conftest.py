from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.training.made_up import made_scene, write_picture


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for index in range(3):
        ir, rgb = made_scene(index)
        write_picture(tmp_path / "data" / "ir" / f"scene_{index}.png", ir)
        write_picture(tmp_path / "data" / "rgb" / f"scene_{index}.png", rgb)
    return tmp_path / "data"
