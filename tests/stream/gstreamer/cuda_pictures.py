"""A program over a stand-in for the driver: pictures out of CUDA memory and into it, told in JSON.

Run by test_cuda_memory.py, since whatever loads libcuda first decides for its process which one that is.
"""

import ctypes
import gc
import json
import sys

import numpy as np

from irchroma.stream.gstreamer import cuda_memory, door
from irchroma.stream.gstreamer.cuda_memory import FEATURE, CudaPicture, CudaSource, lent
from irchroma.stream.gstreamer.pipeline import Pipeline

SIZE = HEIGHT, WIDTH = 76, 100
CAPS = f"format=NV12,width={WIDTH},height={HEIGHT},framerate=25/1"
TESTS = f"videotestsrc num-buffers=2 pattern=pinwheel ! video/x-raw,{CAPS}"


def planes_of(data: np.ndarray, pitches: tuple[int, ...], offsets: tuple[int, ...]) -> list[np.ndarray]:
    """Y' and CbCr of an NV12 picture without what pads their rows."""
    rows = (HEIGHT, HEIGHT // 2)
    return [
        data[offset : offset + pitch * count].reshape(count, pitch)[:, :WIDTH].copy()
        for offset, pitch, count in zip(offsets, pitches, rows, strict=True)
    ]


def pull(launch: str) -> list[np.ndarray]:
    """Its last picture, in the host's memory."""
    pipeline = Pipeline(f"{launch} ! appsink name=out sync=false")
    pipeline.start()
    sample = None
    try:
        while True:
            sample = pipeline.pull("out", 20.0) or sample
    except door.EndOfStream:
        pipeline.stop()
    assert sample is not None
    return planes_of(sample.data, sample.caps.strides, sample.caps.offsets)


def read() -> dict:
    """What `lent` says of an uploaded picture, and whether its bytes are there."""
    pipeline = Pipeline(f"{TESTS} ! cudaupload ! video/x-raw({FEATURE}) ! appsink name=out sync=false")
    pipeline.start()
    sample = pipeline.element("out").emit("try-pull-sample", 20 * 10**9)
    if sample is None:
        pipeline.check()
    with lent(sample.get_buffer()) as found:
        first, pitches = found.addresses[0], found.pitches
        offsets = tuple(address - first for address in found.addresses)
        length = offsets[-1] + pitches[-1] * HEIGHT // 2
        data = np.ctypeslib.as_array((ctypes.c_uint8 * length).from_address(first)).copy()
    sample = None
    pipeline.stop()
    theirs, ours = pull(TESTS), planes_of(data, pitches, offsets)
    return {
        "format": found.format,
        "size": found.size,
        "pitches": pitches,
        "context": found.context != 0,
        "equal": all(np.array_equal(one, other) for one, other in zip(theirs, ours, strict=True)),
    }


def held(driver: ctypes.CDLL) -> dict:
    """Pictures of a stream whose size changes, lent at once and given back in another order."""
    before = driver.stand_in_memory()
    sizes = ((76, 100), (62, 90), (480, 641))  # the last as wide as no row is long
    pipeline = Pipeline(
        "videotestsrc pattern=snow ! capsfilter name=size ! cudaupload"
        f" ! video/x-raw({FEATURE}) ! appsink name=out sync=false max-buffers=1"
    )
    text = "video/x-raw,format=NV12,framerate=25/1,width={1},height={0}"
    pipeline.properties["size"] = {"caps": text.format(*sizes[0])}
    pipeline.start()
    leases, found = [], []
    for size in sizes:
        pipeline.set("size", "caps", text.format(*size))
        while not leases or found[-1].size != size:
            sample = pipeline.element("out").emit("try-pull-sample", 10 * 10**9)
            if sample is None:
                pipeline.check()
            lease = lent(sample.get_buffer())
            found.append(lease.__enter__())
            leases.append(lease)
            sample = None
    first = [bytes(rows(one)) for one in found]
    order = np.random.default_rng(2).permutation(len(leases))
    for number in order[:-1]:
        leases[number].__exit__(None, None, None)
    pipeline.stop()
    last = int(order[-1])
    kept = bytes(rows(found[last])) == first[last]  # though its pipeline is gone
    leases[last].__exit__(None, None, None)
    pipeline = None
    gc.collect()
    return {
        "sizes": sorted({one.size for one in found}),
        "pitches": sorted({one.pitches for one in found}),
        "each its own": len({one.addresses[0] for one in found}) == len(found),
        "kept": kept,
        "left": driver.stand_in_memory() - before,
    }


def rows(picture: CudaPicture) -> np.ndarray:
    """All of its bytes where the stand-in's memory has them."""
    length = picture.pitches[0] * (-(-picture.size[0] // 2) * 3)
    return np.ctypeslib.as_array((ctypes.c_uint8 * length).from_address(picture.addresses[0]))


class Owner:
    """Of a picture's memory; counts how many are gone."""

    gone = 0

    def __del__(self) -> None:
        Owner.gone += 1


def push(driver: ctypes.CDLL) -> dict:
    """Pictures of our own memory through an element that reads them."""
    context = ctypes.c_void_p()
    driver.cuInit(0)
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    source = CudaSource()
    assert source.context == context.value
    pitch = 128
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT * 3 // 2, pitch), np.uint8)
    caps = f"video/x-raw({FEATURE}),{CAPS}"
    pipeline = Pipeline(
        f"appsrc name=pictures format=time caps={caps} ! cudadownload name=reader ! video/x-raw"
        " ! appsink name=out sync=false"
    )
    pipeline.start(built=lambda made: source.share(made.element("reader")))
    first = noise.ctypes.data
    picture = CudaPicture("NV12", SIZE, (first, first + pitch * HEIGHT), (pitch, pitch), context.value)
    before = driver.stand_in_copies_in(), driver.stand_in_memory()
    equal = []
    for number in range(3):
        taken = source.push(pipeline.element("pictures"), picture, number * 40_000_000, -1, Owner())
        sample = pipeline.pull("out", 20.0)
        assert taken
        assert sample is not None
        got = planes_of(sample.data, sample.caps.strides, sample.caps.offsets)
        wanted = planes_of(noise.ravel(), (pitch, pitch), (0, pitch * HEIGHT))
        equal.append(all(np.array_equal(one, other) for one, other in zip(got, wanted, strict=True)))
    after = driver.stand_in_copies_in(), driver.stand_in_memory()
    refused = []
    for wrong in (
        CudaPicture("NV12", SIZE, (first, first + pitch * HEIGHT), (99, pitch), context.value),
        CudaPicture("NV12", SIZE, (first,), (pitch,), context.value),
        CudaPicture("NV12", SIZE, (first, first - 1), (pitch, pitch), context.value),
        CudaPicture("nothing", SIZE, (first, first), (pitch, pitch), context.value),
        CudaPicture("NV12", SIZE, picture.addresses, picture.pitches, context.value + 1),
    ):
        try:
            source.push(pipeline.element("pictures"), wrong, 0, -1, None)
        except door.StreamError:
            refused.append(wrong.format)
    pipeline.end("pictures", 20.0)
    ended = pipeline.element("pictures")
    pipeline.stop()
    after_end = not source.push(ended, picture, 0, -1, Owner())
    source.reclaim()
    out = source.out
    source.close()
    source.close()
    return {
        "equal": equal,
        "nothing copied in": before == after,
        "refused": len(refused),
        "flushing": after_end,
        "out": out,
        "owners gone": Owner.gone,
    }


def main() -> None:
    """Everything."""
    door.modules()
    if "--address" in sys.argv:
        cuda_memory._FLAGS = (*cuda_memory._FLAGS, "-g", "-fsanitize=address")
    told: dict = {"fault": cuda_memory.fault()}
    if told["fault"] is None and door.has_element("cudadownload"):
        driver = ctypes.CDLL("libcuda.so.1")
        told["takes"] = [
            cuda_memory.takes("cudadownload"),
            cuda_memory.takes("cudaupload", "src"),
            cuda_memory.takes("videoflip"),
        ]
        told["read"] = read()
        told["held"] = held(driver)
        told["push"] = push(driver)
        host = door.modules()["Gst"].Buffer.new_allocate(None, 100, None)
        try:
            with lent(host):
                pass
        except door.StreamError as error:
            told["not on a device"] = str(error)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
