"""DP-RNN, MMCA and SGM do what their descriptions say, and say that nobody's code stands behind them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.graphs.attend import as_regions, as_words
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.dp_rnn import DPRNN, DPRNNConfig, Recurrent, sentence_order
from crossgraph.models.mmca import MMCA, MMCAConfig
from crossgraph.models.sgm import RELATIONS, SGM, SGMConfig, heads

INPUTS = Inputs(feature_size=6, vocabulary_size=12)


def pair():
    generator = torch.Generator().manual_seed(0)
    regions = Regions(torch.randn(3, 4, 6, generator=generator), torch.ones(3, 4, dtype=torch.bool))
    return regions, Tokens(torch.randint(1, 12, (2, 5), generator=generator), torch.tensor([5, 3]))


@pytest.mark.parametrize("name", ["dp-rnn", "mmca", "sgm"])
def test_each_says_that_it_is_unverified(name):
    assert MODELS[name].status == "unverified"
    assert "unverified" in MODELS[name].paper and "Unverified" in (MODELS[name].__doc__ or "")


def test_regions_stand_where_the_sentence_has_their_word():
    affinity = torch.tensor([[[0.1, 0.9, 0.2, 5.0], [0.3, 0.1, 0.8, 5.0], [0.7, 0.2, 0.9, 5.0], [9.0, 9.0, 9.0, 9.0]]])
    words, regions = torch.tensor([[True, True, True, False]]), torch.tensor([[True, True, True, False]])
    # region 1 belongs to word 0; regions 2 (0.9) and 0 (0.7) to word 2; region 3 and word 3 are padding
    assert sentence_order(affinity, words, regions).tolist() == [[1, 2, 0, 3]]


def test_a_picture_s_new_regions_depend_on_the_sentence_and_the_first_stage_s_do_not():
    regions, tokens = pair()
    cases: list[tuple[Recurrent, bool]] = [("sentence", True), ("none", False)]
    for recurrent, differs in cases:
        torch.manual_seed(0)
        model = DPRNN(DPRNNConfig(embed_size=8, word_size=4, recurrent=recurrent), INPUTS)
        images = model.encode_images(regions).map(lambda t: t[None])
        texts = model.encode_texts(tokens).map(lambda t: t[None])
        new = model.new_regions(as_regions(images), as_words(texts)).vectors.expand(1, 3, 2, 4, 8)
        assert torch.allclose(new[:, :, 0], new[:, :, 1]) != differs


def test_mmca_s_score_is_the_independent_part_and_alpha_times_the_pair_s():
    regions, tokens = pair()
    scores: dict[float, torch.Tensor] = {}
    for alpha in (1.0, 3.0):
        torch.manual_seed(0)
        model = MMCA(MMCAConfig(embed_size=8, word_size=4, heads=2, alpha=alpha), INPUTS)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        scores[alpha] = model.score_block(images, texts)
    alone = images.parts["overall"] @ texts.parts["overall"].T
    torch.testing.assert_close(scores[3.0] - alone, 3 * (scores[1.0] - alone), rtol=0, atol=1e-5)
    assert (scores[1.0] - alone).abs().max() <= 1 + 1e-5, "a cosine"


def test_a_word_s_relation_is_with_its_head_or_with_the_word_before():
    tokens = Tokens(torch.ones(2, 4, dtype=torch.long), torch.tensor([4, 3]))
    head, real = heads(tokens)
    assert head[0].tolist() == [0, 0, 1, 2] and real.tolist() == [[False, True, True, True], [False, True, True, False]]
    edges = torch.tensor([[[2, 1], [2, 3]], [[1, 2], [9, 1]]])  # the last reaches beyond its caption
    head, real = heads(dataclasses.replace(tokens, edges=edges))
    assert real.tolist() == [[False, True, False, True], [False, False, True, False]]
    assert head[0, 1] == 2 and head[0, 3] == 2 and head[1, 2] == 1


def sgm():
    torch.manual_seed(0)
    return SGM(SGMConfig(embed_size=8, word_size=4, predicates=2), INPUTS).eval()


def test_sgm_s_score_is_the_best_partners_mean_of_objects_and_of_relations():
    regions, tokens = pair()
    model = sgm()
    images, texts = model.encode_images(regions), model.encode_texts(tokens)
    expected = torch.zeros(3, 2)
    for row in range(3):
        for column, words in enumerate((5, 3)):
            for v, t in (
                (images.local[row], texts.local[column, :words]),
                (images.parts[RELATIONS][row, :, 0], texts.parts[RELATIONS][column, 1:words]),
            ):
                dots = t @ v.T
                expected[row, column] += (dots.amax(dim=1).mean() + dots.amax(dim=0).mean()) / 2
    torch.testing.assert_close(model.score_block(images, texts), expected, rtol=0, atol=1e-5)


def test_relations_of_a_file_replace_the_surroundings_and_hidden_regions_take_theirs_along():
    regions, _ = pair()
    listed = torch.full((3, 4, 2, 2), -1)
    listed[0, 1, 0], listed[0, 1, 1], listed[0, 2, 0] = torch.tensor([[3, 1], [0, 2], [3, 2]])
    given = dataclasses.replace(regions, extra={RELATIONS: listed})
    found = sgm().encode_images(given).parts[RELATIONS]
    there = (found != 0).any(dim=-1)
    assert there.sum() == 3 and there[0, 1].all() and there[0, 2].tolist() == [True, False]
    mask = regions.mask.clone()
    mask[0, 3] = False
    hidden = sgm().encode_images(dataclasses.replace(given, mask=mask)).parts[RELATIONS]
    assert (hidden != 0).any(dim=-1).sum() == 1, "two of three had region 3 at an end"
    listed[0, 0, 0] = torch.tensor([1, 3])
    with pytest.raises(InputError, match="3 predicates, the model has 2"):
        sgm().encode_images(dataclasses.replace(regions, extra={RELATIONS: listed}))


def test_without_relations_of_the_picture_objects_alone_are_compared():
    regions, tokens = pair()
    none = dataclasses.replace(regions, extra={RELATIONS: torch.full((3, 4, 1, 2), -1)})
    model = sgm()
    texts, images = model.encode_texts(tokens), model.encode_images(none)
    scores = model.score_block(images, texts)
    dots = texts.local[1, :3] @ images.local[0].T
    expected = (dots.amax(dim=1).mean() + dots.amax(dim=0).mean()) / 2
    torch.testing.assert_close(scores[0, 1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MMCAConfig(embed_size=10, heads=4), "heads is 4"),
        (lambda: MMCAConfig(alpha=0.0), "alpha is 0"),
        (lambda: MMCAConfig(heads=0), "heads is 0"),
        (lambda: DPRNNConfig(smooth=0.0), "smooth is 0"),
        (lambda: DPRNNConfig(region_smooth=-1.0), "region_smooth is -1"),
        (lambda: DPRNNConfig(embed_size=0), "embed_size is 0"),
        (lambda: SGMConfig(predicates=0), "predicates is 0"),
    ],
)
def test_what_makes_no_model_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
