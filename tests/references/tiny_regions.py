"""A region encoder of a few lines, for tests: four quarters of an 8 × 8 square, six values each.

TINY_SECONDS makes it take so long for a picture, so that a test can stop it midway.
"""

from __future__ import annotations

import os
import time

import torch

from crossgraph.core.types import Regions
from crossgraph.vision.boxes import grid_boxes
from crossgraph.vision.region_encoder import REGION_ENCODERS


class TinyRegions:
    image_size, feature_size, regions, grid = 8, 6, 4, (2, 2)

    def __init__(self, name: str = "tiny", seconds: float = 0.0, scale: float = 1.0) -> None:
        self.name, self.sha256 = name, "5" * 64
        self.seconds, self.scale = seconds, scale
        self.batches: list[int] = []

    def encode(self, pictures: torch.Tensor) -> Regions:
        count = len(pictures)
        self.batches.append(count)
        time.sleep(self.seconds * count)
        cells = pictures.float().reshape(count, 2, 4, 2, 4, 3).permute(0, 1, 3, 2, 4, 5).reshape(count, 4, 16, 3)
        # which pictures share a batch shows in the last digit, as it may with a real network
        noise = count / 8
        features = torch.cat([cells.mean(dim=2), cells.std(dim=2) + noise], dim=2) * self.scale
        return Regions(features, torch.ones(count, 4, dtype=torch.bool), grid_boxes(2, 2).expand(count, -1, -1))


@REGION_ENCODERS.register("tiny")
def tiny(precision: str) -> TinyRegions:
    return TinyRegions(seconds=float(os.environ.get("TINY_SECONDS", "0")))
