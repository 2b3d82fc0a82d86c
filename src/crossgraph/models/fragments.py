"""SCAN's encoders and their config, shared by its successors, and alignments from their directions of attention.

Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018: regions through one linear
layer, words through an embedding and a (Bi-)GRU, both to unit vectors, without dropout. A *fragment* is a region or a
word.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import Comparison, PairAttention
from crossgraph.graphs.cross_attention import shares_of_regions
from crossgraph.graphs.initialisation import xavier
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import Inputs, Matcher
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction


@dataclass(frozen=True)
class FragmentConfig(TextChoice):
    """Sizes and choices of the encoders."""

    text_direction: Direction = "both"  # Bi-GRU, or one direction
    image_norm: Literal["l2", "none"] = "l2"  # of region embeddings
    text_norm: Literal["l2", "none"] = "l2"  # of word embeddings
    region_layer: Literal["linear", "weight_norm"] = "linear"  # "weight_norm": one learned length for the whole matrix


class FragmentMatcher(Matcher):
    """Base of the models with SCAN's encoders; a subclass compares the fragments."""

    kind = "interaction"
    config: FragmentConfig

    def __init__(self, config: FragmentConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.project_regions = xavier(nn.Linear(self.region_width, config.embed_size))
        if config.region_layer == "weight_norm":
            parametrizations.weight_norm(self.project_regions, dim=None)  # pyright: ignore[reportArgumentType]
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, config.text_direction)

    @property
    def region_width(self) -> int:
        """Width of the region layer's input."""
        return self.inputs.feature_size

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings as `local`."""
        return self.embed_regions(regions.features, regions)

    def embed_regions(self, features: Tensor, regions: Regions) -> ImageCode:
        """Return the code of pictures from the region layer's input."""
        local = self.project_regions(features)
        return ImageCode(l2norm(local) if self.config.image_norm == "l2" else local, regions.mask)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual word embeddings as `local`."""
        local = self.encode_words(tokens)
        return TextCode(l2norm(local) if self.config.text_norm == "l2" else local, tokens.mask)


def align_directions(
    image: ImageCode, text: TextCode, score: Tensor, t2i: PairAttention | None = None, i2t: PairAttention | None = None
) -> Attention:
    """Return the alignment of one pair from one or both directions of attention; the mean of both.

    t2i is an alignment already. From i2t, a word's weights are each region's share of all attention on the word; its
    significance is the regions' importance, distributed by the regions' attention weights.

    Args:
        image: One picture's code.
        text: One caption's code.
        score: The pair's.
        t2i: Words as queries.
        i2t: Regions as queries; at least one of the two is given.
    """
    words, real = int(text.mask[0].sum()), image.mask[0]
    views: list[tuple[Tensor, Tensor]] = []
    if t2i is not None:
        views.append((t2i.weights[:words], t2i.importance[:words]))
    if i2t is not None:
        weights = i2t.weights[:, :words] * real[:, None]
        views.append((shares_of_regions(weights, real), (i2t.importance * real) @ weights))
    weights, significance = (torch.stack(part).mean(dim=0) for part in zip(*views, strict=True))
    return Attention(weights, significance, score.reshape(()))


class BidirectionalMatcher(FragmentMatcher):
    """Base of the models whose score adds up two directions of attention; a subclass compares the fragments."""

    @abstractmethod
    def compare(self, images: ImageCode, texts: TextCode) -> Mapping[str, Comparison]:
        """Return both directions of grouped codes, "t2i" and "i2t"."""

    def add_directions(self, pairs: Mapping[str, Comparison]) -> Float[Tensor, "group img txt"]:
        """Return the scores from both directions; by default their sum."""
        return pairs["t2i"].score + pairs["i2t"].score

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group by both directions."""
        return self.add_directions(self.compare(images, texts))

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by both directions' attention, see `align_directions`."""
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        return align_directions(
            image, text, self.add_directions(pairs), pairs["t2i"].first_pair(), pairs["i2t"].first_pair()
        )
