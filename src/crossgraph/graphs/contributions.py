"""Alignments of models that compare one vector a side: what each word and region put into the dot product.

Where v = Σ_i a_i over regions and t = Σ_j b_j over words, the score v · t is Σ_ij a_i · b_j, so that every word and
region have a part in it, which may be negative. A linear pooling gives a_i as it is; of a recurrent read-out it is
what reading item i changed (`increments`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def increments(states: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
    """Return what each item changed in a running vector; they add up to the last state."""
    return torch.cat([states[:1], states[1:] - states[:-1]])


def shares_of_score(
    regions: Float[Tensor, "region dim"],
    words: Float[Tensor, "word dim"],
    region_mask: Bool[Tensor, " region"],
    whole: Float[Tensor, " dim"] | None = None,
) -> tuple[Float[Tensor, "word region"], Float[Tensor, " word"]]:
    """Turn parts of a dot product into shares; parts that lower the score count nothing.

    Args:
        regions: a_i.
        words: b_j, of real words alone.
        region_mask: True where a region is real.
        whole: v, where the regions' parts do not add up to it.

    Returns:
        Each word's shares of the regions, which sum to 1 (even where no region raised the word's part), and each
        word's share of the score, which sum to 1 (or are all 0 where no word raised it).
    """
    parts = (words @ regions.T).float().masked_fill(~region_mask, 0)
    raising = parts.clamp(min=0)
    total = raising.sum(dim=1, keepdim=True)
    even = (region_mask / region_mask.sum()).to(parts.dtype).expand_as(parts)
    weights = torch.where(total > 0, raising / total.clamp(min=torch.finfo(parts.dtype).tiny), even)
    of_words = (parts.sum(dim=1) if whole is None else (words @ whole).float()).clamp(min=0)
    return weights, of_words / of_words.sum().clamp(min=torch.finfo(parts.dtype).tiny)
