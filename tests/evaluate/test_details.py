"""Details: every query, with its rank and best ten; TREC files that other tools read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from references.tiny_matcher import tiny_split

from crossgraph.evaluate.details import FILES, caption_ids, write_details
from crossgraph.evaluate.protocol import Protocol, evaluate_scores


@pytest.fixture
def written(tmp_path: Path):
    split = tiny_split(images=12)
    scores = np.random.default_rng(0).integers(0, 9, (12, len(split.captions))).astype(np.float32)
    evaluation = evaluate_scores(scores, split.caption_image, Protocol(resamples=2))
    paths = write_details(tmp_path / "details", scores, split, evaluation)
    assert [path.name for path in paths] == list(FILES)
    return split, scores, evaluation, tmp_path / "details"


def lines(folder: Path, direction: str) -> list[dict]:
    every = [json.loads(line) for line in (folder / "details.jsonl").read_text().splitlines()]
    return [line for line in every if line["direction"] == direction]


def test_every_query_has_a_line(written):
    split, _, _, folder = written
    assert [line["query"] for line in lines(folder, "i2t")] == split.image_ids
    assert [line["query"] for line in lines(folder, "t2i")] == split.captions


def test_ranks_count_from_one_and_agree_with_the_metrics(written):
    _, _, evaluation, folder = written
    for direction, figures in (("i2t", evaluation.whole.i2t), ("t2i", evaluation.whole.t2i)):
        found = lines(folder, direction)
        assert np.mean([line["rank"] for line in found]) == pytest.approx(figures.mean_rank)
        for cutoff in ("1", "5", "10"):
            assert 100 * np.mean([line["hit"][cutoff] for line in found]) == pytest.approx(figures.hit[int(cutoff)])


def test_the_best_ten_come_highest_first_and_know_which_are_right(written):
    split, scores, _, folder = written
    for row, line in enumerate(lines(folder, "i2t")):
        assert [answer["score"] for answer in line["top"]] == sorted(scores[row].tolist(), reverse=True)[:10]
        for answer in line["top"]:
            assert answer["right"] == answer["id"].startswith(f"{line['query']}#")
    for row, line in enumerate(lines(folder, "t2i")):
        assert len(line["top"]) == 10
        assert line["image"] == split.image_ids[split.caption_image[row]]
        assert all(answer["right"] == (answer["id"] == line["image"]) for answer in line["top"])


def test_trec_files_have_six_and_four_columns_whatever_the_names(written):
    split, _, _, folder = written
    for direction, queries in (("i2t", 12), ("t2i", len(split.captions))):
        run = [line.split(" ") for line in (folder / f"{direction}.run").read_text().splitlines()]
        assert len(run) == 10 * queries
        assert all(len(line) == 6 and line[1] == "Q0" and line[5] == "crossgraph" for line in run)
        qrels = [line.split(" ") for line in (folder / f"{direction}.qrels").read_text().splitlines()]
        assert len(qrels) == len(split.captions)
        assert all(len(line) == 4 for line in qrels)
    assert run[0][0].startswith("image%20")


def test_captions_are_numbered_within_their_image():
    assert caption_ids(["a", "b"], np.array([1, 0, 1])) == ["b#0", "a#0", "b#1"]


def test_an_image_without_captions_has_no_line(tmp_path: Path):
    split = dataclasses.replace(
        tiny_split(images=3), captions=["x", "y"], caption_image=np.array([0, 2]), image_ids=["a", "b", "c"]
    )
    scores = np.eye(3, 2, dtype=np.float32)
    write_details(tmp_path, scores, split, evaluate_scores(scores, split.caption_image, Protocol(resamples=2)))
    assert [line["query"] for line in lines(tmp_path, "i2t")] == ["a", "c"]
