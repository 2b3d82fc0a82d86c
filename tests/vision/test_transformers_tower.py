"""Vision towers of `transformers`: the regions are the plain model's patch tokens, and a name leads back to them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references.tiny_transformers import PREFIX, TOWERS, save_text_model, save_tower

from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.data.manifest import read_manifest
from crossgraph.vision.region_encoder import load_region_encoder, picture_loader

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.25, 2.0]
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "size": {"shortest_edge": 36},
    "image_mean": MEAN,
    "image_std": STD,
    "rescale_factor": 1 / 255,
    "resample": 2,
}


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("kind", TOWERS)
def test_regions_are_the_patch_tokens_of_the_last_hidden_state(tmp_path, noise, kind):
    model = save_tower(tmp_path, kind, PROCESSOR)
    encoder = load_region_encoder(f"transformers:{tmp_path}")
    regions = encoder.encode(noise)
    pixels = ((noise.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = model(pixel_values=pixels).last_hidden_state[:, PREFIX[kind] :]
    assert regions.features.shape == (3, 16, 16) == wanted.shape
    assert (encoder.regions, encoder.feature_size, encoder.grid, encoder.image_size) == (16, 16, (4, 4), 32)
    torch.testing.assert_close(regions.features, wanted, rtol=1e-5, atol=1e-5)
    assert torch.allclose(regions.boxes[2, 4 * 1 + 3], torch.tensor([3, 1, 4, 2]) / 4)
    assert not regions.features.requires_grad


@pytest.mark.parametrize("kind", TOWERS)
def test_what_happens_in_a_patch_moves_its_region_most(tmp_path, kind):
    save_tower(tmp_path, kind)
    grey = torch.full((2, 32, 32, 3), 127, dtype=torch.uint8)
    grey[1, 8:16, 24:32] = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8)
    features = load_region_encoder(f"transformers:{tmp_path}").encode(grey).features
    assert int((features[1] - features[0]).norm(dim=1).argmax()) == 4 * 1 + 3


def test_pictures_are_squeezed_whole_by_the_processor_s_filter(tmp_path, photos):
    save_tower(tmp_path / "tower", "clip", PROCESSOR)
    encoder = load_region_encoder(f"transformers:{tmp_path / 'tower'}")
    with picture_loader(encoder) as loader, Image.open(photos / "0.png") as image:
        loaded = loader.load(photos / "0.png").pixels
        assert np.array_equal(loaded, np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=3.0)))


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_another_size_than_the_tower_was_trained_with_interpolates_its_positions(tmp_path, kind):
    model = save_tower(tmp_path, kind, {"size": {"height": 48, "width": 48}})
    encoder = load_region_encoder(f"transformers:{tmp_path}")
    pictures = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    features = encoder.encode(pictures).features
    assert (encoder.grid, features.shape) == ((6, 6), (1, 36, 16))
    with torch.no_grad():
        wanted = model(pixel_values=encoder.pixel_values(pictures), interpolate_pos_encoding=True)
    torch.testing.assert_close(features, wanted.last_hidden_state[:, PREFIX[kind] :], rtol=1e-5, atol=1e-5)


def test_boxes_cover_what_patches_see_where_they_do_not_divide_the_size(tmp_path):
    save_tower(tmp_path, "siglip", image_size=30, patch_size=8)
    encoder = load_region_encoder(f"transformers:{tmp_path}")
    regions = encoder.encode(torch.zeros(1, 30, 30, 3, dtype=torch.uint8))
    assert encoder.grid is None
    assert regions.boxes is not None
    assert regions.boxes[0, -1].tolist() == pytest.approx([16 / 30, 16 / 30, 24 / 30, 24 / 30])


def test_the_tower_of_a_whole_clip_is_taken(tmp_path, noise):
    from references.tiny_transformers import SIZES, save
    from transformers import CLIPConfig, CLIPModel

    text = {**SIZES, "vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 8})).eval()
    save(model, tmp_path)
    encoder = load_region_encoder(f"transformers:{tmp_path}")
    with torch.no_grad():
        wanted = model.vision_model(pixel_values=encoder.pixel_values(noise)).last_hidden_state[:, 1:]
    torch.testing.assert_close(encoder.encode(noise).features, wanted, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_named_and_near(tmp_path, noise):
    save_tower(tmp_path, "dinov2")
    exact = load_region_encoder(f"transformers:{tmp_path}").encode(noise).features
    half = load_region_encoder(f"transformers:{tmp_path}+bfloat16")
    assert half.name.endswith("+bfloat16")
    drifted = half.encode(noise).features
    assert drifted.dtype == torch.float32
    assert 0 < (drifted - exact).norm() / exact.norm() < 0.1


def test_the_name_in_the_manifest_loads_the_same_tower_and_refuses_another(tmp_path, photos, capsys):
    tower, out = tmp_path / "my+tower", tmp_path / "features"
    save_tower(tower, "siglip")
    assert main(["extract", str(photos), "--out", str(out), "--encoder", f"transformers:{tower}"]) == 0
    info = read_manifest(out / "manifest.json").encoder
    assert info.name == f"transformers:{tower}@{info.sha256[:12]}"
    assert load_region_encoder(info.name).sha256 == info.sha256

    changed = save_tower(tower, "siglip")
    with torch.no_grad():
        next(changed.parameters()).add_(1)
    from references.tiny_transformers import save

    save(changed, tower)
    with pytest.raises(InputError, match=rf"holds model \w+, the features were made by {info.sha256[:12]}: put"):
        load_region_encoder(info.name)
    capsys.readouterr()
    assert main(["extract", str(photos), "--out", str(out), "--encoder", f"transformers:{tower}"]) == 2
    assert "holds features by" in capsys.readouterr().err

    shutil.rmtree(tower)
    with pytest.raises(InputError, match=r"needs? the model \w{12} that was there: put it back, or link"):
        load_region_encoder(info.name)


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def only_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def of_another_model(folder: Path) -> None:
    save_tower(folder / "other", "dinov2")
    shutil.copy(folder / "other" / "model.safetensors", folder / "model.safetensors")


def of_another_size(folder: Path) -> None:
    save_tower(folder / "other", "clip", patch_size=16)
    shutil.copy(folder / "other" / "model.safetensors", folder / "model.safetensors")


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_type(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def two_means(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5]}')


def oblong(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 32, "width": 64}}')


def huge_patches(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"size": 4}')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_config, "has no config.json"),
        (no_weights, "has no model.safetensors"),
        (only_pickled_weights, "only pytorch_model.bin: load the model once and write it"),
        (truncated, "cannot be loaded as CLIPVisionModel"),
        (of_another_model, "its weights lack"),
        (of_another_size, "cannot be loaded as CLIPVisionModel"),
        (no_json, "not valid JSON"),
        (no_type, "names no model_type"),
        (two_means, "image_mean is"),
        (oblong, "only squares"),
        (huge_patches, "hold no patch of 8"),
    ],
)
def test_a_folder_that_is_no_tower_is_one_line(tmp_path, photos, capsys, spoil, words):
    tower, out = tmp_path / "tower", tmp_path / "features"
    save_tower(tower, "clip")
    spoil(tower)
    assert main(["extract", str(photos), "--out", str(out), "--encoder", f"transformers:{tower}"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert str(tower) in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_a_text_model_is_refused(tmp_path):
    save_text_model(tmp_path, ["dog"])
    with pytest.raises(InputError, match=r"a 'bert' model, which gives no regions: give one of clip"):
        load_region_encoder(f"transformers:{tmp_path}")


@pytest.mark.parametrize("source", ["nobody/never-heard-of", "/nothing/lies/here", "a b c", ""])
def test_a_name_that_is_neither_folder_nor_cached_is_one_line_and_asks_no_network(source):
    with pytest.raises(InputError, match=r"nothing is downloaded|has no config\.json"):
        load_region_encoder(f"transformers:{source}")


def test_the_family_alone_or_mistyped_says_how_to_write_it(tmp_path):
    with pytest.raises(InputError, match="write transformers:FOLDER"):
        load_region_encoder("transformers")
    with pytest.raises(InputError, match="did you mean 'transformers'"):
        load_region_encoder(f"transformer:{tmp_path}")


def test_a_cached_model_is_found_by_its_hub_name(tmp_path, monkeypatch, noise):
    snapshot = tmp_path / "models--me--tower" / "snapshots" / "abc"
    save_tower(snapshot, "clip")
    (tmp_path / "models--me--tower" / "refs").mkdir()
    (tmp_path / "models--me--tower" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = load_region_encoder("transformers:me/tower")
    assert encoder.name.startswith("transformers:me/tower@")
    assert encoder.encode(noise).features.shape == (3, 16, 16)


def test_a_missing_package_names_the_extra_to_install(tmp_path, monkeypatch):
    save_tower(tmp_path, "clip")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'crossgraph\[transformers\]'"):
        load_region_encoder(f"transformers:{tmp_path}")


def test_settings_nested_as_newer_processors_save_them_are_read(tmp_path):
    save_tower(tmp_path, "clip")
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PROCESSOR}))
    encoder = load_region_encoder(f"transformers:{tmp_path}")
    assert encoder.pixel_values(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))[0, 2, 0, 0] == pytest.approx(-0.15)
