"""DP-RNN's fast form: the same scores with half of the GRU's matrix products.

What differs from the plain form (`models/dp_rnn.py`), none of it by more than rounding:
- A caption only determines the order in which a picture's regions are read. The GRU's input product W x of a region
  does not depend on the state, so that it is computed once a picture and not for every pair.
- In bfloat16 the recurrent products are computed in it; states, gates, norms, and the affinities that determine the
  order are float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import Fragments, as_regions, as_words
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.fast.form import DTYPES, Code, CodeSide, FastForm, Precision

if TYPE_CHECKING:
    from crossgraph.models.dp_rnn import DPRNN

_INPUT_GATES = "input_gates"  # W x of every region (img, region, 2 · 3 · dim), forward direction first


class _FastGRU:
    """One direction of a one-layer GRU, whose input products are computed before the order is known.

    Args:
        gru: The plain GRU.
        suffix: Of its weights' names.
        dtype: Type of the weights.
    """

    def __init__(self, gru: nn.GRU, suffix: str, dtype: torch.dtype) -> None:
        def copied(name: str) -> Tensor:
            return getattr(gru, name + suffix).detach().clone()

        self._input, self._recurrent = (copied(f"weight_{name}_l0").to(dtype).T for name in ("ih", "hh"))
        self._input_bias, self._recurrent_bias = (copied(f"bias_{name}_l0") for name in ("ih", "hh"))

    def input_gates(self, regions: Float[Tensor, "*img region dim"]) -> Float[Tensor, "*img region gates"]:
        """Return each region's contribution to the gates, whatever was read before it."""
        return (regions.to(self._input.dtype) @ self._input).float() + self._input_bias

    def add_states(
        self,
        input_gates: Float[Tensor, "img region gates"],
        picture: Int64[Tensor, " pair"],
        order: Int64[Tensor, "pair region"],
        into: Float[Tensor, "pair region dim"],
    ) -> None:
        """Add the state after each region, at the region's stored position.

        Args:
            input_gates: Of each picture's regions.
            picture: Picture of each pair.
            order: Each pair's order of regions.
            into: States are added to its content.
        """
        pairs = torch.arange(len(order), device=order.device)
        state = into.new_zeros(len(order), into.shape[-1])
        for region in order.unbind(dim=1):
            recurrent = (state.to(self._recurrent.dtype) @ self._recurrent).float().add_(self._recurrent_bias)
            r, z, n = input_gates[picture, region].chunk(3, dim=1)
            recurrent_r, recurrent_z, c = recurrent.chunk(3, dim=1)
            n = torch.addcmul(n, r.add_(recurrent_r).sigmoid_(), c).tanh_()
            state = torch.lerp(n, state, z.add_(recurrent_z).sigmoid_())
            into[pairs, region] += state


class FastDPRNN(FastForm):
    """A `Scorer` equal to `DPRNN.score`; copies the current weights of the GRU.

    Args:
        model: The plain form, with a GRU over regions in the caption's order.
        gru: Its GRU.
        precision: Of the recurrent products.
    """

    prepared_part = _INPUT_GATES

    def __init__(self, model: DPRNN, gru: nn.GRU, precision: Precision = "float32") -> None:
        self._model = model
        self._directions = [_FastGRU(gru, suffix, DTYPES[precision]) for suffix in ("", "_reverse")]

    def prepare(self, code: Code, side: CodeSide) -> Code:
        """Return the code in float32, which that of a training step may not be; a picture's with its input gates."""
        parts = dict(code.parts)
        if side == "image":
            gates = [direction.input_gates(code.local) for direction in self._directions]
            parts[_INPUT_GATES] = torch.cat(gates, dim=-1)
        elif code.local.dtype == torch.float32:
            return code
        return replace(code, local=code.local.float(), parts=parts)

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        regions = as_regions(images.map(lambda t: t[None]))
        words = as_words(texts.map(lambda t: t[None]))
        pairs = (1, len(images), len(texts))
        order, real = self._model.reading_order(words, regions)  # (img · txt, region)
        vectors = regions.vectors.expand(*pairs, -1, -1).flatten(0, 2)
        states = torch.zeros_like(vectors)
        picture = torch.arange(len(images), device=order.device).repeat_interleave(len(texts))
        steps = torch.arange(order.shape[1], device=order.device)
        # The reverse direction starts at the last real region; padding comes last in both directions.
        reverse = (real.sum(dim=1, keepdim=True) - 1 - steps) % len(steps)
        gates = images.parts[_INPUT_GATES].chunk(2, dim=-1)
        self._directions[0].add_states(gates[0], picture, order, states)
        self._directions[1].add_states(gates[1], picture, order.gather(1, reverse), states)
        read = states.div_(2).mul_(real[..., None]).add_(vectors)
        fragments = Fragments(l2norm(read).unflatten(0, pairs), real.unflatten(0, pairs))
        into.copy_(self._model.score_fragments(words, fragments)[0])
