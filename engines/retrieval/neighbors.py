"""The nearest among many vectors, approximately, by Voyager (hierarchical navigable small worlds)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineUnavailable

Vectors = NDArray[np.float32]


class Neighbors:
    """An index over vectors that do not change anymore.

    Reference: Y. A. Malkov, D. A. Yashunin, Efficient and robust approximate nearest neighbor search using
    Hierarchical Navigable Small World graphs, IEEE TPAMI 42(4), 2020 (arXiv 1603.09320).
    """

    def __init__(self, vectors: Vectors) -> None:
        """Index (n, d) float32 of unit length, n > 0.

        Raises:
            EngineUnavailable: the library is not installed.
        """
        try:
            import voyager
        except ImportError as error:
            raise EngineUnavailable(
                "searching a library of references needs voyager: pip install 'irchroma[references]'"
            ) from error
        self._count = len(vectors)
        self._index: Any = voyager.Index(voyager.Space.Cosine, num_dimensions=vectors.shape[1])
        self._index.add_items(np.ascontiguousarray(vectors, np.float32), num_threads=1)

    def nearest(self, vector: NDArray[np.float32], count: int) -> list[int]:
        """Rows of those nearest to a (d,) vector, the nearest first; all where there are no more."""
        count = min(count, self._count)
        found, _ = self._index.query(
            np.ascontiguousarray(vector, np.float32), k=count, query_ef=max(128, 2 * count)
        )
        return [int(row) for row in found]
