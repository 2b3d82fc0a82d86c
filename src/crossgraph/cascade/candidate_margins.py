"""Candidate margins: how far below the k-th best score an estimate may lie and still be scored; chosen on dev.

The smallest margins are chosen whose recalls on dev all differ by at most `TOLERANCE` from those of all pairs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, Int64

from crossgraph.bundle.bundle import Bundle
from crossgraph.cascade.candidate_expansion import FIRST_CAPTIONS, FIRST_PICTURES, ScoreEstimate, estimate_scores
from crossgraph.cascade.coarse_scores import short_lists
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.files import read_json, write_json
from crossgraph.scoring.recall import CUTOFFS

FORMAT_VERSION = 2
FILE = "cascade.json"
TOLERANCE = 0.05  # percentage points of any recall on dev: half of what the docs promise
CHOICES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0)
_QUERIES = 256  # per block
# Scores, distances below the k-th best, and right answers of some queries; blocks differ in size
_Block = tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"], Bool[np.ndarray, "_ _"]]


@dataclass(frozen=True)
class CandidateMargins:
    """The margins of candidate expansion.

    Attributes:
        captions: Margin below the k-th best score of a caption, in deviations of the estimate; None scores all pairs.
        pictures: Margin below the k-th best score of a picture.
        dev: Fingerprint of the split they were chosen on.
        bundle: Fingerprint of the weights.
        difference: The largest difference of a recall on dev, in percentage points.
    """

    captions: float | None
    pictures: float | None
    dev: str
    bundle: str
    difference: float


def choose_margins(
    bundle: Bundle,
    split: Split,
    scores: Float32[np.ndarray, "img txt"],
    near: Float32[np.ndarray, "img txt"],
) -> CandidateMargins:
    """Choose margins on a split.

    Args:
        bundle: With a late-interaction retriever, an index head or a retriever.
        split: Dev.
        scores: The re-ranker's scores of all pairs.
        near: Coarse scores.
    """
    chosen = short_lists(near, FIRST_PICTURES, FIRST_CAPTIONS)
    guess = estimate_scores(near, chosen, [row[some] for row, some in zip(scores, chosen, strict=True)])
    captions, pictures = (
        smallest_margin(_blocks(near, guess, scores, chosen, split, of_captions), guess.deviation)
        for of_captions in (True, False)
    )
    worst = max(captions[1], pictures[1])
    return CandidateMargins(captions[0], pictures[0], split.fingerprint(), fingerprint(bundle), worst)


def smallest_margin(blocks: Iterable[_Block], deviation: float) -> tuple[float | None, float]:
    """Return the smallest margin that keeps recalls within `TOLERANCE`, and the largest difference it leaves.

    Args:
        blocks: Queries with all answers: scores, distance of the estimate below the k-th best score (minus infinity for
            pairs that are scored anyway), and which answers are right. Queries without a right answer do not count.
        deviation: Of the estimate.
    """
    asked, hits = 0, np.zeros((len(CHOICES) + 1, len(CUTOFFS)))
    for scores, missing, right in blocks:
        asked += int(right.any(axis=1).sum())
        for number in range(len(CHOICES) + 1):
            within = number == len(CHOICES) or missing < CHOICES[number] * deviation
            known = np.where(within, scores, -np.inf)
            best = np.where(right, known, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
            above = np.count_nonzero(known > best, axis=1)[np.isfinite(best[:, 0])]
            hits[number] += [np.count_nonzero(above < cutoff) for cutoff in CUTOFFS]
    recalls = 100 * hits / max(1, asked)
    worst = np.abs(recalls - recalls[-1]).max(axis=1)
    chosen = next(number for number in range(len(worst)) if (worst[number:] <= TOLERANCE).all())
    return (CHOICES[chosen] if chosen < len(CHOICES) else None), float(worst[chosen])


def read_margins(folder: Path) -> CandidateMargins | None:
    """Read the margins in a bundle's folder; None where there are none, or they are incomplete or invalid."""
    try:
        values: object = read_json(folder / FILE)
    except InputError:
        return None
    if not isinstance(values, dict):
        return None
    entries = dict(cast("Mapping[str, Any]", values))
    if entries.pop("format_version", None) != FORMAT_VERSION:
        return None
    try:
        found = CandidateMargins(**entries)
        known = all(one is None or one in CHOICES for one in (found.captions, found.pictures))
        return found if known and 0 <= found.difference <= TOLERANCE else None
    except TypeError:
        return None


def write_margins(folder: Path, margins: CandidateMargins) -> None:
    """Write margins into a bundle's folder; a read-only bundle can still be evaluated."""
    with contextlib.suppress(InputError):
        write_json(folder / FILE, {"format_version": FORMAT_VERSION, **asdict(margins)})


def fingerprint(bundle: Bundle) -> str:
    """Return a digest of the weights that the margins depend on."""
    if bundle.late_interaction is None:
        return bundle.fingerprint
    digest = hashlib.sha256(bundle.fingerprint.encode())
    for name, tensor in sorted(bundle.late_interaction.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _blocks(
    near: Float32[np.ndarray, "img txt"],
    guess: ScoreEstimate,
    scores: Float32[np.ndarray, "img txt"],
    chosen: Sequence[Int64[np.ndarray, " _"]],
    split: Split,
    of_captions: bool,
) -> Iterator[_Block]:
    """Yield blocks of queries: captions with all pictures, or pictures with all captions."""
    scored = np.zeros(near.shape, dtype=bool)
    for row, some in zip(scored, chosen, strict=True):
        row[some] = True
    every, rows = slice(None), np.arange(len(near))[:, None]
    for some in _slices(near.shape[1] if of_captions else len(near)):
        where = (every, some) if of_captions else (some, every)
        missing = guess.missing(near, *where)[0 if of_captions else 1]
        missing[scored[where]] = -np.inf
        right = rows[where[0]] == split.caption_image[where[1]]
        yield (scores[where].T, missing.T, right.T) if of_captions else (scores[where], missing, right)


def _slices(count: int) -> Iterator[slice]:
    return (slice(first, min(first + _QUERIES, count)) for first in range(0, count, _QUERIES))
