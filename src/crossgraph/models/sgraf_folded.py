"""SGRAF for inference: the same scores from fewer, larger and merged products.

What differs from the plain form (`sgraf.py`), none of it by more than rounding:
- The nodes are those of `folded_nodes.py`: captions of equal length in one block, contexts that come out normalised.
- SGR's edges (W_q n_i + b_q)·(W_k n_j + b_k) equal n_iᵀ A n_j + u·n_j + (what is the same for all j), with
  A = W_qᵀ W_k and u = W_kᵀ b_q. The softmax over j takes the rest out, so one product replaces two.
- SGR's last step updates the global node alone, the one that is read.
- SAF's batch norm is merged into its linear layer.
- In bfloat16 the large tensors and their weights are held in it, and rounded as seldom as can be; attention weights,
  norms, and all that comes after the nodes have become one vector (SGR's last step, the score) are float32.
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
from crossgraph.models.folded import FoldedForm, Precision, by_length, real_items
from crossgraph.models.folded_nodes import GRAM, FoldedLinear, FoldedNodes, Side, prepare

if TYPE_CHECKING:
    from crossgraph.models.sgraf import SGRAF


class Reading(Protocol):
    """Turns the nodes of pairs without padding into their scores."""

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return one score a pair, in float32."""
        ...


