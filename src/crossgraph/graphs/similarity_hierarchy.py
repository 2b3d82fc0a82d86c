"""TSHSR's hierarchical reasoning over similarity nodes, in our design: the paper's abstract gives no equations.

A level updates the nodes by messages from each other as SGR does (*local interaction*), pools them into a few *context
nodes*, and updates every node by gated messages from these (*co-exploitation*). Deeper levels have fewer context nodes,
each of which summarises more of the pair. The global node is node 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.graphs.normalization import masked_softmax
from crossgraph.graphs.similarity_graph import NodeMask, Nodes, NodeWeights, ReasoningStep

Interaction = Literal["replace", "add"]


class ContextLevel(nn.Module):
    """One level: local interaction, context nodes, co-exploitation.

    Args:
        sim: Size of a node.
        contexts: Number of context nodes.
        interaction: The update of a node: the message replaces it ("replace", SGR's step), or is added to it ("add"),
            so that the nodes stay different. With "replace", the nodes of an untrained model become nearly equal.
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

    def interact_locally(self, nodes: Nodes, mask: NodeMask) -> Nodes:
        """Return the nodes after messages from all real nodes (local interaction)."""
        messages = self.interact(nodes, nodes, mask)
        return messages if self.interaction == "replace" else nodes + messages

    def shares(self, nodes: Nodes, mask: NodeMask) -> Float[Tensor, "group img txt context node"]:
        """Return the weights of the real nodes in each context node: softmax over the nodes; rows sum to 1."""
        return masked_softmax(F.linear(nodes, self.queries).transpose(-1, -2), mask.unsqueeze(-2))

    def co_exploit(
        self, nodes: Float[Tensor, "group img txt target sim"], contexts: Float[Tensor, "group img txt context sim"]
    ) -> Float[Tensor, "group img txt target sim"]:
        """Return n + σ(W_g [n; c]) ∘ W_c c, where c is the attended context node of node n.

        Layers that are linear in c are applied to the few context nodes, before the attention averages them.
        """
        weights = (self.ask(nodes) @ contexts.transpose(-1, -2)).softmax(dim=-1)
        gate = torch.sigmoid(self.gate_node(nodes) + weights @ self.gate_context(contexts))
        return nodes + gate * (weights @ self.value(contexts))

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn: without a choice of context nodes, the question has no effect."""
        names = ("ask.weight", "ask.bias") if len(self.queries) == 1 else ()
        return dict.fromkeys(names, "a single context node gets all attention")


class HierarchicalReasoning(nn.Module):
    """A stack of levels, and a similarity vector read from all of them.

    Args:
        sim: Size of a node, and of the similarity vector.
        contexts: Number of context nodes of each level.
        interaction: See `ContextLevel`.
    """

    def __init__(self, sim: int, contexts: Sequence[int], interaction: Interaction) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ContextLevel(sim, count, interaction) for count in contexts)
        self.combine = nn.Linear(2 * len(contexts) * sim, sim)

    def forward(self, nodes: Nodes, mask: NodeMask) -> Float[Tensor, "group img txt sim"]:
        """Return one similarity vector a pair: a linear layer over every level's global node and context.

        A level's context is the mean of its context nodes. The last level updates the global node alone.
        """
        summaries: list[Tensor] = []
        for level in self.stages:
            last = level is self.stages[-1]
            nodes = level.interact_locally(nodes, mask)
            contexts = level.shares(nodes, mask) @ nodes
            nodes = level.co_exploit(nodes[..., :1, :] if last else nodes, contexts)
            summaries += [nodes[..., 0, :], contexts.mean(dim=-2)]
        return self.combine(torch.cat(summaries, dim=-1))

    def significance(self, nodes: Nodes, mask: NodeMask) -> NodeWeights:
        """Return the weight of each node in the values that are read from the levels; sums to 1.

        Of each level it is the mean of the global node's edges in the local interaction and of the nodes' weights in
        the context. All levels count alike. Nodes of deeper levels mix the others in, and gates and signs are ignored:
        this measures attention, not the change of the score.
        """
        summaries: list[Tensor] = []
        for level in self.stages:
            edges = level.interact.edges(nodes[..., :1, :], nodes, mask)[..., 0, :]
            nodes = level.interact_locally(nodes, mask)
            shares = level.shares(nodes, mask)
            summaries.append((edges + shares.mean(dim=-2)) / 2)
            nodes = level.co_exploit(nodes, shares @ nodes)
        return torch.stack(summaries).mean(dim=0)

    @property
    def stages(self) -> list[ContextLevel]:
        """The levels in their order."""
        return cast("list[ContextLevel]", list(self.levels))
