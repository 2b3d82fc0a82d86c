"""Region encoders: patch tokens of `transformers` vision towers: CLIP, SigLIP, DINOv2 with or without registers.

CLIP: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (ICML 2021).
SigLIP: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (ICCV 2023).
DINOv2: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision" (TMLR 2024); registers:
Darcet et al., "Vision Transformers Need Registers" (ICLR 2024).

What is unusual here: the model's own mean, deviation, size and filter are used, but its crop is not: pictures
are squeezed whole, so that the patches' boxes tile them. No image processor class is needed, hence no
torchvision. Regions are the patch tokens of `last_hidden_state`: for SigLIP and DINOv2 that is after the final
layer norm, for CLIP before it (its `post_layernorm` is applied to the class token alone). Class and register
tokens are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.files import read_json
from crossgraph.pretrained import find_model, fingerprint, load_model, read_config
from crossgraph.vision.boxes import grid_boxes
from crossgraph.vision.region_encoder import REGION_ENCODER_FAMILIES, Precision, full_name

_FAMILY = "transformers"
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_HALF = (0.5, 0.5, 0.5)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True)
class _Kind:
    """A family of towers: its class, and the mean and deviation of its processors where the folder has none."""

    model: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


_CLIP = _Kind("CLIPVisionModel", *_OPENAI)
_SIGLIP = _Kind("SiglipVisionModel", _HALF, _HALF)
_KINDS = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "dinov2": _Kind("Dinov2Model", *_IMAGENET),
    "dinov2_with_registers": _Kind("Dinov2WithRegistersModel", *_IMAGENET),
}
_INTERPOLATE_BY_ITSELF = ("dinov2", "dinov2_with_registers")
_PREFIX_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "dinov2": 1, "dinov2_with_registers": 1}


@dataclass(frozen=True)
class PixelSettings:
    """Preprocessing of a tower's pictures.

    Attributes:
        size: Width and height.
        mean: Per channel, of values in 0..1; subtracted.
        std: Per channel; divided by.
        scale: Factor from 0..255 to the range of `mean`.
        resampling: Pillow's filter.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resampling: Image.Resampling


class TransformersTower:
    """The region encoder; see `crossgraph.vision.region_encoder.RegionEncoder`.

    Args:
        source: A model's folder, or a name in the local Hugging Face cache; followed by "@" and the first 12
            digits of a digest it must have, as in the name that feature folders and runs carry.
        precision: What to compute in.

    Attributes:
        resampling: Pillow's filter for the pictures it takes.

    Raises:
        InputError: The folder is no vision tower's, is damaged, or its model has another digest.
    """

    def __init__(self, source: str, precision: Precision = "float32") -> None:
        source, digest = _split_digest(source)
        folder = _find(source, digest)
        kind = _kind(folder)
        self.sha256 = fingerprint(folder, ("config.json", *_PROCESSOR_FILES))
        if digest and not self.sha256.startswith(digest):
            raise InputError(
                f"{folder}: holds model {self.sha256[:12]}, the features were made by {digest}",
                "put that model back, or extract the features again and train on them",
            )
        self._model = load_model(kind.model, folder).requires_grad_(False)
        settings = read_pixel_settings(folder, kind, int(self._model.config.image_size))
        location = str(Path(source).expanduser().absolute()) if Path(source).expanduser().is_dir() else source
        self.name = full_name(f"{_FAMILY}:{location}@{self.sha256[:12]}", precision)
        self._dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self._model.to(self._dtype)
        self._set_layout(settings, folder)

    def _set_layout(self, settings: PixelSettings, folder: Path) -> None:
        config = self._model.config
        patch, side = int(config.patch_size), settings.size // int(config.patch_size)
        if side < 1:
            raise InputError(f"{folder}: pictures of {settings.size} pixels hold no patch of {patch}")
        self.image_size, self.resampling = settings.size, settings.resampling
        self.feature_size, self.regions = int(config.hidden_size), side * side
        covered = side * patch / settings.size  # a size that patches do not divide: no patch covers the rim
        self.grid: tuple[int, int] | None = (side, side) if covered == 1 else None
        self._boxes = grid_boxes(side, side) * covered
        self._mean = torch.tensor(settings.mean)[:, None, None]
        self._std = torch.tensor(settings.std)[:, None, None]
        self._scale = settings.scale
        self._skip = _PREFIX_TOKENS[config.model_type] + int(getattr(config, "num_register_tokens", 0))
        resized = settings.size != int(config.image_size) and config.model_type not in _INTERPOLATE_BY_ITSELF
        self._options = {"interpolate_pos_encoding": True} if resized else {}

    def pixel_values(self, pictures: UInt8[Tensor, "img size size 3"]) -> Float[Tensor, "img 3 size size"]:
        """Return RGB pictures as the model's input."""
        x = pictures.permute(0, 3, 1, 2).to(torch.float32) * self._scale
        return (x - self._mean) / self._std

    @torch.inference_mode()
    def encode(self, pictures: UInt8[Tensor, "img size size 3"]) -> Regions:
        """Encode RGB pictures to one region a patch, row by row."""
        states = self._model(pixel_values=self.pixel_values(pictures).to(self._dtype), **self._options)
        features = states.last_hidden_state[:, self._skip :].float().clone()
        mask = torch.ones(len(pictures), self.regions, dtype=torch.bool)
        return Regions(features, mask, self._boxes.expand(len(pictures), -1, -1))


