"""For some captions of a split: the right picture, the best-ranked wrong one, and what is found both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int64

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.split import FeatureSource, Split
from crossgraph.pipeline import Alignment, alignment_of
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.encode import ImageBlocks, SplitCodes, encode_captions
from crossgraph.scoring.engine import score_matrix
from crossgraph.scoring.fit import check_run_fits
from crossgraph.scoring.topk import best_captions, best_images

BEST = 5
MOST = 12  # captions of a figure


@dataclass(frozen=True)
class Answer:
    """One place of a ranking.

    Attributes:
        row: Of the picture or caption in its split.
        name: The picture's id, or the caption.
        path: The picture's file, where known; None for captions.
        score: Of the pair.
        right: Whether caption and picture belong together.
    """

    row: int
    name: str
    path: Path | None
    score: float
    right: bool


@dataclass(frozen=True)
class Side:
    """The caption with one picture.

    Attributes:
        picture: Its row in the split.
        name: Its id.
        path: Its file, where known.
        rank: Its place among all pictures for this caption, from 1; equal scores share the best one.
        alignment: Of the pair.
    """

    picture: int
    name: str
    path: Path | None
    rank: int
    alignment: Alignment


@dataclass(frozen=True)
class PairOfPairs:
    """A caption with its right and its best-ranked wrong picture.

    Attributes:
        caption: Its row in the split.
        right: The picture it was written for.
        wrong: The picture that scores highest among those it was not written for.
        pictures: The best of the gallery for the caption.
        captions: The best of the split for the right picture.
    """

    caption: int
    right: Side
    wrong: Side
    pictures: list[Answer]
    captions: list[Answer]


def choose_captions(run: Run, split: Split, count: int, seed: int) -> list[int]:
    """Draw captions of different pictures, of those with a word that the run knows.

    Raises:
        InputError: `count` is out of range, or no caption has such a word.
    """
    if not 1 <= count <= MOST:
        raise InputError(f"--captions {count}", f"give 1 to {MOST}")
    chosen: list[int] = []
    pictures: set[int] = set()
    order: list[int] = np.random.default_rng(seed).permutation(len(split.captions)).tolist()
    for row in order:
        encoded = run.vocabulary.encode(split.captions[row])
        if encoded.has_known_word and int(split.caption_image[row]) not in pictures:
            chosen.append(row)
            pictures.add(int(split.caption_image[row]))
        if len(chosen) == count:
            break
    if not chosen:
        raise InputError(f"{run.path}: knows no word of any caption of '{split.name}'", "choose another run or split")
    return chosen


def check_captions(captions: Sequence[int], split: Split) -> list[int]:
    """Return the captions asked for, each once.

    Raises:
        InputError: One is not in the split, or there are too many.
    """
    for row in captions:
        if not 0 <= row < len(split.captions):
            many = len(split.captions)
            raise InputError(f"--query {row}: '{split.name}' has {many:,} captions", f"give 0 to {many - 1}")
    if len(set(captions)) > MOST:
        raise InputError(f"--query: {len(set(captions))} captions", f"a figure takes {MOST}")
    return list(dict.fromkeys(captions))


def find_pairs(
    run: Run, split: Split, captions: Sequence[int], report: ProgressCallback | None = None
) -> list[PairOfPairs]:
    """Score the captions with every picture, their pictures with every caption, and look inside the pairs.

    Args:
        run: Whose model scores.
        split: The gallery, whole.
        captions: Rows of the split's captions.
        report: Hears how far the scoring is.

    Raises:
        InputError: The split does not fit the model or has one picture alone, or a caption has no known word.
    """
    check_run_fits(run, split)
    if len(split.image_ids) < 2:
        raise InputError(f"{split.source or split.name}: one picture alone", "a wrong answer needs at least two")
    rows = [int(split.caption_image[caption]) for caption in captions]
    sentences = [split.captions[caption] for caption in captions]
    with_pictures = _scores(run, split, sentences, report)
    with_captions = _scores(run, _some_pictures(split, rows), split.captions, report)
    return [
        _pair(run, split, caption, with_pictures[:, number], with_captions[number])
        for number, caption in enumerate(captions)
    ]


def _pair(
    run: Run,
    split: Split,
    caption: int,
    pictures: Float32[np.ndarray, " img"],
    captions: Float32[np.ndarray, " txt"],
) -> PairOfPairs:
    right = int(split.caption_image[caption])
    others = pictures.copy()
    others[right] = -np.inf
    images, image_scores = best_images(pictures[:, None], BEST)
    texts, text_scores = best_captions(captions[None], BEST)
    return PairOfPairs(
        caption,
        _side(run, split, caption, right, pictures),
        _side(run, split, caption, int(others.argmax()), pictures),
        [
            Answer(row, split.image_ids[row], _path(split, row), float(score), row == right)
            for row, score in _places(images, image_scores)
        ],
        [
            Answer(row, split.captions[row], None, float(score), int(split.caption_image[row]) == right)
            for row, score in _places(texts, text_scores)
        ],
    )


def _places(rows: Int64[np.ndarray, "1 place"], scores: Float[np.ndarray, "1 place"]) -> list[tuple[int, float]]:
    return [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]


def _side(run: Run, split: Split, caption: int, picture: int, scores: Float32[np.ndarray, " img"]) -> Side:
    path = _path(split, picture)
    alignment = alignment_of(run, split.features.read([picture]), split.captions[caption], path)
    rank = 1 + int((scores > scores[picture]).sum())
    return Side(picture, split.image_ids[picture], path, rank, alignment)


def _path(split: Split, picture: int) -> Path | None:
    path = split.picture_paths[picture] if len(split.picture_paths) else None
    return path if path is not None and path.is_file() else None


def _scores(
    run: Run, split: Split, sentences: Sequence[str], report: ProgressCallback | None
) -> Float32[np.ndarray, "img txt"]:
    texts = encode_captions(run.model, run.vocabulary, sentences, report=report)
    return score_matrix(run.model, SplitCodes(ImageBlocks(run.model, split), texts), report=report)


def _some_pictures(split: Split, rows: Sequence[int]) -> Split:
    """Return a split of some pictures for scoring alone: its captions keep belonging to the whole's rows."""
    return dataclasses.replace(
        split,
        image_ids=[split.image_ids[row] for row in rows],
        features=_SomeRows(split.features, np.asarray(rows, dtype=np.int64)),
    )


class _SomeRows:
    """Some rows of a feature source, in their order."""

    def __init__(self, features: FeatureSource, rows: Int64[np.ndarray, " row"]) -> None:
        self._features, self._rows = features, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return len(self._rows), *self._features.shape[1:]

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " row"]) -> Regions:
        """Read pictures by row, in the given order."""
        return self._features.read(self._rows[np.asarray(rows, dtype=np.int64)])

    def fingerprint(self) -> str:
        """Return the whole source's digest."""
        return self._features.fingerprint()

    @property
    def encoder(self) -> str:
        """Name of the region encoder that made them."""
        return self._features.encoder
