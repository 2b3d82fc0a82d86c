"""Groups of pictures that look nearly the same, kept up to date: what is new meets all, what is old stays.

Two pictures are alike when few bits of their difference hashes differ, and a group is what hangs together by such
pairs. A picture that joins can only merge groups; one that goes away can only split its own. So a picture whose
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
_AT_ONCE = 1 << 20  # pairs compared at a time
_MANY = 5000  # fewer are found before anyone wonders
_ONES = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)


def group_new(manifest: Manifest, report: ProgressCallback = lambda what, done, total: None) -> int:
    """Give every picture without a group its group; return how many there were.

    Args:
        manifest: Its caller holds the library's lock.
        report: Hears how far it is.
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
    """Delete pictures from a manifest, inside a transaction; what was alike to them is grouped anew next time."""
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
    """Return, for every label that becomes another, the least label it hangs together with.

    Args:
        labels: Groups; of the first `fresh` pictures, which have none, their ids.
        codes: Their hashes.
        fresh: How many are compared with all.
        report: Hears how far it is.
    """
    names, positions = np.unique(labels, return_inverse=True)
    roots = np.arange(len(names))
    for first, second in close_pairs(codes, fresh, report):
        low, high = roots[positions[first]], roots[positions[second]]
        apart = low != high
        if not apart.any():
            continue
        pairs = np.unique(np.stack([low[apart], high[apart]], axis=1), axis=0)
        for one, other in pairs.tolist():
            ends = sorted((_root(roots, one), _root(roots, other)))
            roots[ends[1]] = ends[0]
        while (shorter := roots[roots]).tobytes() != roots.tobytes():
            roots = shorter
    return {int(names[position]): int(names[root]) for position, root in enumerate(roots.tolist()) if position != root}


def _root(roots: Int64[np.ndarray, " label"], position: int) -> int:
    while (above := int(roots[position])) != position:
        position = above
    return position


def close_pairs(
    codes: UInt8[np.ndarray, "picture 16"], first: int, report: ProgressCallback = lambda what, done, total: None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of pairs that are alike, some at a time; a pair may come several times, and either way round.

    Args:
        codes: Hashes.
        first: So many of the first are compared with all.
        report: Hears how far it is.
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
            for one, position in _expanded(starts, ends):
                other = order[position]
                near = _ONES[words[one] ^ words[other]].sum(axis=1, dtype=np.uint8) <= NEAR
                near &= one != other
                if near.any():
                    yield one[near], other[near]
            done += 1
            if first >= _MANY:
                report("finding near-duplicates", done, steps)


def _keys(codes: UInt8[np.ndarray, "picture byte"], band: np.ndarray) -> UInt32[np.ndarray, " picture"]:
    """Return the bits of a band as one number a picture."""
    keys = np.zeros(len(codes), np.uint32)
    for position, bit in enumerate(band.tolist()):
        keys |= ((codes[:, bit // 8] >> (7 - bit % 8)) & 1).astype(np.uint32) << np.uint32(position)
    return keys


def _expanded(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (row, position) for every position from a row's start to its end, a bounded number at a time."""
    rows = np.flatnonzero(ends > starts)
    counts = (ends - starts)[rows]
    totals = np.cumsum(counts)
    begin = 0
    while begin < len(rows):
        before = totals[begin - 1] if begin else 0
        until = max(begin + 1, int(np.searchsorted(totals, before + _AT_ONCE, "right")))
        some, many = rows[begin:until], counts[begin:until]
        offsets = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        yield np.repeat(some, many), np.repeat(starts[some], many) + offsets
        begin = until
