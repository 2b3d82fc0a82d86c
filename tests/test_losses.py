"""The objectives, in the words of their definitions. Parity with published values: tests/parity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.losses import Hinge, InfoNCE, cross_entropy_of_pairs, hinge, prescribed_loss
from crossgraph.models.base import PrescribedCrossEntropy, PrescribedHinge, Progress

NONE = torch.eye(4, dtype=torch.bool)


def matrix(seed=0, size=4):
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_sum_is_the_sum_over_all_triplets(seed, margin):
    scores = matrix(seed)
    expected = sum(
        max(0.0, margin + float(scores[i, j] - scores[i, i])) + max(0.0, margin + float(scores[i, j] - scores[j, j]))
        for i in range(4)
        for j in range(4)
        if i != j
    )
    assert float(hinge(scores, NONE, margin, "sum")) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(st.integers(0, 1000))
def test_the_hardest_negatives_cost_at_most_the_sum(seed):
    assert hinge(matrix(seed), NONE, 0.2, "hardest") <= hinge(matrix(seed), NONE, 0.2, "sum") + 1e-6


@pytest.mark.parametrize("objective", [Hinge(negatives="hardest"), Hinge(negatives="sum"), InfoNCE()])
def test_captions_of_the_same_picture_are_no_negatives(objective):
    scores = matrix()
    same = NONE.clone()
    same[0, 1] = same[1, 0] = True
    changed = scores.clone()
    changed[0, 1] = changed[1, 0] = 5.0
    assert objective(changed, same, Progress()) == objective(scores, same, Progress())
    assert objective(changed, NONE, Progress()) > objective(scores, NONE, Progress())


def test_the_warm_up_goes_from_the_sum_to_the_hardest_at_its_step():
    objective, scores = Hinge(margin=0.3, warmup_steps=10), matrix()
    assert objective(scores, NONE, Progress(step=9)) == hinge(scores, NONE, 0.3, "sum")
    assert objective(scores, NONE, Progress(step=10)) == hinge(scores, NONE, 0.3, "hardest")


def test_infonce_is_the_mean_cross_entropy_of_both_directions():
    scores, target = matrix(), torch.arange(4)
    expected = (
        torch.nn.functional.cross_entropy(scores / 0.1, target)
        + torch.nn.functional.cross_entropy(scores.T / 0.1, target)
    ) / 2
    torch.testing.assert_close(InfoNCE(0.1)(scores, NONE, Progress()), expected)


@pytest.mark.parametrize("objective", [Hinge(), Hinge(negatives="sum"), InfoNCE()])
def test_a_perfect_matrix_costs_next_to_nothing_and_a_batch_of_one_nothing(objective):
    assert objective(torch.eye(4), NONE, Progress()) < 1e-6
    assert objective(torch.rand(1, 1), torch.ones(1, 1, dtype=torch.bool), Progress()) == 0


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_cross_entropy_spares_other_captions_of_a_picture_and_falls_as_pairs_get_right(negatives):
    scores, same = matrix(), NONE.clone()
    same[0, 1] = same[1, 0] = True
    changed = scores.clone()
    changed[0, 1] = changed[1, 0] = 0.999
    prescribed = PrescribedCrossEntropy(negatives)
    assert prescribed_loss(prescribed, changed, same) == prescribed_loss(prescribed, scores, same)
    assert prescribed_loss(prescribed, changed, NONE) > prescribed_loss(prescribed, scores, NONE)
    assert prescribed_loss(prescribed, NONE.float(), NONE) < 1e-4


def test_cross_entropy_counts_each_matched_pair_twice_beside_its_two_hardest_negatives():
    scores = torch.tensor([[0.9, 0.2, 0.4], [0.3, 0.8, 0.1], [0.6, 0.5, 0.7]])
    matched = 2 * (0.9 * torch.tensor(0.8) * 0.7).log()
    rows, columns = torch.tensor([0.6, 0.7, 0.4]).log().sum(), torch.tensor([0.4, 0.5, 0.6]).log().sum()
    same = torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(cross_entropy_of_pairs(scores, same, "hardest"), -(matched + rows + columns))


def test_a_prescribed_hinge_is_the_hinge():
    assert prescribed_loss(PrescribedHinge(0.3, "sum"), matrix(), NONE) == hinge(matrix(), NONE, 0.3, "sum")
