"""What is measured, and under which circumstances: scores, commit, machine, versions, as JSON."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from irchroma.engines.cache import write_atomically
from irchroma.engines.measures import metrics
from irchroma.engines.measures.metrics import Scores
from irchroma.engines.processor import usable_cores

SHOWN = Path("-")
_PACKAGES = (
    "irchroma", "numpy", "opencv-python", "opencv-python-headless", "openvino", "onnxruntime", "torch",
    "tensorrt", "tensorrt-rtx", "pycuda",
)  # fmt: skip


def circumstances() -> dict[str, Any]:
    """Commit, date, processor, cores, system and package versions of this very run."""
    from importlib.metadata import PackageNotFoundError, version  # 10 ms of every start

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": usable_cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
    }


def machine_line() -> str:
    """Processor, cores and versions, for people."""
    about = circumstances()
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['processor']}, {about['cores']} cores, {os.uname().nodename}; {versions}; {about['date']}"


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile, interquartile range, minimum and maximum."""
    data = np.asarray(values, float)
    low, median, high = np.percentile(data, [25, 50, 75])
    return {
        "median": round(float(median), 4),
        "p95": round(float(np.percentile(data, 95)), 4),
        "iqr": round(float(high - low), 4),
        "min": round(float(data.min()), 4),
        "max": round(float(data.max()), 4),
        "count": int(data.size),
    }


def show_json(path: Path, text: str) -> None:
    """JSON into the file; `-` stands for standard output, where nothing else is written then.

    Raises:
        OSError: it cannot be written.
    """
    if path == SHOWN:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


def words_of(path: Path | None) -> TextIO:
    """Where the table for people goes beside the JSON of `show_json`."""
    return sys.stderr if path == SHOWN else sys.stdout


def write_json(path: Path, results: dict[str, Any]) -> None:
    """The results under their circumstances, in the file's place at once or not at all; `-` shows them."""
    text = json.dumps({**circumstances(), **results}, indent=2) + "\n"
    if path == SHOWN:
        show_json(path, text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [text.encode()])


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        return _told_commit()
    return done.stdout.strip() or _told_commit()


def _told_commit() -> str:
    """The commit by IRCHROMA_COMMIT, for a copy without its repository."""
    return os.environ.get("IRCHROMA_COMMIT") or "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


@dataclass(frozen=True, slots=True)
class Measured:
    """One pair's result.

    Attributes:
        name: the pair's file stem.
        scores: every measure.
        milliseconds: from luma to color, without reading and writing.
        by_day: whether the truth was taken by day, as pictures from a car go.
    """

    name: str
    scores: Scores
    milliseconds: float
    by_day: bool


def finite(scores: Scores) -> dict[str, float | None]:
    """The measures for JSON, which knows no infinity: None there."""
    return {key: round(value, 5) if math.isfinite(value) else None for key, value in asdict(scores).items()}


def summary(measured: list[Measured]) -> dict[str, dict[str, float | None]]:
    """The means of all pictures, and of those by day and by night where there are both."""
    return {
        name: {
            "count": len(group),
            **finite(metrics.mean_scores([one.scores for one in group])),
            "milliseconds": round(float(np.mean([one.milliseconds for one in group])), 2),
        }
        for name, group in by_light(measured).items()
    }


def by_light(measured: list[Measured]) -> dict[str, list[Measured]]:
    """All of them, and by day and by night apart where there are both."""
    day = [one for one in measured if one.by_day]
    night = [one for one in measured if not one.by_day]
    groups = {"mean": measured}
    if day and night:
        groups |= {"bright sky": day, "dark sky": night}
    return groups
