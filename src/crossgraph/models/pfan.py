"""PFAN: position focused attention.

Wang, Yang, Qian, Ma, Lu, Li, Fan: "Position Focused Attention Network for Image-Text Matching", IJCAI 2019,
arXiv 1907.09748.

What is unusual:
- SCAN, but a region also says *where* it lies: as learned vectors of the blocks of a 16 × 16 grid that its box
  covers, weighed by an attention of the region's features on them. Features without boxes are refused.
- Two softmaxes follow each other in that attention, so that the weights are nearly even, and the entry that stands
  for "no block" takes its part.
- t2i adds to SCAN's score half the aggregated largest share of each word, which most descriptions leave out.
- Published scores with a star are the mean of a t2i and an i2t model's score matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, Regions
from crossgraph.graphs.attend import aggregate, importance
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fragments import at_least, encoder_fields, encoder_inputs, encoder_key, needed, translated
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys
from crossgraph.models.scan import SCAN, Compared, SCANConfig, scan_fields
from crossgraph.vision.blocks import BLOCKS, GRID, blocks_of_boxes

POSITIONS = "positions"  # in Regions.extra: (n, R, 2 · blocks), block indices and then their overlaps, as published
LARGEST = 0.5  # how much the largest shares count beside the cosines


@dataclass(frozen=True)
class PFANConfig(SCANConfig):
    """SCAN's choices, and the positions'."""

    position_size: int = 200  # of a block's vector
    grid: int = GRID  # blocks a side
    blocks: int = BLOCKS  # kept a region

    def __post_init__(self) -> None:
        """Refuse what makes no model; see `SCANConfig`."""
        super().__post_init__()
        at_least(self, 1, "position_size", "grid", "blocks")


class PositionAttention(nn.Module):
    """pos = Σ_k b_k E_k, b = softmax(u ∘ softmax(tanh(E W x))): where a region lies, seen from its features.

    Args:
        features: Width of x, a region's raw features.
        size: Width of a block's vector in E.
        entries: Blocks of the picture, and one more for "no block".
    """

    def __init__(self, features: int, size: int, entries: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries, size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.query = nn.Linear(features, size)
        nn.init.xavier_uniform_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def attention(
        self, features: Float[Tensor, "n region feature"], index: Int[Tensor, "n region block"]
    ) -> Float[Tensor, "n region block"]:
        """Return what a region's features say of its blocks, the inner softmax."""
        likeness = (self.embedding(index) @ self.query(features).unsqueeze(-1)).squeeze(-1)
        return torch.tanh(likeness).softmax(dim=-1)

    def forward(
        self,
        features: Float[Tensor, "n region feature"],
        index: Int[Tensor, "n region block"],
        overlap: Float[Tensor, "n region block"],
    ) -> Float[Tensor, "n region size"]:
        """Return one position vector a region."""
        weights = (overlap * self.attention(features, index)).softmax(dim=-1)
        return (weights.unsqueeze(-2) @ self.embedding(index)).squeeze(-2)


@MODELS.register("pfan")
class PFAN(SCAN):
    """SCAN over regions that know where they lie."""

    Config = PFANConfig
    paper = "Wang et al., Position Focused Attention Network for Image-Text Matching, IJCAI 2019"
    config: PFANConfig

    def __init__(self, config: PFANConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.position = PositionAttention(inputs.feature_size, config.position_size, config.grid**2 + 1)

    @property
    def region_width(self) -> int:
        """A region's features and its position."""
        return self.inputs.feature_size + self.config.position_size

    def positions(self, regions: Regions) -> tuple[Tensor, Tensor]:
        """Return each region's blocks and overlaps: those given as `Regions.extra`, or made from its box.

        Raises:
            InputError: There are neither, or those given do not fit the model.
        """
        blocks, none = self.config.blocks, self.config.grid**2
        if POSITIONS not in regions.extra:
            if regions.boxes is None:
                raise InputError(
                    "PFAN reads where regions lie, and these have no boxes",
                    "give features with boxes (<split>_ims_bbx.npy, or made by crossgraph extract)",
                )
            index, overlap = blocks_of_boxes(regions.boxes, self.config.grid, blocks)
            return index, overlap.to(regions.features.dtype)
        given = regions.extra[POSITIONS]
        if given.shape[-1] != 2 * blocks:
            raise InputError(f"positions are {given.shape[-1]} numbers a region", f"PFAN takes {2 * blocks} here")
        index, overlap = given[..., :blocks].long(), given[..., blocks:].to(regions.features.dtype)
        if bool(((index < 0) | (index > none)).any()):
            raise InputError(f"positions hold block {int(index.max())}", f"blocks are numbered 0 to {none} here")
        return index, overlap

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: embeddings of the regions' features and positions."""
        position = self.position(regions.features, *self.positions(regions))
        local = self.project_regions(torch.cat([regions.features, position.to(regions.features.dtype)], dim=-1))
        return ImageCode(l2norm(local) if self.config.image_norm == "l2" else local, regions.mask)

    def largest(self, pairs: Compared) -> Float[Tensor, "group img txt"]:
        """Bring together each word's largest share (t2i alone)."""
        how, smooth = self.config.aggregation, self.config.aggregation_smooth
        return aggregate(pairs.weights.amax(dim=-1), pairs.queries.mask, how, smooth)

    def read(self, pairs: Compared) -> Float[Tensor, "group img txt"]:
        """Return SCAN's score, and for t2i half of what the largest shares come to."""
        score = super().read(pairs)
        return score + LARGEST * self.largest(pairs) if self.config.attention == "t2i" else score

    def parts(self, pairs: Compared) -> Float[Tensor, "group img txt query"]:
        """Return how much each query counted, in both terms of the score."""
        parts = super().parts(pairs)
        if self.config.attention == "i2t":
            return parts
        mask = pairs.queries.mask.expand(parts.shape)
        how, smooth = self.config.aggregation, self.config.aggregation_smooth
        return (parts + LARGEST * importance(pairs.weights.amax(dim=-1), mask, how, smooth)) / (1 + LARGEST)


_KEYS = {**linear_keys("0.fc_att", "position.query"), "0.position_embedding.weight": "position.embedding.weight"}


@IMPORTERS.register("pfan")
def import_pfan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint; the grid's size is read from the blocks' vectors.

    Raises:
        InputError: A tensor is missing, unknown or of an impossible shape, or an option is unknown.
    """
    weights = translated(states, lambda key: _KEYS.get(key) or encoder_key(key), source)
    entries, size = needed(weights, "position.embedding.weight", source).shape
    grid = isqrt(entries - 1)
    if grid * grid + 1 != entries:
        raise InputError(f"{source}: {entries} vectors of blocks are no square grid and one more", "check the file")
    config = PFANConfig(
        **encoder_fields(weights, options, source), **scan_fields(options, source), position_size=size, grid=grid
    )
    features = needed(weights, "position.query.weight", source).shape[-1]
    return PublishedModel("pfan", config, Inputs(features, encoder_inputs(weights, source).vocabulary_size), weights)
