"""Judgements of others: checked against a loop over sorted lists, ties and answers outside the gallery included."""

from __future__ import annotations

import numpy as np
import pytest
from references.tiny_matcher import tiny_split

from crossgraph.evaluate.judged import judge_captions, judge_images
from crossgraph.evaluate.outcomes import outcomes


def judgements(queries: int, answers: int, seed: int) -> dict[int, list[int]]:
    random = np.random.default_rng(seed)
    return {q: random.choice(answers, random.integers(1, 5), replace=False).tolist() for q in range(0, queries, 2)}


def plain(values: np.ndarray, right: list[int]) -> dict[str, float]:
    order = np.argsort(-values, kind="stable").tolist()
    relevant = [int(answer in right) for answer in order] + [0] * len(right)
    r = len(right)
    precision = [sum(relevant[: k + 1]) / (k + 1) for k in range(r)]
    return {
        "hit": [float(any(relevant[:k])) for k in (1, 5, 10)],
        "r_precision": sum(relevant[:r]) / r,
        "precision": sum(p for p, hit in zip(precision, relevant, strict=False) if hit) / r,
    }


@pytest.mark.parametrize("missing", [0, 2])
def test_figures_are_those_of_a_plain_loop(missing: int):
    scores = np.random.default_rng(0).standard_normal((20, 30))
    for judge, values, answers in ((judge_images, scores, 30), (judge_captions, scores.T, 20)):
        sets = [judgements(len(values), answers, seed) for seed in (1, 2)]
        with_missing = [{query: own + [-1] * missing for query, own in right.items()} for right in sets]
        for right, found in zip(sets, judge(scores, with_missing), strict=True):
            assert found.queries.tolist() == sorted(right)
            for row, query in enumerate(found.queries.tolist()):
                wanted = plain(values[query], [*right[query], *range(1000, 1000 + missing)])
                assert found.hit[row].tolist() == wanted["hit"]
                assert found.r_precision[row] == pytest.approx(wanted["r_precision"])
                assert found.precision[row] == pytest.approx(wanted["precision"])


def test_with_the_datas_own_pairs_they_are_the_evaluations_figures_ties_included():
    split = tiny_split(images=12)
    scores = np.random.default_rng(0).integers(0, 4, (12, len(split.captions))).astype(np.float32)
    i2t, t2i = outcomes(scores, split.caption_image)
    own = {row: np.flatnonzero(split.caption_image == row).tolist() for row in range(12)}
    (images,) = judge_images(scores, [own])
    (captions,) = judge_captions(scores, [{c: [int(r)] for c, r in enumerate(split.caption_image)}])
    for found, wanted in ((images, i2t), (captions, t2i)):
        assert found.hit == pytest.approx(wanted.hit)
        assert found.precision == pytest.approx(wanted.precision)
