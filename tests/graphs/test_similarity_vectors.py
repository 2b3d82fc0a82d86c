"""The fused comparison is the composed one, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossgraph.graphs import similarity_vectors as module
from crossgraph.graphs.normalization import l2norm
from crossgraph.graphs.similarity_vectors import similarity_vectors


def composed(weights: Tensor, contexts: Tensor, queries: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    seen = l2norm(torch.einsum("gabnr,gard->gabnd", weights, contexts))
    return l2norm((seen - queries[:, None]).square() @ weight.T + bias)


def inputs(groups: int, seen: int, looking: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(groups, seen, looking, 4, 5), (groups, seen, 5, 7), (groups, looking, 4, 7), (3, 7), (3,)]
    drawn = [torch.randn(shape, dtype=dtype) for shape in shapes]
    drawn[0] = drawn[0].softmax(dim=-1)
    return [tensor.requires_grad_() for tensor in drawn]


@pytest.mark.parametrize("row_bytes", [1, 1 << 22])
@pytest.mark.parametrize("shape", [(1, 3, 2), (4, 1, 1), (2, 3, 2), (3, 1, 2)])
def test_values_and_gradients_are_those_of_the_composed_form(shape, row_bytes, monkeypatch):
    monkeypatch.setattr(module, "_ROW_BYTES", row_bytes)
    given = inputs(*shape)
    found, expected = similarity_vectors(*given), composed(*given)
    torch.testing.assert_close(found, expected)
    towards = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, given, towards), torch.autograd.grad(expected, given, towards), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_fragment_that_saw_nothing_has_a_finite_gradient():
    given = inputs(1, 2, 2)
    with torch.no_grad():
        given[1].zero_()
        given[2].zero_()
        given[4].zero_()
    found = similarity_vectors(*given)
    assert found.abs().max() == 0
    for gradient in torch.autograd.grad(found.sum(), given):
        assert torch.isfinite(gradient).all()


def test_half_precision_drifts_little():
    given = inputs(1, 3, 2, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = similarity_vectors(*given)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), composed(*given), rtol=0, atol=0.03)
    found.float().square().sum().backward()
    assert all(tensor.grad is not None and tensor.grad.dtype == torch.float32 for tensor in given)
