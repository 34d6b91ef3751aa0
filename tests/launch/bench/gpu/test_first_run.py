"""A first run on a GPU goes on after whatever a step does, and leaves what each gave; here without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.launch.bench.gpu.test_steps import program, results

from irchroma.engines.choice import GPU_RUNTIMES
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.cuda import nvrtc
from irchroma.engines.gpu.kernels import host
from irchroma.engines.network.network import installed
from irchroma.launch.bench.gpu import first_run as first_gpu_run
from irchroma.launch.bench.gpu import steps as gpu_steps
from irchroma.launch.bench.gpu.first_run import plan_steps
from irchroma.launch.bench.gpu.steps import ROOT, Step, Times, run_steps, why_not
from irchroma.launch.commands.doctor import where_it_ran

no_gpu = pytest.mark.skipif(probe.device_at() is not None, reason="this machine has a GPU")


def test_of_tests_that_fail_the_first_one_is_named(tmp_path: Path) -> None:
    """Who has half an hour of a GPU reads it in the terminal, not in a file of some thousand lines."""
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text("def test_one(): pass\ndef test_two(): assert 1 == 2\ndef test_three(): assert 3 == 4\n")
    pytest_step = next(step for step in plan_steps("torch") if step.name == "kernels-nvrtc")
    until = list(pytest_step.words).index("tests/engines/gpu/steps")
    words = [*pytest_step.words[:until], str(wrong)]
    (found,) = run_steps([Step("kernels-nvrtc", words, 60)], tmp_path / "out", Times(5))
    assert found["state"] == "failed"
    assert "test_wrong.py::test_two - assert 1 == 2" in found["why"]
    assert found["tests"] == {"passed": 1, "failed": 2, "skipped": 0}


@no_gpu
def test_without_a_gpu_every_step_says_why_it_is_not_here(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "launch" / "first_gpu_run"), str(tmp_path), "--only", ",".join(ALL_BUT_FACTS)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={"PATH": "/usr/bin:/bin", "IRCHROMA_PYTHON": sys.executable, "HOME": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode == 69, done.stderr
    assert "nothing of this ran on a GPU" in done.stdout
    found = results(tmp_path)
    assert found["gpu"] is None
    assert [row["name"] for row in found["steps"]] == ALL_BUT_FACTS
    assert {(row["state"], row["why"]) for row in found["steps"]} == {("skipped", "no NVIDIA GPU here")}
    assert str(len(ALL_BUT_FACTS)) in done.stdout


def test_a_python_without_what_all_steps_need_is_told_so_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "launch" / "first_gpu_run"), "--list"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={"PATH": "/usr/bin:/bin", "IRCHROMA_PYTHON": str(bare), "HOME": str(tmp_path)},
    )
    assert done.returncode == 69
    (said,) = done.stderr.splitlines()
    assert f"{bare} lacks numpy cv2" in said


ALL_BUT_FACTS = [step.name for step in plan_steps("torch") if step.name != "facts"]


def test_the_facts_are_asked_and_what_is_missing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    first_gpu_run.print_facts()
    said = capsys.readouterr().out
    assert "$ nvidia-smi -q" in said
    assert "libnvidia-opticalflow*: " in said
    assert "numpy" in said


@pytest.mark.parametrize(("nvcc", "compiler"), [(Path("/nvcc"), "nvcc"), (None, "nvrtc")])
def test_what_decides_most_comes_first_and_every_step_says_what_it_shows(
    nvcc: Path | None, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has ten minutes of a machine has pictures and speeds; then comes what finds rare faults."""
    monkeypatch.setattr(first_gpu_run, "find_nvcc", lambda: nvcc)
    steps = plan_steps("torch")
    assert {"kernels-nvcc", "kernels-nvrtc"} <= {step.name for step in steps}
    assert [step.name for step in steps[:5]] == [
        "facts",
        "opens",
        f"kernels-{compiler}",
        "whole-frames",
        "bench-torch",
    ]
    assert "--processes" in steps[4].words, "one process has one lock for all of its streams"
    for step in steps:
        assert step.shows, step.name


def test_a_step_says_what_it_shows_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_steps([Step("a", program("pass"), 30, shows="that it ends well")], tmp_path, Times(5))
    assert "at most 30 s: that it ends well" in capsys.readouterr().out


