"""Batches of matched pairs for one process, from any position of any epoch on."""

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

_MORE_PICTURES = "give more captioned pictures"


class Feed:
    """Draws every caption of a split once an epoch, with its picture.

    The order is a pure function of seed and epoch, so that an epoch and a number of batches name a position in it.
    With several processes each takes its share of every batch; the whole batch is what one process would have had.
    While a batch is used the next one is read: by a thread, or ahead of that by `workers` processes.

    Args:
        split: Learned from.
        vocabulary: Turns captions into rows.
        batch: Pairs of a batch, over all processes.
        seed: Of the order.
        workers: Loader processes; 0 reads in a thread.
        rank: This process.
        ranks: Number of processes.

    Raises:
        InputError: The batch cannot be shared evenly, or the split has too few captions for one.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        batch: int,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch % ranks:
            raise InputError(f"batch is {batch} for {ranks} processes", f"give a multiple of {ranks}")
        captions = len(split.captions)
        if captions < 2 * ranks:
            raise InputError(f"{split.source}: too few captions to learn from ({captions})", _MORE_PICTURES)
        self._captions, self._batch, self._seed, self._workers = captions, batch, seed, workers
        self._rank, self._ranks = rank, ranks
        self._pairs = _Pairs(split, vocabulary)
        # A last, smaller batch counts only where every process gets two pairs: one pair has no negative.
        self.batches_per_epoch = captions // batch + (captions % batch >= 2 * ranks)

    def batches(self, epoch: int, start: int = 0) -> Generator[Batch]:
        """Yield this process's share of the batches of an epoch, from batch `start` on."""
        order = np.random.default_rng([self._seed, epoch]).permutation(self._captions)
        rows = [self._share(order, number) for number in range(start, self.batches_per_epoch)]
        loader: Iterable[Batch | InputError] = _read_ahead(self._pairs, rows)
        if self._workers:
            loader = DataLoader(
                self._pairs,
                batch_size=None,
                sampler=rows,
                num_workers=min(self._workers, max(1, len(rows))),
                prefetch_factor=2,
                worker_init_fn=_ignore_interrupts,
                generator=torch.Generator(),  # or the loader draws from the generator that training resumes
            )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch

    def _share(self, order: Int64[np.ndarray, " caption"], number: int) -> Int64[np.ndarray, " pair"]:
        whole = order[number * self._batch : (number + 1) * self._batch]
        each = math.floor(len(whole) / self._ranks)
        return whole[self._rank * each : (self._rank + 1) * each]


class _Pairs(Dataset[Batch | InputError]):
    """Makes a batch from caption rows, in the training process or in a loader's.

    An `InputError` is returned rather than raised: a loader would turn its line into a traceback.
    """

    def __init__(self, split: Split, vocabulary: Vocabulary) -> None:
        self._caption_image, self._features = split.caption_image, split.features
        self._captions = PackedCaptions(vocabulary, split.captions, split.edges)

    def __getitem__(self, rows: Any) -> Batch | InputError:
        images = self._caption_image[rows]
        try:
            regions = self._features.read(images)  # refuses NaN; checking again here would fragment memory
        except InputError as error:
            return error
        return Batch(
            regions, self._captions.tokens(rows), torch.from_numpy(np.ascontiguousarray(images, dtype=np.int64))
        )


def _read_ahead(pairs: _Pairs, rows: Sequence[Int64[np.ndarray, " pair"]]) -> Generator[Batch | InputError]:
    """Read each batch in a thread while the one before it is used, and never more than that one.

    Reading draws no random numbers, so that it does not matter when it happens. Closing the generator waits for the
    batch that is being read.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="reading") as reader:
        futures = (reader.submit(pairs.__getitem__, share) for share in rows)
        upcoming = next(futures, None)
        while upcoming is not None:
            batch = upcoming.result()
            upcoming = next(futures, None)
            yield batch


def _ignore_interrupts(worker: int) -> None:
    """Ignore SIGINT: Ctrl-C reaches all processes of a terminal, and the first one ends the loader."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
