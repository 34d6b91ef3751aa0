"""The bench of references over a drawn fixed camera."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests import daytime_scene

from irchroma.engines.network.network import installed
from irchroma.launch.cli import main


@pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")
def test_a_reference_helps_and_one_with_a_mover_shows_less_of_it_than_if_it_were_trusted(
    tmp_path: Path,
) -> None:
    for side in ("ir", "rgb"):
        (tmp_path / side).mkdir()
    rgb, infrared = daytime_scene.draw(3, pieces=16)
    for number in range(3):
        seen = rgb.copy()
        if number == 0:
            cv2.ellipse(seen, (150, 200), (14, 34), 0, 0, 360, (210, 40, 50), -1)
        cv2.imwrite(str(tmp_path / "rgb" / f"f{number}.png"), np.ascontiguousarray(seen[..., ::-1]))
        cv2.imwrite(str(tmp_path / "ir" / f"f{number}.png"), infrared)
    found = []
    for words in ([], ["--trusted"]):
        out = tmp_path / "reference.json"
        words = [*words, "--references", "1", "--every", "1", "--json", str(out)]
        assert main(["bench", "reference", str(tmp_path), *words]) == 0
        found.append(json.loads(out.read_text())["results"])
    alone, trusted = found
    assert alone["f0.png"]["psnr_db"]["median"] > alone["none"]["psnr_db"]["median"] + 3
    assert alone["f0.png"]["ghost"]["median"] < trusted["f0.png"]["ghost"]["median"]
