"""Judgements beyond COCO's own pairs: ECCV Caption and CxC on COCO's 5K test.

COCO calls an image's own five captions right and all others wrong, though many of the others describe it as well.
ECCV Caption (Chun et al., ECCV 2022, arXiv 2204.03359) and CxC (Parekh et al., EACL 2021, arXiv 2004.15020) had
people judge more pairs. Both are judgements of the 5,000 images and 25,000 captions of Karpathy's test split, and
come in the package `eccv-caption`; only its data files are read.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from crossgraph.core.errors import InputError
from crossgraph.files import read_json

MISSING = InputError("ECCV Caption's judgements are not installed", "pip install 'crossgraph[eccv]'")
_BROKEN = "install it again: pip install --force-reinstall eccv-caption"


@dataclass(frozen=True)
class Judgements:
    """The pairs that one benchmark judges as right.

    Attributes:
        name: Of the benchmark.
        i2t: COCO's ids of the right captions by id of the image that asks.
        t2i: Ids of the right images by id of the caption that asks.
    """

    name: str
    i2t: Mapping[int, Sequence[int]]
    t2i: Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class Benchmark:
    """COCO's 5K test with the judgements of both benchmarks.

    Attributes:
        captions: COCO's ids of the 25,000 captions, in Karpathy's order, five an image.
        owner: Id of the image that each caption was written for.
        coco: The captions written for an image.
        cxc: Crisscrossed Captions.
        eccv: ECCV Caption.
        package: Name and version of where they come from.
    """

    captions: Int64[np.ndarray, " caption"]
    owner: Mapping[int, int]
    coco: Judgements
    cxc: Judgements
    eccv: Judgements
    package: str


def load_benchmark() -> Benchmark:
    """Read the judgements from the package `eccv_caption`.

    Raises:
        InputError: The extra `eccv` is not installed, or its files are broken.
    """
    found = importlib.util.find_spec("eccv_caption")  # its own import warns where optional packages are missing
    if found is None or not found.submodule_search_locations:
        raise MISSING
    return _load(Path(found.submodule_search_locations[0]) / "data")


@functools.cache
def _load(folder: Path) -> Benchmark:
    try:
        captions = np.load(folder / "coco_test_ids.npy").astype(np.int64)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot be read ({error})", _BROKEN) from error
    coco = _read(folder, "original", "COCO")
    return Benchmark(
        captions=captions,
        owner={caption: images[0] for caption, images in coco.t2i.items()},
        coco=coco,
        cxc=_read(folder, "cxc", "CxC"),
        eccv=_read(folder, "eccv", "ECCV Caption"),
        package=f"eccv-caption {_version()}",
    )


def _read(folder: Path, stem: str, name: str) -> Judgements:
    values = [read_json(folder / f"{stem}_{way}.json", _BROKEN) for way in ("image_to_caption", "caption_to_image")]
    i2t, t2i = ({int(key): [int(one) for one in right] for key, right in value.items()} for value in values)
    return Judgements(name, i2t, t2i)


def _version() -> str:
    try:
        return importlib.metadata.version("eccv-caption")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
