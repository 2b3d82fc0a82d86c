"""The baselines: guessing is exactly chance, a bag of objects finds objects and nothing else."""

from __future__ import annotations

import numpy as np
import torch

from crossgraph.core.types import Regions
from crossgraph.data.split import Split
from crossgraph.evaluate.baselines import bags, chance_scores, fit_bag_of_objects, pool
from crossgraph.scoring.recall import recalls

WORDS = ["cat", "dog", "car", "tree", "kite", "boat", "lamp", "drum"]


class Planted:
    """Features that hold each object's own direction in one region, in any order."""

    encoder = "planted"

    def __init__(self, pairs: list[tuple[int, int]], seed: int) -> None:
        self._pairs = pairs
        noise = np.random.default_rng(seed)
        self._features = 0.05 * noise.standard_normal((len(pairs), 4, 12)).astype(np.float32)
        for row, pair in enumerate(pairs):
            for place, number in enumerate(pair):
                self._features[row, place, number] += 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self._pairs), 4, 12

    def read(self, rows: np.ndarray) -> Regions:
        mask = torch.ones(len(rows), 4, dtype=torch.bool)
        mask[:, 3] = False
        features = torch.from_numpy(self._features[rows].copy())
        features[:, 3] = 1e6  # a padded region must not count
        return Regions(features, mask)

    def fingerprint(self) -> str:
        return "planted"


def planted(name: str, pairs: list[tuple[int, int]], seed: int = 0) -> Split:
    captions = [
        text for a, b in pairs for text in (f"A {WORDS[a]} and a {WORDS[b]}.", f"The {WORDS[b]} near a {WORDS[a]}.")
    ]
    images = np.repeat(np.arange(len(pairs)), 2)
    return Split(name, [f"{k}.png" for k in range(len(pairs))], captions, images, Planted(pairs, seed))


ALL = [(a, b) for a in range(8) for b in range(8) if a < b]


def test_chance_is_what_guessing_gives() -> None:
    split = planted("test", ALL)
    found = recalls(chance_scores(split), split.caption_image)
    images = len(ALL)
    assert np.isclose(found.t2i.recall[1], 100 / images)
    assert np.isclose(found.t2i.recall[10], 1000 / images)
    assert np.isclose(found.i2t.recall[1], 100 * 2 / (2 * images))


def test_the_bag_finds_unseen_pictures_by_their_objects() -> None:
    train, dev = planted("train", ALL * 5, 1), planted("dev", ALL, 2)
    bag = fit_bag_of_objects(train, dev)
    test = planted("test", ALL, 3)
    found = recalls(bag.scores(test), test.caption_image)
    assert found.t2i.recall[1] > 90
    assert found.i2t.recall[1] > 90


def test_the_bag_cannot_see_which_object_comes_first() -> None:
    bag = fit_bag_of_objects(planted("train", ALL * 5, 1), planted("dev", ALL, 2))
    swapped = Split("hard", ["a"], ["A cat and a dog.", "A dog and a cat."], np.array([0, 0]), Planted([(0, 1)], 3))
    left, right = bag.scores(swapped)[0]
    assert np.isclose(left, right)


def test_rare_words_are_left_out_and_padded_regions_do_not_count() -> None:
    train = planted("train", [*ALL * 5, (0, 1)], 1)
    bag = fit_bag_of_objects(train, planted("dev", ALL, 2), minimum=60)
    assert set(bag.words) >= {"a", ".", "and", "near", "the"}
    assert len(bag.words) < 13 + len(WORDS)
    assert pool(train).max() < 2


def test_a_bag_holds_a_word_once_whatever_its_case() -> None:
    assert bags(["A dog and a dog"], ["a", "cat", "dog"]).tolist() == [[1, 0, 1]]
