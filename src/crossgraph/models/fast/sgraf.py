"""SGRAF's fast form: the same scores from fewer, larger and merged matrix products.

What differs from the plain form (`models/sgraf.py`), none of it by more than rounding:
- Nodes are computed as in `similarity_nodes.py`: captions of equal length in one block, contexts with unit length.
- SGR's edges (W_q n_i + b_q)·(W_k n_j + b_k) equal n_iᵀ A n_j + u·n_j + (a term that is the same for all j),
  with A = W_qᵀ W_k and u = W_kᵀ b_q. The softmax over j cancels that term, so that one product replaces two.
- SGR's last step updates the global node alone, which is the one that is read.
- SAF's batch norm is merged into its linear layer.
- In bfloat16 the large tensors and their weights are held in it, and rounded as seldom as possible; attention weights,
  norms, and everything after the nodes have become one vector (SGR's last step, the score) are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import l1norm, l2norm
from crossgraph.graphs.similarity_graph import AttentionFiltration, GraphReasoning, ReasoningStep
from crossgraph.models.fast.form import GRAM, Code, CodeSide, FastForm, Precision, by_length, real_items
from crossgraph.models.fast.similarity_nodes import FastLinear, FastNodes, NodeSide, with_gram_matrices

if TYPE_CHECKING:
    from crossgraph.models.sgraf import SGRAF


class ReadOut(Protocol):
    """A function from the nodes of pairs, without padding, to their scores."""

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return one score a pair, in float32."""
        ...


