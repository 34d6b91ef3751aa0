"""`irchroma bench soak`: a long run with clients coming and going; memory must not grow."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.stream.errors import SourceError
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource

EXAMPLE = "irchroma bench soak --minutes 10 --json launch/benchmarks/soak.json"

_SAMPLE_S = 2.0
_CLIENT_FRAMES = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Length and engine of the run."""
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the run")
    parser.add_argument("--engine", default="palette:ironbow", help="engine of the run")
    parser.add_argument("--source", default="test:thermal", help="source of the run, at full speed")


def run(args: argparse.Namespace) -> int:
    """Run, watch the resident memory, print and write the growth after the first minute."""
    port = _free_port()
    address = f"rtsp://127.0.0.1:{port}/soak"
    command = [sys.executable, "-m", "irchroma.launch", "run", args.source, "--to", address]
    process = subprocess.Popen([*command, "--engine", args.engine, "--quiet"])
    try:
        samples, clients = _watch(process, address, 60 * args.minutes)
    finally:
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(30)
    growth = growth_after(samples, 60.0)
    results: dict[str, Any] = {
        "bench": "soak",
        "source": args.source,
        "engine": args.engine,
        "minutes": args.minutes,
        "clients": clients,
        "exit_code": exit_code,
        "growth_after_first_minute_mb": round(growth, 2),
        "resident_mb": [[round(at_s, 1), round(mb, 1)] for at_s, mb in samples],
    }
    write_json(args.json, results)
    print(f"{args.minutes:g} minutes, {clients} clients: {growth:+.1f} MB of memory after the first minute")
    return 0


def growth_after(samples: list[tuple[float, float]], start_s: float) -> float:
    """How much higher the last tenth of the samples lies than the first tenth after `start_s`, in MB."""
    later = [mb for at_s, mb in samples if at_s >= start_s]
    tenth = max(1, len(later) // 10)
    if len(later) < 2:
        raise ConfigError(f"the run was too short to say anything: longer than {start_s:g} s, please")
    return max(later[-tenth:]) - min(later[:tenth])


def _watch(
    process: subprocess.Popen[bytes], address: str, length_s: float
) -> tuple[list[tuple[float, float]], int]:
    samples: list[tuple[float, float]] = []
    clients = 0
    start_s = sampled_s = time.monotonic()
    progress = Progress(length_s)
    while (elapsed_s := time.monotonic() - start_s) < length_s:
        if process.poll() is not None:
            raise ConfigError(f"the run ended by itself with exit code {process.returncode}")
        clients += _visit(address)
        if time.monotonic() - sampled_s >= _SAMPLE_S:
            sampled_s = time.monotonic()
            samples.append((sampled_s - start_s, _resident_mb(process.pid)))
            progress.update(elapsed_s, f"{samples[-1][1]:.0f} MB")
    progress.close()
    return samples, clients


def _visit(address: str) -> bool:
    """Watch for a while and leave; False where nothing was to be seen yet."""
    viewer = RtspSource(address, RtspOptions(transport="tcp"))
    try:
        viewer.open()
        return all(viewer.read(5.0) is not None for _ in range(_CLIENT_FRAMES))
    except SourceError:
        time.sleep(0.2)  # the server may still be starting
        return False
    finally:
        viewer.close()


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ConfigError(f"process {pid} has no resident memory to read")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
