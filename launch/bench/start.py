"""`irchroma bench start`: how long from the command until the first picture reaches the sinks."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.measured import spread, write_json

EXAMPLE = "irchroma bench start --repeats 7 --json start.json"

CASES = {
    "palette, file": ("{clip}", "--engine", "palette:ironbow"),
    "nir, file": ("{clip}", "--engine", "nir"),
    "palette, test camera": ("test:nir?live=1", "--engine", "palette:ironbow"),
    "nir, test camera": ("test:nir?live=1", "--engine", "nir"),
    "nir, test camera, page": ("test:nir?live=1", "--engine", "nir", "--to", "http://127.0.0.1:0"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often, and which other trees to measure in turn with this one."""
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    parser.add_argument("--repeats", type=int, default=5, help="starts of each kind (default 5)")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="FOLDER",
        help="another checkout, whose starts are measured in turn with this one's",
    )


def run(args: argparse.Namespace) -> int:
    """Start each kind again and again, the trees in turn; the first start of each only fills the caches."""
    if args.repeats < 1:
        raise ConfigError(f"--repeats: expected 1 or more, got {args.repeats}")
    trees = {"here": os.environ.get("PYTHONPATH", "")}
    trees |= {Path(folder).resolve().name: str(Path(folder).resolve() / ".typing") for folder in args.against}
    results: dict[str, Any] = {"bench": "start", "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(Path(folder) / "clip.mp4")
        for name, words in CASES.items():
            command = [word.replace("{clip}", str(clip)) for word in words]
            wall: dict[str, list[float]] = {tree: [] for tree in trees}
            work: dict[str, list[float]] = {tree: [] for tree in trees}
            for number in range(args.repeats + 1):
                for tree, path in trees.items():
                    seconds = first_picture(command, path)
                    if number:
                        wall[tree].append(seconds[0])
                        work[tree].append(seconds[1])
            results["cases"][name] = {
                tree: {"wall_s": spread(wall[tree]), "cpu_s": spread(work[tree])} for tree in trees
            }
            for tree in trees:
                told = results["cases"][name][tree]
                print(
                    f"{name}, {tree}: {told['wall_s']['median']:.2f} s to the first picture,"
                    f" {told['cpu_s']['median']:.2f} s of processor time"
                )
    write_json(args.json, results)
    return 0


def first_picture(words: list[str], python_path: str = "") -> tuple[float, float]:
    """Seconds from the start of `irchroma run WORDS --to null` to its first picture; processor seconds.

    Raises:
        ConfigError: the run ended without one.
    """
    environment = {**os.environ, **({"PYTHONPATH": python_path} if python_path else {})}
    begin_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "irchroma.launch", "run", *words, "--to", "null"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    with process.stderr or open(os.devnull, encoding="utf-8") as log_lines:
        seen = any("sink: null" in line for line in log_lines)
        took_s = time.monotonic() - begin_s
        os.kill(process.pid, signal.SIGKILL)  # Popen.kill would wait for it, and lose its usage
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0  # it has been waited for
    if not seen:
        raise ConfigError(f"irchroma run {' '.join(words)} gave no picture")
    return took_s, usage.ru_utime + usage.ru_stime


def _clip(path: Path) -> Path:
    """A clip as a camera's file: 640x512, H.264, the length of a second."""
    words = ["run", "test:nir?size=640x512&frames=25", "--to", str(path), "--engine", "gray", "--quiet"]
    subprocess.run([sys.executable, "-m", "irchroma.launch", *words], check=True)
    return path