def test_what_is_asked_is_said_beside_what_was_measured(tmp_path: Path) -> None:
    """It was left to whoever reads the JSON: each benchmark is of one runtime, and none has a verdict."""
    assert first_gpu_run.say_asked(tmp_path) == []
    torch = {
        "frame_ms": {"launches": 43.0, "longest_row": 23.0, "eager_ms": 1.4, "branched_ms": 0.62},
        "network": [{"frames": 1, "name": "torch fp16 on X", "in_a_row_ms": 0.2}],
        "live_streams": [{"streams": 64, "keeps_up": True}, {"streams": 128, "keeps_up": False}],
        "live_streams_by_processes": [{"streams": 100, "keeps_up": True}],
        "parity": {"mean_levels": 101.0},
    }
    rtx = {"errors": {"opens": "no"}}
    for name, found in {"torch": torch, "tensorrt-rtx": rtx}.items():
        (tmp_path / f"gpu-{name}.json").write_text(json.dumps({"runtimes": {name: found}}), encoding="utf-8")
    comparison = {"torch": {"eager fp16": {"batch 1": {"in_a_row_ms": 0.4}}}}
    (tmp_path / "gpu-comparison.json").write_text(json.dumps({"comparison": comparison}), encoding="utf-8")
    ratio = "3 times torch by itself in float16, the network alone"
    alike = "the CPU's pictures, 0.5 levels off in the mean at most"
    assert first_gpu_run.say_asked(tmp_path) == [
        "tensorrt-rtx: at most 1 ms of GPU a frame: not measured",
        "tensorrt-rtx: 100 streams of 30 fps: not measured",
        f"tensorrt-rtx: {ratio}: not measured",
        f"tensorrt-rtx: {alike}: not measured",
        "torch: at most 1 ms of GPU a frame: 0.62: yes",
        "torch: 100 streams of 30 fps: 100: yes",
        f"torch: {ratio}: 2: no",
        f"torch: {alike}: 101: no",
    ]


def test_a_run_whose_numbers_cannot_be_kept_says_so_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine that is lent there is no repository, and no second try."""
    for commit, warns in (("unknown", True), ("0123-dirty", True), ("0123", False)):
        monkeypatch.setattr(first_gpu_run, "circumstances", lambda commit=commit: {"commit": commit})
        assert first_gpu_run.main([str(tmp_path), "--only", "facts", "--minutes", "0"]) == 0
        assert ("no number of this run can be kept" in capsys.readouterr().out.splitlines()[0]) == warns


def test_what_loses_the_gpu_comes_last() -> None:
    names = [step.name for step in plan_steps("torch")]
    lost = [name for name in names if name.startswith("lost-")]
    assert len(lost) == 2
    assert names[-2:] == lost


def test_every_step_names_a_program_and_tests_that_exist() -> None:
    for step in plan_steps("torch"):
        words = list(step.words)
        for word in words:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word
        modules = [
            words[at + 1] for at, word in enumerate(words[:-1]) if word == "-m" and "." in words[at + 1]
        ]
        for module in modules:
            path = ROOT / (module.removeprefix("irchroma.").replace(".", "/") + ".py")
            assert path.exists() or (path.with_suffix("") / "__main__.py").exists(), module
    with pytest.raises(SystemExit):
        first_gpu_run.main(["--only", "nonsense"])


def test_what_the_path_is_measured_by_is_kept_under_a_name_that_the_doctor_finds(tmp_path: Path) -> None:
    written = {Path(word).name for step in plan_steps("torch") for word in step.words if "/gpu-" in word}
    assert written == {f"gpu-{part}.json" for part in (*GPU_RUNTIMES, "comparison", "soak")}
    one = {"device": "the one", "runtimes": {"torch": {"throughput": [{"fps": 1.0}]}}}
    other = {"device": "the other", "runtimes": {"torch": {"errors": {"opens": "no compiler"}}}}
    (tmp_path / "gpu-torch.json").write_text(json.dumps(other), encoding="utf-8")
    assert not where_it_ran(tmp_path).works
    (tmp_path / "gpu-tensorrt.json").write_text(json.dumps(one), encoding="utf-8")
    assert where_it_ran(tmp_path).detail == "the one"


def test_tests_run_where_pytest_has_none_of_its_plugins(tmp_path: Path) -> None:
    places = {"out": tmp_path, "name": "collected"}
    asked = {
        tuple(word.format(**places) for word in step.words)
        for step in plan_steps("torch")
        if "pytest" in step.words
    }
    assert len(asked) >= 5
    plugins = "pytest_timeout", "pytest_rerunfailures", "xdist"
    hides = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in plugins)
    (tmp_path / "sitecustomize.py").write_text(hides, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    for words in asked:
        done = subprocess.run(
            [*words, "--collect-only"],
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr)


def test_without_onnx_there_are_kernels_and_no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch reads networks by it; all of the kernels' steps were left out too, or fell over it."""
    monkeypatch.setattr(gpu_steps, "find_spec", lambda name: None if name == "onnx" else "found")
    without = "not installed: onnx"
    lacking = {step.name for step in plan_steps("torch") if without in [why() for why in step.needs]}
    assert {name for name in lacking if not name.startswith("by-reference")} == {
        "whole-frames",
        "bench-torch",
        "execution-double",
        "bench-comparison",
        "soak",
    }
    imports = "import sys; sys.modules['onnx'] = None; import irchroma.engines.gpu.cuda.torch_device"
    pytest.importorskip("torch")
    subprocess.run(program(imports), check=True, cwd=ROOT)


