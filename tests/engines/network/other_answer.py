"""A twin as it would be on a processor that colors differently."""

from __future__ import annotations

import base64
from pathlib import Path

import onnx

from irchroma.engines.network.record import ANSWER_KEY, read_answer


def give_other_answer(path: Path) -> None:
    """Turn about what the file says that its network answers, in place."""
    answer = read_answer(path)
    assert answer is not None
    model = onnx.load(str(path))
    for entry in model.metadata_props:
        if entry.key == ANSWER_KEY:
            entry.value = base64.b64encode(answer[::-1]).decode()
    onnx.save(model, str(path))
