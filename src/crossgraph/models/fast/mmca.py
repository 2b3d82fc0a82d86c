"""MMCA's fast form: the same scores from fewer matrix products.

What differs from the plain form (`models/mmca.py`), none of it by more than rounding:
- Queries, keys and values belong to a region or a word alone, so that they are computed once a picture and once a
  caption; the attention logits within a side are known before the sides meet.
- The layer after the attention ("mix") is merged into the values, for all pictures and captions of a block: a head's
  weights then average vectors that are mixed already.
- So is the layer after that ("widen"): normalising a vector z scales U (z - mean z), and
  U z = U x + Σ weight · (U mix v). To average U mix v is less than half of the work of the layer itself.
- In bfloat16 the products and their weights are held in it; attention weights, norms and sums are float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import l2norm, masked_mean
from crossgraph.models.fast.form import DTYPES, Code, CodeSide, FastForm, Precision

if TYPE_CHECKING:
    from crossgraph.models.mmca import MMCA

# Parts of a prepared code: its queries, keys and values (row, item, 3, head, dim), and its vectors after "widen".
_PROJECTED, _WIDENED = "projected", "widened"


class FastMMCA(FastForm):
    """A `Scorer` equal to `MMCA.score` in evaluation mode; copies the current weights.

    Args:
        model: The plain form.
        precision: Of products and weights.
    """

    prepared_part = _PROJECTED

    def __init__(self, model: MMCA, precision: Precision = "float32") -> None:
        self._dtype = DTYPES[precision]
        unit, d = model.across, model.config.embed_size
        self._heads, self._alpha = unit.heads, model.config.alpha
        self._project = self._copy(unit.project.weight)
        (gain, offset, self._epsilon), self._last_norm = _norm(unit.mix_norm), _norm(unit.layer_norm)
        wide = unit.widen.weight.detach().double() * gain.double()
        wide = wide - wide.mean(dim=1, keepdim=True)  # so that U z equals U (z - mean z)
        mix = unit.mix.weight.detach().double()
        bias = unit.mix.bias.detach().double()
        self._widen = self._copy(wide.T)
        self._mixes = [
            (self._copy(merged.view(d, self._heads, -1).permute(1, 2, 0)), added.float())
            for merged, added in ((mix, bias), (wide @ mix, wide @ bias))
        ]
        self._wide_bias = (unit.widen.weight @ unit.mix_norm.bias + unit.widen.bias).detach().float()
        self._narrow = self._copy(unit.narrow.weight.T)
        # the bias of "narrow" is added with the norm's, before its product
        self._first_norm = gain, offset + unit.narrow.bias.detach().float()
        spans = [span for span in model.pool_words_across.spans if isinstance(span, nn.Conv1d)]
        taps = [span.weight.permute(2, 1, 0) for span in spans]  # (word of the span, in, out)
        self._widths, self._span_biases = [len(tap) for tap in taps], [_bias(span) for span in spans]
        self._taps = self._copy(torch.cat(taps).permute(1, 0, 2).flatten(1))
        join = model.pool_words_across.join
        self._join = self._copy(join.weight.T), self._copy(join.bias)

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code with its queries, keys and values, and its vectors after the widening layer."""
        local = code.local.to(self._dtype)
        projected = (local @ self._project.T).unflatten(-1, (3, self._heads, -1))
        parts = {**code.parts, _PROJECTED: projected, _WIDENED: local @ self._widen}
        return type(code)(code.local, code.mask, parts=parts)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        regions = images.local.shape[1]
        mask = _stacked(images.mask, texts.mask)
        z, wide = self._attended(images, texts, mask)
        x, _, scale = torch.native_layer_norm(z, z.shape[-1:], *self._first_norm, self._epsilon)
        wide = torch.addcmul(self._wide_bias, wide, scale, out=wide).relu_()
        feed_forward = wide.to(self._dtype).view(-1, wide.shape[-1]) @ self._narrow
        x = F.layer_norm(x.add_(feed_forward.view(x.shape)), x.shape[-1:], *self._last_norm)
        picture = l2norm(masked_mean(x[..., :regions, :], mask[..., :regions]))
        caption = self._pool_captions(x[..., regions:, :], mask[..., regions:])
        overall = images.parts["overall"].float() @ texts.parts["overall"].float().T
        into.copy_(overall + self._alpha * (picture * caption).sum(dim=-1))

    def _attended(
        self, images: ImageCode, texts: TextCode, mask: Bool[Tensor, "img txt item"]
    ) -> list[Float[Tensor, "img txt item dim"]]:
        """Return every item of every pair plus its attended context, and the same after the widening layer."""
        sides = images.parts[_PROJECTED], texts.parts[_PROJECTED]
        (iq, ik, iv), (tq, tk, tv) = (side.permute(2, 0, 3, 1, 4).unbind(0) for side in sides)  # (row, head, item, dim)
        (a, heads, regions, _), (b, _, words, _) = iq.shape, tq.shape
        region_logits, word_logits = (iq @ ik.mT)[:, None], (tq @ tk.mT)[None]
        cross_logits = torch.einsum("ahrd,bhld->abhrl", iq, tk), torch.einsum("bhld,ahrd->abhlr", tq, ik)
        logits = mask.new_empty(a, b, heads, regions + words, regions + words, dtype=torch.float32)
        logits[..., :regions, :regions], logits[..., regions:, regions:] = region_logits, word_logits
        logits[..., :regions, regions:], logits[..., regions:, :regions] = cross_logits
        logits.mul_(iq.shape[-1] ** -0.5)
        if not bool(mask.all()):
            logits.masked_fill_(~mask[:, :, None, None], torch.finfo(torch.float32).min)
        weights = logits.softmax(dim=-1).to(self._dtype).permute(0, 1, 3, 2, 4)  # (a, b, item, head, attended item)
        of_regions = weights[..., :regions].reshape(a, b * (regions + words), heads * regions)
        of_words = weights[..., regions:].transpose(0, 1).reshape(b, a * (regions + words), heads * words)
        results: list[Tensor] = []
        for (mix, bias), image, text in zip(
            self._mixes,
            (images.local, images.parts[_WIDENED]),
            (texts.local, texts.parts[_WIDENED]),
            strict=True,
        ):
            total = torch.bmm(of_regions, _mixed(iv, mix)).float().view(a, b, regions + words, -1)
            from_words = torch.bmm(of_words, _mixed(tv, mix)).view(b, a, regions + words, -1)
            total.add_(from_words.transpose(0, 1))
            total[:, :, :regions] += (image.float() + bias)[:, None]
            total[:, :, regions:] += (text.float() + bias)[None]
            results.append(total)
        return results

    def _pool_captions(self, words: Float[Tensor, "img txt word dim"], mask: Tensor) -> Float[Tensor, "img txt dim"]:
        """Return the pooled words: one product for all spans, then each span's maximum over the caption."""
        a, b, length, d = words.shape
        rows = (words * mask[..., None]).to(self._dtype).view(a * b * length, d)
        taps = (rows @ self._taps).view(a * b, length, -1, d)
        padding = ~mask.reshape(a * b, length, 1)
        maxima: list[Tensor] = []
        first = 0
        for width, bias in zip(self._widths, self._span_biases, strict=True):
            spanned = taps[:, :, first].float()
            for word in range(1, min(width, length)):  # a span begins at a word; zeros follow the last word
                spanned[:, :-word] += taps[:, word:, first + word]
            maxima.append(spanned.masked_fill_(padding, torch.finfo(torch.float32).min).amax(dim=1) + bias)
            first += width
        weight, bias = self._join
        joined = torch.addmm(bias, torch.cat(maxima, dim=-1).to(self._dtype), weight)
        return l2norm(joined.float()).view(a, b, -1)

    def _copy(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self._dtype, copy=True).contiguous()


def _mixed(
    values: Float[Tensor, "row head item dim"], mix: Float[Tensor, "head dim out"]
) -> Float[Tensor, "row head_item out"]:
    """Return each head's values after the layer that follows the attention: one product a head, for all rows."""
    rows, heads, items, dim = values.shape
    mixed = torch.bmm(values.transpose(0, 1).reshape(heads, rows * items, dim), mix)
    return mixed.view(heads, rows, items, -1).transpose(0, 1).reshape(rows, heads * items, -1)


def _stacked(regions: Shaped[Tensor, "img ..."], words: Shaped[Tensor, "txt ..."]) -> Tensor:
    """Return every pair's items: the picture's, then the caption's."""
    a, b = len(regions), len(words)
    return torch.cat([regions[:, None].expand(-1, b, *regions.shape[1:]), words[None].expand(a, *words.shape)], dim=2)


def _norm(layer: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
    return layer.weight.detach().float().clone(), layer.bias.detach().float().clone(), layer.eps


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach().float().clone()
