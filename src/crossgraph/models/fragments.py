"""SCAN's encoders, which its successors share, and what their alignments and published files have in common.

Lee, Chen, Hua, Hu, He: "Stacked Cross Attention for Image-Text Matching", ECCV 2018: regions through one linear
layer, words through an embedding and a (Bi-)GRU, both to unit vectors. No dropout anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.cross_attention import shares_of_regions
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import Inputs, Matcher
from crossgraph.models.published import linear_keys, refuse_unknown
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction

T = TypeVar("T")


@dataclass(frozen=True)
class FragmentConfig(TextChoice):
    """Sizes and choices of the encoders."""

    embed_size: int = 1024  # d, region and word embeddings
    word_size: int = 300  # learned word embeddings, before the GRU
    text_direction: Direction = "both"  # Bi-GRU, or one direction
    image_norm: Literal["l2", "none"] = "l2"  # of region embeddings
    text_norm: Literal["l2", "none"] = "l2"  # of word embeddings
    region_layer: Literal["linear", "weight_norm"] = "linear"  # "weight_norm": one learned length for the whole matrix

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1.
        """
        at_least(self, 1, "embed_size", "word_size")


def at_least(config: Any, smallest: int, *names: str) -> None:
    """Refuse fields below what makes a model.

    Raises:
        InputError: A field is below `smallest`.
    """
    for name in names:
        if getattr(config, name) < smallest:
            raise InputError(f"model.config.{name} is {getattr(config, name)}", f"give at least {smallest}")


def above_zero(config: Any, *names: str) -> None:
    """Refuse temperatures and the like that are not above 0.

    Raises:
        InputError: A field is 0 or below.
    """
    for name in names:
        if not getattr(config, name) > 0:
            raise InputError(f"model.config.{name} is {getattr(config, name)}", "give a number above 0")


