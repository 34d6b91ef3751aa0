"""Files of several pictures, of counts, of degrees: all of it, or one line that says what there is."""

import shutil
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.stream.sources.pictures.flir_files import block, radiometric_jpeg, raw_of

from irchroma.stream.errors import SourceError, SourceFormatError
from irchroma.stream.sources.open_source import open_source
from irchroma.stream.sources.pictures.picture_file import open_pictures, picture_size
from irchroma.stream.sources.pictures.picture_source import PictureSource, read_picture

COUNTS = (7400 + np.add.outer(np.arange(48), np.arange(64)) + 9 * np.arange(20)[:, None, None]).astype(
    np.uint16
)
KELVIN = 283.15 + np.linspace(0, 80, 240 * 320).reshape(240, 320)


def all_of(path: Path) -> np.ndarray:
    source = PictureSource(path)
    info, pictures = source.open(), []
    while (frame := source.read(1)) is not None:
        pictures.append(frame.pixels)
    source.close()
    assert info.frame_count == len(pictures)
    return np.stack(pictures)


def test_every_page_of_a_tiff_is_a_frame(tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "a.tiff"), list(COUNTS))
    np.testing.assert_array_equal(all_of(tmp_path / "a.tiff"), COUNTS)
    cv2.imwrite(str(tmp_path / "b.tif"), COUNTS[0])  # in a folder: one after the other
    assert len(all_of(tmp_path)) == 21
    with pytest.raises(SourceFormatError, match="holds 20 pictures"):
        read_picture(tmp_path / "a.tiff")


@pytest.mark.parametrize(
    "stack",
    [
        COUNTS,
        COUNTS.astype(">u2"),
        (COUNTS >> 6).astype(np.uint8),
        COUNTS[0],
        COUNTS[..., None],  # with an axis of one channel, as cameras' libraries give it
        COUNTS[0][..., None],
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_numpy_are_pictures(tmp_path: Path, stack: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    np.save(path, stack) if suffix == "npy" else np.savez_compressed(path, stack)
    found = all_of(path)
    assert found.dtype == stack.dtype.newbyteorder("=")
    assert found.shape == (len(found), *COUNTS.shape[1:])
    np.testing.assert_array_equal(found, stack.reshape(found.shape))


def test_the_rate_stands_beside_the_pictures_of_a_npz_file(tmp_path: Path) -> None:
    """As recorders write `np.savez(path, frames=counts, fps=9)`."""
    np.savez(tmp_path / "a.npz", frames=COUNTS, fps=9, gain=0.01)
    np.testing.assert_array_equal(all_of(tmp_path / "a.npz"), COUNTS)
    assert open_pictures(tmp_path / "a.npz").rate == 9
    np.savez(tmp_path / "a.npz", fps=30000 / 1001, frames=COUNTS)
    assert open_pictures(tmp_path / "a.npz").rate == Fraction(30000, 1001)
    for wrong in (0, -1, np.nan, np.inf):
        np.savez(tmp_path / "a.npz", frames=COUNTS, fps=wrong)
        assert open_pictures(tmp_path / "a.npz").rate is None


def test_arrays_that_are_no_pictures_are_refused_with_what_they_are(tmp_path: Path) -> None:
    for name, array, words in (
        ("degrees.npy", COUNTS / 64.0, "holds float64: expected uint8 luma or uint16 counts"),
        ("row.npy", COUNTS[0, 0], r"has the shape \(64,\)"),
        ("deep.npy", np.repeat(COUNTS[0][..., None], 3, 2), "3\\) of uint16: expected .* of uint8"),
        ("clear.npy", np.zeros((9, 9, 4), np.uint8), "4\\) of uint8: expected"),
        ("yuyv.npy", np.zeros((120, 160, 2), np.uint8), "two channels, as OpenCV gives YUYV and raw Y16"),
        (
            "several.npy",
            np.zeros((5, 12, 16, 2), np.uint8),
            r"two channels.* expected the luma, \[\.\.\., 0\]",
        ),
        ("complex.npy", np.zeros((12, 16, 2), np.uint16), "2\\) of uint16: expected"),
        ("five.npy", np.zeros((2, 2, 2, 2, 2), np.uint8), "has the shape"),
    ):
        np.save(tmp_path / name, array)
        with pytest.raises(SourceFormatError, match=words):
            open_pictures(tmp_path / name)
    np.savez(tmp_path / "two.npz", ir=COUNTS, mask=COUNTS)
    with pytest.raises(SourceFormatError, match="holds ir, mask: expected one array of pictures"):
        open_pictures(tmp_path / "two.npz")
    np.save(tmp_path / "cut.npy", COUNTS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:9000])
    with pytest.raises(SourceError, match="cut short"):
        open_pictures(tmp_path / "cut.npy")


@pytest.mark.parametrize("kind", ["raw", "png"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_a_radiometric_jpeg_gives_degrees_and_not_its_screen(
    tmp_path: Path, kind: str, big_endian: bool
) -> None:
    shown = cv2.applyColorMap(np.tile(np.arange(256, dtype=np.uint8), (64, 1)), cv2.COLORMAP_INFERNO)
    one = block(raw_of(KELVIN), kind, big_endian=big_endian)
    (tmp_path / "a.jpg").write_bytes(radiometric_jpeg(one, shown))
    found = open_pictures(tmp_path / "a.jpg")
    assert found.scale is not None
    counts = found.read(0)
    assert counts.dtype == np.uint16
    assert (
        np.abs(counts / found.scale.per_kelvin + found.scale.offset_celsius - (KELVIN - 273.15)).max() < 0.05
    )


@pytest.mark.parametrize(
    ("constants", "celsius"),
    [  # of the hottest pixel, by flyr 5.1.0: flyr.unpack("a.jpg").celsius[-1, -1]
        ({0x20: 0.8}, 103.384),
        ({0x20: 0.8, 0x24: 5.0}, 104.637),
        ({0x20: 0.9, 0x24: 20.0, 0x34: 0.9, 0x3C: 0.7, 0x2C: 300.0}, 105.897),
        ({0x20: 0.9, 0x24: 20.0, 0x34: 0.9, 0x3C: 70.0, 0x2C: 300.0}, 105.897),  # humidity in percent
    ],
)
def test_emissivity_air_and_window_are_taken_into_account(
    tmp_path: Path, constants: dict[int, float], celsius: float
) -> None:
    (tmp_path / "a.fff").write_bytes(block(raw_of(KELVIN), more=constants))
    counts = open_pictures(tmp_path / "a.fff").read(0)
    assert counts[-1, -1] / 32 - 273.15 == pytest.approx(celsius, abs=0.02)


def test_a_sequence_gives_every_frame_and_a_compressed_one_is_refused_by_name(tmp_path: Path) -> None:
    blocks = [block(raw_of(KELVIN + n)) for n in range(5)]
    (tmp_path / "a.seq").write_bytes(b"".join(blocks))
    found = all_of(tmp_path / "a.seq")
    assert found.shape == (5, 240, 320)
    assert np.abs(np.diff(found[:, 100, 100].astype(int)) - 32).max() <= 2
    (tmp_path / "a.csq").write_bytes(block(raw_of(KELVIN), "csq"))
    with pytest.raises(SourceFormatError, match=r"JPEG-LS \(\.csq\), which is not read here"):
        open_pictures(tmp_path / "a.csq")
    (tmp_path / "b.seq").write_bytes(b"something else" * 9)
    with pytest.raises(SourceError, match="no file of a FLIR camera"):
        open_pictures(tmp_path / "b.seq")
    (tmp_path / "c.fff").write_bytes(blocks[0][:9000])
    with pytest.raises(SourceError, match="missing or cut short"):
        open_pictures(tmp_path / "c.fff")


def test_the_plane_in_a_dji_picture_is_taken(tmp_path: Path) -> None:
    plane = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint16) + 5000
    jpeg = cv2.imencode(".jpg", np.zeros((128, 160, 3), np.uint8))[1].tobytes()

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([255, marker]) + (len(data) + 2).to_bytes(2, "big") + data

    data = plane.astype("<u2").tobytes()
    maker, first, second = (
        segment(0xE1, b"Exif\0\0DJI\0"),
        segment(0xE3, data[:5000]),
        segment(0xE3, data[5000:]),
    )
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + maker + first + second + jpeg[2:])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), plane)


