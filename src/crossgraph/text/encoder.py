"""Words to vectors: learned embeddings and a recurrent network over them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import Tokens
from crossgraph.text.recurrence import read_both_ways, read_in_common

Direction = Literal["both", "forward"]


class RecurrentTextEncoder(nn.Module):
    """Embedding → dropout → one-layer GRU, packed by length; two directions are averaged.

    While it trains on a CPU, or reads captions of equal length without gradients, the GRU is that of
    `crossgraph.text.recurrence`, which is the same, faster.

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
        if self._reads_words_alone() and bool((tokens.lengths == tokens.ids.shape[1]).all()):
            known, words = tokens.ids.unique(return_inverse=True)
            return read_in_common(self.gru, self.embedding(known), words)
        embedded = self.refine(self.dropout(self.embedding(tokens.ids)), tokens.mask)
        return read_both_ways(self.gru, embedded, tokens.lengths)

    def refine(
        self, embedded: Float[Tensor, "txt word size"], mask: Bool[Tensor, "txt word"]
    ) -> Float[Tensor, "txt word size"]:
        """Change the embeddings before the GRU reads them; a subclass's hook, here the identity."""
        return embedded

    def _reads_words_alone(self) -> bool:
        """Tell whether equal beginnings have equal states: nothing is drawn, and no word changes another's vector."""
        alone = type(self).refine is RecurrentTextEncoder.refine
        return alone and not (self.training or torch.is_grad_enabled()) and self.embedding.weight.device.type == "cpu"

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters without a training gradient by construction: none."""
        return {}
