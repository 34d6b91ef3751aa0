"""What evidence says of each picture, and of what it lacks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.stream.sinks.files.recording import STEADY, record, tone

from irchroma.engines.cache import digest_of
from irchroma.launch.cli import main
from irchroma.launch.run.evidence import EvidenceFacts
from irchroma.stream.protocols import Frame, Job
from irchroma.stream.sinks.encoding.sound import FileSound
from irchroma.stream.sinks.evidence import recorder as recorders
from irchroma.stream.sinks.files.file_sink import FileSinkOptions


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


@pytest.mark.gst
@pytest.mark.parametrize("stuck", [True, False])
def test_sound_whose_end_does_not_come_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stuck: bool
) -> None:
    pytest.importorskip("cryptography")

    class Stuck(FileSound):
        """Its decoder gives nothing more, and does not end."""

        def settled(self, end_ns: int) -> bool:
            return False

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr(recorders, "FileSound", Stuck if stuck else FileSound)
    sound, clip, night = tone(tmp_path / "tone.wav", seconds=5), tmp_path / "clip.mkv", tmp_path / "night.mkv"
    record(clip, STEADY, Fraction(30000, 1001), FileSinkOptions(audio_from=sound))
    words = ["run", str(clip), "--to", str(night), "--evidence", "--engine", "gray", "--quiet"]
    assert main(words) == 0
    said = f"{night}: the last of its sound is left out: it did not come in 2 s"
    assert (said in capsys.readouterr().err) == stuck
