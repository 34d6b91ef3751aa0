"""Processes of their own: a command run to its end, also masked or of another checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from irchroma.launch.config import ConfigError


def finished(
    command: Sequence[str],
    about: str,
    environment: Mapping[str, str] | None = None,
    stuck_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """A command that has ended well, and what it printed.

    Args:
        command: program and arguments.
        about: what an error calls it.
        environment: beside this process's own.
        stuck_s: in which it must end; None for however long it takes.

    Raises:
        ConfigError: it failed, or took longer and was killed.
    """
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=stuck_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{about} has not ended after {stuck_s:g} s") from error
    if done.returncode:
        raise ConfigError(f"{about} failed: {done.stderr.strip()[-300:]}")
    return done


def json_of(
    code: str, arguments: Sequence[str], about: str, environment: Mapping[str, str], stuck_s: float
) -> dict[str, Any]:
    """Run Python `code` and read the JSON of its last line; arguments and errors as of `finished`."""
    done = finished([sys.executable, "-c", code, *arguments], about, environment, stuck_s)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
