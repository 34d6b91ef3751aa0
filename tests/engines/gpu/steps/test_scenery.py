"""A reference on a device lies over the color as it does on the CPU, and its picture behind the frame's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests import daytime_scene
from tests.engines.on_device import OnDevice, planes_of

from irchroma.engines.gpu.steps.i420 import Layout, packed_bytes
from irchroma.engines.gpu.steps.scenery import (
    Behind,
    LaidLayout,
    LaidWriter,
    behind_steps,
    behind_video_steps,
    lay_step,
)
from irchroma.engines.recolor import color_space
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import SURE, RecolorOptions
from irchroma.engines.reference.overlay import Laid, Laying, Scenery
from irchroma.engines.reference.pictures import Reference
from irchroma.engines.reference.visible_parts import shown_alone

Plane = NDArray[np.float32]
SIZE, WORK = (481, 642), (240, 320)


def laying(seed: int, still: bool, shift: float = 0.0) -> Laying:
    rgb, infrared = daytime_scene.draw(seed, WORK)
    reference = Reference(rgb, np.full(WORK, 255, np.uint8), str(seed), still=still)
    matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float64)
    laid = Laid(reference, matrix, infrared)
    share = np.random.default_rng(seed).uniform(0, 1, WORK).astype(np.float32)
    share[:40] = 0
    share[-40:] = 1
    return Laying(laid, laid.ycc(infrared), share)


def frame() -> NDArray[np.uint8]:
    return daytime_scene.draw(5, SIZE, 200)[0]


def color() -> tuple[Plane, Plane]:
    ycc = color_space.rgb_to_ycc(daytime_scene.draw(7, WORK)[0])
    return ycc, np.random.default_rng(1).uniform(0, 1, WORK).astype(np.float32)


def block(layout: LaidLayout) -> NDArray[np.uint8]:
    return np.zeros(layout.nbytes, np.uint8)


@pytest.mark.parametrize("lamplit", [True, False])
@pytest.mark.parametrize("still", [True, False])
def test_color_and_picture_are_those_of_the_cpu(on_device: OnDevice, still: bool, lamplit: bool) -> None:
    given, rgb, (ycc, confidence) = laying(3, still), frame(), color()
    layout = LaidLayout(SIZE, WORK)
    host = block(layout)
    LaidWriter(layout, host).write(given)
    parts = layout.on_device(on_device.put(host))
    both = on_device.put(np.concatenate([ycc.transpose(2, 0, 1), confidence[None]]))
    luma, look = daytime_scene.draw(9, WORK)[1], BandLook(instead="palette", lamplit=lamplit)
    own = both, on_device.put(luma)
    made, plain, laid = lay_step(on_device.space, parts, own, (RecolorOptions(), look))
    out = on_device.room((*SIZE, 3), np.uint8)
    behind = Behind(parts, plain, 0.8)
    on_device.run(laid, *behind_steps(on_device.space, on_device.put(rgb), behind, out))

    steered = on_device.get(made)
    share = given.share[..., None]
    alone = shown_alone(ycc, confidence, luma, look)
    assert np.abs(alone - ycc).max() > 0.1, "the network is sure of all of it"
    np.testing.assert_allclose(steered[:3].transpose(1, 2, 0), alone + (given.ycc - alone) * share, atol=1e-6)
    sure = np.maximum(confidence + (1 - confidence) * given.share, SURE)
    np.testing.assert_allclose(steered[3], sure, atol=1e-6)
    np.testing.assert_array_equal(steered[4], given.share)
    expected = Scenery(given.laid, given.ycc, given.share * np.float32(0.8)).put_behind(rgb)
    assert np.abs(expected.astype(int) - rgb).mean() > 10, "the scene lies behind nothing"
    off = np.abs(on_device.get(out).astype(int) - expected)
    assert off.max() <= 2
    assert off.mean() < 0.02


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("layout", ["i420", "nv12"])
@pytest.mark.parametrize("size", [SIZE, (180, 264)], ids=["odd sides", "smaller than the color"])
def test_behind_a_packed_picture_it_is_what_the_cpu_puts_behind_video(
    on_device: OnDevice, still: bool, layout: Layout, size: tuple[int, int]
) -> None:
    """R'G'B' was made of it, mixed and taken apart again: what R'G'B' has not was clipped on the way."""
    given, (ycc, confidence) = laying(3, still), color()
    where = LaidLayout(size, WORK, video=True)
    host = block(where)
    LaidWriter(where, host).write(given)
    parts = where.on_device(on_device.put(host))
    both = on_device.put(np.concatenate([ycc.transpose(2, 0, 1), confidence[None]]))
    own = both, on_device.room(WORK, np.uint8)
    _, plain, laid = lay_step(on_device.space, parts, own, (RecolorOptions(), BandLook()), video=True)
    luma, *chroma = cv2.split(color_space.rgb_to_video(daytime_scene.draw(5, size, 200)[0]))
    before = (luma, *(np.ascontiguousarray(plane[::2, ::2]) for plane in chroma))
    halves = np.stack(before[1:], -1 if layout == "nv12" else 0)
    packed = on_device.put(np.concatenate([luma.ravel(), halves.ravel()]))
    assert packed.nbytes == packed_bytes(size)
    behind = Behind(parts, plain, 0.8)
    on_device.run(laid, *behind_video_steps(on_device.space, packed, size, behind, layout))
    found = planes_of(on_device.get(packed), size, layout)
    scenery = Scenery(given.laid, given.ycc, given.share * np.float32(0.8))
    expected = scenery.put_behind_video(*(plane.copy() for plane in before))
    assert np.abs(expected[0].astype(int) - before[0]).mean() > 8, "the scene lies behind nothing"
    for one, other in zip(found, expected, strict=True):
        off = np.abs(one.astype(int) - other)
        assert off.max() <= 1
        assert off.mean() < 0.01


def test_what_the_device_has_is_not_sent_again() -> None:
    layout = LaidLayout(SIZE, WORK)
    host = block(layout)
    writer = LaidWriter(layout, host)
    still, share = laying(3, still=True), layout.nbytes_up_to("share")
    assert writer.write(None) == 0
    assert writer.write(still) == layout.nbytes
    assert writer.write(still) == share
    assert writer.write(None) == share  # nothing is taken from now on
    assert not layout.on_host(host)["share"].any()
    assert writer.write(None) == 0
    assert writer.write(still) == share
    moved = laying(3, still=True, shift=0.05)
    assert writer.write(moved) == layout.nbytes
    np.testing.assert_array_equal(layout.on_host(host)["picture"], moved.laid.picture(SIZE))
    other = Laying(moved.laid, moved.ycc + np.float32(0.1), moved.share)
    assert writer.write(other) == layout.nbytes_up_to("given")
    assert share < 0.2 * layout.nbytes
    writer.forget()
    assert writer.write(other) == layout.nbytes
    writer.forget()
    assert writer.write(None) == share
