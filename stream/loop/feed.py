"""Whose threads these are, where one process runs several feeds: log lines ask for the name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context

feed_name: ContextVar[str] = ContextVar("feed_name", default="")
"""The feed that the running thread works for; empty where there is only one."""


def feed_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread, not yet started, that works for the same feed as the thread that makes it."""
    feed = feed_name.get()
    whole = f"{feed}: {name}" if feed else name
    return threading.Thread(target=copy_context().run, args=(work,), name=whole, daemon=True)
