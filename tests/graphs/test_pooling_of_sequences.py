"""Read-outs of a set or a sequence to one vector: recurrent, by sorted values, and what each item put in."""

from __future__ import annotations

import torch

from crossgraph.graphs.generalized_pooling import GeneralizedPooling
from crossgraph.graphs.score_parts import increments, shares_of_score
from crossgraph.graphs.sequence_readout import SequenceReadout


def test_hidden_items_are_stepped_over_wherever_they_stand():
    torch.manual_seed(0)
    read, items = SequenceReadout(4), torch.randn(2, 6, 4)
    mask = torch.tensor([[False, True, True, False, True, True], [True, True, False, False, False, False]])
    with torch.no_grad():
        last, states = read(items, mask), read.states(items, mask)
        for row in range(2):
            alone = read.gru(items[row, mask[row]][None])[0][0]
            torch.testing.assert_close(states[row, mask[row]], alone)
            torch.testing.assert_close(last[row], alone[-1])
        nothing = read(items, torch.zeros(2, 6, dtype=torch.bool))
    assert states[~mask].abs().max() == nothing.abs().max() == 0


def test_generalized_pooling_ignores_order_and_padding_and_its_shares_add_up():
    torch.manual_seed(0)
    pool, items = GeneralizedPooling(), torch.randn(2, 5, 4)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False]])
    with torch.no_grad():
        pooled = pool(items, mask)
        torch.testing.assert_close((pool.shares(items, mask) * items).sum(dim=1), pooled)
        torch.testing.assert_close(pool(items[1:, [3, 0, 2]], mask[1:, [3, 0, 2]]), pooled[1:])
        torch.testing.assert_close(pool.weights(torch.tensor([5, 1, 3]), 5).sum(dim=1), torch.ones(3))


def test_parts_of_a_dot_product_become_shares():
    regions, words = (
        torch.tensor([[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]),
        torch.tensor([[1.0, 1.0], [-1.0, -1.0], [3.0, 0.0]]),
    )
    weights, significance = shares_of_score(regions, words, torch.tensor([True, True, False]))
    torch.testing.assert_close(weights, torch.tensor([[1 / 3, 2 / 3, 0], [0.5, 0.5, 0], [1.0, 0, 0]]))
    torch.testing.assert_close(significance, torch.tensor([0.5, 0.0, 0.5]))
    _, significance = shares_of_score(regions, words, torch.tensor([True, True, False]), whole=torch.tensor([1.0, 0]))
    torch.testing.assert_close(significance, torch.tensor([0.25, 0.0, 0.75]))


def test_increments_add_up_to_the_last_state():
    states = torch.randn(5, 3)
    torch.testing.assert_close(increments(states).sum(dim=0), states[-1])
