"""Attention is the same both ways round: padding takes no part, rows are shares of the real contexts."""

from __future__ import annotations

import torch

from crossgraph.graphs.attend import AttentionDirection
from crossgraph.graphs.cross_attention import (
    cross_attention,
    shares_of_regions,
)


def sides(regions=5, words=4, pad=0):
    generator = torch.Generator().manual_seed(0)
    local = torch.randn(2, 3, regions, 8, generator=generator), torch.randn(2, 6, words, 8, generator=generator)
    masks = [torch.ones(x.shape[:-1], dtype=torch.bool) for x in local]
    padded = [torch.cat([x, torch.full((*x.shape[:2], pad, 8), 3.0)], dim=2) for x in local]
    masks = [torch.cat([m, torch.zeros(*m.shape[:2], pad, dtype=torch.bool)], dim=2) for m in masks]
    return padded[0], masks[0], padded[1], masks[1]


def test_each_direction_is_the_other_with_the_sides_exchanged():
    regions, region_mask, words, word_mask = sides()
    ours = cross_attention(regions, region_mask, words, word_mask, 9.0, "i2t")
    mirrored = cross_attention(words, word_mask, regions, region_mask, 9.0, "t2i")
    torch.testing.assert_close(ours, mirrored.transpose(1, 2))


def test_rows_sum_to_one_over_real_contexts_and_padding_changes_nothing():
    directions: list[AttentionDirection] = ["t2i", "i2t"]
    for direction in directions:
        plain, padded = (cross_attention(*sides(pad=pad), 9.0, direction) for pad in (0, 2))
        torch.testing.assert_close(plain.sum(dim=-1), torch.ones(plain.shape[:-1]))
        queries, contexts = plain.shape[-2:]
        torch.testing.assert_close(padded[..., :queries, :contexts], plain)
        assert padded[..., :queries, contexts:].abs().max() == 0
        assert torch.isfinite(padded).all()


def test_a_word_that_no_region_looked_at_still_has_a_row_of_shares():
    looks = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    mask = torch.tensor([True, True, False])
    torch.testing.assert_close(shares_of_regions(looks, mask), torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]))
