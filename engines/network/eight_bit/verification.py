"""Whether an 8-bit network gives on this machine the colors that it was made for.

Processors without VNNI add pairs of 8-bit products in 16 bits, which can saturate, and every runtime has
kernels of its own for every instruction set: the same file may color differently elsewhere, and says
nothing. So the file carries its answer to one picture in exact arithmetic, and before the first frame the
runtime at hand is asked for the same; that is done once and remembered.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.cache import digest_of
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.network.record import read_answer

log = logging.getLogger(__name__)

PICTURE_SIZE = (64, 96)
BLOCK_PX = 4
LEAST_DB = 32.0
"""Between the answers. Twins of `nir:fast` with weights of 8 bits, on AVX2 without VNNI: 24 to 27 dB; with
weights of 7 bits, wherever they ran: 43 dB and more."""

_verified: set[str] = set()
"""What was verified in this process, for runs without a cache: every network of a ladder is opened anew."""


def picture() -> NDArray[np.float32]:
    """(1, 1, 64, 96) float32 in [0, 1]: a ground under a sky, with blobs of every size; the same for ever."""
    rows, columns = np.mgrid[0 : PICTURE_SIZE[0], 0 : PICTURE_SIZE[1]].astype(np.float64)
    luma = 0.72 - 0.45 * rows / PICTURE_SIZE[0]
    for wave in range(1, 9):
        phase = np.sin(0.9 * wave * wave)
        luma += 0.3 / wave * np.sin(0.045 * wave * columns + phase) * np.cos(0.06 * wave * rows - phase)
    return np.asarray(np.clip(luma, 0.0, 1.0), np.float32)[None, None]


def packed(ycc: NDArray[np.float32]) -> bytes:
    """An answer (1, 3, 64, 96), Y' in [0, 1], Cb and Cr in [-0.5, 0.5]: means of 4x4 pixels, as uint8."""
    height, width = PICTURE_SIZE
    blocks = ycc.reshape(3, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX).mean((2, 4))
    blocks[1:] += 0.5
    return bytes(np.rint(np.clip(blocks, 0.0, 1.0) * 255).astype(np.uint8).tobytes())


def difference_db(answer: bytes, expected: bytes) -> float:
    """PSNR between two packed answers; infinite where they are equal."""
    a, b = (np.frombuffer(one, np.uint8).astype(np.float64) for one in (answer, expected))
    if a.size != b.size:
        return 0.0
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@dataclass(frozen=True, slots=True)
class Check:
    """A runtime about to be held to a file's answer.

    Attributes:
        path: the 8-bit file.
        runtime: its name with precision, for people.
        machine: what rounding depends on, for remembering.
        cache: where that is remembered, None for nowhere.
    """

    path: Path
    runtime: str
    machine: str
    cache: Path | None


def verify(check: Check, ycc_of: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    """Hold the network that was opened from a file against the answer in that file.

    Args:
        check: what is held to what.
        ycc_of: runs the network: (1, 1, H, W) luma in [0, 1] to (1, 3, H, W) `ycc`.

    Raises:
        EngineUnavailable: it colors differently here, and must not be used.
    """
    path = check.path
    expected = read_answer(path)
    if expected is None:
        log.warning("%s says no answer to be held to: make it anew with irchroma calibrate precision", path)
        return
    name = _name(check)
    mark = None if check.cache is None else check.cache / f"verified-{name}"
    done = name in _verified if mark is None else mark.is_file()
    if done:
        return
    found = difference_db(packed(ycc_of(picture())), expected)
    if found < LEAST_DB:
        raise EngineUnavailable(
            f"{path.name} gives other colors on this processor in {check.runtime} than where it was made"
            f" ({found:.1f} dB apart, at least {LEAST_DB:g} are asked): use the float network, or make it"
            " anew with irchroma calibrate precision"
        )
    log.info("%s: verified on this machine, %.1f dB from exact arithmetic", path.stem, found)
    _verified.add(name)
    if mark is not None:
        try:
            mark.write_text(f"{path.name} {check.runtime} {found:.1f} dB\n", encoding="utf-8")
        except OSError as error:
            log.info("that it was verified cannot be remembered: %s", error)


def _name(check: Check) -> str:
    text = f"{digest_of(check.path)} {check.machine}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
