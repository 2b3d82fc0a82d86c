"""Residual graph layers over the regions of a picture or the words of a caption, and their edges.

Every layer is V ← BN(W (A g(V))) + V; the layers differ in where the edges A come from.
- `SemanticGraph`: A = θ(V) φ(V)ᵀ / R, learned and complete (VSRN section 3.1, CGMN).
- `EdgeGraph`: A is given, for instance by overlap of boxes or by grammar (CGMN).

The batch norm's weight and bias start at zero, so that a layer starts as the identity.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.normalization import EPSILON, BatchNorm, l2norm

EdgeWeight = Literal["cosine", "published"]
BatchStatistics = Literal["real", "published"]
NormAxis = Literal["feature", "region"]


class EdgeGraph(nn.Module):
    """A graph layer with given edges: g before the edges, W and a batch norm after them.

    Args:
        dim: Size of a node.
        statistics: Nodes in the batch norm's statistics in training: "real" ones, or padding too as in the
            "published" code.
    """

    def __init__(self, dim: int, statistics: BatchStatistics = "real") -> None:
        super().__init__()
        self.statistics: BatchStatistics = statistics
        self.value = nn.Linear(dim, dim)
        self.update = nn.Linear(dim, dim)
        self.norm = BatchNorm(dim)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(
        self, nodes: Float[Tensor, "n node dim"], edges: Float[Tensor, "n node node"], mask: Bool[Tensor, "n node"]
    ) -> Float[Tensor, "n node dim"]:
        """Return BN(W (A g(V))) + V: every node i gets messages from the nodes j with an edge A_ij."""
        messages = self.update(edges @ self.value(nodes))
        return self.norm(messages, mask[..., None] if self.statistics == "real" else None) + nodes

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"update.bias": "batch norm subtracts it"}


class SemanticGraph(EdgeGraph):
    """A complete graph whose edges are products of two projections, divided by the number of nodes."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)

    def forward(self, nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"]) -> Float[Tensor, "n node dim"]:
        """Return the nodes after messages from all real nodes."""
        share = mask.to(nodes.dtype) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return super().forward(nodes, self.affinity(nodes) * share[:, None, :].to(nodes.dtype), mask)

    def affinity(self, nodes: Float[Tensor, "n node dim"]) -> Float[Tensor, "n node node"]:
        """Return θ(V) φ(V)ᵀ."""
        return self.query(nodes) @ self.key(nodes).transpose(1, 2)


def edge_weights(nodes: Float[Tensor, "n node dim"], weight: EdgeWeight) -> Float[Tensor, "n node node"]:
    """Return the similarity r_ij of every two nodes.

    Args:
        nodes: v.
        weight: "cosine" of v_i and v_j; "published" is ⟨v_i, v_j⟩ / ‖v_j‖² as in CGMN's code, which
            repeats the norms along the wrong axis.
    """
    if weight == "cosine":
        unit = l2norm(nodes)
        return unit @ unit.transpose(1, 2)
    norms = torch.linalg.vector_norm(nodes, dim=-1, keepdim=True) + EPSILON
    return nodes @ (nodes / norms**2).to(nodes.dtype).transpose(1, 2)


def overlap(boxes: Float[Tensor, "n region 4"], mask: Bool[Tensor, "n region"]) -> Float[Tensor, "n region region"]:
    """Return the intersection over union of all pairs of real boxes, 0 where one is padding or both are empty.

    Args:
        boxes: xyxy, in any unit: the ratio has none.
        mask: True where a region is real.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
    union = area[:, :, None] + area[:, None, :] - shared
    ratio = shared / union.clamp(min=torch.finfo(boxes.dtype).tiny)
    return ratio * (mask[:, :, None] & mask[:, None, :])


def masked_l2norm(
    nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"], axis: NormAxis
) -> Float[Tensor, "n node dim"]:
    """Return nodes normalised to unit length.

    Args:
        nodes: v.
        mask: True where a node is real.
        axis: "feature": each node on its own. "region": each feature over all real nodes of its picture, as
            the code of VSRN and CGMN does.
    """
    if axis == "feature":
        return l2norm(nodes)
    return l2norm(nodes * mask[..., None], axis=1)
