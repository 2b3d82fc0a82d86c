"""Similarity nodes for inference: what folded forms share whose pairs become nodes (`sgraf_folded`, `tshsr_folded`).

What differs from the plain nodes (`SimilarityVector.of_contexts`), none of it by more than rounding:
- Those who look are equally many and all real in one block: nothing is padding, nothing is masked.
- The norm of a word's context Σ_i α_i v_i is √(αᵀ G α) with the picture's Gram matrix G = V Vᵀ, so that the weights
  are scaled before the large product and the contexts come out normalised.
- Contexts are made, compared with those that look, and given up, as many at a time as stay in a core's cache.

The attention's direction only decides which side looks (queries) and which is looked at (contexts): regions that
attend to words are the same computation with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import EPSILON
from crossgraph.models.folded import DTYPES, Precision

Code = TypeVar("Code", ImageCode, TextCode)
GRAM = "gram"  # the part that a prepared code has
_PIECE_BYTES = 1 << 22  # of a tensor that is passed over several times, on a CPU
_ACCELERATOR_PIECE_BYTES = 1 << 31
_BETA = 2.0**20  # far above any difference, and a power of two, so that dividing by it rounds nothing


class FoldedLinear:
    """A linear layer in the folded form's precision.

    Args:
        weight: Copied.
        bias: Likewise.
        dtype: To hold both in.
    """

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, dtype: torch.dtype) -> None:
        self._bias = None if bias is None else bias.detach().to(dtype, copy=True)
        # as it is multiplied: a view that is made with every product counts as a tensor of the pairs
        self._weight = weight.detach().to(dtype, copy=True).T
        self.width = weight.shape[0]

    @classmethod
    def of(cls, layer: nn.Linear, dtype: torch.dtype) -> FoldedLinear:
        """Return a layer's."""
        return cls(layer.weight, layer.bias, dtype)

    def __call__(self, x: Float[Tensor, "*row in"]) -> Float[Tensor, "*row out"]:
        """Return W x + b."""
        rows = x.reshape(-1, x.shape[-1])
        found = rows @ self._weight if self._bias is None else torch.addmm(self._bias, rows, self._weight)
        return found.view(*x.shape[:-1], self.width)


@dataclass(frozen=True)
class Side:
    """One side of a block, prepared.

    Attributes:
        local: Region or word embeddings (row, item, dim).
        mask: True where an item is real; None where all are.
        overall: The global vectors (row, dim), or None.
        gram: Products of the embeddings with each other, float32; None or empty where nobody looks.
    """

    local: Tensor
    mask: Tensor | None
    overall: Tensor | None
    gram: Tensor | None


def prepare(code: Code, precision: Precision, looked_at: bool) -> Code:
    """Return a code in a precision, with its Gram matrices where it is looked at; a prepared one as it is."""
    if GRAM in code.parts:
        return code
    dtype = DTYPES[precision]
    local, wide = code.local.to(dtype), code.local.float()
    parts = {name: part.to(dtype) for name, part in code.parts.items() if name == "global"}
    with torch.autocast(local.device.type, enabled=False):
        # where nothing is looked at an empty one, so that a prepared code is known
        parts[GRAM] = wide @ wide.transpose(-1, -2) if looked_at else wide[..., :0, 0]
    return type(code)(local, code.mask, parts=parts)


