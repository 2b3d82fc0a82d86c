"""HSC's region graph: a stack of `SemanticGraph` layers with richer edges.

For the edges, four heads project a node to a quarter of its size each, and one more linear layer mixes the
concatenated heads before the products. There is no nonlinearity between, so that the four heads are one linear layer.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.region_graph import SemanticGraph


class RelationGraph(SemanticGraph):
    """V ← BN(W_y (R g(V))) + V with R = a bᵀ / K, a = FC1(θ(V)), b = FC2(φ(V)), K real regions."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.mix_query = nn.Linear(dim, dim)
        self.mix_key = nn.Linear(dim, dim)

    def affinity(self, nodes: Float[Tensor, "n node dim"]) -> Float[Tensor, "n node node"]:
        """Return a bᵀ."""
        return self.mix_query(self.query(nodes)) @ self.mix_key(self.key(nodes)).transpose(1, 2)


class RegionHierarchy(nn.ModuleList):
    """A stack of `RelationGraph` layers whose last nodes are returned.

    The paper reads the layers as levels: objects, relations of objects, and higher ones.

    Args:
        dim: Size of a node.
        layers: Their number; 0 returns the nodes unchanged.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__([RelationGraph(dim) for _ in range(layers)])

    def forward(self, nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"]) -> Float[Tensor, "n node dim"]:
        """Return the last level's nodes; those of padding are meaningless and influence no other."""
        for layer in self:
            nodes = layer(nodes, mask)
        return nodes
