"""`launch/first_gpu_run`: the steps of a first run on a GPU, each in a process of its own with a limit.

A borrowed machine has some minutes, unknown libraries and no second try: so what each step gave is written at
once, a step that hangs is ended, one that cannot be is skipped with its reason, and the next one begins. Time
is kept for what matters most. Where a command may only last so long, `--call-minutes` stops in time, and the
same command goes on with the same folder; `--archive` keeps everything in one file, after each step.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cuda.compile import find_nvcc
from irchroma.engines.gpu.cuda.nvrtc import toolkits
from irchroma.engines.gpu.plans import library
from irchroma.engines.network.network import GRAPH_RUNTIMES, RUNTIMES, installed
from irchroma.engines.processor import usable_cores
from irchroma.launch.bench.gpu.measure import judge
from irchroma.launch.bench.gpu.steps import Step, Times, Why, lacks, run_steps, why_not, words_of_tests
from irchroma.launch.measured import circumstances

_PROGRAMS = "tests.engines.gpu.programs"


def no_gpu() -> str | None:
    """Why there is no GPU here; None where there is one."""
    return None if probe.device_at() is not None else (probe.driver_fault() or "no NVIDIA GPU here")


def lacks_program(name: str) -> Why:
    """Says that a program is missing."""
    return lambda: None if _program(name) else f"no {name} on PATH or in a CUDA toolkit"


def lacks_nvcc() -> str | None:
    """Says that nvcc is missing, wherever the kernels look for it."""
    return None if find_nvcc() else "no nvcc on PATH, in a CUDA toolkit or in a Python package"


def lacks_all(runtimes: Iterable[str]) -> Why:
    """Says that none of these runs networks on the CPU here."""
    return lambda: None if any(map(installed, runtimes)) else f"not installed: {' or '.join(runtimes)}"


def lacks_runtime(name: str) -> Why:
    """Says that TensorRT or TensorRT-RTX is missing."""
    return lambda: None if library.installed(name) else f"{name} is not installed"


def plan_steps(device: str) -> list[Step]:
    """All steps, in order: what is short and decides most comes first.

    Args:
        device: of the programs: `torch` on a GPU, `cpu` to rehearse.
    """
    rehearsal = device == "cpu"
    early, late = ("nvcc", "nvrtc") if lacks_nvcc() is None else ("nvrtc", "nvcc")
    facts = [_PYTHON, "-m", "irchroma.launch.bench.gpu.first_run", "--facts"]
    signs = "a first sign: small frames without a network. What fails here fails below too"
    steps = [
        Step("facts", facts, 60, rehearsed=True, shows="what the machine has"),
        Step("opens", [*_FRAMES, "--sizes", "80x50"], 120, (no_gpu, _torch), shows=signs),
        _compiled(early),
    ]
    if rehearsal:
        alone = [*_DOUBLED, "-k", "camera_alone and cpu"]
        steps.append(Step("tests-on-cpu", alone, 180, (lacks("pytest"),), rehearsed=True))
    steps += _by_torch(() if rehearsal else (no_gpu, _torch))
    steps += [_sanitized(tool, finds) for tool, finds in _SANITIZERS.items()]
    if rehearsal:  # what the sanitizers watch, without one
        steps.append(Step("frames-unwatched", [*_FRAMES, *_ODD_SIZES], 180, rehearsed=True))
    steps += [*_by_pycuda(), *_measured(rehearsal), _compiled(late), *_by_runtimes(rehearsal)]
    # The last: whoever lends the machine may watch its log for such faults (Xid 31), and take it back.
    for name, library_of in (("torch", _torch), ("pycuda", _pycuda)):
        words = [_PYTHON, "-m", f"{_PROGRAMS}.lost", "--device", name]
        shows = "a GPU that is lost, here on purpose, ends neither the process nor the pictures"
        steps.append(Step(f"lost-{name}", words, 90, (no_gpu, library_of), kept_s=30, shows=shows))
    return steps


def _compiled(compiler: str) -> Step:
    needs = (*_ON_GPU, _torch, *((lacks_nvcc,) if compiler == "nvcc" else ()))
    shows = f"every kernel gives what the CPU path gives, compiled by {compiler}"
    environment = {"IRCHROMA_KERNELS": compiler, **_MUST_RUN}
    words = [*_KERNELS, "-m", "gpu", "-k", "torch"]
    return Step(f"kernels-{compiler}", words, 240, needs, environment=environment, shows=shows)


def _by_torch(here: tuple[Why, ...]) -> list[Step]:
    whole = [*words_of_tests(), "tests/engines/gpu/test_run.py", "-m", "gpu"]
    colors = "runs of torch's network color as the CPU does"
    processes = max(1, usable_cores() // 4)  # live streams of one are held up by Python's lock
    bench = [*_BENCH, "{out}/gpu-torch.json", "--runtime", "torch", "--processes", str(processes)]
    fits = "parity, time of each kernel and of a frame, frames a second, how many live streams fit"
    flight = [_PYTHON, "-m", f"{_PROGRAMS}.in_flight", "--device", "{device}"]
    apart = "no frame touches what another in flight needs"
    return [
        _tests("whole-frames", whole, 300, (*_ON_GPU, _networks), colors, 120),
        Step("bench-torch", bench, 540, (no_gpu, _networks), kept_s=300, shows=fits),
        Step("frames-in-flight", flight, 120, here, rehearsed=True, shows=apart),
    ]


def _sanitized(tool: str, finds: str) -> Step:
    """Of kernels at odd sizes, where accesses out of bounds hide; without a network, whose library's kernels
    are not ours to check.

    What calls return is checked by whoever calls. Libraries ask the driver for functions that it may not have
    (`cuGetProcAddress`), and each refusal would count as an error of ours. A program whose first call comes
    late, as after torch's import, would be left unwatched and end well: so it waits without a limit, and what
    it found is asked for.
    """
    words = [_program("compute-sanitizer") or "compute-sanitizer", "--launch-timeout", "0"]
    words += ["--report-api-errors", "no", "--error-exitcode", "9", "--tool", tool, *_FRAMES, *_ODD_SIZES]
    needs = (no_gpu, _torch, lacks_program("compute-sanitizer"))
    says = "RACECHECK SUMMARY: 0 hazards" if tool == "racecheck" else "ERROR SUMMARY: 0 errors"
    name, shows = f"sanitizer-{tool}", f"no kernel {finds}"
    return Step(name, words, 180, needs, environment=_APART, says=says, shows=shows)


def _by_pycuda() -> list[Step]:
    kernels, frames = ([*tests, "-m", "gpu", "-k", "pycuda"] for tests in (_KERNELS, _DOUBLED))
    copies = "the way of TensorRT's frames, with a copying kernel in its place"
    double = [*_DOUBLED, "-m", "gpu", "-k", "double"]
    stands_in = "a plan's class on a real stream, with torch in TensorRT's place"
    return [
        _tests("pycuda-kernels", kernels, 240, (*_ON_GPU, _pycuda), "the same kernels by PyCUDA"),
        _tests("pycuda-frames", frames, 180, (*_ON_GPU, _pycuda), copies),
        _tests("execution-double", double, 120, (*_ON_GPU, _networks), stands_in),
    ]


def _measured(rehearsal: bool) -> list[Step]:
    compared = [*_BENCH, "{out}/gpu-comparison.json", "--runtime", "comparison"]
    most = "torch by itself, and what the GPU can do at most: what the others are held against"
    soak = [
        _PYTHON,
        "-m",
        "irchroma.launch.bench.gpu.soak",
        "--json",
        "{out}/gpu-soak.json",
        "--device",
        "{device}",
    ]
    leaves = "16 cameras, opened and closed again and again, leave no memory behind"
    needs = (lacks_all(RUNTIMES),) if rehearsal else (no_gpu, _networks)
    ncu = [_program("ncu") or "ncu", *_NCU, *_FRAMES, "--sizes", "640x512"]
    has = (no_gpu, _torch, lacks_program("ncu"))
    full = "each kernel's time, bytes and how full it keeps the GPU"
    return [
        Step("bench-comparison", compared, 240, (no_gpu, _networks), kept_s=60, shows=most),
        Step("soak", soak, 200, needs, rehearsed=True, shows=leaves),
        Step("ncu", ncu, 150, has, says=_METRICS.partition(",")[0], shows=full),
    ]


def _by_runtimes(rehearsal: bool) -> list[Step]:
    steps = []
    for runtime in library.LIBRARIES:
        words = [*_BENCH, f"{{out}}/gpu-{runtime}.json", "--runtime", runtime]
        needs = (no_gpu, lacks_runtime(runtime), _pycuda)
        steps.append(Step(f"bench-{runtime}", words, 420, needs, shows=f"as bench-torch, by {runtime}"))
    by_reference = [_PYTHON, "-m", f"{_PROGRAMS}.by_reference", "--device"]
    if rehearsal:
        on_cpu = (lacks_all(GRAPH_RUNTIMES),)
        steps.append(Step("by-reference-on-cpu", [*by_reference, "cpu"], 420, on_cpu, rehearsed=True))
    for runtime in library.LIBRARIES:
        both = (no_gpu, lacks_runtime(runtime), lacks("pycuda", "onnx"))
        name, shows = f"by-reference-{runtime}", "the engine `reference` and a reference of the scene"
        steps.append(Step(name, [*by_reference, runtime], 420, both, shows=shows))
    return steps


_PYTHON = sys.executable
_KERNELS = [*words_of_tests(), "tests/engines/gpu/steps", "tests/engines/gpu/test_check.py"]
_DOUBLED = [*words_of_tests(), "tests/engines/gpu/test_on_gpu.py"]
_BENCH = [_PYTHON, "-m", "irchroma.launch", "bench", "gpu", "--quick", "--seconds", "1", "--json"]
_FRAMES = [_PYTHON, "-m", f"{_PROGRAMS}.frames", "--device", "{device}"]
_ODD_SIZES = ["--sizes", "100x75,80x50,640x512"]  # the latter two for encoders too
_torch, _networks, _pycuda = lacks("torch"), lacks("torch", "onnx"), lacks("pycuda")
_ON_GPU = (no_gpu, lacks("pytest"))
_CARRY = """\
what to carry to a machine without a package index, 25 to 36 MB:
  the tracked files                  git archive, 24 MB compressed: the networks are most of it
  PyCUDA for that machine's Python   pip wheel --no-deps pycuda, here, with numpy and a CUDA toolkit (headers,
                                     and libcuda.so of its stubs to link with); Boost comes with it. It is 45
                                     files of C++, minutes there, so rather bring the wheel
  what PyCUDA imports                wheels of pytools, platformdirs, mako, markupsafe, siphash24: 1 MB
  onnx for that machine's Python     where it is not there, with protobuf, ml-dtypes and typing-extensions, 11
                                     MB: torch reads networks by it; without it there are kernels alone
