"""Which text encoder a model uses: fields for its config, and the one function that builds what they say.

A model takes part with two lines: its `Config` inherits `TextChoice`, and its constructor calls
`build_text_encoder`. Training does the rest (words, pretrained weights), and runs stay whole by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.text.encoder import Direction, RecurrentTextEncoder
from crossgraph.text.transformer import TextTraining, TransformerTextEncoder

TextEncoder = RecurrentTextEncoder | TransformerTextEncoder


@dataclass(frozen=True)
class TextChoice:
    """Fields of a model's config: learned word embeddings with a GRU, or a pretrained transformer."""

    text_encoder: Literal["gru", "transformer"] = "gru"
    text_model: str = ""  # of "transformer": the folder that weights and word pieces were taken from
    text_training: TextTraining = "frozen"  # or "fine-tuned": at a share of the rate, optimiser.text_model_lr
    text_architecture: Mapping[str, Any] = field(default_factory=dict[str, Any])  # its settings; training fills it in


def build_text_encoder(
    choice: TextChoice, vocabulary: int, word_size: int, size: int, direction: Direction, dropout: float
) -> TextEncoder:
    """Build a model's text encoder: `Tokens` (n, L) to word vectors (n, L, size), rows of padding zero.

    Args:
        choice: The model's config.
        vocabulary: Entries of the vocabulary.
        word_size: Of "gru": size of a learned word embedding.
        size: Size of a word's contextual vector, d.
        direction: Of "gru".
        dropout: Of word embeddings, or of the transformer's hidden states.

    Raises:
        InputError: "transformer" without a model, or one that cannot be built.
    """
    if choice.text_encoder == "gru":
        return RecurrentTextEncoder(vocabulary, word_size, size, direction, dropout)
    if not choice.text_architecture:
        raise InputError("model.config.text_encoder is 'transformer' without a model", "add --text-model FOLDER")
    return TransformerTextEncoder(choice.text_architecture, vocabulary, size, choice.text_training, dropout)


def find_text_encoder(model: nn.Module) -> TextEncoder | None:
    """Return a model's text encoder; None where it has none of ours."""
    return next((module for module in model.modules() if isinstance(module, TextEncoder)), None)
