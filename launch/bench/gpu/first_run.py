"""`launch/first_gpu_run`: the steps of a first run on a GPU, each in a process of its own with a limit.

A borrowed machine has some minutes, unknown libraries and no second try: so what each step gave is written at
once, a step that hangs is ended, one that cannot be is skipped with its reason, and the next one begins.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from irchroma.engines.gpu import probe
from irchroma.engines.gpu.plans import library
from irchroma.launch.measured import write_json

ROOT = Path(__file__).resolve().parents[3]
_TAIL_LINES = 12
_PROGRAMS = "tests.engines.gpu.programs"
Why = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: short; also of its output's file.
        words: the command, `{out}` for the folder and `{device}` for the device of its programs.
        limit_s: after which it is ended.
        needs: each says why the step cannot be here, or None.
        rehearsed: it can be done over the CPU device; its `needs` of a GPU are then left out.
        environment: more variables.
    """

    name: str
    words: Sequence[str]
    limit_s: float
    needs: tuple[Why, ...] = ()
    rehearsed: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def no_gpu() -> str | None:
    """Why there is no GPU here; None where there is one."""
    return None if probe.device_at() is not None else (probe.driver_fault() or "no NVIDIA GPU here")


def lacks(*modules: str) -> Why:
    """Says which Python module is missing."""

    def why() -> str | None:
        missing = [name for name in modules if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    return why


def lacks_program(name: str) -> Why:
    """Says that a program is missing."""
    return lambda: None if _program(name) else f"no {name} on PATH or in /usr/local/cuda/bin"


def lacks_runtime(name: str) -> Why:
    """Says that TensorRT or TensorRT-RTX is missing."""
    return lambda: None if library.installed(name) else f"{name} is not installed"


def plan_steps(device: str) -> list[Step]:
    """All steps, in order: what is short and decides most comes first.

    Args:
        device: of the programs: `torch` on a GPU, `cpu` to rehearse.
    """
    python = sys.executable
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-rs"]
    tests += ["--junitxml={out}/{name}.xml"]
    torch, pycuda = lacks("torch", "onnx"), lacks("pycuda")
    kernels = [*tests, "tests/engines/gpu/steps", "tests/engines/gpu/test_check.py"]
    bench = [python, "-m", "irchroma.launch", "bench", "gpu", "--quick", "--seconds", "1", "--json"]
    frames = [python, "-m", f"{_PROGRAMS}.frames", "--device", "{device}"]
    sanitizer = _program("compute-sanitizer") or "compute-sanitizer"
    sanitized = [] if device == "cpu" else [sanitizer, "--error-exitcode", "9", "--tool"]
    on_gpu = (no_gpu, lacks("pytest"))
    steps = [
        Step("facts", [python, "-m", "irchroma.launch.bench.gpu.first_run", "--facts"], 60, rehearsed=True),
    ]
    for compiler in ("nvcc", "nvrtc"):
        more: tuple[Why, ...] = (lacks_program("nvcc"),) if compiler == "nvcc" else ()
        words = [*kernels, "-m", "gpu", "-k", "torch"]
        asked = {"IRCHROMA_KERNELS": compiler}
        steps.append(Step(f"kernels-{compiler}", words, 240, (*on_gpu, torch, *more), environment=asked))
    for tool in ("memcheck", "racecheck", "initcheck"):
        # Of kernels at odd sizes, where accesses out of bounds hide; without a network, whose library's
        # kernels are not ours to check.
        words = [*sanitized, *([tool] if sanitized else []), *frames, "--sizes", "100x75,640x512"]
        needs = (no_gpu, lacks("torch"), lacks_program("compute-sanitizer"))
        steps.append(Step(f"sanitizer-{tool}", words, 180, needs, rehearsed=True))
    doubled = [*tests, "tests/engines/gpu/test_on_gpu.py"]
    steps += [
        Step("lost-torch", [python, "-m", f"{_PROGRAMS}.lost", "--device", "torch"], 90, (no_gpu, torch)),
        Step("pycuda-kernels", [*kernels, "-m", "gpu", "-k", "pycuda"], 240, (*on_gpu, pycuda)),
        Step("pycuda-frames", [*doubled, "-m", "gpu", "-k", "pycuda"], 180, (*on_gpu, pycuda)),
        Step("execution-double", [*doubled, "-m", "gpu", "-k", "double"], 120, (*on_gpu, torch)),
        Step("lost-pycuda", [python, "-m", f"{_PROGRAMS}.lost", "--device", "pycuda"], 90, (no_gpu, pycuda)),
        Step("whole-frames", [*tests, "tests/engines/gpu/test_run.py", "-m", "gpu"], 300, (*on_gpu, torch)),
        Step("bench-torch", [*bench, "{out}/bench-torch.json", "--runtime", "torch"], 420, (no_gpu, torch)),
        Step(
            "bench-comparison",
            [*bench, "{out}/bench-comparison.json", "--runtime", "comparison"],
            240,
            (no_gpu, torch),
        ),
        Step(
            "soak",
            [
                python,
                "-m",
                "irchroma.launch.bench.gpu.soak",
                "--json",
                "{out}/soak.json",
                "--device",
                "{device}",
            ],
            200,
            (no_gpu, torch),
            rehearsed=True,
        ),
        Step(
            "ncu",
            [_program("ncu") or "ncu", "--csv", "--metrics", _NCU, *frames, "--sizes", "640x512"],
            150,
            (no_gpu, lacks("torch"), lacks_program("ncu")),
        ),
    ]
    for runtime in library.LIBRARIES:
        words = [*bench, f"{{out}}/bench-{runtime}.json", "--runtime", runtime]
        needs = (no_gpu, lacks_runtime(runtime), pycuda)
        steps.append(Step(f"bench-{runtime}", words, 420, needs))
    return steps


_NCU = "gpu__time_duration.sum,dram__bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active"


def run_steps(
    steps: Sequence[Step], out: Path, minutes: float, rehearse: bool = False, device: str = "torch"
) -> list[dict[str, Any]]:
    """Do them; the folder has `results.json` after each, and each one's output as it comes.

    Returns:
        Of each: `name`, `state` (ok, failed, ended, skipped), `seconds`, `why` and the end of its output.
    """
    out.mkdir(parents=True, exist_ok=True)
    end_s = time.monotonic() + 60 * minutes
    found: list[dict[str, Any]] = []
    for number, step in enumerate(steps, 1):
        left_s = end_s - time.monotonic()
        reason = _why_not(step, rehearse) or ("the time is up" if left_s < 1 else None)
        if reason is not None:
            row: dict[str, Any] = {"name": step.name, "state": "skipped", "why": reason}
        else:
            path = out / f"{number:02}-{step.name}.txt"
            row = {"name": step.name, **_run(step, path, min(step.limit_s, left_s), device)}
        found.append(row)
        write_json(out / "results.json", {"gpu": _gpu(), "rehearsal": rehearse, "steps": found})
        print(
            f"{row['state']:<8} {step.name:<20} {row.get('seconds', ''):>6} {row.get('why') or ''}",
            flush=True,
        )
    return found


def _why_not(step: Step, rehearse: bool) -> str | None:
    if rehearse:
        return None if step.rehearsed else "needs a GPU: this is a rehearsal"
    return next(filter(None, (why() for why in step.needs)), None)


def _run(step: Step, path: Path, limit_s: float, device: str) -> dict[str, Any]:
    filled = {"out": str(path.parent), "device": device, "name": step.name}
    words = [word.format(**filled) if "{" in word else word for word in step.words]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(path.parent / "cache"),
        **step.environment,
    }
    began = time.monotonic()
    with path.open("w", encoding="utf-8") as file:
        file.write(f"$ {' '.join(words)}\n")
        file.flush()
        try:
            child = subprocess.Popen(
                words,
                cwd=ROOT,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return {"state": "failed", "seconds": 0.0, "why": str(error)}
        try:
            code: int | None = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            _end(child)
            code = None
    seconds = round(time.monotonic() - began, 1)
    tail = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    if code is None:
        return {"state": "ended", "seconds": seconds, "why": f"not done after {limit_s:.0f} s", "tail": tail}
    state = "ok" if code == 0 else "failed"
    return {"state": state, "seconds": seconds, "why": f"exit code {code}" if code else "", "tail": tail}


def _end(child: subprocess.Popen[Any]) -> None:
    """The step and whatever it has started: it leads a session of its own."""
    try:
        os.killpg(child.pid, 9)
    except ProcessLookupError:
        pass
    child.wait()


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def _gpu() -> dict[str, str] | None:
    found = probe.device_at()
    if found is None:
        return None
    return {"name": found.name, "compute_capability": found.compute_capability, "driver_cuda": found.driver}


def print_facts() -> None:
    """What the machine has, as its own programs say it; one that is missing is said."""
    questions = (
        ["nvidia-smi"],
        ["nvidia-smi", "-q"],
        ["nvcc", "--version"],
        ["lscpu"],
        ["free", "-g"],
        [sys.executable, "-m", "pip", "list"],
    )
    for words in questions:
        program = _program(words[0])
        print(f"\n$ {' '.join(words)}")
        if program is None:
            print(f"no {words[0]} here")
            continue
        try:
            done = subprocess.run(
                [program, *words[1:]], capture_output=True, encoding="utf-8", errors="replace", timeout=20
            )
            print(done.stdout + done.stderr)
        except subprocess.TimeoutExpired:
            print("no answer after 20 s")
    for pattern in ("libcuda.so*", "libnvidia-opticalflow*", "libnvcuvid*", "libnvidia-encode*", "libnvrtc*"):
        folders = ("/usr/lib", "/usr/lib64", "/usr/local/nvidia", "/usr/local/cuda")
        found = [str(path) for place in folders for path in Path(place).rglob(pattern)]
        print(f"{pattern}: {' '.join(sorted(found)) or 'none'}")


def main(words: Sequence[str] | None = None) -> int:
    """Do all steps; 0 where none has failed."""
    parser = argparse.ArgumentParser(prog="first_gpu_run", description=__doc__)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(f"first-gpu-run-{stamp}"))
    parser.add_argument("--minutes", type=float, default=28.0, help="for all steps together (default 28)")
    parser.add_argument("--only", default="", metavar="STEP,...", help="these steps alone")
    parser.add_argument("--list", action="store_true", help="say which steps there are, and which cannot be")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: over the CPU device")
    parser.add_argument("--facts", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.facts:
        print_facts()
        return 0
    device = "cpu" if args.rehearse else "torch"
    steps = plan_steps(device)
    wanted = set(filter(None, args.only.split(",")))
    unknown = wanted - {step.name for step in steps}
    if unknown:
        parser.error(f"no step is called {', '.join(sorted(unknown))}: see --list")
    steps = [step for step in steps if not wanted or step.name in wanted]
    if args.list:
        for step in steps:
            print(f"{step.name:<20} {step.limit_s:>4.0f} s  {_why_not(step, args.rehearse) or ''}")
        return 0
    found = run_steps(steps, args.folder.resolve(), args.minutes, args.rehearse, device)
    print(json.dumps({state: sum(row["state"] == state for row in found) for state in _STATES}))
    print(f"{args.folder / 'results.json'} has it all")
    return 1 if any(row["state"] in ("failed", "ended") for row in found) else 0


_STATES = ("ok", "failed", "ended", "skipped")

if __name__ == "__main__":
    sys.exit(main())