then: pip install --no-index --find-links FOLDER pycuda, or unpack all wheels into a folder in PYTHONPATH.
PyCUDA's wheel for Python 3.12 needs the name libcuda.so, of which a driver alone may bring libcuda.so.1 only:
make a link of that name to it, beside it or in another folder of the loader's path (LD_LIBRARY_PATH).
TensorRT-RTX is 95 MB and looked for last; TensorRT is not to be had without its own index.
"""
_METRICS = "gpu__time_duration.sum,dram__bytes.sum,sm__warps_active.avg.pct_of_peak_sustained_active"
_NCU = ("--csv", "--clock-control", "none", "--launch-count", "1000", "--metrics", _METRICS)
_APART = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # or what lies beside an array is memory of torch's too
_MUST_RUN = {"IRCHROMA_REQUIRE": "gpu"}  # the driver answers: no test may take its files for missing


_SANITIZERS = {
    "memcheck": "reads or writes out of bounds",
    "racecheck": "has threads in each other's way",
    "initcheck": "reads what nobody wrote",
}


def _tests(
    name: str, words: Sequence[str], limit_s: float, needs: tuple[Why, ...], shows: str, kept_s: float = 0
) -> Step:
    return Step(name, words, limit_s, needs, environment=_MUST_RUN, kept_s=kept_s, shows=shows)


def say_asked(out: Path) -> list[str]:
    """What is asked of a GPU, and what the benchmarks of a folder have measured of it; empty without any."""
    results: dict[str, Any] = {"runtimes": {}}
    for path in sorted(out.glob("gpu-*.json")):
        results["runtimes"] |= json.loads(path.read_text(encoding="utf-8")).get("runtimes", {})
    path = out / "gpu-comparison.json"
    if path.is_file():
        results["comparison"] = json.loads(path.read_text(encoding="utf-8")).get("comparison", {})
    lines = []
    for runtime, verdict in judge(results).items():
        frame = results["runtimes"][runtime].get("frame_ms", {})
        frame_ms = min((ms for name, ms in frame.items() if name.endswith("_ms")), default=None)
        streams = max((count for name, count in verdict.items() if name.endswith("_that_fit")), default=None)
        times = verdict.get("times_as_fast_as_torch_eager_fp16")
        off = results["runtimes"][runtime].get("parity", {}).get("mean_levels")
        for asked, found, holds in (
            ("at most 1 ms of GPU a frame", frame_ms, frame_ms is not None and frame_ms <= 1),
            ("100 streams of 30 fps", streams, streams is not None and streams >= 100),
            (
                "3 times torch by itself in float16, the network alone",
                times,
                times is not None and times >= 3,
            ),
            (
                f"the CPU's pictures, {_LARGEST_MEAN_LEVELS:g} levels off in the mean at most",
                off,
                off is not None and off <= _LARGEST_MEAN_LEVELS,
            ),
        ):
            said = "not measured" if found is None else f"{found:g}: {'yes' if holds else 'no'}"
            lines.append(f"{runtime}: {asked}: {said}")
    return lines


def _program(name: str) -> str | None:
    """On PATH, in a toolkit, which may keep its tools in folders of their own, or in a tool's own place."""
    places = [home / part for home in toolkits() for part in ("bin", name)]
    places += sorted(_NSIGHT.glob("*"), reverse=True)  # such as nsight-compute/2025.3.0
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, places)))


