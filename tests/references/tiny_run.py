"""A run of a few numbers, for tests: a small SAF or SGR on the tiny region encoder, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def write_tiny_splits(folder: Path, pictures: dict[str, int]) -> Path:
    """Write precomp splits of so many pictures, each of four regions and with five captions of drawn words."""
    random = np.random.default_rng(0)
    for split, count in pictures.items():
        np.save(folder / f"{split}_ims.npy", random.standard_normal((count, 4, 6)).astype(np.float32))
        captions = [" ".join(random.choice(WORDS, 5)) for _ in range(5 * count)]
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return folder
