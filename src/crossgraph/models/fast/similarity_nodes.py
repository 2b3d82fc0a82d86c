"""SGRAF's similarity nodes in fast forms, shared by `sgraf.py` and `tshsr.py`.

What differs from the plain nodes (`SimilarityVector.of_contexts`), none of it by more than rounding:
- The queries of a block are equally many and all real: nothing is padding, nothing is masked.
- The norm of a word's context Σ_i α_i v_i is √(αᵀ G α) with the picture's Gram matrix G = V Vᵀ, so that the weights
  are scaled before the large product and the contexts come out normalised.
- Contexts are computed, compared with the queries and dropped, as many at a time as stay in a core's cache.

The direction of attention only decides which side has the queries and which the contexts: regions that attend to words
are the same computation with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.graphs.attend import LEAK
from crossgraph.graphs.normalization import EPSILON
from crossgraph.models.fast.form import DTYPES, GRAM, Code, Precision

_PIECE_BYTES = 1 << 22  # on a CPU, of a tensor that is read several times
_ACCELERATOR_PIECE_BYTES = 1 << 31
_BETA = 2.0**20  # of `_squares`: far above any difference, and a power of two, so that dividing by it rounds nothing


class FastLinear:
    """A linear layer in the fast form's precision.

    Args:
        weight: Copied.
        bias: Copied.
        dtype: Type of both.
    """

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, dtype: torch.dtype) -> None:
        self._bias = None if bias is None else bias.detach().to(dtype, copy=True)
        # transposed once: a view made for every product would count as a tensor of the pairs in measurements
        self._weight = weight.detach().to(dtype, copy=True).T
        self.width = weight.shape[0]

    @classmethod
    def of(cls, layer: nn.Linear, dtype: torch.dtype) -> FastLinear:
        """Return the fast form of a layer."""
        return cls(layer.weight, layer.bias, dtype)

    def __call__(self, x: Float[Tensor, "*row in"]) -> Float[Tensor, "*row out"]:
        """Return W x + b."""
        rows = x.reshape(-1, x.shape[-1])
        y = rows @ self._weight if self._bias is None else torch.addmm(self._bias, rows, self._weight)
        return y.view(*x.shape[:-1], self.width)


@dataclass(frozen=True)
class NodeSide:
    """One side of a block of pairs, prepared.

    Attributes:
        local: Region or word embeddings (row, item, dim); queries of their own for each context have an axis more:
            (context, query, item, dim).
        mask: True where an item is real; None where all are.
        overall: The global vectors (row, dim), or None.
        gram: Inner products of the embeddings (row, item, item), float32; None or empty for queries.
    """

    local: Tensor
    mask: Tensor | None
    overall: Tensor | None
    gram: Tensor | None


def with_gram_matrices(code: Code, precision: Precision, attended: bool) -> Code:
    """Return a code in a precision, with its Gram matrices if it is the attended side."""
    dtype = DTYPES[precision]
    local, wide = code.local.to(dtype), code.local.float()
    parts = {name: part.to(dtype) for name, part in code.parts.items() if name == "global"}
    with torch.autocast(local.device.type, enabled=False):
        # an empty part for the querying side: it marks the code as prepared
        parts[GRAM] = wide @ wide.transpose(-1, -2) if attended else wide[..., :0, 0]
    return type(code)(local, code.mask, parts=parts)


class FastNodes:
    """Computes the nodes of pairs: the global one, then one a query.

    Args:
        local: The similarity of queries and attended contexts, or None.
        overall: The similarity of global vectors, or None.
        smooth: λ of the attention.
        precision: Of vectors and weights.
    """

    def __init__(self, local: nn.Module | None, overall: nn.Module | None, smooth: float, precision: Precision) -> None:
        self._smooth = smooth
        self._local = None if local is None else _similarity_layer(local, precision)
        self._global = None if overall is None else _similarity_layer(overall, precision)

    def __call__(self, contexts: NodeSide, queries: NodeSide) -> Float[Tensor, "pair node sim"]:
        """Return the nodes of all rows of `contexts` with all rows of `queries`, whose items are all real."""
        own = queries.local.dim() == 4  # each context has queries of its own
        a, (b, items, _) = len(contexts.local), queries.local.shape[-3:]
        first = 0 if self._global is None else 1  # the first local node
        count = first + (0 if self._local is None else items)
        layer = self._local or self._global
        assert layer is not None
        nodes = contexts.local.new_empty(a, b, count, layer.width)
        if self._global is not None:
            assert contexts.overall is not None
            assert queries.overall is not None
            repeated = contexts.overall[:, None].repeat(1, b, 1)
            _write_similarities(
                repeated, queries.overall if own else queries.overall[None], self._global, nodes[:, :, 0]
            )
        if self._local is not None and nodes[:, :, first:].numel():
            weights = self._scaled_weights(contexts, queries)  # (a, b · items, r)
            vectors = queries.local if own else queries.local[None]
            pieces = list(_pieces(a, b, rows_in_cache(vectors[0])))
            # one buffer for the contexts of all pieces: fresh memory for each would take longer than to fill it
            buffer = contexts.local.new_empty(pieces[0][0].stop, pieces[0][1].stop * items, contexts.local.shape[-1])
            for rows, columns in pieces:
                piece = weights[rows, columns.start * items : columns.stop * items]
                attended = torch.bmm(piece, contexts.local[rows], out=buffer[: piece.shape[0], : piece.shape[1]])
                attended = attended.view(len(piece), -1, items, attended.shape[-1])
                compared = vectors[rows if own else slice(None), columns]
                _write_similarities(attended, compared, self._local, nodes[rows, columns, first:])
        return nodes.view(a * b, count, -1)

    def _scaled_weights(self, contexts: NodeSide, queries: NodeSide) -> Float[Tensor, "context query_item attended"]:
        """Return every query's attention weights, scaled so that its attended context has length 1."""
        (a, regions, d), (b, items, _) = contexts.local.shape, queries.local.shape[-3:]
        if queries.local.dim() == 4:
            products = torch.bmm(queries.local.view(a, b * items, d), contexts.local.transpose(1, 2))
            affinity = F.leaky_relu_(products.float(), LEAK).view(a, b, items, regions)
            logits = affinity.mul_(self._scale(affinity)).view(a, b * items, regions)
            weights = _softmax(logits, None if contexts.mask is None else contexts.mask[:, None])
        else:
            products = queries.local.reshape(b * items, d) @ contexts.local.reshape(a * regions, d).T
            affinity = F.leaky_relu_(products.float(), LEAK).view(b, items, a * regions)
            logits = affinity.mul_(self._scale(affinity)).view(b * items, a, regions)
            weights = _softmax(logits, contexts.mask).transpose(0, 1)
        assert contexts.gram is not None
        square = torch.bmm(weights, contexts.gram).mul_(weights).sum(dim=-1, keepdim=True).clamp_(min=0)  # αᵀ G α
        return weights.mul(square.sqrt_().add_(EPSILON).reciprocal_()).to(contexts.local.dtype)

    def _scale(self, affinity: Float[Tensor, "*row item attended"]) -> Float[Tensor, "*row 1 attended"]:
        """Return λ / ‖·‖ over the queries."""
        # of PyTorch's norms along a strided axis, the sum of squares is by far the fastest
        return affinity.square().sum(dim=-2, keepdim=True).sqrt_().add_(EPSILON).reciprocal_().mul_(self._smooth)


