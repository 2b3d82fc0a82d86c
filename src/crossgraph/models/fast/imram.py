"""IMRAM's fast form: the same scores with a third of the memory's matrix products.

What differs from the plain form (`models/imram.py`), none of it by more than rounding:
- A query's attended context passes a linear layer of the memory. The layer of a weighted sum is the weighted sum of
  the layer: W Σ_c P_c c = Σ_c P_c (W c). W c belongs to one side, so that it is computed once and not for every pair.
- The first rewriting starts from the original queries, whose product belongs to one side as well. What is left for each
  pair is the product of the rewritten queries, from the second rewriting on.
- The two layers of the memory, update and gate, are one product (2d numbers: update, then gate).
- Queries of equal number are scored in one block: none is padding.
- In bfloat16 the rewritten queries are held in it; affinities, attention weights and cosines are float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import Fragments, attend
from crossgraph.graphs.normalization import EPSILON, l2norm
from crossgraph.models.fast.form import DTYPES, GRAM, Code, CodeSide, FastForm, Precision, by_length, real_items

if TYPE_CHECKING:
    from crossgraph.models.imram import IMRAM, Memory

# Parts of a prepared code: the products of its items with the memory, as queries and as contexts.
_QUERY_GATES, _CONTEXT_GATES = "query_gates", "context_gates"


class _FastMemory:
    """A memory whose two layers are one, with the halves for the query and for the context apart.

    Args:
        memory: The plain one.
        dtype: Type of the weights.
    """

    def __init__(self, memory: Memory, dtype: torch.dtype) -> None:
        layers = (memory.update, memory.gate)
        weight = torch.cat([layer.weight for layer in layers]).detach().to(dtype)
        self._of_query, self._of_context = (part.contiguous() for part in weight.chunk(2, dim=1))
        self._bias = torch.cat([layer.bias for layer in layers]).detach().to(dtype)

    def query_gates(self, queries: Float[Tensor, "*row query dim"]) -> Float[Tensor, "*row query two_dim"]:
        """Return the queries' summand of both layers, bias included."""
        return F.linear(queries, self._of_query, self._bias)

    def context_gates(self, contexts: Float[Tensor, "*row context dim"]) -> Float[Tensor, "*row context two_dim"]:
        """Return each context's summand of both layers if a query attended to it alone."""
        return F.linear(contexts, self._of_context)


class FastIMRAM(FastForm):
    """A `Scorer` equal to `IMRAM.score`; copies the current weights.

    Args:
        model: The plain form.
        precision: Of vectors and weights.
    """

    def __init__(self, model: IMRAM, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        self._dtype, self._config = DTYPES[precision], model.config
        self._directions = model.directions
        self._memory = {name: _FastMemory(memory, self._dtype) for name, memory in model.memories().items()}

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code in the form's precision, with its items' inner products and their products with memories."""
        as_queries, as_contexts = ("i2t", "t2i") if side == "image" else ("t2i", "i2t")
        local, wide = code.local.to(self._dtype), code.local.float()
        with torch.autocast(local.device.type, enabled=False):
            parts = {GRAM: wide @ wide.transpose(-1, -2)}
            if as_queries in self._memory:
                parts[_QUERY_GATES] = self._memory[as_queries].query_gates(local)
            if as_contexts in self._memory:
                parts[_CONTEXT_GATES] = self._memory[as_contexts].context_gates(local)
        return type(code)(local, code.mask, parts=parts)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Add the scores of all directions to a group's zeros."""
        for direction in self._directions:
            if direction == "t2i":
                self._add_direction(direction, images, texts, into)
            else:
                self._add_direction(direction, texts, images, into.T)

    def _add_direction(
        self,
        direction: str,
        contexts: ImageCode | TextCode,
        queries: ImageCode | TextCode,
        into: Float[Tensor, "context query"],
    ) -> None:
        """Add a direction's scores of all rows of the attended side with all rows of the querying side."""
        gates = queries.parts.get(_QUERY_GATES)
        for rows, length in by_length(queries.mask):
            local = real_items(queries.local, queries.mask, rows, length)
            own = None if gates is None else real_items(gates, queries.mask, rows, length)
            into[:, rows] += self._score_block(direction, contexts, local, own)

    def _score_block(
        self,
        direction: str,
        contexts: ImageCode | TextCode,
        queries: Float[Tensor, "query item dim"],
        gates: Float[Tensor, "query item two_dim"] | None,
    ) -> Float[Tensor, "context query"]:
        """Return the sum of all steps' scores.

        Args:
            direction: Selects the memory.
            contexts: The attended side, prepared.
            queries: Items of the querying side, all real.
            gates: Their products with the memory; None for a model of one step.
        """
        (a, r, d), (b, n, _) = contexts.local.shape, queries.shape
        # `attend` reads no vectors, only masks, in its layout (group, img, txt, item)
        query_side = Fragments(queries[None, None], queries.new_ones(1, 1, b, n, dtype=torch.bool))
        context_side = Fragments(contexts.local[None, :, None], contexts.mask[None, :, None])
        products = (queries.reshape(b * n, d) @ contexts.local.reshape(a * r, d).T).float()
        first = affinity = products.view(b, n, a, r).permute(2, 0, 1, 3).contiguous()
        lengths = torch.linalg.vector_norm(queries.float(), dim=-1)
        vectors = queries.reshape(1, b * n, d)  # (1, b · n, d), and (a, b · n, d) once rewritten for each context
        score, smooth = first.new_zeros(a, b), self._config.smooth
        for step in range(self._config.steps):
            weights = attend(affinity[None], query_side, context_side, smooth, self._config.affinity_norm)[0]
            score += _cosines(first, weights, lengths, contexts.parts[GRAM]).mean(dim=-1)
            if step + 1 == self._config.steps:
                break
            if step:
                gates = self._memory[direction].query_gates(vectors)
            assert gates is not None
            flat = weights.view(a, b * n, r).to(self._dtype)
            update, keep = torch.baddbmm(gates.reshape(-1, b * n, 2 * d), flat, contexts.parts[_CONTEXT_GATES]).chunk(
                2, dim=-1
            )
            vectors = torch.lerp(update.tanh_(), vectors, keep.sigmoid_())
            if self._config.memory_norm == "l2":
                vectors = l2norm(vectors)
            affinity = torch.bmm(vectors, contexts.local.transpose(1, 2)).float().view(a, b, n, r)
        return score


def _cosines(
    affinity: Float[Tensor, "context query item other"],
    weights: Float[Tensor, "context query item other"],
    lengths: Float[Tensor, "query item"],
    gram: Float[Tensor, "context other other"],
) -> Float[Tensor, "context query item"]:
    """Return cos(q, Σ_c P_c c) from inner products, see `graphs.attend.cosines_with_attended`."""
    product = (weights * affinity).sum(dim=-1)
    flat = weights.flatten(1, 2)
    square = torch.bmm(flat, gram).mul_(flat).sum(dim=-1).view(product.shape)
    return product / (lengths * square.clamp_(min=EPSILON**2).sqrt_()).clamp_(min=EPSILON)
