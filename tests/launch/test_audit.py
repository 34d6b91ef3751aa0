"""`launch/audit`: what is said of known faults, by an auditor that answers as the real one does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).resolve().parents[2] / "launch" / "audit"
CLEAN = {"name": "numpy", "version": "2.0", "vulns": []}
FAULTY = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "own", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([CLEAN, CLEAN], 0, "2 packages looked up, 0 with known faults"),
        ([CLEAN, FAULTY], 1, "WARNING: old 1.0: PYSEC-1 (fixed in: 1.1)"),
        ([CLEAN, UNKNOWN], 0, "WARNING: 1 of 2 packages could not be looked up"),
        ([UNKNOWN], 0, "no registry answers"),
        (None, 0, "no registry answers"),
    ],
)
def test_faults_are_named_and_a_registry_that_does_not_answer_is_said(
    tmp_path: Path, packages: list[dict[str, Any]] | None, code: int, said: str
) -> None:
    (tmp_path / "launch").mkdir()
    shutil.copy(AUDIT, tmp_path / "launch" / "audit")
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "python").symlink_to(sys.executable)
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    (tools / "pip-audit").write_text(f"#!/bin/sh\necho '{answer}'\nexit 1\n", encoding="utf-8")
    (tools / "pip-audit").chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "launch" / "audit")], capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout
