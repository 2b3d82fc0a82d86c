"""Scoring of a training batch in blocks, so that the pair tensors of a batch never exist all at once.

A batch of 128 pictures and captions is 16,384 pairs, and the tensors of a pair are far larger than its codes. There
are two ways (B pictures × C captions; a block has b × c pairs):

- Where the graph of all pairs fits `GRAPH_BYTES`, blocks of captions of like length are scored with a graph, which is
  kept. Nothing is computed twice.
- Otherwise the forward pass scores block by block *without* a graph. The backward pass gets the gradient (B, C) of the
  score matrix, computes each block that has a nonzero entry once more with a graph, and adds up the gradients of codes
  and parameters. A hinge on the hardest negatives gives at most three pairs a caption a gradient, so that few pairs
  are computed twice; these are gathered as a list of single pairs.

Scores, losses and gradients are those of `PairComputation.score_all`, up to the order of sums. This relies on:

- Codes are the only input of a pair that depends on the batch: the recomputation reads the codes without a graph and
  their gradients are returned as the gradients of this function's inputs.
- A block draws the same random numbers both times (`RandomState`), in the same precision (`BlockPlan.autocast`).
- Running statistics are committed once, in the captions' order of the batch, and never by the recomputation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import defer_running_statistics
from crossgraph.models.block_plan import BlockPlan, PairComputation, PairScores, Splits, as_leaves, code_tensors
from crossgraph.models.fast.form import Prepares, Scorer
from crossgraph.models.random_state import RandomState

__all__ = ["PairComputation", "PairScores", "Splits", "score_in_blocks", "sparse_gradient"]

BLOCK_BYTES = 1 << 26  # of a block's pair tensors on a CPU; smaller blocks cost more time than they save memory
ACCELERATOR_BLOCK_BYTES = 1 << 31
GRAPH_BYTES = 5 << 28  # of a batch's graph up to which it is kept; 16 times as much on an accelerator
_SPARSE = 0.25  # share of pairs with a gradient up to which the backward pass gathers single pairs

_gradient_is_sparse: ContextVar[bool] = ContextVar("_gradient_is_sparse", default=False)


@contextlib.contextmanager
def sparse_gradient(sparse: bool) -> Iterator[None]:
    """Within the block, declare that the loss gives few pairs a gradient, so that no graph of all pairs is kept."""
    token = _gradient_is_sparse.set(sparse)
    try:
        yield
    finally:
        _gradient_is_sparse.reset(token)


def score_in_blocks(
    pairs: PairComputation, images: ImageCode, texts: TextCode, budget: int | None = None
) -> dict[str, Float[Tensor, "img txt"]]:
    """Compute all pairs of a batch block by block, differentiably.

    Args:
        pairs: The computation.
        images: Codes without a group axis.
        texts: Likewise.
        budget: Bytes of a block's tensors; the default depends on the device.

    Returns:
        The named score matrices, pictures × captions.
    """
    if pairs.splits == "whole":
        return pairs.score_all(images, texts)
    accelerator = images.local.device.type != "cpu"
    plan = BlockPlan(pairs, images, texts, budget or (ACCELERATOR_BLOCK_BYTES if accelerator else BLOCK_BYTES))
    graph_fits = plan.graph_bytes() <= GRAPH_BYTES * (16 if accelerator else 1)
    if graph_fits and not (_gradient_is_sparse.get() and pairs.splits == "pair"):
        return _forward_with_graph(plan, images, texts)
    maps: tuple[Tensor, ...] = _RecomputedBlocks.apply(  # pyright: ignore[reportAssignmentType]
        plan, *code_tensors(images), *code_tensors(texts), *pairs.parameters
    )
    return dict(zip(plan.names, maps, strict=True))


def _forward_with_graph(plan: BlockPlan, images: ImageCode, texts: TextCode) -> dict[str, Tensor]:
    """Compute all pictures with captions of like length, block by block, and keep the graph.

    Args:
        plan: The division.
        images: Codes with their graph, unlike the plan's.
        texts: Likewise.
    """
    columns: dict[str, list[Tensor]] = {}
    ordered, start = texts.select(plan.order), 0
    with defer_running_statistics() as statistics:
        while start < len(texts):
            count = max(1, plan.pairs_of_block(plan.lengths[start]) // len(images))
            stop = min(start + count, len(texts))
            captions = plan.cut(ordered.select(slice(start, stop)), plan.lengths[stop - 1])
            for name, scores in plan.pairs.score_all(images, captions).items():
                columns.setdefault(name, []).append(scores)
            start = stop
    statistics.commit_statistics(plan.order)
    original = plan.order.argsort()
    return {name: torch.cat(parts, dim=1)[:, original] for name, parts in columns.items()}


class _RecomputedBlocks(torch.autograd.Function):
    """Score in blocks without a graph; the backward pass recomputes the pairs that have a gradient."""

    @staticmethod
    def forward(ctx: Any, plan: BlockPlan, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        if (form := plan.pairs.fast_form()) is not None:
            return (_forward_folded(plan, form),)
        maps: dict[str, Tensor] = {}
        with defer_running_statistics() as statistics, plan.autocast():
            for rows, columns in plan.blocks(range(len(plan.texts))):
                consecutive = slice(columns[0], columns[-1] + 1)
                images = plan.images.select(rows).map(lambda t: t[None])
                texts = plan.captions(consecutive, plan.lengths[columns[-1]]).map(lambda t: t[None])
                state = RandomState.capture(images.local)
                for name, scores in plan.pairs.compute(images, texts).items():
                    if name not in maps:
                        maps[name] = scores.new_empty(len(plan.images), len(plan.texts))
                    maps[name][rows, plan.order[consecutive]] = scores[0]
                plan.random_states.append(state.unless_unchanged())
        statistics.commit_statistics(plan.order)
        plan.names[:] = list(maps)
        return tuple(maps.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan: BlockPlan = ctx.plan
        # columns sorted by length, as the plan's captions are
        given = {name: grad[:, plan.order] for name, grad in zip(plan.names, grads, strict=True) if grad is not None}
        sums = _GradientSums(plan)
        active = torch.stack([grad != 0 for grad in given.values()]).any(dim=0)
        if not active.any():
            active[0, 0] = True  # one pair is computed, so that parameters get a gradient of zero instead of none
        with defer_running_statistics(), plan.autocast():  # never committed: the forward pass has done that
            _recompute(plan, given, active, sums)
        return (None, *sums.results())


def _forward_folded(plan: BlockPlan, form: Scorer) -> Float[Tensor, "img txt"]:
    """Score by the fast form: captions of one length together, without padding, with as many pictures as fit."""
    images, texts, start = plan.images, plan.texts, 0
    if isinstance(form, Prepares):
        images = form.prepare_images(images)
    scores = torch.empty(len(images), len(texts), device=images.local.device)
    while start < len(texts):
        longest = plan.lengths[start]
        stop = min(start + plan.lengths.count(longest), start + plan.pairs_of_block(longest))
        height = max(1, plan.pairs_of_block(longest) // (stop - start))
        captions = plan.cut(texts.select(slice(start, stop)), longest)
        captions = form.prepare_texts(captions) if isinstance(form, Prepares) else captions
        captions = captions.map(lambda t: t[None])
        for first in range(0, len(images), height):
            rows = slice(first, min(first + height, len(images)))
            block = form.score(images.select(rows).map(lambda t: t[None]), captions)
            scores[rows, plan.order[start:stop]] = block[0]
        start = stop
    plan.names[:] = ["score"]
    return scores


def _recompute(
    plan: BlockPlan, given: Mapping[str, Tensor], active: Bool[Tensor, "img txt"], sums: _GradientSums
) -> None:
    """Compute blocks once more with a graph and add up their gradients.

    Args:
        plan: The division of the forward pass.
        given: Gradients of the score matrices by name, columns sorted by length.
        active: Pairs that have a gradient.
        sums: Sums to add to.
    """
    if any(state.states for state in plan.random_states):
        # every block of the forward pass, in its shape: only so are the same numbers drawn for the same pairs
        for (rows, columns), state in zip(plan.blocks(range(len(plan.texts))), plan.random_states, strict=True):
            with state.replayed():
                _recompute_block(plan, given, rows, torch.tensor(columns), sums)
    elif plan.pairs.splits == "pair" and active.float().mean() <= _SPARSE:
        columns, rows = active.T.nonzero(as_tuple=True)  # sorted by caption, hence by length
        _recompute_single_pairs(plan, given, rows, columns, sums)
    else:
        for rows, columns in plan.blocks(active.any(dim=0).nonzero()[:, 0].tolist()):
            _recompute_block(plan, given, rows, torch.tensor(columns), sums)


def _recompute_block(
    plan: BlockPlan, given: Mapping[str, Tensor], rows: slice, columns: Tensor, sums: _GradientSums
) -> None:
    images = as_leaves(plan.images.select(rows))
    texts = as_leaves(plan.captions(columns, plan.lengths[int(columns[-1])]))
    with torch.enable_grad():
        maps = plan.pairs.score_all(images, texts)
    sums.add(
        [maps[name] for name in given],
        [grad[rows][:, columns.to(grad.device)] for grad in given.values()],
        (images, torch.arange(rows.start, rows.stop)),
        (texts, columns),
    )


def _recompute_single_pairs(
    plan: BlockPlan,
    given: Mapping[str, Tensor],
    rows: Int[Tensor, " pair"],
    columns: Int[Tensor, " pair"],
    sums: _GradientSums,
) -> None:
    """Compute pairs from anywhere in the matrix, as many at a time as fit: each is a group of 1 × 1."""
    start, captions = 0, columns.tolist()
    while start < len(captions):
        # estimated by the first pair's caption and corrected by the last one's, which is the longest
        stop = min(len(captions), start + plan.pairs_of_block(plan.lengths[captions[start]]))
        stop = min(stop, start + plan.pairs_of_block(plan.lengths[captions[stop - 1]]))
        i, j = rows[start:stop], columns[start:stop]
        images = as_leaves(plan.images.select(i))
        texts = as_leaves(plan.captions(j, plan.lengths[captions[stop - 1]]))
        with torch.enable_grad():
            maps = plan.pairs.compute(images.map(lambda t: t[:, None]), texts.map(lambda t: t[:, None]))
            scores = [maps[name][:, 0, 0] for name in given]
        sums.add(scores, [grad[i, j] for grad in given.values()], (images, i), (texts, j))
        start = stop


class _GradientSums:
    """Gradients of a batch's codes and of the parameters, added up over blocks."""

    def __init__(self, plan: BlockPlan) -> None:
        self._order = plan.order
        self._parameters = list(plan.pairs.parameters)
        self._images = _zeros(code_tensors(plan.images))
        self._texts = _zeros(code_tensors(plan.texts))
        self._of_parameters: list[Tensor | None] = [None] * len(self._parameters)

    def add(
        self,
        outputs: Sequence[Tensor],
        gradients: Sequence[Tensor],
        images: tuple[ImageCode, Tensor],
        texts: tuple[TextCode, Tensor],
    ) -> None:
        """Add the gradients of a block.

        Args:
            outputs: Its scores.
            gradients: Their gradients.
            images: Its codes (leaves), and their indices in the batch, which may repeat.
            texts: Likewise, by the sorted index.
        """
        sides = ((self._images, *images), (self._texts, *texts))
        leaves = [t for _, code, _ in sides for t in code_tensors(code) if t.requires_grad]
        learned = [parameter for parameter in self._parameters if parameter.requires_grad]
        towards = [gradient.to(output.dtype) for gradient, output in zip(gradients, outputs, strict=True)]
        results = iter(torch.autograd.grad(outputs, [*leaves, *learned], towards, allow_unused=True))
        for sums, code, indices in sides:
            for i, tensor in enumerate(code_tensors(code)):
                if tensor.requires_grad and (gradient := next(results)) is not None:
                    total = sums[i]
                    assert total is not None
                    for axis in range(1, total.ndim):  # the block's captions were cut to its longest
                        total = total.narrow(axis, 0, gradient.shape[axis])
                    total.index_add_(0, indices.to(total.device), gradient.to(total.dtype))
        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad and (gradient := next(results)) is not None:
                total = self._of_parameters[i]
                self._of_parameters[i] = gradient if total is None else total.add_(gradient)

    def results(self) -> list[Tensor | None]:
        """Return the gradients of the inputs of `_RecomputedBlocks`: pictures' tensors, captions', parameters."""
        original = self._order.argsort()
        return [*self._images, *(None if t is None else t[original] for t in self._texts), *self._of_parameters]


def _zeros(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    return [torch.zeros_like(t) if t.is_floating_point() else None for t in tensors]
