"""IMRAM's form for inference: the plain form's scores, whatever the shapes, masks, lengths and choices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Prepares

WIDTH = 12
FORMS = [
    {},
    {"form": "text"},
    {"form": "image", "steps": 2},
    {"steps": 1},
    {"steps": 4, "memory_norm": "l2"},
    {"affinity_norm": "softmax"},
    {"affinity_norm": "no_norm", "smooth": 2.0},
]


def build(seed=0, **choices):
    """Return a model in evaluation mode whose every weight is random, biases too."""
    torch.manual_seed(seed)
    config = MODELS["imram"].Config(embed_size=WIDTH, word_size=6, **choices)
    model = MODELS["imram"](config, Inputs(7, 20)).eval()
    with torch.no_grad():
        for tensor in model.memory.parameters():
            tensor.normal_(0, 0.5)
    return model


def draw_codes(seed, groups, images, regions, captions, words, masked=False):
    """Return grouped codes; with `masked`, regions and words are missing at random, at least one of each stays."""
    generator = torch.Generator().manual_seed(seed)

    def side(rows, items):
        local = torch.nn.functional.normalize(torch.randn(groups, rows, items, WIDTH, generator=generator), dim=-1)
        mask = torch.rand(groups, rows, items, generator=generator) < (0.7 if masked else 2)
        mask[..., torch.randint(items, (1,), generator=generator)] = True
        return local * mask[..., None], mask

    return ImageCode(*side(images, regions)), TextCode(*side(captions, words))


@settings(max_examples=40)
@given(
    st.sampled_from(FORMS),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 8)),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_folded_and_plain_form_agree(form, sizes, masked, seed):
    model = build(seed, **form)
    images, texts = draw_codes(seed, *sizes, masked)
    with torch.inference_mode():
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_prepared_codes_score_as_others_and_come_back_as_they_are(form):
    model = build(4, **form)
    images, texts = draw_codes(4, 2, 3, 5, 4, 6, masked=True)
    folded = model.fold()
    assert isinstance(folded, Prepares)
    with torch.inference_mode():
        ready, words = folded.prepare_images(images), folded.prepare_texts(texts)
        assert folded.prepare_images(ready) is ready
        assert folded.prepare_texts(words) is words
        torch.testing.assert_close(folded.score(ready, words), folded.score(images, texts), rtol=0, atol=0)


def test_what_is_seen_of_a_pair_makes_its_score():
    """The memory matters to the scores, or their agreement would say little of it."""
    images, texts = draw_codes(5, 1, 3, 5, 4, 6)
    model = build(5)
    with torch.inference_mode():
        before = model.fold().score(images, texts)
        for memory in model.memories().values():
            memory.update.weight.neg_()
        assert (model.fold().score(images, texts) - before).abs().max() > 1e-2


def test_bfloat16_moves_scores_little_and_keeps_its_weights_in_it():
    images, texts = draw_codes(6, 1, 6, 9, 8, 7, masked=True)
    model = build(6)
    with torch.inference_mode():
        exact, quick = model.fold().score(images, texts), model.fold("bfloat16").score(images, texts)
    assert quick.dtype == torch.float32
    assert 0 < (quick - exact).abs().max() < 0.02 * exact.abs().max()


def test_a_folded_form_keeps_the_weights_it_was_made_of():
    images, texts = draw_codes(7, 1, 2, 3, 2, 3)
    model = build(7)
    with torch.inference_mode():
        folded = model.fold()
        before = folded.score(images, texts)
        for memory in model.memories().values():
            memory.gate.weight.zero_()
        torch.testing.assert_close(folded.score(images, texts), before, rtol=0, atol=0)
