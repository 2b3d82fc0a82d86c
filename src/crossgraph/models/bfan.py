"""BFAN: bidirectional focal attention.

Liu, Mao, Liu, Zhang, Wang, Zhang: "Focus Your Attention: A Bidirectional Focal Attention Network for Image-Text
Matching", ACM Multimedia 2019, arXiv 1909.11416.

What is unusual:
- SCAN's attention in both directions, then a cut: a context keeps its share only if that is large compared with the
  others' ("equal": above the mean; "prob": the others are weighed by the root of their share). The rest is normalised
  to sum to 1 again.
- The cut is a step without gradient: scores jump where a share crosses it, and low precision may move it.
- Both directions are added, so that scores are in −2..2. Nothing is learned behind the encoders.
- Where no share is larger than the others (one word, equal regions) the published code divides 0 by 0. Ours keeps all.
- Published scores with a star are the mean of an "equal" and a "prob" model's score matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.core.ranges import Positive
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import (
    Comparison,
    Fragments,
    affinities,
    as_regions,
    as_words,
    attend,
    cosines_with_attended,
)
from crossgraph.models.base import MODELS
from crossgraph.models.fragments import BidirectionalMatcher, FragmentConfig

Focus = Literal["equal", "prob"]
_EQUAL = 1e-6  # relative difference up to which shares are equal


@dataclass(frozen=True)
class BFANConfig(FragmentConfig):
    """BFAN's choices."""

    smooth: Positive = 20.0  # λ of both attentions
    focus: Focus = "prob"  # weights of the others when a share is compared with them


@dataclass(frozen=True)
class FocalComparison(Comparison):
    """A direction whose weights are those after the cut.

    Attributes:
        shares: SCAN's weights, before the cut.
        kept: True where a share is kept.
    """

    shares: Float[Tensor, "group img txt query context"]
    kept: Bool[Tensor, "group img txt query context"]


@MODELS.register("bfan")
class BFAN(BidirectionalMatcher):
    """Focal attention of words on regions and of regions on words."""

    Config = BFANConfig
    paper = "Liu et al., Focus Your Attention: A Bidirectional Focal Attention Network, ACM Multimedia 2019"
    config: BFANConfig

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, FocalComparison]:
        """Return both directions, "t2i" and "i2t"; their affinities are each other's transpose."""
        words, regions = as_words(texts), as_regions(images)
        affinity = affinities(words, regions)
        return {
            "t2i": self._compare(affinity, words, regions),
            "i2t": self._compare(affinity.transpose(-1, -2), regions, words),
        }

    def _compare(self, affinity: Tensor, queries: Fragments, contexts: Fragments) -> FocalComparison:
        shares = attend(affinity, queries, contexts, self.config.smooth)
        kept = keep_large_shares(shares, contexts.mask.unsqueeze(-2), self.config.focus)
        weights = shares * kept
        weights = weights / weights.sum(dim=-1, keepdim=True)
        cosines = cosines_with_attended(affinity, weights, queries, contexts)
        return FocalComparison(weights, cosines, queries.mask, shares, kept)


@torch.no_grad()
def keep_large_shares(
    shares: Float[Tensor, "group img txt query context"],
    mask: Bool[Tensor, "group #img #txt #query context"],
    focus: Focus,
) -> Bool[Tensor, "group img txt query context"]:
    """Return which shares are kept: those with Σ_j (p_i − p_j) g_j > 0, where g = 1 ("equal") or √p_j ("prob").

    Args:
        shares: p; they sum to 1 over the real contexts.
        mask: True where a context is real.
        focus: The choice of g.

    Returns:
        True where a share is kept; at least the largest one, and all real ones where all are equal.
    """
    weights = mask.to(shares.dtype).expand_as(shares) if focus == "equal" else shares.sqrt()
    lead = shares * weights.sum(dim=-1, keepdim=True) - (shares * weights).sum(dim=-1, keepdim=True)
    # The largest share always leads, though by less than rounding where it is nearly 1; equal shares lead together.
    largest = shares >= shares.amax(dim=-1, keepdim=True) * (1 - _EQUAL)
    return ((lead > 0) | largest) & mask
