"""Nearest neighbours of index vectors, with filters: one protocol, three engines.

`memory` compares with everything, `edge` is an index on disk without a server, a URL is a Qdrant server.
"""

from __future__ import annotations

from pathlib import Path

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.store.base import Neighbour, Point, Store
from crossgraph.store.filter import FilterError, matches, parse_filter

__all__ = [
    "ENGINES",
    "FilterError",
    "Neighbour",
    "Point",
    "Store",
    "check_engine",
    "matches",
    "open_store",
    "parse_filter",
]

ENGINES = ("memory", "edge")
"""The engines that need no server."""


def open_store(kind: str, folder: Path | None, size: int) -> Store:
    """Open a store, or make an empty one.

    Args:
        kind: "memory", "edge", or the URL of a Qdrant server as `http://host:6333`.
        folder: Where the store is; None is for `memory`, which then keeps nothing, and for a server.
        size: Values in an index vector.

    Returns:
        The open store; close it.

    Raises:
        InputError: There is no such engine, it is not installed, the server is down, or the folder is another
            process's, another engine's, of another size, or broken.
    """
    if kind == "memory":
        from crossgraph.store.memory import MemoryStore

        return MemoryStore(size, folder)
    if kind == "edge":
        from crossgraph.store.edge import EdgeStore

        if folder is None:
            raise InputError("the engine 'edge' keeps its index on disk", "name a folder, or use the engine 'memory'")
        return EdgeStore(folder, size)
    if "://" in kind:
        from crossgraph.store.qdrant import connect

        return connect(kind, size, folder)
    raise _unknown(kind)


def check_engine(kind: str) -> None:
    """Check that an engine can be opened, before anything is made for it.

    Args:
        kind: As `open_store` takes it.

    Raises:
        InputError: There is no such engine, or the server is down or refuses.
    """
    if "://" in kind:
        from crossgraph.store.qdrant import check_server

        check_server(kind)
    elif kind not in ENGINES:
        raise _unknown(kind)


def _unknown(kind: str) -> InputError:
    return InputError(f"--store {kind}: no such engine", f"{did_you_mean(kind, ENGINES)}; or write http://host:6333")
