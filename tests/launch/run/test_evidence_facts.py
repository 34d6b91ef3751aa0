"""What evidence says of each picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from irchroma.engines.cache import digest_of
from irchroma.launch.run.evidence import EvidenceFacts
from irchroma.stream.protocols import Frame, Job


class Engine:
    name = "nir"

    def __init__(self, weights: Path) -> None:
        self.weights = weights


def test_weights_that_an_update_takes_away_during_a_run_are_named_as_they_were(tmp_path: Path) -> None:
    weights = tmp_path / "nir_fast.onnx"
    weights.write_bytes(b"weights")
    was = digest_of(weights)
    noted: list[dict[str, Any]] = []
    recorder = SimpleNamespace(note=lambda _pts_ns, facts: noted.append(facts))
    watch = EvidenceFacts(SimpleNamespace(compose=lambda job: job), recorder)  # type: ignore[arg-type]
    engine = watch.opened(Engine(weights))  # type: ignore[arg-type]
    luma = np.zeros((4, 4), np.uint8)
    colored: Any = SimpleNamespace(confidence=None)
    job = Job(Frame(luma, 0), luma, colored=colored, engine=engine.name)
    watch.compose(job)
    weights.write_bytes(b"other weights")
    watch.compose(job)
    weights.unlink()
    watch.compose(job)
    assert [facts["weights"] for facts in noted] == [was] * 3
