"""What a damaged stream's frames need: what is restored of them, what is to be filled in, what is in doubt.

Three look at each frame: what is plainly wrong in the picture itself is to be filled in (`damaged_blocks`),
what its decoder has made up, as it says, is restored and followed (`restoring`), and what has changed in it
since is in doubt (`doubt`). What is restored is not filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

from irchroma.engines.repair.block_steps import Luma
from irchroma.engines.repair.damaged_blocks import DamagedBlocks
from irchroma.engines.repair.doubt import Doubt
from irchroma.engines.repair.mask import Mask
from irchroma.engines.repair.restoring import Restorer


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame.

    Attributes:
        pixels: (H, W) uint8 luma, restored; the one that came where nothing is.
        restored: (H, W) bool of what it differs in; None for nothing, as of all of these.
        lost: (H, W) bool of what is to be filled in.
        lasting: of that, what is drawn on from what was lost before, see `VideoRepair.apply`.
        doubted: (H, W) bool of what goes on from what was made up and has changed since.
    """

    pixels: Luma
    restored: Mask | None
    lost: Mask | None
    lasting: Mask | None
    doubted: Mask | None

    @property
    def mended(self) -> Mask | None:
        """(H, W) bool of what is restored or filled in."""
        if self.restored is None or self.lost is None:
            return self.lost if self.restored is None else self.restored
        return self.restored | self.lost


class StreamDamage:
    """Looks at frame after frame of one camera. Used by one thread."""

    def __init__(self) -> None:
        self._damaged, self._doubt, self._restorer = DamagedBlocks(), Doubt(), Restorer()

    def reset(self) -> None:
        self._damaged.reset()
        self._doubt.reset()
        self._restorer.reset()

    def look(
        self, pixels: Luma, pts_ns: int, damaged_from: float | None = None, drawn_anew: bool = False
    ) -> Seen:
        """Find what must be mended in one frame.

        Args:
            pixels: (H, W) uint8 luma as decoded, at the decoder's size; not written to, and kept.
            pts_ns: presentation time.
            damaged_from, drawn_anew: see `Frame`.
        """
        lost = self._damaged.find(pixels, damaged_from)
        doubted = self._doubt.find(pixels, damaged_from, drawn_anew, lost)
        made, restored = self._restorer.apply(pixels, pts_ns, damaged_from, drawn_anew)
        if self._restorer.active:
            return Seen(made, restored, None, None, doubted)
        return Seen(pixels, None, lost, self._damaged.lasting, doubted)
