"""The state of the random generators, so that what is computed twice draws the same twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """The state of the random generators before a block; empty where a block draws nothing."""

    devices: list[int]
    states: list[Tensor]

    @property
    def drawn(self) -> bool:
        """Whether something was drawn."""
        return bool(self.states)

    @staticmethod
    def before(tensor: Tensor) -> Draw:
        """Return the generators' states now, of the CPU and of a tensor's device."""
        devices = devices_of(tensor)
        return Draw(devices, [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in devices)])

    def unless_nothing_was_drawn(self) -> Draw:
        """Return itself, or an empty one where the states are still the same."""
        now = [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self.devices)]
        same = all(torch.equal(one, other) for one, other in zip(self.states, now, strict=True))
        return Draw(self.devices, []) if same else self

    @contextlib.contextmanager
    def repeated(self) -> Iterator[None]:
        """Within the block, draw the same again."""
        with torch.random.fork_rng(self.devices):
            if self.states:
                torch.set_rng_state(self.states[0])
                for device, state in zip(self.devices, self.states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield


def devices_of(tensor: Tensor) -> list[int]:
    """Return the number of a tensor's CUDA device, in a list; empty for others."""
    return [tensor.device.index or 0] if tensor.device.type == "cuda" else []
