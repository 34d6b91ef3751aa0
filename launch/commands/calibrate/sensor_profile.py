"""The profile that a calibration of a sensor goes on with: the user's own, or a new one of a known camera."""

from __future__ import annotations

import argparse
from pathlib import Path

from irchroma.calibration.errors import CalibrationError
from irchroma.stream.sensor.presets import find_profile
from irchroma.stream.sensor.profile import CameraProfile, load_profile


def add_camera(parser: argparse.ArgumentParser) -> None:
    """By what the picture is taken out of frames with telemetry rows or other parts."""
    parser.add_argument(
        "--camera",
        metavar="FILE",
        help="profile that a new one begins with, for layout and scale: lepton, boson, infiray-split ...",
    )


def begun_profile(out: Path, camera: str | None) -> CameraProfile:
    """What is at `out`; where nothing is, the named camera's, or a plain one.

    Raises:
        CalibrationError: there is another camera's at `out`; one whose scale was corrected is the same.
        StreamError: one of them cannot be read, or there is no camera of that name.
    """
    known = load_profile(find_profile(camera)) if camera is not None else CameraProfile(out.stem)
    if not out.exists():
        return known
    profile = load_profile(out)
    if camera is not None and (other := _other(profile, known)):
        raise CalibrationError(
            f"{out} is of another camera than --camera {camera}: {other}: give another --out"
        )
    return profile


def _other(profile: CameraProfile, known: CameraProfile) -> str:
    """By what a profile is of another camera than the known one; empty where it is not."""
    if profile.layout != known.layout:
        return f"its layout is {profile.layout}, not {known.layout}"
    if profile.size and known.size and profile.size != known.size:
        return "{1}x{0}, not {3}x{2}".format(*profile.size, *known.size)
    if (profile.scale is None) != (known.scale is None):
        return f"it has {'no scale' if profile.scale is None else 'a scale'}"
    return ""
