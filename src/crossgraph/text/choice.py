"""The choice of a model's text encoder: the config fields and the function that builds the encoder from them.

A model supports all text encoders by two lines: its `Config` inherits `TextChoice`, and its constructor calls
`build_text_encoder`. Training does the rest (vocabulary, pretrained weights) and stores both in the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Size
from crossgraph.text.encoder import Direction, RecurrentTextEncoder
from crossgraph.text.transformer import TextTraining, TransformerTextEncoder

TextEncoder = RecurrentTextEncoder | TransformerTextEncoder


@dataclass(frozen=True)
class TextChoice(CheckedSettings, prefix="model.config."):
    """Config fields: sizes of embeddings, and a GRU over learned word embeddings or a pretrained transformer."""

    text_encoder: Literal["gru", "transformer"] = "gru"
    text_model: str = ""  # of "transformer": the folder that weights and word pieces were taken from
    text_training: TextTraining = "frozen"  # or "fine-tuned": at a share of the rate, optimiser.text_model_lr
    text_architecture: Mapping[str, Any] = field(default_factory=dict[str, Any])  # its settings; training fills it in
    embed_size: Size = 1024  # d, region and word embeddings and index vectors
    word_size: Size = 300  # learned word embeddings, before the GRU


def build_text_encoder(choice: TextChoice, vocabulary: int, direction: Direction, dropout: float = 0.0) -> TextEncoder:
    """Build a model's text encoder: `Tokens` (n, L) to word vectors (n, L, embed_size), rows of padding zero.

    Args:
        choice: The model's config.
        vocabulary: Entries of the vocabulary.
        direction: Of the GRU.
        dropout: Of word embeddings, or of the transformer's hidden states.

    Raises:
        InputError: "transformer" without a model, or one that cannot be built.
    """
    if choice.text_encoder == "gru":
        return RecurrentTextEncoder(vocabulary, choice.word_size, choice.embed_size, direction, dropout)
    if not choice.text_architecture:
        raise InputError("model.config.text_encoder is 'transformer' without a model", "add --text-model FOLDER")
    training = choice.text_training
    return TransformerTextEncoder(choice.text_architecture, vocabulary, choice.embed_size, training, dropout)


def find_text_encoder(model: nn.Module) -> TextEncoder | None:
    """Return a model's text encoder; None where the model has one of another kind."""
    return next((module for module in model.modules() if isinstance(module, TextEncoder)), None)
