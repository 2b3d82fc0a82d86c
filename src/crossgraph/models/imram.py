"""IMRAM: iterative matching with recurrent attention memory.

Chen, Ding, Liu, Lin, Liu, Han: "IMRAM: Iterative Matching with Recurrent Attention Memory for Cross-Modal Image-Text
Retrieval", CVPR 2020, arXiv 2003.03772.

What is unusual:
- SCAN's attention in several steps: after each step a gated memory mixes the attended context into the query, which
  attends again. Every step adds its score, so that scores are up to the number of steps (twice that for "full").
- Each step's cosine is that of the *original* fragment; only the attention uses the rewritten one.
- The last rewriting would never be read, so that a model of one step has no memory at all.
- "Full" is one model whose two directions are added while it trains, not an average of two models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.ranges import Positive, Size
from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    AffinityNorm,
    Comparison,
    Fragments,
    PairAttention,
    affinities,
    as_regions,
    as_words,
    attend,
    attended_contexts,
    cosines_with_attended,
    importance,
)
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.fast.imram import FastIMRAM
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, align_directions

Form = Literal["full", "image", "text"]
DIRECTIONS_OF: dict[Form, tuple[str, ...]] = {"full": ("t2i", "i2t"), "image": ("i2t",), "text": ("t2i",)}


@dataclass(frozen=True)
class IMRAMConfig(FragmentConfig):
    """IMRAM's choices."""

    form: Form = "full"  # "text": words attend to regions; "image": regions attend to words; "full": both, added
    steps: Size = 3  # K; the published Flickr30K script has 1
    smooth: Positive = 9.0  # λ of the attention; the published COCO script has 11
    affinity_norm: AffinityNorm = "clipped_l2norm"
    memory_norm: Literal["none", "l2"] = "none"  # of a rewritten query; both published scripts leave it out


class Memory(nn.Module):
    """Gated memory q ← g q + (1 − g) tanh(L [q; c]), g = sigmoid(G [q; c]) of a query and its context (Eq. 7-8)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.update = nn.Linear(2 * dim, dim)
        self.gate = nn.Linear(2 * dim, dim)

    def forward(
        self, queries: Float[Tensor, "group #img #txt query dim"], contexts: Float[Tensor, "group img txt query dim"]
    ) -> Float[Tensor, "group img txt query dim"]:
        """Return the rewritten queries of every pair."""
        new = torch.tanh(_concatenated(self.update, queries, contexts))
        keep = torch.sigmoid(_concatenated(self.gate, queries, contexts))
        return keep * queries + (1 - keep) * new


def _concatenated(layer: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """Return layer([x; y]) without concatenating: unrewritten queries x are the same for many pairs and broadcast."""
    first, second = layer.weight.chunk(2, dim=1)
    return F.linear(x, first) + F.linear(y, second, layer.bias)


@MODELS.register("imram")
class IMRAM(FragmentMatcher):
    """Attention repeated with rewritten queries."""

    Config = IMRAMConfig
    paper = "Chen et al., IMRAM: Iterative Matching with Recurrent Attention Memory, CVPR 2020"
    config: IMRAMConfig

    def __init__(self, config: IMRAMConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        directions = self.directions if config.steps > 1 else ()
        self.memory = nn.ModuleDict({direction: Memory(config.embed_size) for direction in directions})

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of attention of this form."""
        return DIRECTIONS_OF[self.config.form]

    def memories(self) -> dict[str, Memory]:
        """Return the memory of each direction; none for a model of one step."""
        return {name: memory for name, memory in self.memory.items() if isinstance(memory, Memory)}

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/imram.py`."""
        return FastIMRAM(self, precision)

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, list[Comparison]]:
        """Return every step of each direction of this form."""
        sides = {"t2i": (as_words(texts), as_regions(images)), "i2t": (as_regions(images), as_words(texts))}
        return {direction: self._steps(direction, *sides[direction]) for direction in self.directions}

    def _steps(self, direction: str, original: Fragments, contexts: Fragments) -> list[Comparison]:
        queries, steps = original, list[Comparison]()
        affinity = first = affinities(original, contexts)
        for step in range(self.config.steps):
            weights = attend(affinity, original, contexts, self.config.smooth, self.config.affinity_norm)
            cosines = cosines_with_attended(first, weights, original, contexts)
            steps.append(Comparison(weights, cosines, original.mask))
            if step + 1 < self.config.steps:
                queries = self.rewrite(direction, queries, attended_contexts(weights, contexts))
                affinity = affinities(queries, contexts)
        return steps

    def rewrite(self, direction: str, queries: Fragments, contexts: Tensor) -> Fragments:
        """Return the queries after the memory has mixed their attended contexts in."""
        vectors = self.memory[direction](queries.vectors, contexts)
        return Fragments(l2norm(vectors) if self.config.memory_norm == "l2" else vectors, queries.mask)

    def read(self, directions: dict[str, list[Comparison]]) -> Float[Tensor, "group img txt"]:
        """Return the sum of the scores of all steps of all directions."""
        return torch.stack([step.score for steps in directions.values() for step in steps]).sum(dim=0)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(self.compare(images, texts))

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the mean attention of all steps, see `align_directions`."""
        directions = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        attention: dict[str, PairAttention] = {}
        for direction, steps in directions.items():
            cosines = torch.stack([step.similarity[0, 0, 0] for step in steps]).mean(dim=0)
            weights = torch.stack([step.weights[0, 0, 0] for step in steps]).mean(dim=0)
            shares = importance(cosines, steps[0].mask[0, 0, 0], "mean")
            attention[direction] = PairAttention(weights, shares)
        return align_directions(image, text, self.read(directions), **attention)
