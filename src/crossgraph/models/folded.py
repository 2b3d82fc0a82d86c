"""Folded forms: what a model may become for inference, where only the score matters.

A folded form computes the same number in fewer or larger operations: layers merged, what nobody reads left out,
captions of equal length together so that nothing is padding. It holds its own copy of the weights in its own
precision, and prepares codes once (casts, products of a code with itself) that are then scored many times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@runtime_checkable
class Prepares(Protocol):
    """A scorer that takes codes as they are, and faster once they have been prepared."""

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code with what every score of it needs; a prepared one comes back as it is."""
        ...

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code with what every score of it needs; a prepared one comes back as it is."""
        ...


@runtime_checkable
class ScoresLists(Protocol):
    """A scorer that takes many short lists in one call as fast as a block of as many pairs."""

    def score_lists(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "list txt"]:
        """Score each picture with captions of its own.

        Args:
            images: `local` (list, R, d), prepared.
            texts: `local` (list, txt, L, d), prepared and without padding.
        """
        ...


class FoldedForm(ABC):
    """What folded forms share: codes are prepared where they are not yet, and groups are scored one after another."""

    @abstractmethod
    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code with what every score of it needs; a prepared one comes back as it is."""

    @abstractmethod
    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code with what every score of it needs; a prepared one comes back as it is."""

    @abstractmethod
    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group; prepared codes without a group axis."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every picture of a group with every caption of it; see `Matcher.score`.

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
                one, other = images.map(lambda t, g=group: t[g]), texts.map(lambda t, g=group: t[g])
                self.score_group(one, other, scores[group])
        return scores


def by_length(mask: Bool[Tensor, "row item"]) -> Iterator[tuple[Int[Tensor, " some"] | None, int]]:
    """Group rows that have equally many real items.

    Args:
        mask: True where an item is real.

    Returns:
        Rows (None: all of them, and every item is real) and their number of real items.
    """
    if bool(mask.all()):
        yield None, mask.shape[1]
        return
    lengths = mask.sum(dim=1)
    for length in torch.unique(lengths).tolist():
        yield (lengths == length).nonzero()[:, 0], int(length)


def real_items(
    local: Float[Tensor, "row item dim"], mask: Bool[Tensor, "row item"], rows: Int[Tensor, " some"], length: int
) -> Float[Tensor, "some real dim"]:
    """Return the real items of rows that have equally many, without the padding between or behind them."""
    return local[rows][mask[rows]].view(len(rows), length, local.shape[-1])
