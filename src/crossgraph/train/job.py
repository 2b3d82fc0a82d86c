"""Puts a training together from a recipe and its data: vocabulary, model, batches; checks all before it runs."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import Split
from crossgraph.data.subset import first_images
from crossgraph.graphs.word_graph import reads_word_edges
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.provenance import all_versions, git_revision
from crossgraph.runs import RunInfo, describe_model, save_run
from crossgraph.scoring.compatibility import check_fits
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.checkpoint import TrainingState, seed_everything
from crossgraph.train.config import FREE_ON_RESUME, Recipe
from crossgraph.train.feed import Feed
from crossgraph.train.initial_weights import WarmStart, find_vocabulary, initialise_text_encoder

CHOOSING_SPLIT = "dev"


@dataclass(frozen=True)
class Sources:
    """What the command line names besides the recipe.

    Attributes:
        data: The data folder.
        features: Its features, where they lie elsewhere.
        vocabulary: A vocabulary file; built from the train captions without one.
        init: A run to fine-tune.
        command: What was typed, for the record.
        word_vectors: A file whose vectors the word embeddings begin with.
        track: Names of trackers, see `crossgraph.train.trackers`.
    """

    data: Path
    features: Path | None = None
    vocabulary: Path | None = None
    init: Path | None = None
    command: str = ""
    word_vectors: Path | None = None
    track: Sequence[str] = ()


@dataclass(frozen=True)
class Splits:
    """The splits that training reads: weights are learned from train and chosen by dev."""

    train: Split
    dev: Split


@dataclass
class Job:
    """A training, ready to run.

    Attributes:
        recipe: Its settings.
        sources: What the command line named.
        model: With its initial weights.
        vocabulary: The model's.
        dev: The split that chooses weights, cut to `evaluate.dev_limit`.
        feed: Batches of the train split.
        about: "must_agree", which a resumed training must share, and "record", the versions; goes into checkpoints.
        info: The content of `run.json`, except the figures that chose the weights.
    """

    recipe: Recipe
    sources: Sources
    model: Matcher
    vocabulary: Vocabulary
    dev: Split
    feed: Feed
    about: dict[str, Any]
    info: RunInfo

    def save_best(self, out: Path, model: Matcher, state: TrainingState) -> None:
        """Write the run: the weights and the figures that chose them."""
        chosen = {
            "split": self.dev.name,
            "epoch": state.best_epoch,
            "step": state.best_step,
            "rsum": round(state.best_rsum, 4),
            "images": len(self.dev.image_ids),
        }
        save_run(out, model, self.vocabulary, dataclasses.replace(self.info, chosen_by=chosen))

    @property
    def resume_command(self) -> str:
        """The command that resumes this training."""
        command = self.sources.command or "crossgraph train …"
        return command if "--resume" in command.split() else f"{command} --resume"


def open_splits(
    data: Path, features: Path | None, log: Callable[[str], object] = print, learner: str = "training"
) -> Splits:
    """Open train and dev, and no other split.

    Args:
        data: The data folder.
        features: Its features, where they lie elsewhere.
        log: Takes lines about the data.
        learner: What learns from them, for the message.

    Raises:
        InputError: The data cannot be read, or lacks one of them.
    """
    opened = open_data(data, features=features, log=log)
    for name in ("train", CHOOSING_SPLIT):
        if name not in opened.splits:
            raise InputError(
                f"{data}: has no split '{name}' (it has {', '.join(opened.splits) or 'none'})",
                f"{learner} learns from 'train' and chooses by 'dev', never by 'test'; add that split",
            )
    splits = Splits(opened.split("train"), opened.split(CHOOSING_SPLIT))
    for split in (splits.train, splits.dev):
        if not split.image_ids or not len(split.captions):
            raise InputError(f"{data}: split '{split.name}' has no {'captions' if split.image_ids else 'pictures'}")
    return splits


def prepare(recipe: Recipe, sources: Sources, splits: Splits, rank: int = 0, ranks: int = 1) -> Job:
    """Put a training together: words, model, batches, and the record of it all.

    Args:
        recipe: Complete, see `crossgraph.train.initial_weights.resolve_text_encoder`.
        sources: What the command line named.
        splits: Opened by `open_splits`.
        rank: This process among those that train together.
        ranks: Their number.

    Raises:
        InputError: The parts do not fit each other.
    """
    train, dev = splits.train, splits.dev
    if recipe.evaluate.dev_limit:
        dev = first_images(dev, recipe.evaluate.dev_limit)
    start = WarmStart.load(sources.init, recipe) if sources.init else None
    vocabulary = find_vocabulary(recipe, sources.vocabulary, train, start)
    model = build_model(recipe, train, vocabulary)
    began_with = initialise_text_encoder(model, vocabulary, sources.word_vectors, start is None, rank == 0)
    if start is not None:
        start.fill(model, vocabulary, train)
    for split in (train, dev):
        check_fits(model.inputs, vocabulary, split, f"model '{recipe.model.name}'")
    described = describe_model(model)
    fingerprints = {"train": train.fingerprint(), "dev": dev.fingerprint()}
    about = {
        "must_agree": {
            "recipe": {key: value for key, value in configs.to_dict(recipe).items() if key not in FREE_ON_RESUME},
            "data": fingerprints,
            "vocabulary": vocabulary.fingerprint(),
            "inputs": described["inputs"],
            "init": start.fingerprint if start is not None else None,
            "processes": ranks,
            "word_vectors": began_with.get("word_vectors", {}).get("sha256"),
        },
        "record": {
            "chosen_by_split": CHOOSING_SPLIT,
            "versions": {**all_versions(), "platform": platform.platform(), "threads": torch.get_num_threads()},
            "git_revision": git_revision(),
        },
    }
    feed = Feed(train, vocabulary, recipe.batch, recipe.seed, recipe.workers, rank, ranks)
    info = RunInfo(
        model=recipe.model.name,
        config=described["config"],
        inputs=described["inputs"],
        plugin=described["plugin"],
        region_encoder=train.features.encoder,
        data=fingerprints,
        seed=recipe.seed,
        command=sources.command,
        git_revision=git_revision(),
        history=start.history if start is not None else [],
        word_edges=train.edges_by if reads_word_edges(model) else "",
        began_with=began_with,
    )
    return Job(recipe, sources, model, vocabulary, dev, feed, about, info)


def build_model(recipe: Recipe, train: Split, vocabulary: Vocabulary) -> Matcher:
    """Build the recipe's model for this data, for any number of regions where the model allows that.

    The generators are seeded first, so that every process of a training draws the same initial weights.

    Raises:
        InputError: The model refuses its fields or the data.
    """
    _, regions, width = train.features.shape
    family = MODELS[recipe.model.name]
    config = configs.build(family.Config, recipe.model.config, "recipe", "model.config")
    problem: ValueError | None = None
    seed_everything(recipe.seed)
    # A model that needs a fixed number refuses the first attempt. What that attempt drew is part of its seed's initial
    # weights: another way to learn of the need would give a recipe and a seed other weights than before.
    for count in (None, regions):
        try:
            model: Matcher = family(config, Inputs(width, len(vocabulary), count))
        except ValueError as error:
            problem = error
            continue
        return model
    raise InputError(f"model '{recipe.model.name}': {problem}", "change the recipe's model.config")
