"""IMRAM for inference: the same scores with a third of the memory's products.

What differs from the plain form (`imram.py`), none of it by more than rounding:
- What a query saw enters its memory through a linear layer, and that of a weighed sum is the weighed sum of that:
  W Σ_c P_c c = Σ_c P_c (W c). W c is a side's own, so that it is computed once, not for every pair.
- The first rewriting starts from the original queries, whose share of the layer is a side's own as well. What is left
  for each pair is the rewritten queries' share, from the second rewriting on.
- Both layers of the memory, update and gate, are one product.
- Queries of equal number stand in one block: none is padding.
- In bfloat16 the rewritten queries are held in it; affinities, attention weights and cosines are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import Fragments, attend
from crossgraph.graphs.normalization import EPSILON, l2norm
from crossgraph.models.folded import DTYPES, FoldedForm, Precision, by_length, real_items

if TYPE_CHECKING:
    from crossgraph.models.imram import IMRAM, Memory

Code = TypeVar("Code", ImageCode, TextCode)
_GRAM, _ASKED, _SEEN = "gram", "asked", "seen"  # the parts that a prepared code has


class _FoldedMemory:
    """A memory whose two layers are one, in three parts.

    Args:
        memory: The plain one.
        dtype: To hold the weights in.
    """

    def __init__(self, memory: Memory, dtype: torch.dtype) -> None:
        layers = (memory.update, memory.gate)
        weight = torch.cat([layer.weight for layer in layers]).detach().to(dtype)
        self._of_query, self._of_seen = (part.contiguous() for part in weight.chunk(2, dim=1))
        self._bias = torch.cat([layer.bias for layer in layers]).detach().to(dtype)

    def asked(self, queries: Float[Tensor, "*row query dim"]) -> Float[Tensor, "*row query two_dim"]:
        """Return the queries' share of both layers, bias included."""
        return F.linear(queries, self._of_query, self._bias)

    def seen(self, contexts: Float[Tensor, "*row context dim"]) -> Float[Tensor, "*row context two_dim"]:
        """Return what each context adds to both layers of a query that sees nothing else."""
        return F.linear(contexts, self._of_seen)


@dataclass(frozen=True)
class _Contexts:
    """The side that is looked at.

    Attributes:
        local: Region or word embeddings (context row, item, dim).
        mask: True where an item is real.
        gram: Products of the embeddings with each other, float32.
        seen: What each adds to a memory, or None without one.
    """

    local: Tensor
    mask: Bool[Tensor, "row item"]
    gram: Tensor
    seen: Tensor | None


@dataclass(frozen=True)
class _Queries:
    """Rows of the side that looks, whose items are equally many and all real.

    Attributes:
        local: Embeddings (query row, item, dim).
        asked: Their share of a memory, or None without one.
    """

    local: Tensor
    asked: Tensor | None


class FoldedIMRAM(FoldedForm):
    """A `Scorer` equal to `IMRAM.score`; copies the weights as they are now.

    Args:
        model: The plain form.
        precision: Of vectors and weights.
    """

    def __init__(self, model: IMRAM, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        self._dtype, self._config = DTYPES[precision], model.config
        self._directions = model.directions
        self._memory = {name: _FoldedMemory(memory, self._dtype) for name, memory in model.memories().items()}

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in the form's precision, with its regions' shares of the memories."""
        return self._prepare(code, "i2t", "t2i")

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in the form's precision, with its words' shares of the memories."""
        return self._prepare(code, "t2i", "i2t")

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Add the scores of all directions to a group's, which are zero."""
        for direction in self._directions:
            if direction == "t2i":
                self._look(direction, images, texts, into)
            else:
                self._look(direction, texts, images, into.T)

    def _prepare(self, code: Code, looks: str, looked_at: str) -> Code:
        """Add a side's own parts: `looks` is the direction in which it asks, `looked_at` that in which it is seen."""
        if _GRAM in code.parts:
            return code
        local, wide = code.local.to(self._dtype), code.local.float()
        with torch.autocast(local.device.type, enabled=False):
            parts = {_GRAM: wide @ wide.transpose(-1, -2)}
            if looks in self._memory:
                parts[_ASKED] = self._memory[looks].asked(local)
            if looked_at in self._memory:
                parts[_SEEN] = self._memory[looked_at].seen(local)
        return type(code)(local, code.mask, parts=parts)

    def _look(
        self,
        direction: str,
        contexts: ImageCode | TextCode,
        queries: ImageCode | TextCode,
        into: Float[Tensor, "context query"],
    ) -> None:
        """Add a direction's scores of all rows of the side that is looked at with all rows of the side that looks."""
        seen = _Contexts(contexts.local, contexts.mask, contexts.parts[_GRAM], contexts.parts.get(_SEEN))
        asked = queries.parts.get(_ASKED)
        for rows, length in by_length(queries.mask):
            if rows is None:
                into += self._score_block(direction, seen, _Queries(queries.local, asked))
                continue
            local = real_items(queries.local, queries.mask, rows, length)
            share = None if asked is None else real_items(asked, queries.mask, rows, length)
            into[:, rows] += self._score_block(direction, seen, _Queries(local, share))

    def _score_block(self, direction: str, contexts: _Contexts, queries: _Queries) -> Float[Tensor, "context query"]:
        """Return the sum of all steps' scores."""
        (a, r, d), (b, n, _) = contexts.local.shape, queries.local.shape
        looking = Fragments(queries.local[None, None], queries.local.new_ones(1, 1, b, n, dtype=torch.bool))
        looked_at = Fragments(contexts.local[None, :, None], contexts.mask[None, :, None])
        products = (queries.local.reshape(b * n, d) @ contexts.local.reshape(a * r, d).T).float()
        first = affinity = products.view(b, n, a, r).permute(2, 0, 1, 3).contiguous()
        lengths = torch.linalg.vector_norm(queries.local.float(), dim=-1)
        vectors, asked = queries.local.reshape(1, b * n, d), queries.asked
        score = first.new_zeros(a, b)
        for step in range(self._config.steps):
            weights = attend(affinity[None], looking, looked_at, self._config.smooth, self._config.affinity_norm)[0]
            score += _cosines(first, weights, lengths, contexts.gram).mean(dim=-1)
            if step + 1 == self._config.steps:
                break
            assert contexts.seen is not None
            assert asked is not None
            if step:
                asked = self._memory[direction].asked(vectors)
            flat = weights.view(a, b * n, r).to(self._dtype)
            new, keep = torch.baddbmm(asked.reshape(-1, b * n, 2 * d), flat, contexts.seen).chunk(2, dim=-1)
            vectors = torch.lerp(new.tanh_(), vectors, keep.sigmoid_())
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
    """Return cos(q, Σ_c P_c c) from numbers alone, see `graphs.attend.cosines_with_seen`."""
    product = (weights * affinity).sum(dim=-1)
    flat = weights.flatten(1, 2)
    square = torch.bmm(flat, gram).mul_(flat).sum(dim=-1).view(product.shape)
    return product / (lengths * square.clamp_(min=EPSILON**2).sqrt_()).clamp_(min=EPSILON)
