"""VSE++: a linear layer for the picture, a GRU for the caption, and a loss on the hardest negative.

Faghri, Fleet, Kiros, Fidler: "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives", BMVC 2018.

What is unusual:
- The contribution is the loss: of all negatives in the batch only the hardest counts (see `crossgraph.losses`).
- A picture is *one* vector of a network. With several regions we take their mean: our choice, the paper's model has no
  regions. Features with a single region a picture are the paper's own case.
- With a text model instead of the GRU (ours too), the caption's vector is that of its last token.
- VSE0, its baseline, does not normalise the image vector (`image_norm: none`) and sums all negatives.

`vsepp-order` is the same code's variant after Vendrov et al., "Order-Embeddings of Images and Language", ICLR 2016:
the score is not a dot product but the negative violation of the order "caption below picture".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.normalization import EPSILON, at_least_float32, l2norm, masked_mean
from crossgraph.graphs.score_parts import increments, shares_of_score
from crossgraph.graphs.sequence_readout import last_states
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.independent import IndependentMatcher
from crossgraph.text.choice import TextChoice, build_text_encoder

Signs = Literal["signed", "absolute"]


@dataclass(frozen=True)
class VSEPPConfig(TextChoice):
    """Sizes and choices; the defaults are VSE++'s."""

    image_norm: Literal["l2", "none"] = "l2"  # "none" is VSE0; the caption's vector always has length 1
    signs: Signs = "signed"  # "absolute": of every component, after the norm


@MODELS.register("vsepp")
class VSEPP(IndependentMatcher):
    """The mean region, projected; the caption's last GRU state; their dot product."""

    paper = "Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018"
    Config = VSEPPConfig
    config: VSEPPConfig

    def __init__(self, config: VSEPPConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, "forward")

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: projected regions as `local`, their mean, normalised, as `index`."""
        local = self.project_regions(regions.features) * regions.mask[..., None]
        overall = masked_mean(local, regions.mask)
        if self.config.image_norm == "l2":
            overall = l2norm(overall)
        return ImageCode(local, regions.mask, self._sign(overall))

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: the GRU's states as `local`, the last of them, normalised, as `index`."""
        states = self.encode_words(tokens)
        return TextCode(states, tokens.mask, self._sign(l2norm(last_states(states, tokens.lengths))))

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the parts of words and regions in its score, without negative parts.

        The image vector is a sum over regions, so that a region's part is exact. A word's part is the change it made
        in the caption's vector when the GRU read it after the words before it.
        """
        regions = image.local[0] / image.mask[0].sum()
        if self.config.image_norm == "l2":
            regions = regions / (regions.sum(dim=0).norm() + EPSILON)
        if self.config.signs == "absolute":
            regions = regions * regions.sum(dim=0).sign()
        words = increments(self._sign(l2norm(text.local[0, : int(text.mask[0].sum())])))
        weights, significance = shares_of_score(regions, words, image.mask[0])
        return Attention(weights, significance, self.score_block(image, text).reshape(()))

    def _sign(self, x: Tensor) -> Tensor:
        return x.abs() if self.config.signs == "absolute" else x


@dataclass(frozen=True)
class VSEOrderConfig(VSEPPConfig):
    """Order embeddings' own default."""

    signs: Signs = "absolute"


@MODELS.register("vsepp-order")
class VSEOrder(VSEPP):
    """Order embeddings: the score −‖max(0, t − v)‖ measures how far the caption exceeds the picture.

    It is no dot product, so that no index of nearest neighbours serves it. Its alignment is that of the dot product.
    """

    kind = "interaction"
    paper = "Vendrov et al., Order-Embeddings of Images and Language, ICLR 2016 (as in the code of VSE++)"
    Config = VSEOrderConfig
    config: VSEOrderConfig

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures; the vector is a part and not `index`, since it is not compared by dot products."""
        code = super().encode_images(regions)
        assert code.index is not None
        return ImageCode(code.local, code.mask, parts={"vector": code.index})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions likewise."""
        code = super().encode_texts(tokens)
        assert code.index is not None
        return TextCode(code.local, code.mask, parts={"vector": code.index})

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return −‖max(0, t − v)‖₂ of every pair, 0 at best."""
        v, t = (at_least_float32(code.parts["vector"]) for code in (images, texts))
        excess = t[:, None] - v[:, :, None]
        excess = excess.clamp(min=0) if torch.is_grad_enabled() else excess.clamp_(min=0)  # in place: g × a × b × d
        return -torch.linalg.vector_norm(excess, dim=-1)
