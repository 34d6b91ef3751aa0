"""A bar chart of a frame's budget: what each part of a run takes beside the time between two frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.machine_speed import Demand, MachineSpeed, Stage
from irchroma.calibration.settings_choice import Prediction, choose_encoder, named_stages
from irchroma.launch.contact_sheet import GROUND, INK
from irchroma.stream.picture.lettering import Color, fitted, lettered

Rgb = NDArray[np.uint8]

WIDTH_PX, NAME_PX, VALUE_PX, ROW_PX, LETTER_PX, MARGIN_PX = 1100, 270, 90, 30, 15, 24
BAR: Color = (92, 132, 186)
CHOSEN: Color = (232, 162, 62)
TOO_SLOW: Color = (112, 78, 84)
LINE: Color = (120, 126, 134)
WHISKER: Color = (170, 178, 190)


def draw_speed(chosen: Prediction, speed: MachineSpeed, demand: Demand) -> Rgb:
    """(H, W, 3) uint8 R'G'B': a bar for each part, median with a line to the 95th percentile.

    Args:
        chosen: the settings; their parts stand out.
        speed: what was measured.
        demand: the time between frames is drawn as a line.
    """
    rows = named_stages(speed)
    encoder = choose_encoder(speed, demand)
    used = {
        "tone map",
        "decode",
        encoder.name if encoder is not None else "",
        f"network {chosen.rung.size} at {chosen.rung.seen_px} px",
        *(f"{part} {_nearest(chosen.rung.seen_px)} px" for part in ("steadying at", "upsampling from")),
    }
    top = 4 * MARGIN_PX + 10
    height = top + len(rows) * ROW_PX + 3 * MARGIN_PX
    picture = np.full((height, WIDTH_PX, 3), GROUND, np.uint8)
    size = f"{demand.size[1]}x{demand.size[0]}"
    _write(
        picture, f"{demand.engine} at {size}, {float(demand.rate):g} frames a second", 12, MARGIN_PX, 22, 600
    )
    said = f"chosen: {chosen.rung} - latency {chosen.latency_ms:.0f} of {demand.latency_ms:g} ms, processor"
    _write(picture, f"{said} {chosen.busy:.0%}", 46, MARGIN_PX, LETTER_PX + 1, 400, CHOSEN)
    left = MARGIN_PX + NAME_PX
    longest_ms = max(demand.period_ms * 1.15, *(min(stage.p95_ms, 4 * demand.period_ms) for _, stage in rows))
    scale = (WIDTH_PX - left - VALUE_PX - MARGIN_PX) / longest_ms
    _axis(picture, left, top, scale, longest_ms, len(rows) * ROW_PX)
    x = round(left + demand.period_ms * scale)
    bottom = top + len(rows) * ROW_PX
    cv2.line(picture, (x, top - 8), (x, bottom + 4), LINE, 2, cv2.LINE_AA)
    _write(picture, f"{demand.period_ms:.1f} ms between frames", bottom + 34, x - 80, LETTER_PX, 400)
    for number, (name, stage) in enumerate(rows):
        color = CHOSEN if name in used else TOO_SLOW if stage.median_ms > demand.period_ms else BAR
        _bar(picture, top + number * ROW_PX, left, scale, longest_ms, name, stage, color)
    return picture


def _nearest(px: int) -> int:
    return 320 if px <= 368 else 416


def _axis(picture: Rgb, left: int, top: int, scale: float, longest_ms: float, height: int) -> None:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if longest_ms / step <= 10)
    for value in range(0, int(longest_ms) + 1, step):
        x = round(left + value * scale)
        cv2.line(picture, (x, top), (x, top + height), (38, 42, 48), 1)
        _write(picture, f"{value}", top + height + 8, x - 6, LETTER_PX - 3, 400, LINE)


def _bar(
    picture: Rgb, y: int, left: int, scale: float, longest_ms: float, name: str, stage: Stage, color: Color
) -> None:
    _write(picture, name, y + 5, MARGIN_PX, LETTER_PX, 400, color if color == CHOSEN else INK)
    right = left + max(2, round(min(stage.median_ms, longest_ms) * scale))
    cv2.rectangle(picture, (left, y + 6), (right, y + ROW_PX - 7), color, cv2.FILLED)
    end = left + round(min(max(stage.p95_ms, stage.median_ms), longest_ms) * scale)
    middle = y + ROW_PX // 2 - 1
    if end > right + 2:
        cv2.line(picture, (right, middle), (end, middle), WHISKER, 1, cv2.LINE_AA)
        cv2.line(picture, (end, middle - 4), (end, middle + 4), WHISKER, 1, cv2.LINE_AA)
    _write(picture, f"{stage.median_ms:.1f} ms", y + 6, max(right, end) + 8, LETTER_PX - 2, 400, INK)


def _write(
    picture: Rgb, text: str, top: int, left: int, letter_px: int, weight: int, color: Color = (235, 235, 235)
) -> None:
    room = WIDTH_PX - left - MARGIN_PX // 2
    lettered(fitted(text, letter_px, room, weight), letter_px, color, weight=weight).lay_on(
        picture, top, left
    )
