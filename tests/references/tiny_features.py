"""Feature files for tests: shards and bottom-up-attention tables of random numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossgraph.data.shards import EncoderInfo, Picture, ShardWriter

REGIONS, WIDTH = 3, 4


def write_shards(folder: Path, ids: Sequence[str], broken: Sequence[str] = (), contents: Sequence[str] = ()) -> Path:
    """Write a feature folder; picture i holds the number i everywhere."""
    with ShardWriter(folder, EncoderInfo("toy", "ab", WIDTH, REGIONS), 4) as writer:
        for number, name in enumerate(ids):
            picture = Picture(name, 8, 8, contents[number] if contents else name)
            writer.append(picture, np.full((REGIONS, WIDTH), number), np.zeros((REGIONS, 4)))
        writer.finish(ids, [(name, "not a picture") for name in broken])
    return folder


def table_line(name: str, regions: int, value: float, size: tuple[int, int] = (10, 20), width: int = WIDTH) -> bytes:
    """Return a line of a bottom-up-attention table; all its features are `value`."""
    boxes = np.tile(np.array([0, 5, 5, 10], "<f4"), (regions, 1))
    numbers = (boxes, np.full((regions, width), value, "<f4"))
    fields = [name, *map(str, size), str(regions), *(base64.b64encode(a.tobytes()).decode() for a in numbers)]
    return "\t".join(fields).encode() + b"\n"
