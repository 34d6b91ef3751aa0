"""The 8-bit twin of a network that ships, where this machine runs it clearly faster than the float network.

Measured once, and remembered: before the first frame of a file, and in a live run, whose color is not to wait
for it, long after, for the runs to come. A twin of other weights than those at hand, or one that colors
differently on this machine, is passed over, and that is said.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.cache import digest_of, write_atomically
from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import (
    Network,
    NetworkOptions,
    Tensor,
    installed,
    machine_key,
    open_network,
)
from irchroma.engines.network.record import read_record

log = logging.getLogger(__name__)

CLEARLY = 1.15
"""Times as fast as the float network a twin must be: a little color is lost with it. Those that ship are 1.3
to 1.5 times as fast as float32 at 256x320, on AVX2 and on AVX512 with VNNI (both masked on one machine)."""
CLEARLY_BF16 = 1.5
"""The same where the float network runs in bf16: an AMD EPYC (Zen 4) gains 1.2 there and keeps it, a Xeon
without a matrix unit, on which bf16 is hardly faster than float32, 1.9."""
_known: dict[str, str] = {}
"""What was measured in this process, for runs without a cache."""
_measuring = threading.Lock()
"""Who measures compiles into the cache, which OpenVINO (2026.4) does not guard between its cores: of cameras
that did so at once one read what another had half written, and went on without the cache. One process of some
forty ended by SIGBUS."""
_SIZE = (256, 320)
_CALLS = 4


def twin_path(kind: str, size: str) -> Path:
    """Where the 8-bit twin of a network lies; it may be absent."""
    return catalog.weights_path(kind, size).with_name(f"{kind}_{size}_int8.onnx")


def weights_for(kind: str, size: str, options: NetworkOptions, wait: bool = True) -> Path:
    """The file that a run on the CPU should open for a network that ships.

    The float network, except where OpenVINO is what runs it, a twin of it is there, and that is faster here:
    ONNX Runtime gains nothing from 8 bits without VNNI.

    Args:
        kind, size: of the network.
        options: how it is run.
        wait: measure, two seconds of CPU time, where that is not known yet; else the float network is taken.
    """
    pair = _Pair.of(kind, size, options)
    if pair is None:
        return catalog.weights_path(kind, size)
    known = pair.known()
    if known is None and wait:
        with _measuring:  # cameras that begin together wait for one of them
            known = pair.known()
            if known is None:
                known = _verdict(pair.path, pair.twin, pair.options)
                log.info("%s: %s", pair.path.stem, known)
                known = pair.remember(known)
    return pair.twin if known is not None and known.startswith("twin") else pair.path


def settled(kind: str, size: str, options: NetworkOptions) -> bool:
    """Whether `weights_for` has nothing left to measure."""
    pair = _Pair.of(kind, size, options)
    return pair is None or pair.known() is not None


def gain(kind: str, size: str, options: NetworkOptions) -> float:
    """How many times as fast as its float network the file is that `weights_for` gives who does not wait."""
    pair = _Pair.of(kind, size, options)
    found = re.match(r"twin: (\d+\.\d+) times", (pair.known() or "") if pair is not None else "")
    return float(found[1]) if found is not None else 1.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """A float network and the twin of these very weights, and what is known of them on this machine."""

    path: Path
    twin: Path
    options: NetworkOptions
    key: str

    @classmethod
    def of(cls, kind: str, size: str, options: NetworkOptions) -> _Pair | None:
        """None where there is nothing to choose."""
        path, twin = catalog.weights_path(kind, size), twin_path(kind, size)
        if options.exact or options.runtime not in ("auto", "openvino") or not installed("openvino"):
            return None
        if options.device not in ("auto", "cpu"):  # a GPU makes its float16 of the float network
            return None
        if not twin.is_file() or not path.is_file():
            return None
        float_hash = digest_of(path)
        record = read_record(twin)
        if record is None or record.source_sha256 != float_hash:
            log.info("%s was made of other weights than %s: run irchroma engines twins", twin.name, path.name)
            return None
        twin_hash = digest_of(twin)
        text = f"{float_hash} {twin_hash} {machine_key('openvino')} {CLEARLY} {CLEARLY_BF16}"
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(path, twin, replace(options, runtime="openvino"), key)

    def known(self) -> str | None:
        """What was found before; None for nothing."""
        return _known.get(self.key) if self._memory is None else _remembered(self._memory)

    def remember(self, verdict: str) -> str:
        """What holds from now on: where another process has measured meanwhile, what that found."""
        verdict = _remembered(self._memory) or verdict
        _known[self.key] = verdict
        _remember(self._memory, verdict)
        return verdict

    @property
    def _memory(self) -> Path | None:
        return None if self.options.cache is None else self.options.cache / f"twin-{self.key}"


def _verdict(path: Path, twin: Path, options: NetworkOptions) -> str:
    try:
        ratio, precision = _ratio(path, twin, options)
    except EngineError as error:
        log.warning("%s is not used: %s", twin.name, error)
        return f"float: {twin.name} does not run here"
    least = CLEARLY_BF16 if precision == "bf16" else CLEARLY
    return f"{'twin' if ratio >= least else 'float'}: {ratio:.2f} times as fast in 8 bits as in {precision}"


def _remembered(memory: Path | None) -> str | None:
    if memory is None or not memory.is_file():
        return None
    return memory.read_text("utf-8").strip() or None


def _remember(memory: Path | None, verdict: str) -> None:
    if memory is None or memory.is_file():
        return
    try:
        write_atomically(memory, [f"{verdict}\n".encode()])
    except OSError as error:
        log.info("that cannot be remembered: %s", error)


def _ratio(path: Path, twin: Path, options: NetworkOptions) -> tuple[float, str]:
    """CPU time of the float network's call by its twin's, in turns, the least of some; float's precision.

    On one thread, whose own time it is: whatever else the process does, as a live run does, is not counted.
    """
    options = replace(options, threads=1, lanes=1)
    networks = [open_network(path, options)]
    try:
        networks.append(open_network(twin, options))
        luma = np.full((1, 1, *_SIZE), 0.4, np.float32)
        least = in_turns(networks, luma, _CALLS, clock=time.thread_time).min((1, 2))
        return float(least[0] / max(least[1], 1e-9)), networks[0].name.split()[-1]
    finally:
        for network in networks:
            network.close()


def in_turns(
    networks: Sequence[Network],
    luma: Tensor,
    rounds: int,
    in_a_row: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> NDArray[np.float64]:
    """Seconds of the networks' calls, which take turns, so that other load hits all of them alike.

    Args:
        networks: of the same input.
        luma: that.
        rounds: how many, after one that compiles and does not count.
        in_a_row: calls of each in a round.
        clock: whose seconds.

    Returns:
        (networks, rounds, in_a_row).
    """
    times = np.zeros((len(networks), rounds + 1, in_a_row))
    for number in range(rounds + 1):
        for place, network in enumerate(networks):
            for call in range(in_a_row):
                start_s = clock()
                network.infer(luma)
                times[place, number, call] = clock() - start_s
    return times[:, 1:]
