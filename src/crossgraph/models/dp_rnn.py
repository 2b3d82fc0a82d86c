"""DP-RNN after its description: a GRU over regions in the order in which the caption names them. Unverified.

Chen, Luo: "Expressing Objects just like Words: Recurrent Visual Embedding for Image-Text Matching", AAAI 2020, arXiv
2002.08510.

No code of the authors is public. The paper gives: SCAN's cross matching; the regions ordered by the position of their
most related word, and a Bi-GRU over them that makes new region features; weights of words and of objects where the
cosines are aggregated; three stages of training (the matching; the recurrent part beside the frozen matching; all).
What it does not give is ours: a weight is a softmax over a learned linear layer on the word or the new region, regions
with the same word are ordered by their affinity, old and new features are added, and both directions count alike. The
stages are a matter of recipes: `recurrent: none` is the model of the first one.

What is unusual:
- Regions have no order of their own. They get the caption's, so that a picture is encoded again for every caption: each
  pair costs a GRU over its regions.
- The order itself is not learned: sorting has no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossgraph.core.ranges import Positive
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import (
    Comparison,
    Fragments,
    PairAttention,
    affinities,
    as_regions,
    as_words,
    attend,
    cosines_with_attended,
)
from crossgraph.graphs.normalization import at_least_float32, l2norm, masked_softmax
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.dp_rnn import FastDPRNN
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.fragments import BidirectionalMatcher, FragmentConfig
from crossgraph.text.recurrence import run_gru

Recurrent = Literal["sentence", "none"]


@dataclass(frozen=True)
class DPRNNConfig(FragmentConfig):
    """DP-RNN's choices; SCAN's where the paper gives none."""

    recurrent: Recurrent = "sentence"  # a Bi-GRU over regions in the caption's order; "none": the first stage
    smooth: Positive = 9.0  # λ of words attending to regions
    region_smooth: Positive = 4.0  # λ of regions attending to words


@dataclass(frozen=True)
class WeightedComparison(Comparison):
    """A direction whose queries have learned weights.

    Attributes:
        query_weights: Each query's weight in the score; sums to 1 over the real queries.
    """

    query_weights: Float[Tensor, "group #img #txt query"]

    @property
    def score(self) -> Float[Tensor, "group img txt"]:
        """The weighted mean cosine."""
        return (self.similarity * self.query_weights).sum(dim=-1)

    def first_pair(self) -> PairAttention:
        """Return the attention of the first pair."""
        return PairAttention(self.weights[0, 0, 0], self.query_weights[0, 0, 0])


@MODELS.register("dp-rnn")
class DPRNN(BidirectionalMatcher):
    """SCAN on regions read by a GRU in the caption's order. Unverified: built after a description."""

    status = "unverified"
    Config = DPRNNConfig
    paper = (
        "Chen and Luo, Expressing Objects just like Words: Recurrent Visual Embedding, AAAI 2020 "
        "(after the description, unverified)"
    )
    config: DPRNNConfig

    def __init__(self, config: DPRNNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.read_regions = nn.GRU(d, d, batch_first=True, bidirectional=True) if config.recurrent != "none" else None
        self.word_weight, self.object_weight = nn.Linear(d, 1, bias=False), nn.Linear(d, 1, bias=False)

    def new_regions(self, regions: Fragments, words: Fragments) -> Fragments:
        """Return the regions of every pair after the GRU over them in the caption's order."""
        if self.read_regions is None:
            return regions
        pairs = (len(words.vectors), regions.vectors.shape[1], words.vectors.shape[2])
        vectors = regions.vectors.expand(*pairs, -1, -1).flatten(0, 2)
        order, real = self.reading_order(words, regions)
        ordered = vectors.gather(1, order[..., None].expand_as(vectors))
        states = run_gru(self.read_regions, ordered, real.sum(dim=1).clamp(min=1))
        back = order.argsort(dim=1)[..., None].expand_as(vectors)
        read = states.gather(1, back)
        return Fragments(l2norm(vectors + read).unflatten(0, pairs), real.unflatten(0, pairs))

    def reading_order(
        self, words: Fragments, regions: Fragments
    ) -> tuple[Int64[Tensor, "pair region"], Bool[Tensor, "pair region"]]:
        """Return each pair's order of regions, see `sentence_order`, and the mask of real ones."""
        affinity = affinities(words, regions)
        pairs = affinity.shape[:3]
        real_words, real = (side.mask.expand(*pairs, -1).flatten(0, 2) for side in (words, regions))
        return sentence_order(affinity.flatten(0, 2), real_words, real), real

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, WeightedComparison]:
        """Return both directions, "t2i" and "i2t"; their affinities are each other's transpose."""
        words = as_words(texts)
        return self.directions(words, self.new_regions(as_regions(images), words))

    def directions(self, words: Fragments, regions: Fragments) -> dict[str, WeightedComparison]:
        """Return both directions of words and regions after the GRU."""
        affinity = affinities(words, regions)
        return {
            "t2i": _compare(affinity, words, regions, self.config.smooth, self.word_weight),
            "i2t": _compare(affinity.transpose(-1, -2), regions, words, self.config.region_smooth, self.object_weight),
        }

    def add_directions(self, pairs: Mapping[str, Comparison]) -> Float[Tensor, "group img txt"]:
        """Return the mean of both directions."""
        return super().add_directions(pairs) / 2

    def score_fragments(self, words: Fragments, regions: Fragments) -> Float[Tensor, "group img txt"]:
        """Score words with regions after the GRU."""
        return self.add_directions(self.directions(words, regions))

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/dp_rnn.py`; the model itself without a GRU over regions."""
        return self if self.read_regions is None else FastDPRNN(self, self.read_regions, precision)


def _compare(
    affinity: Tensor, queries: Fragments, contexts: Fragments, smooth: float, weight: nn.Module
) -> WeightedComparison:
    weights = attend(affinity, queries, contexts, smooth)
    counts = masked_softmax(at_least_float32(weight(queries.vectors).squeeze(-1)), queries.mask)
    cosines = cosines_with_attended(affinity, weights, queries, contexts)
    return WeightedComparison(weights, cosines, queries.mask, counts)


@torch.no_grad()
def sentence_order(
    affinity: Float[Tensor, "pair word region"], words: Bool[Tensor, "pair word"], regions: Bool[Tensor, "pair region"]
) -> Int64[Tensor, "pair region"]:
    """Return the regions sorted by the position of their most related word; padding comes last.

    Regions of the same word are sorted by affinity, so that the stored order has no effect.

    Args:
        affinity: Of words and regions.
        words: True where a word is real.
        regions: True where a region is real.
    """
    best, position = affinity.masked_fill(~words[..., None], -torch.inf).max(dim=1)
    by_affinity = best.argsort(dim=1, descending=True, stable=True)
    position = position.masked_fill(~regions, affinity.shape[1])
    return by_affinity.gather(1, position.gather(1, by_affinity).argsort(dim=1, stable=True))
