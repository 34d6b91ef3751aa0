"""Raw video layouts as arrays: ranges, matrices, strides, odd sizes, and counts that nothing touches."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from irchroma.stream.errors import SourceFormatError
from irchroma.stream.gstreamer.door import modules
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Caps, Sample
from irchroma.stream.sources.video_format import LAYOUTS, is_neutral, sample_to_pixels

# R'G'B' -> Y'CbCr, limited range, 8 bits, computed by hand from BT.601-7 and BT.709-6
RED = {"bt601": (81, 90, 240), "bt709": (63, 102, 240)}


def made(
    name: str,
    planes: list[NDArray[np.uint8]],
    size: tuple[int, int],
    full_range: bool = True,
    matrix: str = "bt601",
) -> Sample:
    """A sample of planes (rows, bytes), padded as GStreamer pads them."""
    offsets, strides, parts, at = [], [], [], 0
    for plane in planes:
        stride = (plane.shape[1] + 3) // 4 * 4
        padded = np.full((plane.shape[0], stride), 77, np.uint8)
        padded[:, : plane.shape[1]] = plane
        offsets.append(at)
        strides.append(stride)
        parts.append(padded.reshape(-1))
        at += padded.size
    caps = Caps(name, size, Fraction(25), tuple(strides), tuple(offsets), full_range, matrix)
    return Sample(np.concatenate(parts), caps, 0, 0)


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    return (np.arange(height * width) % 256).astype(np.uint8).reshape(height, width)


def test_sixteen_bit_counts_come_out_as_they_are() -> None:
    counts = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7) * 1800 + 3
    for name, order in (("GRAY16_LE", "<u2"), ("GRAY16_BE", ">u2")):
        stored = counts.astype(order).view(np.uint8)
        out = sample_to_pixels(made(name, [stored], (5, 7)))
        assert out.dtype == np.uint16
        assert out.flags.c_contiguous
        np.testing.assert_array_equal(out, counts)


def test_ten_bit_counts_are_unpacked_from_their_words() -> None:
    counts = (np.arange(3 * 7, dtype=np.uint32).reshape(3, 7) * 47) % 1024
    padded = np.zeros((3, 9), np.uint32)
    padded[:, :7] = counts
    words = padded[:, 0::3] | padded[:, 1::3] << 10 | padded[:, 2::3] << 20
    out = sample_to_pixels(made("GRAY10_LE32", [words.astype("<u4").view(np.uint8)], (3, 7)))
    np.testing.assert_array_equal(out, counts)
    out = sample_to_pixels(made("GRAY10_LE16", [counts.astype("<u2").view(np.uint8)], (3, 7)))
    np.testing.assert_array_equal(out, counts)


def test_limited_luma_is_expanded_and_full_luma_is_not() -> None:
    y = np.array([[16, 235, 126, 0, 255]], np.uint8)
    np.testing.assert_array_equal(
        sample_to_pixels(made("GRAY8", [y], (1, 5), full_range=False)), [[0, 255, 128, 0, 255]]
    )
    np.testing.assert_array_equal(sample_to_pixels(made("GRAY8", [y], (1, 5))), y)
    np.testing.assert_array_equal(
        sample_to_pixels(made("GRAY8", [y], (1, 5)), full_range=False), [[0, 255, 128, 0, 255]]
    )


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (16, 16)])
@pytest.mark.parametrize("name", [name for name, lay in LAYOUTS.items() if lay.kind in ("planar", "semi")])
def test_gray_video_of_every_layout_gives_its_luma(name: str, size: tuple[int, int]) -> None:
    layout = LAYOUTS[name]
    height, width = size
    small = (-(-height // layout.subsampling[0]), -(-width // layout.subsampling[1]))
    y = ramp(height, width)

    def stored(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if layout.bits == 8:
            return plane
        wide = plane.astype(np.uint16) << (layout.bits - 8) | plane.astype(np.uint16) >> (16 - layout.bits)
        return (wide << layout.shift).astype("<u2").view(np.uint8)

    flat = np.full(small, 128, np.uint8)
    chroma = [flat, flat] if layout.kind == "planar" else [np.repeat(flat, 2, axis=1)]
    out = sample_to_pixels(made(name, [stored(plane) for plane in [y, *chroma]], size))
    assert out.dtype == np.uint8
    assert out.shape == size
    assert np.abs(out.astype(int) - y).max() <= (0 if layout.bits == 8 else 1)


@pytest.mark.parametrize("name", ["YUY2", "YVYU", "UYVY", "VYUY"])
def test_packed_video_gives_its_luma_even_at_odd_width(name: str) -> None:
    y_at = LAYOUTS[name].order[0]
    y = ramp(4, 7)
    packed = np.full((4, 16), 128, np.uint8)
    packed[:, y_at::2][:, :7] = y
    np.testing.assert_array_equal(sample_to_pixels(made(name, [packed], (4, 7))), y)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize(
    "name", ["I420", "YV12", "NV12", "NV21", "Y42B", "Y444", "YUY2", "UYVY", "I420_10LE"]
)
def test_red_comes_back_as_red_whatever_the_matrix(name: str, matrix: str) -> None:
    layout, size = LAYOUTS[name], (8, 8)
    y, u, v = (np.full(size, level, np.uint8) for level in RED[matrix])
    down, across = layout.subsampling
    u, v = u[::down, ::across], v[::down, ::across]
    if layout.kind == "packed":
        y_at, u_at, v_at = layout.order
        packed = np.zeros((8, 16), np.uint8)
        packed[:, y_at::2], packed[:, u_at::4], packed[:, v_at::4] = y, u, v
        planes = [packed]
    elif layout.kind == "semi":
        pairs = np.zeros((u.shape[0], 2 * u.shape[1]), np.uint8)
        pairs[:, layout.order[0] :: 2], pairs[:, layout.order[1] :: 2] = u, v
        planes = [y, pairs]
    else:
        planes = [y, u, v] if layout.order[1] == 1 else [y, v, u]
    if layout.bits > 8:
        planes = [(plane.astype(np.uint16) << 2).astype("<u2").view(np.uint8) for plane in planes]
    out = sample_to_pixels(made(name, planes, size, full_range=False, matrix=matrix))
    assert out.shape == (8, 8, 3)
    assert np.abs(out.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.kind == "rgb"])
def test_rgb_of_every_order_comes_out_in_red_green_blue(name: str) -> None:
    r_at, g_at, b_at, item = LAYOUTS[name].order
    stored = np.full((4, 5, item), 9, np.uint8)
    stored[..., r_at], stored[..., g_at], stored[..., b_at] = 200, 100, 50
    out = sample_to_pixels(made(name, [stored.reshape(4, -1)], (4, 5)))
    np.testing.assert_array_equal(out, np.broadcast_to([200, 100, 50], (4, 5, 3)))
    luma = sample_to_pixels(made(name, [stored.reshape(4, -1)], (4, 5)), color=False)
    assert luma.shape == (4, 5)
    stored[...] = 90
    assert sample_to_pixels(made(name, [stored.reshape(4, -1)], (4, 5))).shape == (4, 5)


def test_color_may_be_ignored() -> None:
    planes = [np.full((8, 8), 81, np.uint8), np.full((4, 4), 90, np.uint8), np.full((4, 4), 240, np.uint8)]
    assert sample_to_pixels(made("I420", planes, (8, 8)), color=False).shape == (8, 8)


def test_coding_noise_is_neutral_and_a_colored_corner_is_not() -> None:
    rng = np.random.default_rng(0)
    noise = (128 + rng.integers(-3, 4, (120, 160))).astype(np.uint8)
    assert is_neutral(noise, noise)
    noise[:30, :30] = 160
    assert not is_neutral(noise, np.full_like(noise, 128))


def test_an_unknown_format_and_a_short_buffer_are_refused() -> None:
    with pytest.raises(SourceFormatError, match="unsupported video format v308"):
        sample_to_pixels(made("v308", [ramp(2, 2)], (2, 2)))
    with pytest.raises(SourceFormatError, match="of 8x8, got a buffer of only"):
        sample_to_pixels(made("GRAY8", [ramp(2, 8)], (8, 8)))


@pytest.mark.gst
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_layouts_agree_with_gstreamer(name: str) -> None:
    """GStreamer converts a gray ramp to each layout; it comes back within 2 levels."""
    video = modules()["GstVideo"]
    if video.VideoFormat.from_string(name) == video.VideoFormat.UNKNOWN:
        pytest.skip("this GStreamer does not know the format")
    ramp_of_rows = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None], 39, axis=1)  # (52, 39)
    rows = np.zeros((52, 120), np.uint8)  # 39 pixels of 3 bytes take 120 bytes with their padding
    rows[:, :117] = np.repeat(ramp_of_rows, 3, axis=1)
    pipeline = Pipeline(
        # from RGB: GStreamer 1.22 copies GRAY8 into I420 without changing its range
        "appsrc name=in format=time caps=video/x-raw,format=RGB,width=39,height=52,framerate=25/1"
        f" ! videoconvert ! video/x-raw,format={name} ! appsink name=out sync=false"
    )
    pipeline.start()
    try:
        pipeline.push("in", rows, 0, 40_000_000)
        sample = pipeline.pull("out", 10)
    finally:
        pipeline.stop()
    assert sample is not None
    out = sample_to_pixels(sample)
    assert out.shape == (52, 39)
    full = {"GRAY16_LE": 257, "GRAY16_BE": 257, "GRAY10_LE32": 1023 / 255, "GRAY10_LE16": 1023 / 255}.get(
        name, 1
    )
    assert np.abs(out / full - ramp_of_rows).max() <= 2
