"""A device is believed once it has colored a small picture as the CPU does, and found a known motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.device import Device, DeviceArray, Workspace
from irchroma.engines.gpu.frames.motion import DeviceSearch
from irchroma.engines.gpu.steps.i420 import Layout
from irchroma.engines.gpu.steps.recolor import FrameArrays, RecolorSteps
from irchroma.engines.recolor.band import BandLook
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.temporal.motion import pixel_grid

LARGEST_MEAN = 0.25
"""Levels. The kernels as C++ are 0.001 off; a GPU has the same arithmetic."""
LARGEST_MISS_PX = 0.3
"""Of the middle pixel's motion; the kernels as C++ are 0.02 off."""
_SIZE, _WORK = (192, 256), (96, 128)
_MOTION_PX = (5, -3)


def check_kernels(device: Device) -> float:
    """Recolor a picture of noise on the device and on the CPU, as R'G'B' and packed; takes some milliseconds.

    Returns:
        Mean difference in levels, of the one that differs more.

    Raises:
        EngineError: the device fails, or its picture is another one.
    """
    luma, small, ycc, confidence = _given()
    recoloring = Recoloring()
    expected = recoloring.apply(luma, small, ycc.copy(), confidence.copy())
    planes = recoloring.planes(luma, small, ycc.copy(), confidence.copy())
    wanted = (expected.ravel(), np.concatenate([plane.ravel() for plane in planes]))
    color = np.concatenate([ycc.transpose(2, 0, 1), confidence[None]])
    space, queue, mark = Workspace(device), device.open_queue(), device.make_mark()
    rooms, pinned = [space], list[NDArray[np.uint8]]()

    def put(name: str, values: NDArray[np.uint8] | NDArray[np.float32]) -> DeviceArray:
        array, host = space.array(name, values.shape, values.dtype), device.pinned(values.nbytes)
        pinned.append(host)
        host[:] = np.ascontiguousarray(values).view(np.uint8).ravel()
        queue.upload(host, array)
        return array

    try:
        given = put("check.luma", luma), put("check.small", small), put("check.color", color)
        layouts: tuple[Layout | None, ...] = (None, "i420")
        off = 0.0
        for layout, picture in zip(layouts, wanted, strict=True):
            rooms.append(Workspace(device))
            out = rooms[-1].array("check.out", picture.shape, np.uint8)
            for step in RecolorSteps(rooms[-1], RecolorOptions(), BandLook()).build(
                FrameArrays(*given, out, layout)
            ):
                queue.launch(step)
            back = device.pinned(out.nbytes)
            pinned.append(back)
            queue.download(out, back)
            queue.record(mark)
            mark.wait()
            off = max(off, float(np.abs(back[: out.nbytes].astype(np.int16) - picture).mean()))
    finally:
        mark.close()
        queue.close()
        for room in rooms:
            room.close()
        for host in pinned:
            device.unpin(host)
    if not off <= LARGEST_MEAN:
        raise EngineError(
            f"{device.name} does not compute what the CPU does: its picture is {off:.1f} levels off on"
            f" average (allowed are {LARGEST_MEAN:g}): use --device cpu, and report it"
        )
    return off


def check_motion(device: Device) -> float:
    """Find a known motion on the device; takes some milliseconds.

    Returns:
        Pixels by which it misses it.

    Raises:
        EngineError: the device fails, or finds another one.
    """
    (x, y), (height, width) = _MOTION_PX, _WORK
    luma = _given()[0]
    before = np.ascontiguousarray(luma[40 : 40 + height, 40 : 40 + width])
    now = np.ascontiguousarray(luma[40 + y : 40 + y + height, 40 + x : 40 + x + width])
    area = (slice(0, height), slice(0, width))
    space, queue, mark = Workspace(device), device.open_queue(), device.make_mark()
    source, host = space.array("check.source", (*_WORK, 2)), device.pinned(8 * height * width)
    search: DeviceSearch | None = None
    try:
        search = DeviceSearch(device, queue, _WORK, [(source, space.array("check.moving", _WORK, np.uint8))])
        found = search.search(before, now, area, None, (0.0, 0.0))
        queue.download(source, host)
        queue.record(mark)
        mark.wait()
        flow = host[: source.nbytes].view(np.float32).reshape(source.shape) - pixel_grid(_WORK)
        off = float(np.abs(np.median(flow, axis=(0, 1)) - _MOTION_PX).max())
        misses = float((found.occluded > 0).mean())
    finally:
        if search is not None:
            search.close()
        mark.close()
        queue.close()
        space.close()
        device.unpin(host)
    if not off <= LARGEST_MISS_PX or misses > 0.3:
        raise EngineError(
            f"{device.name} does not find a motion of {_MOTION_PX} pixels: it is {off:.1f} off, and"
            f" {misses:.0%} of the picture does not lead back: use --device cpu, and report it"
        )
    return off


def _given() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Luma, small luma, color and confidence, with borders, black and white."""
    rng = np.random.default_rng(11)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (*_SIZE, 5)).astype(np.float32), (0, 0), 4)
    noise /= noise.std()
    luma = np.clip(120 + 70 * noise[..., 0], 0, 255).astype(np.uint8)
    luma[:10], luma[60:80, 30:33] = 2, 255
    small = np.asarray(cv2.resize(luma, _WORK[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    rest = cv2.resize(noise[..., 1:], _WORK[::-1], interpolation=cv2.INTER_AREA)
    ycc = np.clip(rest[..., :3] * 0.2 + np.array([0.5, 0, 0], np.float32), [0, -0.5, -0.5], [1, 0.5, 0.5])
    return luma, small, ycc.astype(np.float32), np.clip(0.5 + 0.3 * rest[..., 3], 0, 1)