class FoldedStep:
    """One step of reasoning: N ← ReLU(W_r (E N)), E_ij = softmax_j((Aᵀ n_i + u)·n_j).

    Args:
        step: The plain one.
        dtype: To hold the weights in.
    """

    def __init__(self, step: ReasoningStep, dtype: torch.dtype) -> None:
        key, query = step.key.weight.detach().double(), step.query
        merged = key.T @ query.weight.detach().double()
        bias = key.T @ query.bias.detach().double()
        self.query = FoldedLinear(merged, bias, dtype)
        self.update = FoldedLinear.of(step.update, dtype)

    def all_nodes(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair node sim"]:
        """Update all nodes."""
        edges = torch.bmm(nodes, self.query(nodes).transpose(1, 2)).softmax(
            dim=1
        )  # from j to i: much faster than along rows
        return self.update(torch.bmm(edges.transpose(1, 2), nodes)).relu_()

    def first_node(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair sim"]:
        """Update node 0 alone."""
        query = self.query(nodes[:, 0])
        edges = torch.bmm(query[:, None], nodes.transpose(1, 2)).softmax(dim=-1)
        return self.update(torch.bmm(edges, nodes)[:, 0]).relu_()


class FoldedReasoning:
    """SGR's reading.

    Args:
        reasoning: The steps.
        to_score: The linear reading of what they end with.
        dtype: To hold the weights in.
    """

    def __init__(self, reasoning: GraphReasoning, to_score: nn.Linear, dtype: torch.dtype) -> None:
        self._reads_first = reasoning.reads == "first"
        whole = len(reasoning.steps) - self._reads_first
        self._steps = [FoldedStep(step, dtype) for step in reasoning.steps[: max(0, whole)]]
        self._last = [FoldedStep(step, torch.float32) for step in reasoning.steps[max(0, whole) :]]
        self._to_score = FoldedLinear.of(to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Reason and read."""
        for step in self._steps:
            nodes = step.all_nodes(nodes)
        if not self._reads_first:
            vector = nodes.float().mean(dim=1)
        elif self._last:
            vector = self._last[0].first_node(nodes.float())
        else:
            vector = nodes[:, 0].float()
        return torch.sigmoid(self._to_score(vector)[:, 0])


class FoldedFiltration:
    """SAF's reading.

    Args:
        filtration: The attention over nodes; its batch norm by running statistics.
        to_score: The linear reading of the weighed sum.
        dtype: To hold the weights in.
    """

    def __init__(self, filtration: AttentionFiltration, to_score: nn.Linear, dtype: torch.dtype) -> None:
        norm, attend = filtration.norm, filtration.attend
        scale = (norm.weight * torch.rsqrt(norm.running_var + norm.eps)).detach()
        bias = (attend.bias - norm.running_mean) * scale + norm.bias
        self._attend = FoldedLinear(attend.weight * scale, bias, dtype)
        self._to_score = FoldedLinear.of(to_score, torch.float32)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Filter and read."""
        weights = l1norm(torch.sigmoid(self._attend(nodes).float()), axis=1)
        vector = l2norm(torch.bmm(weights.transpose(1, 2), nodes.float())[:, 0])
        return torch.sigmoid(self._to_score(vector)[:, 0])


class FoldedAverage:
    """The plain average of the nodes' own scores.

    Args:
        to_score: The linear reading of a node.
        dtype: To hold the weights in.
    """

    def __init__(self, to_score: nn.Linear, dtype: torch.dtype) -> None:
        self._to_score = FoldedLinear.of(to_score, dtype)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Read every node and average."""
        return torch.sigmoid(self._to_score(nodes)[..., 0].float()).mean(dim=-1)


class FoldedSGRAF(FoldedForm):
    """A `Scorer` equal to `SGRAF.score` in evaluation mode; copies the weights as they are now.

    Args:
        model: Similarity vectors, not scalars.
        readings: What reads scores from nodes; several are averaged.
        precision: Of vectors and weights.
    """

    def __init__(self, model: SGRAF, readings: Sequence[Reading], precision: Precision = "float32") -> None:
        config = model.config
        self.precision: Precision = precision
        self._readings = list(readings)
        self._words_look = config.attention == "t2i"
        self._nodes = FoldedNodes(
            None if config.nodes == "global" else model.local_similarity,
            None if config.nodes == "local" else model.global_similarity,
            config.smooth,
            precision,
        )

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return prepare(code, self.precision, self._words_look)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return prepare(code, self.precision, not self._words_look)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        if self._words_look:
            self._score_rows(images, texts, into)
        else:
            self._score_rows(texts, images, into.T)

    def score_lists(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "list txt"]:
        """Score each picture with captions of its own; see `ScoresLists`."""
        lists, captions = texts.local.shape[:2]
        if self._words_look:
            mask = None if bool(images.mask.all()) else images.mask
            contexts = Side(images.local, mask, images.parts.get("global"), images.parts[GRAM])
            return self._score_block(contexts, Side(texts.local, None, texts.parts.get("global"), None))
        contexts = texts.map(lambda t: t.flatten(0, 1))
        queries = images.map(lambda t: t[:, None].expand(-1, captions, *t.shape[1:]).flatten(0, 1))
        scores = contexts.local.new_zeros(lists * captions, 1, dtype=torch.float32)
        for rows, length in by_length(queries.mask):
            some = slice(None) if rows is None else rows
            local = real_items(queries.local, queries.mask, rows, length) if rows is not None else queries.local
            looked_at, looking = contexts.select(some), queries.select(some)
            overall = looking.parts.get("global")
            side = Side(local[:, None], None, None if overall is None else overall[:, None], None)
            context = Side(looked_at.local, None, looked_at.parts.get("global"), looked_at.parts[GRAM])
            scores[some] = self._score_block(context, side)
        return scores.view(lists, captions)

    def _score_rows(
        self, contexts: ImageCode | TextCode, queries: ImageCode | TextCode, into: Float[Tensor, "context query"]
    ) -> None:
        """Score all rows of the side that is looked at with all rows of the side that looks."""
        mask = None if bool(contexts.mask.all()) else contexts.mask
        looked_at = Side(contexts.local, mask, contexts.parts.get("global"), contexts.parts[GRAM])
        overall = queries.parts.get("global")
        for rows, length in by_length(queries.mask):
            if rows is None:
                into.copy_(self._score_block(looked_at, Side(queries.local, None, overall, None)))
                continue
            local = real_items(queries.local, queries.mask, rows, length)
            some = Side(local, None, None if overall is None else overall[rows], None)
            into[:, rows] = self._score_block(looked_at, some)

    def _score_block(self, contexts: Side, queries: Side) -> Float[Tensor, "context query"]:
        """Score rows whose queries are equally many and all real."""
        nodes = self._nodes(contexts, queries)
        scores = [reading(nodes) for reading in self._readings]
        found = scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)
        return found.view(len(contexts.local), queries.local.shape[-3])
