"""Codes and rankings as numpy arrays, with the names of their pictures and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32

from crossgraph.core.types import ImageCode, TextCode


@dataclass(frozen=True)
class PictureCodes:
    """Codes of pictures, made without any sentence.

    Attributes:
        ids: What each is called: its path, or its position among those given.
        local: Region embeddings.
        mask: True where a region is real.
        index: The unit vector for nearest neighbours, where the model has one.
        parts: Whatever else the model's score needs.
        boxes: xyxy in 0..1 of each region, or None where unknown.
    """

    ids: list[str]
    local: Float32[np.ndarray, "img region dim"]
    mask: Bool[np.ndarray, "img region"]
    index: Float32[np.ndarray, "img code"] | None
    parts: Mapping[str, np.ndarray]
    boxes: Float32[np.ndarray, "img region 4"] | None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.ids)

    def tensors(self) -> ImageCode:
        """Return the same as the model's own type."""
        return ImageCode(
            torch.from_numpy(self.local), torch.from_numpy(self.mask), _tensor(self.index), _tensors(self.parts)
        )


@dataclass(frozen=True)
class TextCodes:
    """Codes of sentences, made without any picture.

    Attributes:
        texts: As given.
        local: Word embeddings, `<start>` and `<end>` included; padded with zeros.
        mask: True where a token is real.
        index: The unit vector for nearest neighbours, where the model has one.
        parts: Whatever else the model's score needs.
        unknown: The words of each that the vocabulary lacks; the model read `<unk>` for them.
    """

    texts: list[str]
    local: Float32[np.ndarray, "txt word dim"]
    mask: Bool[np.ndarray, "txt word"]
    index: Float32[np.ndarray, "txt code"] | None
    parts: Mapping[str, np.ndarray]
    unknown: list[list[str]]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.texts)

    def tensors(self) -> TextCode:
        """Return the same as the model's own type."""
        return TextCode(
            torch.from_numpy(self.local), torch.from_numpy(self.mask), _tensor(self.index), _tensors(self.parts)
        )


@dataclass(frozen=True)
class Match:
    """One answer.

    Attributes:
        row: Among those given.
        name: The picture's id, or the sentence.
        score: Of the pair.
    """

    row: int
    name: str
    score: float


@dataclass(frozen=True)
class Ranking:
    """Scores of every picture with every sentence.

    Attributes:
        scores: One row a picture, one column a sentence.
        pictures: Their ids.
        texts: The sentences.
        unknown: The words of each sentence that the vocabulary lacks.
    """

    scores: Float32[np.ndarray, "img txt"]
    pictures: list[str]
    texts: list[str]
    unknown: list[list[str]]

    def best_pictures(self, text: int = 0, k: int = 5) -> list[Match]:
        """Return the pictures that score highest with a sentence, the best first."""
        return _best(self.scores[:, text], self.pictures, k)

    def best_texts(self, picture: int = 0, k: int = 5) -> list[Match]:
        """Return the sentences that score highest with a picture, the best first."""
        return _best(self.scores[picture], self.texts, k)


def pad_together(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Join blocks along the first axis; other axes are padded with zeros to the longest."""
    shape = [max(sizes) for sizes in zip(*(block.shape[1:] for block in blocks), strict=True)]
    joined = np.zeros((sum(map(len, blocks)), *shape), dtype=blocks[0].dtype)
    start = 0
    for block in blocks:
        target = (slice(start, start + len(block)), *(slice(0, size) for size in block.shape[1:]))
        joined[target] = block
        start += len(block)
    return joined


def _best(scores: Float32[np.ndarray, " answer"], names: Sequence[str], k: int) -> list[Match]:
    if k < 1:
        raise ValueError(f"k is {k}; give at least 1")
    order = np.argsort(-scores, kind="stable")[:k]
    return [Match(int(row), names[int(row)], float(scores[row])) for row in order]


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
