"""BFAN: bidirectional focal attention.

Liu, Mao, Liu, Zhang, Wang, Zhang: "Focus Your Attention: A Bidirectional Focal Attention Network for Image-Text
Matching", ACM Multimedia 2019, arXiv 1909.11416.

What is unusual:
- SCAN's attention both ways, and after it a cut: a context keeps its share only where that is large beside the
  others' ("equal": above the mean; "prob": others count by the root of their share). What stays sums to 1 again.
- The cut is a step without gradient: scores jump where a share crosses it, and low precision may move it.
- Both directions are added, so that scores span −2..2. Nothing is learned behind the encoders.
- Where no share stands out (one word, equal regions) the published code divides 0 by 0. Ours keeps all.
- Published scores with a star are the mean of an "equal" and a "prob" model's score matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    Fragments,
    affinities,
    aggregate,
    as_regions,
    as_words,
    attend,
    cosines_with_seen,
    importance,
)
from crossgraph.models.base import MODELS
from crossgraph.models.fragments import (
    FragmentConfig,
    FragmentMatcher,
    Look,
    above_zero,
    chosen,
    encoder_fields,
    encoder_inputs,
    encoder_key,
    explain,
    number,
    translated,
)
from crossgraph.models.published import IMPORTERS, PublishedModel

Focus = Literal["equal", "prob"]
_SAME = 1e-6  # shares that differ by less, of themselves, are equal


@dataclass(frozen=True)
class BFANConfig(FragmentConfig):
    """BFAN's choices."""

    smooth: float = 20.0  # λ of both attentions
    focus: Focus = "prob"  # how the others count when a share is judged

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1, or λ not above 0.
        """
        super().__post_init__()
        above_zero(self, "smooth")


@dataclass(frozen=True)
class Direction:
    """One direction of a block of pairs.

    Attributes:
        first: SCAN's shares.
        kept: Which of them stay.
        weights: The shares after the cut.
        likeness: Each query's cosine with what it saw then.
        mask: True where a query is real.
    """

    first: Float[Tensor, "group img txt query context"]
    kept: Bool[Tensor, "group img txt query context"]
    weights: Float[Tensor, "group img txt query context"]
    likeness: Float[Tensor, "group img txt query"]
    mask: Bool[Tensor, "group #img #txt query"]

    @property
    def part(self) -> Float[Tensor, "group img txt"]:
        """What the direction adds to the score."""
        return aggregate(self.likeness, self.mask, "mean")

    def look(self) -> Look:
        """Return the first pair's attention, to be explained."""
        parts = importance(self.likeness[0, 0, 0], self.mask[0, 0, 0], "mean")
        return Look(self.weights[0, 0, 0], parts)


@MODELS.register("bfan")
class BFAN(FragmentMatcher):
    """Focal attention of words on regions and of regions on words."""

    Config = BFANConfig
    paper = "Liu et al., Focus Your Attention: A Bidirectional Focal Attention Network, ACM Multimedia 2019"
    config: BFANConfig

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, Direction]:
        """Return both directions, "t2i" and "i2t"; their affinities are each other's transpose."""
        words, regions = as_words(texts), as_regions(images)
        affinity = affinities(words, regions)
        return {
            "t2i": self._look(affinity, words, regions),
            "i2t": self._look(affinity.transpose(-1, -2), regions, words),
        }

    def _look(self, affinity: Tensor, queries: Fragments, contexts: Fragments) -> Direction:
        first = attend(affinity, queries, contexts, self.config.smooth)
        kept = stand_out(first, contexts.mask.unsqueeze(-2), self.config.focus)
        weights = first * kept
        weights = weights / weights.sum(dim=-1, keepdim=True)
        likeness = cosines_with_seen(affinity, weights, queries, contexts)
        return Direction(first, kept, weights, likeness, queries.mask)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: the sum of both directions' mean cosines."""
        pairs = self.compare(images, texts)
        return pairs["t2i"].part + pairs["i2t"].part

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by what is left of both directions' attention: their mean, see `explain`."""
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        score = pairs["t2i"].part + pairs["i2t"].part
        return explain(image, text, score, t2i=pairs["t2i"].look(), i2t=pairs["i2t"].look())


@torch.no_grad()
def stand_out(
    shares: Float[Tensor, "group img txt query context"],
    mask: Bool[Tensor, "group #img #txt #query context"],
    focus: Focus,
) -> Bool[Tensor, "group img txt query context"]:
    """Tell which shares stay: Σ_j (p_i − p_j) g_j > 0, with g = 1 ("equal") or √p_j ("prob").

    Args:
        shares: p; they sum to 1 over the real contexts.
        mask: True where a context is real.
        focus: What g is.

    Returns:
        True where a share stays; at least the largest, and all real ones where all are equal.
    """
    weights = mask.to(shares.dtype).expand_as(shares) if focus == "equal" else shares.sqrt()
    lead = shares * weights.sum(dim=-1, keepdim=True) - (shares * weights).sum(dim=-1, keepdim=True)
    # the largest share leads always, though by less than rounding where it is nearly all; equal ones lead together
    largest = shares >= shares.amax(dim=-1, keepdim=True) * (1 - _SAME)
    return ((lead > 0) | largest) & mask


@IMPORTERS.register("bfan")
def import_bfan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint: image and text encoder; which focus it was trained with, its options say.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = translated(states, encoder_key, source)
    focuses: dict[str, Focus] = {"equal": "equal", "prob": "prob"}
    config = BFANConfig(
        **encoder_fields(weights, options, source),
        smooth=number(options, "lambda_softmax", 20.0, source),
        focus=chosen(options, "focal_type", focuses, "prob", source),
    )
    return PublishedModel("bfan", config, encoder_inputs(weights, source), weights)