@REGION_ENCODER_FAMILIES.register(_FAMILY)
def transformers_tower(source: str, precision: Precision) -> TransformersTower:
    """Build the encoder; see `TransformersTower`."""
    return TransformersTower(source, precision)


def read_pixel_settings(folder: Path, kind: _Kind, image_size: int) -> PixelSettings:
    """Read the preprocessing of a model's image processor; missing settings are the family's.

    Args:
        folder: The model's.
        kind: Its family.
        image_size: Of the model's own configuration.

    Raises:
        InputError: A value cannot be used; file and value are named.
    """
    path, values = folder / "config.json", dict[str, Any]()
    for name in _PROCESSOR_FILES:
        if (folder / name).is_file():
            path, read = folder / name, read_json(folder / name)
            values = read.get("image_processor", read) if isinstance(read, dict) else {}
            break
    normalised = values.get("do_normalize", True)
    return PixelSettings(
        size=_square(values, image_size, path),
        mean=_channels(values, "image_mean", kind.mean, path) if normalised else (0.0, 0.0, 0.0),
        std=_channels(values, "image_std", kind.std, path) if normalised else (1.0, 1.0, 1.0),
        scale=float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0,
        resampling=_filter(values.get("resample", Image.Resampling.BICUBIC.value), path),
    )


def _kind(folder: Path) -> _Kind:
    model_type = read_config(folder)["model_type"]
    if model_type not in _KINDS:
        raise InputError(
            f"{folder}: a '{model_type}' model, which gives no regions", f"give one of {', '.join(_KINDS)}"
        )
    return _KINDS[model_type]


def _find(source: str, digest: str) -> Path:
    try:
        return find_model(source)
    except InputError as error:
        if not digest:
            raise
        raise InputError(
            f"{error.problem}; the features need the model {digest} that was there",
            f"put it back, or link to where it lies now: ln -s NEW_FOLDER {source}",
        ) from error


def _split_digest(source: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)@([0-9a-f]{12})", source)
    return (match[1], match[2]) if match else (source, "")


def _square(values: dict[str, Any], image_size: int, path: Path) -> int:
    cropped = values.get("do_center_crop", "crop_size" in values) and values.get("crop_size")
    size: Any = cropped or values.get("size") or image_size
    if isinstance(size, dict):
        edges = [size[name] for name in ("height", "width", "shortest_edge") if size.get(name) is not None]
        size = edges[0] if len(set(map(str, edges))) == 1 else size
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= 4096:
        raise InputError(f"{path}: pictures of size {size}", "only squares up to 4096 pixels are made")
    return size


def _channels(values: dict[str, Any], name: str, default: tuple[float, ...], path: Path) -> tuple[float, ...]:
    given = values.get(name) or default
    numbers = [value for value in given if isinstance(value, int | float)] if isinstance(given, list | tuple) else []
    if len(numbers) != 3 or (name == "image_std" and not all(value > 0 for value in numbers)):
        raise InputError(f"{path}: {name} is {given!r}, not three numbers", "save the image processor again")
    return tuple(float(value) for value in numbers)


def _filter(value: Any, path: Path) -> Image.Resampling:
    try:
        return Image.Resampling(value)
    except ValueError as error:
        raise InputError(f"{path}: resample is {value!r}", "give one of Pillow's numbers, 0 to 5") from error
