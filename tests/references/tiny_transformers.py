"""Models of `transformers` of a few thousand random weights, written to a folder as published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TOWERS = ("clip", "siglip", "dinov2", "dinov2_with_registers")
PREFIX = {"clip": 1, "siglip": 0, "dinov2": 1, "dinov2_with_registers": 5}


def vision_model(kind: str, image_size: int = 32, patch_size: int = 8) -> Any:
    """Build a tower; its weights are the same whenever it is asked for."""
    import transformers

    names = {
        "clip": ("CLIPVisionConfig", "CLIPVisionModel"),
        "siglip": ("SiglipVisionConfig", "SiglipVisionModel"),
        "dinov2": ("Dinov2Config", "Dinov2Model"),
        "dinov2_with_registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel"),
    }
    config, model = (getattr(transformers, name) for name in names[kind])
    torch.manual_seed(0)
    return model(config(**SIZES, image_size=image_size, patch_size=patch_size)).eval()


def save_tower(folder: Path, kind: str, processor: dict[str, Any] | None = None, **sizes: int) -> Any:
    """Write a tower to a folder, perhaps with the settings of an image processor; returns the model."""
    model = vision_model(kind, **sizes)
    save(model, folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def save_text_model(folder: Path, words: list[str], longest: int = 16, **changes: Any) -> Any:
    """Write a tiny BERT with a word-piece tokenizer of these pieces; returns the model."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(1)
    config = BertConfig(**{**SIZES, "vocab_size": len(pieces), "max_position_embeddings": longest, **changes})
    model = BertModel(config).eval()
    save(model, folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"})
    )
    return model


def save(model: Any, folder: Path) -> None:
    """Write a model without its progress bar."""
    from crossgraph.pretrained import quiet

    with quiet():
        model.save_pretrained(folder)
