"""Steps of a run on a borrowed machine, each a process with a limit, what each gave written down at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from irchroma.engines.gpu import probe
from irchroma.launch.measured import write_json

ROOT = Path(__file__).resolve().parents[3]
_TAIL_LINES = 12
Why = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: short; also of its output's file.
        words: the command, `{out}` for the folder and `{device}` for the device of its programs.
        limit_s: after which it is ended.
        needs: each says why the step cannot be here, or None.
        rehearsed: it can be done over the CPU device.
        environment: more variables.
        kept_s: of the time for all steps, which no step before it may take.
        says: what its output has where it did what it is for: some tools end well without having done it.
        shows: if it ends well, for people.
    """

    name: str
    words: Sequence[str]
    limit_s: float
    needs: tuple[Why, ...] = ()
    rehearsed: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    kept_s: float = 0.0
    says: str = ""
    shows: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """How long it may all take.

    Attributes:
        minutes: for all steps together, over all calls.
        call_minutes: for this call; what does not fit into it is left to the next one. 0 for no limit.
        archive: a .tar.gz file of everything so far, written after each step; None for none.
    """

    minutes: float
    call_minutes: float = 0.0
    archive: Path | None = None


def run_steps(
    steps: Sequence[Step], out: Path, times: Times, rehearse: bool = False, device: str = "torch"
) -> list[dict[str, Any]]:
    """Do them; the folder has `results.json` after each, and each one's output as it comes.

    What the folder says is done is not done again.

    Returns:
        Of each: `name`, `state` (ok, failed, ended, skipped), `seconds`, `why` and the end of its output; of
        a run of tests their counts too. Fewer than steps where the call is over.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = _done_before(out)
    began_s = time.monotonic()
    end_s = began_s + 60 * times.minutes - sum(row["seconds"] for row in before.values())
    call_end_s = began_s + 60 * times.call_minutes if times.call_minutes else float("inf")
    found: list[dict[str, Any]] = []
    fresh = 0
    for number, step in enumerate(steps, 1):
        if step.name in before:
            found.append(before[step.name])
            continue
        row: dict[str, Any] = {"name": step.name, "state": "skipped"}
        now_s = time.monotonic()
        kept_s = sum(
            one.kept_s
            for one in steps[number:]
            if one.name not in before and one.kept_s and why_not(one, rehearse) is None
        )
        limit_s = min(step.limit_s, end_s - now_s - kept_s)
        reason = why_not(step, rehearse)
        if reason is None and limit_s < min(_LEAST_S, step.limit_s):
            reason = "the time is kept for what comes later" if end_s - now_s > kept_s else "the time is up"
        if reason is None:
            if limit_s > call_end_s - now_s:
                if fresh or call_end_s - now_s < _LEAST_S:
                    break
                limit_s = call_end_s - now_s
            print(f"begins   {step.name:<25} at most {limit_s:.0f} s: {step.shows}".rstrip(": "), flush=True)
            row |= _run(step, out / f"{number:02}-{step.name}.txt", limit_s, device)
            fresh += 1
        else:
            row["why"] = reason
        found.append(row)
        done = {one["name"] for one in found}
        rows = [*found, *(one for name, one in before.items() if name not in done)]
        write_json(out / "results.json", {"gpu": _gpu(), "rehearsal": rehearse, "steps": rows})
        if times.archive is not None:
            try:
                _archive(out, times.archive)
            except OSError as error:  # such as a full disk: what the steps show is in the folder
                print(f"{times.archive} is not written: {error}", flush=True)
        counts = " ".join(f"{count} {kind}" for kind, count in row.get("tests", {}).items() if count)
        print(
            f"{row['state']:<8} {step.name:<25} {row.get('seconds', ''):>6} {row.get('why') or ''} {counts}",
            flush=True,
        )
    return found


_LEAST_S = 20.0
"""A step is not begun for less."""


def _done_before(out: Path) -> dict[str, dict[str, Any]]:
    """Name -> row of what a call before this one has done."""
    path = out / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else []
    return {row["name"]: row for row in rows if row["state"] != "skipped"}


def _archive(out: Path, path: Path) -> None:
    """Everything but the caches, in one file that is whole at any time."""
    part = path.with_name(path.name + ".part")
    with tarfile.open(part, "w:gz") as file:
        file.add(out, out.name, filter=lambda one: None if one.name == f"{out.name}/cache" else one)
    part.replace(path)


def _counts(path: Path) -> dict[str, int]:
    """Of a run of tests: passed, failed and skipped; empty where it left nothing."""
    try:
        suites = ElementTree.parse(path).getroot().iter("testsuite")
    except (OSError, ElementTree.ParseError):
        return {}
    said = [
        {key: int(one.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for one in suites
    ]
    failed = sum(one["failures"] + one["errors"] for one in said)
    skipped = sum(one["skipped"] for one in said)
    return {
        "passed": sum(one["tests"] for one in said) - failed - skipped,
        "failed": failed,
        "skipped": skipped,
    }


def words_of_tests() -> list[str]:
    """How tests are run in a step, to which their names are added; what is counted of them is in its row."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rsfE"]
    # The project's own options are strict, and end all of it where pytest's plugins are not installed.
    words += ["-o", "filterwarnings=default", "-o", "addopts=--import-mode=importlib"]
    return [*words, "--junitxml={out}/{name}.xml"]


