"""Paired comparison of two variants trained with the same seeds: by seed, and over all seeds together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossgraph.evaluate.answers import Answered, Answers
from crossgraph.evaluate.paired import compare_answers

FORMAT_VERSION = 1


def compare(baseline: Mapping[int, Answers], other: Mapping[int, Answers]) -> dict[str, Any]:
    """Compare the answers of two variants to the same queries.

    Args:
        baseline: By seed.
        other: By the same seeds.

    Returns:
        Plain values: "seeds", one paired comparison each, and "all". The latter joins the seeds' answers: its
        figures are the means over the seeds, and each draw of its bootstrap takes the same pictures, with all their
        queries, of both variants and of every seed. What another seed would change is in neither interval; the spread
        over the seeds shows it.

    Raises:
        InputError: They were asked other queries.
    """
    pairs = {seed: (baseline[seed], other[seed]) for seed in baseline}
    everything = [_joined([pair[side] for pair in pairs.values()]) for side in range(2)]
    return {
        "format_version": FORMAT_VERSION,
        "seeds": {str(seed): compare_answers(*pair, queries=0).as_json() for seed, pair in pairs.items()},
        "all": compare_answers(everything[0], everything[1], queries=0).as_json(),
    }


def _joined(answers: Sequence[Answers]) -> Answers:
    """Return the seeds' answers as those of one system that was asked every query once a seed."""
    return dataclasses.replace(
        answers[0],
        i2t=_joined_direction([one.i2t for one in answers]),
        t2i=_joined_direction([one.t2i for one in answers]),
    )


def _joined_direction(answers: Sequence[Answered]) -> Answered:
    return Answered(
        [query for one in answers for query in one.queries],
        [text for one in answers for text in one.texts],
        [image for one in answers for image in one.images],
        np.concatenate([one.rank for one in answers]),
        np.concatenate([one.hit for one in answers]),
    )
