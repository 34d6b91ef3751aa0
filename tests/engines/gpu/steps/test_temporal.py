"""Around the network, a device does what the CPU path does: resize, curve, padding, color memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines.moving_scene import FRAME_NS, noisy, texture, toy_color
from tests.engines.on_device import OnDevice

from irchroma.engines.gpu.device import DeviceArray
from irchroma.engines.gpu.frames.transfer import FrameLayout, FrameWriter
from irchroma.engines.gpu.steps.filters import shrink
from irchroma.engines.gpu.steps.temporal import input_step, look_steps, memory_steps, output_step
from irchroma.engines.neural import colorizer
from irchroma.engines.recolor import neutral
from irchroma.engines.temporal import gain
from irchroma.engines.temporal.memory import ColorMemory, Observation
from irchroma.engines.temporal.stage import TemporalOptions, TemporalStage

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]


@dataclass
class Tensors:
    """A network's memory without the network."""

    luma: DeviceArray
    ycc: DeviceArray
    confidence: DeviceArray
    name: str = "none"

    def close(self) -> None:
        """Nothing to do."""


def tensors(on_device: OnDevice, size: tuple[int, int], dtype: type) -> Tensors:
    return Tensors(*(on_device.room((1, depth, *size), dtype) for depth in (1, 3, 1)))


@pytest.mark.parametrize("work", [(240, 320), (120, 160), (80, 107), (191, 255), (1, 1)])
def test_luma_is_resized_as_by_opencv(on_device: OnDevice, work: tuple[int, int]) -> None:
    luma = texture((240, 320), 0, 255, seed=1, scale=1).astype(np.uint8)
    made = on_device.room(work, np.uint8)
    on_device.run(shrink(on_device.put(luma), made))
    expected = cv2.resize(luma, work[::-1], interpolation=cv2.INTER_AREA).reshape(work)
    off = np.abs(on_device.get(made).astype(int) - expected)
    assert off.max() <= 1  # halves, rounded after float32 sums in another order
    assert (off > 0).mean() < 2e-3


