"""The contract of fast forms: prepared codes, scores of grouped codes, rows grouped by length.

A fast form ("folded form") computes the scores of a model by fewer or larger operations: layers are merged, values that
no score depends on are left out, and captions of equal length are scored together so that nothing is padding. It holds
its own copy of the weights in its own precision. Codes are *prepared* once (cast, multiplied with themselves) and then
scored many times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CodeSide = Literal["image", "text"]
Code = TypeVar("Code", ImageCode, TextCode)
GRAM = "gram"  # part of a prepared code: inner products of its items with each other, float32


@runtime_checkable
class Scorer(Protocol):
    """Anything that scores codes: a model or its fast form."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return the scores of grouped codes; see `Matcher.score`."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A scorer of plain codes that is faster with codes it has prepared."""

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the prepared code; a prepared code is returned as it is."""
        ...

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the prepared code; a prepared code is returned as it is."""
        ...


@runtime_checkable
class ScoresLists(Protocol):
    """A scorer that scores many short lists in one call as fast as a block of as many pairs."""

    def score_lists(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "list txt"]:
        """Score each picture with captions of its own.

        Args:
            images: `local` (list, R, d), prepared.
            texts: `local` (list, txt, L, d), prepared and without padding.
        """
        ...


class FastForm(ABC):
    """Base of the fast forms: prepares codes on demand and scores one group after another."""

    prepared_part: ClassVar[str] = GRAM  # a code with this part is prepared

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the prepared code; a prepared code is returned as it is."""
        return code if self.prepared_part in code.parts else self.prepare(code, "image")

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the prepared code; a prepared code is returned as it is."""
        return code if self.prepared_part in code.parts else self.prepare(code, "text")

    @abstractmethod
    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return a code with the values that all of its scores need."""

    @abstractmethod
    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of prepared codes without a group axis; `into` holds zeros."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every picture of a group with every caption of the same group; see `Matcher.score`.

        Args:
            images: `local` (g, a, R, d), prepared or not.
            texts: `local` (g, b, L, d), prepared or not.

        Returns:
            Scores (g, a, b), float32.
        """
        with torch.autocast(images.local.device.type, enabled=False), torch.no_grad():
            images, texts = self.prepare_images(images), self.prepare_texts(texts)
            if isinstance(self, ScoresLists) and images.local.shape[1] == 1 and bool(texts.mask.all()):
                return self.score_lists(images.map(lambda t: t[:, 0]), texts)[:, None]
            groups, a, b = images.local.shape[0], images.local.shape[1], texts.local.shape[1]
            scores = torch.zeros(groups, a, b, device=images.local.device)
            for group in range(groups):
                self.score_group(images.map(lambda t, g=group: t[g]), texts.map(lambda t, g=group: t[g]), scores[group])
        return scores


def by_length(mask: Bool[Tensor, "row item"]) -> Iterator[tuple[slice | Int[Tensor, " equal"], int]]:
    """Yield the rows that have equally many real items, with that number; a full slice where no item is padding."""
    if bool(mask.all()):
        yield slice(None), mask.shape[1]
        return
    lengths = mask.sum(dim=1)
    for length in torch.unique(lengths).tolist():
        yield (lengths == length).nonzero()[:, 0], int(length)


def real_items(
    items: Float[Tensor, "row item dim"],
    mask: Bool[Tensor, "row item"],
    rows: slice | Int[Tensor, " equal"],
    length: int,
) -> Float[Tensor, "equal real dim"]:
    """Return the real items of rows given by `by_length`, without the padding between or behind them."""
    if isinstance(rows, slice):
        return items
    return items[rows][mask[rows]].view(len(rows), length, items.shape[-1])
