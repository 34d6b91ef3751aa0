"""`irchroma bench without-gpu`: all that can be shown of the GPU path without a GPU, by one command.

The kernels compiled for every GPU that the compilers know, with the registers that they take and bytes that
found no room in them; plans of the networks that ship, built by TensorRT-RTX and proved; kernels as C++ under
sanitizers and as CUDA C++, the frame path over stand-ins, as tests. The file says of which kernels and which
networks all that is.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu.cuda.compile import (
    ARCHITECTURES,
    OPTIONS,
    find_nvcc,
    nvcc_architectures,
    nvcc_version,
    sources_digest,
)
from irchroma.engines.gpu.cuda.nvrtc import Nvrtc
from irchroma.engines.gpu.kernels.source import UNIT, kernel_names
from irchroma.engines.gpu.plans import library
from irchroma.engines.gpu.plans.build import SHAPES, PlanOptions, ensure_plans
from irchroma.engines.gpu.plans.file import file_sha256
from irchroma.engines.processor import usable_cores
from irchroma.launch.bench.gpu.measure import Parts
from irchroma.launch.bench.gpu.steps import Step, Times, lacks, run_steps, words_of_tests
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma bench without-gpu --json launch/benchmarks/without_gpu.json"

RUNTIME = "tensorrt-rtx"
CLASSIC_SHAPE = "1x256x320"
TESTS = {
    "kernels": ("tests/engines/gpu/steps", "tests/engines/gpu/kernels/test_source.py"),
    "as-cuda": ("tests/engines/gpu/kernels/test_as_cuda.py",),
    "sanitizers": ("tests/engines/gpu/kernels/test_sanitizers.py",),
    "recordings": ("tests/engines/gpu/capture", "tests/engines/gpu/cuda/test_driver.py"),
    "frames": (
        "tests/engines/gpu/frames",
        "tests/engines/gpu/test_colorizer.py",
        "tests/engines/gpu/test_chain.py",
    ),
    "torch-over-stand-in": ("tests/engines/gpu/cuda/test_torch_device.py",),
    "pycuda-over-stand-in": ("tests/engines/gpu/cuda/test_pycuda_device.py",),
    "many-cameras": ("tests/engines/gpu/cuda/test_many_cameras.py",),
    "references": ("tests/engines/gpu/test_reference.py", "tests/engines/gpu/capture/test_graphs.py"),
    "plans": ("tests/engines/gpu/plans", "tests/engines/neural/test_exemplar_float16.py"),
}
_LIMIT_S = 1800.0
_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    where.add_argument(
        "--check", type=Path, metavar="FILE", help="whether it is of these kernels and networks"
    )
    parser.add_argument(
        "--without", default="", type=_tests_of, metavar="TESTS,...", help=f"of {', '.join(TESTS)}"
    )


def _tests_of(words: str) -> str:
    """`plans,frames`, an argument's `type`."""
    if unknown := [word for word in words.split(",") if word and word not in TESTS]:
        raise argparse.ArgumentTypeError(f"expected of {', '.join(TESTS)}, got {', '.join(unknown)}")
    return words


def run(args: argparse.Namespace) -> int:
    """Compile, build, test; 1 where something failed or, with `--check`, is not of what is here."""
    if args.check is not None:
        changed = changed_since(json.loads(args.check.read_text(encoding="utf-8")))
        print("\n".join(changed) or f"{args.check} is of these kernels and networks")
        return 1 if changed else 0
    results: dict[str, Any] = {}
    parts = Parts(lambda: write_json(args.json, results), results)
    parts.note("kernels", {"sources": sources_digest(), "count": len(kernel_names())})
    compilers = parts.inner("compiled")
    compilers.attempt("nvcc", by_nvcc)
    compilers.attempt("nvrtc", by_nvrtc)
    parts.attempt("plans", plans)
    left_out = set(filter(None, args.without.split(",")))
    parts.attempt("tests", lambda: tested([name for name in TESTS if name not in left_out]))
    for name, row in results.get("tests", {}).items():
        print(f"{name:<22} {row['state']:<8} {row.get('why') or ''} {row.get('tests', '')}")
    failed = "errors" in results or "errors" in results["compiled"]
    return int(failed or any(row["state"] not in ("ok", "skipped") for row in results["tests"].values()))


def changed_since(results: dict[str, Any]) -> list[str]:
    """What is here in other words than those of which a file's results are; empty where nothing is."""
    said = []
    if results["kernels"]["sources"] != sources_digest():
        said.append(f"other kernels than at {results['commit']}")
    for plan in results["plans"]:
        path = catalog.WEIGHTS / plan["network"]
        if not path.is_file() or file_sha256(path) != plan["onnx_sha256"]:
            said.append(f"another {plan['network']} than at {results['commit']}")
    return list(dict.fromkeys(said))


