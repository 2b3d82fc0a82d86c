"""Similarity nodes that reason with their context, level by level: TSHSR, as we design it.

The paper's abstract names the parts, not their equations. A level lets the nodes take from each other as SGR does
(*local interaction*), pools them into a few *context nodes*, and lets every node take from these by a gate
(*co-exploitation*). Deeper levels have fewer context nodes, each of which stands for more of the pair. The global node
is node 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.normalization import masked_softmax
from crossgraph.graphs.similarity_graph import ReasoningStep

Interaction = Literal["replace", "add"]


class ContextLevel(nn.Module):
    """One level: local interaction, context, co-exploitation.

    Args:
        sim: Size of a node.
        contexts: Number of context nodes.
        interaction: What a node becomes: what it took from the others ("replace", SGR's step), or that and itself
            ("add"), so that the nodes stay apart. After the former fresh nodes are nearly one.
    """

    def __init__(self, sim: int, contexts: int, interaction: Interaction) -> None:
        super().__init__()
        self.interaction: Interaction = interaction
        self.interact = ReasoningStep(sim)
        self.queries = nn.Parameter(torch.randn(contexts, sim))
        self.ask = nn.Linear(sim, sim)
        self.gate_node = nn.Linear(sim, sim)
        self.gate_context = nn.Linear(sim, sim, bias=False)
        self.value = nn.Linear(sim, sim)

    def take(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node sim"]:
        """Let every node take from all real nodes (local interaction)."""
        taken = self.interact(nodes, nodes, mask)
        return taken if self.interaction == "replace" else nodes + taken

    def shares(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt context node"]:
        """Return how much of each real node goes into each context node: softmax over the nodes; rows sum to 1."""
        return masked_softmax(F.linear(nodes, self.queries).transpose(-1, -2), mask.unsqueeze(-2))

    def co_exploit(
        self, nodes: Float[Tensor, "group img txt some sim"], contexts: Float[Tensor, "group img txt context sim"]
    ) -> Float[Tensor, "group img txt some sim"]:
        """Return n + σ(W_g [n; c]) ∘ W_c c, where c is what node n sees of the context nodes.

        What is linear in c is computed on the few context nodes, before they are seen.
        """
        seen = (self.ask(nodes) @ contexts.transpose(-1, -2)).softmax(dim=-1)
        gate = torch.sigmoid(self.gate_node(nodes) + seen @ self.gate_context(contexts))
        return nodes + gate * (seen @ self.value(contexts))


class HierarchicalReasoning(nn.Module):
    """Levels one after the other; what each says of the pair is read from all of them.

    Args:
        sim: Size of a node, and of the similarity vector.
        contexts: Number of context nodes of each level.
        interaction: See `ContextLevel`.
    """

    def __init__(self, sim: int, contexts: Sequence[int], interaction: Interaction) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ContextLevel(sim, count, interaction) for count in contexts)
        self.combine = nn.Linear(2 * len(contexts) * sim, sim)

    def forward(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt sim"]:
        """Reason and return one similarity vector a pair: a linear layer over every level's global node and context.

        A level's context is the mean of its context nodes. The last level updates the global node alone.
        """
        found: list[Tensor] = []
        for level in self.stages:
            last = level is self.stages[-1]
            nodes = level.take(nodes, mask)
            contexts = level.shares(nodes, mask) @ nodes
            nodes = level.co_exploit(nodes[..., :1, :] if last else nodes, contexts)
            found += [nodes[..., 0, :], contexts.mean(dim=-2)]
        return self.combine(torch.cat(found, dim=-1))

    def significance(
        self, nodes: Float[Tensor, "group img txt node sim"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node"]:
        """Return how much each node goes into what the levels read; sums to 1.

        Of each level the mean of the two things read: the global node's edges of the local interaction, and the
        nodes' shares of the context. All levels count alike. A node of a deeper level holds something of the other
        nodes too, and gates and signs are left out: a measure of who was looked at, not of what it changed.
        """
        found: list[Tensor] = []
        for level in self.stages:
            edges = level.interact.edges(nodes[..., :1, :], nodes, mask)[..., 0, :]
            nodes = level.take(nodes, mask)
            shares = level.shares(nodes, mask)
            found.append((edges + shares.mean(dim=-2)) / 2)
            nodes = level.co_exploit(nodes, shares @ nodes)
        return torch.stack(found).mean(dim=0)

    def dead_parameters(self) -> dict[str, str]:
        """Return the key biases, which shift all edges of a node alike, and questions with one answer."""
        dead: dict[str, str] = {}
        for i, level in enumerate(self.stages):
            dead[f"levels.{i}.interact.key.bias"] = "the same for all nodes under a softmax"
            if len(level.queries) == 1:
                alone = "a single context node is seen whole, whoever asks"
                dead |= {f"levels.{i}.ask.weight": alone, f"levels.{i}.ask.bias": alone}
        return dead

    @property
    def stages(self) -> list[ContextLevel]:
        """The levels in their order."""
        return cast("list[ContextLevel]", list(self.levels))
