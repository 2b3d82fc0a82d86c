"""Baselines: guessing, and a bag of objects that knows which objects there are but not how they relate.

The bag of objects sees a picture as the mean of its regions and a sentence as the set of its words. Which
words a picture suggests is learned by ridge regression on the train split; a pair's score is the cosine
between the suggested and the written words. Order, place and number are lost on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from crossgraph.data.split import Split
from crossgraph.scoring.recall import recalls
from crossgraph.text.tokenizer import tokenize

READ_AT_ONCE = 256
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)


def chance_scores(split: Split) -> Float32[np.ndarray, "img txt"]:
    """Return equal scores for all pairs: with ties at their expected rank, exactly what guessing gives."""
    return np.zeros((len(split.image_ids), len(split.captions)), dtype=np.float32)


@dataclass(frozen=True)
class BagOfObjects:
    """A fitted bag-of-objects baseline.

    Attributes:
        words: The words of the train captions that are common enough, by column.
        weights: Inverse document frequency of each word.
        mean: Of the pooled features.
        spread: Standard deviation of the pooled features.
        usual: Mean word vector of the train pictures.
        map: From standardised pooled features to what differs from `usual`.
        strength: Of the ridge, relative to the features' mean variance; chosen on dev.
    """

    words: Sequence[str]
    weights: Float[np.ndarray, " word"]
    mean: Float[np.ndarray, " feature"]
    spread: Float[np.ndarray, " feature"]
    usual: Float[np.ndarray, " word"]
    map: Float[np.ndarray, "feature word"]
    strength: float

    def scores(self, split: Split) -> Float32[np.ndarray, "img txt"]:
        """Return the cosine of every picture's predicted words with every caption's words."""
        pooled = (pool(split) - self.mean) / self.spread
        suggested = _unit(pooled @ self.map)
        written = _unit(bags(split.captions, self.words) * self.weights - self.usual)
        return (suggested @ written.T).astype(np.float32)


def fit_bag_of_objects(train: Split, dev: Split, minimum: int = 4) -> BagOfObjects:
    """Fit the words that a picture's mean region predicts.

    Args:
        train: Learned from.
        dev: Chooses the strength of the ridge, by rSum.
        minimum: Captions that a word must occur in.
    """
    words = _common_words(train.captions, minimum)
    written = bags(train.captions, words)
    weights = np.log(len(written) / np.maximum(1.0, written.sum(axis=0)))
    counts = np.bincount(train.caption_image, minlength=len(train.image_ids))
    per_picture = np.zeros((len(train.image_ids), len(words)))
    np.add.at(per_picture, train.caption_image, written * weights)
    per_picture /= np.maximum(1, counts)[:, None]
    pooled = pool(train)
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
    usual = per_picture.mean(axis=0)
    standard = (pooled - mean) / spread
    values, axes = np.linalg.eigh(standard.T @ standard)
    turned = axes.T @ (standard.T @ (per_picture - usual))
    fitted: list[tuple[float, BagOfObjects]] = []
    for strength in STRENGTHS:
        solved = axes @ (turned / (values + strength * len(standard))[:, None])
        bag = BagOfObjects(words, weights, mean, spread, usual, solved, strength)
        fitted.append((recalls(bag.scores(dev), dev.caption_image).rsum, bag))
    return max(fitted, key=lambda pair: pair[0])[1]


def pool(split: Split) -> Float[np.ndarray, "img feature"]:
    """Return the mean over each picture's regions."""
    rows = np.arange(len(split.image_ids))
    parts: list[np.ndarray] = []
    for start in range(0, len(rows), READ_AT_ONCE):
        regions = split.features.read(rows[start : start + READ_AT_ONCE])
        mask = regions.mask[..., None].to(regions.features.dtype)
        parts.append(((regions.features * mask).sum(1) / mask.sum(1)).numpy())
    return np.concatenate(parts).astype(np.float64)


def bags(captions: Sequence[str], words: Sequence[str]) -> Float[np.ndarray, "caption word"]:
    """Return which of the words each caption holds, as 0 and 1."""
    column = {word: k for k, word in enumerate(words)}
    found = np.zeros((len(captions), len(words)))
    for row, caption in enumerate(captions):
        for word in {word.text for word in tokenize(caption)} & column.keys():
            found[row, column[word]] = 1.0
    return found


def _common_words(captions: Sequence[str], minimum: int) -> list[str]:
    counts: dict[str, int] = {}
    for caption in captions:
        for word in {word.text for word in tokenize(caption)}:
            counts[word] = counts.get(word, 0) + 1
    return sorted(word for word, count in counts.items() if count >= minimum)


def _unit(rows: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    return rows / np.maximum(1e-12, np.linalg.norm(rows, axis=1, keepdims=True))
