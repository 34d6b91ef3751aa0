"""What `bench gpu` holds a runtime against: torch by itself, and what the device can do at the most."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from irchroma.launch.bench.gpu_measure import percentiles
from irchroma.launch.bench.gpu_parts import Parts


def no_torch(index: int) -> str | None:
    """Why torch cannot be measured here; None where it can."""
    if find_spec("torch") is None:
        return "torch is not installed: pip install 'irchroma[train]'"
    from irchroma.launch.bench import torch_speed

    return torch_speed.missing(index)


def compare(
    parts: Parts, path: Path, size: tuple[int, int], batches: tuple[int, ...], seconds: float, device: str
) -> None:
    """Fill in torch's ways of running the network, each by itself, and the device's limits."""
    from irchroma.launch.bench import torch_speed

    limits = parts.inner("limits")
    limits.attempt("copy_gb_s", lambda: round(torch_speed.copy_gb_s(device, seconds), 2))
    limits.attempt("matrix_tflop_s", lambda: round(torch_speed.matrix_tflop_s(device, seconds), 6))
    limits.attempt("network_fp16", lambda: _cost(path.with_name(f"{path.stem}_fp16.onnx"), size))
    limits.attempt("network_fp32", lambda: _cost(path, size))
    ways = parts.inner("torch")
    for way in torch_speed.WAYS:
        rows = ways.inner(way)
        for frames in batches if way == "eager fp16" else (1, batches[-1]):

            def measured(way: str = way, frames: int = frames) -> dict[str, Any]:
                call = torch_speed.plain_network(path, (frames, 1, *size), way, device)
                single, each_ms = torch_speed.times_ms(call, device, seconds)
                return {
                    "call_ms": percentiles(single),
                    "in_a_row_ms": round(each_ms, 5),
                    "frames_per_second": round(frames / each_ms * 1e3, 1),
                }

            rows.attempt(f"batch {frames}", measured)


def _cost(path: Path, size: tuple[int, int]) -> dict[str, int]:
    from irchroma.launch.bench import torch_speed

    return torch_speed.network_cost(path, (1, 1, *size))


def judge(results: dict[str, Any]) -> dict[str, Any]:
    """How much faster each runtime is than torch's ways, and its share of what the device can do.

    A runtime's network is held against `eager fp16` and the others at batch 1, by calls started in a row. Its
    limit is the longer one of its operations at the measured rate of matrices and its bytes at the measured
    rate of copies; a kernel's is its bytes alone. A part that is missing leaves its number out.
    """
    comparison = results.get("comparison", {})
    limits = comparison.get("limits", {})
    verdicts: dict[str, Any] = {}
    for runtime, found in results.get("runtimes", {}).items():
        single = next((row for row in found.get("network", []) if row["frames"] == 1), None)
        verdict: dict[str, Any] = {}
        if single is not None:
            for way, rows in comparison.get("torch", {}).items():
                other = rows.get("batch 1")
                if other is not None:
                    ratio = other["in_a_row_ms"] / single["in_a_row_ms"]
                    verdict[f"times_as_fast_as_torch_{way.replace(' ', '_')}"] = round(ratio, 2)
            floor_ms = _network_floor_ms(single["name"], limits)
            if floor_ms is not None:
                verdict["network_share_of_limit"] = round(floor_ms / single["in_a_row_ms"], 4)
        steps = {name: step for name, step in found.get("steps_ms", {}).items() if step["bytes"]}
        if steps and "copy_gb_s" in limits:
            floor_ms = sum(step["bytes"] for step in steps.values()) / limits["copy_gb_s"] / 1e6
            share = floor_ms / sum(step["mean"] for step in steps.values())
            verdict["kernels_share_of_limit"] = round(share, 4)
        for key in ("live_streams", "live_streams_batched"):
            fit = [row["streams"] for row in found.get(key, []) if row["keeps_up"]]
            if key in found:
                verdict[f"{key}_that_fit"] = max(fit, default=0)
        verdicts[runtime] = verdict
    return verdicts


def _network_floor_ms(name: str, limits: dict[str, Any]) -> float | None:
    cost = limits.get("network_fp16" if "fp16" in name else "network_fp32")
    if cost is None or "copy_gb_s" not in limits or "matrix_tflop_s" not in limits:
        return None
    computing_ms: float = cost["flops"] / limits["matrix_tflop_s"] / 1e9
    moving_ms: float = cost["bytes"] / limits["copy_gb_s"] / 1e6
    return max(computing_ms, moving_ms)
