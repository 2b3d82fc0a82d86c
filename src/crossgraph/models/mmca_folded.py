"""MMCA for inference: the same scores from fewer products.

What differs from the plain form (`mmca.py`), none of it by more than rounding:
- Queries, keys and values are those of a region or a word alone, so they are made once a picture and once a caption;
  what the regions of a picture say to each other, and the words of a caption, is known before they meet.
- The layer behind the attention is merged into the values, for as many pictures and captions as meet in a block: a
  head's shares then weigh vectors that are mixed already.
- So is the layer behind that: norming a vector z scales U (z - mean z), and U z = U x + Σ share · (U mix v). The shares
  weigh what that layer makes of each value, which is less than half of the work of the layer itself.
- In bfloat16 the products and their weights are held in it; attention weights, norms and sums are float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import l2norm, masked_mean
from crossgraph.models.folded import DTYPES, FoldedForm, Precision

if TYPE_CHECKING:
    from crossgraph.models.mmca import MMCA

Code = TypeVar("Code", ImageCode, TextCode)
_PROJECTED = "projected"  # a prepared code's queries, keys and values
_WIDENED = "widened"  # and what the layer behind the norm makes of its vectors


class FoldedMMCA(FoldedForm):
    """A `Scorer` equal to `MMCA.score` in evaluation mode; copies the weights as they are now.

    Args:
        model: The plain form.
        precision: Of products and weights.
    """

    def __init__(self, model: MMCA, precision: Precision = "float32") -> None:
        self._dtype = DTYPES[precision]
        unit, d = model.across, model.config.embed_size
        self._heads, self._alpha = unit.heads, model.config.alpha
        self._project = self._copy(unit.project.weight)
        (gain, offset, self._epsilon), self._last_norm = _norm(unit.mix_norm), _norm(unit.layer_norm)
        wide = unit.widen.weight.detach().double() * gain.double()
        wide = wide - wide.mean(dim=1, keepdim=True)  # of a vector less its mean
        mix = unit.mix.weight.detach().double()
        bias = unit.mix.bias.detach().double()
        self._widen = self._copy(wide.T)
        self._mixes = [
            (self._copy(merged.view(d, self._heads, -1).permute(1, 2, 0)), added.float())
            for merged, added in ((mix, bias), (wide @ mix, wide @ bias))
        ]
        self._wide_bias = (unit.widen.weight @ unit.mix_norm.bias + unit.widen.bias).detach().float()
        self._narrow = self._copy(unit.narrow.weight.T)
        # what narrow's product is added to brings its bias
        self._first_norm = gain, offset + unit.narrow.bias.detach().float()
        spans = [span for span in model.pool_words_across.spans if isinstance(span, nn.Conv1d)]
        taps = [span.weight.permute(2, 1, 0) for span in spans]  # of a span: (word, in, out)
        self._widths, self._span_biases = [len(tap) for tap in taps], [_bias(span) for span in spans]
        self._taps = self._copy(torch.cat(taps).permute(1, 0, 2).flatten(1))
        join = model.pool_words_across.join
        self._join = self._copy(join.weight.T), self._copy(join.bias)

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code with what its regions ask, offer and say; a prepared one as it is."""
        return self._prepare(code)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code with what its words ask, offer and say; a prepared one as it is."""
        return self._prepare(code)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        regions = images.local.shape[1]
        mask = _stacked(images.mask, texts.mask)
        z, wide = self._seen(images, texts, mask)
        x, _, scale = torch.native_layer_norm(z, z.shape[-1:], *self._first_norm, self._epsilon)
        wide = torch.addcmul(self._wide_bias, wide, scale, out=wide).relu_()
        more = wide.to(self._dtype).view(-1, wide.shape[-1]) @ self._narrow
        x = F.layer_norm(x.add_(more.view(x.shape)), x.shape[-1:], *self._last_norm)
        picture = l2norm(masked_mean(x[..., :regions, :], mask[..., :regions]))
        caption = self._caption(x[..., regions:, :], mask[..., regions:])
        overall = images.parts["overall"].float() @ texts.parts["overall"].float().T
        into.copy_(overall + self._alpha * (picture * caption).sum(dim=-1))

    def _prepare(self, code: Code) -> Code:
        if _PROJECTED in code.parts:
            return code
        local = code.local.to(self._dtype)
        projected = (local @ self._project.T).unflatten(-1, (3, self._heads, -1))
        parts = {**code.parts, _PROJECTED: projected, _WIDENED: local @ self._widen}
        return type(code)(code.local, code.mask, parts=parts)

    def _seen(
        self, images: ImageCode, texts: TextCode, mask: Bool[Tensor, "img txt item"]
    ) -> list[Float[Tensor, "img txt item dim"]]:
        """Return every item of every pair with what the attention adds to it; and what the next layer makes of that."""
        sides = images.parts[_PROJECTED], texts.parts[_PROJECTED]
        (iq, ik, iv), (tq, tk, tv) = (side.permute(2, 0, 3, 1, 4).unbind(0) for side in sides)  # (row, head, item, dim)
        (a, heads, regions, _), (b, _, words, _) = iq.shape, tq.shape
        among_regions, among_words = (iq @ ik.mT)[:, None], (tq @ tk.mT)[None]
        met = torch.einsum("ahrd,bhld->abhrl", iq, tk), torch.einsum("bhld,ahrd->abhlr", tq, ik)
        logits = mask.new_empty(a, b, heads, regions + words, regions + words, dtype=torch.float32)
        logits[..., :regions, :regions], logits[..., regions:, regions:] = among_regions, among_words
        logits[..., :regions, regions:], logits[..., regions:, :regions] = met
        logits.mul_(iq.shape[-1] ** -0.5)
        if not bool(mask.all()):
            logits.masked_fill_(~mask[:, :, None, None], torch.finfo(torch.float32).min)
        shares = logits.softmax(dim=-1).to(self._dtype).permute(0, 1, 3, 2, 4)  # pairs, items, heads, who is looked at
        of_regions = shares[..., :regions].reshape(a, b * (regions + words), heads * regions)
        of_words = shares[..., regions:].transpose(0, 1).reshape(b, a * (regions + words), heads * words)
        found: list[Tensor] = []
        for (mix, bias), image, text in zip(
            self._mixes,
            (images.local, images.parts[_WIDENED]),
            (texts.local, texts.parts[_WIDENED]),
            strict=True,
        ):
            seen = torch.bmm(of_regions, _mixed(iv, mix)).float().view(a, b, regions + words, -1)
            others = torch.bmm(of_words, _mixed(tv, mix)).view(b, a, regions + words, -1)
            seen.add_(others.transpose(0, 1))
            seen[:, :, :regions] += (image.float() + bias)[:, None]
            seen[:, :, regions:] += (text.float() + bias)[None]
            found.append(seen)
        return found

    def _caption(self, words: Float[Tensor, "img txt word dim"], mask: Tensor) -> Float[Tensor, "img txt dim"]:
        """Return the pooled words: one product for all words of all spans, the maximum over the caption of each."""
        a, b, length, d = words.shape
        rows = (words * mask[..., None]).to(self._dtype).view(a * b * length, d)
        taps = (rows @ self._taps).view(a * b, length, -1, d)
        unreal = ~mask.reshape(a * b, length, 1)
        found: list[Tensor] = []
        first = 0
        for width, bias in zip(self._widths, self._span_biases, strict=True):
            spanned = taps[:, :, first].float()
            for word in range(1, min(width, length)):  # a span begins at a word; behind the last stand zeros
                spanned[:, :-word] += taps[:, word:, first + word]
            found.append(spanned.masked_fill_(unreal, torch.finfo(torch.float32).min).amax(dim=1) + bias)
            first += width
        weight, bias = self._join
        joined = torch.addmm(bias, torch.cat(found, dim=-1).to(self._dtype), weight)
        return l2norm(joined.float()).view(a, b, -1)

    def _copy(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self._dtype, copy=True).contiguous()


def _mixed(
    values: Float[Tensor, "row head item dim"], mix: Float[Tensor, "head dim out"]
) -> Float[Tensor, "row head_item out"]:
    """Return each head's values after the layer behind the attention: one product a head, for all rows."""
    rows, heads, items, dim = values.shape
    found = torch.bmm(values.transpose(0, 1).reshape(heads, rows * items, dim), mix)
    return found.view(heads, rows, items, -1).transpose(0, 1).reshape(rows, heads * items, -1)


def _stacked(regions: Shaped[Tensor, "img ..."], words: Shaped[Tensor, "txt ..."]) -> Tensor:
    """Return every pair's items: the picture's, then the caption's."""
    a, b = len(regions), len(words)
    return torch.cat([regions[:, None].expand(-1, b, *regions.shape[1:]), words[None].expand(a, *words.shape)], dim=2)


def _norm(layer: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
    return layer.weight.detach().float().clone(), layer.bias.detach().float().clone(), layer.eps


def _bias(layer: nn.Conv1d) -> Tensor:
    assert layer.bias is not None
    return layer.bias.detach().float().clone()
