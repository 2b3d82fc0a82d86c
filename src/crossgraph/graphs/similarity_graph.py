"""Similarity vectors and what reasons over them (SGRAF sections "similarity representation", SGR, SAF).

A *node* is a similarity vector: of the two global vectors, or of one word (region) and what it saw. The
global node, where there is one, is node 0.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.compared_contexts import similarities_of_contexts
from crossgraph.graphs.cross_attention import contexts_of_words
from crossgraph.graphs.normalization import (
    BatchNorm,
    PerCaptionBatchNorm,
    l1norm,
    l2norm,
    masked_mean,
    masked_softmax,
)

AttentionStatistics = Literal["per_caption", "per_batch"]
Reading = Literal["first", "mean"]


class SimilarityVector(nn.Module):
    """s(x, y) = l2norm(W (x − y)² + b), Eq. 1: how two vectors differ, in m numbers instead of one."""

    def __init__(self, dim: int, sim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, sim)

    def forward(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Compare along the last axis; the other axes broadcast."""
        return l2norm(self.project((x - y.to(x.dtype)).square()))

    def of_contexts(
        self,
        weights: Float[Tensor, "group seen looking query context"],
        contexts: Float[Tensor, "group seen context dim"],
        queries: Float[Tensor, "group looking query dim"],
    ) -> Float[Tensor, "group seen looking query sim"]:
        """Compare every query with l2norm(Σ_i α_i v_i), what it saw; see `similarities_of_contexts`."""
        return similarities_of_contexts(weights, contexts, queries, self.project.weight, self.project.bias)


class SimilarityScalar(nn.Module):
    """s(x, y) = cos(x, y): the plain alternative, a "vector" of one number (Table 4, "SS")."""

    def forward(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Compare along the last axis, which becomes 1; the other axes broadcast."""
        return (l2norm(x) * l2norm(y.to(x.dtype))).sum(dim=-1, keepdim=True)

    def of_contexts(
        self,
        weights: Float[Tensor, "group seen looking query context"],
        contexts: Float[Tensor, "group seen context dim"],
        queries: Float[Tensor, "group looking query dim"],
    ) -> Float[Tensor, "group seen looking query 1"]:
        """Compare every query with l2norm(Σ_i α_i v_i), what it saw."""
        return self(contexts_of_words(weights, contexts), queries[:, None])


class ReasoningStep(nn.Module):
    """One step of SGR: N ← ReLU(W_r (E N)), E = softmax_q((W_in N)(W_out N)ᵀ), without 1/√m."""

    def __init__(self, sim: int) -> None:
        super().__init__()
        self.query = nn.Linear(sim, sim)
        self.key = nn.Linear(sim, sim)
        self.update = nn.Linear(sim, sim)

    def edges(
        self,
        targets: Float[Tensor, "*pair target sim"],
        nodes: Float[Tensor, "*pair node sim"],
        mask: Bool[Tensor, "..."],
    ) -> Float[Tensor, "*pair target node"]:
        """Return how much each target node takes from each real node; rows sum to 1."""
        logits = self.query(targets) @ self.key(nodes).transpose(-1, -2)
        return masked_softmax(logits, mask.unsqueeze(-2))

    def forward(
        self,
        targets: Float[Tensor, "*pair target sim"],
        nodes: Float[Tensor, "*pair node sim"],
        mask: Bool[Tensor, "..."],
    ) -> Float[Tensor, "*pair target sim"]:
        """Update the target nodes (all nodes, or node 0 alone where nothing else is read) from all real nodes."""
        return torch.relu(self.update(self.edges(targets, nodes, mask) @ nodes))


class GraphReasoning(nn.ModuleList):
    """SGR: some reasoning steps, each with weights of its own, then one vector read from the nodes.

    Args:
        sim: Size of a node.
        steps: How many; 0 reads the nodes as they are.
        reads: "first": node 0, which compares the global vectors. "mean": the average of all real nodes, for
            graphs without a global one.
    """

    def __init__(self, sim: int, steps: int, reads: Reading) -> None:
        super().__init__([ReasoningStep(sim) for _ in range(steps)])
        self.reads: Reading = reads

    @property
    def steps(self) -> list[ReasoningStep]:
        """The steps in their order."""
        return cast("list[ReasoningStep]", list(self))

    def forward(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt sim"]:
        """Reason and read; where node 0 is read, the last step updates no other node."""
        for step in self.steps[:-1]:
            nodes = step(nodes, nodes, mask)
        for step in self.steps[-1:]:
            nodes = step(self._read_nodes(nodes), nodes, mask)
        return nodes[..., 0, :] if self.reads == "first" else _mean_of_nodes(nodes, mask)

    def significance(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node"]:
        """Return how much of each node the last step takes into what is read; sums to 1.

        Without steps all weight is on node 0, or is shared evenly where the mean is read.
        """
        for step in self.steps[:-1]:
            nodes = step(nodes, nodes, mask)
        if self.steps:
            edges = self.steps[-1].edges(self._read_nodes(nodes), nodes, mask)
        else:
            edges = torch.diag_embed(torch.ones_like(nodes[..., 0]))
        return edges[..., 0, :] if self.reads == "first" else _mean_of_nodes(edges, mask)

    def _read_nodes(self, nodes: Tensor) -> Tensor:
        return nodes[..., :1, :] if self.reads == "first" else nodes


class AttentionFiltration(nn.Module):
    """SAF: a = l1norm(sigmoid(BN₁(FC(N)))) over the nodes, and the vector l2norm(Σ a_p N_p).

    Args:
        sim: Size of a node.
        statistics: What the batch normalisation sees in training. "per_caption": one caption against all
            images, as published. "per_batch": all pairs of the batch. In evaluation both are the same.
    """

    def __init__(self, sim: int, statistics: AttentionStatistics) -> None:
        super().__init__()
        self.attend = nn.Linear(sim, 1)
        self.norm = PerCaptionBatchNorm() if statistics == "per_caption" else BatchNorm(1)

    def logits(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node"]:
        """Return the normalised attention before its sigmoid."""
        raw = self.attend(nodes).squeeze(-1)
        if isinstance(self.norm, PerCaptionBatchNorm):
            return self.norm(raw, mask)
        return self.norm(raw.unsqueeze(-1), mask.unsqueeze(-1)).squeeze(-1)

    def weights(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node"]:
        """Return each node's share; padding gets 0 and the rest sum to 1."""
        return l1norm(torch.sigmoid(self.logits(nodes, mask)) * mask)

    def forward(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt sim"]:
        """Filter the nodes to one similarity vector a pair."""
        return l2norm((self.weights(nodes, mask).unsqueeze(-2) @ nodes).squeeze(-2))


def _mean_of_nodes(x: Float[Tensor, "group img txt node any"], mask: Tensor) -> Float[Tensor, "group img txt any"]:
    """Average the rows of real nodes."""
    return masked_mean(x, mask.expand(x.shape[:-1]))
