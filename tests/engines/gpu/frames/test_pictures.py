"""Pictures that stay on the device: the host's to the byte, and their memory comes back when let go."""

from __future__ import annotations

import gc
import logging
from typing import Any

import numpy as np
import pytest
from tests.engines.gpu.test_colorizer import EXACT, video
from tests.engines.moving_scene import FRAME_NS

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import chain as chain_module
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice, CpuPictures
from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.frames.pictures import MOST, PictureOnDevice, PicturePool, can_stay
from irchroma.engines.gpu.frames.transfer import DevicePicture
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import installed
from irchroma.engines.neural.colorizer import NeuralOptions, NeuralPicture

SIZE = (32, 48)


class Memory(CpuPictures):
    """The host's, which has room for a few pictures, fills what is given back with noise, and counts."""

    def __init__(self, room: int = 100) -> None:
        super().__init__()
        self.room, self.here, self.closed = room, 0, 0

    def allocate(self, nbytes: int) -> DeviceArray:
        """See `PictureMemory`."""
        if self.here == self.room:
            raise EngineError("too little memory")
        self.here += 1
        return super().allocate(nbytes)

    def free(self, array: DeviceArray) -> None:
        """See `PictureMemory`."""
        assert not self.closed
        self.write(np.full(array.nbytes, 77, np.uint8), array)
        self.here -= 1

    def close(self) -> None:
        """See `PictureMemory`."""
        self.closed += 1


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    memory = Memory()
    pool = PicturePool(memory, SIZE, most=2)
    first, second = pool.take(), pool.take()
    assert first is not None
    assert second is not None
    assert pool.take() is None
    assert pool.out == 2
    address = first.addresses[0]
    assert first.addresses[1] - address == 32 * 48
    first = None
    again = pool.take()
    assert again is not None
    assert again.addresses[0] == address
    assert memory.here == 2


def test_what_is_held_stays_when_the_pool_closes_and_goes_with_the_last() -> None:
    memory = Memory()
    pool = PicturePool(memory, SIZE)
    held = [pool.take(), pool.take()]
    pool.take()
    pool.close()
    pool.close()
    assert pool.take() is None
    assert not memory.closed
    held.pop()
    assert not memory.closed
    held.pop()
    assert memory.here == 0
    assert memory.closed
    pool.close()
    assert memory.here == 0


def test_a_device_without_room_keeps_fewer_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pool = PicturePool(Memory(room=1), SIZE)
    with caplog.at_level(logging.WARNING):
        held = pool.take()
        assert held is not None
        assert pool.take() is None
        assert pool.take() is None
        assert held.with_rows(0, held.rows(0, 2)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "no more than 1 pictures stay on the device: too little memory"
    ]


def test_memory_that_a_collection_of_garbage_gives_back_in_the_middle_is_counted_once() -> None:
    pool = PicturePool(Memory(), SIZE, most=3)

    class Collecting(Memory):
        def allocate(self, nbytes: int) -> DeviceArray:
            gc.collect()
            return super().allocate(nbytes)

    cycle: list[Any] = [pool.take()]
    cycle.append(cycle)
    pool.memory = Collecting()
    other = pool.take()
    del cycle
    third = pool.take()  # and the first comes back meanwhile
    assert other is not None
    assert third is not None
    assert pool.out == 2
    other = third = None
    assert pool.out == 0


def test_rows_are_put_into_a_picture_of_their_own() -> None:
    pool = PicturePool(Memory(), SIZE)
    held = pool.take()
    assert held is not None
    noise = np.random.default_rng(0).integers(0, 256, held.array.nbytes, np.uint8)
    pool.memory.write(noise, held.array)
    luma, first, second = (plane.copy() for plane in held.rows(0, 32))
    assert np.array_equal(luma.ravel(), noise[: 32 * 48])
    assert np.array_equal(first.ravel(), noise[32 * 48 :: 2])
    band = held.rows(4, 10)
    assert np.array_equal(band[0], luma[4:10])
    assert np.array_equal(band[2], second[2:5])
    made = held.with_rows(4, [255 - plane for plane in band])
    assert made is not None
    assert all(np.array_equal(*pair) for pair in zip(held.rows(0, 32), (luma, first, second), strict=True))
    luma[4:10], first[2:5], second[2:5] = (255 - plane for plane in band)
    assert all(np.array_equal(*pair) for pair in zip(made.rows(0, 32), (luma, first, second), strict=True))


@pytest.mark.parametrize(("size", "stays"), [((512, 640), True), ((510, 656), True), ((512, 648), False)])
def test_a_picture_whose_rows_an_encoder_would_pad_does_not_stay(size: tuple[int, int], stays: bool) -> None:
    assert can_stay(size) is stays


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
@pytest.mark.parametrize("most", [MOST, 2, 0])
def test_what_stays_is_what_would_have_come_back(
    host_kernels: HostKernels, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Of a pool that is full the rest comes to the host, and is the same."""
    pools: list[PicturePool] = []

    def pool(memory: Any, size: tuple[int, int]) -> PicturePool:
        pools.append(PicturePool(memory, size, most))
        return pools[-1]

    monkeypatch.setattr(chain_module, "PicturePool", pool)
    options = NeuralOptions(network=EXACT, work_size_px=96)
    stays = DeviceColorizer(options, lambda: CpuDevice(EXACT, host_kernels), packs=True, stays=True)
    packs = DeviceColorizer(options, lambda: CpuDevice(EXACT, host_kernels), packs=True)
    held: list[Any] = []
    frames = list(video(8, (96, 128)))
    for index, luma in enumerate(frames):
        for one in (stays, packs):
            one.submit(luma, index * FRAME_NS)
        found, expected = stays.collect(), packs.collect()
        assert isinstance(expected, DevicePicture)
        assert isinstance(found, PictureOnDevice if len(held) < most else DevicePicture)
        assert all(np.array_equal(*pair) for pair in zip(found.planes, expected.planes, strict=True))
        assert found.confidence is not None
        assert expected.confidence is not None
        assert np.array_equal(found.confidence, expected.confidence)
        assert np.array_equal(found.rgb, expected.rgb)
        held.append(found)
    first = held[0].planes[0].copy()
    stays.submit(frames[0], 8 * FRAME_NS)
    stays.reset()  # what is in flight is not held any more
    stays.submit(np.zeros((96, 100), np.uint8), 9 * FRAME_NS)  # a size that cannot stay
    assert isinstance(stays.collect(), NeuralPicture)
    stays.close()
    assert np.array_equal(held[0].planes[0], first)
    assert pools[0].out == min(most, 8)
    del found, one
    held.clear()
    assert pools[0].out == 0
    packs.close()
