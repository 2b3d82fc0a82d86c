"""Region encoder at two scales: EfficientNet-Lite0's 7 × 7 regions, then 14 × 14 of half their size.

What is unusual here: the two scales have separate channels. A coarse region (rows 0..48) fills channels
0..1279, a fine one (rows 49..244) channels 1280..1391, and the rest of each is zero. One linear layer of a model
then holds a projection for each scale; with shared channels, one projection would have to serve two
unrelated feature spaces. The fine values, the linear output of an inner block, are much
larger than the coarse ones, which ReLU6 bounds: a constant brings their typical norm (69 on photos) to that of
the coarse ones (28). It changes no direction and no ratio within a scale.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from crossgraph.core.types import Regions
from crossgraph.vision.boxes import grid_boxes
from crossgraph.vision.efficientnet_lite0 import EfficientNetLite0
from crossgraph.vision.region_encoder import REGION_ENCODERS, Precision, full_name

_NAME = "efficientnet-lite0-multiscale"
COARSE, FINE = 1280, 112  # channels of the maps of stride 32 and 16
FINE_SCALE = 0.4


class EfficientNetLite0Multiscale:
    """The region encoder; see `crossgraph.vision.region_encoder.RegionEncoder`.

    Args:
        precision: "float32" or "bfloat16"; see `EfficientNetLite0`.

    Raises:
        InputError: The package with the code or the weights is not installed, or the weights are damaged.
    """

    image_size = 224
    feature_size = COARSE + FINE
    regions = 49 + 196
    grid: tuple[int, int] | None = None  # two grids, not one; the boxes tell them apart

    def __init__(self, precision: Precision = "float32") -> None:
        self._network = EfficientNetLite0(precision)
        self.name, self.sha256 = full_name(_NAME, precision), self._network.sha256
        self._boxes = torch.cat([grid_boxes(7, 7), grid_boxes(14, 14)])

    def encode(self, pictures: UInt8[Tensor, "img 224 224 3"]) -> Regions:
        """Encode RGB pictures to 245 regions each: the 7 × 7 grid row by row, then the 14 × 14 one."""
        fine, coarse = self._network.feature_maps(pictures)
        features = torch.zeros(len(pictures), self.regions, self.feature_size)
        features[:, :49, :COARSE] = _cells(coarse)
        features[:, 49:, COARSE:] = FINE_SCALE * _cells(fine)
        mask = torch.ones(len(pictures), self.regions, dtype=torch.bool)
        return Regions(features, mask, self._boxes.expand(len(pictures), -1, -1))


@REGION_ENCODERS.register(_NAME)
def efficientnet_lite0_multiscale(precision: Precision) -> EfficientNetLite0Multiscale:
    """Build the encoder; see `EfficientNetLite0Multiscale`."""
    return EfficientNetLite0Multiscale(precision)


def _cells(feature_map: Float[Tensor, "img channel row column"]) -> Float[Tensor, "img cell channel"]:
    return feature_map.flatten(2).transpose(1, 2)