_NSIGHT = Path("/opt/nvidia/nsight-compute")


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
    for pattern in ("libcuda.so*", "libnvidia-opticalflow*", "libnvcuvid*", "libnvidia-encode*", "libnvrtc*"):
        folders = ("/usr/lib", "/usr/lib64", "/usr/local/nvidia", "/usr/local/cuda")
        found = [str(path) for place in folders for path in Path(place).rglob(pattern)]
        print(f"{pattern}: {' '.join(sorted(found)) or 'none'}")
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


def main(words: Sequence[str] | None = None) -> int:
    """Do all steps; 0 where none has failed, 75 where some are left to the next call, 69 where none of those
    for a GPU could begin."""
    parser = argparse.ArgumentParser(
        prog="first_gpu_run",
        description=__doc__,
        epilog=_CARRY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(f"first-gpu-run-{stamp}"))
    parser.add_argument("--minutes", type=float, default=27.0, help="for all steps together (default 27)")
    parser.add_argument(
        "--call-minutes", type=float, default=0.0, help="stop there, to go on by the same command"
    )
    parser.add_argument(
        "--archive", type=Path, metavar="FILE.tar.gz", help="everything so far, after each step"
    )
    parser.add_argument("--only", default="", metavar="STEP,...", help="these steps alone")
    parser.add_argument("--without", default="", metavar="STEP,...", help="all but these")
    parser.add_argument("--list", action="store_true", help="say which steps there are, and which cannot be")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: over the CPU device")
    parser.add_argument("--facts", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.facts:
        print_facts()
        return 0
    device = "cpu" if args.rehearse else "torch"
    steps = plan_steps(device)
    wanted, left_out = (set(filter(None, names.split(","))) for names in (args.only, args.without))
    unknown = (wanted | left_out) - {step.name for step in steps}
    if unknown:
        parser.error(f"no step is called {', '.join(sorted(unknown))}: see --list")
    steps = [step for step in steps if (not wanted or step.name in wanted) and step.name not in left_out]
    if args.list:
        for step in steps:
            why = why_not(step, args.rehearse)
            print(f"{step.name:<25} {step.limit_s:>4.0f} s  {why or step.shows}")
        return 0
    commit = circumstances()["commit"]
    if not args.rehearse and (commit == "unknown" or commit.endswith("-dirty")):
        print(f"the commit is {commit}: no number of this run can be kept. IRCHROMA_COMMIT names a copy's")
    times = Times(args.minutes, args.call_minutes, args.archive)
    found = run_steps(steps, args.folder.resolve(), times, args.rehearse, device)
    print(json.dumps({state: sum(row["state"] == state for row in found) for state in _STATES}))
    print("\n".join([*say_asked(args.folder), f"{args.folder / 'results.json'} has it all"]))
    if len(found) < len(steps):
        print(f"{len(steps) - len(found)} steps are left: the same command goes on")
        return _GO_ON
    on_gpu = {step.name for step in steps if no_gpu in step.needs}
    if on_gpu and not args.rehearse and not any(row["name"] in on_gpu and "seconds" in row for row in found):
        print("nothing of this ran on a GPU: nothing is shown of one")
        return _NOT_HERE
    return 1 if any(row["state"] in ("failed", "ended") for row in found) else 0


_LARGEST_MEAN_LEVELS = 0.5  # of a network in float16, as `tests/engines/gpu/test_run.py` has it
_STATES = ("ok", "failed", "ended", "skipped")
_GO_ON, _NOT_HERE = 75, 69  # EX_TEMPFAIL and EX_UNAVAILABLE of sysexits.h

if __name__ == "__main__":
    sys.exit(main())
