"""A run of a few numbers, for tests: a small SAF or SGR on the tiny region encoder, with random weights."""

from __future__ import annotations

from pathlib import Path

import references.tiny_regions  # noqa: F401 registers the region encoder
import torch

from crossgraph.models.base import MODELS, Inputs
from crossgraph.runs import RunInfo, describe_model, save_run
from crossgraph.text.vocabulary import Vocabulary

WORDS = ["a", "dog", "cat", "runs", "over", "the", "green", "grass", "snow", "in", "red"]


def write_tiny_run(folder: Path, name: str = "saf", region_encoder: str = "tiny") -> Path:
    """Save a run whose model takes features 6 wide, four regions or any other number."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])
    model_class = MODELS[name]
    config = model_class.Config(embed_size=8, word_size=6, sim_size=5)
    model = model_class(config, Inputs(6, len(vocabulary)))
    save_run(folder, model, vocabulary, RunInfo(name, **describe_model(model), region_encoder=region_encoder))
    return folder
