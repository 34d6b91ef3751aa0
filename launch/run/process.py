"""What a process that works on video asks of its memory allocator and of OpenCV's threads."""

from __future__ import annotations

import ctypes
import os

import cv2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT_BYTES = 32 << 20  # the largest that glibc takes for M_MMAP_THRESHOLD on 64 bits


def tune_process() -> None:
    """Keep freed pictures for the next frame, and let the pipeline's own threads be the parallel ones.

    glibc gives arrays of more than 128 KiB back to the system each time and clears them when they come
    again: with a network at 640x512 that was 1,800 page faults and 6 ms of system time a frame; 300
    faults are left. OpenCV's workers spin while they wait: on two cores, 1,000 forced context switches
    a frame, 30 with one thread, at the same speed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library has its own ways
        pass
    else:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 8 * _KEPT_BYTES)
    cv2.setNumThreads(max(1, len(os.sched_getaffinity(0)) // 4))
