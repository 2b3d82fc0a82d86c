"""Our batch norms are torch's, but for masks, captions and processes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.graphs.normalization import (
    EPSILON,
    BatchNorm,
    PerCaptionBatchNorm,
    l1norm,
    l2norm,
    masked_mean,
    masked_softmax,
)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_without_a_mask_it_is_torch_s_batch_norm_with_its_gradient_and_statistics():
    torch.manual_seed(0)
    x = torch.randn(6, 5, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5)
    weights = torch.randn(6, 5)
    for _ in range(3):
        (ours(x) * weights).sum().backward()
        (theirs(y) * weights).sum().backward()
    close(x.grad, y.grad)
    for key, tensor in theirs.state_dict().items():
        close(ours.state_dict()[key], tensor)
    close(ours.eval()(x), theirs.eval()(y))


def test_the_channel_axis_can_be_the_region_index():
    torch.manual_seed(0)
    x = torch.randn(4, 7, 3)
    ours, theirs = BatchNorm(7, axis=1), torch.nn.BatchNorm1d(7)
    close(ours(x), theirs(x))
    close(ours.running_var, theirs.running_var)


def test_masked_entries_do_not_enter_the_statistics():
    torch.manual_seed(0)
    x = torch.randn(4, 6, 3)
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]
    junk = x.masked_fill(~mask[..., None], 1e3)
    norm, plain = BatchNorm(3), torch.nn.BatchNorm1d(3)
    close(norm(junk, mask[..., None])[mask], plain(x[mask]))
    close(norm.running_mean, plain.running_mean)
    close(norm.running_var, plain.running_var)


def test_per_caption_is_one_batch_norm_call_a_caption_in_order():
    torch.manual_seed(0)
    x = torch.randn(1, 5, 4, 6)
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 3])[:, None]
    ours, theirs = PerCaptionBatchNorm(), torch.nn.BatchNorm1d(1)
    out = ours(x, mask[None, None])
    for j in range(4):
        n = int(mask[j].sum())
        close(out[0, :, j, :n], theirs(x[0, :, j, :n].unsqueeze(1)).squeeze(1))
    for key, tensor in theirs.state_dict().items():
        close(ours.state_dict()[key], tensor)


@given(st.integers(0, 10_000))
def test_norms_and_softmax_give_unit_lengths_and_shares(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, generator=generator) * 10 ** float(torch.randint(-3, 4, (1,), generator=generator))
    mask = torch.rand(3, 5, generator=generator) > 0.4
    mask[:, 0] = True
    for norm, length in ((l2norm, x.norm(dim=-1)), (l1norm, x.abs().sum(dim=-1))):
        found = norm(x)
        given_back = found.norm(dim=-1) if norm is l2norm else found.abs().sum(dim=-1)
        close(given_back, length / (length + EPSILON))  # 1, but for the smallest vectors
    shares = masked_softmax(x, mask)
    close(shares.sum(dim=-1), torch.ones(3))
    assert (shares[~mask] == 0).all()


def test_a_zero_vector_stays_zero_and_has_a_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    l2norm(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_the_masked_mean_is_the_mean_of_the_real_items():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    close(masked_mean(x, torch.tensor([[True, True, False]])), torch.tensor([[2.0, 3.0]]))
