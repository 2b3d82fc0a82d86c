"""Training steps of SGR and SAF at Flickr8k's sizes: pairs per second, and the ratio of bf16 to float32.

python benchmarks/train_speed.py [STEPS]
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `crossgraph train` does

import numpy as np
import torch

from crossgraph.core.types import Regions
from crossgraph.data.split import Split
from crossgraph.memory import keep_freed_memory
from crossgraph.train import recipes
from crossgraph.train.distributed import make_fabric
from crossgraph.train.job import Sources, Splits, prepare
from crossgraph.train.loop import Training

PICTURES, REGIONS, WIDTH, WORDS = 512, 49, 1280, 12


class RandomFeatures:
    """Features in memory, so that nothing but the steps is measured."""

    encoder = "random"

    def __init__(self) -> None:
        self._array = torch.rand(PICTURES, REGIONS, WIDTH, generator=torch.Generator().manual_seed(0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return pictures, regions, width."""
        return PICTURES, REGIONS, WIDTH

    def read(self, rows: object) -> Regions:
        """Return some pictures' regions."""
        features = self._array[torch.as_tensor(np.asarray(rows))]
        return Regions(features, torch.ones(features.shape[:2], dtype=torch.bool))

    def fingerprint(self) -> str:
        """Return the same for all."""
        return "0"


def split() -> Split:
    draw = np.random.default_rng(0)
    captions = [" ".join(f"w{word}" for word in draw.integers(0, 5000, WORDS)) for _ in range(PICTURES)]
    ids = [str(row) for row in range(PICTURES)]
    return Split("train", ids, captions, np.arange(PICTURES), RandomFeatures(), source="random")


def rate(name: str, precision: str, steps: int) -> float:
    recipe = recipes.load(recipes.find(name), [f"precision={precision}", "vocabulary_minimum=1"])
    recipe = dataclasses.replace(recipe, max_steps=steps + 3)
    job = prepare(recipe, Sources(Path("random")), Splits(split(), split()))
    with tempfile.TemporaryDirectory() as folder:
        training = Training(job, make_fabric(recipe.precision, "cpu", 1), Path(folder))
        batches = list(job.feed.batches(0))[:4]
        for batch in batches[:3]:
            training.update([batch])
        started = time.perf_counter()
        for step in range(steps):
            training.update([batches[step % len(batches)]])
        taken = time.perf_counter() - started
        training.close()
    return steps * recipe.batch / taken


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    keep_freed_memory()
    print(f"{torch.get_num_threads()} threads")
    for name in ("sgraf-saf-f8k", "sgraf-sgr-f8k"):
        full, half = rate(name, "32", steps), rate(name, "bf16", steps)
        print(f"{name}: {full:.0f} pairs/s in float32, {half:.0f} in bf16, {half / full:.2f} times")


if __name__ == "__main__":
    main()
