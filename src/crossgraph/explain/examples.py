"""Finds, for captions of a split, the right picture, the best-ranked wrong one, and the best answers both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.data.subset import FeatureSubset
from crossgraph.pipeline import Alignment, alignment_of
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.compatibility import check_run_fits
from crossgraph.scoring.encode import ImageBlocks, SplitCodes, encode_captions
from crossgraph.scoring.engine import ScoringOptions, score_matrix
from crossgraph.scoring.topk import best_captions, best_images

ANSWERS = 5
MAX_CAPTIONS = 12  # of a figure


@dataclass(frozen=True)
class Answer:
    """One ranked picture or caption.

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
class PictureMatch:
    """A picture as an answer to the caption.

    Attributes:
        picture: Its row in the split.
        name: Its id.
        path: Its file, where known.
        rank: Among all pictures for this caption, from 1; equal scores share the best rank.
        alignment: Of the pair.
    """

    picture: int
    name: str
    path: Path | None
    rank: int
    alignment: Alignment


@dataclass(frozen=True)
class CaptionExample:
    """A caption with its right and its best-ranked wrong picture.

    Attributes:
        caption: Its row in the split.
        right: The picture it was written for.
        wrong: The picture that scores highest among those it was not written for.
        pictures: The best pictures for the caption.
        captions: The best captions for the right picture.
    """

    caption: int
    right: PictureMatch
    wrong: PictureMatch
    pictures: list[Answer]
    captions: list[Answer]


def choose_captions(run: Run, split: Split, count: int, seed: int) -> list[int]:
    """Draw captions of different pictures, of those with a word that the run knows.

    Raises:
        InputError: `count` is out of range, or no caption has such a word.
    """
    if not 1 <= count <= MAX_CAPTIONS:
        raise InputError(f"--captions {count}", f"give 1 to {MAX_CAPTIONS}")
    chosen: dict[int, int] = {}  # caption by picture
    order: list[int] = np.random.default_rng(seed).permutation(len(split.captions)).tolist()
    for row in order:
        encoded = run.vocabulary.encode(split.captions[row])
        if encoded.has_known_word:
            chosen.setdefault(int(split.caption_image[row]), row)
        if len(chosen) == count:
            break
    if not chosen:
        raise InputError(f"{run.path}: knows no word of any caption of '{split.name}'", "choose another run or split")
    return list(chosen.values())


def check_captions(captions: Sequence[int], split: Split) -> list[int]:
    """Return the captions asked for, each once.

    Raises:
        InputError: One is not in the split, or there are too many.
    """
    for row in captions:
        if not 0 <= row < len(split.captions):
            many = len(split.captions)
            raise InputError(f"--query {row}: '{split.name}' has {many:,} captions", f"give 0 to {many - 1}")
    if len(set(captions)) > MAX_CAPTIONS:
        raise InputError(f"--query: {len(set(captions))} captions", f"a figure takes {MAX_CAPTIONS}")
    return list(dict.fromkeys(captions))


def find_examples(
    run: Run, split: Split, captions: Sequence[int], report: ProgressCallback | None = None
) -> list[CaptionExample]:
    """Score captions with every picture and their pictures with every caption, and align the right and wrong pairs.

    Args:
        run: Whose model scores.
        split: The gallery, whole.
        captions: Rows of the split's captions.
        report: Progress callback of the scoring.

    Raises:
        InputError: The split does not fit the model or has one picture alone, or a caption has no known word.
    """
    check_run_fits(run, split)
    if len(split.image_ids) < 2:
        raise InputError(f"{split.source or split.name}: one picture alone", "a wrong answer needs at least two")
    rows = [int(split.caption_image[caption]) for caption in captions]
    own_pictures = dataclasses.replace(  # its captions keep belonging to rows of the whole split
        split,
        image_ids=[split.image_ids[row] for row in rows],
        features=FeatureSubset(split.features, np.asarray(rows)),
    )
    with_pictures = _scores(run, split, [split.captions[caption] for caption in captions], report)
    with_captions = _scores(run, own_pictures, split.captions, report)
    return [
        _example(run, split, caption, with_pictures[:, number], with_captions[number])
        for number, caption in enumerate(captions)
    ]


def _example(
    run: Run,
    split: Split,
    caption: int,
    pictures: Float32[np.ndarray, " img"],
    captions: Float32[np.ndarray, " txt"],
) -> CaptionExample:
    """Rank the pictures for a caption, and the captions for its picture, by their scores."""
    right = int(split.caption_image[caption])
    others = pictures.copy()
    others[right] = -np.inf
    best_pictures: list[int] = best_images(pictures[:, None], ANSWERS)[0][0].tolist()
    best_texts: list[int] = best_captions(captions[None], ANSWERS)[0][0].tolist()
    return CaptionExample(
        caption,
        _match(run, split, caption, right, pictures),
        _match(run, split, caption, int(others.argmax()), pictures),
        [
            Answer(row, split.image_ids[row], _path(split, row), float(pictures[row]), row == right)
            for row in best_pictures
        ],
        [
            Answer(row, split.captions[row], None, float(captions[row]), int(split.caption_image[row]) == right)
            for row in best_texts
        ],
    )


def _match(run: Run, split: Split, caption: int, picture: int, scores: Float32[np.ndarray, " img"]) -> PictureMatch:
    path = _path(split, picture)
    alignment = alignment_of(run, split.features.read([picture]), split.captions[caption], path)
    rank = 1 + int((scores > scores[picture]).sum())
    return PictureMatch(picture, split.image_ids[picture], path, rank, alignment)


def _path(split: Split, picture: int) -> Path | None:
    path = split.picture_paths[picture] if len(split.picture_paths) else None
    return path if path is not None and path.is_file() else None


def _scores(
    run: Run, split: Split, sentences: Sequence[str], report: ProgressCallback | None
) -> Float32[np.ndarray, "img txt"]:
    texts = encode_captions(run.model, run.vocabulary, sentences, report=report)
    return score_matrix(run.model, SplitCodes(ImageBlocks(run.model, split), texts), ScoringOptions(progress=report))
