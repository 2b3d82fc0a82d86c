"""Division of a training batch's pairs into blocks whose tensors fit a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import defer_running_statistics
from crossgraph.models.fast.form import Scorer
from crossgraph.models.random_state import RandomState, cuda_devices

Splits = Literal["pair", "caption", "whole"]
PairScores = Callable[[ImageCode, TextCode], Mapping[str, Tensor]]


@dataclass(frozen=True)
class PairComputation:
    """The computation of a model on pairs.

    Attributes:
        compute: Turns grouped codes into named score matrices (group, img, txt).
        parameters: Parameters that it may read; unread ones get no gradient.
        splits: The units it may be split into, see `Matcher.splits`.
        word_axes: Axes of a caption code's parts that run over words, see `Matcher.word_axes`.
        pair_bytes: Bytes of a pair's graph, by shape; measurements are added here and reused in later batches.
        fast_form: Makes a form that gives the one matrix "score" faster and without a graph; None where there is none.
    """

    compute: PairScores
    parameters: Sequence[Tensor]
    splits: Splits = "pair"
    word_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    pair_bytes: dict[tuple[Any, ...], int] = field(default_factory=dict[tuple[Any, ...], int])
    fast_form: Callable[[], Scorer | None] = lambda: None

    def score_all(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "img txt"]]:
        """Compute all pairs of codes without a group axis at once."""
        maps = self.compute(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
        return {name: scores[0] for name, scores in maps.items()}


class BlockPlan:
    """A batch with its captions sorted by length, and its division into blocks.

    A block is padded to its longest caption. Sorting makes the captions of a block nearly equal in length, so that
    padding costs next to nothing. Column j of a sorted matrix belongs to caption `order[j]` of the batch.

    Args:
        pairs: The computation.
        images: Codes without a group axis.
        texts: Likewise.
        budget: Bytes that the tensors of a block may take together.

    Attributes:
        images: Codes without a graph.
        texts: Likewise, sorted by length.
        order: The batch's index of each sorted caption.
        lengths: Words of each sorted caption.
        names: Names of the score matrices, known after the forward pass.
        random_states: Of each block before its forward pass.
    """

    def __init__(self, pairs: PairComputation, images: ImageCode, texts: TextCode, budget: int) -> None:
        self.pairs, self.budget = pairs, budget
        self.images = images.map(torch.Tensor.detach)
        lengths = texts.mask.sum(dim=1)
        self.order = lengths.argsort(stable=True)
        self.texts = texts.map(lambda t: t.detach()[self.order])
        self.lengths: list[int] = lengths[self.order].tolist()
        device = images.local.device.type
        self.precision = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        self.names: list[str] = []
        self.random_states: list[RandomState] = []

    def autocast(self) -> torch.autocast:
        """Return the batch's autocast, which the backward pass must repeat.

        Without torch's cache of cast weights: the next block would reuse a cast that belongs to another block's graph,
        or to none.
        """
        device, dtype, enabled = self.precision
        return torch.autocast(device, dtype, enabled, cache_enabled=False)

    def graph_bytes(self) -> int:
        """Return the approximate bytes of the autograd graph of all pairs."""
        return sum(self._bytes_of_pair(max(1, length)) for length in self.lengths) * len(self.images)

    def captions(self, rows: slice | Tensor, longest: int) -> TextCode:
        """Return sorted captions by their sorted index, cut to `longest` words."""
        return self.cut(self.texts.select(rows), longest)

    def cut(self, code: TextCode, longest: int) -> TextCode:
        """Return captions without their words behind `longest`."""
        longest, parts = max(1, longest), dict(code.parts)
        for name, axes in self.pairs.word_axes.items():
            for axis in axes if name in parts else ():
                parts[name] = parts[name].narrow(axis, 0, longest)
        return TextCode(code.local[:, :longest], code.mask[:, :longest], code.index, parts)

    def blocks(self, captions: Sequence[int]) -> Iterator[tuple[slice, list[int]]]:
        """Divide all pictures × some sorted captions into blocks (rows, columns).

        The division is deterministic: the backward pass repeats it and pairs it with the blocks' random states.
        """
        start, pictures = 0, len(self.images)
        while start < len(captions):
            # Captions become longer, and a pair's bytes grow with the length of the last caption. So the size is
            # estimated from the first caption and corrected once by the last one of that estimate.
            count = self._captions_of_block(self.lengths[captions[start]])
            last = min(start + count, len(captions)) - 1
            count = min(count, self._captions_of_block(self.lengths[captions[last]]))
            columns = list(captions[start : start + count])
            height = pictures
            if self.pairs.splits == "pair":
                height = max(1, min(pictures, self.pairs_of_block(self.lengths[columns[-1]]) // len(columns)))
            for first in range(0, pictures, height):
                yield slice(first, min(first + height, pictures)), columns
            start += count

    def pairs_of_block(self, longest: int) -> int:
        """Return how many pairs with captions of `longest` words fit the budget."""
        return max(1, self.budget // self._bytes_of_pair(max(1, longest)))

    def _captions_of_block(self, longest: int) -> int:
        pairs = self.pairs_of_block(longest)
        if self.pairs.splits == "caption":  # statistics need all pictures of a caption in one block
            return max(1, pairs // len(self.images))
        return max(1, min(int(pairs**0.5), pairs))  # a square block reads the fewest codes

    def _bytes_of_pair(self, longest: int) -> int:
        """Return the bytes that one pair keeps for its backward pass, measured once for each shape."""
        local = self.images.local
        longest = -(-longest // 4) * 4  # rounded up: one measurement for four lengths
        key = (*local.shape[1:], longest, local.dtype, *self.precision)
        if key not in self.pairs.pair_bytes:
            longest = min(longest, self.texts.local.shape[1])
            # 2 × 4 pairs less 2 × 2 pairs: tensors that all pairs share (casts of weights) cancel out
            added = self._saved_bytes(longest, captions=4) - self._saved_bytes(longest, captions=2)
            self.pairs.pair_bytes[key] = max(1, added // 4)
        return self.pairs.pair_bytes[key]

    def _saved_bytes(self, longest: int, captions: int) -> int:
        """Return the bytes that autograd saves for two pictures with some captions; codes and parameters excluded."""
        rows = torch.arange(captions) % len(self.texts)
        images = as_leaves(self.images.select(torch.arange(2) % len(self.images)))
        texts = as_leaves(self.captions(rows, longest))
        inputs = (*self.pairs.parameters, *code_tensors(images), *code_tensors(texts))
        excluded = {t.untyped_storage().data_ptr() for t in inputs}
        saved: dict[int, int] = {}

        def record(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in excluded:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        generators, statistics = torch.random.fork_rng(cuda_devices(images.local)), defer_running_statistics()
        with generators, statistics, self.autocast(), torch.enable_grad():
            with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
                maps = self.pairs.score_all(images, texts)  # held until all is recorded: freed memory would be reused
            del maps
        return sum(saved.values())


def code_tensors(code: ImageCode | TextCode) -> list[Tensor]:
    """Return all tensors of a code, always in the same order."""
    return [t for t in (code.local, code.mask, code.index, *code.parts.values()) if t is not None]


def as_leaves(code: Any) -> Any:
    """Return a code whose floating point tensors are leaves that require a gradient."""
    return code.map(lambda t: t.detach().requires_grad_() if t.is_floating_point() else t)
