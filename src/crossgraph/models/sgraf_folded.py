"""SGRAF for inference: the same scores from fewer, larger and merged products.

What differs from the plain form (`sgraf.py`), none of it by more than rounding:
- Captions of equal length stand in one block: nothing is padding, nothing is masked.
- The norm of a word's context Σ_i α_i v_i is √(αᵀ G α) with the picture's Gram matrix G = V Vᵀ, so that the weights
  are scaled before the large product and the contexts come out normalised.
- SGR's edges (W_q n_i + b_q)·(W_k n_j + b_k) equal n_iᵀ A n_j + u·n_j + (what is the same for all j), with
  A = W_qᵀ W_k and u = W_kᵀ b_q. The softmax over j takes the rest out, so one product replaces two.
- SGR's last step updates the global node alone, the one that is read.
- SAF's batch norm is merged into its linear layer.
- In bfloat16 the large tensors and their weights are held in it, and rounded as seldom as can be; attention weights,
  norms, and all that comes after the nodes have become one vector (SGR's last step, the score) are float32.

The attention's direction only decides which side looks (queries) and which is looked at (contexts): regions that
attend to words are the same computation with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import EPSILON, l1norm, l2norm
from crossgraph.graphs.similarity_graph import AttentionFiltration, GraphReasoning, ReasoningStep
from crossgraph.models.folded import DTYPES, FoldedForm, Precision, by_length, real_items

if TYPE_CHECKING:
    from crossgraph.models.sgraf import SGRAF

Code = TypeVar("Code", ImageCode, TextCode)
_GRAM = "gram"  # the part that a prepared code has
_BETA = 2.0**20  # far above any difference, and a power of two, so that dividing by it rounds nothing


class Reading(Protocol):
    """Turns the nodes of pairs without padding into their scores."""

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Return one score a pair, in float32."""
        ...


@dataclass(frozen=True)
class _Linear:
    """The weight and bias of a linear layer, in the folded form's precision."""

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"]

    @classmethod
    def of(cls, layer: nn.Linear, dtype: torch.dtype) -> _Linear:
        return cls(layer.weight.detach().to(dtype), layer.bias.detach().to(dtype))

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class _Step:
    """One step of reasoning: N ← ReLU(W_r (E N)), E_ij = softmax_j((Aᵀ n_i + u)·n_j).

    Args:
        step: The plain one.
        dtype: To hold the weights in.
    """

    def __init__(self, step: ReasoningStep, dtype: torch.dtype) -> None:
        key, query = step.key.weight.detach().double(), step.query
        merged = key.T @ query.weight.detach().double()
        bias = key.T @ query.bias.detach().double()
        self.query = _Linear(merged.to(dtype), bias.to(dtype))
        self.update = _Linear.of(step.update, dtype)

    def all_nodes(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, "pair node sim"]:
        """Update all nodes."""
        queries = self.query(nodes.view(-1, nodes.shape[-1])).view_as(nodes)
        edges = torch.bmm(nodes, queries.transpose(1, 2)).softmax(dim=1)  # from j to i: much faster than along rows
        mixed = torch.bmm(edges.transpose(1, 2), nodes)
        return self.update(mixed.view(-1, nodes.shape[-1])).relu_().view_as(nodes)

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
        self._steps = [_Step(step, dtype) for step in reasoning.steps[: max(0, whole)]]
        self._last = [_Step(step, torch.float32) for step in reasoning.steps[max(0, whole) :]]
        self._to_score = _Linear.of(to_score, torch.float32)

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
        self._attend = _Linear((attend.weight * scale).detach().to(dtype), bias.detach().to(dtype))
        self._to_score = _Linear.of(to_score, torch.float32)

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
        self._to_score = _Linear.of(to_score, dtype)

    def __call__(self, nodes: Float[Tensor, "pair node sim"]) -> Float[Tensor, " pair"]:
        """Read every node and average."""
        return torch.sigmoid(self._to_score(nodes)[..., 0].float()).mean(dim=-1)


