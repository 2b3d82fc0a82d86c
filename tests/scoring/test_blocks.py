"""How many pairs are scored in one go: what fits a budget, by measurement."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.models.base import Inputs
from crossgraph.models.scan import SCAN, SCANConfig
from crossgraph.models.sgraf import SGR, SGRConfig
from crossgraph.scoring.blocks import block_shape, counting, pair_bytes, pairs_of


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 5000))
def test_a_block_is_of_no_more_pairs_than_allowed_and_never_empty(pairs, images, captions):
    some_images, some_captions = block_shape(pairs, images, captions)
    assert 1 <= some_images <= images
    assert 1 <= some_captions <= captions
    assert some_images * some_captions <= max(1, pairs)


@given(st.integers(1, 10**5), st.integers(1, 128), st.integers(1, 512))
def test_a_block_uses_most_of_what_is_allowed(pairs, images, captions):
    some_images, some_captions = block_shape(pairs, images, captions)
    assert 4 * some_images * some_captions >= min(pairs, images * captions)


def test_tensors_are_counted_while_they_live_and_views_are_not():
    x = torch.zeros(1000)
    with counting() as most:
        for _ in range(3):
            y = x + 1
            z = y.view(10, 100) * 2
        del y, z
    assert 8000 <= most() <= 16000


def codes(images, regions, captions, words, width):
    local, words_local = torch.rand(images, regions, width), torch.rand(captions, words, width)
    everywhere = torch.ones(images, regions, dtype=torch.bool), torch.ones(captions, words, dtype=torch.bool)
    return (
        ImageCode(local, everywhere[0], parts={"global": torch.rand(images, width)}),
        TextCode(words_local, everywhere[1], parts={"global": torch.rand(captions, width)}),
    )


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("family", ["scan", "sgr"])
def test_pairs_that_fit_a_budget_keep_to_it(family, direction):
    """The side that looks decides what a pair takes: 49 regions that look take far more than 5 words."""
    inputs = Inputs(8, 10)
    if family == "scan":
        model = SCAN(SCANConfig(embed_size=32, attention=direction), inputs)
    else:
        model = SGR(SGRConfig(embed_size=32, sim_size=16, attention=direction), inputs)
    images, texts = codes(40, 49, 60, 5, 32)
    with torch.inference_mode():
        budget = 1 << 21
        pairs = pairs_of(model.eval(), images, texts, budget)
        a, b = block_shape(pairs, 40, 60)
        assert a * b > 4
        one = images.select(slice(0, a)).map(lambda t: t[None])
        other = texts.select(slice(0, b)).map(lambda t: t[None])
        with counting() as most:
            model.score(one, other)
    assert most() <= 1.1 * budget
    assert most() >= budget / 8


def test_it_is_measured_once_for_a_shape(monkeypatch):
    model = SGR(SGRConfig(embed_size=8, sim_size=8), Inputs(8, 10)).eval()
    images, texts = codes(4, 3, 4, 5, 8)
    calls = []
    plain = model.score
    monkeypatch.setattr(model, "score", lambda *codes: (calls.append(1), plain(*codes))[1])
    with torch.inference_mode():
        assert pair_bytes(model, images, texts) == pair_bytes(model, images, texts)
    assert len(calls) == 1