def test_a_rehearsal_leaves_out_what_lacks_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """They failed, as if something were wrong with them."""
    monkeypatch.setattr(gpu_steps, "find_spec", lambda name: None)
    monkeypatch.setattr(first_gpu_run, "installed", lambda name: False)
    why = {step.name: why_not(step, rehearse=True) for step in plan_steps("cpu")}
    assert why["tests-on-cpu"] == "not installed: pytest"
    assert str(why["soak"]).startswith("not installed: openvino or ")
    assert why["by-reference-on-cpu"] == "not installed: openvino or onnxruntime"
    assert why["facts"] is why["frames-in-flight"] is why["frames-unwatched"] is None


def test_the_run_goes_on_where_its_archive_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [Step(name, program("print('fine')"), 30) for name in ("one", "two")]
    found = run_steps(two, tmp_path / "out", Times(2, archive=tmp_path / "absent" / "all.tar.gz"))
    assert [row["state"] for row in found] == ["ok", "ok"]
    assert capsys.readouterr().out.count("is not written") == 2


def test_a_rehearsal_does_not_say_that_a_sanitizer_found_nothing() -> None:
    watched = [step for step in plan_steps("cpu") if step.name.startswith("sanitizer-")]
    assert len(watched) == 3
    assert {why_not(step, rehearse=True) for step in watched} == {"needs a GPU: this is a rehearsal"}


LATE = """\
========= COMPUTE-SANITIZER
========= Error: No attachable process found. compute-sanitizer timed-out.
========= Default timeout can be adjusted with --launch-timeout. Awaiting target completion.
"""
CLEAN = """\
========= COMPUTE-SANITIZER
stand-in: kernels 0.0000 levels off, motion 0.0088 px off
========= {} SUMMARY: 0 {}
"""
PROFILED = '"ID","Metric Name","Metric Value"\n"0","gpu__time_duration.sum","4,096"\n'


@pytest.mark.parametrize(
    ("step", "tool", "says", "state"),
    [
        ("sanitizer-memcheck", "compute-sanitizer", LATE, "failed"),
        ("sanitizer-racecheck", "compute-sanitizer", LATE, "failed"),
        ("sanitizer-memcheck", "compute-sanitizer", CLEAN.format("ERROR", "errors"), "ok"),
        ("sanitizer-initcheck", "compute-sanitizer", CLEAN.format("ERROR", "errors"), "ok"),
        (
            "sanitizer-racecheck",
            "compute-sanitizer",
            CLEAN.format("RACECHECK", "hazards displayed (0 errors, 0 warnings)"),
            "ok",
        ),
        ("ncu", "ncu", "==PROF== Connected to process 1\n==WARNING== No kernels were profiled.\n", "failed"),
        ("ncu", "ncu", PROFILED, "ok"),
    ],
)
def test_a_tool_that_ends_well_and_has_seen_nothing_has_shown_nothing(
    step: str, tool: str, says: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say and do where the program that they watch makes its first call too late for them."""
    said, made = tmp_path / "said", tmp_path / tool
    said.write_text(says, encoding="utf-8")
    made.write_text(f"#!/bin/sh\ncat {said}\n", encoding="utf-8")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    planned = next(one for one in plan_steps("torch") if one.name == step)
    assert planned.words[0] == str(made)
    (found,) = run_steps([replace(planned, needs=())], tmp_path / "out", Times(5))
    assert found["state"] == state, found


@pytest.mark.slow
@pytest.mark.timeout(400)  # more than its steps have
def test_the_programs_of_the_steps_run_over_the_cpu_device(tmp_path: Path) -> None:
    if not installed("openvino") or host.compiler() is None:
        pytest.skip("needs openvino and a C++ compiler")
    frames, soak = (
        next(step for step in plan_steps("cpu") if step.name == name) for name in ("frames-unwatched", "soak")
    )
    assert frames.words[-2] == "--sizes"
    frames = replace(frames, words=[*frames.words[:-1], "100x75,80x50"])
    steps = [frames, replace(soak, words=[*soak.words, "--seconds", "0.5"])]
    found = run_steps(steps, tmp_path, Times(5), rehearse=True, device="cpu")
    assert [row["state"] for row in found] == ["ok", "ok"], found
    soaked = json.loads((tmp_path / "gpu-soak.json").read_text(encoding="utf-8"))
    assert soaked["runtime"] == "cpu"
    assert soaked["soak"]["fewest_of_a_camera"] >= 1
    assert len(soaked["open_and_close"]["memory_mb"]) == 3


@pytest.mark.parametrize(
    "place",
    ["usr/cuda-13.0/bin", "usr/cuda/compute-sanitizer", "opt/2025.3.0", "home/bin"],
)
def test_a_tool_is_found_where_a_toolkit_has_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every toolkit is on PATH, or linked to as /usr/local/cuda: a step was skipped over that."""
    name = "compute-sanitizer"
    monkeypatch.setattr(nvrtc, "_LOCAL", tmp_path / "usr")
    monkeypatch.setattr(first_gpu_run, "_NSIGHT", tmp_path / "opt")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert first_gpu_run.lacks_program(name)() == f"no {name} on PATH or in a CUDA toolkit"
    tool = tmp_path / place / name
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert first_gpu_run.lacks_program(name)() is None
    step = next(step for step in plan_steps("torch") if step.name == "sanitizer-memcheck")
    assert step.words[0] == str(tool)
