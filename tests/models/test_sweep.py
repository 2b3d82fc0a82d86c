"""What every registered model promises, whatever it is: add a model, and these run on it."""

from __future__ import annotations

import pytest
import torch
from references.every_model import VARIANTS, make, parse

from crossgraph.models.base import MODELS
from crossgraph.testing import MODEL_CHECKS, sample_regions, sample_tokens, score_all, training_loss

# Scores that add up several cosines drift by as much more.
SUMMED = {"bfan": 2, "imram": 6}


@pytest.fixture(params=[*MODELS, *VARIANTS])
def name(request):
    return request.param


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
def test_every_check_passes(name, check):
    check(parse(name))


def test_bfloat16_drifts_little(name):
    model, regions, tokens = make(name), sample_regions(), sample_tokens()
    exact = score_all(model, regions, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drifted = score_all(model, regions, tokens)
    assert (drifted - exact).abs().max() < 0.02 * SUMMED.get(name.split()[0], 1)


@pytest.mark.slow
def test_it_overfits_32_pairs(name):
    torch.manual_seed(0)
    model = make(name, dropout=0.0).train()
    regions = sample_regions(32)
    tokens = sample_tokens(tuple(3 + i % 6 for i in range(32)))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(400):
        loss = training_loss(model, regions, tokens, "sum" if step < 200 else "hardest")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    matrix = score_all(model.eval(), regions, tokens)
    assert (matrix.argmax(dim=1) == torch.arange(32)).all()
    assert (matrix.argmax(dim=0) == torch.arange(32)).all()
