"""The attention that SCAN and its successors share."""

from __future__ import annotations

import pytest
import torch

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.attend import (
    AttentionDirection,
    affinities,
    aggregate,
    as_regions,
    as_words,
    attend,
    attended_contexts,
    cosine,
    cosines_with_attended,
    importance,
)
from crossgraph.graphs.cross_attention import cross_attention

NORMS = ["clipped_l2norm", "clipped", "l2norm", "softmax", "no_norm"]


@pytest.fixture
def sides():
    """Two groups of 3 pictures and 4 captions, with padding on either side."""
    generator = torch.Generator().manual_seed(0)
    region_mask = torch.arange(6) < torch.tensor([[6, 4, 1], [5, 6, 2]])[..., None]
    word_mask = torch.arange(5) < torch.tensor([[5, 1, 3, 2], [4, 5, 2, 1]])[..., None]
    images = ImageCode(torch.randn(2, 3, 6, 8, generator=generator), region_mask)
    texts = TextCode(torch.randn(2, 4, 5, 8, generator=generator), word_mask)
    return images, texts


def both_ways(sides):
    images, texts = sides
    return [(as_words(texts), as_regions(images)), (as_regions(images), as_words(texts))]


@pytest.mark.parametrize("norm", NORMS)
def test_shares_sum_to_one_over_what_is_real(sides, norm):
    for queries, contexts in both_ways(sides):
        shares = attend(affinities(queries, contexts), queries, contexts, 5.0, norm)
        assert shares.shape[:3] == (2, 3, 4)
        torch.testing.assert_close(shares.sum(dim=-1), torch.ones(shares.shape[:-1]))
        assert not (shares * ~contexts.mask.unsqueeze(-2)).any()


@pytest.mark.parametrize("norm", NORMS)
def test_a_pair_alone_looks_as_it_does_among_others(sides, norm):
    images, texts = sides
    for way in range(2):
        queries, contexts = both_ways(sides)[way]
        all_shares = attend(affinities(queries, contexts), queries, contexts, 5.0, norm)
        for g, a, b in ((0, 1, 2), (1, 2, 3), (1, 0, 0)):
            regions, words = int(images.mask[g, a].sum()), int(texts.mask[g, b].sum())
            one = ImageCode(images.local[g : g + 1, a : a + 1, :regions], images.mask[g : g + 1, a : a + 1, :regions])
            other = TextCode(texts.local[g : g + 1, b : b + 1, :words], texts.mask[g : g + 1, b : b + 1, :words])
            alone, seen = both_ways((one, other))[way]
            shares = attend(affinities(alone, seen), alone, seen, 5.0, norm)[0, 0, 0]
            torch.testing.assert_close(all_shares[g, a, b, : len(shares), : shares.shape[1]], shares)


def test_sgraf_s_attention_is_a_special_case(sides):
    images, texts = sides
    given = images.local, images.mask, texts.local, texts.mask, 9.0
    directions: list[AttentionDirection] = ["t2i", "i2t"]
    for (queries, contexts), direction in zip(both_ways(sides), directions, strict=True):
        ours, real = attend(affinities(queries, contexts), queries, contexts, 9.0), queries.mask.unsqueeze(-1)
        torch.testing.assert_close(ours * real, cross_attention(*given, direction) * real)


def test_cosines_need_not_what_was_seen(sides):
    for queries, contexts in both_ways(sides):
        affinity = affinities(queries, contexts)
        shares = attend(affinity, queries, contexts, 5.0)
        direct = cosine(queries.vectors, attended_contexts(shares, contexts))
        real = queries.mask.expand(direct.shape)
        torch.testing.assert_close(cosines_with_attended(affinity, shares, queries, contexts)[real], direct[real])


def test_vectors_of_nothing_have_no_direction_and_a_gradient():
    queries, contexts = torch.zeros(1, 1, 1, 2, 4), torch.zeros(1, 1, 1, 3, 4, requires_grad=True)
    mask = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    from crossgraph.graphs.attend import Fragments

    looking, seen = Fragments(queries, mask[..., :2]), Fragments(contexts, mask)
    affinity = affinities(looking, seen)
    likeness = cosines_with_attended(affinity, attend(affinity, looking, seen, 9.0), looking, seen)
    assert not likeness.any()
    likeness.sum().backward()
    assert torch.isfinite(contexts.grad).all()


@pytest.mark.parametrize("how", ["lse", "mean", "max", "sum"])
def test_padding_takes_no_part_in_an_aggregate_and_parts_sum_to_one(how):
    likeness = torch.tensor([0.3, -0.2, 0.5, 9.0])
    mask = torch.tensor([True, True, True, False])
    real = likeness[:3]
    expected = {"lse": (6 * real).exp().sum().log() / 6, "mean": real.mean(), "max": real.max(), "sum": real.sum()}[how]
    torch.testing.assert_close(
        aggregate(likeness[None, None, None], mask[None, None, None], how, 6.0)[0, 0, 0], expected
    )
    parts = importance(likeness, mask, how, 6.0)
    assert parts[3] == 0
    assert parts[2] == parts.max()
    torch.testing.assert_close(parts.sum(), torch.tensor(1.0))


def test_where_nothing_is_alike_all_count_the_same():
    parts = importance(torch.tensor([-0.3, -0.2, 5.0]), torch.tensor([True, True, False]), "mean")
    torch.testing.assert_close(parts, torch.tensor([0.5, 0.5, 0.0]))
