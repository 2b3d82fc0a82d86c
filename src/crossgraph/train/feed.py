"""Batches of matched pairs for one process, from any point of any epoch on."""

from __future__ import annotations

import math
import signal
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.models.base import Batch
from crossgraph.text.packing import PackedCaptions
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.config import Recipe


class Feed:
    """Draws every caption of a split once an epoch, with its picture.

    The order is a pure function of the seed and the epoch, so a place in it is two numbers. With several
    processes each takes its share of every batch; the whole batch is what one process would have had. While a batch
    is used the next one is read: by a thread, or ahead of that by as many processes as `workers` says.

    Args:
        split: Learned from.
        vocabulary: Turns captions into rows.
        recipe: Its `batch`, `seed` and `workers`.
        rank: This process.
        ranks: Number of processes.

    Raises:
        InputError: The batch cannot be shared evenly, or the split has too few captions for one.
    """

    def __init__(self, split: Split, vocabulary: Vocabulary, recipe: Recipe, rank: int = 0, ranks: int = 1) -> None:
        if recipe.batch % ranks:
            raise InputError(f"batch is {recipe.batch} for {ranks} processes", f"give a multiple of {ranks}")
        if len(split.captions) < 2 * ranks:
            raise InputError(
                f"{split.source}: too few captions to learn from ({len(split.captions)})",
                "give more captioned pictures",
            )
        self._split, self._seed, self._batch, self._workers = split, recipe.seed, recipe.batch, recipe.workers
        self._rank, self._ranks = rank, ranks
        self._pairs = _Pairs(split, vocabulary)
        captions = len(split.captions)
        self.batches_per_epoch = captions // self._batch + (captions % self._batch >= 2 * ranks)

    def batches(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Yield this process's share of the batches of an epoch, from batch `start` on."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._split.captions))
        rows = [self._share(order, number) for number in range(start, self.batches_per_epoch)]
        if self._workers == 0:
            yield from map(_given, _one_ahead(self._pairs, rows))
            return
        loader: Iterable[Batch | InputError] = DataLoader(
            self._pairs,
            batch_size=None,
            sampler=rows,
            num_workers=min(self._workers, max(1, len(rows))),
            prefetch_factor=2,
            worker_init_fn=_leave_interrupts,
            generator=torch.Generator(),  # or the loader draws from the generator that training resumes
        )
        yield from map(_given, loader)

    def _share(self, order: Int64[np.ndarray, " caption"], number: int) -> Int64[np.ndarray, " pair"]:
        whole = order[number * self._batch : (number + 1) * self._batch]
        each = math.floor(len(whole) / self._ranks)
        return whole[self._rank * each : (self._rank + 1) * each]


class _Pairs(Dataset[Batch | InputError]):
    """Makes a batch from caption rows, in whichever process it is asked.

    What cannot be read is returned rather than raised: a loader would turn its line into a traceback.
    """

    def __init__(self, split: Split, vocabulary: Vocabulary) -> None:
        self._caption_image, self._features = split.caption_image, split.features
        self._captions = PackedCaptions(vocabulary, split.captions, split.edges)

    def __getitem__(self, rows: Any) -> Batch | InputError:
        images = self._caption_image[rows]
        try:
            regions = self._features.read(images)  # refuses NaN; a second look here would fragment memory
        except InputError as error:
            return error
        return Batch(
            regions, self._captions.tokens(rows), torch.from_numpy(np.ascontiguousarray(images, dtype=np.int64))
        )


def _one_ahead(pairs: _Pairs, rows: Sequence[Int64[np.ndarray, " pair"]]) -> Generator[Batch | InputError]:
    """Read each batch in a thread while the one before it is used; never more than that one.

    Reading draws no random numbers, so that it does not matter when it happens. Whoever stops early waits for the
    batch that is being read.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="reading") as reader:
        begun = (reader.submit(pairs.__getitem__, some) for some in rows)
        coming = next(begun, None)
        while coming is not None:
            batch = coming.result()
            coming = next(begun, None)
            yield batch


def _given(batch: Batch | InputError) -> Batch:
    if isinstance(batch, InputError):
        raise batch
    return batch


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the first decides when the loader ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
