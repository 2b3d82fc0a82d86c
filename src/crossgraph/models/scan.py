"""SCAN: stacked cross attention.

Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018, arXiv 1803.08024.

What is unusual:
- A pair is compared fragment by fragment: each word with its attended context in the picture (t2i), or each region
  with its attended context in the caption (i2t); the score aggregates the cosines.
- The affinities are normalised over the *queries* before the softmax over the contexts.
- Nothing is learned behind the encoders.
- LogSumExp is a sum: longer captions score higher by log(n) / λ, and scores may exceed 1.
- Published scores with a star are the mean of a t2i and an i2t model's score matrices.

The batched form never computes the attended contexts: a cosine needs only inner products, see `cosines_with_attended`.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from crossgraph.core.ranges import Positive
from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    AffinityNorm,
    Aggregation,
    AttentionDirection,
    Comparison,
    PairAttention,
    affinities,
    aggregate,
    as_regions,
    as_words,
    attend,
    cosines_with_attended,
    importance,
)
from crossgraph.models.base import MODELS
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, align_directions


@dataclass(frozen=True)
class SCANConfig(FragmentConfig):
    """SCAN's choices; the defaults are the paper's t2i AVG."""

    attention: AttentionDirection = "t2i"  # words attend to regions, or "i2t": regions attend to words
    smooth: Positive = 9.0  # λ of the attention; published: 9 for t2i, 4 for i2t
    affinity_norm: AffinityNorm = "clipped_l2norm"  # over the queries
    aggregation: Aggregation = "mean"  # of the queries' cosines
    aggregation_smooth: Positive = 6.0  # λ of "lse"; published: 6 for t2i, 5 (Flickr30K) or 20 (COCO) for i2t


@MODELS.register("scan")
class SCAN(FragmentMatcher):
    """Stacked cross attention, t2i or i2t."""

    Config = SCANConfig
    paper = "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018"
    config: SCANConfig

    def compare(self, images: ImageCode, texts: TextCode) -> Comparison:
        """Return the cosine of every query and its attended context (Eq. 4, 8), and the attention weights."""
        queries, contexts = as_words(texts), as_regions(images)
        if self.config.attention == "i2t":
            queries, contexts = contexts, queries
        affinity = affinities(queries, contexts)
        weights = attend(affinity, queries, contexts, self.config.smooth, self.config.affinity_norm)
        return Comparison(weights, cosines_with_attended(affinity, weights, queries, contexts), queries.mask)

    def read(self, pairs: Comparison) -> Float[Tensor, "group img txt"]:
        """Return the scores: the aggregated cosines of the queries."""
        return aggregate(pairs.similarity, pairs.mask, self.config.aggregation, self.config.aggregation_smooth)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(self.compare(images, texts))

    def parts(self, pairs: Comparison) -> Float[Tensor, "group img txt query"]:
        """Return how much each query counted in the score; sums to 1."""
        mask = pairs.mask.expand(pairs.similarity.shape)
        return importance(pairs.similarity, mask, self.config.aggregation, self.config.aggregation_smooth)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by its attention and by each query's importance in the aggregation."""
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        attention = PairAttention(pairs.weights[0, 0, 0], self.parts(pairs)[0, 0, 0])
        return align_directions(image, text, self.read(pairs), **{self.config.attention: attention})
