"""Self-attention pooling of one side to its global vector (SGRAF section "global alignment", after DAN).

weights = softmax_i(w · (l_i ∘ g)), with l_i from each item and g from the items' mean; the global vector
is l2norm(Σ weights_i x_i).
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.normalization import BatchNorm, l2norm, masked_mean, masked_softmax

RegionNorm = Literal["feature", "region"]


class TextualSelfAttention(nn.Module):
    """Pools a caption's real words to its global vector; no batch normalisation."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.local = nn.Linear(dim, dim)
        self.summary = nn.Linear(dim, dim)
        self.common = nn.Linear(dim, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, items: Float[Tensor, "n item dim"], mask: Bool[Tensor, "n item"]) -> Float[Tensor, "n dim"]:
        """Pool the real items to one unit vector."""
        local = self.dropout(torch.tanh(self.normalise_local(self.local(items), mask)))
        summary = self.dropout(torch.tanh(self.normalise_summary(self.summary(masked_mean(items, mask)))))
        logits = self.common(local * summary[:, None]).squeeze(-1)
        weights = masked_softmax(logits, mask)
        return l2norm((weights[:, :, None] * items).sum(dim=1))

    def normalise_local(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return each item's projection; a hook, here the identity."""
        return x

    def normalise_summary(self, x: Tensor) -> Tensor:
        """Return the mean item's projection; a hook, here the identity."""
        return x

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"common.bias": "the same for all items under a softmax"}


class VisualSelfAttention(TextualSelfAttention):
    """Pools a picture's real regions to its global vector, with batch normalisation.

    Args:
        dim: Size of the region embeddings.
        dropout: Probability of dropping an activation.
        norm: "feature": statistics per feature over all real regions, any number of regions. "region":
            per region index, as published; then a picture must have exactly `regions` regions.
        regions: Number of regions; needed for "region" alone.
    """

    def __init__(self, dim: int, dropout: float, norm: RegionNorm, regions: int | None) -> None:
        super().__init__(dim, dropout)
        self.norm: RegionNorm = norm
        if norm == "region":
            if regions is None:
                raise ValueError("region_norm 'region' needs a fixed number of regions")
            self.local_norm = BatchNorm(regions, axis=1)
        else:
            self.local_norm = BatchNorm(dim)
        self.summary_norm = BatchNorm(dim)

    def normalise_local(self, x: Tensor, mask: Tensor) -> Tensor:
        """Normalise each region's projection over the batch.

        Raises:
            ValueError: The number of regions is not the published one ("region" alone).
        """
        channels = self.local_norm.weight.numel()
        if self.norm == "region" and x.shape[1] != channels:
            raise ValueError(f"this model takes exactly {channels} regions a picture, got {x.shape[1]}")
        return self.local_norm(x, mask[:, :, None])

    def normalise_summary(self, x: Tensor) -> Tensor:
        """Normalise the mean region's projection over the batch."""
        return self.summary_norm(x)

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        names = ("summary.bias", "local.bias") if self.norm == "feature" else ("summary.bias",)
        return super().dead_parameters() | dict.fromkeys(names, "batch norm subtracts it")
