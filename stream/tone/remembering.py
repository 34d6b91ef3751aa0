"""What a tone map knows as arrays of plain numbers, and back: a run cut into segments goes on by them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.sensor.stripes import StripeTracker
from irchroma.stream.tone.memory import SceneMemory
from irchroma.stream.tone.sensor_noise import NoiseMeter, StripeRemoval

_TOLD = "told"
_NOT_TOLD = ("options", "_clahe", "_dither", "_solvers")  # what a new one has anyway


def as_arrays(part: Any) -> dict[str, NDArray[Any]]:
    """The attributes of a tone map: arrays by number, and a JSON text of all that is no array."""
    arrays: dict[str, NDArray[Any]] = {}
    told = json.dumps(_told(part, arrays))
    return {**arrays, _TOLD: np.frombuffer(told.encode(), np.uint8)}


def from_arrays(part: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give a tone map the attributes that `as_arrays` told.

    Raises:
        KeyError, ValueError, TypeError: the arrays are something else.
    """
    _take(part, json.loads(arrays[_TOLD].tobytes())["has"], arrays)


def _told(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """A value for JSON; its arrays, and numpy's numbers, go into `arrays`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        name = f"array{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name}
    if isinstance(value, list):
        return [_told(one, arrays) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [_told(one, arrays) for one in value]}
    has = {name: _told(one, arrays) for name, one in vars(value).items() if name not in _NOT_TOLD}
    return {"of": type(value).__name__, "has": has}


def _take(part: Any, has: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, told in has.items():
        setattr(part, name, _value(told, arrays))


def _value(told: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The value that `_told` was given."""
    if isinstance(told, list):
        return [_value(one, arrays) for one in told]
    if not isinstance(told, dict):
        return told
    if "array" in told:
        return arrays[told["array"]][()]
    if "tuple" in told:
        return tuple(_value(one, arrays) for one in told["tuple"])
    part: Any
    if told["of"] == "SceneMemory":
        part = SceneMemory.__new__(SceneMemory)
    elif told["of"] == "StripeTracker":
        part = StripeTracker(_value(told["has"]["size"], arrays), 0.0)
    else:
        part = {"NoiseMeter": NoiseMeter, "StripeRemoval": StripeRemoval}[told["of"]]()
    _take(part, told["has"], arrays)
    return part
