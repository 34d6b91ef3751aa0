"""The errors of `irchroma.calibration`.

CalibrationError   a recording does not show what a measurement needs (also ValueError)
"""

from irchroma.stream.errors import StreamError


class CalibrationError(StreamError, ValueError):
    """A recording does not show what a measurement needs; the text says what to record instead."""
