"""Pictures that are given to the engine `reference` at once, while another is encoded, and ones that fail."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from irchroma.engines.errors import EngineError
from irchroma.engines.network.network import NetworkOptions, Tensors, installed, open_graph
from irchroma.engines.neural.given_picture import GivenPicture
from irchroma.engines.reference.pictures import Reference

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="OpenVINO is not installed")


class SlowGraph:
    """Takes its time for the first picture, and fails at black ones."""

    def __init__(self, path: Path, options: NetworkOptions) -> None:
        self.graph = open_graph(path, options)
        self.begun, self.may_end = threading.Event(), threading.Event()

    def run(self, inputs: Tensors) -> Tensors:
        first = not self.begun.is_set()
        self.begun.set()
        assert not first or self.may_end.wait(60)
        if inputs["luma"].max() == 0.0:
            raise EngineError("no memory")
        return self.graph.run(inputs)

    def close(self) -> None:
        self.graph.close()


def plain(level: int, name: str) -> Reference:
    """A gray picture of 96 x 128."""
    return Reference(np.full((96, 128, 3), level, np.uint8), np.full((96, 128), 255, np.uint8), name)


OLDER, NEWER, BLACK = plain(90, "older"), plain(160, "newer"), plain(0, "black")


@pytest.mark.parametrize(
    ("wishes", "chosen", "failures"),
    [
        ((OLDER, None), None, 0),
        ((OLDER, NEWER), NEWER, 0),
        ((OLDER, BLACK), OLDER, 1),
        ((OLDER, NEWER, BLACK), NEWER, 1),
        ((BLACK, NEWER), NEWER, 1),
        ((OLDER, BLACK, None), None, 0),
    ],
)
def test_of_several_who_give_a_picture_the_last_that_can_be_encoded_has_its_way(
    wishes: tuple[Reference | None, ...], chosen: Reference | None, failures: int
) -> None:
    """All but the first come while that is encoded; a picture that fails takes none away."""
    graphs: list[SlowGraph] = []
    failed, taken = list[EngineError](), list[Reference | None]()

    def opener(path: Path, options: NetworkOptions) -> SlowGraph:
        graphs.append(SlowGraph(path, options))
        return graphs[-1]

    picture = GivenPicture(
        "nir", NetworkOptions("openvino", threads=1, cache=None, exact=True), opener=opener
    )

    def give(wish: Reference | None, asks: threading.Event) -> None:
        asks.set()
        try:
            picture.give(wish, partial(taken.append, wish))
        except EngineError as error:
            failed.append(error)

    asking = [threading.Event() for _ in wishes]
    threads = [threading.Thread(target=give, args=pair) for pair in zip(wishes, asking, strict=True)]
    for thread, asks in zip(threads, asking, strict=True):
        thread.start()
        assert asks.wait(60)
        assert graphs[0].begun.wait(60)
        thread.join(0.2)
    graphs[0].may_end.set()
    for thread in threads:
        thread.join(60)
    picture.close()
    assert picture.name == (chosen.name if chosen else None)
    assert taken[-1] is chosen
    assert len(failed) == failures