class FastStep:
    """One step of reasoning: N ← ReLU(W_r (E N)), E_ij = softmax_j((Aᵀ n_i + u)·n_j).

    Args:
        step: The plain step.
        dtype: Type of the weights.
    """

    def __init__(self, step: ReasoningStep, dtype: torch.dtype) -> None:
        key, query = step.key.weight.detach().double(), step.query
        merged = key.T @ query.weight.detach().double()
        bias = key.T @ query.bias.detach().double()
        self.query = FastLinear(merged, bias, dtype)
        self.update = FastLinear.of(step.update, dtype)

    def all_nodes(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair node sim"]:
        """Return all nodes updated."""
        # softmax along columns, from j to i: much faster than along rows
        edges = torch.bmm(nodes, self.query(nodes).transpose(1, 2)).softmax(dim=1)
        return self.update(torch.bmm(edges.transpose(1, 2), nodes)).relu_()

    def first_node(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair sim"]:
        """Return node 0 updated."""
        query = self.query(nodes[:, 0])
        edges = torch.bmm(query[:, None], nodes.transpose(1, 2)).softmax(dim=-1)
        return self.update(torch.bmm(edges, nodes)[:, 0]).relu_()


class FastReasoning:
    """SGR's read-out.

    Args:
        reasoning: The steps.
        to_score: The linear read-out of the last node.
        dtype: Type of the weights of all steps but the last.
    """

    def __init__(self, reasoning: GraphReasoning, to_score: nn.Linear, dtype: torch.dtype) -> None:
        self._reads_first = reasoning.reads == "first"
        full = len(reasoning.steps) - self._reads_first  # steps that update all nodes
        self._steps = [FastStep(step, dtype) for step in reasoning.steps[: max(0, full)]]
        self._last = [FastStep(step, torch.float32) for step in reasoning.steps[max(0, full) :]]
        self._to_score = FastLinear.of(to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return the scores after all steps."""
        for step in self._steps:
            nodes = step.all_nodes(nodes)
        if not self._reads_first:
            vector = nodes.float().mean(dim=1)
        elif self._last:
            vector = self._last[0].first_node(nodes.float())
        else:
            vector = nodes[:, 0].float()
        return torch.sigmoid(self._to_score(vector)[:, 0])


class FastFiltration:
    """SAF's read-out.

    Args:
        filtration: The attention over nodes; its batch norm by running statistics.
        to_score: The linear read-out of the weighted sum.
        dtype: Type of the attention's weights.
    """

    def __init__(self, filtration: AttentionFiltration, to_score: nn.Linear, dtype: torch.dtype) -> None:
        norm, attend = filtration.norm, filtration.attend
        scale = (norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach()
        bias = (attend.bias - norm.running_mean) * scale + norm.bias
        self._attend = FastLinear(attend.weight * scale, bias, dtype)
        self._to_score = FastLinear.of(to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return the scores of the weighted sums."""
        weights = l1norm(torch.sigmoid(self._attend(nodes).float()), axis=1)
        vector = l2norm(torch.bmm(weights.transpose(1, 2), nodes.float())[:, 0])
        return torch.sigmoid(self._to_score(vector)[:, 0])


class FastAverage:
    """The average of the nodes' own scores.

    Args:
        to_score: The linear read-out of a node.
        dtype: Type of its weights.
    """

    def __init__(self, to_score: nn.Linear, dtype: torch.dtype) -> None:
        self._to_score = FastLinear.of(to_score, dtype)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return the mean of the nodes' scores."""
        return torch.sigmoid(self._to_score(nodes)[..., 0].float()).mean(dim=-1)


class FastSGRAF(FastForm):
    """A `Scorer` equal to `SGRAF.score` in evaluation mode; copies the current weights.

    Args:
        model: Similarity vectors, not scalars.
        read_outs: Functions from nodes to scores; several are averaged.
        precision: Of vectors and weights.
    """

    def __init__(self, model: SGRAF, read_outs: Sequence[ReadOut], precision: Precision = "float32") -> None:
        config = model.config
        self.precision: Precision = precision
        self._read_outs = list(read_outs)
        self._words_attend = config.attention == "t2i"
        self._nodes = FastNodes(
            None if config.nodes == "global" else model.local_similarity,
            None if config.nodes == "local" else model.global_similarity,
            config.smooth,
            precision,
        )

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code in the form's precision, with Gram matrices if it is the attended side."""
        return with_gram_matrices(code, self.precision, self._words_attend == (side == "image"))

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        if self._words_attend:
            self._score_rows(images, texts, into)
        else:
            self._score_rows(texts, images, into.T)

    def score_lists(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "list txt"]:
        """Score each picture with captions of its own; see `ScoresLists`."""
        lists, captions = texts.local.shape[:2]
        if self._words_attend:
            queries = NodeSide(texts.local, None, texts.parts.get("global"), None)
            return self._score_block(_attended_side(images), queries)
        # Every caption is the context of one picture, whose regions are the queries: lists · captions blocks of 1 × 1.
        contexts = texts.map(lambda t: t.flatten(0, 1))
        queries = images.map(lambda t: t[:, None].expand(-1, captions, *t.shape[1:]).flatten(0, 1))
        scores = contexts.local.new_zeros(lists * captions, 1, dtype=torch.float32)
        for rows, length in by_length(queries.mask):
            local = real_items(queries.local, queries.mask, rows, length)
            overall = queries.parts.get("global")
            own = NodeSide(local[:, None], None, None if overall is None else overall[rows][:, None], None)
            scores[rows] = self._score_block(_attended_side(contexts.select(rows)), own)
        return scores.view(lists, captions)

    def _score_rows(
        self, contexts: ImageCode | TextCode, queries: ImageCode | TextCode, into: Float[Tensor, "context query"]
    ) -> None:
        """Score all rows of the attended side with all rows of the querying side."""
        attended, overall = _attended_side(contexts), queries.parts.get("global")
        for rows, length in by_length(queries.mask):
            local = real_items(queries.local, queries.mask, rows, length)
            side = NodeSide(local, None, None if overall is None else overall[rows], None)
            into[:, rows] = self._score_block(attended, side)

    def _score_block(self, contexts: NodeSide, queries: NodeSide) -> Float[Tensor, "context query"]:
        """Score rows whose queries are equally many and all real."""
        nodes = self._nodes(contexts, queries)
        scores = [read_out(nodes) for read_out in self._read_outs]
        mean = scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)
        return mean.view(len(contexts.local), queries.local.shape[-3])


def _attended_side(code: ImageCode | TextCode) -> NodeSide:
    mask = None if bool(code.mask.all()) else code.mask
    return NodeSide(code.local, mask, code.parts.get("global"), code.parts[GRAM])