class FragmentMatcher(Matcher):
    """The encoders; a subclass compares fragments."""

    kind = "interaction"
    config: FragmentConfig

    def __init__(self, config: FragmentConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.project_regions = self.build_region_layer()
        self.encode_words = build_text_encoder(
            config, inputs.vocabulary_size, config.word_size, config.embed_size, config.text_direction, 0.0
        )

    def dead_parameters(self) -> dict[str, str]:
        """Return the text encoder's parameters that never learn."""
        return {f"encode_words.{name}": why for name, why in self.encode_words.dead_parameters().items()}

    @property
    def region_width(self) -> int:
        """Width of what the layer of the regions reads."""
        return self.inputs.feature_size

    def build_region_layer(self) -> nn.Linear:
        """Make the layer from raw features to embeddings."""
        layer = xavier(nn.Linear(self.region_width, self.config.embed_size))
        if self.config.region_layer == "weight_norm":
            parametrizations.weight_norm(layer, dim=None)  # pyright: ignore[reportArgumentType]
        return layer

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings."""
        local = self.project_regions(regions.features)
        return ImageCode(l2norm(local) if self.config.image_norm == "l2" else local, regions.mask)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual word embeddings."""
        local = self.encode_words(tokens)
        return TextCode(l2norm(local) if self.config.text_norm == "l2" else local, tokens.mask)


def xavier(layer: nn.Linear) -> nn.Linear:
    """Draw a layer's weight uniformly from ±sqrt(6 / (in + out)) and set its bias to 0."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True)
class Look:
    """One direction of attention in one pair, for `explain`.

    Attributes:
        weights: Each query's shares of the contexts.
        importance: How much each query counted in the score; sums to 1.
    """

    weights: Float[Tensor, "query context"]
    importance: Float[Tensor, " query"]


def explain(
    image: ImageCode, text: TextCode, score: Tensor, t2i: Look | None = None, i2t: Look | None = None
) -> Attention:
    """Return an alignment from what words and regions looked at.

    t2i: a word's shares of the regions, and its own importance. i2t: of the attention that a word got from all
    regions each region's share (its column, made to sum to 1); and the regions' importance, handed on to the
    words that they looked at. Both: the mean of the two.

    Args:
        image: One picture's code.
        text: One caption's code.
        score: The pair's.
        t2i: Words as queries.
        i2t: Regions as queries; at least one of the two.
    """
    words, real = int(text.mask[0].sum()), image.mask[0]
    views: list[tuple[Tensor, Tensor]] = []
    if t2i is not None:
        views.append((t2i.weights[:words], t2i.importance[:words]))
    if i2t is not None:
        weights = i2t.weights[:, :words] * real[:, None]
        views.append((shares_of_regions(weights, real), (i2t.importance * real) @ weights))
    weights, significance = (torch.stack(part).mean(dim=0) for part in zip(*views, strict=True))
    return Attention(weights, significance, score.reshape(()))


def encoder_key(key: str, region_layer: str = "0.fc", text: str = "1.") -> str | None:
    """Translate a published encoder tensor's name to ours; None where it is none of theirs.

    Args:
        key: "0.fc.weight", "1.rnn.weight_ih_l0", the state dict's number first.
        region_layer: What the authors call the layer of the regions.
        text: What stands before the text encoder's names.
    """
    regions = linear_keys(region_layer, "project_regions")
    for number, names in enumerate((("weight_g", "original0"), ("weight_v", "original1"))):
        ours = f"project_regions.parametrizations.weight.original{number}"
        regions |= {f"{region_layer}.{names[0]}": ours, f"{region_layer}.parametrizations.weight.{names[1]}": ours}
    if key in regions:
        return regions[key]
    if key == f"{text}embed.weight":
        return "encode_words.embedding.weight"
    return f"encode_words.gru.{key.removeprefix(f'{text}rnn.')}" if key.startswith(f"{text}rnn.") else None


def translated(
    states: Sequence[Mapping[str, Tensor]], translate: Callable[[str], str | None], source: str
) -> dict[str, Tensor]:
    """Put a file's state dicts together under our names.

    Raises:
        InputError: A tensor that this model does not have.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    return refuse_unknown(flat, translate, source)


def encoder_fields(weights: Mapping[str, Tensor], options: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the fields of `FragmentConfig` that a published file was made with.

    Sizes and directions come from the tensors; the options tell only whether the norms were left out.

    Raises:
        InputError: A tensor is missing.
    """
    normed = "project_regions.parametrizations.weight.original1"
    return {
        "embed_size": needed(weights, "project_regions.bias", source, axes=1).shape[0],
        "word_size": needed(weights, "encode_words.embedding.weight", source).shape[-1],
        "text_direction": "both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
        "image_norm": "none" if options.get("no_imgnorm") else "l2",
        "text_norm": "none" if options.get("no_txtnorm") else "l2",
        "region_layer": "weight_norm" if normed in weights else "linear",
    }


def encoder_inputs(weights: Mapping[str, Tensor], source: str) -> Inputs:
    """Return the sizes of the data that a published file was trained on.

    Raises:
        InputError: A tensor is missing.
    """
    normed = "project_regions.parametrizations.weight.original1"
    layer = needed(weights, normed if normed in weights else "project_regions.weight", source)
    return Inputs(layer.shape[-1], needed(weights, "encode_words.embedding.weight", source).shape[0])


def needed(weights: Mapping[str, Tensor], name: str, source: str, axes: int = 2) -> Tensor:
    """Return a tensor that no file of this model lacks, and whose shape tells a size.

    Raises:
        InputError: It is missing, is empty, or has another number of axes.
    """
    if name not in weights:
        raise InputError(f"{source}: lacks what we call {name}", "the file may be truncated or another model's")
    if weights[name].ndim != axes or not weights[name].numel():
        raise InputError(
            f"{source}: {name} has shape {tuple(weights[name].shape)}, no size of {axes} axes", "check the file"
        )
    return weights[name]


def chosen(options: Mapping[str, Any], name: str, choices: Mapping[str, T], default: T, source: str) -> T:
    """Translate a stored option to ours.

    Args:
        options: The file's.
        name: The option.
        choices: The authors' values and ours.
        default: Where the file does not say.
        source: The file's name, for messages.

    Raises:
        InputError: A value that we do not know.
    """
    if name not in options:
        return default
    value = str(options[name])
    if value not in choices:
        raise InputError(f"{source}: its option {name} is '{value}'", f"known: {', '.join(choices)}")
    return choices[value]


def number(options: Mapping[str, Any], name: str, default: float, source: str) -> float:
    """Return a stored option that is a number.

    Raises:
        InputError: It is none.
    """
    value = options.get(name, default)
    if not isinstance(value, int | float):
        raise InputError(f"{source}: its option {name} is '{value}'", "it must be a number")
    return float(value)
