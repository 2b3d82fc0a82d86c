"""Distributed training: devices, gathering of codes and scores, and agreement between processes.

Why gradients need no scaling. Every process computes the *whole* batch's loss L from gathered codes and scores, so
W processes hold W copies of L. The backward pass of a gather sums over the processes, hence a local
gradient is the derivative of W · L with respect to what the process contributed, and DDP's mean over the
processes makes it dL: the gradient of one process with the whole batch, whatever W is. So a loss that is a sum
over the batch stays one, and published learning rates hold for any number of processes.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.graphs.normalization import processes
from crossgraph.losses import prescribed_loss
from crossgraph.models.base import Objective, PrescribedCrossEntropy, PrescribedHinge, Progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")

_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused")
# While the first process evaluates a large dev split the others wait, for longer than torch's half hour.
_PATIENCE = datetime.timedelta(hours=12)


def process_rank() -> int:
    """Return this process's rank from the launcher's environment, before any group exists; 0 when alone."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def make_fabric(precision: str, device: str, devices: int) -> Fabric:
    """Return Lightning Fabric, set up for the device and the processes.

    Args:
        precision: A recipe's `precision`.
        device: "auto", "cpu" or "cuda".
        devices: Processes on this machine; under `torchrun`, `WORLD_SIZE` decides.

    Raises:
        InputError: Fabric is not installed, or there is no such device.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise InputError("training needs lightning-fabric", "pip install 'crossgraph[train]'") from error
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # it logs what the recipe already says
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here", "use --device cpu")
    if devices < 1:
        raise InputError(f"--devices is {devices}", "give at least 1")
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    if cuda and devices > torch.cuda.device_count():
        raise InputError(f"--devices is {devices}, of {torch.cuda.device_count()} GPUs", "give at most that many")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    nodes = max(1, world // int(os.environ.get("LOCAL_WORLD_SIZE", world)))
    devices = max(devices, world // nodes)
    several = devices > 1 or nodes > 1
    strategy: Any = DDPStrategy(timeout=_PATIENCE) if several else "auto"
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )


class _GatherRows(torch.autograd.Function):
    """Concatenate equal shapes of all processes along the first axis; gradients are summed over the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(processes())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def gather_rows(x: Tensor) -> Tensor:
    """Return a tensor of all processes concatenated along the first axis, in their order, differentiably.

    The other axes may differ between processes (pictures with more regions); shorter ones are padded with
    zeros at the end. With one process the tensor is returned as it is.
    """
    if processes() == 1:
        return x
    shape = torch.tensor(x.shape, device=x.device)
    shapes = [torch.empty_like(shape) for _ in range(processes())]
    dist.all_gather(shapes, shape)
    rows = [int(s[0]) for s in shapes]  # differ as well: then the padding rows are cut out again below
    largest = torch.stack(shapes).amax(dim=0).tolist()
    padding = [p for have, want in zip(reversed(x.shape), reversed(largest), strict=True) for p in (0, want - have)]
    padded = functional.pad(x.to(torch.uint8) if x.dtype == torch.bool else x, padding).contiguous()
    whole: Tensor = _GatherRows.apply(padded)  # pyright: ignore[reportAssignmentType]
    if len(set(rows)) > 1:
        whole = torch.cat([whole[i * largest[0] : i * largest[0] + n] for i, n in enumerate(rows)])
    return whole.to(x.dtype)


def gather_images(images: ImageCode) -> ImageCode:
    """Return the codes of all processes' pictures, differentiably."""
    return images.map(gather_rows)


class Ranking:
    """Computes the ranking loss over all processes' pairs, from this process's columns; see `RankingTerm`.

    Args:
        objective: The loss of the square score matrix.
        image_ids: Of all processes' pairs.
        mask_same_image: Whether captions of one picture do not count as negatives of each other.
        progress: Steps and epochs done.

    Attributes:
        spread: Standard deviation of the scores last ranked by the objective, or where there were none, by a loss
            that the model prescribes; without gradient.
    """

    def __init__(self, objective: Objective, image_ids: Tensor, mask_same_image: bool, progress: Progress) -> None:
        self.objective, self.progress = objective, progress
        self.same_image = _same(image_ids, mask_same_image)
        self.spread = torch.zeros((), device=image_ids.device)
        self._ranked = False

    def __call__(
        self,
        scores: Float[Tensor, "img txt"],
        prescribed: PrescribedHinge | PrescribedCrossEntropy | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss over all pairs of the batch, by the recipe's objective unless one is prescribed."""
        whole = gather_rows(scores.float().T).T
        if prescribed is None or not self._ranked:
            self.spread = whole.detach().std()
        if prescribed is not None:
            return prescribed_loss(prescribed, whole, self.same_image)
        self._ranked = True
        return self.objective(whole, self.same_image, self.progress)


def _same(image_ids: Tensor, masked: bool) -> Bool[Tensor, "pair pair"]:
    if masked:
        return image_ids[:, None] == image_ids[None, :]
    return torch.eye(len(image_ids), dtype=torch.bool, device=image_ids.device)


def any_process(*asked: bool) -> tuple[bool, ...]:
    """Return for each question whether it is true in any process, so that all take the same branch."""
    if processes() == 1:
        return asked
    votes = torch.tensor([int(answer) for answer in asked], device=_group_device())
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return tuple(bool(vote) for vote in votes.tolist())


def from_first(compute: Callable[[], T]) -> T:
    """Compute in the first process and return its result in all; the others wait.

    Raises:
        InputError: Raised by the first process; the others exit with code 2 and print nothing.
    """
    if processes() == 1:
        return compute()
    result: T | None = None
    problem: InputError | None = None
    if dist.get_rank() == 0:
        try:
            result = compute()
        except InputError as error:
            problem = error
    message: list[Any] = [result, problem is not None]
    dist.broadcast_object_list(message, src=0)
    if problem is not None:
        raise problem
    if message[1]:
        raise SystemExit(2)
    return message[0]


def from_all(value: T) -> list[T]:
    """Return the values of all processes, in their order."""
    if processes() == 1:
        return [value]
    values: list[Any] = [None] * processes()
    dist.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def together(first: bool) -> Iterator[None]:
    """Turn the loss of another process into one line of the first process and a silent exit of the others.

    A process that stops for a reason of its own prints it; the rest then find the connection closed.

    Raises:
        InputError: Another process of the training is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _LOST):
            raise
        if not first:
            raise SystemExit(2) from None
        problem = "another process of this training has stopped"
        raise InputError(problem, "see what it said, then go on with --resume") from error
    except KeyboardInterrupt:
        if first:
            raise
        raise SystemExit(130) from None


def _group_device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
