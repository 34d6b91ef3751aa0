"""What every colorizer takes: luma, and beside it the counts that it was made of."""

from __future__ import annotations

import numpy as np

from irchroma.engines.errors import EngineOptionError


def require_picture(luma: object, counts: object = None) -> None:
    """Refuse what is no picture, by name.

    Args:
        luma: (H, W) uint8.
        counts: (H, W) uint16 of the same size, or None.

    Raises:
        EngineOptionError: it is something else.
    """
    if not (isinstance(luma, np.ndarray) and luma.ndim == 2 and luma.dtype == np.uint8 and luma.size):
        raise EngineOptionError(f"expected (H, W) uint8 luma, got {_told(luma)}")
    if counts is None:
        return
    if not (isinstance(counts, np.ndarray) and counts.dtype.str[1:] == "u2" and counts.shape == luma.shape):
        raise EngineOptionError(f"expected {luma.shape} uint16 counts, as the luma is, got {_told(counts)}")


def _told(found: object) -> str:
    return f"{found.shape} {found.dtype}" if isinstance(found, np.ndarray) else type(found).__name__
