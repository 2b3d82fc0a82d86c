"""Batches: every caption once an epoch, the same whoever reads them and from wherever they begin."""

from __future__ import annotations

import dataclasses
import queue
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references.tiny_pairs import MemoryFeatures, tiny_split, write_precomp

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data import open_data
from crossgraph.data.split import FeatureSource
from crossgraph.models.base import Batch
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.feed import Feed

SPLIT = tiny_split("train", 20)  # 40 captions
VOCABULARY = Vocabulary.build(SPLIT.captions, 1)


def feed(batch: int = 8, seed: int = 0, workers: int = 0, rank: int = 0, ranks: int = 1) -> Feed:
    return Feed(SPLIT, VOCABULARY, batch, seed, workers, rank, ranks)


class Noted:
    """Features that tell of every read."""

    def __init__(self, features: FeatureSource, reads: queue.SimpleQueue[int]) -> None:
        self._features, self._reads = features, reads

    def __getattr__(self, name: str) -> object:
        return getattr(self._features, name)

    def read(self, rows: np.ndarray) -> Regions:
        self._reads.put(len(rows))
        return self._features.read(rows)


class Failing(Noted):
    """Features that break down after some reads."""

    def __init__(self, features: FeatureSource, after: int) -> None:
        super().__init__(features, queue.SimpleQueue())
        self._left = after

    def read(self, rows: np.ndarray) -> Regions:
        self._left -= 1
        return super().read(rows[: len(rows) // int(self._left >= 0)])


def noting(reads: queue.SimpleQueue[int]) -> Feed:
    return Feed(dataclasses.replace(SPLIT, features=Noted(SPLIT.features, reads)), VOCABULARY, 8)


def captions(batch: Batch) -> list[tuple[int, ...]]:
    return [(int(image), *ids.tolist()) for image, ids in zip(batch.image_ids, batch.tokens.ids, strict=True)]


def flat(batches: list[Batch]) -> list[tuple[int, ...]]:
    return [tuple(i for i in caption if i) for batch in batches for caption in captions(batch)]


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(
        torch.equal(a.regions.features, b.regions.features) and torch.equal(a.tokens.ids, b.tokens.ids)
        for a, b in pairs
    )


def test_every_caption_comes_once_with_its_own_picture() -> None:
    batches = list(feed().batches(0))
    assert len(batches) == feed().batches_per_epoch == 5
    seen = sorted(flat(batches))
    rows = [VOCABULARY.encode(caption).ids for caption in SPLIT.captions]
    wanted = [
        tuple(i for i in (image, *ids) if i) for image, ids in zip(SPLIT.caption_image.tolist(), rows, strict=True)
    ]
    assert seen == sorted(wanted)
    assert isinstance(SPLIT.features, MemoryFeatures)
    for batch in batches:
        assert np.array_equal(batch.regions.features.numpy(), SPLIT.features.array[batch.image_ids.numpy()])


@given(epoch=st.integers(0, 3), start=st.integers(0, 5), seed=st.integers(0, 2**31))
def test_any_place_of_any_epoch_can_be_gone_to(epoch: int, start: int, seed: int) -> None:
    whole = list(feed(seed=seed).batches(epoch))
    assert same(list(feed(seed=seed).batches(epoch, start)), whole[start:])


def test_the_order_changes_with_epoch_and_seed() -> None:
    orders = [flat(list(feed(seed=seed).batches(epoch))) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


@given(batch=st.integers(1, 12), ranks=st.integers(1, 3))
def test_shares_of_several_processes_make_the_batches_of_one(batch: int, ranks: int) -> None:
    size = max(2, batch) * ranks
    whole = list(feed(size).batches(0))
    shares = [list(feed(size, rank=rank, ranks=ranks).batches(0)) for rank in range(ranks)]
    assert all(len(share) == feed(size, ranks=ranks).batches_per_epoch for share in shares)
    for number, parts in enumerate(zip(*shares, strict=True)):
        assert len({len(part.tokens) for part in parts}) == 1
        joined = flat(list(parts))
        assert joined == flat([whole[number]])[: len(joined)]
        assert len(whole[number].tokens) - len(joined) < ranks  # the last batch may not divide


def test_workers_bring_the_same_batches_and_draw_no_random_numbers() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert same(list(feed(workers=2).batches(1, 2)), list(feed().batches(1, 2)))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_cannot_read_is_still_one_line(tmp_path: Path, workers: int) -> None:
    data = write_precomp(tmp_path / "tiny_precomp", {"train": 20})
    features = np.load(data / "train_ims.npy")
    features[3] = np.inf
    np.save(data / "train_ims.npy", features)
    split = open_data(data, log=lambda line: None).split("train")
    with pytest.raises(InputError, match=r"^\S+train_ims\.npy: picture '3' \(row 3\) holds NaN or infinite") as caught:
        list(Feed(split, VOCABULARY, 8, workers=workers).batches(0))
    assert "\n" not in str(caught.value)


def test_the_next_batch_is_read_while_one_is_used_and_no_other() -> None:
    reads: queue.SimpleQueue[int] = queue.SimpleQueue()
    batches = noting(reads).batches(0)
    next(batches)
    assert [reads.get(timeout=60), reads.get(timeout=60)] == [8, 8]  # the second without being asked for
    with pytest.raises(queue.Empty):
        reads.get(timeout=0.2)
    next(batches)
    assert reads.get(timeout=60) == 8


@pytest.mark.parametrize("stop", ["close", "drop", "interrupt"])
def test_whoever_stops_early_leaves_no_thread_behind(stop: str) -> None:
    before = threading.active_count()
    batches = noting(queue.SimpleQueue()).batches(0)
    next(batches)
    assert threading.active_count() == before + 1
    if stop == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt())
    elif stop == "close":
        batches.close()
    del batches
    assert threading.active_count() == before


def test_an_error_of_reading_comes_when_its_batch_is_asked_for() -> None:
    features = Failing(SPLIT.features, after=2)
    batches = Feed(dataclasses.replace(SPLIT, features=features), VOCABULARY, 8).batches(0)
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="batch is 9 for 2 processes: give a multiple of 2"):
        feed(9, ranks=2)
    lonely = dataclasses.replace(SPLIT, captions=SPLIT.captions[:1], caption_image=SPLIT.caption_image[:1])
    with pytest.raises(InputError, match=r"too few captions to learn from \(1\)"):
        Feed(lonely, VOCABULARY, 8)