def test_a_jpeg_that_is_cut_short_is_no_picture_with_a_gray_rest(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match="its end is missing"):
        read_picture(tmp_path / "a.jpg")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int) -> bytes:
    """A black 1-bit picture: small as a file."""
    head = struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(huge_png(30000))
    with pytest.raises(SourceError, match="30000x30000 are larger than the 100 million pixels"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(SourceError, match="--max-megapixels N allows more"):
        PictureSource(tmp_path / "a.png").open()
    (tmp_path / "b.png").write_bytes(huge_png(800))
    assert read_picture(tmp_path / "b.png", megapixels=1).shape == (800, 800)
    with pytest.raises(SourceError, match=r"0\.5 million pixels"):
        read_picture(tmp_path / "b.png", megapixels=0.5)
    np.save(tmp_path / "c.npy", np.zeros((2, 800, 800), np.uint8))
    with pytest.raises(SourceError, match="800x800 are larger"):
        open_pictures(tmp_path / "c.npy", megapixels=0.5)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "bmp", "pgm", "ppm", "webp"])
def test_the_size_is_read_from_the_header(tmp_path: Path, suffix: str) -> None:
    for channels in (1, 3):
        if (suffix, channels) in (("pgm", 3), ("ppm", 1)):
            continue
        shape = (30, 50) if channels == 1 else (30, 50, 3)
        data = cv2.imencode(f".{suffix}", np.full(shape, 9, np.uint8))[1].tobytes()
        assert picture_size(data) == (30, 50) or (suffix == "webp" and picture_size(data) is None)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")
@pytest.mark.parametrize("name", ["a.apng", "a.png", "a.webp"])
def test_animated_pictures_are_refused_rather_than_shown_as_one(tmp_path: Path, name: str) -> None:
    line = "-f lavfi -i testsrc2=s=64x48:r=5:d=1 -f " + ("webp" if name == "a.webp" else "apng")
    subprocess.run(["ffmpeg", "-v", "error", *line.split(), str(tmp_path / name)], check=True, timeout=60)
    with pytest.raises(SourceFormatError, match="animated"):
        open_source(str(tmp_path / name)).open()


def test_a_picture_that_cannot_be_read_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a.png").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    with pytest.raises(SourceError, match=r"^picture \S*/a\.png cannot be read \(Permission denied\)$"):
        open_pictures(tmp_path / "a.png")
