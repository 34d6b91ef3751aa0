"""When frames are shown: at their own times, or at the right ones where a container misstates them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from irchroma.stream.frame import UNKNOWN_NS
from irchroma.stream.gstreamer.sample import Sample
from irchroma.stream.remarks import remark

_DEFAULT_RATE = Fraction(25)  # only for times of frames that carry none, where no rate is known either
_SMALLEST_STEP_NS = 1_000_000  # Matroska's grid


class FrameTimes:
    """Increasing times for the samples of one video, asked for in order.

    Attributes:
        rate: frames a second, 0 where unknown.
        first_ns, last_ns: the first and the last frame's pts, -1 before the first.
    """

    def __init__(
        self, rate: Fraction = Fraction(0), true_rate: Fraction = Fraction(0), even: bool = False
    ) -> None:
        """Begin.

        Args:
            rate: by the caps, frames a second.
            true_rate: where the caps were found to be wrong, else 0.
            even: a time that is repeated stands for one frame more at that rate: AVI has no times but this,
                and where frames are reordered some are given out twice.
        """
        self.rate, self._true_rate, self._even = true_rate or rate, true_rate, even
        self.last_ns = self.first_ns = -1

    @classmethod
    def from_first(cls, samples: Sequence[Sample], even: bool = False) -> FrameTimes:
        """Look at the first samples, and correct a rate that they disprove (field rates, 50 for 10 Hz)."""
        rate = samples[0].caps.rate
        times = [sample.pts_ns for sample in samples if sample.pts_ns >= 0]
        steps = [later - sooner for sooner, later in itertools.pairwise(times) if later > sooner]
        if len(steps) < 2:
            return cls(rate, even=even)
        steady = max(steps) - min(steps) <= 0.1 * max(steps)
        seen = Fraction(10**9 * len(steps), sum(steps)) if steady else Fraction(10**9, min(steps))
        wrong = (steady and not rate) or (rate and seen < rate * Fraction(4, 5))
        return cls(rate, seen.limit_denominator(1001) if wrong else Fraction(0), even)

    def pts_ns(self, sample: Sample) -> int:
        """The next sample's time; after the one before in any case."""
        if sample.pts_ns > self.last_ns:
            pts_ns = sample.pts_ns
        elif sample.pts_ns >= 0 and not (self._even and self.rate):
            remark("frames with the time of the one before were given a later time")
            pts_ns = self.last_ns + _SMALLEST_STEP_NS
        elif self.last_ns < 0:  # raw H.264 has no times of its own
            pts_ns = 0
        else:
            if not self.rate:
                remark(f"frames have neither times nor a rate: {_DEFAULT_RATE} a second are taken")
            pts_ns = self.last_ns + round(10**9 / (self.rate or _DEFAULT_RATE))
        self.last_ns = pts_ns
        self.first_ns = pts_ns if self.first_ns < 0 else self.first_ns
        return pts_ns

    def duration_ns(self, sample: Sample) -> int:
        """How long it is shown, UNKNOWN_NS where nothing says so."""
        if self._true_rate:
            return round(10**9 / self._true_rate)
        return sample.duration_ns if sample.duration_ns > 0 else UNKNOWN_NS
