"""SGRAF's similarity vectors of fragments and their attended contexts, with a memory-saving backward pass.

s = l2norm(W (c − q)² + b) with c = l2norm(Σ_i α_i v_i): SGRAF's Eq. 1-4 after the attention weights α. PyTorch's
operations would save five tensors of size pairs × fragments × d for the backward pass. This function saves α, s, both
inverse lengths and G instead. The backward pass computes contexts again, a few rows at a time so that they stay in the
cache, and avoids four passes over them:

- |Σ α_i v_i|² = αᵀ G α with the Gram matrix G = V Vᵀ, so that scaled weights α' = α / |·| give contexts of length 1.
- Let g be the gradient of c. The norm removes c (c·g) from it, and c·g = α'·(V g), so that
  dα = (V g − (c·g) G α') / |·| and dV = Σ α' gᵀ − (Σ (c·g) α' α'ᵀ) V need no pass over c.

Shapes: g groups, a rows of the attended side, b rows of the querying side, n queries and r contexts a row,
m numbers in a similarity vector. Tensors of pairs are (g·a, b·n, ·): a batched product a row of the attended side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossgraph.graphs.normalization import EPSILON

_ROW_BYTES = 1 << 24  # bytes of contexts computed at a time on a CPU


def similarity_vectors(
    weights: Float[Tensor, "group attended querying query context"],
    contexts: Float[Tensor, "group attended context dim"],
    queries: Float[Tensor, "group querying query dim"],
    weight: Float[Tensor, "sim dim"],
    bias: Float[Tensor, " sim"],
) -> Float[Tensor, "group attended querying query sim"]:
    """Return the similarity vector of every query and its attended context.

    Args:
        weights: α, each query's attention weights; rows sum to 1.
        contexts: v, the fragments of the attended side.
        queries: q, the fragments of the querying side.
        weight: W.
        bias: b.
    """
    device = weights.device.type
    half = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if half else contexts.dtype
    with torch.autocast(device, enabled=False):
        inputs = (contexts.to(dtype), queries.to(dtype), weight.to(dtype), bias.to(dtype))
        vectors: Tensor = _SimilarityVectors.apply(weights, *inputs)  # pyright: ignore[reportAssignmentType]
    return vectors


@dataclass(frozen=True)
class _Rows:
    """Consecutive rows of the attended side, with the queries that attend to them.

    Attributes:
        contexts: Slice of all rows (group · attended).
        queries: Slice of the groups whose queries these are; one group where all rows share its queries.
    """

    contexts: slice
    queries: slice


class _SimilarityVectors(torch.autograd.Function):
    """The function of the module's docstring; half precisions keep their lengths and sums in float32."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, contexts: Tensor, queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        g, a, b, n, _ = weights.shape
        flat, attended, queries_of_group = _flat(weights, contexts, queries)
        nodes = attended.new_empty(g * a, b * n, weight.shape[0])  # s
        node_scale, context_scale = flat.new_empty(
            2, g * a, b * n, 1
        )  # 1 / (|W (c − q)² + b| + ε) and 1 / (|Σ α_i v_i| + ε)
        gram = flat.new_empty(g * a, flat.shape[-1], flat.shape[-1])
        for rows in _row_pieces(g, a, b * n * attended.shape[-1] * attended.element_size()):
            gram[rows.contexts] = _gram(attended[rows.contexts], flat.dtype)
            context_scale[rows.contexts] = _inverse_length(flat[rows.contexts], gram[rows.contexts])
            scaled = flat[rows.contexts] * context_scale[rows.contexts]
            squares = F.mse_loss(  # (c − q)² in one pass, without a tensor of the difference
                *torch.broadcast_tensors(_contexts(scaled, attended[rows.contexts]), queries_of_group[rows.queries]),
                reduction="none",
            )
            raw = torch.addmm(bias, squares.view(-1, squares.shape[-1]), weight.T).view(nodes[rows.contexts].shape)
            scale = _length(raw).add_(EPSILON).reciprocal_()
            node_scale[rows.contexts] = scale
            torch.mul(raw, scale.to(raw.dtype), out=nodes[rows.contexts])
        result = nodes.view(g, a, b, n, -1)
        ctx.save_for_backward(weights, contexts, queries, weight, result, node_scale, context_scale, gram)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        weights, contexts, queries, weight, nodes, node_scale, context_scales, grams = ctx.saved_tensors
        g, a, b, n, _ = weights.shape
        flat, attended, queries_of_group = _flat(weights, contexts, queries)
        nodes, gradient = nodes.view(g * a, b * n, -1), grads[0].reshape(g * a, b * n, -1)
        wide = node_scale.dtype
        of_weights, of_contexts = torch.empty_like(flat), torch.empty_like(attended)
        of_queries = torch.zeros(queries_of_group.shape, dtype=wide, device=attended.device)
        of_weight = torch.zeros(weight.shape, dtype=wide, device=attended.device)
        of_bias = torch.zeros(weight.shape[0], dtype=wide, device=attended.device)
        for rows in _row_pieces(g, a, 3 * b * n * attended.shape[-1] * attended.element_size()):
            v = attended[rows.contexts]
            of_raw = _through_norm(gradient[rows.contexts], nodes[rows.contexts], node_scale[rows.contexts])
            of_bias += of_raw.sum(dim=(0, 1))
            of_raw = of_raw.to(v.dtype).view(-1, weight.shape[0])
            context_scale, gram = context_scales[rows.contexts], grams[rows.contexts]
            scaled = flat[rows.contexts] * context_scale
            difference = _contexts(scaled, v).sub_(queries_of_group[rows.queries])
            of_weight += of_raw.T @ difference.square().view(-1, v.shape[-1])
            of_context = (2 * of_raw @ weight).view(difference.shape).mul_(difference)
            _add_query_gradient(of_queries, of_context, rows)
            # V g, and c·g with the correction for ε
            along_contexts = torch.bmm(of_context, v.transpose(1, 2)).to(wide)
            along = (along_contexts * scaled).sum(dim=-1, keepdim=True) * _correction(context_scale)
            of_weights[rows.contexts] = (along_contexts - along * torch.bmm(scaled, gram)) * context_scale
            removed = torch.bmm((scaled * along).transpose(1, 2), scaled).to(v.dtype)
            torch.baddbmm(
                torch.bmm(removed, v),
                scaled.to(v.dtype).transpose(1, 2),
                of_context,
                beta=-1,
                out=of_contexts[rows.contexts],
            )
        return (
            of_weights.view(weights.shape),
            of_contexts.view(contexts.shape),
            of_queries.view(queries.shape).to(queries.dtype),
            of_weight.to(weight.dtype),
            of_bias.to(weight.dtype),
        )


