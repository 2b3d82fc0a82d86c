"""SCAN: stacked cross attention.

Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018, arXiv 1803.08024.

What is unusual:
- A pair is compared fragment by fragment: each word with what it attended to in the picture (t2i), or each region
  with what it attended to in the caption (i2t); the score brings the cosines together.
- The affinities are normalised over the *queries* before the softmax over what is looked at.
- Nothing is learned behind the encoders.
- LogSumExp is a sum: longer captions score higher by log(n) / λ, and scores may pass 1.
- Published scores with a star are the mean of a t2i and an i2t model's score matrices.

The batched form never makes the attended vectors: a cosine needs only inner products, see `cosines_with_seen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    AffinityNorm,
    Aggregation,
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

AttentionDirection = Literal["t2i", "i2t"]


@dataclass(frozen=True)
class SCANConfig(FragmentConfig):
    """SCAN's choices; the defaults are the paper's t2i AVG."""

    attention: AttentionDirection = "t2i"  # words look at regions, or "i2t": regions look at words
    smooth: float = 9.0  # λ of the attention; published: 9 for t2i, 4 for i2t
    affinity_norm: AffinityNorm = "clipped_l2norm"  # over the queries
    aggregation: Aggregation = "mean"  # of the queries' cosines
    aggregation_smooth: float = 6.0  # λ of "lse"; published: 6 for t2i, 5 (Flickr30K) or 20 (COCO) for i2t

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1, or a temperature that is not above 0.
        """
        super().__post_init__()
        above_zero(self, "smooth", "aggregation_smooth")


@dataclass(frozen=True)
class Compared:
    """One direction of a block of pairs.

    Attributes:
        weights: What each query looked at.
        likeness: Each query's cosine with what it saw.
        queries: Who looked.
    """

    weights: Float[Tensor, "group img txt query context"]
    likeness: Float[Tensor, "group img txt query"]
    queries: Fragments


@MODELS.register("scan")
class SCAN(FragmentMatcher):
    """Stacked cross attention, t2i or i2t."""

    Config = SCANConfig
    paper = "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018"
    config: SCANConfig

    def compare(self, images: ImageCode, texts: TextCode) -> Compared:
        """Return the cosine of every query with what it saw (Eq. 4, 8), and the attention behind it."""
        queries, contexts = as_words(texts), as_regions(images)
        if self.config.attention == "i2t":
            queries, contexts = contexts, queries
        affinity = affinities(queries, contexts)
        weights = attend(affinity, queries, contexts, self.config.smooth, self.config.affinity_norm)
        return Compared(weights, cosines_with_seen(affinity, weights, queries, contexts), queries)

    def read(self, pairs: Compared) -> Float[Tensor, "group img txt"]:
        """Bring the queries' cosines together."""
        return aggregate(pairs.likeness, pairs.queries.mask, self.config.aggregation, self.config.aggregation_smooth)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(self.compare(images, texts))

    def parts(self, pairs: Compared) -> Float[Tensor, "group img txt query"]:
        """Return how much each query counted in the score; sums to 1."""
        mask = pairs.queries.mask.expand(pairs.likeness.shape)
        return importance(pairs.likeness, mask, self.config.aggregation, self.config.aggregation_smooth)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by its attention; a word's (region's) significance is its part in the aggregation.

        See `explain` for how i2t attention is read from the words' side, and `importance` for the parts.
        """
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        look, score = Look(pairs.weights[0, 0, 0], self.parts(pairs)[0, 0, 0]), self.read(pairs)
        if self.config.attention == "t2i":
            return explain(image, text, score, t2i=look)
        return explain(image, text, score, i2t=look)


AGGREGATIONS: dict[str, Aggregation] = {"LogSumExp": "lse", "Mean": "mean", "Max": "max", "Sum": "sum"}
DIRECTIONS: dict[str, AttentionDirection] = {"t2i": "t2i", "i2t": "i2t"}
NORMS: dict[str, AffinityNorm] = {
    "clipped_l2norm": "clipped_l2norm",
    "clipped": "clipped",
    "l2norm": "l2norm",
    "softmax": "softmax",
    "no_norm": "no_norm",
}


def scan_fields(options: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the choices of a published SCAN or PFAN, of which its tensors hold no trace.

    Raises:
        InputError: An option that we do not know; the l1norms of the attention cannot run in the authors' code.
    """
    direction = chosen(options, "cross_attn", DIRECTIONS, "t2i", source)
    return {
        "attention": direction,
        "smooth": number(options, "lambda_softmax", 9.0 if direction == "t2i" else 4.0, source),
        "affinity_norm": chosen(options, "raw_feature_norm", NORMS, "clipped_l2norm", source),
        "aggregation": chosen(options, "agg_func", AGGREGATIONS, "mean", source),
        "aggregation_smooth": number(options, "lambda_lse", 6.0, source),
    }


@IMPORTERS.register("scan")
def import_scan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint: image and text encoder; nothing is learned behind them.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = translated(states, encoder_key, source)
    config = SCANConfig(**encoder_fields(weights, options, source), **scan_fields(options, source))
    return PublishedModel("scan", config, encoder_inputs(weights, source), weights)
