"""Index head: one unit vector a side from the codes of an interaction model.

An interaction model such as SGRAF has no vector that a nearest-neighbour index could use: its score looks at
both codes. The head reads the codes that the re-ranker computes anyway (region and word embeddings, and the
global vector where there is one), so indexing costs no second encoder. The idea of a cheap retriever before
an accurate re-ranker is old; the head is ours, not any paper's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import l2norm, masked_mean, masked_softmax


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of the head.

    Attributes:
        embed_size: d of the codes it reads.
        global_size: Of their part "global"; 0 where they have none.
        index_size: k of the vectors it gives.
        queries: Learned questions that each side's parts are pooled by.
    """

    embed_size: int
    global_size: int
    index_size: int = 256
    queries: int = 4


class Side(nn.Module):
    """One side: local vectors pooled by learned queries and by mean, joined with the global vector, projected."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        d = config.embed_size
        self.norm = nn.LayerNorm(d)
        self.queries = nn.Parameter(torch.randn(config.queries, d) * d**-0.5)
        width = d * (config.queries + 1) + config.global_size
        self.hidden = nn.Linear(width, 2 * config.index_size)
        self.out = nn.Linear(2 * config.index_size, config.index_size)
        self.skip = nn.Linear(width, config.index_size, bias=False)

    def forward(
        self, local: Float[Tensor, "n part dim"], mask: Bool[Tensor, "n part"], overall: Tensor | None
    ) -> Float[Tensor, "n code"]:
        """Return unit vectors."""
        parts = self.norm(local)
        weights = masked_softmax(self.queries @ parts.transpose(1, 2), mask[:, None])
        pooled = (weights @ parts).flatten(1)
        read = [pooled, masked_mean(parts, mask)] + ([overall] if overall is not None else [])
        x = torch.cat(read, dim=1)
        return l2norm(self.skip(x) + self.out(torch.relu(self.hidden(x))))


class IndexHead(nn.Module):
    """Index vectors of both sides.

    Args:
        config: Sizes.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.images, self.texts = Side(config), Side(config)

    def index_images(self, code: ImageCode) -> Float[Tensor, "img code"]:
        """Return one unit vector a picture."""
        return self.images(code.local, code.mask, self._overall(code))

    def index_texts(self, code: TextCode) -> Float[Tensor, "txt code"]:
        """Return one unit vector a caption."""
        return self.texts(code.local, code.mask, self._overall(code))

    def _overall(self, code: ImageCode | TextCode) -> Tensor | None:
        return code.parts["global"] if self.config.global_size else None


def head_for(image: ImageCode, index_size: int) -> IndexHead:
    """Return an untrained head for the codes of a model."""
    overall = image.parts.get("global")
    width = overall.shape[-1] if overall is not None and overall.dim() == 2 else 0
    return IndexHead(HeadConfig(image.local.shape[-1], width, index_size))
