"""Parts of words and regions in a dot product, as alignments of models with one vector a side.

Where v = Σ_i a_i over regions and t = Σ_j b_j over words, the score is v · t = Σ_ij a_i · b_j: region i and word j
contribute a_i · b_j, which may be negative. Linear pooling gives a_i directly; of a recurrent read-out, a_i is the
change that item i made in the state (`increments`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def increments(states: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
    """Return the change that each item made in a recurrent state; the changes add up to the last state."""
    return torch.cat([states[:1], states[1:] - states[:-1]])


def shares_of_score(
    regions: Float[Tensor, "region dim"],
    words: Float[Tensor, "word dim"],
    region_mask: Bool[Tensor, " region"],
    whole: Float[Tensor, " dim"] | None = None,
) -> tuple[Float[Tensor, "word region"], Float[Tensor, " word"]]:
    """Return shares of words and regions in a dot product; parts that lower the score count as 0.

    Args:
        regions: a_i.
        words: b_j, of real words alone.
        region_mask: True where a region is real.
        whole: v, if the regions' parts do not add up to it.

    Returns:
        Each word's shares of the regions, which sum to 1 (even shares where no region raised the word's part), and
        each word's share of the score; these sum to 1, or are all 0 where no word raised the score.
    """
    parts = (words @ regions.T).float().masked_fill(~region_mask, 0)
    positive = parts.clamp(min=0)
    total = positive.sum(dim=1, keepdim=True)
    even = (region_mask / region_mask.sum()).to(parts.dtype).expand_as(parts)
    weights = torch.where(total > 0, positive / total.clamp(min=torch.finfo(parts.dtype).tiny), even)
    of_words = (parts.sum(dim=1) if whole is None else (words @ whole).float()).clamp(min=0)
    return weights, of_words / of_words.sum().clamp(min=torch.finfo(parts.dtype).tiny)
