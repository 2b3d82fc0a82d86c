"""PFAN: position focused attention.

Wang, Yang, Qian, Ma, Lu, Li, Fan: "Position Focused Attention Network for Image-Text Matching", IJCAI 2019,
arXiv 1907.09748.

What is unusual:
- SCAN with position features: a region's position is the attention-weighted mean of learned vectors of the blocks of a
  16 × 16 grid that its box covers. Features without boxes are refused.
- That attention applies two softmaxes one after the other, so that its weights are nearly even, and the entry for "no
  block" gets a weight too.
- t2i adds to SCAN's score half the aggregated largest share of each word, which most descriptions leave out.
- Published scores with a star are the mean of a t2i and an i2t model's score matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import Size
from crossgraph.core.types import ImageCode, Regions
from crossgraph.graphs.attend import Comparison, aggregate, importance
from crossgraph.graphs.initialisation import xavier
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.scan import SCAN, SCANConfig
from crossgraph.vision.blocks import BLOCKS, GRID, blocks_of_boxes

POSITIONS = "positions"  # in Regions.extra: (n, R, 2 · blocks), block indices and then their overlaps, as published
LARGEST = 0.5  # weight of the largest shares beside the cosines


@dataclass(frozen=True)
class PFANConfig(SCANConfig):
    """SCAN's choices and those of the position features."""

    position_size: Size = 200  # of a block's vector
    grid: Size = GRID  # blocks a side
    blocks: Size = BLOCKS  # kept a region


class PositionAttention(nn.Module):
    """Position vector of a region: Σ_k b_k E_k with b = softmax(u ∘ softmax(tanh(E W x))), u the overlaps.

    Args:
        features: Width of x, a region's raw features.
        size: Width of a block's vector in E.
        entries: Blocks of the picture, plus one for "no block".
    """

    def __init__(self, features: int, size: int, entries: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries, size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.query = xavier(nn.Linear(features, size))

    def attention(
        self, features: Float[Tensor, "n region feature"], index: Int[Tensor, "n region block"]
    ) -> Float[Tensor, "n region block"]:
        """Return the weights of a region's blocks by its features (the inner softmax)."""
        logits = (self.embedding(index) @ self.query(features).unsqueeze(-1)).squeeze(-1)
        return torch.tanh(logits).softmax(dim=-1)

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
    """SCAN over regions with position features."""

    Config = PFANConfig
    paper = "Wang et al., Position Focused Attention Network for Image-Text Matching, IJCAI 2019"
    config: PFANConfig

    def __init__(self, config: PFANConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.position = PositionAttention(inputs.feature_size, config.position_size, config.grid**2 + 1)

    @property
    def region_width(self) -> int:
        """Width of a region's features and position vector together."""
        return self.inputs.feature_size + self.config.position_size

    def positions(self, regions: Regions) -> tuple[Tensor, Tensor]:
        """Return each region's blocks and overlaps, from `Regions.extra` or else from its box.

        Raises:
            InputError: The regions have neither, or the given ones do not fit the model.
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
        features = torch.cat([regions.features, position.to(regions.features.dtype)], dim=-1)
        return self.embed_regions(features, regions)

    def largest(self, pairs: Comparison) -> Float[Tensor, "group img txt"]:
        """Return the aggregated largest share of each word (t2i alone)."""
        how, smooth = self.config.aggregation, self.config.aggregation_smooth
        return aggregate(pairs.weights.amax(dim=-1), pairs.mask, how, smooth)

    def read(self, pairs: Comparison) -> Float[Tensor, "group img txt"]:
        """Return SCAN's score, plus half the aggregated largest shares for t2i."""
        score = super().read(pairs)
        return score + LARGEST * self.largest(pairs) if self.config.attention == "t2i" else score

    def parts(self, pairs: Comparison) -> Float[Tensor, "group img txt query"]:
        """Return how much each query counted in both terms of the score; sums to 1."""
        parts = super().parts(pairs)
        if self.config.attention == "i2t":
            return parts
        mask = pairs.mask.expand(parts.shape)
        how, smooth = self.config.aggregation, self.config.aggregation_smooth
        return (parts + LARGEST * importance(pairs.weights.amax(dim=-1), mask, how, smooth)) / (1 + LARGEST)
