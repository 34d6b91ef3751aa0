"""Which picture of a library is in use while a camera runs: it changes with the scene, and never flickers."""

from __future__ import annotations

from collections.abc import Mapping

from irchroma.engines.retrieval import features

UNSEEN_S = 3.0
"""Without a look, after which what was weighed before it says nothing anymore."""
SLACK = 0.08
"""Below the score from which a picture suits at all, the one in use may lie so much."""
CLEARLY = 0.1
"""So much better than the one in use another must be."""
LASTING_S, SETTLE_S = 10.0, 0.9
"""For so long, in every look; the second at the beginning and after a cut."""


class SceneChooser:
    """Told of every look at the scene; used by one thread.

    A change is weighed from the look in which the one in use is first beaten clearly, by whichever picture,
    or no longer suits; one look in which that is not so ends it. What has been best on the whole is taken.

    Attributes:
        chosen: the picture in use; None while none suits.
    """

    def __init__(self) -> None:
        self.chosen: str | None = None
        self._fresh = True
        self._since_s: float | None = None
        self._before_s: float | None = None
        self._looks = 0
        self._totals: dict[str, float] = {}

    def observe(self, at_s: float, scores: Mapping[str, float], cut: bool = False) -> list[str] | None:
        """One look.

        Args:
            at_s: the frame's time.
            scores: of the best pictures, and of the one in use.
            cut: the scene has changed all at once since the last look.

        Returns:
            None while nothing is to change; else those that could be taken, the best first, of which the
            caller takes one, or none (`take`).
        """
        if cut or (self._before_s is not None and at_s < self._before_s):
            self._fresh = True
            self._forget()
        elif self._before_s is not None and at_s - self._before_s > UNSEEN_S:
            self._forget()
        self._before_s = at_s
        unfit, beaten = self._judged(scores)
        if not unfit and not beaten:
            if self.chosen is not None:
                self._fresh = False
            self._forget()
            return None
        if self._since_s is None:
            self._since_s = at_s
        self._looks += 1
        for key, score in scores.items():
            self._totals[key] = self._totals.get(key, 0.0) + score
        if at_s - self._since_s < (SETTLE_S if self._fresh else LASTING_S) or self._looks < 2:
            return None
        fit = self._fit(unfit)
        self._forget()
        return fit if fit or unfit else None

    def _judged(self, scores: Mapping[str, float]) -> tuple[bool, bool]:
        """Whether the picture in use no longer suits, and whether another is clearly better."""
        best = max(scores.values(), default=0.0)
        if self.chosen is None:
            return False, best >= features.ALIKE
        own = scores.get(self.chosen, 0.0)
        beaten = best >= features.ALIKE and best - own >= CLEARLY
        return own < features.ALIKE - SLACK, beaten

    def _fit(self, unfit: bool) -> list[str]:
        """The others that suit, the best first; only clearly better ones where the one in use suits too."""
        means = {key: total / self._looks for key, total in self._totals.items()}
        if not unfit and self.chosen is not None:
            own = means[self.chosen]
            means = {key: mean for key, mean in means.items() if mean - own >= CLEARLY}
        fit = [key for key in means if means[key] >= features.ALIKE and key != self.chosen]
        return sorted(fit, key=lambda key: -means[key])

    def take(self, key: str | None) -> None:
        """This one is in use from now on, or none."""
        self.chosen = key
        self._fresh = False
        self._forget()

    def _forget(self) -> None:
        self._since_s, self._looks, self._totals = None, 0, {}
