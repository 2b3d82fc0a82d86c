"""Read and write runs: folders with a trained or imported model and all that its use needs.

run.json            what it is and where it came from (`RunInfo`)
model.safetensors   weights, of the epoch that the choosing split liked best
vocabulary.json     the words its rows stand for; or a text model's tokenizer, whole
"""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from crossgraph import __version__
from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.core.plugins import check_plugin, plugin_of
from crossgraph.files import atomic_write, read_json, write_json
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.text.dependencies import parser_named
from crossgraph.text.pieces import PieceVocabulary, load_vocabulary
from crossgraph.text.vocabulary import Vocabulary

FORMAT_VERSION = 1


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"crossgraph": __version__, "python": platform.python_version(), "torch": torch.__version__}


@dataclass(frozen=True)
class RunInfo:
    """Everything about a run but its weights and words; stands in `run.json`.

    Attributes:
        model: Registered name.
        config: The model's config, as plain values.
        inputs: Sizes the model was built for.
        region_encoder: Name of the encoder whose features it takes; "published" for published features.
        data: Fingerprint of the training data by split; empty for an imported checkpoint.
        chosen_by: The split, epoch, step and rSum that chose these weights.
        seed: Of the training.
        origin: "trained", or the published file it was imported from.
        command: What was typed.
        git_revision: Of the program, where known.
        versions: Of the program and its libraries.
        history: Earlier runs that this one was fine-tuned from.
        word_edges: What made the dependency edges of its training captions, where its model looks at them: a parser, or
            "published"; "" where nothing did.
        plugin: Name and digest of the plugin that defines the model; empty for our own models.
        began_with: Files whose vectors or weights the text encoder began with, by kind, with their digests.
    """

    model: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    region_encoder: str = "published"
    data: dict[str, str] = field(default_factory=dict[str, str])
    chosen_by: dict[str, Any] = field(default_factory=dict[str, Any])
    seed: int | None = None
    origin: str = "trained"
    command: str = ""
    git_revision: str = ""
    versions: dict[str, str] = field(default_factory=versions)
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    word_edges: str = ""
    began_with: dict[str, Any] = field(default_factory=dict[str, Any])
    plugin: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Run:
    """A run, loaded."""

    model: Matcher
    vocabulary: Vocabulary
    info: RunInfo
    path: Path


def describe_model(model: Matcher) -> dict[str, dict[str, Any]]:
    """Return the entries of `RunInfo` that describe the model itself: `config`, `inputs` and `plugin`."""
    described = {"config": configs.to_dict(model.config), "inputs": dataclasses.asdict(model.inputs)}  # pyright: ignore
    return described | {"plugin": plugin_of(type(model))}


def save_run(folder: Path, model: Matcher, vocabulary: Vocabulary, info: RunInfo) -> None:
    """Write a run; each file is whole or not there, and `run.json` comes last.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    vocabulary.save(folder / "vocabulary.json")
    with atomic_write(folder / "model.safetensors") as file:
        file.write(save(tensors))
    write_json(folder / "run.json", {"format_version": FORMAT_VERSION, **dataclasses.asdict(info)})


def read_info(folder: Path) -> RunInfo:
    """Read `run.json` alone.

    Raises:
        InputError: The folder is no run, or of a newer format.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "give a run that 'crossgraph train' or 'crossgraph import' made")
    if (folder / "bundle.json").exists() and not (folder / "run.json").exists():
        raise InputError(f"{folder}: is a bundle, and a run is wanted", f"give {folder / 'reranker'}")
    if not (folder / "run.json").exists():
        raise InputError(f"{folder}: has no run.json, so it is no finished run", "give the folder that --out named")
    values = read_json(folder / "run.json")
    if not isinstance(values, dict):
        raise InputError(f"{folder / 'run.json'}: not an object", "make the run again")
    version = values.pop("format_version", None)
    if version != FORMAT_VERSION:
        remedy = "update crossgraph" if isinstance(version, int) and version > FORMAT_VERSION else "make the run again"
        raise InputError(
            f"{folder / 'run.json'}: format version {version}, this program reads {FORMAT_VERSION}", remedy
        )
    known = {item.name for item in dataclasses.fields(RunInfo)}
    try:
        return RunInfo(**{key: value for key, value in values.items() if key in known})
    except TypeError as error:
        raise InputError(f"{folder / 'run.json'}: incomplete ({error})", "make the run again") from error


def load_run(folder: Path) -> Run:
    """Load a run with its model in evaluation mode.

    A model that learned from dependency edges gets sentences parsed as its training captions were, where that parser
    is installed; else it takes the fall-back of its config.

    Raises:
        InputError: The folder is no run, a file of it is missing or broken, or its parts do not fit.
    """
    info = read_info(folder)
    check_plugin(info.plugin, str(folder))
    vocabulary = load_vocabulary(folder / "vocabulary.json")
    model_class = MODELS[info.model]
    source = str(folder / "run.json")
    inputs = configs.build(Inputs, info.inputs, f"{source}: inputs")
    if inputs.vocabulary_size != len(vocabulary):
        raise InputError(
            f"{folder / 'vocabulary.json'}: {len(vocabulary):,} entries where the model has {inputs.vocabulary_size:,}",
            "put back the vocabulary the model was trained with",
        )
    model: Matcher = model_class(configs.build(model_class.Config, info.config, f"{source}: config"), inputs)
    weights = folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(weights))
    except FileNotFoundError as error:
        raise InputError(f"{weights}: no such file", "make the run again") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights}: cannot be read ({error})", "it may be truncated; make the run again") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{weights}: does not fit run.json ({reason})", "make the run again") from error
    if not isinstance(vocabulary, PieceVocabulary):
        vocabulary.parser = parser_named(info.word_edges)
    return Run(model.eval(), vocabulary, info, folder)
