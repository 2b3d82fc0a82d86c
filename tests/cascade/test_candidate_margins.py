"""Margins are the smallest that change no recall of dev; margins chosen before are read again, if complete."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from crossgraph.cascade.candidate_margins import (
    CHOICES,
    FILE,
    FORMAT_VERSION,
    TOLERANCE,
    CandidateMargins,
    read_margins,
    smallest_margin,
)


def queries(seed=0, count=400, answers=60):
    random = np.random.default_rng(seed)
    scores = random.standard_normal((count, answers)).astype(np.float32)
    right = np.zeros(scores.shape, bool)
    right[np.arange(count), random.integers(0, answers, count)] = True
    tenth = -np.sort(-scores, axis=1)[:, 9:10]
    return scores, tenth, right


def test_a_perfect_guess_needs_hardly_a_margin():
    scores, tenth, right = queries()
    margin, difference = smallest_margin([(scores, tenth - scores - 1e-6, right)], 1.0)
    assert (margin, difference) == (0.0, 0.0)


def test_a_guess_that_is_turned_round_needs_all_pairs():
    scores, tenth, right = queries()
    assert smallest_margin([(scores, 100 + tenth + scores, right)], 1.0) == (None, 0.0)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_the_least_margin_is_chosen_from_which_on_all_recalls_stay(noise):
    scores, tenth, right = queries()
    missing = tenth - scores - noise * np.random.default_rng(1).standard_normal(scores.shape).astype(np.float32)
    margin, difference = smallest_margin([(scores, missing, right)], noise)
    assert margin is not None and margin > 0
    assert difference <= TOLERANCE

    def recalls(within):
        known = np.where(within, scores, -np.inf)
        best = np.where(right, known, -np.inf).max(axis=1)
        return [
            100 * ((known > best[:, None]).sum(axis=1) < cutoff)[np.isfinite(best)].sum() / 400 for cutoff in (1, 5, 10)
        ]

    exact = recalls(np.ones_like(right))
    for choice in CHOICES[CHOICES.index(margin) :]:
        np.testing.assert_allclose(recalls(missing < choice * noise), exact, atol=TOLERANCE)
    below = CHOICES[CHOICES.index(margin) - 1]
    assert np.abs(np.subtract(recalls(missing < below * noise), exact)).max() > TOLERANCE


def test_blocks_are_counted_together_and_queries_without_a_right_answer_not_at_all():
    scores, tenth, right = queries()
    missing = tenth - scores - np.random.default_rng(1).standard_normal(scores.shape).astype(np.float32)
    blocks = [(scores[some], missing[some], right[some]) for some in (slice(0, 100), slice(100, 400))]
    nothing = (scores, -missing, np.zeros_like(right))
    whole = smallest_margin([(scores, missing, right)], 1.0)
    assert smallest_margin(blocks, 1.0) == smallest_margin([*blocks, nothing], 1.0) == whole


def test_margins_are_read_as_they_were_written(tmp_path):
    margins = CandidateMargins(2.0, None, "dev", "weights", 0.02)
    (tmp_path / FILE).write_text(json.dumps({"format_version": FORMAT_VERSION, **dataclasses.asdict(margins)}))
    assert read_margins(tmp_path) == margins


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"format_version": 1, "pictures": 20}',
        '{"format_version": 2, "captions": 2.0}',
        '{"format_version": 2, "captions": -1, "pictures": 1, "dev": "", "bundle": "", "difference": 0}',
        '{"format_version": 2, "captions": "2", "pictures": 1, "dev": "", "bundle": "", "difference": 0}',
        '{"format_version": 2, "captions": 2, "pictures": Infinity, "dev": "", "bundle": "", "difference": 0}',
        '{"format_version": 2, "captions": NaN, "pictures": 1, "dev": "", "bundle": "", "difference": 0}',
        '{"format_version": 2, "captions": 2, "pictures": 1, "dev": "", "bundle": "", "difference": NaN}',
        '{"format_version": 2, "captions": 2, "pictures": 1, "dev": "", "bundle": "", "difference": ""}',
    ],
)
def test_what_is_broken_or_of_another_kind_is_not_known(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    assert read_margins(tmp_path) is None
