"""Hiding what is said to matter: the score falls faster for a model that tells the truth, and not for others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.planted import planted_run, planted_split

from crossgraph.core.types import Regions
from crossgraph.explain.measures.deletion import (
    HidingCurves,
    hide_regions,
    hide_words,
    mean_height,
    plan_hiding,
    tokens_by_word,
)
from crossgraph.text.vocabulary import EncodedCaption

IMPORTANCE = np.array([0.1, 0.5, 0.0, 0.4])


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def hidden(shown: np.ndarray) -> list[int]:
    return np.flatnonzero(~shown).tolist()


def test_the_said_order_hides_the_most_important_first_and_never_all():
    plan = plan_hiding(IMPORTANCE, steps=10, orders=1, random=draw())
    rows = plan.shown[plan.variant.ravel()]
    assert [hidden(row) for row in rows[:4]] == [[], [1], [1, 3], [0, 1, 3]]
    assert [np.flatnonzero(row).tolist() for row in rows[4:8]] == [[0, 1, 2, 3], [0, 1, 3], [1, 3], [1]]
    assert plan.shown.any(axis=1).all()


def test_few_steps_still_go_from_the_whole_to_one_part():
    plan = plan_hiding(np.arange(50.0), steps=5, orders=2, random=draw())
    assert plan.hidden.tolist() == [0, 10, 20, 29, 39, 49]


def test_equal_variants_are_scored_once():
    plan = plan_hiding(IMPORTANCE, steps=3, orders=20, random=draw())
    assert len(plan.shown) <= 2**4
    assert plan.variant.shape == (22, 4)


def test_equally_important_parts_are_in_random_order():
    plans = [plan_hiding(np.ones(5), 4, 1, np.random.default_rng(seed)) for seed in range(30)]
    assert {hidden(one.shown[one.variant[0, 1]])[0] for one in plans} == set(range(5))


def test_curves_are_read_back_in_order():
    plan = plan_hiding(IMPORTANCE, steps=3, orders=2, random=draw())
    curves = plan.curves(plan.shown.sum(axis=1).astype(np.float64))  # a score that counts what is shown
    assert curves.deletion.tolist() == [4, 3, 2, 1]
    assert curves.insertion.tolist() == [1, 2, 3, 4]
    assert curves.random_deletion.tolist() == [4, 3, 2, 1]
    assert curves.hidden.tolist() == [0, 0.25, 0.5, 0.75]
    assert curves.shown.tolist() == [0.25, 0.5, 0.75, 1]


def test_height_is_a_curves_mean():
    assert mean_height(np.array([0, 0.5]), np.array([1.0, 0.0])) == pytest.approx(0.5)
    assert mean_height(np.array([0.25, 1]), np.array([3.0, 3.0])) == pytest.approx(3)


def curves_when_hiding(what: str, honest: bool = True) -> HidingCurves:
    """Hide regions or words of a picture in the right order, or in the worst."""
    split, _ = planted_split(1)
    run = planted_run()
    regions, sentence = split.features.read([0]), "a dog and a car and a cat and a bus"
    if what == "regions":
        caption = run.vocabulary.encode(split.captions[0])
        importance = regions.features[0].sum(1).numpy().astype(np.float64)
        found = hide_regions(run, regions, caption, importance if honest else -importance, 15, 5, draw())
    else:
        shown = Regions(torch.ones(1, 1, 8), torch.ones(1, 1, dtype=torch.bool))
        importance = np.array([token >= 6 for token in run.vocabulary.encode(sentence).ids], dtype=np.float64)
        found = hide_words(run, shown, sentence, importance if honest else -importance, 15, 5, draw())
    assert found is not None
    return found


@pytest.mark.parametrize("what", ["regions", "words"])
def test_hiding_what_matters_makes_the_score_fall_faster_than_at_random(what: str):
    curves = curves_when_hiding(what)
    assert mean_height(curves.hidden, curves.deletion) < mean_height(curves.hidden, curves.random_deletion)
    assert mean_height(curves.shown, curves.insertion) > mean_height(curves.shown, curves.random_insertion)


@pytest.mark.parametrize("what", ["regions", "words"])
def test_hiding_what_does_not_matter_makes_it_fall_slower(what: str):
    curves = curves_when_hiding(what, honest=False)
    assert mean_height(curves.hidden, curves.deletion) > mean_height(curves.hidden, curves.random_deletion)
    assert mean_height(curves.shown, curves.insertion) < mean_height(curves.shown, curves.random_insertion)


def test_the_untouched_pair_has_the_models_own_score():
    split, _ = planted_split(1)
    run = planted_run()
    regions, caption = split.features.read([0]), run.vocabulary.encode(split.captions[0])
    curves = hide_regions(run, regions, caption, np.arange(16.0), 4, 2, draw())
    assert curves is not None
    assert curves.deletion[0] == pytest.approx(2 / 8)
    assert curves.insertion[-1] == curves.deletion[0]


def test_padded_regions_are_never_shown():
    run = planted_run()
    features = torch.zeros(1, 4, 8)
    features[0, 3, 0] = 1  # a dog, in a region that only pads
    mask = torch.tensor([[True, True, True, False]])
    curves = hide_regions(run, Regions(features, mask), run.vocabulary.encode("a dog"), np.ones(3), 3, 2, draw())
    assert curves is not None
    assert curves.deletion.max() == curves.insertion.max() == 0


def test_the_pieces_of_a_word_go_together():
    pieces = EncodedCaption([1, 6, 7, 8, 2], [(0, 0), (0, 1), (2, 5), (5, 8), (0, 0)], [])  # a + sky + ing
    assert tokens_by_word("a skying", pieces) == [[1], [2, 3]]
    assert tokens_by_word("a dog.", planted_run().vocabulary.encode("a dog.")) == [[1], [2], [3]]


def test_one_region_or_one_word_has_no_order():
    run = planted_run()
    one = Regions(torch.ones(1, 1, 8), torch.ones(1, 1, dtype=torch.bool))
    assert hide_regions(run, one, run.vocabulary.encode("a dog"), np.ones(1), 3, 2, draw()) is None
    assert hide_words(run, one, "dog", np.ones(3), 3, 2, draw()) is None
