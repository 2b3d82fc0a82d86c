"""Pictures and captions that a small model can learn in seconds: regions are noisy vectors of named things."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from crossgraph.core.types import Regions
from crossgraph.data.split import Split
from crossgraph.vision.boxes import grid_boxes

THINGS, REGIONS, WIDTH, CAPTIONS = 12, 6, 16, 2


class MemoryFeatures:
    encoder = "tiny"

    def __init__(self, array: np.ndarray, boxes: bool = False) -> None:
        self.array, self.boxes = array, grid_boxes(1, array.shape[1]) if boxes else None

    @property
    def shape(self) -> tuple[int, int, int]:
        pictures, regions, width = self.array.shape
        return pictures, regions, width

    def read(self, rows: Sequence[int] | np.ndarray) -> Regions:
        features = torch.from_numpy(self.array[np.asarray(rows)])
        boxes = None if self.boxes is None else self.boxes.expand(len(features), -1, -1)
        return Regions(features, torch.ones(features.shape[:2], dtype=torch.bool), boxes)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.array.tobytes()).hexdigest()


def tiny_split(name: str, pictures: int, width: int = WIDTH, regions: int = REGIONS, boxes: bool = False) -> Split:
    """Make a split; equal arguments give equal splits. Its regions lie side by side, where they have boxes."""
    draw = np.random.default_rng([len(name), pictures])
    vectors = np.random.default_rng(0).normal(size=(THINGS, width)).astype(np.float32)
    features = (0.3 * draw.normal(size=(pictures, regions, width))).astype(np.float32)
    captions: list[str] = []
    for picture in range(pictures):
        things = draw.choice(THINGS, 3, replace=False)
        features[picture, :3] += vectors[things]
        for _ in range(CAPTIONS):
            captions.append("a " + " ".join(f"thing{thing}" for thing in draw.permutation(things)))
    return Split(
        name=name,
        image_ids=[f"{name}-{picture}" for picture in range(pictures)],
        captions=captions,
        caption_image=np.repeat(np.arange(pictures), CAPTIONS),
        features=MemoryFeatures(features, boxes),
        source=f"tiny {name}",
    )


def write_precomp(folder: Path, sizes: dict[str, int], width: int = WIDTH, regions: int = REGIONS) -> Path:
    """Write splits of `tiny_split` in the layout of published features."""
    folder.mkdir(parents=True)
    for name, pictures in sizes.items():
        split = tiny_split(name, pictures, width, regions)
        assert isinstance(split.features, MemoryFeatures)
        np.save(folder / f"{name}_ims.npy", split.features.array)
        (folder / f"{name}_caps.txt").write_text("".join(f"{caption}\n" for caption in split.captions))
        (folder / f"{name}_ids.txt").write_text("".join(f"{row}\n" for row in range(pictures)))
    return folder
