"""Recurrent text encoder: learned word embeddings and a GRU over them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import Tokens
from crossgraph.text.recurrence import run_gru, run_gru_shared_prefixes

Direction = Literal["both", "forward"]


class RecurrentTextEncoder(nn.Module):
    """Embedding → dropout → one-layer GRU, packed by length; two directions are averaged.

    On a CPU, in training and for captions of equal length without gradients, the faster equivalent GRU of
    `crossgraph.text.recurrence` is used.

    Args:
        vocabulary: Entries of the vocabulary.
        word_size: Size of a word's embedding; drawn uniformly from ±0.1.
        size: Size of a word's contextual vector, d.
        direction: "both" (Bi-GRU) or "forward".
        dropout: Probability of dropping an embedding's feature.
    """

    def __init__(self, vocabulary: int, word_size: int, size: int, direction: Direction, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, word_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(word_size, size, batch_first=True, bidirectional=direction == "both")

    def forward(self, tokens: Tokens) -> Float[Tensor, "txt word dim"]:
        """Return contextual word vectors; rows of padding are zero."""
        if self._shares_prefixes() and bool((tokens.lengths == tokens.ids.shape[1]).all()):
            unique_ids, words = tokens.ids.unique(return_inverse=True)
            return run_gru_shared_prefixes(self.gru, self.embedding(unique_ids), words)
        embedded = self.refine(self.dropout(self.embedding(tokens.ids)), tokens.mask)
        return run_gru(self.gru, embedded, tokens.lengths)

    def refine(
        self, embedded: Float[Tensor, "txt word size"], mask: Bool[Tensor, "txt word"]
    ) -> Float[Tensor, "txt word size"]:
        """Return the embeddings that the GRU reads; a hook for subclasses, here the identity."""
        return embedded

    def _shares_prefixes(self) -> bool:
        """Return whether equal prefixes have equal states: no dropout, and no word changes another's embedding."""
        independent = type(self).refine is RecurrentTextEncoder.refine
        return (
            independent
            and not (self.training or torch.is_grad_enabled())
            and self.embedding.weight.device.type == "cpu"
        )
