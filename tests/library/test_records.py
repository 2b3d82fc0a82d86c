"""Codes on disk: what goes in comes out, and what a kill leaves does no harm."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.library import records as module
from crossgraph.library.manifest import RecordPosition
from crossgraph.library.records import Layout, Shards, are_whole, pack, unpack


def drawn(count: int = 5, seed: int = 0) -> tuple[np.ndarray, ImageCode]:
    random = torch.Generator().manual_seed(seed)
    local = torch.nn.functional.normalize(torch.randn(count, 4, 16, generator=random), dim=2)
    mask = torch.ones(count, 4, dtype=torch.bool)
    mask[0, 3] = False
    index = torch.nn.functional.normalize(torch.randn(count, 8, generator=random), dim=1)
    return index.numpy(), ImageCode(local, mask, parts={"global": torch.randn(count, 16, generator=random)})


@pytest.mark.parametrize(("kind", "loss"), [("float16", 5e-4), ("int8", 8e-3)])
def test_codes_come_back_but_for_a_small_loss(kind, loss):
    index, code = drawn()
    layout = Layout.of(index, code, kind)
    found = pack(layout, index, code)
    back = unpack(Layout.from_json(layout.to_json()), found)
    assert np.array_equal(found["index"], index)
    assert torch.equal(back.mask, code.mask)
    assert torch.allclose(back.parts["global"], code.parts["global"], atol=2e-3)
    assert float((back.local - code.local).norm(dim=2).max()) < loss


def test_int8_takes_about_half_the_bytes():
    big = Layout(256, (49, 1024), (), "float16").dtype.itemsize
    assert 0.5 < Layout(256, (49, 1024), (), "int8").dtype.itemsize / big < 0.52


def test_a_region_of_zeros_stays_one():
    index, code = drawn()
    code.local[0] = 0
    layout = Layout.of(index, code, "int8")
    assert not unpack(layout, pack(layout, index, code)).local[0].any()


def test_codes_of_another_size_are_refused():
    index, code = drawn()
    with pytest.raises(ValueError, match="layout"):
        pack(Layout(9, (4, 16), ()), index, code)


def test_one_changed_bit_is_noticed():
    index, code = drawn()
    found = pack(Layout.of(index, code), index, code)
    assert are_whole(found).all()
    found.view(np.uint8).reshape(len(found), -1)[2, 77] ^= 4
    assert are_whole(found).tolist() == [True, True, False, True, True]


@pytest.fixture
def small(monkeypatch) -> int:
    monkeypatch.setattr(module, "ROWS", 3)
    return 3


def test_records_fill_one_file_after_the_other(tmp_path, small):
    index, code = drawn(8)
    layout = Layout.of(index, code)
    shards = Shards(tmp_path / "codes", layout.dtype)
    written = pack(layout, index, code)
    places = shards.append(written[:2], RecordPosition(0, 0, 0)) + shards.append(written[2:], RecordPosition(0, 0, 2))
    assert [(place.shard, place.row) for place in places] == [(n // 3, n % 3) for n in range(8)]
    order = [7, 0, 4, 4]
    assert np.array_equal(shards.read([places[n] for n in order]), written[order])


def test_what_a_killed_run_left_is_cut_off(tmp_path):
    index, code = drawn(6)
    layout = Layout.of(index, code)
    written = pack(layout, index, code)
    shards = Shards(tmp_path, layout.dtype)
    shards.append(written[:4], RecordPosition(0, 0, 0))
    with shards.path(0, 0).open("ab") as file:
        file.write(b"half a record")
    assert shards.rows(0, 0) == 4
    shards.read([RecordPosition(0, 0, 3)])  # mapped at its old length
    places = shards.append(written[4:], RecordPosition(0, 0, 2))
    assert shards.rows(0, 0) == 4
    assert np.array_equal(shards.read([RecordPosition(0, 0, 1), *places]), written[[1, 4, 5]])


@pytest.mark.parametrize("rows", [0, 2])
def test_a_short_or_missing_file_says_what_to_do(tmp_path, rows):
    index, code = drawn(3)
    layout = Layout.of(index, code)
    shards = Shards(tmp_path, layout.dtype)
    if rows:
        shards.append(pack(layout, index, code)[:rows], RecordPosition(0, 0, 0))
    with pytest.raises(InputError, match="crossgraph library verify"):
        shards.read([RecordPosition(0, 0, 2)])


def test_one_field_is_read_alone(tmp_path, small):
    index, code = drawn(10)
    layout = Layout.of(index, code)
    shards = Shards(tmp_path, layout.dtype)
    places = shards.append(pack(layout, index, code), RecordPosition(0, 0, 0))
    some = [places[row] for row in (7, 0, 3, 3)]
    np.testing.assert_array_equal(shards.read(some, "index"), index[[7, 0, 3, 3]])
    np.testing.assert_array_equal(shards.read(some, "mask"), shards.read(some)["mask"])