def _flat(weights: Tensor, contexts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights (rows, queries, context), contexts (rows, context, dim), queries (group, queries, dim)."""
    g, a, b, n, r = weights.shape
    return weights.reshape(g * a, b * n, r), contexts.reshape(g * a, r, -1), queries.reshape(g, b * n, -1)


def _row_pieces(groups: int, attended: int, row: int) -> Iterator[_Rows]:
    """Yield consecutive rows, so many that tensors of `row` bytes a row stay in the cache."""
    each = max(1, _ROW_BYTES // max(1, row))
    if attended == 1:  # every row has queries of its own
        for start in range(0, groups, each):
            own = slice(start, min(start + each, groups))
            yield _Rows(own, own)
        return
    for group in range(groups):
        for start in range(0, attended, each):
            rows = slice(group * attended + start, group * attended + min(start + each, attended))
            yield _Rows(rows, slice(group, group + 1))


def _gram(contexts: Tensor, dtype: torch.dtype) -> Tensor:
    """Return G = V Vᵀ."""
    wide = contexts.to(dtype)
    return torch.bmm(wide, wide.transpose(1, 2))


def _inverse_length(weights: Tensor, gram: Tensor) -> Tensor:
    """Return 1 / (|Σ α_i v_i| + ε)."""
    square = torch.bmm(weights, gram).mul_(weights).sum(dim=-1, keepdim=True)
    return square.clamp_(min=0).sqrt_().add_(EPSILON).reciprocal_()


def _contexts(scaled: Tensor, contexts: Tensor) -> Tensor:
    return torch.bmm(scaled.to(contexts.dtype), contexts)


def _length(x: Tensor) -> Tensor:
    wide = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)


def _correction(node_scale: Tensor) -> Tensor:
    """Return (|y| + ε) / |y| from 1 / (|y| + ε): the effect of ε in l2norm on its gradient."""
    return (1 - EPSILON * node_scale).clamp_(min=EPSILON).reciprocal_()


def _through_norm(gradient: Tensor, normed: Tensor, node_scale: Tensor) -> Tensor:
    """Return the gradient of y from that of y / (|y| + ε), in the precision of 1 / (|y| + ε)."""
    gradient, normed = gradient.to(node_scale.dtype), normed.to(node_scale.dtype)
    along = (gradient * normed).sum(dim=-1, keepdim=True) * _correction(node_scale)
    return torch.addcmul(gradient, normed, along, value=-1).mul_(node_scale)


def _add_query_gradient(into: Tensor, of_context: Tensor, rows: _Rows) -> None:
    """Add the queries' gradient, which is the contexts' with the opposite sign, summed where rows share queries."""
    if rows.queries.stop - rows.queries.start == of_context.shape[0]:
        into[rows.queries] -= of_context
    else:
        into[rows.queries] -= of_context.sum(dim=0, keepdim=True)
