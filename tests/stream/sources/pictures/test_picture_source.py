"""Numbered pictures as video."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from tests.stream.sources.pictures.flir_files import block, raw_of

from irchroma.launch.stills.picture_files import read_infrared
from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sources.pictures.picture_source import PictureSource, natural_key, read_picture, scale_of


def ramp(dtype, channels=1):
    top = np.iinfo(dtype).max
    plane = np.linspace(0, top, 24 * 32).reshape(24, 32).astype(dtype)
    return plane if channels == 1 else np.dstack([plane, plane[::-1], plane[:, ::-1]])


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "pgm"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_samples_come_back_untouched(tmp_path, suffix, dtype):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), ramp(dtype))
    pixels = read_picture(path)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, ramp(dtype))


def test_color_is_rgb_and_three_equal_channels_are_luma(tmp_path):
    rgb = ramp(np.uint8, 3)
    cv2.imwrite(str(tmp_path / "c.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(read_picture(tmp_path / "c.png"), rgb)
    cv2.imwrite(str(tmp_path / "g.png"), np.dstack([ramp(np.uint8)] * 3))
    np.testing.assert_array_equal(read_picture(tmp_path / "g.png"), ramp(np.uint8))
    cv2.imwrite(str(tmp_path / "g16.png"), np.dstack([ramp(np.uint16)] * 3))
    np.testing.assert_array_equal(read_picture(tmp_path / "g16.png"), ramp(np.uint16))


def test_transparency_is_dropped(tmp_path):
    rgb = ramp(np.uint8, 3)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([rgb[..., ::-1], np.full((24, 32), 9, np.uint8)]))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), rgb)


def test_16_bit_color_becomes_8_bit(tmp_path):
    rgb = ramp(np.uint8, 3)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), rgb)


def test_a_gray_jpeg_is_luma(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), ramp(np.uint8))
    pixels = read_picture(tmp_path / "a.jpg")
    assert pixels.shape == (24, 32)
    assert np.abs(pixels.astype(int) - ramp(np.uint8)).max() < 16


def test_a_picture_that_lies_on_its_side_is_set_upright(tmp_path):
    path = tmp_path / "side.jpg"
    cv2.imwrite(str(path), ramp(np.uint8))
    lying = path.read_bytes()
    # Exif 2.3, 4.6.4: big endian, one entry: orientation (0x0112), short, 6 = turned by a quarter
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(lying[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + lying[2:])
    upright = np.rot90(ramp(np.uint8), -1)
    for pixels in (read_picture(path), read_infrared(path)):
        assert pixels.shape == (32, 24)
        assert np.abs(pixels.astype(int) - upright).max() < 16


def test_a_damaged_picture_is_one_error(tmp_path):
    path = tmp_path / "half.png"
    cv2.imwrite(str(path), ramp(np.uint8))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match="damaged"):
        read_picture(path)


def test_numbers_are_ordered_as_numbers():
    names = ["f10.png", "f9.png", "F1.png", "2f.png", "f9b.png"]
    assert sorted(names, key=natural_key) == ["2f.png", "F1.png", "f9.png", "f9b.png", "f10.png"]


def folder_of(tmp_path, count):
    for n in range(count):
        cv2.imwrite(str(tmp_path / f"f{n}.png"), np.full((24, 32), 1000 + n, np.uint16))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize(("said", "rate"), [(None, 9), (Fraction(5), 5)])
def test_pictures_come_as_often_as_is_said_or_as_their_file_says(tmp_path, said, rate):
    np.savez(tmp_path / "a.npz", frames=np.zeros((3, 24, 32), np.uint16), fps=9)
    source = PictureSource(tmp_path / "a.npz", said)
    assert source.open().rate == rate
    assert [source.read(1).pts_ns for _ in range(2)] == [0, 1_000_000_000 // rate]


def test_a_folder_is_video_in_natural_order_at_its_rate(tmp_path):
    source = PictureSource(folder_of(tmp_path, 12), Fraction(30000, 1001))
    info = source.open()
    assert (info.size, info.frame_count, info.live, info.counts) == ((24, 32), 12, False, True)
    values = []
    while (frame := source.read(1.0)) is not None:
        values.append(int(frame.pixels[0, 0]))
        assert frame.pts_ns == int(frame.number * 1e9 * 1001 / 30000)
        assert frame.is_counts
    assert values == [1000 + n for n in range(12)]
    source.close()
    source.close()


def test_a_single_picture_is_one_frame_and_a_change_of_size_is_a_gap(tmp_path):
    cv2.imwrite(str(tmp_path / "a1.png"), ramp(np.uint8))
    cv2.imwrite(str(tmp_path / "a2.png"), ramp(np.uint8)[:20])
    alone = PictureSource(tmp_path / "a1.png")
    assert alone.open().frame_count == 1
    assert alone.read(1.0) is not None
    assert alone.read(1.0) is None
    both = PictureSource(tmp_path)
    both.open()
    assert [both.read(1.0).gap for _ in range(2)] == [False, True]


def test_damaged_pictures_are_passed_over_and_named_at_the_end(tmp_path):
    folder = folder_of(tmp_path, 6)
    whole = (folder / "f2.png").read_bytes()
    (folder / "f2.png").write_bytes(whole[:20])
    (folder / "f4.png").write_bytes(b"")
    (folder / "f9.npy").write_bytes(b"no array")
    source = PictureSource(folder)
    source.open()
    frames = [source.read(1.0) for _ in range(4)]
    assert [(frame.number, frame.gap) for frame in frames] == [(0, False), (1, False), (3, True), (5, True)]
    assert [frame.pts_ns for frame in frames] == [number * 40_000_000 for number in (0, 1, 3, 5)]
    with pytest.raises(SourceError, match=r"f2\.png: .*, and so 2 more: 4 pictures were shown$") as caught:
        source.read(1.0)
    assert "\n" not in str(caught.value)
    assert source.read(1.0) is None


def test_a_folder_whose_first_pictures_are_damaged_begins_with_the_one_after(tmp_path):
    folder = folder_of(tmp_path, 4)
    (folder / "f0.png").write_bytes((folder / "f0.png").read_bytes()[:20])
    (folder / "f1.png").write_bytes((folder / "f1.png").read_bytes()[:90])
    source = PictureSource(folder)
    info = source.open()
    assert (info.size, info.frame_count, info.counts) == ((24, 32), 4, True)
    assert [source.read(1.0).number for _ in range(2)] == [2, 3]
    with pytest.raises(SourceError, match=r"f0\.png: .*, and so 1 more: 2 pictures were shown$"):
        source.read(1.0)
    for number in (2, 3):
        (folder / f"f{number}.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"f0\.png"):
        source.open()


def test_the_scale_of_a_folder_is_that_of_the_first_picture_that_can_be_read(tmp_path):
    whole = block(raw_of(np.full((240, 320), 293.15)))
    (tmp_path / "f1.fff").write_bytes(whole)
    alone = scale_of(tmp_path / "f1.fff")
    assert alone is not None
    (tmp_path / "f0.fff").write_bytes(whole[:9000])
    assert scale_of(tmp_path) == alone


def test_what_is_not_there_or_empty_or_odd_is_one_clear_line(tmp_path):
    with pytest.raises(SourceError, match="no pictures in folder"):
        PictureSource(tmp_path).open()
    with pytest.raises(SourceError, match="no such picture"):
        PictureSource(tmp_path / "none.png").open()
    (tmp_path / "zero.png").write_bytes(b"")
    with pytest.raises(SourceError, match="cannot decode"):
        read_picture(tmp_path / "zero.png")
    cv2.imwrite(str(tmp_path / "f.tiff"), np.ones((8, 8), np.float32))
    with pytest.raises(SourceFormatError, match="float32"):
        read_picture(tmp_path / "f.tiff")
    with pytest.raises(SourceError, match="not open"):
        PictureSource(tmp_path).read(1.0)


def test_hidden_files_are_no_pictures_of_a_folder(tmp_path):
    """macOS puts a ._1.png beside each 1.png on disks of other systems."""
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30), number, np.uint8))
        (tmp_path / f"._{number}.png").write_bytes(b"\x00\x05\x16\x07")
    source = PictureSource(tmp_path)
    assert source.open().frame_count == 2
    assert [source.read(1).pixels[0, 0] for _ in range(2)] == [1, 2]
    source.close()


def test_a_folder_that_may_not_be_read_is_one_clear_line(tmp_path, monkeypatch):
    folder_of(tmp_path, 2)

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "iterdir", refused)  # root may read all
    with pytest.raises(SourceError, match=r": its files cannot be listed: permission denied$"):
        PictureSource(tmp_path).open()


def test_recordings_of_a_folder_that_become_one_clip_are_told_once_and_are_no_remark(tmp_path, caplog):
    caplog.set_level("INFO", "irchroma")
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", np.zeros((3, 8, 8), np.uint16))
    source, remarks = PictureSource(tmp_path, Fraction(9)), Remarks()
    token = run_remarks.set(remarks)
    assert source.open().frame_count == source.open().frame_count == 6
    run_remarks.reset(token)
    assert not len(remarks), "--strict has nothing against it"
    assert caplog.text.count("the pictures of 2 recordings are shown one after the other") == 1
    caplog.clear()
    assert PictureSource(tmp_path / "a.npy", Fraction(9)).open().frame_count == 3
    assert not caplog.text
