"""`irchroma doctor`: what works on this machine, and the command that mends the rest.

Of the GPU path it tells the device, PyCUDA, and whether there is a compiler for the kernels.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import platform
import shutil
import subprocess
import textwrap
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from irchroma.engines import catalog
from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cuda.compile import find_nvcc, nvcc_version
from irchroma.engines.gpu.cuda.nvrtc import Nvrtc
from irchroma.launch.measured import SHOWN, show_json
from irchroma.stream.errors import StreamError
from irchroma.stream.survey import (
    Finding,
    inspect_cameras,
    inspect_device_way,
    inspect_encoders,
    inspect_gstreamer,
)

_GROUP = "GPU"
_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def inspect_gpu_path() -> list[Finding]:
    """Five lines; none of it is needed, and nothing of CUDA is started."""
    parts = [_device(), _pycuda(), _compiler()]
    return [*parts, reference_on_gpu(parts), where_it_ran(_BENCHMARKS)]


def reference_on_gpu(parts: list[Finding]) -> Finding:
    """Whether the engine `reference` can have its networks on a GPU.

    Args:
        parts: what every way to TensorRT needs.
    """
    libraries = [name for name in ("tensorrt", "tensorrt_rtx") if find_spec(name) is not None]
    missing = [part.name.partition(",")[0] for part in parts if not part.works]
    missing += [] if libraries else ["tensorrt or tensorrt_rtx"]
    name = "engine reference on a GPU"
    if missing:
        detail = f"not without {', '.join(missing)}; it runs on the CPU"
        mend = "" if libraries else "pip install 'irchroma[tensorrt]' (needs an NVIDIA GPU)"
        return Finding(_GROUP, name, False, False, detail, mend)
    detail = (
        f"its networks by {libraries[0]}, where --device 0 asks for it; auto takes the CPU, whose the rest"
        " is; no measurement is kept of it"
    )
    return Finding(_GROUP, name, True, False, detail)


def where_it_ran(folder: Path) -> Finding:
    """The GPUs of which a measurement is kept: the path has been run on those and on no others."""
    devices = set()
    for path in sorted(folder.glob("gpu*.json")):
        measured = json.loads(path.read_text(encoding="utf-8"))
        # A bench writes its file before it opens the GPU: with no frame colored it has run nothing there.
        colored = any("throughput" in one for one in measured.get("runtimes", {}).values())
        if colored or ("device" in measured and "soak" in measured):  # a soak of the CPU names no device
            devices.add(str(measured.get("device", path.stem)))
    if devices:
        return Finding(_GROUP, "GPU path, measured on", True, False, ", ".join(sorted(devices)))
    detail = "no GPU yet: as C++, and over a stand-in for the driver (engines/gpu/GPU.md)"
    return Finding(_GROUP, "GPU path, measured on", False, False, detail, "launch/first_gpu_run FOLDER")


def _device() -> Finding:
    found = probe.device_at()
    if found is None:
        return Finding(
            _GROUP, "CUDA device 0", False, False, "none; --device cpu is what --device auto takes"
        )
    detail = f"{found.name}, compute capability {found.compute_capability}, driver for CUDA {found.driver}"
    return Finding(_GROUP, "CUDA device 0", True, False, detail)


def _pycuda() -> Finding:
    name = "pycuda, for TensorRT to run"
    if find_spec("pycuda") is None:
        mend = "pip install 'irchroma[pycuda]' (needs a CUDA toolkit)"
        return Finding(_GROUP, name, False, False, "not installed", mend)
    try:
        return Finding(_GROUP, name, True, False, version("pycuda"))
    except PackageNotFoundError:
        return Finding(_GROUP, name, True, False, "installed, version unknown")


def _compiler() -> Finding:
    name = "compiler for CUDA kernels"
    nvcc = find_nvcc()
    try:
        if nvcc is not None:
            return Finding(_GROUP, name, True, False, f"nvcc {nvcc_version(nvcc)}, {nvcc}")
        return Finding(_GROUP, name, True, False, f"nvrtc {Nvrtc().version}")
    except EngineError as error:
        return Finding(_GROUP, name, False, False, str(error), "pip install 'irchroma[cuda-compiler]'")


EXAMPLE = "irchroma doctor --json doctor.json"

_RUNTIMES = {  # module -> (distribution, what installs it)
    "openvino": ("openvino", "pip install 'irchroma[openvino]'"),
    "onnxruntime": ("onnxruntime", "pip install 'irchroma[onnxruntime]'"),
    "torch": ("torch", "pip install 'irchroma[train]'"),
    "tensorrt": ("tensorrt", "pip install 'irchroma[tensorrt]' (needs an NVIDIA GPU)"),
    "tensorrt_rtx": ("tensorrt-rtx", "pip install 'irchroma[tensorrt-rtx]' (needs an NVIDIA GPU to run)"),
}


_ADDITIONS = {  # what it is for -> (modules, extra of the installation)
    "pages, http://": (("starlette", "uvicorn", "h11", "anyio", "prometheus_client", "segno"), "service"),
    "temperatures to a broker, --mqtt": (("paho",), "mqtt"),
    "references by likeness": (("voyager",), "references"),
    "evidence, --evidence": (("cryptography",), "evidence"),
    "cameras that announce themselves": (("zeroconf",), "find"),
    "many machines, fleet and --ray": (("ray", "fsspec", "prometheus_client"), "fleet"),
    "evaluate": (("skimage",), "evaluate"),
    "calibrate precision": (("onnx", "onnxruntime", "skimage"), "calibrate"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the findings there too (- for standard output)"
    )


def run(args: argparse.Namespace) -> int:
    """Look at everything; 0 when the main job works here, 1 when it does not."""
    findings = examine()
    works = main_job_works(findings)
    report = {
        "works": works,
        "irchroma": _own_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    if args.json is not None:
        show_json(args.json, json.dumps(report, indent=2) + "\n")
    if args.json == SHOWN:
        return 0 if works else 1
    width = min(shutil.get_terminal_size((110, 0)).columns, 160)
    print(table(findings, width))
    print("\nThe main job works here." if works else "\nThe main job does not work here: mend what says NO.")
    return 0 if works else 1


def _own_version() -> str:
    try:
        return version("irchroma")
    except PackageNotFoundError:  # a borrowed machine runs the checkout as it is
        return "not installed"


def examine() -> list[Finding]:
    """Everything that can be looked at without harm; takes a second or two."""
    findings = inspect_gstreamer()
    if findings[0].works:
        try:
            findings += [*inspect_encoders(), *inspect_device_way(), *inspect_cameras()]
        except StreamError as error:
            findings.append(Finding("encoders", "survey", False, True, str(error)))
    runtimes = inspect_runtimes()
    gpu = [*inspect_gpu(), *inspect_gpu_path()]
    return [*findings, *gpu, *runtimes, *inspect_additions(), *inspect_weights()]


def main_job_works(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.works for finding in findings if finding.needed)


def inspect_gpu() -> list[Finding]:
    """NVIDIA GPUs and their driver; none is needed."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        done = subprocess.run(
            query, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        )
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        if lines:
            return [Finding("GPU", "NVIDIA GPU", True, False, line) for line in lines]
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return [Finding("GPU", "NVIDIA GPU", False, False, "no NVIDIA driver here; networks run on the CPU")]
    return [Finding("GPU", "NVIDIA GPU", True, False, "driver library is here, nvidia-smi is not")]


