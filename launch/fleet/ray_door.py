"""The one door to Ray, an extra: a connection to a cluster, or one line that says what is missing."""

from __future__ import annotations

import os
from typing import Any

from irchroma.stream.errors import StreamError

_INSTALL = "needs Ray: pip install 'irchroma[fleet]'"


def connected(address: str, what: str, cpus: int | None = None, namespace: str | None = None) -> Any:
    """The module `ray`, connected.

    Args:
        address: of a cluster, `auto` for the one that this machine belongs to; `local` for one of this
            machine alone, for the time of the work.
        what: needs it, for people.
        cpus: of a local cluster.
        namespace: of named actors.

    Raises:
        StreamError: Ray is not installed, or no cluster answers there.
    """
    try:
        import ray
    except ImportError as error:
        raise StreamError(f"{what} {_INSTALL}") from error
    local = address == "local"
    # Ray has its workers give way to everything else (15), which live video must not.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address=address,
            num_cpus=cpus if local else None,
            namespace=namespace,
            include_dashboard=False if local else None,
            log_to_driver=False,
            configure_logging=False,
        )
    except Exception as error:
        raise StreamError(f"Ray at {address}: {error}{_hint(error)}") from error
    return ray


def _hint(error: Exception) -> str:
    """What to do where a cluster may be there and not answer us: Ray's own error does not name the reason."""
    if "failed to connect" not in str(error).lower() or os.environ.get("RAY_AUTH_MODE") == "token":
        return ""
    return (
        ": is it running, and does it ask for a token (ray start of 2.60 does)? Then set RAY_AUTH_MODE=token"
    )
