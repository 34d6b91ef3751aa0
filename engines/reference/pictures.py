"""Color pictures of a fixed scene, kept as files that a person can look at.

A set is a text file (TOML) that lists PNG pictures beside it. A picture's transparency says where it is
not trusted: what was cut out there (people, cars) does not belong to the scene. A single picture of any
kind is a set of one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineOptionError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONG_SIDE_PX = 1280
"""Larger pictures are reduced when they are read: color is used at work size only."""
LEAST_SIDE_PX = 32
"""Of a reference: four of the network's cells."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
AUTO = Path("auto")
"""In place of a file: no reference at first, and whichever is handed over while frames come."""
HEADER = "# Color reference of a fixed camera's scene, for: irchroma run SOURCE --reference FILE\n"


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One color picture of the scene, equal to itself alone; its pixels never change.

    Attributes:
        rgb: (H, W, 3) uint8 R'G'B', full range.
        trust: (H, W) uint8, 255 = belongs to the scene, 0 = does not.
        name: where it came from, for logs.
        still: several pictures have shown that what is on it stands still; one picture may show anything.
        wished: somebody has named this very picture and asks for its look, a night's too; what a machine has
            chosen is shown as viewers like it, see `shown`.
    """

    rgb: NDArray[np.uint8]
    trust: NDArray[np.uint8]
    name: str = ""
    still: bool = False
    wished: bool = False

    @property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 Y', BT.601 full range."""
        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def load_references(path: Path) -> list[Reference]:
    """Read a set, or one picture, which somebody wishes for; nothing for `AUTO`.

    Raises:
        EngineOptionError: the file is missing, is neither, or a picture is too small or has no color.
    """
    if path == AUTO:
        return []
    if path.is_dir():
        raise EngineOptionError(
            f"{path} is a folder: give one picture of it, or all to `irchroma calibrate reference` for a"
            " fixed camera, or to `irchroma references add` for --reference auto"
        )
    if not path.is_file():
        raise EngineOptionError(
            f"no color reference at {path}: give a color picture, or what"
            " `irchroma calibrate reference` has written"
        )
    if path.suffix.lower() in PICTURES:
        references = [read_picture(path)]
    else:
        try:
            listed = tomllib.loads(path.read_text(encoding="utf-8-sig"))["picture"]
            references = [_read_entry(path.parent, entry) for entry in listed]
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise EngineOptionError(
                f"{path} is neither a picture nor a set of references:"
                f" make one with `irchroma calibrate reference PICTURE --out {path.stem}.toml`"
            ) from error
    if not references:
        raise EngineOptionError(f"{path} lists no picture")
    for reference in references:
        if is_gray(reference.rgb):
            raise EngineOptionError(f"{reference.name} has no color: a reference is a color picture")
    return [replace(reference, wished=True) for reference in references]


def _read_entry(folder: Path, entry: dict[str, object]) -> Reference:
    picture = read_picture(folder / str(entry["file"]))
    still = entry.get("still", "median of" in str(entry.get("source", "")))  # sets of before say it there
    return replace(picture, still=bool(still))


def read_picture(path: Path) -> Reference:
    """One picture, with its transparency as mistrust.

    Raises:
        EngineOptionError: it cannot be read, or is too small for a reference.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is not None and (pixels.ndim == 2 or pixels.shape[2] != 4):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)  # which also sets it upright (EXIF)
    if pixels is None:
        raise EngineOptionError(f"cannot read {path} as a picture")
    if pixels.dtype != np.uint8:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257) if pixels.dtype == np.uint16 else pixels
    height, width = pixels.shape[:2]
    factor = LONG_SIDE_PX / max(height, width)
    if factor < 1:
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    if min(pixels.shape[:2]) < LEAST_SIDE_PX:
        least = f"has sides of {LEAST_SIDE_PX} or more"
        if min(height, width) >= LEAST_SIDE_PX:
            least = f"is at most {LONG_SIDE_PX // LEAST_SIDE_PX} times as long as wide"
        raise EngineOptionError(f"{path.name} is {width}x{height}: a reference {least}")
    opaque = np.full(pixels.shape[:2], 255, np.uint8)
    trust = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else opaque
    rgb = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_BGR2RGB), np.uint8)
    return Reference(rgb, trust, path.name)


def save_references(path: Path, references: list[Reference]) -> list[Path]:
    """Write a set: the text file at `path`, the pictures `STEM-1.png`... beside it.

    A `path` that ends like a picture gets the first reference only.

    Returns:
        Everything that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in PICTURES:
        if path.suffix.lower() != ".png" and (references[0].trust < 255).any():
            raise EngineOptionError(f"{path.name} cannot hold transparency: write a .png or a .toml")
        _write_picture(path, references[0])
        return [path]
    lines, written = [HEADER], [path]
    for number, reference in enumerate(references, 1):
        picture = path.with_name(f"{path.stem}-{number}.png")
        _write_picture(picture, reference)
        written.append(picture)
        height, width = reference.trust.shape
        mean, spread = cv2.meanStdDev(reference.luma)
        lines.append(
            f"[[picture]]\nfile = {_quoted(picture.name)}\nsource = {_quoted(reference.name)}\n"
            f"size = [{width}, {height}] # width, height\n"
            f"luma_mean = {mean.item():.1f} # of 255\nluma_deviation = {spread.item():.1f}\n"
            f"trusted = {float((reference.trust > 127).mean()):.3f} # share of the picture\n"
            f"still = {str(reference.still).lower()} # several pictures have shown that it stands still\n"
        )
    path.write_text("\n".join(lines), encoding="utf-8")
    return written


def is_gray(rgb: NDArray[np.uint8]) -> bool:
    """Whether a picture has no color to give: hardly a pixel's channels differ by more than 12 levels."""
    difference = rgb.max(2).astype(np.int16) - rgb.min(2)
    return float((difference > 12).mean()) < 0.005


def _write_picture(path: Path, reference: Reference) -> None:
    bgr = cv2.cvtColor(reference.rgb, cv2.COLOR_RGB2BGR)
    pixels = bgr
    if (reference.trust < 255).any():
        pixels = np.dstack([bgr, reference.trust])
    if not cv2.imwrite(str(path), pixels):
        raise EngineOptionError(f"cannot write {path}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
