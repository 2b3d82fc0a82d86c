"""Score matrices of the demo's models and baselines, kept beside them and made again when these change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossgraph.data.dataset import DataSet
from crossgraph.data.split import Split
from crossgraph.evaluate.baselines import chance_scores, fit_bag_of_objects
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import pairs_fingerprint
from crossgraph.runs import Run, load_run
from crossgraph.scoring.engine import choose_device, split_portions
from crossgraph.scoring.store import ScoreInfo, describe_score, open_scores, write_scores

BASELINES = ("chance", "bag of objects")
SPLITS = ("test", "hard")


def score_models(
    runs: Path, names: tuple[str, ...], data: DataSet, out: Path, report: Callable[[str], ProgressCallback]
) -> dict[str, dict[str, Path]]:
    """Score both splits with every run; what is there from the same weights and data stays.

    Args:
        runs: Folder of the runs.
        names: Which runs.
        data: The scenes.
        out: Folder of the matrices.
        report: Makes, for a task's name, what hears how far it is.

    Returns:
        Path of the matrix by model and split.
    """
    paths: dict[str, dict[str, Path]] = {}
    for name in names:
        run = load_run(runs / name)
        for split in (data.split(which) for which in SPLITS):
            path = out / f"{name}-{split.name}.npy"
            paths.setdefault(name, {})[split.name] = path
            if not _is_fresh(path, run, split):
                info = describe_score(run, split, choose_device("cpu"), "float32")
                told = report(f"scoring {split.name} with {name}")
                portions = split_portions(run.model, run.vocabulary, split, report=told, name=name)
                write_scores(path, portions, (len(split.image_ids), len(split.captions)), info)
    return paths


def score_baselines(data: DataSet, out: Path) -> dict[str, dict[str, Path]]:
    """Score both splits by guessing and with a bag of objects fitted on train and dev.

    Returns:
        Path of the matrix by baseline and split.
    """
    splits = [data.split(which) for which in SPLITS]
    paths = {name: {s.name: out / f"{name.replace(' ', '-')}-{s.name}.npy" for s in splits} for name in BASELINES}
    if all(_is_fresh(paths[name][split.name], None, split) for name in BASELINES for split in splits):
        return paths
    bag = fit_bag_of_objects(data.split("train"), data.split("dev"))
    for split in splits:
        _keep(paths["chance"][split.name], "chance", chance_scores(split), split)
        _keep(paths["bag of objects"][split.name], "bag of objects", bag.scores(split), split)
    return paths


def _is_fresh(path: Path, run: Run | None, split: Split) -> bool:
    """Tell whether a matrix is there and was made from these weights, pictures, captions and features."""
    if not path.exists():
        return False
    info = open_scores(path).info
    if info is None or (info.pairs, info.features) != (pairs_fingerprint(split), split.features.fingerprint()):
        return False
    if run is None:
        return True
    made_by = describe_score(run, split, choose_device("cpu"), "float32").models[0]
    return info.models[0].get("weights_sha256") == made_by["weights_sha256"]


def _keep(path: Path, name: str, scores: Float32[np.ndarray, "img txt"], split: Split) -> None:
    info = ScoreInfo(
        models=[{"run": name, "model": name}],
        split=split.name,
        pairs=pairs_fingerprint(split),
        features=split.features.fingerprint(),
        region_encoder=split.features.encoder,
        precision="float64",
        device="cpu",
    )
    write_scores(path, iter([scores]), scores.shape, info)
