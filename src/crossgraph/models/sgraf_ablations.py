"""SGRAF's ablations that are models of their own: plain averaging (Table 4) and joint training (Table 5).

Everything before the reading of a score is SGRAF's, see `sgraf.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import masked_mean
from crossgraph.graphs.similarity_graph import AttentionFiltration, GraphReasoning
from crossgraph.models.base import MODELS, Batch, Progress, RankingTerm
from crossgraph.models.sgraf import (
    SGRAF,
    Nodes,
    PairNodes,
    SAFConfig,
    SGRAFConfig,
    SGRConfig,
    dead_keys,
    probability,
    splits_of_statistics,
)
from crossgraph.models.sgraf_folded import FoldedAverage, FoldedFiltration, FoldedReasoning, Reading
from crossgraph.models.training_blocks import Splits


@dataclass(frozen=True)
class AverageConfig(SGRAFConfig):
    """Averaging's own default: the paper measures it on local nodes alone."""

    nodes: Nodes = "local"


@MODELS.register("sgraf-average")
class SGRAFAverage(SGRAF):
    """No reasoning: every node is scored alone, and the scores are averaged ("AA").

    Vectors: the mean of sigmoid(FC(s_p)), in 0..1. Scalars: the mean of the cosines, in −1..1, with nothing
    left to learn after the encoders.
    """

    Config = AverageConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (Table 4, AA)"
    config: AverageConfig

    def build_reading(self, sim: int) -> None:
        """Make the linear reading of vectors; cosines are scores already."""
        if self.config.similarity == "vector":
            self.to_score = nn.Linear(sim, 1)

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the mean score of the real nodes."""
        nodes = pairs.nodes
        scores = nodes.squeeze(-1) if self.config.similarity == "scalar" else probability(self.to_score(nodes))
        return masked_mean(scores.unsqueeze(-1), pairs.mask.expand(scores.shape)).squeeze(-1)

    def folded_readings(self, dtype: torch.dtype) -> list[Reading]:
        """Return the average of vectors' scores; cosines have no folded form."""
        return [FoldedAverage(self.to_score, dtype)] if self.config.similarity == "vector" else []

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return even shares: a mean counts all real nodes alike."""
        real = pairs.mask.expand(pairs.nodes.shape[:-1]).to(pairs.nodes.dtype)
        return real / real.sum(dim=-1, keepdim=True)


@dataclass(frozen=True)
class JointConfig(SGRConfig, SAFConfig):
    """The choices of both heads."""


@MODELS.register("sgraf-joint")
class SGRAFJoint(SGRAF):
    """SGR and SAF on the same encoders and similarity vectors, trained together (L_SGR + L_SAF).

    Its score is the mean of the two heads' scores: unlike "SGRAF" of the paper's main tables, one model.
    """

    Config = JointConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (Table 5, joint)"
    config: JointConfig

    def build_reading(self, sim: int) -> None:
        """Make both heads, each with a linear reading of its own."""
        self.reasoning = GraphReasoning(sim, self.config.steps, "mean" if self.config.nodes == "local" else "first")
        self.filtration = AttentionFiltration(sim, self.config.attention_statistics)
        self.sgr_to_score = nn.Linear(sim, 1)
        self.saf_to_score = nn.Linear(sim, 1)

    def dead_parameters(self) -> dict[str, str]:
        """Add what is dead in either head."""
        dead = super().dead_parameters() | dead_keys(self.config.steps)
        return dead | {"filtration.attend.bias": "batch norm subtracts it"}

    def read_heads(self, pairs: PairNodes) -> dict[str, Float[Tensor, "group img txt"]]:
        """Return each head's scores by its name."""
        return {
            "sgr": probability(self.sgr_to_score(self.reasoning(pairs.nodes, pairs.mask))),
            "saf": probability(self.saf_to_score(self.filtration(pairs.nodes, pairs.mask))),
        }

    @property
    def splits(self) -> Splits:
        """As SAF's."""
        return splits_of_statistics(self.config.attention_statistics)

    def score_maps(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "group img txt"]]:
        """Return each head's scores: each has a loss of its own."""
        return self.read_heads(self.compare(images, texts))

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the mean of the two heads' scores."""
        return torch.stack(list(self.read_heads(pairs).values())).mean(dim=0)

    def folded_readings(self, dtype: torch.dtype) -> list[Reading]:
        """Return both heads, of which the folded form takes the mean."""
        return [
            FoldedReasoning(self.reasoning, self.sgr_to_score, dtype),
            FoldedFiltration(self.filtration, self.saf_to_score, dtype),
        ]

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the mean of what SGR's and SAF's heads say."""
        sgr = self.reasoning.significance(pairs.nodes, pairs.mask)
        return (sgr + self.filtration.weights(pairs.nodes, pairs.mask)) / 2

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the ranking loss of each head, as "ranking_sgr" and "ranking_saf"; their mean has none."""
        return {f"ranking_{head}": ranking(scores) for head, scores in self.training_maps(images, texts).items()}
