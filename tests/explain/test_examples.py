"""A caption's right and best-ranked wrong picture are those that the scores of the whole split say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from references.tiny_pairs import tiny_split
from references.tiny_run import WORDS, write_tiny_run

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.explain.examples import check_captions, choose_captions, find_examples
from crossgraph.runs import Run, load_run
from crossgraph.scoring.engine import score_split


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(write_tiny_run(tmp_path_factory.mktemp("pairs") / "run", "sgr"))


@pytest.fixture(scope="module")
def split() -> Split:
    made = tiny_split("test", 9, width=6, regions=4)
    random = np.random.default_rng(0)
    return dataclasses.replace(made, captions=[" ".join(random.choice(WORDS, 6)) for _ in made.captions])


def test_pairs_and_answers_are_those_of_the_whole_score_matrix(run, split):
    scores = score_split(run.model, run.vocabulary, split)
    for pair in find_examples(run, split, [3, 11]):
        right = int(split.caption_image[pair.caption])
        column = scores[:, pair.caption]
        assert pair.right.picture == right
        assert pair.right.rank == 1 + (column > column[right]).sum()
        assert pair.wrong.picture == max((row for row in range(9) if row != right), key=lambda row: column[row])
        assert pair.right.alignment.score == pytest.approx(column[right], abs=1e-5)
        assert pair.wrong.alignment.score == pytest.approx(column[pair.wrong.picture], abs=1e-5)
        assert [answer.row for answer in pair.pictures] == np.argsort(-column, kind="stable")[:5].tolist()
        assert [answer.row for answer in pair.captions] == np.argsort(-scores[right], kind="stable")[:5].tolist()
        assert [answer.right for answer in pair.pictures] == [answer.row == right for answer in pair.pictures]
        assert [answer.right for answer in pair.captions] == [answer.row // 2 == right for answer in pair.captions]


def test_captions_drawn_at_random_are_of_different_pictures_and_the_same_each_time(run, split):
    chosen = choose_captions(run, split, 5, seed=1)
    assert len({int(split.caption_image[row]) for row in chosen}) == 5
    assert chosen == choose_captions(run, split, 5, seed=1)
    assert chosen != choose_captions(run, split, 5, seed=2)


def test_a_caption_of_no_known_word_is_not_drawn(run, split):
    strange = dataclasses.replace(split, captions=["zorb", *["a dog"] * 17])
    drawn = {row for seed in range(30) for row in choose_captions(run, strange, 1, seed)}
    assert 0 not in drawn
    with pytest.raises(InputError, match="knows no word"):
        choose_captions(run, dataclasses.replace(split, captions=["zorb"] * 18), 1, 0)
    with pytest.raises(InputError, match="knows no word"):
        find_examples(run, strange, [0])


def test_captions_asked_for_are_taken_once_and_must_be_there(split):
    assert check_captions([4, 2, 4], split) == [4, 2]
    for wrong in ([18], [-1], list(range(13))):
        with pytest.raises(InputError, match="--query"):
            check_captions(wrong, split)


def test_a_single_picture_has_no_wrong_one(run, split):
    alone = dataclasses.replace(split, image_ids=["a"], captions=["a dog"], caption_image=np.zeros(1, np.int64))
    with pytest.raises(InputError, match="at least two"):
        find_examples(run, alone, [0])


def test_pictures_whose_files_are_gone_have_no_path(run, split):
    paths = [Path(f"/nowhere/{row}.png") for row in range(9)]
    (pair,) = find_examples(run, dataclasses.replace(split, picture_paths=paths), [0])
    assert pair.right.path is None
    assert all(answer.path is None for answer in pair.pictures)
