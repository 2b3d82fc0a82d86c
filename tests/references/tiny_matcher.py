"""A matcher of a few lines, for tests: each word takes the region most like it; a caption is the mean of its words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.data.split import Split
from crossgraph.models.base import Inputs, Matcher
from crossgraph.text.vocabulary import Vocabulary

FEATURE_SIZE = 5


@dataclass(frozen=True)
class TinyConfig:
    size: int = 4


class TinyMatcher(Matcher):
    kind = "interaction"
    paper = "none"
    Config = TinyConfig

    def __init__(self, config: TinyConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.project = nn.Linear(inputs.feature_size, config.size)
        self.words = nn.Embedding(inputs.vocabulary_size, config.size)
        self.drop = nn.Dropout(0.5)
        self.blocks: list[tuple[int, int]] = []

    def encode_images(self, regions: Regions) -> ImageCode:
        return ImageCode(self.drop(self.project(regions.features)), regions.mask)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        return TextCode(self.drop(self.words(tokens.ids)) * tokens.mask[..., None], tokens.mask)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> torch.Tensor:
        self.blocks.append((images.local.shape[1], texts.local.shape[1]))
        likeness = torch.einsum("gard,gbld->gablr", images.local, texts.local)
        best = likeness.masked_fill(~images.mask[:, :, None, None], -1e9).amax(-1) * texts.mask[:, None]
        return best.sum(-1) / texts.mask.sum(-1)[:, None]

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        raise NotImplementedError


class ArrayFeatures:
    """Features that lie in memory; remembers which rows were read."""

    encoder = "tiny"

    def __init__(self, features: np.ndarray) -> None:
        self.features = features
        self.reads: list[list[int]] = []

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.features.shape

    def read(self, rows) -> Regions:
        self.reads.append([int(row) for row in rows])
        values = torch.from_numpy(self.features[np.asarray(rows)])
        return Regions(values, torch.ones(values.shape[:2], dtype=torch.bool))

    def fingerprint(self) -> str:
        return "f" * 64


WORDS = ["a", "dog", "runs", "over", "the", "green", "grass", "quickly", "today"]


def tiny_split(images: int = 7, regions: int = 3, seed: int = 0, width: int = FEATURE_SIZE) -> Split:
    """Return a split whose images have 1 to 4 captions of 1 to 30 words, not in the images' order."""
    random = np.random.default_rng(seed)
    owner = random.permutation(np.repeat(np.arange(images), 1 + np.arange(images) % 4))
    captions = [" ".join(random.choice(WORDS, random.integers(1, 31))) for _ in owner]
    features = random.standard_normal((images, regions, width)).astype(np.float32)
    ids = [f"image {number}" for number in range(images)]
    return Split("test", ids, captions, owner.astype(np.int64), ArrayFeatures(features), source="tiny")


def tiny_model(regions: int | None = None) -> tuple[TinyMatcher, Vocabulary]:
    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])
    return TinyMatcher(TinyConfig(), Inputs(FEATURE_SIZE, len(vocabulary), regions)), vocabulary