def rows_in_cache(rows: Float[Tensor, "row item dim"]) -> int:
    """Return how many such rows are processed at a time: on a CPU as many as stay in a core's cache."""
    budget = _PIECE_BYTES if rows.device.type == "cpu" else _ACCELERATOR_PIECE_BYTES
    return max(1, budget // max(1, rows[:1].nbytes))


def _pieces(rows: int, columns: int, pairs: int) -> Iterator[tuple[slice, slice]]:
    """Yield pieces of rows × columns of at most `pairs` pairs, nearly equal in size, so that there are few shapes."""
    width = -(-columns // -(-columns // min(pairs, columns)))
    height = max(1, pairs // width)
    for top in range(0, rows, height):
        for left in range(0, columns, width):
            yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))


def _similarity_layer(similarity: nn.Module, precision: Precision) -> FastLinear:
    project = similarity.project
    assert isinstance(project, nn.Linear)
    scale = 1 if precision == "float32" else 2 * _BETA  # undoes the division in `_squares`
    return FastLinear(project.weight * scale, project.bias, DTYPES[precision])


def _softmax(logits: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None) -> Tensor:
    """Return the softmax over real items; `mask` broadcasts against the logits."""
    if mask is not None:
        logits = logits.masked_fill(~mask, torch.finfo(logits.dtype).min)
    return logits.softmax(dim=-1)


def _write_similarities(x: Tensor, y: Tensor, layer: FastLinear, into: Float[Tensor, "... sim"]) -> None:
    """Write l2norm(W (x − y)² + b) into nodes; y broadcasts to x, which is overwritten."""
    raw = layer(_squares(x, y)).float()
    raw.mul_(torch.linalg.vector_norm(raw, dim=-1, keepdim=True).add_(EPSILON).reciprocal_())
    into.copy_(raw)


def _squares(x: Float[Tensor, "..."], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return (x − y)², in the memory of x; in half precision (x − y)² / 2²¹.

    Below its beta the smooth L1 loss is (x − y)² / (2 beta). Of PyTorch's fused differences it is the only one that
    computes in float32 and rounds once.
    """
    if x.dtype == torch.float32:
        return x.sub_(y).square_()
    return F.smooth_l1_loss(x, y.expand(x.shape), reduction="none", beta=_BETA)
