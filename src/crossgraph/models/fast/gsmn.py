"""GSMN's fast form: the same scores from inner products instead of vectors for every pair.

What differs from the plain form (`models/gsmn.py`), none of it by more than rounding:
- A query's attended context c = Σ_i w_i v_i is never computed. Inner products are computed a block of channels at a
  time, p_mi = q_m·v_im. Their sum over the blocks is the affinity of the attention, q_m·c_m = Σ_i w_i p_mi, and
  |c_m|² = wᵀ G_m w with the attended side's own inner products G_m = V_m V_mᵀ.
- The words' graph layer and the first layer behind it are merged; weight norms are computed once.
- Captions of equal length are scored together: no word is padding.
- In bfloat16 the embeddings are held in it, and so is the product of words with regions; all else is float32.

Tensors of pairs have the blocks of channels as their first axis and pictures and regions as their last, so that sums
over blocks and over words, and the softmax over words, run along many pairs at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import LEAK
from crossgraph.graphs.normalization import EPSILON
from crossgraph.models.fast.form import DTYPES, GRAM, Code, CodeSide, FastForm, Precision, by_length

if TYPE_CHECKING:
    from crossgraph.models.gsmn import GSMN, NodeScore

# A code is prepared by its inner products `GRAM`, here (row, item, item, block).
_SMALLEST_SHARE = 1e-30  # smaller weights of messages become 0


class _NodeScore:
    """Scores o₂(tanh(o₁(h))) of nodes in columns; `layer`, if given, is merged into o₁, which follows it."""

    def __init__(self, score: NodeScore, layer: nn.Linear | None = None) -> None:
        hidden, out = score.hidden, score.out
        assert isinstance(hidden, nn.Linear)
        assert isinstance(out, nn.Linear)
        self.first, self.bias, self.last, self.shift = map(_copy, (hidden.weight, hidden.bias, out.weight, out.bias))
        if layer is not None:
            self.bias = self.bias + self.first @ _copy(layer.bias)
            self.first = self.first @ _copy(layer.weight)

    def __call__(self, nodes: Float[Tensor, "hidden node"]) -> Float[Tensor, " node"]:
        return (self.last @ torch.addmm(self.bias[:, None], self.first, nodes).tanh_())[0] + self.shift


@dataclass(frozen=True)
class _Pairs:
    """Pictures with captions whose words are equally many and all real.

    Attributes:
        images: Prepared.
        texts: Prepared.
        mask: True where a region is real; None where all are.
        products: p.
        affinity: Their sum over the blocks, clipped; 0 for padding regions.
        buffer: Memory for as many numbers as `products` has, or as the products of the words' weights.
    """

    images: ImageCode
    texts: TextCode
    mask: Bool[Tensor, "img region"] | None
    products: Float[Tensor, "block txt word img region"]
    affinity: Float[Tensor, "txt word img region"]
    buffer: Float[Tensor, " number"]


class FastGSMN(FastForm):
    """A `Scorer` equal to `GSMN.score`; copies the current weights.

    Args:
        model: The plain form.
        precision: Of embeddings and their products.
    """

    def __init__(self, model: GSMN, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        self._dtype, self._config = DTYPES[precision], model.config
        self._passes_messages = model.config.messages != "none"
        with torch.no_grad(), torch.autocast(model.visual_graph.weight.device.type, enabled=False):
            self._to_nodes = _copy(model.visual_graph.weight)
            self._region_score = _NodeScore(model.visual_score)
            self._word_score = _NodeScore(model.textual_score, model.textual_graph)

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code in the form's precision, with its items' inner products, block by block."""
        local = code.local.to(self._dtype)
        blocks = local.float().unflatten(-1, (self._config.sim_size, -1)).transpose(-2, -3)
        with torch.autocast(local.device.type, enabled=False):
            gram = (blocks @ blocks.mT).movedim(-3, -1).contiguous()
        # a kernel's weight can be a denormal number, by which processors multiply a hundred times slower
        parts = {name: F.threshold(part.float(), _SMALLEST_SHARE, 0.0) for name, part in code.parts.items()}
        return type(code)(local, code.mask, parts={**parts, GRAM: gram})

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        for rows, length in by_length(texts.mask):
            captions = texts if isinstance(rows, slice) else _real_words(texts, rows, length)
            into[:, rows] = self._score(images, captions).T

    def _score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "txt img"]:
        pairs = self._products(images, texts)
        words = self._word_scores(pairs).mean(dim=1)
        regions = self._region_scores(pairs)
        if pairs.mask is None:
            return words + regions.mean(dim=-1)
        return words + (regions * pairs.mask).sum(dim=-1) / pairs.mask.sum(dim=-1).clamp(min=1)

    def _products(self, images: ImageCode, texts: TextCode) -> _Pairs:
        """Return the products of words with regions."""
        (a, r, _), (b, n, _), size = images.local.shape, texts.local.shape, self._config.sim_size
        # One allocation for all large tensors: of several, some would be returned to the system after every call, and
        # fresh memory takes longer to get than to fill.
        memory = images.local.new_empty(size + max(size, n), b, n, a, r, dtype=torch.float32)
        products, into = memory[:size], memory[:size].view(size, b * n, a * r)
        words, regions = (code.local.flatten(0, 1).unflatten(-1, (size, -1)).movedim(1, 0) for code in (texts, images))
        if self.precision == "float32":
            torch.bmm(words, regions.mT, out=into)
        else:  # from strided operands the bfloat16 product would be slow
            into.copy_(torch.bmm(words.contiguous(), regions.contiguous().mT))
        affinity = F.leaky_relu_(products.sum(dim=0), LEAK)
        mask = None if bool(images.mask.all()) else images.mask
        affinity = affinity if mask is None else affinity * mask
        return _Pairs(images, texts, mask, products, affinity, memory[size:].flatten())

    def _word_scores(self, pairs: _Pairs) -> Float[Tensor, "txt word img"]:
        """Return the words' scores."""
        (b, n, a, r), buffer = pairs.affinity.shape, pairs.buffer[: pairs.products.numel()]
        scale = pairs.affinity.square().sum(dim=1, keepdim=True).sqrt_().add_(EPSILON).reciprocal_()
        logits = pairs.affinity * scale.mul_(self._config.smooth)
        if pairs.mask is not None:
            logits.masked_fill_(~pairs.mask, torch.finfo(logits.dtype).min)
        weights = logits.softmax(dim=-1)
        flat, gram = weights.view(b * n, a, r).transpose(0, 1).contiguous(), pairs.images.parts[GRAM]
        gram_weights = torch.bmm(flat, gram.flatten(2), out=buffer.view(a, b * n, -1))  # G w
        square = (
            torch.bmm(flat.view(-1, 1, r), gram_weights.view(a * b * n, r, -1)).view(a, b, n, -1).permute(3, 1, 2, 0)
        )
        product = torch.mul(pairs.products, weights, out=buffer.view(pairs.products.shape)).sum(dim=-1)
        blocks = _cosines(product, _lengths(pairs.texts.parts[GRAM])[..., None], square)
        if self._passes_messages:
            blocks = torch.einsum("bjl,mbla->mbja", pairs.texts.parts["edges"], blocks)
        return self._word_score(blocks.reshape(-1, b * n * a)).view(b, n, a)

    def _region_scores(self, pairs: _Pairs) -> Float[Tensor, "txt img region"]:
        """Return the regions' scores; overwrites the pairs' tensors."""
        b, n, a, r = pairs.affinity.shape
        scale = torch.linalg.vector_norm(pairs.affinity, dim=-1, keepdim=True).add_(EPSILON).reciprocal_()
        weights = pairs.affinity.mul_(scale.mul_(self._config.smooth)).softmax(dim=1)
        outer = pairs.buffer[: b * n * n * a * r].view(b, n, n, a, r)  # w wᵀ is small, since captions have few words
        torch.mul(weights[:, :, None], weights[:, None], out=outer)
        gram = pairs.texts.parts[GRAM].flatten(1, 2)
        square = torch.bmm(gram.mT, outer.view(b, n * n, a * r)).view(b, -1, a, r).transpose(0, 1)
        product = pairs.products.mul_(weights).sum(dim=2)
        blocks = _cosines(product, _lengths(pairs.images.parts[GRAM])[:, None], square)
        kernels = pairs.images.parts["kernels"]
        nodes = (self._to_nodes @ blocks.view(-1, b * a * r)).view(kernels.shape[-1], -1, b, a, r)
        if self._passes_messages:
            nodes = torch.einsum("aijk,khbaj->khbai", kernels, nodes)
        else:
            nodes.mul_(kernels.movedim(-1, 0)[:, None, None])
        return self._region_score(nodes.reshape(-1, b * a * r)).view(b, a, r)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().float().clone()


def _real_words(texts: TextCode, rows: Int[Tensor, " equal"], length: int) -> TextCode:
    """Return captions with equally many real words, without padding; all parts have two word axes, 1 and 2."""
    position = texts.mask[rows].nonzero()[:, 1].view(len(rows), length)
    both = rows[:, None, None], position[:, :, None], position[:, None]
    local, mask = texts.local[rows[:, None], position], texts.mask[rows[:, None], position]
    return TextCode(local, mask, parts={name: part[both] for name, part in texts.parts.items()})


def _lengths(gram: Float[Tensor, "row item item block"]) -> Float[Tensor, "block row item"]:
    """Return the lengths of the items' blocks, the roots of the diagonal."""
    return gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt_().transpose(0, 1)


def _cosines(product: Tensor, lengths: Tensor, square: Tensor) -> Float[Tensor, "block txt left right"]:
    """Return q·c / max(|q||c|, 1e-8) from q·c, |q| and |c|², in the memory of `product`."""
    return product.mul_((square.clamp_(min=0).sqrt_() * lengths).clamp_(min=EPSILON).reciprocal_())
