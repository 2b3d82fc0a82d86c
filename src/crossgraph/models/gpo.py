"""GPO, also VSE∞: learned pooling of regions and words, without any interaction.

Chen, Hu, Wu, Jiang, Wang: "Learning the Best Pooling Strategy for Visual Semantic Embedding", CVPR 2021.

What is unusual:
- There is no interaction and no graph: regions and words are pooled by learned weights of the sorted values of each
  feature, one set of weights a side (`graphs.generalized_pooling`).
- The weights depend on the number of items, never on the items.
- The paper trains with the sum of negatives in the first epoch, then with the hardest.
- The paper drops regions and words at random ("size augmentation"). Here the recipe does that:
  `regularise.region_dropout` and `regularise.word_dropout`; the paper's words are masked, replaced or deleted,
  ours become `<unk>`.

This is the authors' Bi-GRU branch. Their main branch differs in the words alone: BERT's last layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.ranges import Range
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.generalized_pooling import GeneralizedPooling
from crossgraph.graphs.normalization import EPSILON, BatchNorm, l2norm
from crossgraph.graphs.region_graph import BatchStatistics
from crossgraph.graphs.score_parts import shares_of_score
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.independent import IndependentMatcher
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction

Norm = Literal["l2", "none"]


@dataclass(frozen=True)
class GPOConfig(TextChoice):
    """Sizes and choices; the defaults are the paper's, but for `batch_statistics`."""

    embed_size: Annotated[int, Range(least=2)] = 1024  # its half is the width of the second region layer
    text_direction: Direction = "both"
    image_norm: Norm = "l2"
    text_norm: Norm = "l2"
    batch_statistics: BatchStatistics = "real"  # "published": padding regions enter them in training


@MODELS.register("gpo")
class GPO(IndependentMatcher):
    """Projected regions and Bi-GRU words, each pooled by weights of their sorted values."""

    paper = "Chen et al., Learning the Best Pooling Strategy for Visual Semantic Embedding, CVPR 2021"
    Config = GPOConfig
    config: GPOConfig

    def __init__(self, config: GPOConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.narrow = nn.Linear(inputs.feature_size, d // 2)
        self.narrow_norm = BatchNorm(d // 2)
        self.widen = nn.Linear(d // 2, d)
        self.pool_regions = GeneralizedPooling()
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, config.text_direction)
        self.pool_words = GeneralizedPooling()

    def dead_parameters(self) -> dict[str, str]:
        """Add the bias of the layer before the batch norm."""
        return super().dead_parameters() | {"narrow.bias": "batch norm subtracts it"}

    def region_features(self, regions: Regions) -> Float[Tensor, "img region dim"]:
        """Return fc(x) + L2(ReLU(BN(L1(x)))) of every region; padding is zero."""
        features, mask = regions.features * regions.mask[..., None], regions.mask[..., None]
        narrow = self.narrow_norm(self.narrow(features), mask if self.config.batch_statistics == "real" else None)
        return (self.project_regions(features) + self.widen(torch.relu(narrow))) * mask

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region features as `local`, pooled and normalised as `index`."""
        local = self.region_features(regions)
        pooled = self.pool_regions(local, regions.mask)
        return ImageCode(local, regions.mask, l2norm(pooled) if self.config.image_norm == "l2" else pooled)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual words as `local`, pooled and normalised as `index`."""
        local = self.encode_words(tokens)
        pooled = self.pool_words(local, tokens.mask)
        return TextCode(local, tokens.mask, l2norm(pooled) if self.config.text_norm == "l2" else pooled)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the parts of words and regions in its score, without negative parts.

        Both vectors are weighted sums over regions and words, feature by feature, so that the parts are exact. A word
        with small pooling weights counts little, however similar to a region it is.
        """
        regions = (self.pool_regions.shares(image.local, image.mask) * image.local)[0]
        words = (self.pool_words.shares(text.local, text.mask) * text.local)[0, : int(text.mask[0].sum())]
        if self.config.image_norm == "l2":
            regions = regions / (regions.sum(dim=0).norm() + EPSILON)
        if self.config.text_norm == "l2":
            words = words / (words.sum(dim=0).norm() + EPSILON)
        weights, significance = shares_of_score(regions, words, image.mask[0])
        return Attention(weights, significance, self.score_block(image, text).reshape(()))