@pytest.mark.parametrize("work", [(120, 160), (60, 80), (40, 80), (80, 64), (20, 32)])
def test_where_sides_divide_luma_is_opencvs_to_the_bit(on_device: OnDevice, work: tuple[int, int]) -> None:
    """1920x1080 and 1280x720 to 320: what the network saw was a level off in a pixel of forty."""
    luma = np.random.default_rng(3).integers(0, 256, (240, 320), dtype=np.uint8)
    made = on_device.room(work, np.uint8)
    on_device.run(shrink(on_device.put(luma), made))
    expected = cv2.resize(luma, work[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(on_device.get(made), expected)


def test_a_curve_of_levels_is_dithered_alike(on_device: OnDevice) -> None:
    luma = texture((150, 200), 0, 255, seed=2).astype(np.uint8)
    curve = gain.limit_slopes((np.arange(256) * 0.8 + 11.37).astype(np.float32))
    layout = FrameLayout((150, 200), (75, 100))
    block = np.zeros(layout.nbytes, np.uint8)
    seen = Observation(True, True, False, luma_levels=curve)
    FrameWriter(layout, block, TemporalOptions()).write(luma, seen)
    parts = layout.on_device(on_device.put(block))
    shown, steps = look_steps(on_device.space, parts, (75, 100), on_device.put(gain.dither_tile()))
    on_device.run(*steps)
    np.testing.assert_array_equal(on_device.get(shown.luma), gain.shown_luma(luma, curve))
    small = np.asarray(cv2.resize(luma, (100, 75), interpolation=cv2.INTER_AREA), np.uint8)
    np.testing.assert_array_equal(on_device.get(shown.small), gain.shown_luma(small, curve))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("size", [(64, 96), (50, 71), (1, 3)])
def test_the_input_is_padded_and_normalized_as_on_the_cpu(
    on_device: OnDevice, size: tuple[int, int], dtype: type
) -> None:
    small = texture(size, 0, 255, seed=3, scale=1).astype(np.uint8)
    expected = colorizer.padded(small).astype(dtype)
    network = tensors(on_device, (expected.shape[2], expected.shape[3]), dtype)
    on_device.run(input_step(on_device.put(small), network))
    np.testing.assert_array_equal(on_device.get(network.luma), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_output_is_cut_and_faded_in_the_dark(on_device: OnDevice, dtype: type) -> None:
    size, padded = (50, 71), (64, 96)
    rng = np.random.default_rng(4)
    ycc, confidence = (rng.normal(0, 0.3, (1, depth, *padded)).astype(dtype) for depth in (3, 1))
    small = rng.integers(0, 30, size, dtype=np.uint8)
    network = tensors(on_device, padded, dtype)
    network = replace(network, ycc=on_device.put(ycc), confidence=on_device.put(confidence))
    news = on_device.room((4, *size))
    on_device.run(output_step(network, on_device.put(small), news, fades=True))
    expected = np.concatenate([ycc[0], confidence[0]])[:, :50, :71].astype(np.float32)
    expected[1:3] *= neutral.dark_fade()[small]
    np.testing.assert_allclose(on_device.get(news), expected, rtol=1e-6)


def test_every_half_precision_number_is_read_and_written_right(on_device: OnDevice) -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(1, 1, 256, 256)
    every = np.where(np.isfinite(every), every, np.float16(0))
    network = tensors(on_device, (256, 256), np.float16)
    network = replace(network, ycc=on_device.put(np.repeat(every, 3, 1)), confidence=on_device.put(every))
    news = on_device.room((4, 256, 256))
    on_device.run(output_step(network, on_device.put(np.zeros((256, 256), np.uint8)), news, fades=False))
    np.testing.assert_array_equal(on_device.get(news)[3], every[0, 0].astype(np.float32))


def test_what_is_no_number_never_gets_into_the_color_memory(on_device: OnDevice) -> None:
    values = np.full((1, 1, 32, 32), 0.25, np.float16)
    values[0, 0, :2] = np.array([[np.nan], [np.inf]], np.float16)
    network = tensors(on_device, (32, 32), np.float16)
    network = replace(network, ycc=on_device.put(np.repeat(values, 3, 1)), confidence=on_device.put(values))
    news = on_device.room((4, 32, 32))
    small = np.full((32, 32), 51, np.uint8)
    on_device.run(output_step(network, on_device.put(small), news, fades=True))
    found = on_device.get(news)
    np.testing.assert_allclose(found[0, :2], 0.2, atol=1e-6)
    assert (found[1:, :2] == 0).all()
    assert (found[:, 2:] == 0.25).all()


def moving_frames() -> list[Luma]:
    """A pan with a darker object, a still part and a jump of gain."""
    rng = np.random.default_rng(6)
    wide = texture((160, 300), 30, 200, seed=8)
    frames = []
    for index in range(14):
        shift = 4 * max(0, index - 6)
        frame = wide[:120, 20 + shift : 180 + shift].copy()
        cv2.circle(frame, (30 + 6 * index, 60), 14, 240, -1)
        frames.append(noisy(frame * (1.3 if index > 9 else 1.0), rng))
    return frames


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("size", [(120, 160), (59, 83)])
def test_the_color_memory_gathers_carries_and_forgets_alike(
    on_device: OnDevice, every: int, size: tuple[int, int]
) -> None:
    options = TemporalOptions(color_every=every)
    stage, memory = TemporalStage(options), ColorMemory(options.settle_s)
    layout = FrameLayout(size, size)
    block = np.zeros(layout.nbytes, np.uint8)
    writer = FrameWriter(layout, block, options)
    kinds = set()
    for index, whole in enumerate(moving_frames()):
        luma = np.asarray(cv2.resize(whole, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        seen = stage.observe(luma, index * FRAME_NS, held=index in (4, 5))
        ycc = toy_color(luma)
        confidence = texture(size, 0, 1, seed=index)
        writer.write(luma, seen)
        news = on_device.put(np.concatenate([ycc.transpose(2, 0, 1), confidence[None]]))
        shown = on_device.room(size, np.uint8)
        parts = layout.on_device(on_device.put(block))
        color, steps = memory_steps(on_device.space, parts, news, shown)
        on_device.run(*steps)
        if seen.cut:
            memory.clear()
        if not seen.held:
            memory.carry(seen)
            if seen.needs_color:
                memory.gather(seen, ycc, confidence)
        expected, sure = memory.recall()
        found = on_device.get(color)
        np.testing.assert_allclose(found[:3], expected.transpose(2, 0, 1), atol=2e-5)
        np.testing.assert_allclose(found[3], sure, atol=2e-5)
        assert np.abs(on_device.get(shown) - 255 * sure).max() < 0.51
        kinds.add((seen.cut, seen.held, seen.area is not None, seen.needs_color, seen.gain_jump))
    assert {kind[:2] for kind in kinds} == {(True, False), (False, True), (False, False)}
    assert any(kind[2] for kind in kinds)
    assert every == 1 or any(not kind[3] and not kind[1] for kind in kinds)
