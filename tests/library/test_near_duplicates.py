"""Near-duplicates, kept up to date: the same groups as if all pictures were grouped at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossgraph.data.near_duplicates import NEAR, group_alike
from crossgraph.library.manifest import Manifest
from crossgraph.library.near_duplicates import close_pairs, delete_pictures, group_new


def changed(code: bytes, bits: list[int]) -> bytes:
    """Return a hash with some bits turned over."""
    number = int.from_bytes(code, "big")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(16, "big")


@st.composite
def hashes(draw: st.DrawFn) -> list[bytes | None]:
    """Draw hashes of which many are alike, directly or by others, and some lie at the very edge of being so."""
    made: list[bytes | None] = []
    for _ in range(draw(st.integers(1, 14))):
        known = [code for code in made if code is not None]
        if draw(st.integers(0, 9)) == 0:
            made.append(None)
        elif not known or draw(st.integers(0, 3)) == 0:
            made.append(draw(st.binary(min_size=16, max_size=16)))
        else:
            bits = draw(st.lists(st.integers(0, 127), min_size=0, max_size=NEAR + 2, unique=True))
            made.append(changed(draw(st.sampled_from(known)), bits))
    return made


def add(manifest: Manifest, codes: list[bytes | None]) -> list[int]:
    """Add pictures with some hashes; return their ids."""
    ids: list[int] = []
    with manifest.transaction() as connection:
        for code in codes:
            (count,) = connection.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()
            query = "INSERT INTO pictures (sha256, state, hash, added) VALUES (?, 'ready', ?, '') RETURNING id"
            ids.append(connection.execute(query, (f"{count}-{len(ids)}", code)).fetchone()[0])
    return ids


def at_once(manifest: Manifest) -> dict[int, int]:
    """Return the groups that come out when all pictures are grouped at once."""
    known = manifest.hashes()
    groups = group_alike([code for _, code in known])
    return {number: known[group][0] for (number, _), group in zip(known, groups, strict=True)}


def kept(manifest: Manifest) -> dict[int, int | None]:
    return {row[0]: row[1] for row in manifest.connection.execute("SELECT id, alike FROM pictures")}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return Manifest(tmp_path_factory.mktemp("library"), create=True)


@settings(max_examples=60, deadline=None)
@given(codes=hashes(), data=st.data())
def test_pictures_that_come_and_go_leave_the_groups_of_those_that_are_there(manifest, codes, data):
    manifest.connection.execute("DELETE FROM pictures")
    ids: list[int] = []
    while codes:
        some = data.draw(st.integers(1, len(codes)))
        ids += add(manifest, codes[:some])
        codes = codes[some:]
        assert group_new(manifest) > 0
        assert kept(manifest) == at_once(manifest)
        gone = data.draw(st.lists(st.sampled_from(ids), unique=True, max_size=3)) if ids else []
        with manifest.transaction() as connection:
            delete_pictures(connection, gone)
        ids = [number for number in ids if number not in gone]
        if data.draw(st.booleans()):
            group_new(manifest)
            assert kept(manifest) == at_once(manifest)


def test_what_is_grouped_is_not_looked_at_again(manifest):
    manifest.connection.execute("DELETE FROM pictures")
    add(manifest, [bytes(16), None, bytes(16)])
    assert group_new(manifest) == 3
    assert group_new(manifest) == 0


def test_every_pair_of_up_to_eleven_bits_is_found_and_none_beyond():
    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (1, 16), dtype=np.uint8)
    near = [random.choice(128, count, replace=False) for count in range(NEAR + 3) for _ in range(20)]
    rows = [codes[0].tobytes(), *(changed(codes[0].tobytes(), bits.tolist()) for bits in near)]
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)
    found = {other for one, others in pairs_of(table, 1).items() for other in others}
    assert found == {1 + row for row, bits in enumerate(near) if len(bits) <= NEAR}


def pairs_of(codes: np.ndarray, first: int) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for ones, others in close_pairs(codes, first):
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            found.setdefault(one, set()).add(other)
    return found


def test_thousands_of_the_same_look_do_not_fill_the_memory(manifest, monkeypatch):
    monkeypatch.setattr("crossgraph.library.near_duplicates._MAX_PAIRS", 1000)
    manifest.connection.execute("DELETE FROM pictures")
    ids = add(manifest, [bytes(16)] * 300)
    group_new(manifest)
    assert set(kept(manifest).values()) == {min(ids)}
