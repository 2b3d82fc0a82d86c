"""Paired comparison: checked against a loop that does the same in plain Python."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from references.tiny_matcher import tiny_split

from crossgraph.bootstrap import RESAMPLES
from crossgraph.core.errors import InputError
from crossgraph.evaluate.answers import Answers, named_answers, read_details
from crossgraph.evaluate.comparison import comparison_markdown
from crossgraph.evaluate.details import write_details
from crossgraph.evaluate.outcomes import outcomes
from crossgraph.evaluate.paired import Comparison, compare_answers
from crossgraph.evaluate.protocol import evaluate_scores

SPLIT = tiny_split(images=12)


def scores(seed: int, signal: float = 0.0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((12, len(SPLIT.captions)))
    values[SPLIT.caption_image, np.arange(len(SPLIT.captions))] += signal
    return values


def answers(seed: int, signal: float = 0.0, name: str = "") -> Answers:
    return named_answers(name or f"s{seed}", SPLIT, *outcomes(scores(seed, signal), SPLIT.caption_image))


def figure(found: Comparison, name: str):
    return next(one for one in found.differences if one.name == name)


def test_a_system_is_exactly_equal_to_itself():
    found = compare_answers(answers(0), answers(0))
    assert all(one.value == one.low == one.high == 0 and one.verdict == "equal" for one in found.differences)
    assert found.changes == {"i2t": [], "t2i": []}
    assert set(found.better.values()) == set(found.worse.values()) == {0}


def test_figures_are_those_of_the_evaluation():
    found = compare_answers(answers(0), answers(1, 1.0))
    for seed, signal, which in ((0, 0.0, "a"), (1, 1.0, "b")):
        figures = evaluate_scores(scores(seed, signal), SPLIT.caption_image).whole.as_json()["figures"]
        for one in found.differences:
            assert getattr(one, which) == pytest.approx(figures[one.name]), one.name


def test_intervals_are_those_of_a_plain_loop_over_the_same_draws():
    one, other = answers(0), answers(1, 1.0)
    found = compare_answers(one, other)
    names = sorted(set(one.i2t.images) | set(one.t2i.images))
    drawn = np.random.default_rng([0]).integers(0, len(names), (RESAMPLES, len(names)))
    for direction in ("i2t", "t2i"):
        first, second = getattr(one, direction), getattr(other, direction)
        mine = {image: [q for q, of in enumerate(first.images) if of == image] for image in names}
        samples: dict[str, list[float]] = {"R@5": [], "medR": [], "meanR": []}
        for draw in drawn:
            rows = [query for image in draw for query in mine[names[image]]]
            samples["R@5"].append(100 * (np.mean(second.hit[rows, 1]) - np.mean(first.hit[rows, 1])))
            samples["meanR"].append(np.mean(second.rank[rows]) - np.mean(first.rank[rows]))
            samples["medR"].append(math.floor(np.median(second.rank[rows])) - math.floor(np.median(first.rank[rows])))
        for name, values in samples.items():
            low, high = np.percentile(values, [2.5, 97.5])
            assert (
                figure(found, f"{direction} {name}").low,
                figure(found, f"{direction} {name}").high,
            ) == pytest.approx((low, high)), name


def test_turning_the_comparison_round_turns_every_sign():
    there, back = compare_answers(answers(0), answers(1, 1.0)), compare_answers(answers(1, 1.0), answers(0))
    for one, other in zip(there.differences, back.differences, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert there.better == back.worse


def test_a_paired_interval_is_narrower_than_the_two_apart():
    one = answers(0, 1.0)
    shifted = scores(0, 1.0)
    shifted[:, 0] += 0.2
    other = named_answers("nearly", SPLIT, *outcomes(shifted, SPLIT.caption_image))
    found = figure(compare_answers(one, other), "rSum")
    low, high = evaluate_scores(scores(0, 1.0), SPLIT.caption_image).whole.intervals["rSum"]
    assert found.high - found.low < (high - low) / 2


def test_a_better_system_is_called_better_and_ranks_count_downwards():
    found = compare_answers(answers(0), answers(1, 8.0))
    verdicts = {one.name: one.verdict for one in found.differences}
    assert verdicts["t2i R@1"] == verdicts["t2i meanR"] == verdicts["rSum"] == "B is better"
    assert {one.name: one.verdict for one in compare_answers(answers(1, 8.0), answers(0)).differences}[
        "t2i meanR"
    ] == "A is better"


def test_the_queries_that_changed_most_are_those_of_the_largest_factor():
    one, other = answers(0), answers(1)
    found = compare_answers(one, other, queries=4).changes["t2i"]
    factors = np.abs(np.log((other.t2i.rank + 1) / (one.t2i.rank + 1)))
    assert [abs(math.log(c.b / c.a)) for c in found] == pytest.approx(sorted(factors, reverse=True)[:4])
    for change in found:
        row = list(one.t2i.queries).index(change.query)
        assert (change.a, change.b, change.text) == (
            one.t2i.rank[row] + 1,
            other.t2i.rank[row] + 1,
            SPLIT.captions[row],
        )
    assert compare_answers(one, other, queries=0).changes == {"i2t": [], "t2i": []}


def test_details_tell_the_same_as_the_scores_they_were_written_from(tmp_path):
    for seed in (0, 1):
        evaluation = evaluate_scores(scores(seed), SPLIT.caption_image)
        write_details(tmp_path / str(seed), scores(seed), SPLIT, evaluation)
    read = compare_answers(*(read_details(tmp_path / str(seed) / "details.jsonl") for seed in (0, 1)))
    direct = compare_answers(answers(0), answers(1))
    assert read.differences == direct.differences
    assert read.changes == direct.changes


@pytest.mark.parametrize(
    ("line", "number"),
    [("{", 2), ("[]", 2), ('{"direction": "i2t"}', 2), ('{"direction": "up", "rank": 1}', 2)],
)
def test_a_line_that_is_no_detail_is_named(tmp_path, line, number):
    evaluation = evaluate_scores(scores(0), SPLIT.caption_image)
    path = write_details(tmp_path, scores(0), SPLIT, evaluation)[0]
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"line {number}"):
        read_details(path)


@pytest.mark.parametrize("changed", ["queries", "texts", "images"])
def test_other_queries_are_refused_and_the_first_is_named(changed):
    one = answers(0)
    values = list(getattr(one.t2i, changed))
    values[3] = "another"
    other = dataclasses.replace(one, t2i=dataclasses.replace(one.t2i, **{changed: values}))
    with pytest.raises(InputError, match=r"different t2i queries: number 4 .*another"):
        compare_answers(one, other)


def test_fewer_queries_are_refused():
    one = answers(0)
    short = {"queries": one.i2t.queries[1:], "texts": one.i2t.texts[1:], "images": one.i2t.images[1:]}
    fewer = dataclasses.replace(one.i2t, **short, rank=one.i2t.rank[1:], hit=one.i2t.hit[1:])
    with pytest.raises(InputError, match="12 and 11 i2t queries"):
        compare_answers(one, dataclasses.replace(one, i2t=fewer))


def test_the_table_holds_what_the_comparison_holds():
    found = compare_answers(answers(0, name="runs/one"), answers(1, 8.0, name="runs/two"))
    table = comparison_markdown(found, "tiny:")
    assert table.startswith("# A: runs/one, B: runs/two\n\ntiny: 12 i2t and ")
    one = figure(found, "t2i R@1")
    assert f"{one.a:.1f}" in table
    assert f"+{one.value:.1f}" in table
    assert "B is better" in table
    assert found.changes["t2i"][0].query in table
    assert "-0.0" not in comparison_markdown(compare_answers(answers(0), answers(0)))
