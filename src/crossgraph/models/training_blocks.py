"""Training scores pairs in blocks: the pair tensors of a batch never exist all at once.

A batch of 128 pictures and captions is 16,384 pairs, of which each needs tensors far larger than its codes. Here
pairs are scored a block at a time, without a graph, and in the backward pass a block is computed once more, with
one. Only pairs whose score has a gradient are: a hinge on the hardest negatives asks for three pairs a caption
at most. Scores, losses and gradients are those of the plain form, up to the order of sums.

Captions are sorted by length and a block is cut to its longest, so that padding costs next to nothing. A block is as
large as its tensors, which are measured, fit a budget of bytes. A batch whose graph is small and whose pairs all have
gradients keeps it, block by block, and computes nothing twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import hold_statistics
from crossgraph.models.folded import Prepares
from crossgraph.models.training_draws import Draw, devices_of

Splits = Literal["pair", "caption", "whole"]
Compute = Callable[[ImageCode, TextCode], Mapping[str, Tensor]]


class Scores(Protocol):
    """A folded form, see `crossgraph.models.folded`."""

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return the scores of grouped codes."""
        ...


BLOCK_BYTES = 1 << 26  # what a block's pair tensors may take together on a CPU; smaller ones cost more than they save
ACCELERATOR_BLOCK_BYTES = 1 << 31
KEPT_BYTES = 5 << 28  # what a batch's graph may take that is kept, 16 times as much on an accelerator
_FEW = 0.25  # of the pairs: so many or fewer are gathered one by one in the backward pass


