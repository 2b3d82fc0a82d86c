"""The recurrence is PyTorch's packed GRU, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from crossgraph.core.types import Tokens
from crossgraph.text.encoder import RecurrentTextEncoder
from crossgraph.text.recurrence import run_gru, run_gru_directions, run_gru_shared_prefixes

LENGTHS = torch.tensor([3, 6, 1, 6, 4])


def packed(gru: nn.GRU, embedded: Tensor, lengths: Tensor) -> Tensor:
    rows = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(gru(rows)[0], batch_first=True, total_length=embedded.shape[1])[0]


def make(directions: int, dtype: torch.dtype = torch.float64) -> tuple[nn.GRU, Tensor]:
    torch.manual_seed(0)
    gru = nn.GRU(5, 4, batch_first=True, bidirectional=directions == 2, dtype=dtype)
    return gru, torch.randn(len(LENGTHS), 7, 5, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("directions", [1, 2])
def test_states_and_gradients_are_those_of_the_packed_gru(directions):
    gru, embedded = make(directions)
    found, expected = torch.cat(run_gru_directions(gru, embedded, LENGTHS), dim=-1), packed(gru, embedded, LENGTHS)
    torch.testing.assert_close(found, expected)
    towards, given = torch.randn_like(expected), [embedded, *gru.parameters()]
    ours, theirs = (torch.autograd.grad(states, given, towards) for states in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_padding_changes_nothing_and_gets_no_gradient():
    gru, embedded = make(2)
    changed = embedded.detach().clone()
    for row, length in enumerate(LENGTHS.tolist()):
        changed[row, length:] = 1e6
    changed.requires_grad_()
    for one, other in zip(
        run_gru_directions(gru, embedded, LENGTHS), run_gru_directions(gru, changed, LENGTHS), strict=True
    ):
        assert torch.equal(one, other)
        for row, length in enumerate(LENGTHS.tolist()):
            assert not one[row, length:].any()
    torch.stack(run_gru_directions(gru, changed, LENGTHS)).sum().backward()
    assert changed.grad is not None
    assert all(not changed.grad[row, length:].any() for row, length in enumerate(LENGTHS.tolist()))


def test_half_precision_drifts_little():
    gru, embedded = make(2, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.cat(run_gru_directions(gru, embedded, LENGTHS), dim=-1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, packed(gru, embedded, LENGTHS), rtol=0, atol=0.02)
    found.square().sum().backward()
    assert embedded.grad is not None
    assert embedded.grad.dtype == torch.float32


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_captions_are_encoded_alike_in_training_and_evaluation(direction):
    torch.manual_seed(0)
    encoder = RecurrentTextEncoder(20, 5, 4, direction, dropout=0.0)
    tokens = Tokens(torch.randint(4, 20, (len(LENGTHS), 7)), LENGTHS)
    torch.testing.assert_close(encoder.train()(tokens), encoder.eval()(tokens))


@pytest.mark.parametrize("directions", [1, 2])
def test_a_gru_that_trains_reads_as_one_that_does_not(directions):
    gru, embedded = make(directions)
    training = run_gru(gru.train(), embedded, LENGTHS)
    resting = run_gru(gru.eval(), embedded, LENGTHS)
    torch.testing.assert_close(training, resting)
    assert "Recurrence" in names_behind(training)
    assert "Recurrence" not in names_behind(resting)


def names_behind(tensor: Tensor) -> str:
    """Return the names of all steps that made a tensor."""
    waiting, names = [tensor.grad_fn], list[str]()
    while waiting:
        if (step := waiting.pop()) is not None:
            names.append(step.name())
            waiting += [one for one, _ in step.next_functions]
    return " ".join(names)


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("captions", [1, 40])
def test_captions_that_begin_alike_are_read_as_each_alone(direction, captions):
    torch.manual_seed(0)
    encoder = RecurrentTextEncoder(6, 5, 4, direction, dropout=0.3).eval()
    ids = torch.randint(4, 6, (captions, 7))  # two words: many share beginnings and endings
    tokens = Tokens(ids, torch.full((captions,), 7))
    expected = encoder(tokens)  # gradients are wanted: as PyTorch reads them
    with torch.inference_mode():
        torch.testing.assert_close(encoder(tokens), expected)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        halved = encoder(tokens)
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, rtol=0, atol=0.02)


def test_each_beginning_is_read_once(monkeypatch):
    gru, embedded = make(1)
    seen = []
    monkeypatch.setattr(torch, "lerp", lambda n, before, z: seen.append(len(n)) or n + z * (before - n))
    words = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 4, 3], [0, 1, 2]])
    with torch.no_grad():
        run_gru_shared_prefixes(gru, embedded[0].detach(), words)
    assert seen == [1, 2, 3]
