"""Boxes of named things, from where they are known: scenes' `objects.json`, or a COCO file of instances.

objects.json        beside the scenes' captions; exact boxes of the visible pixels
instances*.json     COCO's layout, beside the captions or in annotations/; or any such file by --boxes
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from crossgraph.core.errors import InputError
from crossgraph.data.pairing import Name, pair
from crossgraph.explain.naming import Lexicon, Named, category_lexicon, find_named, scene_lexicon, scene_names
from crossgraph.files import read_json

SCENES_FILE = "objects.json"
_REMEDY = "give scenes' objects.json, or COCO's instances JSON with images, categories and annotations with bbox"
Boxes = Float[np.ndarray, "box 4"]


@dataclass(frozen=True)
class BoxedThings:
    """What is where in some pictures.

    Attributes:
        source: The file.
        kind: "scenes" or "coco".
        pictures: Boxes by picture and by thing: xyxy in 0..1 of the picture's width and height.
        lexicon: Which phrases name which thing.
        count: Boxes in all.
    """

    source: Path
    kind: str
    pictures: Mapping[str, Mapping[str, Boxes]]
    lexicon: Lexicon
    count: int

    def named_in(self, caption: str) -> list[Named]:
        """Return the words of a caption that name things, boxed in its picture or not."""
        return find_named(caption, self.lexicon)

    def of(self, image_ids: Sequence[str]) -> list[Mapping[str, Boxes]]:
        """Return the boxes of a split's pictures, in their order; empty for a picture the file does not know.

        Pictures are found by path, file name or COCO's number. Names that are plain numbers count only where
        all of the split's are found, for a data set that merely counts its pictures knows no COCO numbers.
        """
        files = list(self.pictures)
        try:
            rows = pair([Name(name) for name in image_ids], files).rows
        except InputError:  # a name that fits several: none of them is sure
            rows = [files.index(name) if name in self.pictures else None for name in image_ids]
        if all(name.isdecimal() for name in image_ids) and None in rows:
            rows = [None] * len(rows)
        return [{} if row is None else self.pictures[files[row]] for row in rows]


def find_boxes(data: Path, named: Path | None = None) -> BoxedThings | None:
    """Read the boxes that belong to a data folder.

    Args:
        data: The data folder, or its captions file.
        named: A file to read instead.

    Returns:
        The boxes, or None where the folder has none.

    Raises:
        InputError: A file that was named, or that is called as if it held boxes, holds none.
    """
    if named is not None:
        return read_boxes(named)
    folder = data if data.is_dir() else data.parent
    if (folder / SCENES_FILE).is_file():
        return read_boxes(folder / SCENES_FILE)
    for place in (folder, folder / "annotations"):
        for file in sorted(place.glob("instances*.json")):
            return read_boxes(file)
    return None


def read_boxes(path: Path) -> BoxedThings:
    """Read a file of boxes.

    Raises:
        InputError: It is missing, no JSON, of neither layout, or without any box.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder", _REMEDY)
    value = cast("dict[str, Any]", read_json(path, _REMEDY))
    if not isinstance(value, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"{path}: holds no boxes", _REMEDY)
    if isinstance(value.get("pictures"), dict):
        kind, read = "scenes", _read_scenes
    elif all(isinstance(value.get(key), list) for key in ("images", "annotations")):
        kind, read = "coco", _read_instances
    else:
        raise InputError(f"{path}: holds no boxes", _REMEDY)
    try:
        things, count = read(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: an entry is not as it should be ({_said(error)})", _REMEDY) from error
    if not any(things.values()):
        raise InputError(f"{path}: holds no boxes", _REMEDY)
    lexicon = scene_lexicon() if kind == "scenes" else category_lexicon(sorted({t for p in things.values() for t in p}))
    pictures = {picture: {thing: np.array(boxes) for thing, boxes in of.items()} for picture, of in things.items()}
    return BoxedThings(path, kind, pictures, lexicon, count)


_Found = dict[str, dict[str, list[list[float]]]]


def _read_scenes(value: dict[str, Any]) -> tuple[_Found, int]:
    size = _positive(value["size"], "size")
    found: _Found = {}
    for picture, scene in value["pictures"].items():
        things: dict[str, list[list[float]]] = {}
        for item in scene["objects"]:
            box = _box(item["box"], size, size)
            for name in scene_names(str(item["name"])):
                things.setdefault(name, []).append(box)
        found[str(picture)] = things
    return found, sum(len(scene["objects"]) for scene in value["pictures"].values())


def _read_instances(value: dict[str, Any]) -> tuple[_Found, int]:
    images = {image["id"]: image for image in value["images"]}
    names = {category["id"]: str(category["name"]) for category in value["categories"]}
    found: _Found = {str(image["file_name"]): {} for image in images.values()}
    for annotation in value["annotations"]:
        image = images[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        box = _box([x, y, x + width, y + height], *(_positive(image[side], side) for side in ("width", "height")))
        found[str(image["file_name"])].setdefault(names[annotation["category_id"]], []).append(box)
    return found, len(value["annotations"])


def _positive(value: Any, what: str) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{what} {value!r}")
    return number


def _box(corners: Sequence[Any], width: float, height: float) -> list[float]:
    """Return a box as shares of the picture, cut to it."""
    left, top, right, bottom = (float(value) for value in corners)
    box = [min(1.0, max(0.0, v)) for v in (left / width, top / height, right / width, bottom / height)]
    if not all(map(math.isfinite, (left, top, right, bottom))) or right < left or bottom < top:
        raise ValueError(f"box {list(corners)!r}")
    return box


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
