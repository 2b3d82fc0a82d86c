"""Choose how many pairs are scored in one call.

The tensors of a pair are far larger than its share of the codes, and what they are differs from model to model
(words × width, regions × width, several of them at a time). So they are not guessed but measured: a few pairs are
scored while every tensor that comes to life is counted. A block is then as many pairs as a budget of bytes takes.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.models.base import Scorer

PAIR_BYTES = 1 << 24  # what one block's tensors may take together on a CPU core: 16 MB
ACCELERATOR_PAIR_BYTES = 1 << 31  # the same on an accelerator: 2 GB
CAPTIONS_A_PICTURE = 8  # a block has so many captions to a picture, where it can: products grow long in captions
SAMPLE = 4  # pictures and captions that are measured

_measured: weakref.WeakKeyDictionary[object, dict[tuple[Any, ...], int]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class BlockSize:
    """Size of a block in bytes or pairs; the default is `default_budget`'s.

    Attributes:
        budget: Bytes that all its tensors may take together, or None.
        pairs: Pairs of a block, whatever they take; None follows the budget.
    """

    budget: int | None = None
    pairs: int | None = None

    def of(self, scorer: Scorer, images: ImageCode, texts: TextCode) -> int:
        """Return the pairs of a block of these codes (without a group axis), at least 1."""
        if self.pairs is not None:
            return self.pairs
        return pairs_of(scorer, images, texts, self.budget or default_budget(images.local.device))


def block_shape(pairs: int, images: int, captions: int) -> tuple[int, int]:
    """Return the numbers of pictures and captions of one call.

    Args:
        pairs: At most so many.
        images: There are.
        captions: There are.

    Returns:
        Pictures and captions, at least one each.
    """
    pairs = max(1, pairs)
    wanted = max(1, round((pairs * CAPTIONS_A_PICTURE) ** 0.5))
    some_captions = min(captions, wanted, pairs)
    some_images = max(1, min(images, pairs // some_captions))
    return some_images, max(1, min(captions, pairs // some_images))


def pairs_of(scorer: Scorer, images: ImageCode, texts: TextCode, budget: int) -> int:
    """Return how many pairs fit a budget.

    Args:
        scorer: Scores them.
        images: Codes without a group axis, as they will be scored.
        texts: Likewise.
        budget: Bytes that all tensors of a block may take together.

    Returns:
        At least 1.
    """
    return max(1, budget // pair_bytes(scorer, images, texts))


def default_budget(device: torch.device) -> int:
    """Return the default size of a block in bytes."""
    return PAIR_BYTES if device.type == "cpu" else ACCELERATOR_PAIR_BYTES


def pair_bytes(scorer: Scorer, images: ImageCode, texts: TextCode) -> int:
    """Return the peak bytes of one pair's tensors; measured once for each shape."""
    known = _measured.setdefault(scorer, {})
    key = (*images.local.shape[1:], *texts.local.shape[1:], images.local.dtype)
    if key not in known:
        # of tensors made in inference mode, operations would arrive that consist of others: uncounted, and not cast
        with torch.inference_mode(False), torch.no_grad():
            one = images.select(slice(0, SAMPLE)).map(lambda t: t[None].clone())
            other = texts.select(slice(0, SAMPLE)).map(lambda t: t[None].clone())
            with counting() as counted:
                scorer.score(one, other)
        pairs = one.local.shape[1] * other.local.shape[1]
        known[key] = max(1, -(-counted() // pairs))
    return known[key]


@contextlib.contextmanager
def counting() -> Generator[Callable[[], int]]:
    """Count the bytes of tensors created in the block; the yielded function returns the peak."""
    mode = _LiveBytes()
    with mode:
        yield lambda: mode.most


class _LiveBytes(TorchDispatchMode):
    """Tracks the lifetime of every storage that an operation returns."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.most = 0
        self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result: object = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._follow(value)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self._live += size
        self.most = max(self.most, self._live)
        weakref.finalize(storage, self._gone, address, size)

    def _gone(self, address: int, size: int) -> None:
        self._live -= size
        self._known.discard(address)
