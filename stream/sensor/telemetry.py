"""Reads what thermal cameras write beside their pictures: shutter state, temperatures, frame counter.

Sources: FLIR Lepton Engineering Datasheet 500-0659-00-09 Rev 203, section 3.4, tables 2 and 3 (32-bit
values are sent least significant word first, as programs for it read them); for Boson and Seek what public
programs read (flirpy's users; OpenThermal/libseek-thermal, SeekThermal.cpp). Never run on such cameras
here: tested on byte streams made after these documents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.uint16]

FFC_STATES = ("never", "imminent", "in progress", "complete")
"""Lepton datasheet, table 3, bits 4 and 5 of the status."""
LEPTON_ROW_WORDS = 80
"""Words of a telemetry row: rows A, B, C one after another."""
LEPTON_RESERVED = (17, 18, 19, 27, 28, 33)
"""Words of row A that are reserved, and zero."""
KELVIN_100 = (20000, 40000)
"""Plausible range of a temperature in hundredths of a kelvin, by which a telemetry row is known."""
SEEK_PICTURE, SEEK_SHUTTER = 3, 1
"""Kinds of a Seek frame: a picture, and the closed shutter."""


@dataclass(frozen=True, slots=True)
class CameraTelemetry:
    """What one frame says of its camera; None where it does not.

    Attributes:
        frame_counter: counts up by one a frame of the sensor.
        ffc_state: one of `FFC_STATES`.
        sensor_celsius: of the focal plane array.
        housing_celsius: of the camera's body.
        uptime_ms: milliseconds since the camera started.
        per_kelvin: counts per kelvin that the camera says its picture has, 0 where it is not radiometric.
    """

    frame_counter: int | None = None
    ffc_state: str | None = None
    sensor_celsius: float | None = None
    housing_celsius: float | None = None
    uptime_ms: int | None = None
    per_kelvin: float | None = None

    @property
    def shutter_closed(self) -> bool:
        """Whether the camera repeats its picture now (flat-field correction)."""
        return self.ffc_state == "in progress"

    @property
    def summary(self) -> str:
        """`sensor 31.2 °C  ·  housing 28.9 °C  ·  shutter closed`, as far as it is known."""
        words = [
            f"{name} {celsius:.1f} °C"
            for name, celsius in (("sensor", self.sensor_celsius), ("housing", self.housing_celsius))
            if celsius is not None
        ]
        words += ["shutter closed"] if self.shutter_closed else []
        words += ["shutter due"] if self.ffc_state == "imminent" else []
        return "  ·  ".join(words)


def parse_lepton(rows: Counts) -> CameraTelemetry | None:
    """Telemetry of a Lepton; None where these rows are no telemetry.

    Args:
        rows: (n, W) uint16, the telemetry rows as the frame has them: 2 rows of 160 words, or 3 of 80.
    """
    words = rows.reshape(-1)
    if words.size < 3 * LEPTON_ROW_WORDS:
        words = np.pad(words, (0, 3 * LEPTON_ROW_WORDS - words.size))
    sensor, housing = int(words[24]), int(words[26])
    if words[list(LEPTON_RESERVED)].any():  # a picture in 1/100 K has plausible temperatures everywhere
        return None
    if not (KELVIN_100[0] <= sensor <= KELVIN_100[1] and KELVIN_100[0] <= housing <= KELVIN_100[1]):
        return None
    status = _low_first(words, 3)
    third = words[2 * LEPTON_ROW_WORDS :]  # row C
    tlinear = 0.0 if third[48] == 0 else (100.0 if third[49] else 10.0)  # 0.01 or 0.1 kelvin a count
    return CameraTelemetry(
        frame_counter=_low_first(words, 20),
        ffc_state=FFC_STATES[status >> 4 & 3],
        sensor_celsius=sensor / 100 - 273.15,
        housing_celsius=housing / 100 - 273.15,
        uptime_ms=_low_first(words, 1),
        per_kelvin=tlinear,
    )


def parse_boson(rows: Counts) -> CameraTelemetry:
    """Telemetry of a Boson: (2, W) uint16, the rows above the picture (640x514, 320x258)."""
    first = rows[0]
    return CameraTelemetry(
        frame_counter=int(first[42]) << 16 | int(first[43]), uptime_ms=int(first[140]) << 16 | int(first[141])
    )


def parse_seek(frame: Counts) -> CameraTelemetry:
    """Telemetry of a Seek Compact: the whole raw frame, (156, 208) uint16."""
    words = frame.reshape(-1)
    state = {SEEK_SHUTTER: "in progress", SEEK_PICTURE: "complete"}.get(int(words[10]))
    return CameraTelemetry(frame_counter=int(words[40]), ffc_state=state)


def _low_first(words: Counts, at: int) -> int:
    """A 32-bit value whose less significant word comes first."""
    return int(words[at]) | int(words[at + 1]) << 16
