"""Turn pictures into regions: paths, open images, or features of the user's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.models.base import Inputs
from crossgraph.vision.pictures import BrokenPicture
from crossgraph.vision.region_encoder import RegionEncoder, picture_loader

PictureLike = str | Path | Image.Image | np.ndarray | Regions
"""A path, an open image, features (regions, D) of one's own, or `Regions` of one picture."""
Pictures = Sequence[PictureLike] | np.ndarray | Regions
"""Several: a sequence of these, an array (pictures, regions, D), or `Regions`."""

Broken = Callable[[str, str], None]
"""Called with a picture's name and what is wrong with it."""

BATCH = 8


def as_list(pictures: Pictures) -> list[PictureLike]:
    """Return one entry a picture.

    Raises:
        InputError: An array has neither two nor three axes, or there is no picture.
    """
    if isinstance(pictures, (str, Path, Image.Image)):  # one picture is a common slip, and clear enough
        return [pictures]
    if isinstance(pictures, Regions):
        return [pictures.select(slice(row, row + 1)) for row in range(len(pictures))]
    if isinstance(pictures, np.ndarray):
        if pictures.ndim == 2:
            return [pictures]
        if pictures.ndim != 3:
            raise InputError(
                f"features of shape {pictures.shape}", "give an array of (regions, D), or (pictures, regions, D)"
            )
        return list(pictures)
    return list(pictures)


def name_of(picture: PictureLike, row: int) -> str:
    """Return what a picture is called in answers and messages."""
    if isinstance(picture, (str, Path)):
        return str(picture)
    file = getattr(picture, "filename", "")
    return str(file) if file else f"picture {row}"


def region_batches(
    pictures: Sequence[PictureLike],
    inputs: Inputs,
    encoder: Callable[[], RegionEncoder],
    name: str,
    broken: Broken | None = None,
) -> Iterator[tuple[list[int], Regions]]:
    """Turn pictures into regions, some at a time, in order.

    Args:
        pictures: At least one.
        inputs: What the model takes.
        encoder: Returns the region encoder; called only when a picture has to be encoded.
        name: What the model is called in messages.
        broken: Called for a picture that cannot be read, which is then left out; without it that is an error.

    Yields:
        Rows of `pictures`, and their regions; rows are missing where pictures are broken.

    Raises:
        InputError: A picture cannot be read, or features do not fit the model.
    """
    for start in range(0, len(pictures), BATCH):
        rows: list[int] = []
        read: list[np.ndarray | Regions] = []
        for row in range(start, min(start + BATCH, len(pictures))):
            picture = pictures[row]
            try:
                is_own = isinstance(picture, (np.ndarray, Regions))
                read.append(own_regions(picture, inputs, name, row) if is_own else _pixels(picture, row, encoder()))
                rows.append(row)
            except BrokenPicture as reason:
                if broken is None:
                    raise InputError(f"{name_of(picture, row)}: {reason}", "give a picture that opens") from reason
                broken(name_of(picture, row), str(reason))
        if read:
            yield rows, join(list(_encoded(read, encoder)))


def own_regions(features: PictureLike, inputs: Inputs, name: str, row: int = 0) -> Regions:
    """Check features of one's own and return them as regions of one picture.

    Raises:
        InputError: They are not numbers (regions, D) of the width and count that the model takes, or not finite.
    """
    assert isinstance(features, (np.ndarray, Regions))
    regions = features if isinstance(features, Regions) else _as_regions(features, row)
    if len(regions) != 1:
        raise InputError(f"picture {row}: regions of {len(regions)} pictures", "give one picture at a time")
    _, count, width = regions.features.shape
    if width != inputs.feature_size:
        raise InputError(
            f"picture {row}: features are {width:,} wide, {name} takes {inputs.feature_size:,}",
            "use features of the region encoder that the model was trained with",
        )
    if inputs.regions is not None and count != inputs.regions:
        raise InputError(
            f"picture {row}: {count} regions, {name} takes exactly {inputs.regions}",
            "use features with that many regions, or a model with region_norm: feature",
        )
    if not bool(regions.mask.any()):
        raise InputError(f"picture {row}: has no region", "give at least one")
    if not bool(torch.isfinite(regions.features).all()):
        raise InputError(f"picture {row}: holds NaN or infinite features", "make these features again")
    return regions


def join(parts: Sequence[Regions]) -> Regions:
    """Return several blocks of regions as one; fewer regions are padded and masked out."""
    most = max(part.features.shape[1] for part in parts)
    boxed = all(part.boxes is not None for part in parts)

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        missing = most - tensor.shape[1]
        return torch.cat([tensor, tensor.new_zeros(len(tensor), missing, *tensor.shape[2:])], dim=1)

    return Regions(
        torch.cat([padded(part.features) for part in parts]),
        torch.cat([padded(part.mask) for part in parts]),
        torch.cat([padded(part.boxes) for part in parts if part.boxes is not None]) if boxed else None,
    )


def _as_regions(features: np.ndarray, row: int) -> Regions:
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.number) or np.iscomplexobj(features):
        raise InputError(
            f"picture {row}: features of shape {features.shape} and type {features.dtype}",
            "give real numbers of shape (regions, D)",
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        tensor = torch.from_numpy(np.array(features, dtype=np.float32))[None]
    return Regions(tensor, torch.ones(1, tensor.shape[1], dtype=torch.bool))


def _pixels(picture: PictureLike, row: int, encoder: RegionEncoder) -> np.ndarray:
    """Return a picture as the region encoder takes it."""
    if not isinstance(picture, (str, Path, Image.Image)):
        raise InputError(
            f"picture {row}: is {type(picture).__name__}", "give a path, a PIL image, or an array of (regions, D)"
        )
    with picture_loader(encoder) as loader:
        if isinstance(picture, Image.Image):
            return loader.convert(picture)
        if not Path(picture).exists():
            raise InputError(f"{picture}: no such file", "check the path")
        if Path(picture).is_dir():
            raise InputError(f"{picture}: is a folder", "give a picture")
        return loader.load(Path(picture)).pixels


def _encoded(read: Sequence[np.ndarray | Regions], encoder: Callable[[], RegionEncoder]) -> Iterator[Regions]:
    """Encode neighbours that are pixels together; pass regions on."""
    for is_regions, group in itertools.groupby(read, key=lambda entry: isinstance(entry, Regions)):
        if is_regions:
            yield from (entry for entry in group if isinstance(entry, Regions))
        else:
            pixels = [entry for entry in group if isinstance(entry, np.ndarray)]
            yield encoder().encode(torch.from_numpy(np.stack(pixels)))