def by_nvcc() -> dict[str, Any]:
    """Of each kernel and GPU: registers, and bytes of what did not fit into them; by one call of nvcc."""
    nvcc = find_nvcc()
    if nvcc is None:
        raise EngineUnavailable("no nvcc here: pip install 'irchroma[cuda-compiler]'")
    numbers = nvcc_architectures(nvcc)
    codes = ",".join(f"sm_{number}" for number in numbers)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="irchroma-kernels-") as folder:
        text, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.fatbin"
        text.write_text(UNIT, encoding="utf-8")
        words = [
            str(nvcc),
            "--fatbin",
            "--threads=0",
            *OPTIONS,
            f"-gencode=arch=compute_{min(numbers)},code=[{codes}]",
        ]
        done = subprocess.run(
            [*words, "-Xptxas", "-v", "-o", str(made), str(text)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
        )
        nbytes = made.stat().st_size
    return {
        "version": nvcc_version(nvcc),
        "not_known": [number for number in ARCHITECTURES if number not in numbers],
        "bytes": nbytes,
        "seconds": round(time.monotonic() - began, 1),
        "by_compute_capability": resources(done.stderr),
    }


def resources(said: str) -> dict[str, dict[str, Any]]:
    """From what ptxas says: compute capability -> how many kernels, the most registers, and spilled bytes."""
    found: dict[str, dict[str, Any]] = {}
    row: dict[str, Any] = {}
    name = ""
    for line in said.splitlines():
        entry, spills, registers = _ENTRY.search(line), _SPILLS.search(line), _REGISTERS.search(line)
        if entry:
            name = entry[1]
            row = found.setdefault(entry[2], {"kernels": 0, "registers": 0, "of": "", "spilled_bytes": 0})
            row["kernels"] += 1
        elif spills and row:
            row["spilled_bytes"] += int(spills[2]) + int(spills[3])
        elif registers and row and int(registers[1]) > row["registers"]:
            row["registers"], row["of"] = int(registers[1]), name
    return found


def by_nvrtc() -> dict[str, Any]:
    """Compute capability -> bytes of machine code, of those that NVRTC knows."""
    nvrtc = Nvrtc()
    known = [number for number in ARCHITECTURES if number in nvrtc.architectures()]
    with ThreadPoolExecutor(usable_cores()) as pool:
        made = pool.map(lambda number: len(nvrtc.compile(UNIT, number, OPTIONS)), known)
        return {"version": nvrtc.version, "bytes": dict(zip(map(str, known), made, strict=True))}


def plans() -> list[dict[str, Any]]:
    """A row for each network that ships and each usual shape, built in float16 and proved."""
    wanted = [PlanOptions(kind, size, SHAPES[size]) for kind in catalog.BANDS for size in catalog.SIZES]
    wanted += [
        PlanOptions(shapes=CLASSIC_SHAPE, onnx=catalog.weights_path(kind, band))
        for kind in catalog.CLASSICS
        for band in catalog.BANDS
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="irchroma-plans-") as folder:
        for options in wanted:
            for plan in ensure_plans(replace(options, runtime=RUNTIME, folder=Path(folder))):
                header = plan.header
                factors = {layer.factors for layer in header.layers if layer.kind == "correlation"}
                rows.append(
                    {
                        **{name: asdict(header.source)[name] for name in _OF_SOURCE},
                        "static": not any("?" in layer.output for layer in header.layers),
                        "convolutions_proved": header.convolutions,
                        "by_weights_or_names_alone": header.indirectly,
                        "factors": sorted(factors),
                        "kernels": len(header.layers),
                        "plan_bytes": header.plan_bytes,
                        "weights_bytes": header.weights_bytes,
                        "activation_bytes": header.activation_bytes,
                    }
                )
    return rows


_OF_SOURCE = ("network", "onnx_sha256", "runtime", "version", "precision", "shape")


def tested(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name of a group of tests -> how it ended and how many passed, each in a process of its own."""
    steps = []
    for name in names:
        needs = [lacks("pytest")]
        needs += [lacks(name.partition("-")[0])] if name.endswith("over-stand-in") else []
        needs += [lacks(library.LIBRARIES[RUNTIME])] if name == "plans" else []
        steps.append(Step(name, [*words_of_tests(), *TESTS[name], "-m", "not gpu"], _LIMIT_S, tuple(needs)))
    with tempfile.TemporaryDirectory(prefix="irchroma-tests-") as folder:
        rows = run_steps(steps, Path(folder), Times(_LIMIT_S * len(steps) / 60))
    kept = ("state", "why", "tests", "seconds")
    return {row["name"]: {key: row[key] for key in kept if row.get(key)} for row in rows}
