"""VSE++: one linear layer for the picture, one GRU for the caption, and the hardest negative.

Faghri, Fleet, Kiros, Fidler: "VSE++: Improving Visual-Semantic Embeddings with Hard Negatives", BMVC 2018.

What is unusual:
- The contribution is the loss: of all negatives in the batch only the hardest counts (see `crossgraph.losses`).
- A picture is *one* vector of a network. Where there are regions we take their mean: our choice, the paper's
  model never sees regions. Features with a single region a picture are the paper's own case.
- With a text model in the GRU's place, ours too, the caption's vector is that of its last token.
- VSE0, its baseline, leaves the image vector's length as it is (`image_norm: none`) and sums all negatives.

`vsepp-order` is the same code's variant after Vendrov et al., "Order-Embeddings of Images and Language", ICLR 2016:
not a dot product but how far a caption is from lying below its picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.contributions import increments, shares_of_score
from crossgraph.graphs.normalization import EPSILON, at_least_float32, l2norm, masked_mean
from crossgraph.graphs.sequence_readout import last_states
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.independent import IndependentMatcher
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.text.choice import TextChoice, build_text_encoder

Signs = Literal["signed", "absolute"]


@dataclass(frozen=True)
class VSEPPConfig(TextChoice):
    """Sizes and choices; the defaults are VSE++'s."""

    embed_size: int = 1024  # d, both vectors
    word_size: int = 300  # learned word embeddings, before the GRU
    image_norm: Literal["l2", "none"] = "l2"  # "none" is VSE0; the caption's vector always has length 1
    signs: Signs = "signed"  # "absolute": of every component, after the norm

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1.
        """
        for name in ("embed_size", "word_size"):
            if getattr(self, name) < 1:
                raise InputError(f"model.config.{name} is {getattr(self, name)}", "give a size of at least 1")


@MODELS.register("vsepp")
class VSEPP(IndependentMatcher):
    """The mean region, projected; the caption's last GRU state; their dot product."""

    paper = "Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018"
    Config = VSEPPConfig
    config: VSEPPConfig

    def __init__(self, config: VSEPPConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d = config.embed_size
        self.project_regions = nn.Linear(inputs.feature_size, d)
        nn.init.xavier_uniform_(self.project_regions.weight)
        nn.init.zeros_(self.project_regions.bias)
        self.encode_words = build_text_encoder(
            config, inputs.vocabulary_size, config.word_size, d, "forward", dropout=0.0
        )

    def dead_parameters(self) -> dict[str, str]:
        """Return those of the text encoder."""
        return {f"encode_words.{name}": why for name, why in self.encode_words.dead_parameters().items()}

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
        """Explain one pair by its score's own parts, negative ones left out.

        The image vector is a sum over regions, so a region's part is exact. The GRU reads from left to right: a
        word's part is what reading it changed in the caption's vector, everything read before it given.
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
    """Order embeddings: the score is −‖max(0, t − v)‖, how much the caption says that the picture does not hold.

    It needs both codes, so that no index of nearest neighbours finds it. Its alignment is that of the dot product.
    """

    kind = "interaction"
    paper = "Vendrov et al., Order-Embeddings of Images and Language, ICLR 2016 (as in the code of VSE++)"
    Config = VSEOrderConfig
    config: VSEOrderConfig

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures; the vector stands among the parts, for it is none to look up neighbours with."""
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
        more = t[:, None] - v[:, :, None]
        more = more.clamp(min=0) if torch.is_grad_enabled() else more.clamp_(min=0)  # in place: it is all memory
        return -torch.linalg.vector_norm(more, dim=-1)


# The published files: a list of two state dicts (image encoder, text encoder).
_KEYS = {**linear_keys("0.fc", "project_regions"), "1.embed.weight": "encode_words.embedding.weight"}


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not VSE++'s."""
    if key.startswith("1.rnn."):
        return f"encode_words.gru.{key.removeprefix('1.rnn.')}"
    return _KEYS.get(key)


@IMPORTERS.register("vsepp")
def import_vsepp(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint of precomputed features (their full networks hold a CNN, and are refused).

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options: `no_imgnorm`, `use_abs` and `measure` leave no trace in tensors.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    if any(key.startswith("0.cnn.") for key in flat):
        raise InputError(
            f"{source}: its image encoder is a whole network (0.cnn)",
            "give a checkpoint that was trained on precomputed features (data_name ..._precomp)",
        )
    weights = refuse_unknown(flat, our_key, source)
    order = options.get("measure") == "order"
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        config = (VSEOrderConfig if order else VSEPPConfig)(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            image_norm="none" if options.get("no_imgnorm") else "l2",
            signs="absolute" if options.get("use_abs") else "signed",
        )
        inputs = Inputs(projection.shape[1], embedding.shape[0])
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it a VSE++ checkpoint?") from error
    return PublishedModel("vsepp-order" if order else "vsepp", config, inputs, weights)
