"""HSC's self-attention among the words of a caption before the GRU, which weakens uninformative words.

x ← x + (1/N) tanh(W_l x) tanh(W_g x)ᵀ tanh(W_v x): every word gets messages from every word, weighed by products
instead of a softmax. N is the caption's own length and padding is excluded. The authors' code divides by the padded
length and includes padding, so that a caption's vectors depend on its batch; for captions of one length both agree.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.text.encoder import Direction, RecurrentTextEncoder


class WordAttention(nn.Module):
    """One layer of self-attention.

    Args:
        size: Size of a word's vector.
        dropout: Probability of dropping a feature of any of the three projections.
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.local = nn.Linear(size, size)
        self.overall = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, words: Float[Tensor, "txt word size"], mask: Bool[Tensor, "txt word"]
    ) -> Float[Tensor, "txt word size"]:
        """Return the words after messages from all real words; rows of padding are finite and meaningless."""
        local, overall, value = (self.dropout(layer(words).tanh()) for layer in (self.local, self.overall, self.value))
        share = mask.to(words.dtype) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return words + ((local @ overall.transpose(1, 2)) * share[:, None, :].to(local.dtype)) @ value


class AttentiveTextEncoder(RecurrentTextEncoder):
    """Embedding → dropout → self-attention layers → Bi-GRU.

    Args:
        vocabulary: Entries of the vocabulary.
        word_size: Size of a word's embedding.
        size: Size of a word's contextual vector, d.
        direction: "both" (Bi-GRU) or "forward".
        dropout: Probability of dropping an embedding's feature.
        layers: Number of self-attention layers.
        attention_dropout: Probability of dropping a feature in them.
    """

    def __init__(
        self,
        vocabulary: int,
        word_size: int,
        size: int,
        direction: Direction,
        dropout: float,
        layers: int,
        attention_dropout: float,
    ) -> None:
        super().__init__(vocabulary, word_size, size, direction, dropout)
        self.attention = nn.ModuleList(WordAttention(word_size, attention_dropout) for _ in range(layers))

    def refine(
        self, embedded: Float[Tensor, "txt word size"], mask: Bool[Tensor, "txt word"]
    ) -> Float[Tensor, "txt word size"]:
        """Return the embeddings after the self-attention layers."""
        for layer in self.attention:
            embedded = layer(embedded, mask)
        return embedded
