"""Similarity vectors of fragments and what they saw, with a backward pass that keeps next to nothing.

s = l2norm(W (c − q)² + b) with c = l2norm(Σ_i α_i v_i), SGRAF's Eq. 1-4 behind the attention weights α. Composed of
PyTorch's operations it keeps five tensors of the size pairs × fragments × d; here it keeps α, s, both lengths and G.
Contexts are computed again, a few rows at a time so that they stay in the cache, and four of the passes over them go:

- |Σ α_i v_i|² = αᵀ G α with the Gram matrix G = V Vᵀ, so that scaled weights α' = α / |·| give contexts of length 1.
- What the norm takes from the gradient g of c is c (c·g), and c·g = α'·(V g), so that
  dα = (V g − (c·g) G α') / |·| and dV = Σ α' gᵀ − (Σ (c·g) α' α'ᵀ) V need no pass over c.
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

_ROW_BYTES = 1 << 24  # of contexts that are computed at a time on a CPU


def similarities_of_contexts(
    weights: Float[Tensor, "group seen looking query context"],
    contexts: Float[Tensor, "group seen context dim"],
    queries: Float[Tensor, "group looking query dim"],
    weight: Float[Tensor, "sim dim"],
    bias: Float[Tensor, " sim"],
) -> Float[Tensor, "group seen looking query sim"]:
    """Compare every query with what it saw.

    Args:
        weights: α, each query's shares of the contexts; rows sum to 1.
        contexts: v, the fragments of the side that is looked at.
        queries: q, the fragments of the side that looks.
        weight: W.
        bias: b.
    """
    device = weights.device.type
    half = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if half else contexts.dtype
    with torch.autocast(device, enabled=False):
        given = (contexts.to(dtype), queries.to(dtype), weight.to(dtype), bias.to(dtype))
        found: Tensor = _Compare.apply(weights, *given)  # pyright: ignore[reportAssignmentType]
    return found


@dataclass(frozen=True)
class _Rows:
    """Some rows of the side that is looked at, with the queries that look at them.

    Attributes:
        at: Where they lie among all rows (group · seen).
        looking: Where their queries lie among all groups; one entry where all rows share them.
    """

    at: slice
    looking: slice


class _Compare(torch.autograd.Function):
    """See the module."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, contexts: Tensor, queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        g, a, b, n, _ = weights.shape
        flat, seen, looking = _flat(weights, contexts, queries)
        nodes = seen.new_empty(g * a, b * n, weight.shape[0])
        inverse, energy = flat.new_empty(2, g * a, b * n, 1)
        gram = flat.new_empty(g * a, flat.shape[-1], flat.shape[-1])
        for rows in _cut(g, a, b * n * seen.shape[-1] * seen.element_size()):
            gram[rows.at] = _gram(seen[rows.at], flat.dtype)
            energy[rows.at] = _inverse_length(flat[rows.at], gram[rows.at])
            scaled = flat[rows.at] * energy[rows.at]
            squares = F.mse_loss(
                *torch.broadcast_tensors(_contexts(scaled, seen[rows.at]), looking[rows.looking]), reduction="none"
            )
            found = torch.addmm(bias, squares.view(-1, squares.shape[-1]), weight.T).view(nodes[rows.at].shape)
            scale = _length(found).add_(EPSILON).reciprocal_()
            inverse[rows.at] = scale
            torch.mul(found, scale.to(found.dtype), out=nodes[rows.at])
        result = nodes.view(g, a, b, n, -1)
        ctx.save_for_backward(weights, contexts, queries, weight, result, inverse, energy, gram)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        weights, contexts, queries, weight, nodes, inverse, energies, grams = ctx.saved_tensors
        g, a, b, n, _ = weights.shape
        flat, seen, looking = _flat(weights, contexts, queries)
        nodes, gradient = nodes.view(g * a, b * n, -1), grads[0].reshape(g * a, b * n, -1)
        wide = inverse.dtype
        of_weights, of_seen = torch.empty_like(flat), torch.empty_like(seen)
        of_looking = torch.zeros(looking.shape, dtype=wide, device=seen.device)
        of_weight = torch.zeros(weight.shape, dtype=wide, device=seen.device)
        of_bias = torch.zeros(weight.shape[0], dtype=wide, device=seen.device)
        for rows in _cut(g, a, 3 * b * n * seen.shape[-1] * seen.element_size()):
            v = seen[rows.at]
            of_found = _through_norm(gradient[rows.at], nodes[rows.at], inverse[rows.at])
            of_bias += of_found.sum(dim=(0, 1))
            of_found = of_found.to(v.dtype).view(-1, weight.shape[0])
            energy, gram = energies[rows.at], grams[rows.at]
            scaled = flat[rows.at] * energy
            apart = _contexts(scaled, v).sub_(looking[rows.looking])
            of_weight += of_found.T @ apart.square().view(-1, v.shape[-1])
            of_context = (2 * of_found @ weight).view(apart.shape).mul_(apart)
            _add_looking(of_looking, of_context, rows)
            towards = torch.bmm(of_context, v.transpose(1, 2)).to(wide)
            along = (towards * scaled).sum(dim=-1, keepdim=True) * _correction(energy)
            of_weights[rows.at] = (towards - along * torch.bmm(scaled, gram)) * energy
            taken = torch.bmm((scaled * along).transpose(1, 2), scaled).to(v.dtype)
            torch.baddbmm(
                torch.bmm(taken, v), scaled.to(v.dtype).transpose(1, 2), of_context, beta=-1, out=of_seen[rows.at]
            )
        return (
            of_weights.view(weights.shape),
            of_seen.view(contexts.shape),
            of_looking.view(queries.shape).to(queries.dtype),
            of_weight.to(weight.dtype),
            of_bias.to(weight.dtype),
        )


def _flat(weights: Tensor, contexts: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights (rows, queries, context), contexts (rows, context, dim), queries (group, queries, dim)."""
    g, a, b, n, r = weights.shape
    return weights.reshape(g * a, b * n, r), contexts.reshape(g * a, r, -1), queries.reshape(g, b * n, -1)


def _cut(groups: int, seen: int, row: int) -> Iterator[_Rows]:
    """Cut all rows so that some tensors of `row` bytes a row stay in the cache."""
    each = max(1, _ROW_BYTES // max(1, row))
    if seen == 1:  # every row has queries of its own
        for start in range(0, groups, each):
            some = slice(start, min(start + each, groups))
            yield _Rows(some, some)
        return
    for group in range(groups):
        for start in range(0, seen, each):
            at = slice(group * seen + start, group * seen + min(start + each, seen))
            yield _Rows(at, slice(group, group + 1))


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


def _correction(inverse: Tensor) -> Tensor:
    """Return (|y| + ε) / |y| from 1 / (|y| + ε): what ε in l2norm does to its gradient."""
    return (1 - EPSILON * inverse).clamp_(min=EPSILON).reciprocal_()


def _through_norm(gradient: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """Return the gradient of y from that of y / (|y| + ε), in the precision of 1 / (|y| + ε)."""
    gradient, normed = gradient.to(inverse.dtype), normed.to(inverse.dtype)
    along = (gradient * normed).sum(dim=-1, keepdim=True) * _correction(inverse)
    return torch.addcmul(gradient, normed, along, value=-1).mul_(inverse)


def _add_looking(into: Tensor, of_context: Tensor, rows: _Rows) -> None:
    """Add what the queries get: the contexts' gradient with the other sign."""
    if rows.looking.stop - rows.looking.start == of_context.shape[0]:
        into[rows.looking] -= of_context
    else:
        into[rows.looking] -= of_context.sum(dim=0, keepdim=True)
