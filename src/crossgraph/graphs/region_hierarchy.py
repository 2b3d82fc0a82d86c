"""HSC's region graph: several layers, each of which reads the nodes that the one before made.

A layer is `SemanticGraph`'s with richer edges: four heads project a node to a quarter of its size each, and the heads
side by side are mixed by one more linear layer before the products. Nothing bends in between, so that four heads side
by side are one linear layer; they are kept as one.
"""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.region_graph import SemanticGraph, dead_biases


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
    """Layers one after the other: objects, relations of objects, and what is above them.

    The levels are the paper's reading of the layers; only the last one's nodes are read.

    Args:
        dim: Size of a node.
        layers: How many; 0 leaves the nodes as they are.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__([RelationGraph(dim) for _ in range(layers)])

    def forward(self, nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"]) -> Float[Tensor, "n node dim"]:
        """Return the last level's nodes; padding takes no part and means nothing."""
        for layer in self:
            nodes = layer(nodes, mask)
        return nodes

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {name: why for level in range(len(self)) for name, why in dead_biases(str(level)).items()}