@dataclass(frozen=True)
class _Side:
    """One side of a block, prepared.

    Attributes:
        local: Region or word embeddings (row, item, dim).
        mask: True where an item is real; None where all are.
        overall: The global vectors (row, dim), or None.
        gram: Products of the embeddings with each other, float32.
    """

    local: Tensor
    mask: Tensor | None
    overall: Tensor | None
    gram: Tensor | None


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
        self._dtype = DTYPES[precision]
        self._readings = list(readings)
        self._smooth = config.smooth
        self._words_look = config.attention == "t2i"
        self._local = None if config.nodes == "global" else self._project(model.local_similarity)
        self._global = None if config.nodes == "local" else self._project(model.global_similarity)

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return self._prepare(code, self._words_look)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in the form's precision, with its Gram matrices where it is looked at."""
        return self._prepare(code, not self._words_look)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        if self._words_look:
            self._score_rows(images, texts, into)
        else:
            self._score_rows(texts, images, into.T)

    def _project(self, similarity: nn.Module) -> _Linear:
        project = similarity.project
        assert isinstance(project, nn.Linear)
        layer = _Linear.of(project, self._dtype)
        return layer if self.precision == "float32" else _Linear(layer.weight * (2 * _BETA), layer.bias)

    def _prepare(self, code: Code, looked_at: bool) -> Code:
        if _GRAM in code.parts:
            return code
        local, wide = code.local.to(self._dtype), code.local.float()
        parts = {name: part.to(self._dtype) for name, part in code.parts.items() if name == "global"}
        with torch.autocast(local.device.type, enabled=False):
            # where nothing is looked at an empty one, so that a prepared code is known
            parts[_GRAM] = wide @ wide.transpose(-1, -2) if looked_at else wide[..., :0, 0]
        return type(code)(local, code.mask, parts=parts)

    def _score_rows(
        self, contexts: ImageCode | TextCode, queries: ImageCode | TextCode, into: Float[Tensor, "context query"]
    ) -> None:
        """Score all rows of the side that is looked at with all rows of the side that looks."""
        mask = None if bool(contexts.mask.all()) else contexts.mask
        looked_at = _Side(contexts.local, mask, contexts.parts.get("global"), contexts.parts[_GRAM])
        overall = queries.parts.get("global")
        for rows, length in by_length(queries.mask):
            if rows is None:
                into.copy_(self._score_block(looked_at, _Side(queries.local, None, overall, None)))
                continue
            local = real_items(queries.local, queries.mask, rows, length)
            some = _Side(local, None, None if overall is None else overall[rows], None)
            into[:, rows] = self._score_block(looked_at, some)

    def _score_block(self, contexts: _Side, queries: _Side) -> Float[Tensor, "context query"]:
        """Score rows whose queries are equally many and all real."""
        (a, _, _), (b, items, _) = contexts.local.shape, queries.local.shape
        first = 0 if self._global is None else 1
        last = first + (0 if self._local is None else items)
        layer = self._local or self._global
        assert layer is not None
        nodes = contexts.local.new_empty(a * b, last, layer.weight.shape[0])
        if self._global is not None:
            assert contexts.overall is not None
            assert queries.overall is not None
            x, y = contexts.overall[:, None], queries.overall[None]
            _similarities(x, y, self._global, nodes[:, :1])
        if self._local is not None:
            _similarities(self._contexts(contexts, queries), queries.local[None], self._local, nodes[:, first:])
        scores = [reading(nodes) for reading in self._readings]
        return (scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)).view(a, b)

    def _contexts(self, contexts: _Side, queries: _Side) -> Float[Tensor, "context query item dim"]:
        """Return what every query saw, normalised."""
        (a, regions, d), (b, items, _) = contexts.local.shape, queries.local.shape
        flat = queries.local.reshape(b * items, d)
        affinity = F.leaky_relu_((flat @ contexts.local.reshape(a * regions, d).T).float(), 0.1)
        affinity = affinity.view(b, items, a * regions)
        # of the strided norms that PyTorch has, the sum of squares is by far the fastest
        scale = affinity.square().sum(dim=1, keepdim=True).sqrt_().add_(EPSILON).reciprocal_().mul_(self._smooth)
        weights = _shares(affinity.mul_(scale).view(b * items, a, regions), contexts.mask).transpose(0, 1)
        assert contexts.gram is not None
        energy = torch.bmm(weights, contexts.gram).mul_(weights).sum(dim=-1, keepdim=True).clamp_(min=0)
        weights = weights.mul(energy.sqrt_().add_(EPSILON).reciprocal_()).to(contexts.local.dtype)
        return torch.bmm(weights, contexts.local).view(a, b, items, d)


def _shares(logits: Float[Tensor, "query row item"], mask: Bool[Tensor, "row item"] | None) -> Tensor:
    """Return the softmax over real items."""
    if mask is not None:
        logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=-1)


def _similarities(x: Tensor, y: Tensor, layer: _Linear, into: Float[Tensor, "pair item sim"]) -> None:
    """Write l2norm(W (x − y)² + b) into some nodes; x and y broadcast to (context, query[, item], dim)."""
    shape = torch.broadcast_shapes(x.shape, y.shape)
    found = layer(_squares(x.expand(shape), y.expand(shape)).view(-1, shape[-1])).float()
    found.mul_(torch.linalg.vector_norm(found, dim=-1, keepdim=True).add_(EPSILON).reciprocal_())
    into.copy_(found.view(into.shape))


def _squares(x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return (x − y)² in one pass; in half precision (x − y)² / 2²¹.

    Below its beta the smooth L1 loss is (x − y)² / (2 beta), and of PyTorch's fused differences it is the one that
    computes in float32 and rounds once.
    """
    if x.dtype == torch.float32:
        return F.mse_loss(x, y, reduction="none")
    return F.smooth_l1_loss(x, y, reduction="none", beta=_BETA)
