"""VSRN's caption generation from regions, an auxiliary training loss (ICCV 2019, section 3.4).

A GRU reads the regions; a second one predicts the caption word by word from the correct words so far (teacher
forcing), with attention over the first GRU's states. Only the loss is used; no caption is generated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import Tokens
from crossgraph.graphs.normalization import at_least_float32, masked_softmax
from crossgraph.graphs.sequence_readout import SequenceReadout


class CaptionWriter(nn.Module):
    """Caption generator: a GRU encoder of regions and an attention decoder of words.

    Args:
        dim: Size of a region.
        vocabulary: Entries of the vocabulary.
        word_size: Size of the word embeddings.
        size: Of both recurrent networks' states.
        dropout: Probability of dropping a feature of what either network reads.
    """

    def __init__(self, dim: int, vocabulary: int, word_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Linear(dim, size)
        nn.init.xavier_normal_(self.narrow.weight)
        self.read = SequenceReadout(size)
        self.embedding = nn.Embedding(vocabulary, word_size)
        self.attend_region = nn.Linear(size, size)
        self.attend_state = nn.Linear(size, size, bias=False)
        self.attend = nn.Linear(size, 1, bias=False)
        self.write = nn.GRUCell(word_size + size, size)
        self.to_words = nn.Linear(size, vocabulary)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, regions: Float[Tensor, "n region dim"], mask: Bool[Tensor, "n region"], tokens: Tokens
    ) -> Float[Tensor, ""]:
        """Return the negative log likelihood of the captions, summed over all their words after `<start>`.

        Args:
            regions: Of one picture for each caption.
            mask: True where a region is real.
            tokens: The captions.
        """
        read = self.read.states(self.dropout(self.narrow(regions)), mask)
        last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1)
        state, keys = read[torch.arange(len(read), device=read.device), last], self.attend_region(read)
        words, states = self.embedding(tokens.ids), []
        for position in range(tokens.ids.shape[1] - 1):
            logits = self.attend(torch.tanh(keys + self.attend_state(state)[:, None])).squeeze(-1)
            context = (masked_softmax(logits, mask)[..., None] * read).sum(dim=1)
            state = self.write(self.dropout(torch.cat([words[:, position], context], dim=1)), state)
            states.append(state)
        real = tokens.mask[:, 1:]
        predictions = at_least_float32(self.to_words(torch.stack(states, dim=1)[real]))
        return F.cross_entropy(predictions, tokens.ids[:, 1:][real], reduction="sum")
