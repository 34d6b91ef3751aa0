"""`irchroma bench twins`: 8-bit twins beside their float networks, instructions masked too: CPU time, colors.

Each mask is a process of its own, in which the networks are called in turns.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from irchroma.calibration.precision import PrecisionOptions, PrecisionSearch, Quality
from irchroma.calibration.recordings import InfraredFrames
from irchroma.engines import catalog
from irchroma.engines.network.eight_bit.twins import twin_path
from irchroma.engines.network.record import read_record
from irchroma.launch.bench.child import json_of
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.stills.coloring import read_luma_pair
from irchroma.launch.stills.picture_files import list_pairs

EXAMPLE = "irchroma bench twins --nir pairs/nir --thermal pairs/thermal --json launch/benchmarks/twins.json"
MASKS = {"AVX2": "AVX2", "AVX512 with VNNI": "AVX512_CORE_VNNI", "as it is": ""}
"""Name -> what oneDNN is held to. Of other instructions than the processor has nothing is said."""
SIZES = ((128, 160), (192, 256), (256, 320))
_STUCK_S = 300

CALLS = """
import json, sys, time
import numpy as np
from pathlib import Path
from irchroma.engines.network.eight_bit.twins import in_turns
from irchroma.engines.network.network import NetworkOptions, open_network
sizes, turns, paths = json.loads(sys.argv[1])
networks = [open_network(Path(path), NetworkOptions("openvino", 1, cache=None)) for path in paths]
found = []
for size in sizes:
    luma = np.random.default_rng(0).random((1, 1, *size), np.float32)
    times = 1e3 * in_turns(networks, luma, turns, 3, time.process_time)
    found.append([[float(np.median(one)), float(one.min())] for one in times])
print(json.dumps({"names": [one.name for one in networks], "kinds": networks[-1].convolution_precisions(
    (1, 1, *sizes[0])), "cpu_ms": found}))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    for band in catalog.BANDS:
        add(f"--{band}", type=Path, metavar="DIR", help=f"{band} pairs, ir/ and rgb/ in it")
    add("--turns", type=int, default=12, metavar="N", help="of three calls each (12)")
    add("--every", type=int, default=1, metavar="N", help="judge every Nth pair (1)")


def run(args: argparse.Namespace) -> int:
    """Measure every twin that is there, print lines, write the JSON.

    Raises:
        ConfigError: there is no twin, or a process failed.
    """
    if args.turns < 1 or args.every < 1:
        raise ConfigError(f"--turns and --every must be 1 or more, got {args.turns} and {args.every}")
    pairs = {band: getattr(args, band) for band in catalog.BANDS}
    names = [(band, size) for band in catalog.BANDS for size in catalog.SIZES]
    results = [
        measured(band, size, args.turns, pairs[band], args.every)
        for band, size in names
        if twin_path(band, size).is_file()
    ]
    if not results:
        raise ConfigError("no 8-bit twins to measure: make them with irchroma engines twins")
    write_json(args.json, {"bench": "twins", "masks": MASKS, "threads": 1, "twins": results})
    return 0


def measured(band: str, size: str, turns: int, folder: Path | None, every: int = 1) -> dict[str, Any]:
    """One twin: its file, its speed under every mask, and its colors where there are pairs."""
    twin = twin_path(band, size)
    record = read_record(twin)
    found: dict[str, Any] = {
        "network": f"{band}:{size}",
        "mb": round(twin.stat().st_size / 1e6, 2),
        "record": asdict(record) if record is not None else None,
        "speed": [],
    }
    for mask in MASKS:
        asked = json.dumps([SIZES, turns, [str(catalog.weights_path(band, size)), str(twin)]])
        held_to = {"ONEDNN_MAX_CPU_ISA": MASKS[mask]}
        told = json_of(CALLS, [asked], f"measuring with {mask}", held_to, _STUCK_S)
        for (height, width), times in zip(SIZES, told["cpu_ms"], strict=True):
            (plain, least), (eight, least_eight) = times
            row = {
                "mask": mask,
                "size": [height, width],
                "runtime": told["names"][0],
                "float_cpu_ms": round(plain, 2),
                "twin_cpu_ms": round(eight, 2),
                "times_as_fast": round(plain / eight, 2),
                "least_times_as_fast": round(least / least_eight, 2),
            }
            found["speed"].append(row)
            print(
                f"{band}:{size}, {mask}, {width}x{height}: {plain:.2f} ms in {told['names'][0]},"
                f" {eight:.2f} in 8 bits: {plain / eight:.2f} times as fast",
                flush=True,
            )
        found["convolutions"] = told["kinds"]
    if folder is not None:
        quality = _quality(band, size, twin, folder, every)
        found["quality"] = asdict(quality)
        print(f"{band}:{size}: {quality.to_float_db:.1f} dB to float, {quality.loss_db:+.3f} dB lost")
    return found


def _quality(band: str, size: str, twin: Path, folder: Path, every: int) -> Quality:
    pairs = [read_luma_pair(pair) for pair in list_pairs(folder)[::every]]
    lumas = tuple(luma for luma, _ in pairs)
    search = PrecisionSearch(
        PrecisionOptions(band, size, runtime="openvino"), InfraredFrames((), lumas), pairs
    )
    try:
        return search.quality_of(twin)
    finally:
        search.close()
