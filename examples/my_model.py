"""A model in one file, outside the package: words attend to regions, and the score is their mean cosine.

Train it:  crossgraph --plugin examples/my_model.py train examples/my_model.yaml --data photos --out runs/mine
Every other command takes the same option:  crossgraph --plugin examples/my_model.py evaluate runs/mine --data photos
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import MODELS, Inputs, Matcher


@dataclass(frozen=True)
class MeanCosineConfig:
    """Sizes; `--model.config.embed_size=64` changes one."""

    embed_size: int = 128  # of a region's and a word's vector
    temperature: float = 0.1  # of the attention: the lower, the fewer regions a word looks at


@MODELS.register("mean-cosine")  # the name in recipes, cards and `crossgraph models`
class MeanCosine(Matcher):
    """Each word is compared with the regions that it attends to."""

    Config = MeanCosineConfig
    kind = "interaction"  # the score needs both codes; "independent" is a dot product of two `index` vectors
    paper = "none: an example"
    status = "unverified"

    def __init__(self, config: MeanCosineConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.regions = nn.Linear(inputs.feature_size, config.embed_size)
        self.words = nn.Embedding(inputs.vocabulary_size, config.embed_size)

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures alone: features (n, R, D) to unit vectors (n, R, d)."""
        return ImageCode(l2norm(self.regions(regions.features)) * regions.mask[..., None], regions.mask)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions alone: ids (n, L) to unit vectors (n, L, d); padding is zero."""
        return TextCode(l2norm(self.words(tokens.ids)) * tokens.mask[..., None], tokens.mask)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Tensor:
        """Score grouped codes, (g, a, R, d) with (g, b, L, d), to (g, a, b)."""
        cosines, weights = self._attend(images, texts)
        per_word = (cosines * weights).sum(dim=-1)  # (g, a, b, L)
        words = texts.mask[:, None].to(per_word.dtype)
        return (per_word * words).sum(dim=-1) / words.sum(dim=-1)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair: the weight of every region for every word, and each word's share of the score."""
        grouped = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        words = int(text.mask[0].sum())
        weights = self._attend(*grouped)[1][0, 0, 0, :words]
        return Attention(weights, torch.full((words,), 1 / words), self.score(*grouped)[0, 0, 0])

    def _attend(self, images: ImageCode, texts: TextCode) -> tuple[Tensor, Tensor]:
        """Return cosines and attention weights of words and regions, both (g, a, b, L, R)."""
        cosines = torch.einsum("gard,gbld->gablr", images.local, texts.local)
        padding = ~images.mask[:, :, None, None, :]
        return cosines, torch.softmax((cosines / self.config.temperature).masked_fill(padding, -torch.inf), dim=-1)
