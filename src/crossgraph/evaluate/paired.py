"""Compare two systems on the same queries: differences with paired intervals, and the most changed queries.

Both answer the same queries, so most of what varies between samples of queries varies for both alike: each draw
of the bootstrap takes the same images, with all their queries, for A and for B, and the interval is that of the
difference. It says how far B − A would move with other queries of the same kind; it does not hold the
variance of training, for which one trains several seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from crossgraph.bootstrap import LEVEL, RESAMPLES, draw_counts, interval
from crossgraph.core.errors import InputError
from crossgraph.evaluate.answers import Answered, Answers
from crossgraph.scoring.recall import CUTOFFS

DIRECTIONS = ("i2t", "t2i")
NAMES = (*(f"R@{cutoff}" for cutoff in CUTOFFS), "medR", "meanR")
LOWER_IS_BETTER = ("medR", "meanR")


@dataclass(frozen=True)
class Difference:
    """One figure of both systems and their difference.

    Attributes:
        name: "i2t R@1", ..., "rSum".
        a: Of A.
        b: Of B.
        low: Of the 95 % interval of B − A.
        high: Of it.
    """

    name: str
    a: float
    b: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """B − A."""
        return self.b - self.a

    @property
    def verdict(self) -> str:
        """Which system is better; undecided where the interval contains 0."""
        if self.value == self.low == self.high == 0:
            return "equal"
        if self.low <= 0 <= self.high:
            return "undecided"
        grows = self.low > 0
        return "B is better" if grows != self.name.endswith(LOWER_IS_BETTER) else "A is better"


@dataclass(frozen=True)
class Change:
    """Ranks of one query in both systems.

    Attributes:
        direction: "i2t" or "t2i".
        query: Its id.
        text: The image's id or the caption.
        a: Rank of the best right answer by A, from 1.
        b: By B.
    """

    direction: str
    query: str
    text: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """Comparison of systems A and B.

    Attributes:
        a: A's name.
        b: B's name.
        queries: Queries by direction.
        images: Images that were resampled.
        differences: Figure by figure.
        changes: The queries that changed most, by direction.
        better: Queries that B ranks better, by direction.
        worse: Queries that B ranks worse.
        seed: Of the bootstrap.
    """

    a: str
    b: str
    queries: dict[str, int]
    images: int
    differences: list[Difference]
    changes: dict[str, list[Change]]
    better: dict[str, int]
    worse: dict[str, int]
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "queries": self.queries,
            "images": self.images,
            "differences": {
                found.name: {
                    "a": found.a,
                    "b": found.b,
                    "difference": found.value,
                    "interval": [found.low, found.high],
                    "verdict": found.verdict,
                }
                for found in self.differences
            },
            "better": self.better,
            "worse": self.worse,
            "changed": [vars(change) for some in self.changes.values() for change in some],
            "intervals": {
                "level": LEVEL,
                "method": "paired percentile bootstrap, clustered by image, gallery kept",
                "resamples": RESAMPLES,
                "seed": self.seed,
            },
        }


def compare_answers(a: Answers, b: Answers, queries: int = 10, seed: int = 0) -> Comparison:
    """Compare two systems.

    Args:
        a: One, the baseline where there is one.
        b: The other.
        queries: How many of the most changed queries to name, a direction.
        seed: Of the bootstrap.

    Raises:
        InputError: They were asked other queries.
    """
    pairs = {"i2t": (a.i2t, b.i2t), "t2i": (a.t2i, b.t2i)}
    for direction, (first, second) in pairs.items():
        _check_same(direction, a.name, first, b.name, second)
    names = sorted({image for first, _ in pairs.values() for image in first.images})
    row = {image: number for number, image in enumerate(names)}
    differences: list[Difference] = []
    hits_a = hits_b = 0.0
    hits_drawn = np.zeros(RESAMPLES)
    for direction, (first, second) in pairs.items():
        images = np.array([row[image] for image in first.images])
        drawn = _resampled(first, second, images, len(names), seed)
        low, high = interval(drawn)
        for column, (name, one, other) in enumerate(zip(NAMES, _figures(first), _figures(second), strict=True)):
            differences.append(Difference(f"{direction} {name}", one, other, float(low[column]), float(high[column])))
        hits_a, hits_b = hits_a + sum(_figures(first)[:3]), hits_b + sum(_figures(second)[:3])
        hits_drawn += drawn[:, : len(CUTOFFS)].sum(axis=1)
    low, high = interval(hits_drawn)
    differences.append(Difference("rSum", hits_a, hits_b, float(low), float(high)))
    return Comparison(
        a=a.name,
        b=b.name,
        queries={direction: len(first.queries) for direction, (first, _) in pairs.items()},
        images=len(names),
        differences=differences,
        changes={direction: _most_changed(direction, *pair, queries) for direction, pair in pairs.items()},
        better={direction: int((other.rank < one.rank).sum()) for direction, (one, other) in pairs.items()},
        worse={direction: int((other.rank > one.rank).sum()) for direction, (one, other) in pairs.items()},
        seed=seed,
    )


def _check_same(direction: str, name: str, a: Answered, other: str, b: Answered) -> None:
    remedy = "compare what was evaluated on the same split of the same data"
    if len(a.queries) != len(b.queries):
        raise InputError(
            f"{name} and {other} were asked {len(a.queries):,} and {len(b.queries):,} {direction} queries", remedy
        )
    for one, two in ((a.queries, b.queries), (a.texts, b.texts), (a.images, b.images)):
        for number, (left, right) in enumerate(zip(one, two, strict=True)):
            if left != right:
                raise InputError(
                    f"{name} and {other} were asked different {direction} queries: "
                    f"number {number + 1} is '{left}' and '{right}'",
                    remedy,
                )


def _figures(found: Answered) -> list[float]:
    """Return R@1, R@5, R@10 in percent, medR and meanR, exact where the sums are."""
    hits = [100.0 * float(found.hit[:, column].sum()) / len(found.rank) for column in range(len(CUTOFFS))]
    return [*hits, math.floor(float(np.median(found.rank))) + 1.0, float(found.rank.mean()) + 1.0]


def _resampled(
    a: Answered, b: Answered, image: Int[np.ndarray, " query"], images: int, seed: int
) -> Float[np.ndarray, "resample figure"]:
    """Return B − A of every draw; both directions and systems use the same images."""
    counts = np.bincount(image, minlength=images).astype(np.float64)
    found: list[np.ndarray] = []
    for times in draw_counts(images, [seed], row_size=len(image)):
        asked = (times @ counts)[:, None]
        parts = [_drawn_figures(one, image, images, times, asked) for one in (a, b)]
        found.append(parts[1] - parts[0])
    return np.concatenate(found)


def _drawn_figures(
    found: Answered,
    image: Int[np.ndarray, " query"],
    images: int,
    times: Float[np.ndarray, "draw image"],
    asked: Float[np.ndarray, "draw 1"],
) -> Float[np.ndarray, "draw figure"]:
    columns = np.column_stack([100.0 * found.hit, found.rank + 1.0])
    sums = np.stack([np.bincount(image, column, images) for column in columns.T], axis=1)
    means = (times @ sums) / asked
    order = np.argsort(found.rank, kind="stable")
    upto = np.cumsum(times[:, image[order]], axis=1)
    middle = [
        found.rank[order][np.minimum((upto <= place).sum(axis=1), len(order) - 1)]
        for place in ((asked[:, :1] - 1) // 2, asked[:, :1] // 2)
    ]
    median = np.floor((middle[0] + middle[1]) / 2) + 1.0
    return np.column_stack([means[:, : len(CUTOFFS)], median, means[:, len(CUTOFFS)]])


def _most_changed(direction: str, a: Answered, b: Answered, count: int) -> list[Change]:
    """Return the queries whose rank changed by the largest factor: from 1 to 9 is more than from 400 to 500."""
    factor = np.abs(np.log(b.rank + 1.0) - np.log(a.rank + 1.0))
    rows: list[int] = np.argsort(-factor, kind="stable")[:count].tolist()
    return [
        Change(direction, a.queries[row], a.texts[row], float(a.rank[row]) + 1, float(b.rank[row]) + 1)
        for row in rows
        if factor[row] > 0
    ]
