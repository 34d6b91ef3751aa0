"""Steps of a run on a borrowed machine go on after whatever one of them does, and are written down."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from irchroma.launch.bench.gpu.steps import Step, Times, run_steps


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def results(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


def test_each_step_is_written_down_whatever_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []

    def why() -> None:
        """As the fifth step is looked at, four are in the file."""
        seen.append(len(results(tmp_path)["steps"]))

    hangs = "import subprocess, sys; print('begun'); subprocess.run(['sleep', '60'])"
    steps = [
        Step("good", program("print('fine')"), 30),
        Step("bad", program("import sys; print('no good'); sys.exit(3)"), 30),
        Step("hangs", program(hangs), 2),
        Step("cannot", program("print('never')"), 30, (lambda: None, lambda: "there is no such thing here")),
        Step("missing", ["/no/such/program"], 30, (why,)),
        Step("last", program("import os; print(os.environ['MORE'])"), 30, environment={"MORE": "{out}"}),
    ]
    found = run_steps(steps, tmp_path, Times(2))
    assert [row["state"] for row in found] == ["ok", "failed", "ended", "skipped", "failed", "ok"]
    assert [row.get("why") for row in found[1:4]] == [
        "exit code 3: no good",
        "not done after 2 s; last: begun",
        "there is no such thing here",
    ]
    assert seen == [4]
    assert "begins   hangs" in capsys.readouterr().out
    assert results(tmp_path)["steps"] == found
    assert found[1]["tail"][-1] == "no good"
    assert (tmp_path / "03-hangs.txt").read_text(encoding="utf-8").endswith("begun\n")
    assert found[2]["seconds"] < 20


def test_no_step_is_begun_when_the_time_is_up(tmp_path: Path) -> None:
    found = run_steps([Step("late", program("print('never')"), 30)], tmp_path, Times(0))
    assert found == [{"name": "late", "state": "skipped", "why": "the time is up"}]


def test_time_is_kept_for_what_matters_most(tmp_path: Path) -> None:
    """Of two minutes the last step has all but 17 seconds, which are too few for the second."""
    steps = [
        Step("short", program("print('fine')"), 15),
        Step("long", program("print('never')"), 100),
        Step("not here", program("print('never')"), 30, (lambda: "it is not here",), kept_s=1000),
        Step("kept", program("print('fine')"), 103, kept_s=103),
    ]
    found = run_steps(steps, tmp_path, Times(2))
    assert [(row["name"], row["state"]) for row in found] == [
        ("short", "ok"),
        ("long", "skipped"),
        ("not here", "skipped"),
        ("kept", "ok"),
    ]
    assert found[1]["why"] == "the time is kept for what comes later"


def test_what_does_not_fit_into_a_call_is_done_by_the_next_one(tmp_path: Path) -> None:
    out, archive = tmp_path / "out", tmp_path / "all.tar.gz"
    said = out / "said"
    add = f"import pathlib, sys; pathlib.Path({str(said)!r}).open('a').write(sys.argv[1])"
    steps = [Step(name, [*program(add), name], 60) for name in ("a", "b", "c")]
    steps.insert(1, Step("x", program("print('never')"), 60, (lambda: "it is not here",)))
    first = run_steps(steps, out, Times(10, 1.2, archive))
    assert [row["state"] for row in first[:2]] == ["ok", "skipped"]
    for _ in range(3):  # a busy machine may need a call for each
        found = run_steps(steps, out, Times(10, 1.2, archive))
    assert [row["state"] for row in found] == ["ok", "skipped", "ok", "ok"]
    assert found[0] == first[0]
    assert said.read_text(encoding="utf-8") == "abc"
    with tarfile.open(archive) as file:
        assert {"out/results.json", "out/01-a.txt", "out/04-c.txt"} <= set(file.getnames())


def test_tests_that_are_all_skipped_have_shown_nothing(tmp_path: Path) -> None:
    write = "import sys; open(sys.argv[2].partition('=')[2], 'w').write(sys.argv[1])"
    suites = "<testsuites><testsuite tests='{}' failures='0' errors='0' skipped='{}'/></testsuites>"
    steps = [
        Step(name, [*program(write), suites.format(*counts), "--junitxml={out}/{name}.xml"], 60)
        for name, counts in {"skips": (2, 2), "passes": (3, 2)}.items()
    ]
    steps.append(Step("writes nothing", [*program("pass"), "--junitxml={out}/{name}.xml"], 60))
    found = run_steps(steps, tmp_path, Times(5))
    assert [(row["state"], row["why"]) for row in found] == [
        ("failed", "every test was skipped"),
        ("ok", ""),
        ("failed", "every test was skipped"),
    ]
    assert found[1]["tests"] == {"passed": 1, "failed": 0, "skipped": 2}
