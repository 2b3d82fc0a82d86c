"""`crossgraph train`: trains a model by a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

# Waiting threads of GNU OpenMP spin by default: with one other busy program on the machine training then
# takes eight times as long. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def train(
    recipe: str,
    *,
    data: Path,
    out: Path,
    features: Path | None = None,
    vocab: Path | None = None,
    text_model: Path | None = None,
    word_vectors: Path | None = None,
    init: Path | None = None,
    resume: bool = False,
    small: bool = False,
    seeds: int = 1,
    track: list[Literal["tensorboard", "wandb", "trackio"]] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    devices: int = 1,
    overrides: list[str],
) -> None:
    """Train a model on captioned pictures.

    The weights that rank the dev split best are kept; the test split is never opened. A run that was
    stopped or killed goes on with --resume.

    Args:
        recipe: A recipe's file, or the name of a shipped one (sgraf-saf-f8k).
        data: The data folder; its layout is found by looking.
        out: Folder to write the run to.
        features: Folder of region features that `crossgraph extract` made; DATA/features by default.
        vocab: A vocabulary file; built from the train captions by default.
        text_model: Folder of a pretrained text encoder of `transformers`, to read captions in place of a GRU; its
            own weights stay as they are unless --model.config.text_training=fine-tuned.
        word_vectors: A file of word vectors (GloVe's text, or vectors.npy with words.txt beside it) that the
            embeddings of known words begin with.
        init: A run to fine-tune; words it does not know are added.
        resume: Go on from the last checkpoint in OUT.
        small: Use the recipe's small form, which runs in seconds.
        seeds: Train so many runs, OUT/seed-0, OUT/seed-1 and so on, and summarise them.
        track: Follow the training also by tensorboard, wandb (offline) or trackio (local), in folders of the run.
        device: Where to compute; auto takes a GPU where there is one.
        devices: Processes that train as one on this machine.
        overrides: Changes to the recipe.
    """
    from crossgraph.memory import keep_freed_memory
    from crossgraph.provenance import typed_command
    from crossgraph.train.command import Request, run
    from crossgraph.train.job import Sources

    keep_freed_memory()
    run(
        Request(
            recipe=recipe,
            overrides=overrides,
            small=small,
            sources=Sources(data, features, vocab, init, typed_command(), word_vectors, track or ()),
            out=out,
            resume=resume,
            seeds=seeds,
            device=device,
            devices=devices,
            text_model=text_model,
        )
    )