class FoldedNodes:
    """Makes the nodes of pairs: the global one, then one for each that looks.

    Args:
        local: Compares those that look with what they saw, or None.
        overall: Compares the global vectors, or None.
        smooth: λ of the attention.
        precision: Of vectors and weights.
    """

    def __init__(self, local: nn.Module | None, overall: nn.Module | None, smooth: float, precision: Precision) -> None:
        self._smooth = smooth
        self._local = None if local is None else _project(local, precision)
        self._global = None if overall is None else _project(overall, precision)

    def __call__(self, contexts: Side, queries: Side) -> Float[Tensor, "pair node sim"]:
        """Return the nodes of all rows of `contexts` with all rows of `queries`, whose items are all real.

        Queries with a leading axis more are those of each context alone: (context, query, item, dim).
        """
        own = queries.local.dim() == 4
        a, (b, items, _) = len(contexts.local), queries.local.shape[-3:]
        first = 0 if self._global is None else 1
        last = first + (0 if self._local is None else items)
        layer = self._local or self._global
        assert layer is not None
        nodes = contexts.local.new_empty(a, b, last, layer.width)
        if self._global is not None:
            assert contexts.overall is not None
            assert queries.overall is not None
            whole = contexts.overall[:, None].repeat(1, b, 1)
            _similarities(whole, queries.overall if own else queries.overall[None], self._global, nodes[:, :, 0])
        if self._local is not None and nodes[:, :, first:].numel():
            weights = self._weights(contexts, queries)
            compared = queries.local if own else queries.local[None]
            pieces = list(_pieces(a, b, fitting(compared[0])))
            room = contexts.local.new_empty(pieces[0][0].stop, pieces[0][1].stop * items, contexts.local.shape[-1])
            for rows, others in pieces:
                some = weights[rows, others.start * items : others.stop * items]
                seen = torch.bmm(some, contexts.local[rows], out=room[: some.shape[0], : some.shape[1]])
                seen = seen.view(len(some), -1, items, seen.shape[-1])
                looking = compared[rows if own else slice(None), others]
                _similarities(seen, looking, self._local, nodes[rows, others, first:])
        return nodes.view(a * b, last, -1)

    def _weights(self, contexts: Side, queries: Side) -> Float[Tensor, "context query_item seen"]:
        """Return every query's weights of what it sees, so scaled that their sum of it has length 1."""
        (a, regions, d), (b, items, _) = contexts.local.shape, queries.local.shape[-3:]
        if queries.local.dim() == 4:
            products = torch.bmm(queries.local.view(a, b * items, d), contexts.local.transpose(1, 2))
            affinity = F.leaky_relu_(products.float(), 0.1).view(a, b, items, regions)
            logits = affinity.mul_(self._scale(affinity)).view(a, b * items, regions)
            weights = _shares(logits, None if contexts.mask is None else contexts.mask[:, None])
        else:
            products = queries.local.reshape(b * items, d) @ contexts.local.reshape(a * regions, d).T
            affinity = F.leaky_relu_(products.float(), 0.1).view(b, items, a * regions)
            logits = affinity.mul_(self._scale(affinity)).view(b * items, a, regions)
            weights = _shares(logits, contexts.mask).transpose(0, 1)
        assert contexts.gram is not None
        energy = torch.bmm(weights, contexts.gram).mul_(weights).sum(dim=-1, keepdim=True).clamp_(min=0)
        return weights.mul(energy.sqrt_().add_(EPSILON).reciprocal_()).to(contexts.local.dtype)

    def _scale(self, affinity: Float[Tensor, "*row item seen"]) -> Float[Tensor, "*row 1 seen"]:
        """Return λ / ‖·‖ over those that look."""
        # of the strided norms that PyTorch has, the sum of squares is by far the fastest
        return affinity.square().sum(dim=-2, keepdim=True).sqrt_().add_(EPSILON).reciprocal_().mul_(self._smooth)


def fitting(rows: Float[Tensor, "row item dim"]) -> int:
    """Return how many such rows are worked on at a time: on a CPU as many as stay in a core's cache."""
    room = _PIECE_BYTES if rows.device.type == "cpu" else _ACCELERATOR_PIECE_BYTES
    return max(1, room // max(1, rows[:1].nbytes))


def _pieces(rows: int, others: int, pairs: int) -> Iterator[tuple[slice, slice]]:
    """Cut rows × others into pieces of so many pairs or fewer, of like size: few shapes."""
    some = -(-others // -(-others // min(pairs, others)))
    count = max(1, pairs // some)
    for start in range(0, rows, count):
        for first in range(0, others, some):
            yield slice(start, min(start + count, rows)), slice(first, min(first + some, others))


def _project(similarity: nn.Module, precision: Precision) -> FoldedLinear:
    project = similarity.project
    assert isinstance(project, nn.Linear)
    scale = 1 if precision == "float32" else 2 * _BETA
    return FoldedLinear(project.weight * scale, project.bias, DTYPES[precision])


def _shares(logits: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None) -> Tensor:
    """Return the softmax over real items; `mask` broadcasts against the logits."""
    if mask is not None:
        logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=-1)


def _similarities(x: Tensor, y: Tensor, layer: FoldedLinear, into: Float[Tensor, "... sim"]) -> None:
    """Write l2norm(W (x − y)² + b) into some nodes; y broadcasts to x, which is overwritten."""
    found = layer(_squares(x, y)).float()
    found.mul_(torch.linalg.vector_norm(found, dim=-1, keepdim=True).add_(EPSILON).reciprocal_())
    into.copy_(found)


def _squares(x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return (x − y)², in the place of x; in half precision (x − y)² / 2²¹.

    Below its beta the smooth L1 loss is (x − y)² / (2 beta), and of PyTorch's fused differences it is the one that
    computes in float32 and rounds once.
    """
    if x.dtype == torch.float32:
        return x.sub_(y).square_()
    return F.smooth_l1_loss(x, y.expand(x.shape), reduction="none", beta=_BETA)
