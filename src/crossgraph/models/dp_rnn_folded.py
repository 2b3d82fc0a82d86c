"""DP-RNN for inference: the same scores from half the products of its GRU.

What differs from the plain form (`dp_rnn.py`), none of it by more than rounding:
- A caption only says in which order a picture's regions are read. What the GRU makes of a region before it knows the
  state, W x, is the region's own, so that it is computed once a picture and not for every pair.
- In bfloat16 the recurrent products are computed in it; states, gates, norms, and the affinities that the order is
  taken from are float32.
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
from crossgraph.models.folded import DTYPES, FoldedForm, Precision

if TYPE_CHECKING:
    from crossgraph.models.dp_rnn import DPRNN

_GIVEN = "given"  # the part that a prepared picture has: W x of every region, one direction behind the other


class _FoldedGRU:
    """One direction of a one-layer GRU.

    Args:
        gru: The plain one.
        suffix: Of its weights' names.
        dtype: To hold the weights in.
    """

    def __init__(self, gru: nn.GRU, suffix: str, dtype: torch.dtype) -> None:
        def copied(name: str) -> Tensor:
            return getattr(gru, name + suffix).detach().clone()

        self._of_regions, self._of_state = (copied(f"weight_{name}_l0").to(dtype).T for name in ("ih", "hh"))
        self._bias_of_regions, self._bias_of_state = (copied(f"bias_{name}_l0") for name in ("ih", "hh"))

    def given(self, regions: Float[Tensor, "*img region dim"]) -> Float[Tensor, "*img region gates"]:
        """Return what each region adds to the gates, whatever was read before it."""
        return (regions.to(self._of_regions.dtype) @ self._of_regions).float() + self._bias_of_regions

    def read(
        self,
        given: Float[Tensor, "img region gates"],
        picture: Int64[Tensor, " pair"],
        order: Int64[Tensor, "pair region"],
        into: Float[Tensor, "pair region dim"],
    ) -> None:
        """Add the state after each region, as the regions are stored.

        Args:
            given: Of each picture's regions.
            picture: Of each pair.
            order: In which its regions are read.
            into: States are added to what is there.
        """
        pairs = torch.arange(len(order), device=order.device)
        state = into.new_zeros(len(order), into.shape[-1])
        for region in order.unbind(dim=1):
            own = (state.to(self._of_state.dtype) @ self._of_state).float().add_(self._bias_of_state)
            r, z, n = given[picture, region].chunk(3, dim=1)
            of_r, of_z, c = own.chunk(3, dim=1)
            n = torch.addcmul(n, r.add_(of_r).sigmoid_(), c).tanh_()
            state = torch.lerp(n, state, z.add_(of_z).sigmoid_())
            into[pairs, region] += state


class FoldedDPRNN(FoldedForm):
    """A `Scorer` equal to `DPRNN.score`; copies the GRU's weights as they are now.

    Args:
        model: The plain form, with regions that are read in the sentence's order.
        gru: Its GRU.
        precision: Of the recurrent products.
    """

    def __init__(self, model: DPRNN, gru: nn.GRU, precision: Precision = "float32") -> None:
        self._model = model
        self._ways = [_FoldedGRU(gru, suffix, DTYPES[precision]) for suffix in ("", "_reverse")]

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the code in float32, with what the GRU makes of its regions."""
        if _GIVEN in code.parts:
            return code
        given = torch.cat([way.given(code.local) for way in self._ways], dim=-1)
        return replace(code, local=code.local.float(), parts={**code.parts, _GIVEN: given})

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the code in float32, which in a training step's precision it may not be."""
        return code if code.local.dtype == torch.float32 else replace(code, local=code.local.float())

    def score_group(self, images: ImageCode, texts: TextCode, into: Float[Tensor, "img txt"]) -> None:
        """Write the scores of a group."""
        regions = as_regions(images.map(lambda t: t[None]))
        words = as_words(texts.map(lambda t: t[None]))
        pairs = (1, len(images), len(texts))
        order, real = self._model.reading_order(words, regions)
        vectors = regions.vectors.expand(*pairs, -1, -1).flatten(0, 2)
        read = torch.zeros_like(vectors)
        picture = torch.arange(len(images), device=order.device).repeat_interleave(len(texts))
        steps = torch.arange(order.shape[1], device=order.device)
        from_the_end = (real.sum(dim=1, keepdim=True) - 1 - steps) % len(steps)  # padding comes last both ways
        given = images.parts[_GIVEN].chunk(2, dim=-1)
        self._ways[0].read(given[0], picture, order, read)
        self._ways[1].read(given[1], picture, order.gather(1, from_the_end), read)
        read = read.div_(2).mul_(real[..., None]).add_(vectors)
        seen = Fragments(l2norm(read).unflatten(0, pairs), real.unflatten(0, pairs))
        into.copy_(self._model.meet(words, seen)[0])
