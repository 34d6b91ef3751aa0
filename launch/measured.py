"""What every benchmark's JSON says of itself: commit, machine, versions."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    "irchroma",
    "numpy",
    "opencv-python",
    "openvino",
    "onnxruntime",
    "torch",
    "tensorrt",
    "tensorrt-rtx",
    "pycuda",
)


def circumstances() -> dict[str, Any]:
    """Commit, date, processor, cores, system and package versions of this very run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
    }


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


def write_json(path: Path, results: dict[str, Any]) -> None:
    """The results under their circumstances, in the file's place at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps({**circumstances(), **results}, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
