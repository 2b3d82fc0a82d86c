"""GPO, also VSE∞: what a learned pooling of regions and words alone can do.

Chen, Hu, Wu, Jiang, Wang: "Learning the Best Pooling Strategy for Visual Semantic Embedding", CVPR 2021.

What is unusual:
- There is no interaction and no graph: regions and words are pooled by weights of the sorted values of each
  feature, which are learned, one set of weights a side (`graphs.generalized_pooling`).
- The weights depend on how many items there are, never on what they are.
- The paper trains with the sum of negatives in the first epoch, then with the hardest.
- The paper drops regions and words at random ("size augmentation"). Here that is the recipe's business:
  `regularise.region_dropout` and `regularise.word_dropout`; the paper's words are masked, replaced or deleted,
  ours become `<unk>`.

This is the authors' Bi-GRU branch. Their main branch differs in the words alone: BERT's last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.contributions import shares_of_score
from crossgraph.graphs.generalized_pooling import GeneralizedPooling
from crossgraph.graphs.normalization import EPSILON, BatchNorm, l2norm
from crossgraph.graphs.region_graph import BatchStatistics
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.independent import IndependentMatcher
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction

Norm = Literal["l2", "none"]


@dataclass(frozen=True)
class GPOConfig(TextChoice):
    """Sizes and choices; the defaults are the paper's, but for `batch_statistics`."""

    embed_size: int = 1024  # d, regions, words and both vectors
    word_size: int = 300  # learned word embeddings, before the Bi-GRU
    text_direction: Direction = "both"
    image_norm: Norm = "l2"
    text_norm: Norm = "l2"
    batch_statistics: BatchStatistics = "real"  # "published": padding regions enter them in training

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size too small; half of `embed_size` is the width of the region's second way.
        """
        for name, least in (("embed_size", 2), ("word_size", 1)):
            if getattr(self, name) < least:
                raise InputError(f"model.config.{name} is {getattr(self, name)}", f"give at least {least}")


@MODELS.register("gpo")
class GPO(IndependentMatcher):
    """Projected regions and Bi-GRU words, each pooled by weights of their sorted values."""

    paper = "Chen et al., Learning the Best Pooling Strategy for Visual Semantic Embedding, CVPR 2021"
    Config = GPOConfig
    config: GPOConfig

    def __init__(self, config: GPOConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d = config.embed_size
        self.project_regions = nn.Linear(inputs.feature_size, d)
        nn.init.xavier_uniform_(self.project_regions.weight)
        nn.init.zeros_(self.project_regions.bias)
        self.narrow = nn.Linear(inputs.feature_size, d // 2)
        self.narrow_norm = BatchNorm(d // 2)
        self.widen = nn.Linear(d // 2, d)
        self.pool_regions = GeneralizedPooling()
        self.encode_words = build_text_encoder(
            config, inputs.vocabulary_size, config.word_size, d, config.text_direction, dropout=0.0
        )
        self.pool_words = GeneralizedPooling()

    def dead_parameters(self) -> dict[str, str]:
        """Return the bias that a batch norm behind it takes out again, and those of the text encoder."""
        dead = {f"encode_words.{name}": why for name, why in self.encode_words.dead_parameters().items()}
        return dead | {"narrow.bias": "batch norm subtracts it"}

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
        """Explain one pair by its score's own parts, negative ones left out.

        Both vectors are weighed sums over regions and words, feature by feature, so that the parts are exact. A word
        whose values were pooled little counts little, however like a region it is.
        """
        regions = (self.pool_regions.shares(image.local, image.mask) * image.local)[0]
        words = (self.pool_words.shares(text.local, text.mask) * text.local)[0, : int(text.mask[0].sum())]
        if self.config.image_norm == "l2":
            regions = regions / (regions.sum(dim=0).norm() + EPSILON)
        if self.config.text_norm == "l2":
            words = words / (words.sum(dim=0).norm() + EPSILON)
        weights, significance = shares_of_score(regions, words, image.mask[0])
        return Attention(weights, significance, self.score_block(image, text).reshape(()))


# The published files: a list of two state dicts (image encoder, text encoder).
_KEYS = {
    **linear_keys("0.fc", "project_regions"),
    **linear_keys("0.mlp.layers.0", "narrow"),
    **linear_keys("0.mlp.layers.1", "widen"),
    "1.embed.weight": "encode_words.embedding.weight",
}
_PREFIXES = {
    "0.mlp.bns.0.": "narrow_norm.",
    "0.mlp.bns.1.": "unused.",  # the authors make it and never call it
    "0.gpool.": "pool_regions.",
    "1.gpool.": "pool_words.",
    "1.rnn.": "encode_words.gru.",
}


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not GPO's."""
    if key in _KEYS:
        return _KEYS[key]
    return next((ours + key.removeprefix(theirs) for theirs, ours in _PREFIXES.items() if key.startswith(theirs)), None)


@IMPORTERS.register("gpo")
def import_gpo(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate a checkpoint of the authors' Bi-GRU branch on region features.

    The word embedding has a row for `<mask>`, which the size augmentation writes and no vocabulary file holds.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options: `no_imgnorm` and `no_txtnorm` leave no trace in tensors.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    if any(key.startswith("1.bert.") for key in flat):
        raise InputError(f"{source}: its words are BERT's", "give a checkpoint of the authors' branch 'bigru'")
    weights = refuse_unknown(flat, our_key, source)
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith("unused.")}
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        config = GPOConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            text_direction="both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
            image_norm="none" if options.get("no_imgnorm") else "l2",
            text_norm="none" if options.get("no_txtnorm") else "l2",
            batch_statistics="published",
        )
        inputs = Inputs(projection.shape[1], embedding.shape[0])
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it a GPO checkpoint?") from error
    return PublishedModel("gpo", config, inputs, weights, added_words=("<mask>",))
