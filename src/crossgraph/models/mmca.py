"""MMCA after its description: self-attention within each side and over both sides together. Unverified.

Wei, Zhang, Li, Zhang, Wu: "Multi-Modality Cross Attention Network for Image and Sentence Matching", CVPR 2020.

No code of the authors is public. The paper gives: a self-attention unit a side, whose global vectors are i0 and c0; a
cross-attention unit over regions and words stacked, whose global vectors are i1 and c1; the score
S = <i0, c0> + α <i1, c1>; a mean over regions and a 1-d convolution over words as pooling; words from BERT. What it
does not give is ours: sizes, α = 1, one layer a unit, convolutions of 1, 2 and 3 words with the maximum over the
caption, and a GRU for the words where no text model is named.

What is unusual:
- A pair is one sequence of its regions and words, which attend to both sides at once.
- Half of the score is independent of the other side: <i0, c0> is an independent model's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import Positive, Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.initialisation import xavier
from crossgraph.graphs.normalization import at_least_float32, l2norm, masked_mean, masked_softmax
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.fast.mmca import FastMMCA
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction

WIDTHS = (1, 2, 3)  # words that a convolution spans


@dataclass(frozen=True)
class MMCAConfig(TextChoice):
    """Sizes and choices; all but the formula of the score are ours."""

    text_direction: Direction = "both"
    heads: Size = 8  # of every attention; they share d
    alpha: Positive = 1.0  # α, weight of the cross-attention unit

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `TextChoice`.

        Raises:
            InputError: `embed_size` is no multiple of the heads.
        """
        super().__post_init__()
        if self.embed_size % self.heads:
            raise InputError(
                f"model.config.heads is {self.heads}", f"give a divisor of embed_size, which is {self.embed_size}"
            )