@dataclass(frozen=True)
class PairComputation:
    """What a model does with pairs.

    Attributes:
        compute: Turns grouped codes into named score maps (group, img, txt).
        parameters: What it may read; those it does not read get no gradient.
        splits: What it may be cut into, see `Matcher.splits`.
        word_axes: Axes of a caption code's parts that run over words, see `Matcher.word_axes`.
        sizes: Bytes a pair, by shape, as measured; filled here and kept by the caller.
        fold: Makes a form that gives the one map "score" faster and without a graph; None where there is none.
    """

    compute: Compute
    parameters: Sequence[Tensor]
    splits: Splits = "pair"
    word_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    sizes: dict[tuple[Any, ...], int] = field(default_factory=dict[tuple[Any, ...], int])
    fold: Callable[[], Scores | None] = lambda: None

    def plainly(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "img txt"]]:
        """Compute all pairs at once."""
        maps = self.compute(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
        return {name: scores[0] for name, scores in maps.items()}


_few: ContextVar[bool] = ContextVar("_few", default=False)


@contextlib.contextmanager
def few_pairs_learn(few: bool) -> Iterator[None]:
    """Within the block, tell that the loss gives few pairs a gradient, so that keeping a graph of all is a waste."""
    token = _few.set(few)
    try:
        yield
    finally:
        _few.reset(token)


def in_blocks(
    pairs: PairComputation, images: ImageCode, texts: TextCode, budget: int | None = None
) -> dict[str, Float[Tensor, "img txt"]]:
    """Compute all pairs of a batch block by block, differentiably.

    Args:
        pairs: What to compute.
        images: Codes without a group axis.
        texts: Likewise.
        budget: Bytes of a block's tensors; the default depends on the device.

    Returns:
        The named maps, pictures × captions.
    """
    if pairs.splits == "whole":
        return pairs.plainly(images, texts)
    accelerator = images.local.device.type != "cpu"
    work = _Work(pairs, images, texts, budget or (ACCELERATOR_BLOCK_BYTES if accelerator else BLOCK_BYTES))
    if work.all_bytes() <= KEPT_BYTES * (16 if accelerator else 1) and not (_few.get() and pairs.splits == "pair"):
        return _keeping(work, images, texts)
    maps: tuple[Tensor, ...] = _Blocks.apply(  # pyright: ignore[reportAssignmentType]
        work, *_tensors(images), *_tensors(texts), *pairs.parameters
    )
    return dict(zip(work.names, maps, strict=True))


def _keeping(work: _Work, images: ImageCode, texts: TextCode) -> dict[str, Tensor]:
    """Compute all pictures with captions of like length, block by block, and keep the graph."""
    found: dict[str, list[Tensor]] = {}
    ordered, start = texts.select(work.order), 0
    with hold_statistics() as held:
        while start < len(texts):
            wanted = max(1, work.pairs_of_block(work.lengths[start]) // len(images))
            stop = min(start + wanted, len(texts))
            some = work.cut(ordered.select(slice(start, stop)), work.lengths[stop - 1])
            for name, scores in work.pairs.plainly(images, some).items():
                found.setdefault(name, []).append(scores)
            start = stop
    held.settle(work.order)
    back = work.order.argsort()
    return {name: torch.cat(parts, dim=1)[:, back] for name, parts in found.items()}


class _Work:
    """One batch: its codes in the order in which they are scored, the blocks, and what was drawn before each."""

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
        self.draws: list[Draw] = []

    def autocast(self) -> torch.autocast:
        """Return the precision that the batch was scored in; without torch's cache, which mixes up graphs."""
        device, dtype, enabled = self.precision
        return torch.autocast(device, dtype, enabled, cache_enabled=False)

    def all_bytes(self) -> int:
        """Return what the graph of all pairs would take, roughly."""
        return sum(self._bytes_of_pair(max(1, length)) for length in self.lengths) * len(self.images)

    def captions(self, rows: slice | Tensor, longest: int) -> TextCode:
        """Return some captions, in the order of their lengths, cut to `longest` words."""
        return self.cut(self.texts.select(rows), longest)

    def cut(self, code: TextCode, longest: int) -> TextCode:
        """Return captions without their words behind `longest`."""
        longest, parts = max(1, longest), dict(code.parts)
        for name, axes in self.pairs.word_axes.items():
            for axis in axes if name in parts else ():
                parts[name] = parts[name].narrow(axis, 0, longest)
        return TextCode(code.local[:, :longest], code.mask[:, :longest], code.index, parts)

    def blocks(self, captions: Sequence[int]) -> Iterator[tuple[slice, list[int]]]:
        """Cut all pictures × some captions (places in their order by length) into blocks."""
        start, pictures = 0, len(self.images)
        while start < len(captions):
            # a block ends with its longest caption: a guess from the first's length, then one correction
            wanted = self._captions_of_block(self.lengths[captions[start]])
            last = min(start + wanted, len(captions)) - 1
            wanted = min(wanted, self._captions_of_block(self.lengths[captions[last]]))
            some = list(captions[start : start + wanted])
            each = pictures
            if self.pairs.splits == "pair":
                each = max(1, min(pictures, self.pairs_of_block(self.lengths[some[-1]]) // len(some)))
            for first in range(0, pictures, each):
                yield slice(first, min(first + each, pictures)), some
            start += wanted

    def pairs_of_block(self, longest: int) -> int:
        """Return how many pairs of such captions fit the budget."""
        return max(1, self.budget // self._bytes_of_pair(max(1, longest)))

    def _captions_of_block(self, longest: int) -> int:
        pairs = self.pairs_of_block(longest)
        if self.pairs.splits == "caption":
            return max(1, pairs // len(self.images))
        return max(1, min(int(pairs**0.5), pairs))

    def _bytes_of_pair(self, longest: int) -> int:
        """Measure what one pair keeps for its backward pass, once for each shape."""
        local = self.images.local
        longest = -(-longest // 4) * 4  # one measurement for four lengths
        key = (*local.shape[1:], longest, local.dtype, *self.precision)
        if key not in self.pairs.sizes:
            self.pairs.sizes[key] = max(1, self._measure(min(longest, self.texts.local.shape[1])))
        return self.pairs.sizes[key]

    def _measure(self, longest: int) -> int:
        """Return what autograd keeps for two pairs more, a pair; what all share (casts of weights) does not count."""
        return (self._kept(longest, 4) - self._kept(longest, 2)) // 4

    def _kept(self, longest: int, captions: int) -> int:
        """Compute two pictures with some captions and add up what autograd keeps."""
        rows = torch.arange(captions) % len(self.texts)
        images = _leaves(self.images.select(torch.arange(2) % len(self.images)))
        texts = _leaves(self.captions(rows, longest))
        own = {t.untyped_storage().data_ptr() for t in (*self.pairs.parameters, *_tensors(images), *_tensors(texts))}
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.random.fork_rng(devices_of(images.local)), hold_statistics(), self.autocast(), torch.enable_grad():
            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                alive = self.pairs.plainly(images, texts)
            del alive
        return sum(kept.values())


class _Blocks(torch.autograd.Function):
    """Score in blocks; the backward pass computes again the pairs that have a gradient."""

    @staticmethod
    def forward(ctx: Any, work: _Work, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.work = work
        if (folded := work.pairs.fold()) is not None:
            return _swiftly(work, folded)
        pictures, captions = len(work.images), len(work.texts)
        maps: dict[str, Tensor] = {}
        with hold_statistics() as held, work.autocast():
            for rows, columns in work.blocks(range(captions)):
                places = slice(columns[0], columns[-1] + 1)
                images = work.images.select(rows).map(lambda t: t[None])
                texts = work.captions(places, work.lengths[columns[-1]]).map(lambda t: t[None])
                draw = Draw.before(images.local)
                for name, scores in work.pairs.compute(images, texts).items():
                    if name not in maps:
                        maps[name] = scores.new_empty(pictures, captions)
                    maps[name][rows, work.order[places]] = scores[0]
                work.draws.append(draw.unless_nothing_was_drawn())
        held.settle(work.order)
        work.names[:] = list(maps)
        return tuple(maps.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        work: _Work = ctx.work
        wanted = {name: grad[:, work.order] for name, grad in zip(work.names, grads, strict=True) if grad is not None}
        sums = _Sums(work)
        active = torch.stack([grad != 0 for grad in wanted.values()]).any(dim=0)
        if not active.any():
            active[0, 0] = True  # so that what is read gets a gradient of zero, not none
        with hold_statistics(), work.autocast():
            _again(work, wanted, active, sums)
        return (None, *sums.results())


def _swiftly(work: _Work, folded: Scores) -> tuple[Tensor]:
    """Score by the faster form: captions of one length together, with as many pictures as fit."""
    images, texts, start = work.images, work.texts, 0
    if isinstance(folded, Prepares):
        images = folded.prepare_images(images)
    found = torch.empty(len(images), len(texts), device=images.local.device)
    while start < len(texts):
        longest = work.lengths[start]
        stop = min(start + work.lengths.count(longest), start + work.pairs_of_block(longest))
        each = max(1, work.pairs_of_block(longest) // (stop - start))
        some = work.cut(texts.select(slice(start, stop)), longest)
        some = (folded.prepare_texts(some) if isinstance(folded, Prepares) else some).map(lambda t: t[None])
        for first in range(0, len(images), each):
            rows = slice(first, min(first + each, len(images)))
            found[rows, work.order[start:stop]] = folded.score(images.select(rows).map(lambda t: t[None]), some)[0]
        start = stop
    work.names[:] = ["score"]
    return (found,)


def _again(work: _Work, wanted: Mapping[str, Tensor], active: Bool[Tensor, "img txt"], sums: _Sums) -> None:
    """Compute the blocks once more and add up their gradients."""
    if any(draw.drawn for draw in work.draws):
        for (rows, columns), draw in zip(work.blocks(range(len(work.texts))), work.draws, strict=True):
            with draw.repeated():
                _block(work, wanted, rows, torch.tensor(columns), sums)
    elif work.pairs.splits == "pair" and active.float().mean() <= _FEW:
        columns, rows = active.T.nonzero(as_tuple=True)  # sorted by caption, hence by length
        _scattered(work, wanted, rows, columns, sums)
    else:
        places: list[int] = active.any(dim=0).nonzero()[:, 0].tolist()
        for rows, columns in work.blocks(places):
            _block(work, wanted, rows, torch.tensor(columns), sums)


def _block(work: _Work, wanted: Mapping[str, Tensor], rows: slice, columns: Tensor, sums: _Sums) -> None:
    images = _leaves(work.images.select(rows))
    texts = _leaves(work.captions(columns, work.lengths[int(columns[-1])]))
    with torch.enable_grad():
        maps = work.pairs.plainly(images, texts)
    sums.add(
        [maps[name] for name in wanted],
        [grad[rows][:, columns.to(grad.device)] for grad in wanted.values()],
        (images, torch.arange(rows.start, rows.stop)),
        (texts, columns),
    )


def _scattered(
    work: _Work, wanted: Mapping[str, Tensor], rows: Int[Tensor, " pair"], columns: Int[Tensor, " pair"], sums: _Sums
) -> None:
    """Compute pairs that lie anywhere, a group each."""
    start, found = 0, columns.tolist()
    while start < len(found):
        stop = min(len(found), start + work.pairs_of_block(work.lengths[found[start]]))
        stop = min(stop, start + work.pairs_of_block(work.lengths[found[stop - 1]]))
        i, j = rows[start:stop], columns[start:stop]
        images = _leaves(work.images.select(i))
        texts = _leaves(work.captions(j, work.lengths[found[stop - 1]]))
        with torch.enable_grad():
            maps = work.pairs.compute(images.map(lambda t: t[:, None]), texts.map(lambda t: t[:, None]))
            results = [maps[name][:, 0, 0] for name in wanted]
        sums.add(results, [grad[i, j] for grad in wanted.values()], (images, i), (texts, j))
        start = stop


class _Sums:
    """Gradients of a batch's codes and of the parameters, added up over blocks."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._parameters = list(work.pairs.parameters)
        self._images = _zeros(_tensors(work.images))
        self._texts = _zeros(_tensors(work.texts))
        self._learned: list[Tensor | None] = [None] * len(self._parameters)

    def add(
        self,
        outputs: Sequence[Tensor],
        gradients: Sequence[Tensor],
        images: tuple[ImageCode, Tensor],
        texts: tuple[TextCode, Tensor],
    ) -> None:
        """Add a block's: its outputs with their gradients, and its codes with their places in the batch."""
        sides = ((self._images, *images), (self._texts, *texts))
        leaves = [[t for t in _tensors(code) if t.requires_grad] for _, code, _ in sides]
        learned = [parameter for parameter in self._parameters if parameter.requires_grad]
        found = iter(
            torch.autograd.grad(
                outputs, [*leaves[0], *leaves[1], *learned], _like(gradients, outputs), allow_unused=True
            )
        )
        for sums, code, places in sides:
            for i, tensor in enumerate(_tensors(code)):
                if tensor.requires_grad and (gradient := next(found)) is not None:
                    into = sums[i]
                    assert into is not None
                    for axis in range(1, into.ndim):  # captions were cut
                        into = into.narrow(axis, 0, gradient.shape[axis])
                    into.index_add_(0, places.to(into.device), gradient.to(into.dtype))
        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad and (gradient := next(found)) is not None:
                total = self._learned[i]
                self._learned[i] = gradient if total is None else total.add_(gradient)

    def results(self) -> list[Tensor | None]:
        """Return the gradients of pictures' tensors, captions' tensors and parameters, in this order."""
        back = self._work.order.argsort()
        return [*self._images, *(None if t is None else t[back] for t in self._texts), *self._learned]


def _tensors(code: ImageCode | TextCode) -> list[Tensor]:
    """Return all tensors of a code, always in the same order."""
    return [t for t in (code.local, code.mask, code.index, *code.parts.values()) if t is not None]


def _leaves(code: Any) -> Any:
    return code.map(lambda t: t.detach().requires_grad_() if t.is_floating_point() else t)


def _zeros(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    return [torch.zeros_like(t) if t.is_floating_point() else None for t in tensors]


def _like(gradients: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Tensor]:
    return [gradient.to(output.dtype) for gradient, output in zip(gradients, outputs, strict=True)]
