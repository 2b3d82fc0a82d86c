"""Norms that padding and the number of processes cannot change.

torch's SyncBatchNorm refuses the CPU and its BatchNorm knows no mask, so the batch normalisation here is
our own: statistics over real entries only, summed over all processes with autograd.
Parameter and buffer names are torch's, so that published weights fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn

EPSILON = 1e-8  # added outside the root, as the published code does


def l2norm(x: Float[Tensor, "..."], axis: int = -1) -> Float[Tensor, "..."]:
    """Return x / (‖x‖₂ + 1e-8) along `axis`; a zero vector stays zero."""
    # times the reciprocal: dividing would make autograd pass over the large tensor three times more
    # and the large tensor keeps its type where autocast widened the norm
    return x * (torch.linalg.vector_norm(x, dim=axis, keepdim=True) + EPSILON).reciprocal().to(x.dtype)


def l1norm(x: Float[Tensor, "..."], axis: int = -1) -> Float[Tensor, "..."]:
    """Return x / (Σ|x| + 1e-8) along `axis`."""
    return x / (x.abs().sum(dim=axis, keepdim=True) + EPSILON)


def masked_mean(x: Float[Tensor, "*group item dim"], mask: Bool[Tensor, "*group item"]) -> Float[Tensor, "*group dim"]:
    """Average the real items."""
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(dim=-2) / weights.sum(dim=-2).clamp(min=1)


def masked_softmax(x: Float[Tensor, "..."], mask: Bool[Tensor, "..."], axis: int = -1) -> Float[Tensor, "..."]:
    """Softmax over the real entries; masked ones get exactly 0. `mask` broadcasts against `x`."""
    return x.masked_fill(~mask, torch.finfo(x.dtype).min).softmax(dim=axis)


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precisions; statistics and sigmoids saturate in them."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce (sum) whose gradient is all-reduced too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def processes() -> int:
    """Return how many processes train together; 1 when none others do."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum a tensor over all processes, differentiably; the tensor itself when there is one."""
    return _SumOverProcesses.apply(x) if processes() > 1 else x  # pyright: ignore[reportReturnType]


def rows_of_processes(own: int, device: torch.device) -> tuple[int, int]:
    """Return where this process's rows begin among the rows of all processes, and how many there are of all.

    Args:
        own: Rows of this process.
        device: Where the processes talk.
    """
    if processes() == 1:
        return 0, own
    counts = torch.zeros(processes(), dtype=torch.int64, device=device)
    counts[dist.get_rank()] = own
    dist.all_reduce(counts)
    return int(counts[: dist.get_rank()].sum()), int(counts.sum())


class _RunningStatistics(nn.Module):
    """What batch normalisations of both kinds keep: scale, shift and running statistics."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


class BatchNorm(_RunningStatistics):
    """Batch normalisation of one axis over real entries, synchronised over processes.

    Args:
        channels: Size of the normalised axis.
        axis: Which axis holds the channels.
    """

    def __init__(self, channels: int, axis: int = -1) -> None:
        super().__init__(channels)
        self.axis = axis

    def forward(self, x: Float[Tensor, "..."], mask: Bool[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
        """Normalise `x`; entries where `mask` (broadcast against x) is False do not enter the statistics."""
        shape = [1] * x.ndim
        shape[self.axis] = x.shape[self.axis]
        if self.training:
            mean, variance = self._batch_statistics(at_least_float32(x), mask)
        else:
            mean, variance = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _batch_statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        axes = [a for a in range(x.ndim) if a != self.axis % x.ndim]
        keep = torch.ones((), device=x.device, dtype=torch.bool) if mask is None else mask
        real = keep.expand_as(x).to(x.dtype)
        shape = [1] * x.ndim
        shape[self.axis] = x.shape[self.axis]
        count = sum_over_processes(real.sum(dim=axes)).clamp(min=1)
        mean = sum_over_processes((x * real).sum(dim=axes)) / count
        variance = sum_over_processes((((x - mean.view(shape)) * real) ** 2).sum(dim=axes)) / count
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        return mean, variance


class HeldStatistics:
    """What running statistics would have become, while captions are scored in blocks; see `hold_statistics`."""

    def __init__(self) -> None:
        self._found: dict[PerCaptionBatchNorm, list[tuple[Tensor, Tensor]]] = {}

    def take(self, norm: PerCaptionBatchNorm, means: Tensor, variances: Tensor) -> None:
        """Keep the statistics of some captions."""
        self._found.setdefault(norm, []).append((means, variances))

    def settle(self, order: Tensor) -> None:
        """Move the running statistics once, as all captions at once would have.

        Args:
            order: The batch's caption of each place, in the order in which the blocks went through them.
        """
        back = order.argsort()
        for norm, parts in self._found.items():
            means, variances = (torch.cat(some)[back] for some in zip(*parts, strict=True))
            norm.move(means, variances)


_held: ContextVar[HeldStatistics | None] = ContextVar("_held", default=None)


@contextlib.contextmanager
def hold_statistics() -> Iterator[HeldStatistics]:
    """Within the block, statistics per caption are gathered and running statistics stay.

    Call `settle` of what is given afterwards, or forget it where the same captions are computed once more.
    """
    held = HeldStatistics()
    token = _held.set(held)
    try:
        yield held
    finally:
        _held.reset(token)


class PerCaptionBatchNorm(_RunningStatistics):
    """Normalisation of one channel with statistics per caption, as SAF's authors train it.

    They score one caption against all images at a time, so that each caption is a "batch" of its own and
    the running statistics move once a caption. Here all captions go at once, with the same result.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(
        self, x: Float[Tensor, "group img txt node"], mask: Bool[Tensor, "group #img #txt node"]
    ) -> Float[Tensor, "group img txt node"]:
        """Normalise over images and real nodes, for each caption alone."""
        if self.training:
            mean, variance = self._caption_statistics(at_least_float32(x), mask)
        else:
            mean, variance = self.running_mean, self.running_var
        return ((x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias).to(x.dtype)

    def _caption_statistics(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        real = mask.expand_as(x).to(x.dtype)
        count = real.sum(dim=(1, 3), keepdim=True).clamp(min=1)
        mean = (x * real).sum(dim=(1, 3), keepdim=True) / count
        variance = (((x - mean) * real) ** 2).sum(dim=(1, 3), keepdim=True) / count
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
        held = _held.get()
        if held is None:
            self.move(mean.detach().flatten(), unbiased.flatten())
        else:
            held.take(self, mean.detach().flatten(), unbiased.flatten())
        return mean, variance

    @torch.no_grad()
    def move(self, means: Float[Tensor, " txt"], variances: Float[Tensor, " txt"]) -> None:
        """Move the running statistics by those of some captions, and of the other processes', in their order."""
        means, variances = _all_captions(means), _all_captions(variances)
        # n updates r ← (1 − m) r + m v_k, one after the other, in closed form
        n = means.numel()
        decay = (1 - self.momentum) ** torch.arange(n - 1, -1, -1, device=means.device, dtype=means.dtype)
        for running, values in ((self.running_mean, means), (self.running_var, variances)):
            running.mul_((1 - self.momentum) ** n).add_(self.momentum * (decay * values).sum())
        self.num_batches_tracked += n


def _all_captions(x: Tensor) -> Tensor:
    """Gather one number a caption from all processes, in the order of the processes."""
    if processes() == 1:
        return x
    gathered = [torch.empty_like(x) for _ in range(processes())]
    dist.all_gather(gathered, x.contiguous())
    return torch.cat(gathered)
