"""How far a cascade looks a second time: chosen on dev, once.

The least margins are taken by which no recall there differs by more than `TOLERANCE` from that of all pairs.
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
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.nearness import short_lists
from crossgraph.evaluate.second_look import FIRST_CAPTIONS, FIRST_PICTURES, Guess, guess_from
from crossgraph.files import read_json, write_json
from crossgraph.scoring.recall import CUTOFFS

FORMAT_VERSION = 2
FILE = "cascade.json"
TOLERANCE = 0.05  # percentage points of any recall on dev: half of what is promised
CHOICES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0)
_QUERIES = 256  # looked at in one go
# queries with all answers; blocks differ in size
_Block = tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"], Bool[np.ndarray, "_ _"]]


@dataclass(frozen=True)
class Margins:
    """Margins of a second look.

    Attributes:
        captions: Below the tenth best of a caption, in deviations of the guess; None: all pairs are scored.
        pictures: Below the tenth best of a picture.
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
) -> Margins:
    """Choose margins on a split.

    Args:
        bundle: With a sieve, a head or a retriever.
        split: Dev.
        scores: The re-ranker's, of all pairs.
        near: How near they are by what brings pairs up.
    """
    chosen = short_lists(near, FIRST_PICTURES, FIRST_CAPTIONS)
    guess = guess_from(near, chosen, [row[some] for row, some in zip(scores, chosen, strict=True)])
    captions, pictures = (
        least_margin(_blocks(near, guess, scores, chosen, split, of_captions), guess.deviation)
        for of_captions in (True, False)
    )
    worst = max(captions[1], pictures[1])
    return Margins(captions[0], pictures[0], split.fingerprint(), fingerprint(bundle), worst)


def least_margin(blocks: Iterable[_Block], deviation: float) -> tuple[float | None, float]:
    """Return the least margin by which recalls stay, and by how much the worst of them differs then.

    Args:
        blocks: Queries with all answers: scores, by how much a guess is below the tenth best (minus infinity for
            what is scored anyway), and which answers are right. Queries without a right one do not count.
        deviation: Of the guess.
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


def read_margins(folder: Path) -> Margins | None:
    """Return margins that a bundle's folder keeps; None where there are none, or not whole, or of another kind."""
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
        found = Margins(**entries)
        known = all(one is None or one in CHOICES for one in (found.captions, found.pictures))
        return found if known and 0 <= found.difference <= TOLERANCE else None
    except TypeError:
        return None


def keep_margins(folder: Path, margins: Margins) -> None:
    """Write margins into a bundle's folder; one that cannot be written can still be evaluated."""
    with contextlib.suppress(InputError):
        write_json(folder / FILE, {"format_version": FORMAT_VERSION, **asdict(margins)})


def fingerprint(bundle: Bundle) -> str:
    """Return a digest of all weights that margins depend on."""
    if bundle.sieve is None:
        return bundle.fingerprint
    digest = hashlib.sha256(bundle.fingerprint.encode())
    for name, tensor in sorted(bundle.sieve.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _blocks(
    near: Float32[np.ndarray, "img txt"],
    guess: Guess,
    scores: Float32[np.ndarray, "img txt"],
    chosen: Sequence[Int64[np.ndarray, " _"]],
    split: Split,
    of_captions: bool,
) -> Iterator[_Block]:
    """Give queries in blocks: captions with all pictures, or pictures with all captions."""
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
