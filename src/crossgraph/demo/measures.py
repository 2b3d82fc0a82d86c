"""Scores the demo's models and baselines, and measures retrieval and pairs told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph import files
from crossgraph.core.errors import InputError
from crossgraph.data.dataset import DataSet
from crossgraph.data.scenes.plan import FACTORS
from crossgraph.data.split import Split
from crossgraph.evaluate.baselines import chance_scores, fit_bag_of_objects
from crossgraph.evaluate.card import write_card
from crossgraph.evaluate.contrast import Contrast, contrast
from crossgraph.evaluate.job import Job, run_job
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import pairs_fingerprint
from crossgraph.runs import load_run
from crossgraph.scoring.engine import ScoringOptions, choose_device, score_blocks_of_split
from crossgraph.scoring.score_file import ScoreInfo, describe_score, open_scores, write_scores

BASELINES = ("chance", "bag of objects")
SPLITS = ("test", "hard")


def score_models(
    runs: Path, names: tuple[str, ...], data: DataSet, out: Path, progress: Callable[[str], ProgressCallback]
) -> dict[str, dict[str, Path]]:
    """Score both splits with every run; files made from the same weights and data stay.

    Args:
        runs: Folder of the runs.
        names: Their names.
        data: The scenes.
        out: Folder of the score files.
        progress: Returns the progress callback of a task.

    Returns:
        Path of the score file by model and split.
    """
    paths: dict[str, dict[str, Path]] = {}
    for name in names:
        run = load_run(runs / name)
        for split in map(data.split, SPLITS):
            path = out / f"{name}-{split.name}.npy"
            paths.setdefault(name, {})[split.name] = path
            info = describe_score(run, split, choose_device("cpu"), "float32")
            if not _is_current(path, info):
                report = progress(f"scoring {split.name} with {name}")
                portions = score_blocks_of_split(
                    run.model, run.vocabulary, split, ScoringOptions(progress=report, name=name)
                )
                write_scores(path, portions, (len(split.image_ids), len(split.captions)), info)
    return paths


def score_baselines(data: DataSet, out: Path) -> dict[str, dict[str, Path]]:
    """Score both splits by chance and with a bag of objects fitted on train and dev.

    Returns:
        Path of the score file by baseline and split.
    """
    splits = [data.split(name) for name in SPLITS]
    paths = {name: {s.name: out / f"{name.replace(' ', '-')}-{s.name}.npy" for s in splits} for name in BASELINES}
    infos = {(name, split.name): _baseline_info(name, split) for name in BASELINES for split in splits}
    if all(_is_current(paths[name][split], info) for (name, split), info in infos.items()):
        return paths
    bag = fit_bag_of_objects(data.split("train"), data.split("dev"))
    for split in splits:
        for name, scores in zip(BASELINES, (chance_scores(split), bag.scores(split)), strict=True):
            write_scores(paths[name][split.name], iter([scores]), scores.shape, infos[name, split.name])
    return paths


def _is_current(path: Path, wanted: ScoreInfo) -> bool:
    """Return whether a score file exists and was made from these weights, pictures, captions and features."""
    if not path.exists():
        return False
    info = open_scores(path).info
    return info is not None and _made_from(info) == _made_from(wanted)


def _made_from(info: ScoreInfo) -> tuple[str | None, ...]:
    return info.pairs, info.features, info.models[0].get("weights_sha256")


def _baseline_info(name: str, split: Split) -> ScoreInfo:
    return ScoreInfo(
        models=[{"run": name, "model": name}],
        split=split.name,
        pairs=pairs_fingerprint(split),
        features=split.features.fingerprint(),
        region_encoder=split.features.encoder,
        precision="float64",
        device="cpu",
    )


@dataclass(frozen=True)
class Row:
    """One row of the demo's tables.

    Attributes:
        name: The model or baseline.
        test: The card of the ordinary split.
        hard: The card of the hard split.
        pairs: Accuracy within the hard split's pairs, by what they differ in.
    """

    name: str
    test: dict[str, Any]
    hard: dict[str, Any]
    pairs: dict[str, Contrast]


def measure(name: str, matrices: Sequence[Mapping[str, Path]], data: Path, hard: Split, cards: Path) -> Row:
    """Evaluate score files on both splits; several are an ensemble.

    Args:
        name: Of the row.
        matrices: Path of the score file by split, one entry for each model.
        data: The scenes folder.
        hard: The hard split.
        cards: Folder for the cards.
    """
    by_split: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        job = Job(runs=[], scores=[paths[split] for paths in matrices], data=data, split=split)
        by_split[split] = run_job(job, log=lambda line: None)
        write_card(by_split[split], cards, f"{re.sub('[^a-z]+', '-', name.lower())}-{split}")
    scores = mean_scores([paths["hard"] for paths in matrices])
    pairs = {factor: contrast(scores, hard.caption_image, rows) for factor, rows in hard_pairs(data, hard).items()}
    return Row(name, by_split["test"], by_split["hard"], pairs)


def mean_scores(paths: Sequence[Path]) -> np.ndarray:
    """Return the mean of score files, in float64."""
    return np.mean([np.asarray(open_scores(path).scores, dtype=np.float64) for path in paths], axis=0)


def hard_pairs(data: Path, hard: Split) -> dict[str, list[list[int]]]:
    """Return the rows of the hard split's pairs, by what they differ in; factors without a pair are left out.

    Raises:
        InputError: objects.json does not know a picture of the split.
    """
    path = data / "objects.json"
    objects = files.read_json(path, "make the scenes again")
    pairs: dict[tuple[str, int], list[int]] = {}
    for row, image in enumerate(hard.image_ids):
        try:
            hard_pair = objects["pictures"][f"pictures/{Path(image).name}"]["hard"]
            pairs.setdefault((hard_pair["factor"], hard_pair["pair"]), []).append(row)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: says nothing about {image}", "make the scenes again") from error
    by_factor = {factor: [rows for (f, _), rows in sorted(pairs.items()) if f == factor] for factor in FACTORS}
    return {factor: rows for factor, rows in by_factor.items() if rows}
