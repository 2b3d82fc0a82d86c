"""Padded batches of encoded captions, and packed storage of many captions in flat arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import torch

from crossgraph.core.types import Tokens
from crossgraph.text.vocabulary import EncodedCaption, Vocabulary

Edges = Sequence[Sequence[tuple[int, int]]]


def collate(encoded: Sequence[EncodedCaption], edges: Edges | None = None) -> Tokens:
    """Return captions as one batch, padded to the longest one.

    Args:
        encoded: At least one caption.
        edges: Dependency edges of each, as token positions; by default from the captions' parser.

    Returns:
        Ids (n, L) padded with 0, lengths (n), offsets (n, L, 2), edges (n, E, 2) padded with -1.

    Raises:
        ValueError: There is no caption.
    """
    if not encoded:
        raise ValueError("no caption to collate")
    lengths = torch.tensor([len(caption.ids) for caption in encoded])
    longest = int(lengths.max())
    ids = torch.zeros(len(encoded), longest, dtype=torch.int64)
    offsets = torch.zeros(len(encoded), longest, 2, dtype=torch.int64)
    for row, caption in enumerate(encoded):
        ids[row, : len(caption.ids)] = torch.tensor(caption.ids)
        offsets[row, : len(caption.offsets)] = torch.tensor(caption.offsets)
    if edges is None and all(caption.parse is not None for caption in encoded):
        edges = [caption.parse() for caption in encoded if caption.parse is not None]
    return Tokens(ids, lengths, offsets, None if edges is None else _pad_edges(edges))


class PackedCaptions:
    """The encoded captions of a split, in two flat int32 arrays instead of hundreds of thousands of lists.

    Args:
        vocabulary: Encodes them.
        captions: The sentences.
        edges: Dependency edges of each, as token positions; None without edges. The vocabulary's parser is not used.

    Attributes:
        lengths: Tokens of each caption, `<start>` and `<end>` included.
        unknown_share: Share of words that the vocabulary lacks.
    """

    def __init__(self, vocabulary: Vocabulary, captions: Iterable[str], edges: Edges | None = None) -> None:
        ids, offsets, lengths = array("i"), array("i"), array("q")
        unknown = 0
        for caption in captions:
            encoded = vocabulary.encode(caption)
            ids.extend(encoded.ids)
            offsets.extend(chain.from_iterable(encoded.offsets))
            lengths.append(len(encoded.ids))
            unknown += len(encoded.unknown)
        self.lengths = np.array(lengths, dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids = np.array(ids, dtype=np.int32)
        self._offsets = np.array(offsets, dtype=np.int32).reshape(-1, 2)
        self._edges = edges
        self.unknown_share = unknown / max(1, len(ids) - 2 * len(lengths))

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self.lengths)

    def tokens(self, rows: Sequence[int] | np.ndarray) -> Tokens:
        """Return captions by their rows, in the given order, padded to the longest.

        Raises:
            ValueError: No row is given.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if not len(rows):
            raise ValueError("no caption to collate")
        lengths = self.lengths[rows]
        position = self._starts[rows][:, None] + np.arange(lengths.max())
        real = np.arange(lengths.max()) < lengths[:, None]
        position = np.where(real, position, 0)
        ids = np.where(real, self._ids[position], 0).astype(np.int64)
        offsets = np.where(real[:, :, None], self._offsets[position], 0).astype(np.int64)
        edges = None if self._edges is None else _pad_edges([self._edges[row] for row in rows])
        return Tokens(torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(offsets), edges)


def _pad_edges(edges: Edges) -> torch.Tensor:
    padded = torch.full((len(edges), max(map(len, edges), default=0), 2), -1, dtype=torch.int64)
    for row, pairs in enumerate(edges):
        if pairs:
            padded[row, : len(pairs)] = torch.tensor(pairs)
    return padded
