from __future__ import annotations

import pytest

from irchroma.launch.bench.service.around import Sample, levels
from irchroma.launch.config import ConfigError


def test_the_last_quarter_is_held_against_the_first_after_a_start() -> None:
    samples = [
        Sample(at_s, 100 + (at_s < 50) * 50 + at_s / 100, 30 + (at_s % 20 == 0), 40) for at_s in range(450)
    ]
    found = levels(samples, 50.0)
    assert found == {"growth_mb": 3.0, "threads": [31, 31], "files": [40, 40]}
    with pytest.raises(ConfigError, match="too short"):
        levels(samples, 449.0)
