"""Norms, means, softmax and batch normalisation over real entries, independent of padding and number of processes.

torch's SyncBatchNorm does not run on a CPU and its BatchNorm has no mask, so the batch normalisation here is
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
    # Multiplied by the reciprocal: a division would make autograd pass over the large tensor three times more.
    # The reciprocal is cast, so that x keeps its type where autocast widened the norm.
    return x * (torch.linalg.vector_norm(x, dim=axis, keepdim=True) + EPSILON).reciprocal().to(x.dtype)


def l1norm(x: Float[Tensor, "..."], axis: int = -1) -> Float[Tensor, "..."]:
    """Return x / (Σ|x| + 1e-8) along `axis`."""
    return x / (x.abs().sum(dim=axis, keepdim=True) + EPSILON)


def masked_mean(x: Float[Tensor, "*group item dim"], mask: Bool[Tensor, "*group item"]) -> Float[Tensor, "*group dim"]:
    """Return the mean of the real items."""
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(dim=-2) / weights.sum(dim=-2).clamp(min=1)


def masked_softmax(x: Float[Tensor, "..."], mask: Bool[Tensor, "..."], axis: int = -1) -> Float[Tensor, "..."]:
    """Return the softmax over the real entries; masked ones get exactly 0. `mask` broadcasts against `x`."""
    return x.masked_fill(~mask, torch.finfo(x.dtype).min).softmax(dim=axis)


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precisions, in which statistics and sigmoids saturate, as float32, and other types unchanged."""
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
    """Return the number of training processes; 1 without distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, differentiably; with one process the tensor itself."""
    return _SumOverProcesses.apply(x) if processes() > 1 else x  # pyright: ignore[reportReturnType]


def rows_of_processes(own: int, device: torch.device) -> tuple[int, int]:
    """Return the index of this process's first row among the rows of all processes, and the number of all rows.

    Args:
        own: Number of rows of this process.
        device: Device of the communication.
    """
    if processes() == 1:
        return 0, own
    counts = torch.zeros(processes(), dtype=torch.int64, device=device)
    counts[dist.get_rank()] = own
    dist.all_reduce(counts)
    return int(counts[: dist.get_rank()].sum()), int(counts.sum())


class _RunningStatistics(nn.Module):
    """Parameters and buffers of both batch normalisations: scale, shift and running statistics."""

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


class DeferredStatistics:
    """Statistics of captions that were scored in blocks, for one update of the running statistics at the end."""

    def __init__(self) -> None:
        self._statistics: dict[PerCaptionBatchNorm, list[tuple[Tensor, Tensor]]] = {}

    def add(self, norm: PerCaptionBatchNorm, means: Tensor, variances: Tensor) -> None:
        """Store the statistics of a block's captions."""
        self._statistics.setdefault(norm, []).append((means, variances))

    def commit_statistics(self, order: Tensor) -> None:
        """Update the running statistics once, as scoring all captions at once would have.

        The updates of captions do not commute, so that they are made in the batch's order whatever the blocks were.

        Args:
            order: The batch's index of each caption, in the order in which the blocks scored them.
        """
        original = order.argsort()
        for norm, parts in self._statistics.items():
            means, variances = (torch.cat(blocks)[original] for blocks in zip(*parts, strict=True))
            norm.update_running(means, variances)


_deferred: ContextVar[DeferredStatistics | None] = ContextVar("_deferred", default=None)


@contextlib.contextmanager
def defer_running_statistics() -> Iterator[DeferredStatistics]:
    """Within the block, collect statistics per caption and leave running statistics unchanged.

    Call `commit_statistics` of the collected ones afterwards; drop them where the captions are only recomputed.
    """
    statistics = DeferredStatistics()
    token = _deferred.set(statistics)
    try:
        yield statistics
    finally:
        _deferred.reset(token)


class PerCaptionBatchNorm(_RunningStatistics):
    """Batch normalisation of one channel with statistics per caption, as SAF's authors train it.

    They score one caption against all images at a time, so that each caption is a "batch" of its own and
    the running statistics are updated once a caption. Here all captions are scored at once, with the same result.
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
        deferred = _deferred.get()
        if deferred is None:
            self.update_running(mean.detach().flatten(), unbiased.flatten())
        else:
            deferred.add(self, mean.detach().flatten(), unbiased.flatten())
        return mean, variance

    @torch.no_grad()
    def update_running(self, means: Float[Tensor, " txt"], variances: Float[Tensor, " txt"]) -> None:
        """Update the running statistics by captions in their order, this process's and the other processes'."""
        means, variances = _gather_captions(means), _gather_captions(variances)
        # n consecutive updates r ← (1 − m) r + m v_k in closed form: r ← (1 − m)ⁿ r + m Σ_k (1 − m)ⁿ⁻¹⁻ᵏ v_k
        n = means.numel()
        decay = (1 - self.momentum) ** torch.arange(n - 1, -1, -1, device=means.device, dtype=means.dtype)
        for running, values in ((self.running_mean, means), (self.running_var, variances)):
            running.mul_((1 - self.momentum) ** n).add_(self.momentum * (decay * values).sum())
        self.num_batches_tracked += n


def _gather_captions(x: Tensor) -> Tensor:
    """Return one number a caption of all processes, in the order of the processes."""
    if processes() == 1:
        return x
    gathered = [torch.empty_like(x) for _ in range(processes())]
    dist.all_gather(gathered, x.contiguous())
    return torch.cat(gathered)
