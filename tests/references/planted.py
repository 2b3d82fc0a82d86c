"""Pictures whose things stand where we put them, and a model that says truly, or falsely, where it looked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.data.split import Split
from crossgraph.models.base import Inputs, Matcher
from crossgraph.runs import Run, RunInfo
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.vision.boxes import grid_boxes

THINGS = ["dog", "car", "cat", "bus", "horse", "bird", "cake", "clock"]
WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "and", *THINGS]
ROWS = COLUMNS = 4


@dataclass(frozen=True)
class PlantedConfig:
    honesty: Literal["true", "false", "even", "mute"] = "true"


class Planted(Matcher):
    """Scores the share of a sentence's things that a picture shows; what it says of itself is up to its honesty."""

    kind = "interaction"
    paper = "none"
    Config = PlantedConfig

    def __init__(self, config: PlantedConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.unused = nn.Parameter(torch.zeros(1))

    def encode_images(self, regions: Regions) -> ImageCode:
        return ImageCode(regions.features * regions.mask[..., None], regions.mask)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        things = torch.eye(len(WORDS))[:, len(WORDS) - len(THINGS) :]
        return TextCode(things[tokens.ids] * tokens.mask[..., None], tokens.mask)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> torch.Tensor:
        likeness = torch.einsum("gard,gbld->gablr", images.local, texts.local)
        seen = likeness.masked_fill(~images.mask[:, :, None, None], 0.0).amax(-1).sum(-1)
        return seen / len(THINGS)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        if self.config.honesty == "mute":
            raise NotImplementedError
        words = int(text.mask[0].sum())
        likeness = text.local[0, :words] @ image.local[0].T
        sign = {"true": 30.0, "false": -30.0, "even": 0.0}[self.config.honesty]
        weights = (sign * likeness).masked_fill(~image.mask, -1e9).softmax(-1)
        named = text.local[0, :words].sum(-1)
        said = 1.1 + sign / 30 * named
        significance = said / said.sum()
        return Attention(weights, significance, self.score_block(image, text)[0, 0])


class GridFeatures:
    encoder = "planted"

    def __init__(self, features: np.ndarray, boxes: bool = True) -> None:
        self.features, self.boxes = features, boxes

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.features.shape

    def read(self, rows) -> Regions:
        values = torch.from_numpy(self.features[np.asarray(rows)])
        boxes = grid_boxes(ROWS, COLUMNS).expand(len(values), -1, -1) if self.boxes else None
        return Regions(values, torch.ones(values.shape[:2], dtype=torch.bool), boxes)

    def fingerprint(self) -> str:
        return "f" * 64


def planted_split(pictures: int = 12, seed: int = 0, boxes: bool = True) -> tuple[Split, dict]:
    """Return a split of pictures with two things each, one cell of a 4 × 4 grid a thing, and COCO's file of them."""
    random = np.random.default_rng(seed)
    features = np.zeros((pictures, ROWS * COLUMNS, len(THINGS)), dtype=np.float32)
    ids = [f"{number:012d}.jpg" for number in range(1, pictures + 1)]
    captions, annotations = [], []
    for picture in range(pictures):
        things = random.choice(len(THINGS), 2, replace=False)
        for thing, cell in zip(things, random.choice(ROWS * COLUMNS, 2, replace=False), strict=True):
            features[picture, cell, thing] = 1
            row, column = divmod(int(cell), COLUMNS)
            annotations.append(
                {"image_id": picture + 1, "category_id": int(thing), "bbox": [25 * column, 20 * row, 25, 20]}
            )
        first, second = (THINGS[thing] for thing in things)
        captions += [f"A {first} and a {second}.", f"a {second}"]
    split = Split(
        "test", ids, captions, np.arange(2 * pictures) // 2, GridFeatures(features, boxes), source="planted (test)"
    )
    file = {
        "images": [{"id": n + 1, "file_name": name, "width": 100, "height": 80} for n, name in enumerate(ids)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(THINGS)],
        "annotations": annotations,
    }
    return split, file


def planted_run(honesty: Literal["true", "false", "even", "mute"] = "true") -> Run:
    vocabulary = Vocabulary(WORDS)
    model = Planted(PlantedConfig(honesty), Inputs(len(THINGS), len(vocabulary)))
    return Run(model, vocabulary, RunInfo("planted", {}, {}), Path("runs") / honesty)