class AttentionUnit(nn.Module):
    """A transformer block: self-attention, then a feed-forward layer, each with a residual and a layer norm.

    Args:
        dim: Size of a vector, d.
        heads: Of the attention.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(dim, 3 * dim, bias=False)
        self.mix, self.widen, self.narrow = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.mix_norm, self.layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "*batch item dim"], mask: Bool[Tensor, "*batch item"]
    ) -> Float[Tensor, "*batch item dim"]:
        """Return the vectors after the unit; those of padding are meaningless."""
        queries, keys, values = self._split(self.project(x))
        attended = self._weights(queries, keys, mask).to(x.dtype) @ values
        x = self.mix_norm(x + self.mix(attended.transpose(-3, -2).flatten(-2)))
        return self.layer_norm(x + self.narrow(F.relu(self.widen(x))))

    def weights(
        self, x: Float[Tensor, "*batch item dim"], mask: Bool[Tensor, "*batch item"]
    ) -> Float[Tensor, "*batch head item item"]:
        """Return each head's attention weights of the real items."""
        queries, keys, _ = self._split(self.project(x))
        return self._weights(queries, keys, mask)

    def _weights(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        logits = at_least_float32(queries @ keys.transpose(-1, -2)) / queries.shape[-1] ** 0.5
        return masked_softmax(logits, mask[..., None, None, :])

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (…, head, item, dim of a head)."""
        queries, keys, values = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in x.chunk(3, dim=-1))
        return queries, keys, values


class WordPooling(nn.Module):
    """Caption pooling: convolutions over 1, 2 and 3 words, each one's maximum over the caption, and a linear layer.

    Args:
        dim: Size of a word, and of the vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.spans = nn.ModuleList(nn.Conv1d(dim, dim, width) for width in WIDTHS)
        self.join = nn.Linear(len(WIDTHS) * dim, dim)

    def forward(
        self, words: Float[Tensor, "*batch word dim"], mask: Bool[Tensor, "*batch word"]
    ) -> Float[Tensor, "*batch dim"]:
        """Return one unit vector a caption."""
        shape, real = words.shape[:-2], mask.expand(words.shape[:-1]).flatten(0, -2)
        rows = (words.flatten(0, -3) * real[..., None]).transpose(1, 2)
        maxima: list[Tensor] = []
        for width, span in zip(WIDTHS, self.spans, strict=True):
            spanned = span(F.pad(rows, (0, width - 1)))  # a span begins at a word; zeros follow the last word
            maxima.append(spanned.masked_fill(~real[:, None], torch.finfo(spanned.dtype).min).amax(dim=-1))
        return l2norm(self.join(torch.cat(maxima, dim=-1))).unflatten(0, shape)


@MODELS.register("mmca")
class MMCA(Matcher):
    """Self-attention of each side and of both together. Unverified: built after a description."""

    kind = "interaction"
    status = "unverified"
    Config = MMCAConfig
    paper = (
        "Wei et al., Multi-Modality Cross Attention Network for Image and Sentence Matching, CVPR 2020 "
        "(after the description, unverified)"
    )
    config: MMCAConfig

    def __init__(self, config: MMCAConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d = config.embed_size
        self.project_regions = xavier(nn.Linear(inputs.feature_size, d))
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, config.text_direction)
        self.within_regions, self.within_words = AttentionUnit(d, config.heads), AttentionUnit(d, config.heads)
        self.across = AttentionUnit(d, config.heads)
        self.pool_words, self.pool_words_across = WordPooling(d), WordPooling(d)

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and i0 as part "overall"."""
        local = l2norm(self.project_regions(regions.features)) * regions.mask[..., None]
        overall = l2norm(masked_mean(self.within_regions(local, regions.mask), regions.mask))
        return ImageCode(local, regions.mask, parts={"overall": overall})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: word embeddings, and c0 as part "overall"."""
        local = l2norm(self.encode_words(tokens))
        overall = self.pool_words(self.within_words(local, tokens.mask), tokens.mask)
        return TextCode(local, tokens.mask, parts={"overall": overall})

    def stack(
        self, images: ImageCode, texts: TextCode
    ) -> tuple[Float[Tensor, "group img txt item dim"], Bool[Tensor, "group img txt item"]]:
        """Return every pair as one sequence, its regions and then its words, and the mask of real items."""
        pictures, captions = images.local.shape[1], texts.local.shape[1]
        sides = (images.local[:, :, None], texts.local[:, None]), (images.mask[:, :, None], texts.mask[:, None])
        vectors = [side.expand(-1, pictures, captions, -1, -1) for side in sides[0]]
        masks = [side.expand(-1, pictures, captions, -1) for side in sides[1]]
        return torch.cat(vectors, dim=3), torch.cat(masks, dim=3)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: <i0, c0> + α <i1, c1>."""
        items, mask = self.stack(images, texts)
        attended, regions = self.across(items, mask), images.local.shape[2]
        picture = l2norm(masked_mean(attended[..., :regions, :], mask[..., :regions]))
        caption = self.pool_words_across(attended[..., regions:, :], mask[..., regions:])
        independent = at_least_float32(images.parts["overall"] @ texts.parts["overall"].transpose(1, 2))
        return independent + self.config.alpha * (at_least_float32(picture) * at_least_float32(caption)).sum(dim=-1)

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/mmca.py`."""
        return FastMMCA(self, precision)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the cross-attention unit, its heads averaged.

        A word's weights are its attention weights of the regions, normalised; its significance is its share of all
        attention on words, by regions and words: this measures attention, not the change of the score.
        """
        images, texts = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        items, mask = self.stack(images, texts)
        shares, regions = self.across.weights(items, mask)[0, 0, 0].mean(dim=0), image.local.shape[1]
        words = int(text.mask[0].sum())
        weights = shares[regions : regions + words, :regions]
        given = shares[mask[0, 0, 0], regions : regions + words].sum(dim=0)
        tiny = torch.finfo(weights.dtype).tiny
        return Attention(
            weights / weights.sum(dim=1, keepdim=True).clamp(min=tiny),
            given / given.sum().clamp(min=tiny),
            self.pair_scores(images, texts).reshape(()),
        )
