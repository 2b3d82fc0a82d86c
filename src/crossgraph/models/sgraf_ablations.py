"""SGRAF's ablations that are models of their own: plain averaging (Table 4) and joint training (Table 5).

Everything before the read-out of a score is SGRAF's, see `sgraf.py`.
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
from crossgraph.models.fast.sgraf import FastAverage, FastFiltration, FastReasoning, ReadOut
from crossgraph.models.sgraf import (
    SGRAF,
    Nodes,
    PairNodes,
    SAFConfig,
    SGRAFConfig,
    SGRConfig,
    logit_probability,
    splits_of_statistics,
)
from crossgraph.models.training_blocks import Splits


@dataclass(frozen=True)
class AverageConfig(SGRAFConfig):
    """SGRAF's choices with local nodes as default, as the paper measures averaging."""

    nodes: Nodes = "local"


@MODELS.register("sgraf-average")
class SGRAFAverage(SGRAF):
    """Averaging without reasoning: every node is scored alone, and the scores are averaged ("AA").

    Vectors: the mean of sigmoid(FC(s_p)), in 0..1. Scalars: the mean of the cosines, in −1..1, with nothing
    left to learn after the encoders.
    """

    Config = AverageConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (Table 4, AA)"
    config: AverageConfig

    def build_reading(self, sim: int) -> None:
        """Build the linear read-out of vectors; cosines are scores already."""
        if self.config.similarity == "vector":
            self.to_score = nn.Linear(sim, 1)

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the mean score of the real nodes."""
        nodes = pairs.nodes
        scores = nodes.squeeze(-1) if self.config.similarity == "scalar" else logit_probability(self.to_score(nodes))
        return masked_mean(scores.unsqueeze(-1), pairs.mask.expand(scores.shape)).squeeze(-1)

    def fast_read_outs(self, dtype: torch.dtype) -> list[ReadOut]:
        """Return the average of vectors' scores; cosines have no fast form."""
        return [FastAverage(self.to_score, dtype)] if self.config.similarity == "vector" else []

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return even weights: a mean counts all real nodes alike."""
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
        """Build both heads, each with a linear read-out of its own."""
        self.reasoning = GraphReasoning(sim, self.config.steps, "mean" if self.config.nodes == "local" else "first")
        self.filtration = AttentionFiltration(sim, self.config.attention_statistics)
        self.sgr_to_score = nn.Linear(sim, 1)
        self.saf_to_score = nn.Linear(sim, 1)

    def read_heads(self, pairs: PairNodes) -> dict[str, Float[Tensor, "group img txt"]]:
        """Return each head's scores by its name."""
        return {
            "sgr": logit_probability(self.sgr_to_score(self.reasoning(pairs.nodes, pairs.mask))),
            "saf": logit_probability(self.saf_to_score(self.filtration(pairs.nodes, pairs.mask))),
        }

    @property
    def splits(self) -> Splits:
        """The units of SAF's batch norm."""
        return splits_of_statistics(self.config.attention_statistics)

    def score_maps(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "group img txt"]]:
        """Return each head's scores, for a loss each."""
        return self.read_heads(self.compare(images, texts))

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the mean of the two heads' scores."""
        return torch.stack(list(self.read_heads(pairs).values())).mean(dim=0)

    def fast_read_outs(self, dtype: torch.dtype) -> list[ReadOut]:
        """Return both heads, of which the fast form returns the mean."""
        return [
            FastReasoning(self.reasoning, self.sgr_to_score, dtype),
            FastFiltration(self.filtration, self.saf_to_score, dtype),
        ]

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the mean of the two heads' weights."""
        sgr = self.reasoning.significance(pairs.nodes, pairs.mask)
        return (sgr + self.filtration.weights(pairs.nodes, pairs.mask)) / 2

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the ranking loss of each head, as "ranking_sgr" and "ranking_saf"; their mean has no loss."""
        return {f"ranking_{head}": ranking(scores) for head, scores in self.training_maps(images, texts).items()}
