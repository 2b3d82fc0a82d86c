"""Vocabulary and initial weights of a training: fresh, from word vectors, a text model, or an earlier run."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.files import sha256
from crossgraph.models.base import Matcher
from crossgraph.pretrained import fingerprint
from crossgraph.progress import ProgressDisplay
from crossgraph.runs import Run, load_run, read_info
from crossgraph.text.choice import find_text_encoder
from crossgraph.text.encoder import RecurrentTextEncoder
from crossgraph.text.pieces import PieceVocabulary, load_vocabulary
from crossgraph.text.transformer import TransformerTextEncoder, read_architecture
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.text.word_vectors import read_word_vectors
from crossgraph.train.config import Recipe
from crossgraph.train.run_folder import first_difference

_TEXT_MODEL_FIELDS = ("text_model", "text_architecture")


def resolve_text_encoder(recipe: Recipe, text_model: Path | None, init: Path | None) -> Recipe:
    """Return the recipe with its text encoder complete, so that the recipe alone can build the model.

    Args:
        recipe: Its model's config may name a text model.
        text_model: What `--text-model` names, in place of the recipe's text encoder.
        init: A run to fine-tune: a recipe that names no text model takes the run's.

    Raises:
        InputError: The model has no such choice, or the text model cannot be used or is not what the recipe asks for.
    """
    config = recipe.model.config
    if text_model is not None:
        if "text_encoder" not in config:
            raise InputError(
                f"--text-model {text_model}: model '{recipe.model.name}' has its own text encoder", "leave it out"
            )
        config = {**config, "text_encoder": "transformer", "text_model": str(text_model)}
    named = config.get("text_model")
    if config.get("text_encoder") != "transformer":
        if named:
            raise InputError(
                f"model.config.text_model is {named}, model.config.text_encoder is 'gru'",
                "add --model.config.text_encoder=transformer",
            )
        return recipe
    if named:
        folder, architecture = read_architecture(named)
        path = str(folder.absolute()) if Path(named).expanduser().is_dir() else named
        config = {**config, "text_model": path, "text_architecture": architecture}
    elif init is not None:
        stored = read_info(init).config
        config = {**config, **{name: stored[name] for name in _TEXT_MODEL_FIELDS if name in stored}}
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, config=config))


def find_vocabulary(recipe: Recipe, given: Path | None, train: Split, start: WarmStart | None) -> Vocabulary:
    """Return a training's vocabulary: a text model's pieces, a file's words, or the train captions' frequent ones.

    Args:
        recipe: Completed by `resolve_text_encoder`.
        given: A vocabulary file.
        train: The split to learn from.
        start: The run to fine-tune, whose words keep their rows.

    Raises:
        InputError: The file or the tokenizer cannot be used, or both are named.
    """
    config = recipe.model.config
    if config.get("text_encoder") == "transformer":
        if given is not None:
            raise InputError(f"--vocab {given}: a text model has word pieces of its own", "leave out --vocab")
        if start is not None:
            return start.run.vocabulary
        if not config.get("text_model"):
            raise InputError("model.config.text_encoder is 'transformer' without a model", "add --text-model FOLDER")
        return PieceVocabulary.of_model(read_architecture(config["text_model"])[0])
    built = load_vocabulary(given) if given else Vocabulary.build(train.captions, recipe.vocabulary_minimum)
    return start.extend(built.words) if start is not None else built


def initialise_text_encoder(
    model: Matcher, vocabulary: Vocabulary, word_vectors: Path | None, is_fresh: bool, first: bool
) -> dict[str, Any]:
    """Load a text model's weights or word vectors into a model's text encoder.

    Args:
        model: With fresh weights.
        vocabulary: Its words.
        word_vectors: A file of word vectors.
        is_fresh: False where a run's weights follow, so that a text model's need not be read.
        first: Whether this is the process that prints.

    Returns:
        A record of what was loaded, for `run.json`.

    Raises:
        InputError: A file cannot be used, or the model has no word embeddings.
    """
    encoder = find_text_encoder(model)
    record: dict[str, Any] = {}
    if isinstance(encoder, TransformerTextEncoder) and is_fresh and model.config.text_model:
        folder, _ = read_architecture(model.config.text_model)
        encoder.load_pretrained(folder)
        record["text_model"] = {"folder": folder.name, "sha256": fingerprint(folder, ("config.json", "tokenizer.json"))}
    if word_vectors is None:
        return record
    if not isinstance(encoder, RecurrentTextEncoder):
        raise InputError(f"--word-vectors {word_vectors}: the model learns no word embeddings", "leave it out")
    with ProgressDisplay() as progress:
        report = progress.for_task("reading") if first else None
        vectors = read_word_vectors(word_vectors, vocabulary, encoder.embedding.embedding_dim, report)
    vectors.fill(encoder.embedding)
    if first:
        coverage = f"{len(vectors.rows):,} of {vectors.words:,} words ({100 * vectors.coverage:.1f} %)"
        print(f"{vectors.file}: vectors for {coverage}", file=sys.stderr, flush=True)
    return {**record, "word_vectors": vectors.as_json()}


@dataclass(frozen=True)
class WarmStart:
    """The run that a fine-tuning starts from.

    Attributes:
        run: The run, loaded.
        fingerprint: SHA-256 of its weights.
    """

    run: Run
    fingerprint: str

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> WarmStart:
        """Load a run and check that its model is the recipe's.

        Raises:
            InputError: There is no run, or its model or the model's fields differ.
        """
        run = load_run(path)
        if run.info.model != recipe.model.name:
            raise InputError(
                f"{path}: is a run of '{run.info.model}', the recipe trains '{recipe.model.name}'",
                f"give a recipe of '{run.info.model}' or a run of '{recipe.model.name}'",
            )
        stored = _decisive(configs.to_dict(run.model.config))
        if difference := first_difference(stored, _decisive(recipe.model.config)):
            key, old, new = difference
            raise InputError(
                f"{path}: was trained with model.config.{key} {old}, the recipe says {new}",
                f"add --model.config.{key}={old}",
            )
        return cls(run, sha256(path / "model.safetensors"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The earlier runs, oldest first, for `run.json`."""
        info = self.run.info
        entry = {
            "run": str(self.run.path),
            "weights": self.fingerprint,
            "data": info.data,
            "region_encoder": info.region_encoder,
            "chosen_by": info.chosen_by,
            "origin": info.origin,
        }
        return [*info.history, entry]

    def extend(self, words: Sequence[str]) -> Vocabulary:
        """Return the run's vocabulary with new words appended, so that old rows keep their numbers."""
        known = self.run.vocabulary
        if isinstance(known, PieceVocabulary):
            return known
        return Vocabulary([*known.words, *(word for word in words if word not in known)])

    def fill(self, model: Matcher, vocabulary: Vocabulary, train: Split) -> None:
        """Copy the run's weights into a fresh model; rows of new words keep their fresh values.

        Args:
            model: Of the same family and fields, for the new data and `vocabulary`.
            vocabulary: What `extend` returned.
            train: For messages.

        Raises:
            InputError: The features have another width, or a tensor does not fit.
        """
        old, new = self.run.model.inputs, model.inputs
        if old.feature_size != new.feature_size:
            raise InputError(
                f"{train.source}: features are {new.feature_size:,} wide, {self.run.path} takes {old.feature_size:,}",
                "use features of the region encoder that the run was trained with",
            )
        have, want = self.run.model.state_dict(), model.state_dict()
        for name, tensor in want.items():
            source = have.get(name)
            if source is None or (source.shape != tensor.shape and not _grows(source, tensor, len(vocabulary))):
                shape = "nothing" if source is None else tuple(source.shape)
                raise InputError(
                    f"{self.run.path}: holds {shape} for '{name}' where the recipe's model has {tuple(tensor.shape)}",
                    "give the recipe the run's own model.config",
                )
        with torch.no_grad():
            for name, tensor in want.items():
                if tensor.ndim == 0:
                    tensor.copy_(have[name])
                else:
                    tensor[: len(have[name])] = have[name]


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a fine-tuning must keep: all but dropout and which text weights are trained."""
    free = ("text_model", "text_training")
    return {key: value for key, value in config.items() if "dropout" not in key and key not in free}


def _grows(old: torch.Tensor, new: torch.Tensor, words: int) -> bool:
    """Whether `new` is `old` with rows for more words."""
    return old.ndim == new.ndim and old.shape[1:] == new.shape[1:] and new.shape[0] == words > old.shape[0]
