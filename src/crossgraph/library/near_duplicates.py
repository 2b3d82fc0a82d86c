"""Groups pictures that look nearly the same: new pictures are compared with all, old groups stay.

Two pictures are alike when few bits of their difference hashes differ, and the groups are the connected components
of such pairs. A new picture can only merge groups; a deleted one can only split its own. So a picture whose
group is not known (`alike` is NULL in the manifest) is compared with all others, and the groups of pictures that
go away are made unknown. The result is that of `crossgraph.data.near_duplicates.group_alike` among all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64, UInt8, UInt32

from crossgraph.data.near_duplicates import BITS, NEAR
from crossgraph.library.manifest import Manifest
from crossgraph.progress import ProgressCallback

_BANDS = (NEAR + 1) // 2  # with so many bands and at most NEAR differing bits, one band differs in at most one
_MAX_PAIRS = 1 << 20  # compared in one call
_MANY = 5000  # progress is reported from so many on
_ONES = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


def group_new(manifest: Manifest, report: ProgressCallback = lambda what, done, total: None) -> int:
    """Assign a group to every picture without one; return how many there were.

    Args:
        manifest: Its caller holds the library's lock.
        report: Progress callback.
    """
    query = "SELECT id, hash FROM pictures WHERE state = 'ready' AND alike IS NULL ORDER BY id"
    fresh = [(row[0], row[1]) for row in manifest.connection.execute(query)]
    if not fresh:
        return 0
    hashed = [(number, value) for number, value in fresh if value is not None]
    query = "SELECT alike, hash FROM pictures WHERE state = 'ready' AND alike IS NOT NULL AND hash IS NOT NULL"
    known = [(row[0], row[1]) for row in manifest.connection.execute(query)] if hashed else []
    rows = [*hashed, *known]
    codes = np.frombuffer(b"".join(value for _, value in rows), np.uint8).reshape(-1, BITS // 8)
    merged = _merge(np.array([label for label, _ in rows], np.int64), codes, len(hashed), report)
    with manifest.transaction() as connection:
        changed = [(merged.get(number, number), number) for number, _ in fresh]
        connection.executemany("UPDATE pictures SET alike = ? WHERE id = ?", changed)
        numbers = {number for number, _ in fresh}
        moved = [(least, label) for label, least in merged.items() if label not in numbers]
        connection.executemany("UPDATE pictures SET alike = ? WHERE alike = ?", moved)
    return len(fresh)


def delete_pictures(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Delete pictures from a manifest, inside a transaction; their groups are made anew by the next `group_new`."""
    rows = [(number,) for number in ids]
    mates = "UPDATE pictures SET alike = NULL WHERE alike = (SELECT alike FROM pictures WHERE id = ?)"
    connection.executemany(mates, rows)
    connection.executemany("DELETE FROM pictures WHERE id = ?", rows)


def _merge(
    labels: Int64[np.ndarray, " picture"],
    codes: UInt8[np.ndarray, "picture byte"],
    fresh: int,
    report: ProgressCallback,
) -> dict[int, int]:
    """Return, for every label that becomes another, the least label of its connected component.

    Args:
        labels: Groups; of the first `fresh` pictures, which have none, their ids.
        codes: Their hashes.
        fresh: How many are compared with all.
        report: Progress callback.
    """
    names, nodes = np.unique(labels, return_inverse=True)
    parents = np.arange(len(names))  # a union-find forest; a root is its own parent
    for first, second in close_pairs(codes, fresh, report):
        low, high = parents[nodes[first]], parents[nodes[second]]
        apart = low != high
        if not apart.any():
            continue
        pairs = np.unique(np.stack([low[apart], high[apart]], axis=1), axis=0)
        for one, other in pairs.tolist():
            roots = sorted((_root(parents, one), _root(parents, other)))
            parents[roots[1]] = roots[0]
        while (shorter := parents[parents]).tobytes() != parents.tobytes():
            parents = shorter
    return {int(names[node]): int(names[root]) for node, root in enumerate(parents.tolist()) if node != root}


def _root(parents: Int64[np.ndarray, " label"], node: int) -> int:
    while (parent := int(parents[node])) != node:
        node = parent
    return node


def close_pairs(
    codes: UInt8[np.ndarray, "picture 16"], first: int, report: ProgressCallback = lambda what, done, total: None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of pairs that are alike, in chunks; a pair may come several times, and in either order.

    Hashes that differ in at most NEAR bits have a band of bits in which they differ by at most one, so only pictures
    whose band is equal, or equal but for one flipped bit, are compared in full.


    Args:
        codes: Hashes.
        first: So many of the first are compared with all.
        report: Progress callback.
    """
    words = np.ascontiguousarray(codes).view(np.uint16)
    bits = np.array_split(np.arange(BITS), _BANDS)
    steps = BITS + _BANDS
    done = 0
    for band in bits:
        keys = _keys(codes, band)
        order = np.argsort(keys, kind="stable")
        ordered, wanted = keys[order], keys[:first]
        for flip in (0, *(1 << bit for bit in range(len(band)))):
            probe = wanted ^ np.uint32(flip)
            starts = np.searchsorted(ordered, probe, "left")
            ends = np.searchsorted(ordered, probe, "right")
            for rows, slots in _expand_ranges(starts, ends):
                others = order[slots]
                near = _ONES[words[rows] ^ words[others]].sum(axis=1, dtype=np.uint8) <= NEAR
                near &= rows != others
                if near.any():
                    yield rows[near], others[near]
            done += 1
            if first >= _MANY:
                report("finding near-duplicates", done, steps)


def _keys(codes: UInt8[np.ndarray, "picture byte"], band: np.ndarray) -> UInt32[np.ndarray, " picture"]:
    """Return the bits of a band as one number a picture."""
    keys = np.zeros(len(codes), np.uint32)
    for shift, bit in enumerate(band.tolist()):
        keys |= ((codes[:, bit // 8] >> (7 - bit % 8)) & 1).astype(np.uint32) << np.uint32(shift)
    return keys


def _expand_ranges(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (row, slot) for every slot from a row's start to its end, a bounded number at a time."""
    rows = np.flatnonzero(ends > starts)
    counts = (ends - starts)[rows]
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(rows):
        before = totals[begin - 1] if begin else 0
        until = max(begin + 1, int(np.searchsorted(totals, before + _MAX_PAIRS, "right")))
        chunk, lengths = rows[begin:until], counts[begin:until]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield np.repeat(chunk, lengths), np.repeat(starts[chunk], lengths) + offsets
        begin = until
