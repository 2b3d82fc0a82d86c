"""DP-RNN after its description: regions in the order in which the sentence names them, read by a GRU. Unverified.

Chen, Luo: "Expressing Objects just like Words: Recurrent Visual Embedding for Image-Text Matching", AAAI 2020, arXiv
2002.08510.

No code of the authors is public. The record gives: SCAN's cross matching; the regions ordered by the place of their
most related word, and a Bi-GRU over them that makes new region features; weights of words and of objects where the
cosines are brought together; three stages of training (the matching; the recurrent part beside the frozen matching;
all). What it does not give is ours: a weight is a softmax over a learned linear reading of the word or the new region,
regions with one word in common stand in the order of their affinity, old and new features are added, and both
directions count alike. The stages are a matter of recipes: `recurrent: none` is the first one's model.

What is unusual:
- Regions have no order of their own. They get the sentence's, so that a picture is encoded anew for every caption: each
  pair costs a GRU over its regions.
- The order itself learns nothing: sorting has no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    Fragments,
    affinities,
    as_regions,
    as_words,
    attend,
    cosines_with_seen,
)
from crossgraph.graphs.normalization import at_least_float32, l2norm, masked_softmax
from crossgraph.models.base import MODELS, Inputs, Scorer
from crossgraph.models.dp_rnn_folded import FoldedDPRNN
from crossgraph.models.folded import Precision
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, Look, above_zero, explain
from crossgraph.text.recurrence import read_both_ways

Recurrent = Literal["sentence", "none"]


@dataclass(frozen=True)
class DPRNNConfig(FragmentConfig):
    """DP-RNN's choices; SCAN's where the record gives none."""

    recurrent: Recurrent = "sentence"  # regions in the sentence's order through a Bi-GRU; "none": the first stage
    smooth: float = 9.0  # λ of words looking at regions
    region_smooth: float = 4.0  # λ of regions looking at words

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1, or a λ not above 0.
        """
        super().__post_init__()
        above_zero(self, "smooth", "region_smooth")


@dataclass(frozen=True)
class Direction:
    """One direction of a block of pairs.

    Attributes:
        weights: What each query looked at.
        likeness: Each query's cosine with what it saw.
        counts: How much each query counts; sums to 1.
    """

    weights: Float[Tensor, "group img txt query context"]
    likeness: Float[Tensor, "group img txt query"]
    counts: Float[Tensor, "group #img #txt query"]

    @property
    def part(self) -> Float[Tensor, "group img txt"]:
        """The direction's score."""
        return (self.likeness * self.counts).sum(dim=-1)

    def look(self) -> Look:
        """Return the first pair's attention, to be explained."""
        return Look(self.weights[0, 0, 0], self.counts[0, 0, 0])


@MODELS.register("dp-rnn")
class DPRNN(FragmentMatcher):
    """SCAN on regions that were read in the sentence's order. Unverified: built after a description."""

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
        """Return regions that know which others the sentence names around them; for every pair anew."""
        if self.read_regions is None:
            return regions
        pairs = (len(words.vectors), regions.vectors.shape[1], words.vectors.shape[2])
        vectors = regions.vectors.expand(*pairs, -1, -1).flatten(0, 2)
        order, real = self.reading_order(words, regions)
        ordered = vectors.gather(1, order[..., None].expand_as(vectors))
        states = read_both_ways(self.read_regions, ordered, real.sum(dim=1).clamp(min=1))
        back = order.argsort(dim=1)[..., None].expand_as(vectors)
        read = states.gather(1, back)
        return Fragments(l2norm(vectors + read).unflatten(0, pairs), real.unflatten(0, pairs))

    def reading_order(
        self, words: Fragments, regions: Fragments
    ) -> tuple[Int64[Tensor, "pair region"], Bool[Tensor, "pair region"]]:
        """Return the order in which each pair's regions are read, see `sentence_order`, and which of them are real."""
        affinity = affinities(words, regions)
        pairs = affinity.shape[:3]
        named, real = (side.mask.expand(*pairs, -1).flatten(0, 2) for side in (words, regions))
        return sentence_order(affinity.flatten(0, 2), named, real), real

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, Direction]:
        """Return both directions, "t2i" and "i2t"; their affinities are each other's transpose."""
        words = as_words(texts)
        return self.directions(words, self.new_regions(as_regions(images), words))

    def directions(self, words: Fragments, regions: Fragments) -> dict[str, Direction]:
        """Return both directions of words and regions that were read already."""
        affinity = affinities(words, regions)
        return {
            "t2i": _look(affinity, words, regions, self.config.smooth, self.word_weight),
            "i2t": _look(affinity.transpose(-1, -2), regions, words, self.config.region_smooth, self.object_weight),
        }

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: the mean of both directions."""
        words = as_words(texts)
        return self.meet(words, self.new_regions(as_regions(images), words))

    def meet(self, words: Fragments, regions: Fragments) -> Float[Tensor, "group img txt"]:
        """Score words with regions that were read already."""
        pairs = self.directions(words, regions)
        return (pairs["t2i"].part + pairs["i2t"].part) / 2

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `dp_rnn_folded.py`; the model itself where no regions are read."""
        return self if self.read_regions is None else FoldedDPRNN(self, self.read_regions, precision)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by both directions' attention and the weights they count with; see `explain`.

        New region features hold something of the others, which the attention does not tell.
        """
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        score = (pairs["t2i"].part + pairs["i2t"].part) / 2
        return explain(image, text, score, t2i=pairs["t2i"].look(), i2t=pairs["i2t"].look())


def _look(affinity: Tensor, queries: Fragments, contexts: Fragments, smooth: float, weight: nn.Module) -> Direction:
    weights = attend(affinity, queries, contexts, smooth)
    counts = masked_softmax(at_least_float32(weight(queries.vectors).squeeze(-1)), queries.mask)
    return Direction(weights, cosines_with_seen(affinity, weights, queries, contexts), counts)


@torch.no_grad()
def sentence_order(
    affinity: Float[Tensor, "pair word region"], words: Bool[Tensor, "pair word"], regions: Bool[Tensor, "pair region"]
) -> Int64[Tensor, "pair region"]:
    """Return the regions in the order of their most related word's place; padding comes last.

    Where several share a word, the more related comes first, so that the stored order decides nothing.

    Args:
        affinity: Of words and regions.
        words: True where a word is real.
        regions: True where a region is real.
    """
    best, place = affinity.masked_fill(~words[..., None], -torch.inf).max(dim=1)
    by_affinity = best.argsort(dim=1, descending=True, stable=True)
    place = place.masked_fill(~regions, affinity.shape[1])
    return by_affinity.gather(1, place.gather(1, by_affinity).argsort(dim=1, stable=True))
