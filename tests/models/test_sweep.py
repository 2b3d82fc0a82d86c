"""What every registered model promises, whatever it is: add a model, and these run on it."""

from __future__ import annotations

import pytest
import torch
from references.every_model import INPUTS, VARIANTS, make, some_regions, some_tokens, training_loss

from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import MODELS

# Scores that add up several cosines drift by as much more.
SUMMED = {"bfan": 2, "imram": 6}


def scores(model, regions, tokens):
    with torch.no_grad():
        return model.score_block(model.encode_images(regions), model.encode_texts(tokens))


@pytest.fixture(params=[*MODELS, *VARIANTS])
def name(request):
    return request.param


def test_scores_are_one_finite_number_a_pair(name):
    matrix = scores(make(name), some_regions(5), some_tokens())
    assert matrix.shape == (5, 5)
    assert torch.isfinite(matrix).all()
    assert matrix.std() > 0


def test_one_caption_alone_scores_as_in_a_long_batch(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    together = scores(model, regions, tokens)
    for row in range(len(tokens)):
        length = int(tokens.lengths[row])
        alone = Tokens(tokens.ids[row : row + 1, :length], tokens.lengths[row : row + 1])
        torch.testing.assert_close(scores(model, regions, alone)[:, 0], together[:, row], rtol=0, atol=1e-5)


def test_more_padding_and_what_stands_in_it_change_nothing(name):
    model, regions, tokens = make(name), some_regions(), some_tokens(width=14)
    filled = torch.where(tokens.mask, tokens.ids, torch.full_like(tokens.ids, 7))
    torch.testing.assert_close(
        scores(model, regions, Tokens(filled, tokens.lengths)),
        scores(model, regions, some_tokens()),
        rtol=0,
        atol=1e-5,
    )


def test_the_order_of_captions_and_pictures_does_not_matter(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    pictures, captions = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(
        scores(model, regions.select(pictures), tokens.select(captions)),
        scores(model, regions, tokens)[pictures][:, captions],
        rtol=0,
        atol=1e-5,
    )


def test_the_order_of_regions_matters_where_the_model_says_so(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    shuffled = Regions(regions.features[:, order], regions.mask, regions.boxes[:, order])
    drift = (scores(model, shuffled, tokens) - scores(model, regions, tokens)).abs().max()
    assert (drift > 1e-3) if model.reads_region_order else (drift < 1e-5)


def test_masked_regions_change_nothing(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    junk, hidden = torch.full((5, 3, INPUTS.feature_size), 9.0), torch.zeros(5, 3, dtype=torch.bool)
    padded = Regions(
        torch.cat([regions.features[:, :4], junk, regions.features[:, 4:]], dim=1),  # as when regions are dropped
        torch.cat([regions.mask[:, :4], hidden, regions.mask[:, 4:]], dim=1),
        torch.cat([regions.boxes[:, :4], torch.ones(5, 3, 4), regions.boxes[:, 4:]], dim=1),
    )
    torch.testing.assert_close(scores(model, padded, tokens), scores(model, regions, tokens), rtol=0, atol=1e-5)


def test_a_short_list_s_score_is_the_matrix_entry(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        matrix = model.score_block(images, texts)
        lists = torch.tensor([[0, 3], [1, 1], [4, 2], [2, 0], [3, 4]])  # two pictures for each caption
        short = model.score(images.map(lambda t: t[lists]), texts.map(lambda t: t[:, None]))
    assert short.shape == (5, 2, 1)
    expected = torch.stack([matrix[lists[j], j] for j in range(5)])
    torch.testing.assert_close(short[:, :, 0], expected, rtol=0, atol=1e-5)


def test_the_alignment_s_score_is_the_matrix_entry_and_its_weights_are_shares(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        matrix = model.score_block(images, texts)
        for i, j in ((0, 0), (4, 1), (2, 3)):
            attention = model.align(images.select(slice(i, i + 1)), texts.select(slice(j, j + 1)))
            length = int(tokens.lengths[j])
            assert attention.weights.shape == (length, 7)
            assert attention.significance.shape == (length,)
            torch.testing.assert_close(attention.score, matrix[i, j], rtol=0, atol=1e-5)
            torch.testing.assert_close(attention.weights.sum(dim=1), torch.ones(length))
            assert attention.significance.min() >= 0
            assert attention.significance.sum() <= 1 + 1e-5


def test_codes_without_a_group_axis_or_of_other_widths_are_refused(name):
    model = make(name)
    with torch.no_grad():
        images, texts = model.encode_images(some_regions()), model.encode_texts(some_tokens())
    with pytest.raises(ValueError, match="group axis"):
        model.score(images, texts)
    with pytest.raises(ValueError, match="differ in groups"):
        model.score(images.map(lambda t: t[:, None]), texts.map(lambda t: t[None]))


def test_the_folded_form_scores_the_same(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images = model.encode_images(regions).map(lambda t: t[None])
        texts = model.encode_texts(tokens).map(lambda t: t[None])
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


def test_every_parameter_learns_but_those_said_to_be_dead(name):
    model = make(name).double().train()  # in float64 what is zero by construction is below 1e-13 of the rest
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    regions = some_regions().map(lambda t: t.double() if t.is_floating_point() else t)
    training_loss(model, regions, some_tokens(), "sum").backward()
    gradients = {key: p.grad for key, p in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    still = {key for key, gradient in gradients.items() if gradient.norm() <= 1e-13 * total}
    assert still == set(model.dead_parameters())


def test_state_survives_saving(name, tmp_path):
    from crossgraph.runs import RunInfo, describe_model, load_run, save_run
    from crossgraph.text.vocabulary import Vocabulary

    words = [f"w{i}" for i in range(INPUTS.vocabulary_size - 4)]
    vocabulary = Vocabulary.build([" ".join(words)], minimum=1)
    model, regions, tokens = make(name), some_regions(), some_tokens()
    registered = name.split()[0]
    save_run(tmp_path / "run", model, vocabulary, RunInfo(registered, **describe_model(model)))
    again = load_run(tmp_path / "run")
    assert again.info.model == registered
    assert again.model.config == model.config
    assert again.vocabulary.words == vocabulary.words
    assert torch.equal(scores(again.model, regions, tokens), scores(model, regions, tokens))


def test_bfloat16_drifts_little(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    exact = scores(model, regions, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drifted = scores(model, regions, tokens)
    assert (drifted - exact).abs().max() < 0.02 * SUMMED.get(name.split()[0], 1)


@pytest.mark.slow
def test_it_overfits_32_pairs(name):
    torch.manual_seed(0)
    model = make(name, dropout=0.0).train()
    regions = some_regions(32)
    tokens = some_tokens(tuple(3 + i % 6 for i in range(32)))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(400):
        loss = training_loss(model, regions, tokens, "sum" if step < 200 else "hardest")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    matrix = scores(model.eval(), regions, tokens)
    assert (matrix.argmax(dim=1) == torch.arange(32)).all()
    assert (matrix.argmax(dim=0) == torch.arange(32)).all()