def inspect_runtimes() -> list[Finding]:
    """Which runtimes for networks are installed, without loading them. One for the CPU is enough."""
    found = []
    for module, (distribution, mend) in _RUNTIMES.items():
        if find_spec(module) is None:
            found.append(Finding("runtimes", module, False, False, "not installed", mend))
            continue
        try:
            detail = version(distribution)
        except PackageNotFoundError:
            detail = "installed, version unknown"
        found.append(Finding("runtimes", module, True, False, detail))
    usable = [finding.name for finding in found if finding.works]
    mend = "" if usable else _RUNTIMES["openvino"][1]
    detail = ", ".join(usable) or "engines nir and thermal need one; palettes need none"
    return [Finding("runtimes", "a runtime for networks", bool(usable), False, detail, mend), *found]


def inspect_additions() -> list[Finding]:
    """What some commands and options need beside the main job, without loading it."""
    found = []
    for name, (modules, extra) in _ADDITIONS.items():
        missing = [module for module in modules if find_spec(module) is None]
        detail = f"not installed: {', '.join(missing)}" if missing else "installed"
        mend = f"pip install 'irchroma[{extra}]'" if missing else ""
        found.append(Finding("additions", name, not missing, False, detail, mend))
    return found


def inspect_weights() -> list[Finding]:
    """Whether the networks' weights came with the installation."""
    found = []
    for band in catalog.NETWORKS.values():
        for size in band.sizes:
            path = catalog.weights_path(band.name, size)
            here = path.is_file()
            detail = f"{path.stat().st_size / 1e6:.1f} MB" if here else f"no {path}"
            mend = "" if here else "reinstall irchroma, or irchroma train"
            found.append(Finding("weights", f"{band.name}:{size}", here, False, detail, mend))
    return found


def table(findings: list[Finding], width: int) -> str:
    """The report for people: a line for each finding, and below it what mends it."""
    lines: list[str] = []
    group = ""
    name_width = min(34, max(len(finding.name) for finding in findings))
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines += ["", group] if lines else [group]
        mark = "ok" if finding.works else "NO" if finding.needed else "--"
        head = f"  {mark}  {finding.name:<{name_width}}  "
        room = max(30, width - 8 - name_width)
        details = textwrap.wrap(finding.detail, room) or [""]
        if len(finding.name) > name_width:
            lines.append(head.rstrip())
            head = " " * (8 + name_width)
        lines.append((head + details[0]).rstrip())
        lines += [" " * (8 + name_width) + more for more in details[1:]]
        if finding.mend:
            lines.append(" " * (8 + name_width) + finding.mend)
    return "\n".join(lines)
