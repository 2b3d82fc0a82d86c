"""GSMN for inference: the same scores, from numbers instead of vectors for every pair.

What differs from the plain form (`gsmn.py`), none of it by more than rounding:
- What a query saw, c = Σ_i w_i v_i, is never made. Inner products are computed a block of channels at a time,
  p_mi = q_m·v_im. Their sum over the blocks is the affinity that attention starts from, q_m·c_m = Σ_i w_i p_mi, and
  |c_m|² = wᵀ G_m w with the seen side's own inner products G_m = V_m V_mᵀ.
- Words' graph layer and the first layer behind it are one; weight norms are worked out once.
- Captions of equal length are scored together: no word is padding.
- In bfloat16 the embeddings are held in it, and so is the product of words with regions; all else is float32.

Numbers of pairs have the blocks of channels as their first axis and pictures and regions as their last, so that
sums over blocks and over words, and the softmax over words, go along many pairs at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import LEAK
from crossgraph.graphs.normalization import EPSILON
from crossgraph.models.folded import DTYPES, FoldedForm, Precision, by_length

if TYPE_CHECKING:
    from crossgraph.models.gsmn import GSMN, NodeScore

Code = TypeVar("Code", ImageCode, TextCode)
_GRAM = "gram"  # the part that a prepared code has: inner products (row, item, item, block), float32
_NOTHING = 1e-30  # shares of messages up to this are 0


class _NodeScore:
    """o₂(tanh(o₁(h))) of nodes that stand in columns; `layer` is merged into o₁ where it comes right before it."""

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
        affinity: Their sum over the blocks, clipped; 0 for regions that pad.
        room: Memory for as many numbers as `products` has, or as the products of the words' weights.
    """

    images: ImageCode
    texts: TextCode
    mask: Bool[Tensor, "img region"] | None
    products: Float[Tensor, "block txt word img region"]
    affinity: Float[Tensor, "txt word img region"]
    room: Float[Tensor, " number"]


