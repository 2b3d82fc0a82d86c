"""What the demo measures: retrieval on the ordinary and the hard split, and pairs told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph import files
from crossgraph.core.errors import InputError
from crossgraph.data.scenes.plan import FACTORS
from crossgraph.data.split import Split
from crossgraph.evaluate.card import write_card
from crossgraph.evaluate.contrast import Contrast, contrast
from crossgraph.evaluate.job import Job, run_job
from crossgraph.scoring.store import open_scores


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Attributes:
        name: What made the scores.
        test: The card of the ordinary split.
        hard: The card of the hard split.
        pairs: Accuracy within the hard split's pairs, by what they differ in.
    """

    name: str
    test: dict[str, Any]
    hard: dict[str, Any]
    pairs: dict[str, Contrast]


def measure(name: str, matrices: Sequence[Mapping[str, Path]], data: Path, hard: Split, cards: Path) -> Row:
    """Evaluate score matrices on both splits; several are an ensemble.

    Args:
        name: What the row is called.
        matrices: Path of the matrix by split, an entry a model.
        data: The scenes folder.
        hard: The hard split.
        cards: Folder for the cards.
    """
    found: dict[str, dict[str, Any]] = {}
    for split in ("test", "hard"):
        job = Job(runs=[], scores=[paths[split] for paths in matrices], data=data, split=split)
        found[split] = run_job(job, log=lambda line: None)
        write_card(found[split], cards, f"{re.sub('[^a-z]+', '-', name.lower())}-{split}")
    scores = mean_scores([paths["hard"] for paths in matrices])
    pairs = {factor: contrast(scores, hard.caption_image, rows) for factor, rows in hard_pairs(data, hard).items()}
    return Row(name, found["test"], found["hard"], pairs)


def mean_scores(paths: Sequence[Path]) -> np.ndarray:
    """Return the mean of score matrices, float64."""
    return np.mean([np.asarray(open_scores(path).scores, dtype=np.float64) for path in paths], axis=0)


def hard_pairs(data: Path, hard: Split) -> dict[str, list[list[int]]]:
    """Return the rows of the hard split's pairs, by what they differ in; factors without a pair are left out.

    Raises:
        InputError: objects.json does not know a picture of the split.
    """
    path = data / "objects.json"
    known = files.read_json(path, "make the scenes again")
    pairs: dict[tuple[str, int], list[int]] = {}
    for row, image in enumerate(hard.image_ids):
        try:
            what = known["pictures"][f"pictures/{Path(image).name}"]["hard"]
            pairs.setdefault((what["factor"], what["pair"]), []).append(row)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: says nothing about {image}", "make the scenes again") from error
    by_factor = {factor: [rows for (f, _), rows in sorted(pairs.items()) if f == factor] for factor in FACTORS}
    return {factor: rows for factor, rows in by_factor.items() if rows}
