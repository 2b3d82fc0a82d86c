"""Data types: regions, tokens, codes and alignments, as frozen dataclasses of tensors.

The way of the data: pictures become `Regions`, captions become `Tokens`; a model encodes each side
alone to an `ImageCode` and a `TextCode`; two codes meet in a score or an `Attention`.
Codes may carry a leading group axis, see `crossgraph.models.base.Matcher.score`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

S = TypeVar("S", bound="_Tensors")


class _Tensors:
    """What all nouns share: apply one function to every tensor inside."""

    def map(self: S, function: Callable[[Tensor], Tensor]) -> S:
        """Return a copy with `function` applied to every tensor field."""
        changed: dict[str, object] = {}
        for item in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                changed[item.name] = function(value)
            elif isinstance(value, Mapping):
                entries: Mapping[str, Tensor] = value  # pyright: ignore[reportUnknownVariableType]
                changed[item.name] = {name: function(tensor) for name, tensor in entries.items()}
        return dataclasses.replace(self, **changed)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]

    def select(self: S, rows: Tensor | slice) -> S:
        """Return the given rows of the first axis, in the given order."""
        if isinstance(rows, slice):
            return self.map(lambda tensor: tensor[rows])
        # many times faster than an index where rows are large
        return self.map(lambda tensor: tensor.index_select(0, rows.to(tensor.device)))

    def to(self: S, device: torch.device | str) -> S:
        """Return a copy on `device`."""
        return self.map(lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class Regions(_Tensors):
    """The regions of some pictures, as a region encoder or a published file gives them.

    Attributes:
        features: One vector a region.
        mask: True where a region is real, False where it pads a picture with fewer regions.
        boxes: xyxy in 0..1 of the picture's width and height, or None where the source has none.
        extra: Whatever else a model may need, by name, first axis = pictures (positions, IoU graphs).
    """

    features: Float[Tensor, "img region feature"]
    mask: Bool[Tensor, "img region"]
    boxes: Float[Tensor, "img region 4"] | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return self.features.shape[0]


@dataclass(frozen=True)
class Tokens(_Tensors):
    """Some captions as vocabulary rows, padded on the right with 0 (`<pad>`).

    Attributes:
        ids: Vocabulary rows; `<start>` first, `<end>` last.
        lengths: Number of real tokens, `<start>` and `<end>` included.
        offsets: [start, end) of every token in its caption, in characters; (0, 0) for specials.
        edges: Dependency edges (head, dependent) as token positions, padded with (-1, -1); optional.
    """

    ids: Int[Tensor, "txt word"]
    lengths: Int[Tensor, " txt"]
    offsets: Int[Tensor, "txt word 2"] | None = None
    edges: Int[Tensor, "txt edge 2"] | None = None

    def __len__(self) -> int:
        """Return the number of captions."""
        return self.ids.shape[0]

    @property
    def mask(self) -> Bool[Tensor, "txt word"]:
        """True where a token is real."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]


@dataclass(frozen=True)
class ImageCode(_Tensors):
    """Some pictures, encoded without having seen any caption.

    Attributes:
        local: Region embeddings.
        mask: True where a region is real.
        index: The unit vector for nearest neighbours, or None where the model has none.
        parts: Whatever else the score needs, by name; leading axes as `local`'s.
    """

    local: Float[Tensor, "*group region dim"]
    mask: Bool[Tensor, "*group region"]
    index: Float[Tensor, "*group code"] | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __len__(self) -> int:
        """Return the size of the first axis."""
        return self.local.shape[0]


@dataclass(frozen=True)
class TextCode(_Tensors):
    """Some captions, encoded without having seen any picture.

    Attributes:
        local: Word embeddings; rows of padding are zero.
        mask: True where a word is real.
        index: The unit vector for nearest neighbours, or None where the model has none.
        parts: Whatever else the score needs, by name; leading axes as `local`'s.
    """

    local: Float[Tensor, "*group word dim"]
    mask: Bool[Tensor, "*group word"]
    index: Float[Tensor, "*group code"] | None = None
    parts: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __len__(self) -> int:
        """Return the size of the first axis."""
        return self.local.shape[0]


@dataclass(frozen=True)
class Attention:
    """Which word of one caption met which region of one picture.

    Attributes:
        weights: Share of each region in each word's context; every real word's row sums to 1.
        significance: How much each word counted in the score; sums to at most 1 (the rest is the
            global node's).
        score: The pair's score.
    """

    weights: Float[Tensor, "word region"]
    significance: Float[Tensor, " word"]
    score: Float[Tensor, ""]
