"""Capture and replay of the random generators' states, so that a recomputed block draws the same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """States of the generators of the CPU and of CUDA devices; no states where nothing is to be replayed."""

    devices: list[int]
    states: list[Tensor]

    @staticmethod
    def capture(tensor: Tensor) -> RandomState:
        """Return the current states, of the CPU and of a tensor's device."""
        devices = cuda_devices(tensor)
        return RandomState(devices, [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in devices)])

    def unless_unchanged(self) -> RandomState:
        """Return itself, or an empty one where nothing has been drawn since the capture."""
        now = [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self.devices)]
        same = all(torch.equal(before, after) for before, after in zip(self.states, now, strict=True))
        return RandomState(self.devices, []) if same else self

    @contextlib.contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw from these states within the block; the generators' own states return afterwards."""
        with torch.random.fork_rng(self.devices):
            if self.states:
                torch.set_rng_state(self.states[0])
                for device, state in zip(self.devices, self.states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield


def cuda_devices(tensor: Tensor) -> list[int]:
    """Return the index of a tensor's CUDA device in a list; an empty list for other devices."""
    return [tensor.device.index or 0] if tensor.device.type == "cuda" else []