class FoldedGSMN(FoldedForm):
    """A `Scorer` equal to `GSMN.score`; copies the weights as they are now.

    Args:
        model: The plain form.
        precision: Of embeddings and their products.
    """

    def __init__(self, model: GSMN, precision: Precision = "float32") -> None:
        self.precision: Precision = precision
        self._dtype, self._config = DTYPES[precision], model.config
        self._sends = model.config.messages != "none"
        with torch.no_grad(), torch.autocast(model.visual_graph.weight.device.type, enabled=False):
            self._to_nodes = _copy(model.visual_graph.weight)
            self._region_score = _NodeScore(model.visual_score)
            self._word_score = _NodeScore(model.textual_score, model.textual_graph)

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in the form's precision, with its regions' inner products."""
        return self._prepare(code)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in the form's precision, with its words' inner products."""
        return self._prepare(code)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        for rows, length in by_length(texts.mask):
            some = texts if rows is None else _real_words(texts, rows, length)
            into[:, slice(None) if rows is None else rows] = self._score(images, some).T

    def _prepare(self, code: Code) -> Code:
        if _GRAM in code.parts:
            return code
        local = code.local.to(self._dtype)
        blocks = local.float().unflatten(-1, (self._config.sim_size, -1)).transpose(-2, -3)
        with torch.autocast(local.device.type, enabled=False):
            gram = (blocks @ blocks.mT).movedim(-3, -1).contiguous()
        # a kernel's share can be a denormal number, by which processors multiply a hundred times slower
        parts = {name: F.threshold(part.float(), _NOTHING, 0.0) for name, part in code.parts.items()}
        return type(code)(local, code.mask, parts={**parts, _GRAM: gram})

    def _score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "txt img"]:
        pairs = self._pairs(images, texts)
        likeness = self._word_nodes(pairs).mean(dim=1)
        regions = self._region_nodes(pairs)
        if pairs.mask is None:
            return likeness + regions.mean(dim=-1)
        return likeness + (regions * pairs.mask).sum(dim=-1) / pairs.mask.sum(dim=-1).clamp(min=1)

    def _pairs(self, images: ImageCode, texts: TextCode) -> _Pairs:
        """Multiply words with regions."""
        (a, r, _), (b, n, _), size = images.local.shape, texts.local.shape, self._config.sim_size
        # One piece of memory for all that is large: of several, some would go back to the system after every call,
        # and to get fresh ones takes longer than to fill them.
        space = images.local.new_empty(size + max(size, n), b, n, a, r, dtype=torch.float32)
        products, into = space[:size], space[:size].view(size, b * n, a * r)
        words, regions = (code.local.flatten(0, 1).unflatten(-1, (size, -1)).movedim(1, 0) for code in (texts, images))
        if self.precision == "float32":
            torch.bmm(words, regions.mT, out=into)
        else:  # from strided ones it would be slow
            into.copy_(torch.bmm(words.contiguous(), regions.contiguous().mT))
        affinity = F.leaky_relu_(products.sum(dim=0), LEAK)
        mask = None if bool(images.mask.all()) else images.mask
        affinity = affinity if mask is None else affinity * mask
        return _Pairs(images, texts, mask, products, affinity, space[size:].flatten())

    def _word_nodes(self, pairs: _Pairs) -> Float[Tensor, "txt word img"]:
        """Return the words' numbers."""
        (b, n, a, r), room = pairs.affinity.shape, pairs.room[: pairs.products.numel()]
        scale = pairs.affinity.square().sum(dim=1, keepdim=True).sqrt_().add_(EPSILON).reciprocal_()
        logits = pairs.affinity * scale.mul_(self._config.smooth)
        if pairs.mask is not None:
            logits.masked_fill_(~pairs.mask, torch.finfo(logits.dtype).min)
        weights = logits.softmax(dim=-1)
        flat, gram = weights.view(b * n, a, r).transpose(0, 1).contiguous(), pairs.images.parts[_GRAM]
        half = torch.bmm(flat, gram.flatten(2), out=room.view(a, b * n, -1))  # G w
        square = torch.bmm(flat.view(-1, 1, r), half.view(a * b * n, r, -1)).view(a, b, n, -1).permute(3, 1, 2, 0)
        product = torch.mul(pairs.products, weights, out=room.view(pairs.products.shape)).sum(dim=-1)
        blocks = _cosines(product, _lengths(pairs.texts.parts[_GRAM])[..., None], square)
        if self._sends:
            blocks = torch.einsum("bjl,mbla->mbja", pairs.texts.parts["edges"], blocks)
        return self._word_score(blocks.reshape(-1, b * n * a)).view(b, n, a)

    def _region_nodes(self, pairs: _Pairs) -> Float[Tensor, "txt img region"]:
        """Return the regions' numbers; uses up the pairs' tensors."""
        b, n, a, r = pairs.affinity.shape
        scale = torch.linalg.vector_norm(pairs.affinity, dim=-1, keepdim=True).add_(EPSILON).reciprocal_()
        weights = pairs.affinity.mul_(scale.mul_(self._config.smooth)).softmax(dim=1)
        outer = pairs.room[: b * n * n * a * r].view(b, n, n, a, r)  # words are few: w wᵀ is small
        torch.mul(weights[:, :, None], weights[:, None], out=outer)
        gram = pairs.texts.parts[_GRAM].flatten(1, 2)
        square = torch.bmm(gram.mT, outer.view(b, n * n, a * r)).view(b, -1, a, r).transpose(0, 1)
        product = pairs.products.mul_(weights).sum(dim=2)
        blocks = _cosines(product, _lengths(pairs.images.parts[_GRAM])[:, None], square)
        kernels = pairs.images.parts["kernels"]
        nodes = (self._to_nodes @ blocks.view(-1, b * a * r)).view(kernels.shape[-1], -1, b, a, r)
        if self._sends:
            nodes = torch.einsum("aijk,khbaj->khbai", kernels, nodes)
        else:
            nodes.mul_(kernels.movedim(-1, 0)[:, None, None])
        return self._region_score(nodes.reshape(-1, b * a * r)).view(b, a, r)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().float().clone()


def _real_words(texts: TextCode, rows: Int[Tensor, " some"], length: int) -> TextCode:
    """Return captions with equally many real words, without what pads them; all parts are of two words."""
    place = texts.mask[rows].nonzero()[:, 1].view(len(rows), length)
    both = rows[:, None, None], place[:, :, None], place[:, None]
    local, mask = texts.local[rows[:, None], place], texts.mask[rows[:, None], place]
    return TextCode(local, mask, parts={name: part[both] for name, part in texts.parts.items()})


def _lengths(gram: Float[Tensor, "row item item block"]) -> Float[Tensor, "block row item"]:
    """Return the lengths of the items' blocks."""
    return gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt_().transpose(0, 1)


def _cosines(product: Tensor, lengths: Tensor, square: Tensor) -> Float[Tensor, "block txt left right"]:
    """Return q·c / max(|q||c|, 1e-8) from |c|²; into `product`."""
    return product.mul_((square.clamp_(min=0).sqrt_() * lengths).clamp_(min=EPSILON).reciprocal_())
