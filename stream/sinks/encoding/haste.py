"""Whether a live stream is so much for this process's cores that its encoder does with less work."""

from __future__ import annotations

import os
from fractions import Fraction

HURRY_PIXELS_HZ = 20e6
"""Pixels a second for each core, above which x264 is set to its least work.

1920x1080 at 30 frames a second on two cores (31) then takes 15 to 17 ms of CPU time a frame in place of 28
to 36, of the 67 that there are for all of it; a colored street has as many bits, and a PSNR of 42.6 dB in
place of 42.0. Skies show a little more of their blocks, so smaller streams keep the other setting, with which
1280x720 (14) takes 11 ms a frame."""
HURRIED_WORK = 0.55
"""Work of such a frame, in that of others."""


def hurried(size: tuple[int, int], rate: Fraction | float, threads: int = 0) -> bool:
    """Whether a live stream of (H, W) at that many frames a second is to be coded with least work.

    Args:
        size, rate: of the stream.
        threads: that its encoder may have, 0 for all cores; more than there are make it no faster.
    """
    cores = usable_cores()
    return size[0] * size[1] * float(rate) > HURRY_PIXELS_HZ * min(threads or cores, cores)


def usable_cores() -> int:
    """How many this process may use, as x264 counts them; all where the system tells no more.

    `irchroma.engines.processor` says the same of its threads: neither of the two knows the other.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
