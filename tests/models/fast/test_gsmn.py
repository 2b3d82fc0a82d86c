"""GSMN's form for inference: the plain form's scores, whatever the shapes, masks, lengths and choices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from references.drawn_codes import any_codes, compare_folded, encode, grouped

from crossgraph.core.types import TextCode
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Prepares

WIDTH = 24
FORMS = [
    {},
    {"boxes": "zero"},
    {"messages": "dense"},
    {"messages": "sparse"},
    {"messages": "dense", "boxes": "zero"},
    {"messages": "sparse", "smooth": 4.0, "text_norm": "none"},
    {"sim_size": 2, "hidden_size": 8, "image_norm": "none"},
    {"sim_size": 1, "smooth": 10.0},
]


def build(seed=0, **choices):
    """Return a model in evaluation mode whose every weight behind the codes is random, biases too."""
    torch.manual_seed(seed)
    config = MODELS["gsmn"].Config(**{"embed_size": WIDTH, "word_size": 6, "sim_size": 3, "hidden_size": 16, **choices})
    model = MODELS["gsmn"](config, Inputs(7, 20)).eval()
    with torch.no_grad():
        for part in (model.visual_graph, model.textual_graph, model.visual_score, model.textual_score):
            for tensor in part.parameters():
                tensor.normal_(0, 0.5)
    return model


@settings(max_examples=40)
@any_codes(FORMS)
def test_folded_and_plain_form_agree(form, sizes, mixed, seed):
    compare_folded(build(seed, **form), seed, sizes, mixed)


@pytest.mark.parametrize("form", FORMS)
def test_prepared_codes_score_as_others_and_come_back_as_they_are(form):
    model = build(4, **form)
    images, texts = encode(model, 4, 3, 5, 4, 6, mixed=True)
    folded = model.fold()
    assert isinstance(folded, Prepares)
    with torch.inference_mode():
        ready, words = folded.prepare_images(images), folded.prepare_texts(texts)
        assert folded.prepare_images(ready) is ready
        assert folded.prepare_texts(words) is words
        expected = folded.score(*grouped(images, texts))
        torch.testing.assert_close(folded.score(*grouped(ready, words)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_groups_score_as_each_alone(form):
    """A short list: as many groups as queries, here of one picture each."""
    model = build(5, **form)
    images, texts = encode(model, 5, 4, 6, 8, 7, mixed=True)
    lists = texts.map(lambda tensor: tensor.unflatten(0, (4, 2)))
    with torch.inference_mode():
        scores = model.fold().score(images.map(lambda tensor: tensor[:, None]), lists)
        every = model.score(*grouped(images, texts))[0]
    expected = torch.stack([every[row, 2 * row : 2 * row + 2] for row in range(4)])[:, None]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_words_missing_anywhere_count_no_more_than_at_the_end():
    model = build(6, messages="dense")
    images, texts = encode(model, 6, 3, 5, 4, 7)
    mask = torch.tensor([[1, 0, 1, 1, 0, 1, 1], [0, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0, 0]])
    mask = mask.bool()
    edges = torch.rand(4, 7, 7, generator=torch.Generator().manual_seed(6)) * mask[:, None]
    texts = TextCode(texts.local * mask[..., None], mask, parts={"edges": edges})
    images, texts = grouped(images, texts)
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


def test_vectors_of_zero_and_pictures_of_equal_regions_have_a_score():
    model = build(7)
    images, texts = encode(model, 7, 3, 6, 4, 5)
    images.local[0] = 0
    images.local[1] = images.local[1, :1]
    texts.local[1] = 0
    images, texts = grouped(images, texts)
    with torch.inference_mode():
        scores = model.fold().score(images, texts)
        assert scores.isfinite().all()
        torch.testing.assert_close(scores, model.score(images, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_moves_scores_little(form):
    model = build(8, **{**form, "embed_size": 256, "sim_size": 4})
    images, texts = grouped(*encode(model, 8, 6, 9, 8, 7, mixed=True))
    with torch.inference_mode():
        exact, quick = model.fold().score(images, texts), model.fold("bfloat16").score(images, texts)
    assert quick.dtype == torch.float32
    assert 0 < (quick - exact).abs().max() < 2e-3


def test_autocast_changes_no_weight_of_the_folded_form():
    model = build(9)
    images, texts = grouped(*encode(model, 9, 3, 5, 4, 6))
    with torch.inference_mode():
        expected = model.fold().score(images, texts)
        with torch.autocast("cpu", torch.bfloat16):
            scores = model.fold().score(images, texts)
    torch.testing.assert_close(scores, expected, rtol=0, atol=0)


def test_a_folded_form_keeps_the_weights_it_was_made_of():
    model = build(10)
    images, texts = grouped(*encode(model, 10, 2, 3, 2, 3))
    with torch.inference_mode():
        folded = model.fold()
        before = folded.score(images, texts)
        for part in (model.visual_graph, model.textual_graph, model.visual_score, model.textual_score):
            for tensor in part.parameters():
                tensor.neg_().sub_(0.1)
        torch.testing.assert_close(folded.score(images, texts), before, rtol=0, atol=0)
        assert (model.fold().score(images, texts) - before).abs().max() > 1e-2


def test_kernels_that_are_denormal_numbers_become_zero_and_scores_stay():
    model = build(11)
    images, texts = encode(model, 11, 2, 3, 2, 3)
    images.parts["kernels"][:, 0] = 1e-40
    with torch.inference_mode():
        prepared = model.fold().prepare_images(images)
        assert (prepared.parts["kernels"][:, 0] == 0).all()
        expected = model.score(*grouped(images, texts))
        torch.testing.assert_close(model.fold().score(*grouped(prepared, texts)), expected, rtol=0, atol=1e-5)
