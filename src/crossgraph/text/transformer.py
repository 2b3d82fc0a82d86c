"""Transformer text encoder: the projected last hidden states of a pretrained transformer.

What is unusual here: the module is built from the architecture's own settings, which are part of the model's config,
and reads no file. A run is therefore complete; the folder of the pretrained weights is read once, when training begins
(`load_pretrained`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Tokens
from crossgraph.pretrained import build, find_model, load_model, package, read_config

TextTraining = Literal["frozen", "fine-tuned"]
_TEXT_SIDES = {"clip": "CLIPTextModel", "siglip": "SiglipTextModel"}
_NOT_ARCHITECTURE = ("architectures", "_name_or_path", "auto_map", "transformers_version", "dtype", "torch_dtype")


class TransformerTextEncoder(nn.Module):
    """Transformer → dropout → linear. Frozen, the transformer stays in evaluation mode and gets no gradient.

    Args:
        architecture: Settings from `read_architecture`.
        vocabulary: Entries of the vocabulary.
        size: Size of a word's contextual vector, d.
        training: Whether the transformer's own weights are trained too.
        dropout: Probability of dropping a feature of a hidden state.

    Raises:
        InputError: `transformers` is not installed, or cannot build this architecture for so many pieces.
    """

    def __init__(
        self, architecture: Mapping[str, Any], vocabulary: int, size: int, training: TextTraining, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = _backbone(architecture)
        pieces = int(self.backbone.config.vocab_size)
        if vocabulary > pieces:
            raise InputError(
                f"text model '{architecture['model_type']}': {pieces:,} pieces, its tokenizer has {vocabulary:,}",
                "give a folder whose tokenizer.json and config.json belong together",
            )
        self.frozen = training == "frozen"
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(int(self.backbone.config.hidden_size), size)
        if self.frozen:
            self.backbone.requires_grad_(False).eval()

    def forward(self, tokens: Tokens) -> Float[Tensor, "txt word dim"]:
        """Return contextual vectors of the pieces; rows of padding are zero."""
        mask = tokens.mask
        with torch.no_grad() if self.frozen else contextlib.nullcontext():
            states = self.backbone(input_ids=tokens.ids * mask, attention_mask=mask.long()).last_hidden_state
        projected = self.project(self.dropout(states.to(self.project.weight.dtype)))
        return projected * mask[:, :, None]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen transformer stays in evaluation mode: dropout would be noise on fixed weights."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def load_pretrained(self, folder: Path) -> None:
        """Load the weights of a pretrained model.

        Raises:
            InputError: They are missing, damaged, or do not fit.
        """
        kind = _TEXT_SIDES.get(read_config(folder)["model_type"], "AutoModel")
        given: Mapping[str, Tensor] = load_model(kind, folder).state_dict()
        needed = self.backbone.state_dict()
        for name, tensor in needed.items():
            if name not in given or given[name].shape != tensor.shape:
                raise InputError(f"{folder}: its weights do not fit its config.json ('{name}')", "get the model again")
        self.backbone.load_state_dict({name: given[name] for name in needed})

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn: the biases of keys."""
        if self.frozen:
            return {}
        names = (name for name, _ in self.backbone.named_parameters())
        keys = (name for name in names if name.endswith((".key.bias", ".k_proj.bias", ".k_lin.bias", ".attn.k.bias")))
        return {f"backbone.{name}": "the same for all words under a softmax" for name in keys}


def read_architecture(source: str) -> tuple[Path, dict[str, Any]]:
    """Return a text model's architecture, with which a config no longer needs the folder.

    Args:
        source: A folder, or a name in the local Hugging Face cache.

    Returns:
        The folder, and the settings as plain values.

    Raises:
        InputError: There is no such model, or it encodes no text.
    """
    folder = find_model(source)
    config = read_config(folder)
    kind = config["model_type"]
    if kind in _TEXT_SIDES:
        config = {**config.get("text_config", {}), "model_type": f"{kind}_text_model"}
    if not isinstance(config.get("vocab_size", 1 if kind in _TEXT_SIDES else None), int):
        raise InputError(f"{folder}: a '{kind}' model, which reads no text", "give the folder of a text encoder")
    if config.get("is_encoder_decoder"):
        raise InputError(f"{folder}: '{kind}' has an encoder and a decoder", "give the folder of a text encoder alone")
    return folder, {name: value for name, value in config.items() if name not in _NOT_ARCHITECTURE}


def _backbone(architecture: Mapping[str, Any]) -> Any:
    transformers = package()
    settings = dict(architecture)
    kind = str(settings.pop("model_type", ""))

    def make() -> Any:
        config = transformers.AutoConfig.for_model(kind, **settings)
        return transformers.AutoModel.from_config(config, dtype=torch.float32)

    model = build(make, f"text model '{kind}'")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # hidden states do not depend on it
    return model
