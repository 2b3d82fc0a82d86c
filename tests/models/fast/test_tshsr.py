"""TSHSR's form for inference: the plain form's scores, whatever the shapes, masks, lengths and choices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.drawn_codes import draw_codes

from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast import similarity_nodes
from crossgraph.models.fast.form import FastForm
from crossgraph.models.training_blocks import sparse_gradient

FORMS = [
    {},
    {"fusion": "learned"},
    {"streams": "t2i", "interaction": "replace"},
    {"streams": "i2t", "levels": 1},
    {"interaction": "replace", "levels": 5},
    {"levels": 2, "context_nodes": 1},
]


def build(seed=0, width=12, sim=8, **choices):
    """Return a model in evaluation mode whose every bias, and the share of its streams, is random."""
    torch.manual_seed(seed)
    config = MODELS["tshsr"].Config(embed_size=width, sim_size=sim, word_size=6, **choices)
    model = MODELS["tshsr"](config, Inputs(7, 20)).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("bias") or key == "fusion":
                tensor.normal_(0, 0.3)
    return model


def draw(seed, groups, images, regions, captions, words, width=12, masked=False):
    generator = torch.Generator().manual_seed(seed)
    return draw_codes(generator, groups, images, regions, captions, words, width, masked)


@settings(max_examples=40)
@given(
    st.sampled_from(FORMS),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 8)),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_folded_and_plain_form_agree(form, sizes, masked, seed):
    model = build(seed, **form)
    images, texts = draw(seed, *sizes, masked=masked)
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("piece", [1, 1000, 5000])
def test_the_size_of_the_pieces_that_are_computed_at_a_time_moves_nothing(piece, monkeypatch):
    images, texts = draw(1, 1, 5, 6, 7, 4, masked=True)
    model = build(1)
    monkeypatch.setattr(similarity_nodes, "_PIECE_BYTES", piece)
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_prepared_codes_score_as_others_and_come_back_as_they_are(form, precision):
    model = build(4, **form)
    images, texts = draw(4, 2, 3, 5, 4, 6, masked=True)
    folded = model.fold(precision)
    assert isinstance(folded, FastForm)
    with torch.inference_mode():
        ready, words = folded.prepare_images(images), folded.prepare_texts(texts)
        assert folded.prepare_images(ready) is ready
        assert folded.prepare_texts(words) is words
        first = folded.score(ready, words)
        assert torch.equal(first, folded.score(images, texts))
        assert torch.equal(first, folded.score(ready, words)), "scoring writes into no code"


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_drifts_little_whether_autocast_is_on_or_not(form):
    model = build(2, width=64, sim=32, **form)
    images, texts = draw(2, 1, 8, 9, 6, 7, width=64, masked=True)
    folded = model.fold("bfloat16")
    with torch.inference_mode():
        exact = model.score(images, texts)
        quick = folded.score(images, texts)
        with torch.autocast("cpu", torch.bfloat16):
            again = folded.score(folded.prepare_images(images), folded.prepare_texts(texts))
    assert quick.dtype == torch.float32
    assert torch.equal(quick, again)
    assert 0 < (quick - exact).abs().max() < 5e-3


def test_every_level_makes_the_score():
    """Each level matters to the scores, or their agreement would say little of it."""
    model = build(5)
    images, texts = draw(5, 1, 3, 5, 4, 6)
    with torch.inference_mode():
        for stream in model.streams.values():
            for level in stream.reasoning.levels:
                before = model.fold().score(images, texts)
                level.value.weight.neg_()
                level.interact.update.weight.neg_()
                assert (model.fold().score(images, texts) - before).abs().max() > 1e-3


def test_a_folded_form_keeps_the_weights_it_was_made_of():
    images, texts = draw(7, 1, 2, 3, 2, 3)
    model = build(7, fusion="learned")
    with torch.inference_mode():
        folded = model.fold()
        before = folded.score(images, texts)
        for parameter in model.parameters():
            parameter.add_(1)
        assert torch.equal(folded.score(images, texts), before)


def test_while_training_it_gives_the_scores_and_the_plain_form_the_gradients():
    model = build(8).train()
    images, texts = (code.map(lambda t: t[0]) for code in draw(8, 1, 4, 5, 4, 6))
    texts.mask[1:3, 4:] = False  # words are missing at the end alone
    scores, gradients = [], []
    for few in (True, False):
        with sparse_gradient(few):
            found = model.score_block(images, texts) if few else model.eval().score_block(images, texts)
        gradients.append(torch.autograd.grad(found.square().sum(), list(model.streams.parameters()), allow_unused=True))
        scores.append(found.detach())
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)
    for swift, plain in zip(*gradients, strict=True):
        assert (swift is None) == (plain is None)
        if plain is not None:
            torch.testing.assert_close(swift, plain, rtol=1e-4, atol=1e-5)
