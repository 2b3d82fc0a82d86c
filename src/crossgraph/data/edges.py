"""Dependency edges of a split's captions: some million small pairs, kept in two flat arrays."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.files import read_text

_REMEDY = "one list of [head, dependent] pairs per caption is expected; make it again or move it away"


class PackedEdges(Sequence[list[tuple[int, int]]]):
    """Lists of (head, dependent) token positions, made when asked for.

    Args:
        flat: Heads and dependents in turn.
        starts: Where each caption's pairs begin, counted in pairs; one more than captions.
    """

    def __init__(self, flat: np.ndarray, starts: np.ndarray) -> None:
        self._pairs, self._starts = flat.reshape(-1, 2), starts

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self._starts) - 1

    @overload
    def __getitem__(self, caption: int) -> list[tuple[int, int]]: ...
    @overload
    def __getitem__(self, caption: slice) -> list[list[tuple[int, int]]]: ...
    def __getitem__(self, caption: int | slice) -> Any:
        """Return one caption's pairs, or several captions' for a slice."""
        if isinstance(caption, slice):
            return [self[row] for row in range(*caption.indices(len(self)))]
        row = range(len(self))[caption]
        return [
            (int(head), int(dependent)) for head, dependent in self._pairs[self._starts[row] : self._starts[row + 1]]
        ]


def read_edges(path: Path, captions: int) -> PackedEdges:
    """Read `<split>_caps.json`: per caption a list of pairs, the first of which is the root and skipped.

    Positions count from 1 because token 0 is `<start>`: they are positions in the encoded caption.

    Raises:
        InputError: It is no such file, or holds another number of captions.
    """
    flat, starts = array("h"), array("q", [0])
    try:
        for entry in _entries(read_text(path)):
            for pair in entry[1:]:
                head, dependent = pair
                if head < 0 or dependent < 0:
                    raise ValueError(f"negative position in {pair}")
                flat.extend((head, dependent))
            starts.append(len(flat) // 2)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise InputError(f"{path}: caption {len(starts)}: not dependency edges ({error})", _REMEDY) from error
    if len(starts) - 1 != captions:
        raise InputError(f"{path}: edges of {len(starts) - 1:,} captions, there are {captions:,}", _REMEDY)
    return PackedEdges(np.array(flat, dtype=np.int16), np.array(starts, dtype=np.int64))


def _entries(text: str) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one: the whole as Python lists would fill gigabytes."""
    decoder = json.JSONDecoder()
    place = _skip(text, 0)
    if text[place : place + 1] != "[":
        raise ValueError("no JSON list")
    place = _skip(text, place + 1)
    while text[place : place + 1] != "]":
        entry, place = decoder.raw_decode(text, place)
        yield entry
        place = _skip(text, place)
        if text[place : place + 1] == ",":
            place = _skip(text, place + 1)
        elif text[place : place + 1] != "]":
            raise ValueError("truncated")


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place
