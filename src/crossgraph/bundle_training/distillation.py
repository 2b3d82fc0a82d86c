"""The optimiser of both distilled models, index head and late-interaction retriever."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from crossgraph.core.errors import InputError

_WARM_UP = 50  # steps


class CosineAdamW:
    """AdamW with a linear warm-up, a cosine decay to 0 and clipped gradients.

    Args:
        model: What is trained.
        lr: Peak learning rate.
        weight_decay: Of AdamW.
        steps: Steps of the whole training.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, steps: int) -> None:
        self._parameters = list(model.parameters())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=lr, weight_decay=weight_decay)
        self._lr, self._steps, self._done = lr, steps, 0

    def step(self, loss: Tensor, name: str, remedy: str) -> None:
        """Take one step.

        Args:
            loss: To go down.
            name: Whose loss it is, for the message.
            remedy: What to do where it is not finite.

        Raises:
            InputError: The loss is not finite.
        """
        if not bool(torch.isfinite(loss)):
            raise InputError(f"the {name}'s loss is not finite", remedy)
        for group in self._optimiser.param_groups:
            warm_up = min(1.0, (self._done + 1) / _WARM_UP)
            group["lr"] = self._lr * warm_up * 0.5 * (1 + math.cos(math.pi * self._done / self._steps))
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 2.0)
        self._optimiser.step()
        self._done += 1
