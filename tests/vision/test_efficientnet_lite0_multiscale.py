"""Two scales of the default encoder: which region is which cell, and that the fine map is the published one."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from crossgraph.vision.efficientnet_lite0 import EfficientNetLite0
from crossgraph.vision.efficientnet_lite0_multiscale import FINE_SCALE, EfficientNetLite0Multiscale
from crossgraph.vision.pictures import PictureLoader
from crossgraph.vision.region_encoder import load_region_encoder


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0Multiscale:
    return EfficientNetLite0Multiscale()


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.shared
def test_the_fine_regions_are_the_onnx_export_s_stride_16_map_on_photos(encoder, shared):
    paths = sorted((shared / "data" / "coco-mini-open" / "images").iterdir())[:4]
    with PictureLoader(224) as loader:
        photos = np.stack([loader.load(path).pixels for path in paths])
    session = onnxruntime.InferenceSession(shared / "models" / "efficientnet_lite0" / "efficientnet_lite0.onnx")
    scaled = ((photos.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    wanted, coarse = session.run(["feat_s16", "feat_s32"], {"images": np.ascontiguousarray(scaled)})
    features = encoder.encode(torch.from_numpy(photos)).features.numpy()
    fine = features[:, 49:, 1280:].transpose(0, 2, 1).reshape(wanted.shape) / FINE_SCALE
    assert np.abs(fine - wanted).max() < 1e-5 * np.abs(wanted).max()
    norms = [np.linalg.norm(part, axis=-1).mean() for part in (features[:, :49], features[:, 49:])]
    assert 0.7 < norms[0] / norms[1] < 1.4  # neither scale drowns the other
    assert np.abs(features[:, :49, :1280].transpose(0, 2, 1).reshape(coarse.shape) - coarse).max() < 1e-3


def test_the_first_49_regions_are_the_default_encoder_s(encoder, noise):
    regions = encoder.encode(noise)
    assert regions.features.shape == (2, 245, 1392) == (2, encoder.regions, encoder.feature_size)
    plain = EfficientNetLite0().encode(noise)
    assert torch.equal(regions.features[:, :49, :1280], plain.features)
    assert torch.equal(regions.boxes[:, :49], plain.boxes)
    assert regions.mask.all()


def test_each_scale_has_channels_of_its_own(encoder, noise):
    features = encoder.encode(noise).features
    assert not features[:, :49, 1280:].any()
    assert not features[:, 49:, :1280].any()
    assert features[:, 49:, 1280:].any(dim=2).all()


def test_a_fine_region_is_its_cell_of_the_14_by_14_grid(encoder, noise):
    fine, _ = EfficientNetLite0().feature_maps(noise)
    regions = encoder.encode(noise)
    row, column = 3, 11
    place = 49 + 14 * row + column
    assert torch.equal(regions.features[1, place, 1280:], FINE_SCALE * fine[1, :, row, column])
    assert torch.allclose(regions.boxes[1, place], torch.tensor([column, row, column + 1, row + 1]) / 14)
    assert encoder.grid is None


def test_it_is_found_by_name_and_precision():
    assert load_region_encoder("efficientnet-lite0-multiscale").name == "efficientnet-lite0-multiscale"
    half = load_region_encoder("efficientnet-lite0-multiscale+bfloat16")
    assert half.name == "efficientnet-lite0-multiscale+bfloat16"
