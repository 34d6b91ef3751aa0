"""Evidence of a run: which file, whose key, and what is said of each frame."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from irchroma.engines.cache import digest_of
from irchroma.launch.config import ConfigError
from irchroma.launch.run.settings.options import RunConfig
from irchroma.launch.run.settings.passwords import state_folder
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Colorizer, Composer, Job
from irchroma.stream.sensor.telemetry import CameraTelemetry
from irchroma.stream.sinks.evidence.recorder import EvidenceOptions, EvidenceRecorder
from irchroma.stream.sinks.evidence.signing import Signer
from irchroma.stream.sinks.open_sink import SinkOptions, public


def evidence_sink(config: RunConfig) -> str | None:
    """Which of the run's sinks is its evidence; None where none is asked for.

    Raises:
        ConfigError: it is not one recording that can hold it.
    """
    if not config.output.evidence:
        return None
    files = [text for text in config.to if "://" not in text and text.lower().endswith(".mkv")]
    if len(files) != 1:
        raise ConfigError(
            f"--evidence is of one .mkv recording, and this run has {len(files)}: --to night.mkv --evidence"
        )
    if config.output.keep_raw is not None:
        raise ConfigError("--evidence keeps the untouched input in the same file: leave out --keep-raw")
    return files[0]


def own_key_file() -> Path:
    """Where this machine's own key is kept."""
    return state_folder() / "evidence-key.pem"


def make_recorder(config: RunConfig, text: str, options: SinkOptions) -> EvidenceRecorder:
    """What records the evidence.

    Raises:
        StreamError: no key, or the file cannot be written.
    """
    from importlib.metadata import PackageNotFoundError, version  # 10 ms of every start

    named = config.output.evidence_key
    signer = Signer.read(named) if named is not None else Signer.kept(own_key_file())
    try:
        program = f"irchroma {version('irchroma')}"
    except PackageNotFoundError:
        program = "irchroma"
    return EvidenceRecorder(
        Path(text.removeprefix("file://").removeprefix("file:")),
        EvidenceOptions(
            signer,
            options.encoder,
            options.segment_s,
            options.keep,
            options.overwrite,
            options.audio_from,
            {
                "program": program,
                "source": public(config.source),
                "camera_profile": config.camera or None,
                **({"raw_under_privacy_masks": config.privacy.raw} if config.privacy.asked else {}),
            },
            program,
        ),
    )


class EvidenceFacts:
    """A `Composer` that tells a recorder of each picture: engine, weights, confidence, shutter, telemetry.

    Args:
        composer: composes.
        recorder: is told; None where nobody is.
    """

    def __init__(self, composer: Composer, recorder: EvidenceRecorder | None) -> None:
        self._composer, self._recorder = composer, recorder
        self._engines: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._weights: dict[str, Path] = {}
        self._digests: dict[Path, str] = {}  # of what was there first: updates replace files

    def opened(self, colorizer: Colorizer) -> Colorizer:
        """Remember an engine while it is there: frames will say by its name that it has colored them."""
        weights = getattr(colorizer, "weights", None)
        if weights is not None:
            self._engines[colorizer.name], self._weights[colorizer.name] = colorizer, weights
        return colorizer

    def compose(self, job: Job) -> Picture:
        picture = self._composer.compose(job)
        if self._recorder is not None:
            self._recorder.note(job.frame.pts_ns, self._facts(job))
        return picture

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        return self._composer.no_signal(silent_s, reason)

    def _facts(self, job: Job) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        telemetry = job.frame.extra.get("telemetry")
        if isinstance(telemetry, CameraTelemetry):
            facts["shutter"] = "closed" if telemetry.shutter_closed else "open"
            facts["telemetry"] = {key: value for key, value in asdict(telemetry).items() if value is not None}
        elif job.frame.held:
            facts["shutter"] = "closed"
        if job.frame.taken_ns:
            facts["camera_utc_ns"] = job.frame.taken_ns
        if job.frame.gap:
            facts["gap"] = True
        if "privacy" in job.frame.extra:
            facts["privacy_masks"] = job.frame.extra["privacy"]
        if job.colored is None:
            return facts | (
                {"engine": None, "why": job.reason} if job.camera_rgb is None else {"engine": None}
            )
        facts["engine"] = job.engine
        engine = self._engines.get(job.engine)
        if engine is not None:  # those of an engine that adjusts itself are others with each step
            self._weights[job.engine] = engine.weights
        if job.engine in self._weights:
            weights = self._weights[job.engine]
            if weights not in self._digests:
                self._digests[weights] = digest_of(weights)
            facts["weights"] = self._digests[weights]
        if job.colored.confidence is not None:
            facts["confidence"] = round(float(np.mean(job.colored.confidence)) / 255, 3)
        return facts
