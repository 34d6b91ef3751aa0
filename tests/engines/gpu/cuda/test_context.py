"""A context is made current once, errors come out in our words, and nothing is held by them."""

from __future__ import annotations

import gc
import weakref

import pytest

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.cuda.context import Current


class Asked:
    """What a driver is asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def current(self, leaves: Exception | None = None) -> Current:
        def leave() -> None:
            self.calls.append("leave")
            if leaves is not None:
                raise leaves

        return Current(lambda: self.calls.append("enter"), leave, translated)


def translated(error: BaseException) -> EngineError | None:
    return EngineError(f"told: {error}") if isinstance(error, ValueError) else None


def test_one_within_another_asks_nothing_of_the_driver() -> None:
    asked = Asked()
    current = asked.current()
    with current, current:
        with pytest.raises(EngineError, match="told: wrong"), current:
            raise ValueError("wrong")
        assert asked.calls == ["enter"]
    assert asked.calls == ["enter", "leave"]


def test_what_is_not_translated_stays_as_it_is() -> None:
    with pytest.raises(KeyError, match="as it is"), Asked().current():
        raise KeyError("as it is")


def test_a_context_that_cannot_be_left_is_told_and_can_be_entered_again() -> None:
    asked = Asked()
    current = asked.current(ValueError("lost"))
    for _ in range(2):
        with pytest.raises(EngineError, match="told: lost"), current:
            pass
    assert asked.calls == ["enter", "leave"] * 2


def test_an_error_holds_nothing_when_it_is_over() -> None:
    """A picture of a GPU that is lost stayed, and its context with it, until Python's collector came."""

    class Picture:
        pass

    seen: list[weakref.ref[Picture]] = []

    def fails() -> None:
        picture = Picture()
        seen.append(weakref.ref(picture))
        with Asked().current():
            raise ValueError("wrong")

    gc.disable()
    try:
        with pytest.raises(EngineError, match="told: wrong") as caught:
            fails()
        del caught
        assert seen[0]() is None
    finally:
        gc.enable()
