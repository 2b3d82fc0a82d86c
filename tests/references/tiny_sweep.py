"""A sweep that trains in a second a variant, and the data for it."""

from __future__ import annotations

from pathlib import Path

RECIPE = """
model: {name: saf, config: {embed_size: 12, word_size: 8, sim_size: 6, dropout: 0.1}}
evaluate: {every_epochs: 1}
checkpoint: {every_steps: 1}
batch: 8
epochs: 2
vocabulary_minimum: 1
small: {max_steps: 2}
"""

SWEEP = """
title: Tiny
base: tiny-recipe.yaml
overrides: {epochs: 1}
paper: Nobody (1999)
paper_data: nothing
variants:
  - {name: saf, label: as it is, table: "5", reported: {i2t_r1: 73.7, t2i_r1: 56.1}}
  - {name: local, label: local nodes, overrides: {model.config.nodes: local}}
  - {name: both, label: two models, ensemble: [saf, local]}
"""


def write_sweep(folder: Path, text: str = SWEEP, recipe: str = RECIPE) -> Path:
    """Write a sweep and its base recipe; returns the sweep's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny-recipe.yaml").write_text(recipe)
    path = folder / "tiny-sweep.yaml"
    path.write_text(text)
    return path
