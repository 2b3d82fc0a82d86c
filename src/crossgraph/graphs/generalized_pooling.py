"""Generalized pooling operator (GPO, Chen et al., CVPR 2021, section 3): learned weights of sorted values.

Every feature's values over the items are sorted, and the k-th largest gets weight θ_k: (1, 0, 0, …) would be the
maximum, even weights the mean. θ depends on the number of items alone.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from crossgraph.graphs.normalization import at_least_float32, masked_softmax

SIZE = 32  # of a position's code, and of the GRU over positions; as in the paper
TEMPERATURE = 0.1


class GeneralizedPooling(nn.Module):
    """θ = softmax(w · BiGRU(positions) / 0.1) over as many positions as there are items; Σ_k θ_k · k-th largest."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(SIZE, SIZE, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(SIZE, 1, bias=False)

    def forward(self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "n dim"]:
        """Return the pooled real items."""
        counts = mask.sum(dim=1)
        descending = (
            items.masked_fill(~mask[..., None], torch.finfo(items.dtype).min).sort(dim=1, descending=True).values
        )
        real = torch.arange(items.shape[1], device=items.device) < counts[:, None]
        weights = self.weights(counts, items.shape[1]).to(items.dtype)
        return (descending.masked_fill(~real[..., None], 0) * weights[..., None]).sum(dim=1)

    def weights(self, counts: Int[Tensor, " n"], longest: int) -> Float[Tensor, "n item"]:
        """Return θ for each number of items (at least 1), padded with zeros to `longest`."""
        lengths, row_of = counts.clamp(min=1).unique(return_inverse=True)
        codes = position_codes(longest, counts.device).to(self.linear.weight.dtype).expand(len(lengths), -1, -1)
        packed = pack_padded_sequence(codes, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=longest)
        logits = at_least_float32(self.linear((states[..., :SIZE] + states[..., SIZE:]) / 2).squeeze(-1))
        real = torch.arange(longest, device=counts.device) < lengths[:, None]
        return masked_softmax(logits / TEMPERATURE, real)[row_of]

    def shares(self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "n item dim"]:
        """Return each value's weight: `forward` returns Σ_items shares · items."""
        filled = items.masked_fill(~mask[..., None], torch.finfo(items.dtype).min)
        ranks = filled.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        weights = self.weights(mask.sum(dim=1), items.shape[1])
        return weights[..., None].expand(*weights.shape, items.shape[-1]).gather(1, ranks) * mask[..., None]


def position_codes(count: int, device: torch.device | str = "cpu") -> Float[Tensor, "position code"]:
    """Return sines (even columns) and cosines (odd columns) of positions from 0, by wavelengths up to 10,000."""
    position = torch.arange(count, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, SIZE, 2, device=device, dtype=torch.float32) * (-math.log(10_000.0) / SIZE))
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(1)
