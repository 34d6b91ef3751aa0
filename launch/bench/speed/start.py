"""`irchroma bench start`: how long from the command until the first picture, and the first colored one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from irchroma.launch.bench.child import finished
from irchroma.launch.bench.speed.cpu import MASKS
from irchroma.launch.bench.speed.played import ClipServer
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import spread, write_json

EXAMPLE = "irchroma bench start --repeats 7 --json start.json --against ../older-checkout"

CASES = {
    "palette, file": ("{clip}", "--engine", "palette:ironbow"),
    "nir, file": ("{clip}", "--engine", "nir"),
    "palette, test camera": ("test:nir?live=1", "--engine", "palette:ironbow"),
    "nir, test camera": ("test:nir?live=1", "--engine", "nir"),
    "thermal, test camera": ("test:thermal?live=1", "--engine", "thermal"),
    "nir, network camera": ("{camera}", "--engine", "nir"),
    "thermal, network camera": ("{camera}", "--engine", "thermal"),
    "nir, test camera, page": ("test:nir?live=1", "--engine", "nir", "--to", "http://127.0.0.1:0"),
}
"""What is started. A test camera draws its scene first, half a second of processor time; a network camera
is a clip here that is there already, as raw video."""
FIGURES = ("first_s", "color_s", "cpu_s")
"""Seconds from the command to the first picture and the first colored one; processor seconds until then."""
_LONGEST_S = 60.0

DRIVER = """
import json, os, sys, threading, time
import numpy as np
from irchroma.stream.picture.picture import Picture
from irchroma.stream.sinks.null_sink import NullSink
begin_s, longest_s = float(os.environ["BENCH_START_S"]), float(os.environ["BENCH_LONGEST_S"])
seen, said = [], []
def end():
    half = seen[-1][1] / 2 if seen else 0.0
    color = next((one for one in seen if one[1] > half), None) if half > 0.5 else None
    found = {"first_s": seen[0][0] if seen else None, "color_s": color[0] if color else None,
             "cpu_s": color[2] if color else None}
    with open(os.environ["BENCH_OUT"], "w", encoding="utf-8") as file:
        json.dump(found, file)
    os._exit(0)
def write(self, pixels, pts_ns, duration_ns):
    now_s = time.monotonic()
    rgb = Picture.of(pixels).rgb[::8, ::8].astype(np.int16)
    seen.append((now_s - begin_s, float(np.ptp(rgb, axis=2).mean()), time.process_time()))
    if seen[-1][1] > 1.0 and not said:
        said.append(now_s)
    if said and now_s > said[0] + 1.0:
        end()
def late():
    time.sleep(longest_s)
    end()
threading.Thread(target=late, daemon=True).start()
NullSink.write = write
from irchroma.launch.cli import main
code = main(sys.argv[1:])
if code:
    sys.exit(code)
end()
"""
"""Runs irchroma's command line in whichever checkout PYTHONPATH names, and looks at what its sink is given: a
picture counts as colored from half of the color on that is there a second after the first trace of it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often, and which other trees to measure in turn with this one."""
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--repeats", type=int, default=5, help="starts of each kind (default 5)")
    add("--case", action="append", choices=tuple(CASES), help="only this; may be given again")
    add("--mask", choices=tuple(MASKS), default="as it is", help="instructions (as it is)")
    add("--cold", action="store_true", help="with empty caches each time: no network compiled or measured")
    add(
        "--against",
        action="append",
        default=[],
        metavar="FOLDER",
        help="another checkout, whose starts are measured in turn with this one's",
    )


def run(args: argparse.Namespace) -> int:
    """Start each kind again and again, the trees in turn.

    The first start of each only fills the caches: of what Python compiles, where all the others are cold.
    """
    if args.repeats < 1:
        raise ConfigError(f"--repeats: expected 1 or more, got {args.repeats}")
    trees = {"here": os.environ.get("PYTHONPATH", "")}
    trees |= {Path(folder).resolve().name: str(Path(folder).resolve() / ".typing") for folder in args.against}
    results: dict[str, Any] = {"bench": "start", "mask": args.mask, "cold": args.cold, "cases": {}}
    with tempfile.TemporaryDirectory() as name, closing(ClipServer((512, 640), 30)) as camera:
        folder = Path(name)
        places = {"{clip}": str(_clip(folder / "clip.mp4")), "{camera}": camera.address}
        for case in args.case or CASES:
            words = [places.get(word, word) for word in CASES[case]]
            found: dict[str, dict[str, list[float]]] = {tree: {key: [] for key in FIGURES} for tree in trees}
            for number in range(-1, args.repeats):
                for tree, path in trees.items():
                    cache = folder / (f"{tree}-{case}-{number}" if args.cold else tree)
                    environment = {**MASKS[args.mask], "XDG_CACHE_HOME": str(cache)}
                    environment |= compiled_once(folder / f"bytecode-{tree}")
                    environment |= {"PYTHONPATH": path} if path else {}
                    seconds = first_pictures(words, environment)
                    for key in FIGURES if number >= 0 else ():
                        found[tree][key].append(seconds[key])
            results["cases"][case] = {
                tree: {key: spread(told) for key, told in of.items()} for tree, of in found.items()
            }
            for tree in trees:
                first_s, color_s, cpu_s = (results["cases"][case][tree][key]["median"] for key in FIGURES)
                print(
                    f"{case}, {tree}: {first_s:.2f} s to the first picture, {color_s:.2f} s to color,"
                    f" {cpu_s:.2f} s of processor time until then",
                    flush=True,
                )
            write_json(args.json, results)  # after each case: what was measured stays when a later one fails
    return 0


def compiled_once(folder: Path) -> dict[str, str]:
    """Environment of processes that keep in `folder` what Python compiles, as an installed program does.

    Where the environment forbids keeping it (many containers' does), each start would compile 250 files.
    """
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def first_pictures(words: list[str], environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """FIGURES of a start of `irchroma run WORDS --to null`.

    Args:
        words: source and flags.
        environment: beside this process's own.

    Raises:
        ConfigError: the run ended, or a minute passed, without a picture, or without color.
    """
    about = f"irchroma run {' '.join(words)}"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "driver.json"
        told = {"BENCH_OUT": str(out), "BENCH_LONGEST_S": str(_LONGEST_S)}
        told["BENCH_START_S"] = str(time.monotonic())
        command = [sys.executable, "-c", DRIVER, "run", *words, "--to", "null", "--quiet"]
        finished(command, about, {**(environment or {}), **told}, 2 * _LONGEST_S)
        found: dict[str, float | None] = json.loads(out.read_text("utf-8"))
    if found["first_s"] is None:
        raise ConfigError(f"{about} gave no picture")
    if found["color_s"] is None:
        raise ConfigError(f"{about} gave no color within {_LONGEST_S:g} s")
    return {key: float(found[key] or 0.0) for key in FIGURES}


def _clip(path: Path) -> Path:
    """A clip as a camera's file: 640x512, H.264, the length of a second."""
    words = ["run", "test:nir?size=640x512&frames=25", "--to", str(path), "--engine", "gray", "--quiet"]
    finished([sys.executable, "-m", "irchroma.launch", *words], "making the clip")
    return path
