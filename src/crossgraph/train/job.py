"""What is trained on what: the recipe with its data, words and fresh weights, checked before any of it runs."""

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
from crossgraph.graphs.word_graph import reads_word_edges
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.runs import RunInfo, describe_model, save_run
from crossgraph.scoring.fit import check_fits
from crossgraph.scoring.limit import first_images
from crossgraph.scoring.provenance import all_versions, git_revision
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train import rng
from crossgraph.train.config import FREE_ON_RESUME, Recipe
from crossgraph.train.feed import Feed
from crossgraph.train.state import TrainingState
from crossgraph.train.text_side import begin_text_encoder, find_vocabulary, with_text_model
from crossgraph.train.warm_start import WarmStart

CHOOSING_SPLIT = "dev"


@dataclass(frozen=True)
class Sources:
    """What the command line names besides the recipe.

    Attributes:
        data: The data folder.
        features: Its features, where they lie elsewhere.
        vocabulary: A vocabulary file; built from the train captions without one.
        init: A run to start from.
        command: What was typed, for the record.
        word_vectors: A file whose vectors the word embeddings begin with.
        track: Trackers that follow, see `crossgraph.train.trackers`.
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
    """The two splits that training reads.

    Attributes:
        train: Learned from.
        dev: Chosen by.
    """

    train: Split
    dev: Split


@dataclass
class Job:
    """A training, ready to run.

    Attributes:
        recipe: How.
        sources: From what.
        model: With fresh or borrowed weights.
        vocabulary: Its words.
        dev: The choosing split, cut to `evaluate.dev_limit`.
        feed: Batches of the train split.
        about: What a resumed training must agree with, and the record of versions; goes into checkpoints.
        info: What goes into `run.json`, but the figures that chose the weights.
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
        """Write the run: weights with the figures that chose them."""
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
        """What to type to go on."""
        command = self.sources.command or "crossgraph train …"
        return command if "--resume" in command.split() else f"{command} --resume"


def open_splits(sources: Sources, say: Callable[[str], None] = print) -> Splits:
    """Open train and dev, and no other split.

    Args:
        sources: What was named.
        say: Hears what was found.

    Raises:
        InputError: The data cannot be read, or lacks one of them.
    """
    data = open_data(sources.data, features=sources.features, log=say)
    for name in ("train", CHOOSING_SPLIT):
        if name not in data.splits:
            raise InputError(
                f"{sources.data}: has no split '{name}' (it has {', '.join(data.splits) or 'none'})",
                "training learns from 'train' and chooses by 'dev', never by 'test'; add that split",
            )
    splits = Splits(data.split("train"), data.split(CHOOSING_SPLIT))
    for split in (splits.train, splits.dev):
        if not split.image_ids or not len(split.captions):
            raise InputError(
                f"{sources.data}: split '{split.name}' has no {'captions' if split.image_ids else 'pictures'}"
            )
    return splits


def prepare(recipe: Recipe, sources: Sources, splits: Splits, rank: int = 0, ranks: int = 1) -> Job:
    """Put a training together: words, model, batches, and the record of it all.

    Args:
        recipe: How.
        sources: From what.
        splits: Opened by `open_splits`.
        rank: This process among those that train together.
        ranks: Their number.

    Raises:
        InputError: The parts do not fit each other.
    """
    train, dev = splits.train, splits.dev
    if recipe.evaluate.dev_limit:
        dev = first_images(dev, recipe.evaluate.dev_limit)
    recipe = with_text_model(recipe, sources.init)
    start = WarmStart.load(sources.init, recipe) if sources.init else None
    vocabulary = find_vocabulary(recipe, sources.vocabulary, train, start)
    rng.seed_everything(recipe.seed)
    model = build_model(recipe, train, vocabulary)
    began_with = begin_text_encoder(model, vocabulary, sources.word_vectors, start is None, rank == 0)
    if start is not None:
        start.fill(model, vocabulary, train)
    for split in (train, dev):
        check_fits(model.inputs, vocabulary, split, f"model '{recipe.model.name}'")
    feed = Feed(train, vocabulary, recipe, rank, ranks)
    described = describe_model(model)
    fingerprints = {"train": train.fingerprint(), "dev": dev.fingerprint()}
    return Job(
        recipe=recipe,
        sources=sources,
        model=model,
        vocabulary=vocabulary,
        dev=dev,
        feed=feed,
        about=_about(recipe, model, vocabulary, fingerprints, start, ranks, began_with),
        info=RunInfo(
            model=recipe.model.name,
            config=described["config"],
            inputs=described["inputs"],
            region_encoder=train.features.encoder,
            data=fingerprints,
            seed=recipe.seed,
            command=sources.command,
            git_revision=git_revision(),
            history=start.history if start is not None else [],
            word_edges=train.edges_by if reads_word_edges(model) else "",
            began_with=began_with,
        ),
    )


def build_model(recipe: Recipe, train: Split, vocabulary: Vocabulary) -> Matcher:
    """Build the recipe's model for this data; it is told the number of regions only when it insists on one.

    Raises:
        InputError: The model refuses its fields or the data.
    """
    _, regions, width = train.features.shape
    family = MODELS[recipe.model.name]
    config = configs.build(family.Config, recipe.model.config, "recipe", "model.config")
    problem: ValueError | None = None
    for count in (None, regions):
        try:
            model: Matcher = family(config, Inputs(width, len(vocabulary), count))
        except ValueError as error:
            problem = error
            continue
        return model
    raise InputError(f"model '{recipe.model.name}': {problem}", "change the recipe's model.config")


def _about(
    recipe: Recipe,
    model: Matcher,
    vocabulary: Vocabulary,
    fingerprints: dict[str, str],
    start: WarmStart | None,
    ranks: int,
    began_with: dict[str, Any],
) -> dict[str, Any]:
    must_agree = {
        "recipe": {key: value for key, value in configs.to_dict(recipe).items() if key not in FREE_ON_RESUME},
        "data": fingerprints,
        "vocabulary": vocabulary.fingerprint(),
        "inputs": dataclasses.asdict(model.inputs),  # pyright: ignore[reportArgumentType]
        "init": start.fingerprint if start is not None else None,
        "processes": ranks,
        "word_vectors": began_with.get("word_vectors", {}).get("sha256"),
    }
    record = {
        "chosen_by_split": CHOOSING_SPLIT,
        "versions": {**all_versions(), "platform": platform.platform(), "threads": torch.get_num_threads()},
        "git_revision": git_revision(),
    }
    return {"must_agree": must_agree, "record": record}
