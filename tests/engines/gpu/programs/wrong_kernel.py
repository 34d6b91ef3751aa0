"""A kernel that is given too little memory, or one place for all its results: for a sanitizer to find."""

from __future__ import annotations

import argparse

import numpy as np

from irchroma.engines.gpu.cpu_device import device_array
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.gpu.kernels.source import launch


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sanitizer", required=True)
    parser.add_argument("--built", help="their library, built so already")
    args = parser.parse_args()
    kernels = HostKernels(sanitizer=args.sanitizer, built=args.built)
    values, out = (np.zeros((64, 64), np.float32) for _ in range(2))
    wrong = {"address": (66, 66), "thread": (64, 0)}  # places in a row, and those from row to row
    across, pitch = wrong[args.sanitizer]
    size = {"confidence": device_array(values), "out": device_array(out), "width": pitch}
    for _ in range(4):
        kernels.run(launch("show_confidence", (across, 64, 1), **size))


if __name__ == "__main__":
    main()
