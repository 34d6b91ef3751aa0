"""Whether what is live is so much for this process's cores that its encoder does with less work."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from functools import cache

import cv2
import numpy as np

HURRY_PIXELS_HZ = 20e6
"""Pixels a second for each core, above which x264 is set to its least work.

1920x1080 at 30 frames a second on two cores (31) then takes 15 to 17 ms of CPU time a frame in place of 28
to 36, of the 67 that there are for all of it; a colored street has as many bits, and a PSNR of 42.6 dB in
place of 42.0. Skies show a little more of their blocks, so smaller streams keep the other setting, with which
1280x720 (14) takes 11 ms a frame."""
HURRIED_WORK = 0.55
"""Work of such a frame, in that of others."""
SLOW, PROBE_S = 0.65, 0.197e-3
"""Speed of a core below which that many pixels are fewer, the fewer the slower it is; and how long the probe
of `core_speed` takes where that is 1 (an AMD EPYC of 2024). A core of Zen 3 has a speed of 0.4: two of them
are in a hurry with 1280x720 at 30."""


@cache
def core_speed() -> float:
    """How fast a core of this machine filters a picture; a millisecond or two, once."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (256, 320), np.uint8)
    times_s = []
    for _ in range(7):  # the quickest, as others disturb
        start_s = time.thread_time()
        cv2.resize(picture, (208, 166), interpolation=cv2.INTER_AREA)
        cv2.GaussianBlur(picture, (7, 7), 2)
        times_s.append(time.thread_time() - start_s)
    return PROBE_S / max(min(times_s), 1e-6)


def hurried(size: tuple[int, int], rate: Fraction | float, threads: int = 0) -> bool:
    """Whether live pictures of (H, W) at that many frames a second are to be coded with least work.

    Args:
        size, rate: of them.
        threads: that their encoder may have, 0 for all cores; more than there are make it no faster.
    """
    cores = usable_cores()
    pixels_hz = HURRY_PIXELS_HZ * min(1.0, core_speed() / SLOW)
    return size[0] * size[1] * float(rate) > pixels_hz * min(threads or cores, cores)


def usable_cores() -> int:
    """How many this process may use, as x264 counts them; all where the system tells no more.

    `irchroma.engines.processor` says the same of its threads: neither of the two knows the other.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
