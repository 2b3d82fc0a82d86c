"""The contract of region encoders, which turn pictures into regions, and their registries.

A region encoder is one file of this package: a class that fulfils `RegionEncoder`, and a function of a
`Precision` that builds it, registered with `@REGION_ENCODERS.register("its-name")`. A family of encoders that
differ in the model they load is one file too: its function takes a source and a `Precision`, is registered with
`@REGION_ENCODER_FAMILIES.register("family")`, and its encoders are called "family:source".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.core.registry import Registry
from crossgraph.core.types import Regions
from crossgraph.vision.pictures import DEFAULT_MEGAPIXELS, PictureLoader

Precision = Literal["float32", "bfloat16"]


class RegionEncoder(Protocol):
    """A frozen network from pictures to region vectors.

    An encoder with another filter than bicubic for resizing has an attribute `resampling`, Pillow's.

    Attributes:
        name: Its name in the registry, with "+bfloat16" appended when it computes in that precision: the
            name alone determines how features were made (see `load_region_encoder`).
        sha256: Digest of its weights.
        image_size: Width and height of the pictures it takes; pictures are squeezed to this square whole.
        feature_size: Width of a region's vector, D.
        regions: Regions of a picture, R.
        grid: Rows and columns when the regions tile the picture row by row, else None.
    """

    name: str
    sha256: str
    image_size: int
    feature_size: int
    regions: int
    grid: tuple[int, int] | None

    def encode(self, pictures: UInt8[Tensor, "img size size 3"]) -> Regions:
        """Encode RGB pictures; a picture's regions do not depend on the others of its batch."""
        ...


REGION_ENCODERS: Registry[Callable[[Precision], RegionEncoder]] = Registry("region encoder", "crossgraph.vision")
REGION_ENCODER_FAMILIES: Registry[Callable[[str, Precision], RegionEncoder]] = Registry(
    "family of region encoders", "crossgraph.vision"
)


def load_region_encoder(name: str = "efficientnet-lite0", precision: Precision | None = None) -> RegionEncoder:
    """Build a region encoder by name, for instance the name that a feature folder or a run carries.

    Args:
        name: A registered name, or "family:source"; "+bfloat16" may follow.
        precision: What to compute in; None takes it from the name.

    Raises:
        InputError: No such encoder, its package or weights are missing, or name and precision disagree.
    """
    family, colon, source = name.partition(":")
    if not colon and name in REGION_ENCODER_FAMILIES:
        raise InputError(f"region encoder '{name}' names no model", f"write {name}:FOLDER")
    if colon:
        base = source.removesuffix("+bfloat16")
        plus, named = "+" if base != source else "", "bfloat16"
    else:
        base, plus, named = name.partition("+")
    if plus and named != "bfloat16":
        raise InputError(f"unknown precision '{named}' in region encoder '{name}'", f"'{base}' or '{base}+bfloat16'")
    if plus and precision not in (None, named):
        raise InputError(f"region encoder '{name}' does not compute in {precision}", f"ask for '{base}'")
    chosen: Precision = "bfloat16" if plus else precision or "float32"
    return REGION_ENCODER_FAMILIES[family](base, chosen) if colon else REGION_ENCODERS[base](chosen)


def picture_loader(encoder: RegionEncoder, max_megapixels: float = DEFAULT_MEGAPIXELS) -> PictureLoader:
    """Return a loader of pictures in an encoder's size and filter."""
    resampling: Image.Resampling = getattr(encoder, "resampling", Image.Resampling.BICUBIC)
    return PictureLoader(encoder.image_size, max_megapixels, resampling)


def full_name(name: str, precision: Precision) -> str:
    """Return the full name of an encoder in a precision: "efficientnet-lite0+bfloat16"."""
    return name if precision == "float32" else f"{name}+{precision}"