def lacks(*modules: str) -> Why:
    """Says which Python module is missing."""

    def why() -> str | None:
        missing = [name for name in modules if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    return why


def why_not(step: Step, rehearse: bool) -> str | None:
    """Why a step cannot be here; None where it can."""
    if rehearse and not step.rehearsed:
        return "needs a GPU: this is a rehearsal"
    return next(filter(None, (why() for why in step.needs)), None)


def _run(step: Step, path: Path, limit_s: float, device: str) -> dict[str, Any]:
    filled = {"out": str(path.parent), "device": device, "name": step.name}
    words = [word.format(**filled) if "{" in word else word for word in step.words]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(path.parent / "cache"),
        "COLUMNS": "300",  # or pytest leaves out why a test has failed
        "PYTHONUNBUFFERED": "1",  # or a step that is ended takes along how far it came
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
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]  # without the command
    tail, said = lines[-_TAIL_LINES:], _telling(lines)
    if code is None:
        why = f"not done after {limit_s:.0f} s{said and '; last: '}{said}"
        return {"state": "ended", "seconds": seconds, "why": why, "tail": tail}
    row: dict[str, Any] = {"state": "ok" if code == 0 else "failed", "seconds": seconds}
    row |= {"why": f"exit code {code}{said and ': '}{said}" if code else "", "tail": tail}
    if code == 0 and step.says and not any(step.says in line for line in lines):
        row |= {"state": "failed", "why": f"it never says {step.says!r}{said and '; last: '}{said}"}
    if any("junitxml" in word for word in step.words):
        row["tests"] = _counts(path.parent / f"{step.name}.xml")
        if code == 0 and not row["tests"].get("passed"):
            row |= {"state": "failed", "why": "every test was skipped"}
    return row


def _telling(lines: Sequence[str]) -> str:
    """The line that says most of how a program ended: its first test that failed, or else its last line."""
    said = [line.strip() for line in lines if line.strip()] or [""]
    return next((line for line in said if line.startswith(("FAILED ", "ERROR "))), said[-1])[:300]


def _end(child: subprocess.Popen[Any]) -> None:
    """The step and whatever it has started: it leads a session of its own."""
    try:
        os.killpg(child.pid, 9)
    except ProcessLookupError:
        pass
    child.wait()


def _gpu() -> dict[str, str] | None:
    found = probe.device_at()
    if found is None:
        return None
    return {"name": found.name, "compute_capability": found.compute_capability, "driver_cuda": found.driver}
