"""The text side of a training: its words, and what its encoder begins with (fresh, word vectors, a text model)."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.models.base import Matcher
from crossgraph.pretrained import fingerprint
from crossgraph.scoring.progress import ScoringProgress
from crossgraph.text.choice import find_text_encoder
from crossgraph.text.encoder import RecurrentTextEncoder
from crossgraph.text.pieces import PieceVocabulary, load_vocabulary
from crossgraph.text.transformer import TransformerTextEncoder, read_architecture
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.text.word_vectors import read_word_vectors
from crossgraph.train.config import Recipe
from crossgraph.train.warm_start import WarmStart

_BORROWED = ("text_model", "text_architecture")


def read_captions_by(recipe: Recipe, folder: Path) -> Recipe:
    """Return a recipe changed as `--text-model FOLDER` says.

    Raises:
        InputError: The recipe's model has no such choice.
    """
    config = recipe.model.config
    if "text_encoder" not in config:
        raise InputError(f"--text-model {folder}: model '{recipe.model.name}' has its own text encoder", "leave it out")
    changed = {**config, "text_encoder": "transformer", "text_model": str(folder)}
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, config=changed))


def with_text_model(recipe: Recipe, init: Path | None) -> Recipe:
    """Fill in what a pretrained text encoder is, so that the recipe alone can build the model.

    Args:
        recipe: Its model's config may name a text model.
        init: A run to start from: a recipe that names no text model takes the run's.

    Raises:
        InputError: The text model cannot be found or used, or is named without being asked for.
    """
    config = recipe.model.config
    if config.get("text_encoder") != "transformer":
        if config.get("text_model"):
            raise InputError(
                f"model.config.text_model is {config['text_model']}, model.config.text_encoder is 'gru'",
                "add --model.config.text_encoder=transformer",
            )
        return recipe
    named = config.get("text_model")
    if named:
        folder, architecture = read_architecture(named)
        place = str(folder.absolute()) if Path(named).expanduser().is_dir() else named
        borrowed = {"text_model": place, "text_architecture": architecture}
    elif init is not None:
        from crossgraph.runs import read_info

        theirs = read_info(init).config
        borrowed = {name: theirs[name] for name in _BORROWED if name in theirs}
    else:
        return recipe  # the model refuses, unless its architecture stands in the recipe itself
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, config={**config, **borrowed}))


def find_vocabulary(recipe: Recipe, given: Path | None, train: Split, start: WarmStart | None) -> Vocabulary:
    """Return the words of a training: a text model's pieces, a file's words, or the train captions' frequent ones.

    Args:
        recipe: Completed by `with_text_model`.
        given: A vocabulary file.
        train: The split to learn from.
        start: A run to start from, whose words keep their rows.

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
    if given is not None:
        words = load_vocabulary(given)
        return start.extend(words.words) if start is not None else words
    built = Vocabulary.build(train.captions, recipe.vocabulary_minimum)
    return start.extend(built.words) if start is not None else built


def begin_text_encoder(
    model: Matcher, vocabulary: Vocabulary, word_vectors: Path | None, is_fresh: bool, first: bool
) -> dict[str, Any]:
    """Give a fresh model's text encoder its first weights.

    Args:
        model: With fresh weights.
        vocabulary: Its words.
        word_vectors: A file of word vectors.
        is_fresh: False where a run's weights follow, so that a text model's need not be read.
        first: Whether this process speaks.

    Returns:
        What was taken, for `run.json`.

    Raises:
        InputError: A file cannot be used, or the model has no place for it.
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
    with ScoringProgress() as progress:
        report = progress.about("reading") if first else None
        vectors = read_word_vectors(word_vectors, vocabulary, encoder.embedding.embedding_dim, report)
    vectors.fill(encoder.embedding)
    if first:
        found = f"{len(vectors.rows):,} of {vectors.words:,} words ({100 * vectors.coverage:.1f} %)"
        print(f"{vectors.file}: vectors for {found}", file=sys.stderr, flush=True)
    return {**record, "word_vectors": vectors.as_json()}
