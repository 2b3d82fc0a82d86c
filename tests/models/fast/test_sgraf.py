"""SGRAF's form for inference: the plain form's scores, whatever the shapes, masks and lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import sgraf as plain
from references.drawn_codes import draw_codes

from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Prepares

FORMS = [
    ("sgr", {}),
    ("sgr", {"steps": 0}),
    ("sgr", {"steps": 1}),
    ("sgr", {"nodes": "local", "steps": 2}),
    ("sgr", {"nodes": "global", "steps": 0}),
    ("sgr", {"attention": "i2t"}),
    ("saf", {}),
    ("saf", {"nodes": "local"}),
    ("saf", {"attention": "i2t", "nodes": "local"}),
    ("sgraf-average", {}),
    ("sgraf-joint", {"steps": 2}),
]


def build(name, seed=0, width=12, sim=8, **choices):
    """Return a model in evaluation mode whose every weight and statistic is random."""
    torch.manual_seed(seed)
    config = MODELS[name].Config(embed_size=width, sim_size=sim, word_size=6, **choices)
    model = MODELS[name](config, Inputs(7, 20)).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.3)
    return model


@settings(max_examples=40)
@given(
    st.sampled_from(FORMS),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 8)),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_folded_and_plain_form_agree(form, sizes, masked, seed):
    model = build(form[0], seed, **form[1])
    images, texts = draw_codes(torch.Generator().manual_seed(seed), *sizes, 12, masked)
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "choices"), FORMS)
def test_it_agrees_with_the_computation_written_caption_by_caption(name, choices):
    model = build(name, 3, **choices)
    images, texts = draw_codes(torch.Generator().manual_seed(3), 1, 5, 6, 4, 7, 12, False)
    with torch.inference_mode():
        expected = plain.all_scores(model, images.map(lambda t: t[0]), texts.map(lambda t: t[0]))
        torch.testing.assert_close(model.fold().score(images, texts)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_prepared_codes_score_the_same_and_stay_as_they_are(precision):
    model = build("sgr", 1)
    images, texts = draw_codes(torch.Generator().manual_seed(1), 1, 4, 5, 3, 6, 12, True)
    folded = model.fold(precision)
    assert isinstance(folded, Prepares)
    with torch.inference_mode():
        ready, words = folded.prepare_images(images), folded.prepare_texts(texts)
        assert folded.prepare_images(ready) is ready
        assert folded.prepare_texts(words) is words
        assert torch.equal(folded.score(ready, words), folded.score(images, texts))


@pytest.mark.parametrize("name", ["sgr", "saf"])
def test_bfloat16_drifts_little_whether_autocast_is_on_or_not(name):
    model = build(name, 2, width=64, sim=32)
    images, texts = draw_codes(torch.Generator().manual_seed(2), 1, 8, 9, 6, 7, 64, False)
    folded = model.fold("bfloat16")
    with torch.inference_mode():
        exact = model.score(images, texts)
        quick = folded.score(images, texts)
        with torch.autocast("cpu", torch.bfloat16):
            again = folded.score(folded.prepare_images(images), folded.prepare_texts(texts))
    assert quick.dtype == torch.float32
    assert torch.equal(quick, again)
    assert 0 < (quick - exact).abs().max() < 5e-3


def test_a_folded_form_keeps_the_weights_it_was_made_of():
    model = build("saf", 4)
    images, texts = draw_codes(torch.Generator().manual_seed(4), 1, 2, 3, 2, 4, 12, False)
    folded = model.fold()
    with torch.inference_mode():
        before = folded.score(images, texts)
        for parameter in model.parameters():
            parameter.data = parameter.data + 1
        assert torch.equal(folded.score(images, texts), before)


def test_cosines_have_no_folded_form():
    model = build("sgraf-average", similarity="scalar")
    assert model.fold() is model
