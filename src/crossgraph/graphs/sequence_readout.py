"""GRU read-out: one vector from a sequence of nodes, the state after the last real node."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class SequenceReadout(nn.Module):
    """GRU over the real nodes in their stored order; masked ones are skipped wherever they are.

    Args:
        dim: Size of a node and of the vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(self, nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"]) -> Float[Tensor, "n dim"]:
        """Return the state after the last real node; zero where there is no real node."""
        states, counts = self._run_gru(nodes, mask)
        return last_states(states, counts.clamp(min=1)) * (counts > 0)[:, None]

    def states(self, nodes: Float[Tensor, "n node dim"], mask: Bool[Tensor, "n node"]) -> Float[Tensor, "n node dim"]:
        """Return the state after each node, at the node's position; zero at masked nodes."""
        states, _ = self._run_gru(nodes, mask)
        position = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return states.gather(1, position[..., None].expand_as(states)) * mask[..., None]

    def _run_gru(self, nodes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return states with the real nodes first, and the number of real nodes."""
        counts = mask.sum(dim=1)
        if bool(mask.all()):  # as with published features; packing would only cost time
            return self.gru(nodes)[0], counts
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
        ordered = nodes.gather(1, order[..., None].expand_as(nodes))
        packed = pack_padded_sequence(ordered, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=nodes.shape[1])
        return states, counts


def last_states(states: Float[Tensor, "n node dim"], lengths: Tensor) -> Float[Tensor, "n dim"]:
    """Return each sequence's state at its last real item.

    Args:
        states: Of a recurrent network, padded on the right.
        lengths: Number of real items of each.
    """
    return states[torch.arange(len(states), device=states.device), lengths - 1]
