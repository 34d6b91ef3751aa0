"""What the doctor reports, and what it advises."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from irchroma.launch import cli
from irchroma.launch.commands import doctor
from irchroma.launch.commands.doctor import (
    examine,
    inspect_additions,
    inspect_runtimes,
    main_job_works,
    table,
    where_it_ran,
)
from irchroma.launch.config import load_toml
from irchroma.stream.survey import Finding


@pytest.mark.gst
def test_the_report_names_every_part_and_ends_with_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "doctor.json"
    code = cli.main(["doctor", "--json", str(path)])
    out = capsys.readouterr().out
    report = json.loads(path.read_text())
    assert report["works"] == (code == 0)
    groups = {finding["group"] for finding in report["findings"]}
    assert groups == {"GStreamer", "encoders", "cameras", "GPU", "runtimes", "additions", "weights"}
    for word in ("RTSP cameras", "x264enc", "nvh264enc", "openvino", "tensorrt", "nir:fast"):
        assert word in out
    assert out.strip().endswith("The main job works here." if code == 0 else "mend what says NO.")


@pytest.mark.gst
def test_json_can_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--json", "-"])
    assert "findings" in json.loads(capsys.readouterr().out)


@pytest.mark.gst
def test_a_checkout_that_is_not_installed_is_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a borrowed GPU machine, which runs it with a PYTHONPATH."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(doctor, "version", missing)
    cli.main(["doctor", "--json", "-"])
    assert json.loads(capsys.readouterr().out)["irchroma"] == "not installed"
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert not ended.value.code
    assert "not installed" in capsys.readouterr().out


def test_whatever_is_missing_and_can_be_had_comes_with_a_command() -> None:
    for finding in examine():
        if not finding.works and finding.group in ("GStreamer", "encoders", "runtimes", "weights"):
            assert finding.mend, finding


def test_the_gpus_that_the_path_has_run_on_are_those_of_kept_measurements(tmp_path: Path) -> None:
    found = where_it_ran(tmp_path)
    assert (found.works, found.mend) == (False, "launch/first_gpu_run FOLDER")
    for name in ("L4", "H200"):
        (tmp_path / f"gpu_{name}.json").write_text(
            json.dumps({"device": f"NVIDIA {name}", "runtimes": {"torch": {"throughput": []}}})
        )
    (tmp_path / "gpu_T4.json").write_text(json.dumps({"device": "NVIDIA T4", "runtimes": {"torch": {}}}))
    (tmp_path / "cpu.json").write_text(json.dumps({"device": "none of them"}))
    found = where_it_ran(tmp_path)
    assert (found.works, found.detail) == (True, "NVIDIA H200, NVIDIA L4")


def test_a_soak_alone_is_a_measurement_of_its_gpu_and_of_no_cpu(tmp_path: Path) -> None:
    kept = tmp_path / "gpu-soak.json"
    for measured in ({"runtime": "cpu", "soak": {"frames": 9}}, {"runtime": "torch", "device": "NVIDIA T4"}):
        kept.write_text(json.dumps(measured))
        assert not where_it_ran(tmp_path).works
    kept.write_text(json.dumps({"runtime": "torch", "device": "NVIDIA T4", "soak": {"frames": 9}}))
    found = where_it_ran(tmp_path)
    assert (found.works, found.detail) == (True, "NVIDIA T4")


def test_only_what_is_needed_decides() -> None:
    fine = Finding("GStreamer", "pipelines", True, needed=True)
    extra = Finding("encoders", "nvh264enc", False)
    broken = Finding("GStreamer", "RTSP cameras", False, needed=True, mend="sudo apt-get install x")
    assert main_job_works([fine, extra])
    assert not main_job_works([fine, broken])
    shown = table([fine, extra, broken], 80)
    assert "ok  pipelines" in shown
    assert "--  nvh264enc" in shown
    assert "NO  RTSP cameras" in shown
    assert "sudo apt-get install x" in shown


def test_looking_for_runtimes_loads_none_of_them() -> None:
    code = (
        "import sys; from irchroma.launch.commands.doctor import inspect_runtimes; inspect_runtimes();"
        "print([m for m in ('torch', 'openvino', 'onnxruntime', 'tensorrt') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", errors="replace", check=True
    )
    assert done.stdout.strip() == "[]"
    assert {"openvino", "torch"} <= {finding.name for finding in inspect_runtimes()}


def test_what_some_options_need_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = load_toml(Path(__file__).parents[3] / "pyproject.toml")["project"]["optional-dependencies"]
    assert {extra for _, extra in doctor._ADDITIONS.values()} <= set(extras)
    monkeypatch.setitem(sys.modules, "starlette", None)
    pages = next(finding for finding in inspect_additions() if finding.name.startswith("pages"))
    assert (pages.works, pages.needed, pages.detail) == (False, False, "not installed: starlette")
    assert pages.mend == "pip install 'irchroma[service]'"
