"""SGRAF's similarity vectors, and the graph reasoning (SGR) and attention filtration (SAF) over them.

A *node* is a similarity vector of size m: of the two global vectors, or of one word (region) and its attended context.
The nodes of a pair are a complete graph (group, img, txt, node, m); the global node, where there is one, is node 0.
Padding words are nodes too, so that all pairs have one shape: the mask excludes them wherever nodes are summed,
weighed or normalised. A node's own update may be computed for padding and is never read.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.cross_attention import contexts_of_words
from crossgraph.graphs.normalization import (
    BatchNorm,
    PerCaptionBatchNorm,
    l1norm,
    l2norm,
    masked_mean,
    masked_softmax,
)
from crossgraph.graphs.similarity_vectors import similarity_vectors

AttentionStatistics = Literal["per_caption", "per_batch"]
ReadOut = Literal["first", "mean"]
Nodes = Float[Tensor, "group img txt node sim"]
NodeMask = Bool[Tensor, "group #img #txt node"]
NodeWeights = Float[Tensor, "group img txt node"]


class SimilarityVector(nn.Module):
    """s(x, y) = l2norm(W (x − y)² + b) (Eq. 1): the difference of two vectors as m numbers instead of one."""

    def __init__(self, dim: int, sim: int) -> None:
        super().__init__()
        self.project = nn.Linear(dim, sim)

    def forward(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the vectors along the last axis; the other axes broadcast."""
        return l2norm(self.project((x - y.to(x.dtype)).square()))

    def of_contexts(
        self,
        weights: Float[Tensor, "group attended querying query context"],
        contexts: Float[Tensor, "group attended context dim"],
        queries: Float[Tensor, "group querying query dim"],
    ) -> Float[Tensor, "group attended querying query sim"]:
        """Return s(l2norm(Σ_i α_i v_i), q) of every query and its attended context; see `similarity_vectors`."""
        return similarity_vectors(weights, contexts, queries, self.project.weight, self.project.bias)


class SimilarityScalar(nn.Module):
    """s(x, y) = cos(x, y): the ablation, a "vector" of one number (Table 4, "SS")."""

    def forward(self, x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the cosines along the last axis, which becomes 1; the other axes broadcast."""
        return (l2norm(x) * l2norm(y.to(x.dtype))).sum(dim=-1, keepdim=True)

    def of_contexts(
        self,
        weights: Float[Tensor, "group attended querying query context"],
        contexts: Float[Tensor, "group attended context dim"],
        queries: Float[Tensor, "group querying query dim"],
    ) -> Float[Tensor, "group attended querying query 1"]:
        """Return the cosine of every query and its attended context l2norm(Σ_i α_i v_i)."""
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
        """Return each target node's edge weights from all real nodes; rows sum to 1."""
        logits = self.query(targets) @ self.key(nodes).transpose(-1, -2)
        return masked_softmax(logits, mask.unsqueeze(-2))

    def forward(
        self,
        targets: Float[Tensor, "*pair target sim"],
        nodes: Float[Tensor, "*pair node sim"],
        mask: Bool[Tensor, "..."],
    ) -> Float[Tensor, "*pair target sim"]:
        """Return the updated target nodes: all nodes, or node 0 alone where the others are not read any more."""
        return torch.relu(self.update(self.edges(targets, nodes, mask) @ nodes))

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"key.bias": "the same for all nodes under a softmax"}


class GraphReasoning(nn.ModuleList):
    """SGR: reasoning steps with weights of their own, then one vector read from the nodes.

    Args:
        sim: Size of a node.
        steps: Their number; 0 reads the nodes unchanged.
        reads: "first": node 0, which compares the global vectors. "mean": the average of all real nodes, for
            graphs without a global one.
    """

    def __init__(self, sim: int, steps: int, reads: ReadOut) -> None:
        super().__init__([ReasoningStep(sim) for _ in range(steps)])
        self.reads: ReadOut = reads

    @property
    def steps(self) -> list[ReasoningStep]:
        """The steps in their order."""
        return cast("list[ReasoningStep]", list(self))

    def forward(self, nodes: Nodes, mask: NodeMask) -> Float[Tensor, "group img txt sim"]:
        """Return the vector after all steps; where node 0 is read, the last step updates no other node."""
        for step in self.steps[:-1]:
            nodes = step(nodes, nodes, mask)
        for step in self.steps[-1:]:
            nodes = step(self._read_nodes(nodes), nodes, mask)
        return nodes[..., 0, :] if self.reads == "first" else _mean_of_nodes(nodes, mask)

    def significance(self, nodes: Nodes, mask: NodeMask) -> NodeWeights:
        """Return the weight of each node in the vector that is read, by the last step's edges; sums to 1.

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
    """SAF: weights a = l1norm(sigmoid(BN(FC(N)))) over the nodes, and the vector l2norm(Σ_p a_p N_p).

    Args:
        sim: Size of a node.
        statistics: Statistics of the batch normalisation in training. "per_caption": one caption against all
            images, as published. "per_batch": all pairs of the batch. In evaluation both are the same.
    """

    def __init__(self, sim: int, statistics: AttentionStatistics) -> None:
        super().__init__()
        self.attend = nn.Linear(sim, 1)
        self.norm = PerCaptionBatchNorm() if statistics == "per_caption" else BatchNorm(1)

    def logits(self, nodes: Nodes, mask: NodeMask) -> NodeWeights:
        """Return the normalised attention before the sigmoid."""
        raw = self.attend(nodes).squeeze(-1)
        if isinstance(self.norm, PerCaptionBatchNorm):
            return self.norm(raw, mask)
        return self.norm(raw.unsqueeze(-1), mask.unsqueeze(-1)).squeeze(-1)

    def weights(self, nodes: Nodes, mask: NodeMask) -> NodeWeights:
        """Return each node's weight; padding gets 0 and the rest sum to 1."""
        return l1norm(torch.sigmoid(self.logits(nodes, mask)) * mask)

    def forward(self, nodes: Nodes, mask: NodeMask) -> Float[Tensor, "group img txt sim"]:
        """Return one similarity vector a pair, the weighted sum of its nodes."""
        return l2norm((self.weights(nodes, mask).unsqueeze(-2) @ nodes).squeeze(-2))

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"attend.bias": "batch norm subtracts it"}


def _mean_of_nodes(x: Float[Tensor, "group img txt node value"], mask: Tensor) -> Float[Tensor, "group img txt value"]:
    """Return the mean over real nodes."""
    return masked_mean(x, mask.expand(x.shape[:-1]))
