"""Reads boxes of named objects: from scenes' `objects.json`, or from a COCO file of instances.

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
from crossgraph.explain.measures.object_names import (
    Lexicon,
    Mention,
    category_lexicon,
    find_mentions,
    scene_lexicon,
    scene_names,
)
from crossgraph.files import read_json

SCENES_FILE = "objects.json"
_REMEDY = "give scenes' objects.json, or COCO's instances JSON with images, categories and annotations with bbox"
Boxes = Float[np.ndarray, "box 4"]


@dataclass(frozen=True)
class ObjectBoxes:
    """The boxes of the objects of some pictures.

    Attributes:
        source: The file.
        kind: "scenes" or "coco".
        pictures: Boxes by picture and by object name: xyxy in 0..1 of the picture's width and height.
        lexicon: Phrases that name the objects.
        count: Number of boxes.
    """

    source: Path
    kind: str
    pictures: Mapping[str, Mapping[str, Boxes]]
    lexicon: Lexicon
    count: int

    def mentions(self, caption: str) -> list[Mention]:
        """Return the words of a caption that name objects, boxed in its picture or not."""
        return find_mentions(caption, self.lexicon)

    def for_images(self, image_ids: Sequence[str]) -> list[Mapping[str, Boxes]]:
        """Return the boxes of a split's pictures, in their order; empty for a picture the file does not know.

        Pictures are found by path, file name or COCO's number. Names that are plain numbers count only where
        all of the split's are found, for the names of a data set that merely counts its pictures are no COCO numbers.
        """
        files = list(self.pictures)
        try:
            rows = pair([Name(name) for name in image_ids], files).rows
        except InputError:  # a name that fits several: none of them is sure
            rows = [files.index(name) if name in self.pictures else None for name in image_ids]
        if all(name.isdecimal() for name in image_ids) and None in rows:
            rows = [None] * len(rows)
        return [{} if row is None else self.pictures[files[row]] for row in rows]


def find_boxes(data: Path, file: Path | None = None) -> ObjectBoxes | None:
    """Return the boxes that belong to a data folder, or None where it has none.

    Args:
        data: The data folder, or its captions file.
        file: A file to read instead.

    Raises:
        InputError: A file that was named, or that is called as if it held boxes, holds none.
    """
    if file is not None:
        return read_boxes(file)
    folder = data if data.is_dir() else data.parent
    if (folder / SCENES_FILE).is_file():
        return read_boxes(folder / SCENES_FILE)
    files = [*sorted(folder.glob("instances*.json")), *sorted((folder / "annotations").glob("instances*.json"))]
    return read_boxes(files[0]) if files else None


def read_boxes(path: Path) -> ObjectBoxes:
    """Return the boxes of a file.

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
        lists, count = read(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: an entry is not as it should be ({reason})", _REMEDY) from error
    if not any(lists.values()):
        raise InputError(f"{path}: holds no boxes", _REMEDY)
    names = sorted({name for objects in lists.values() for name in objects})
    lexicon = scene_lexicon() if kind == "scenes" else category_lexicon(names)
    pictures = {
        picture: {name: np.array(boxes) for name, boxes in objects.items()} for picture, objects in lists.items()
    }
    return ObjectBoxes(path, kind, pictures, lexicon, count)


_BoxLists = dict[str, dict[str, list[list[float]]]]
"""Boxes by picture and by object name."""


def _read_scenes(value: dict[str, Any]) -> tuple[_BoxLists, int]:
    """Return the boxes of `objects.json`, and how many there are."""
    size = _positive(value["size"], "size")
    boxes: _BoxLists = {}
    for picture, scene in value["pictures"].items():
        objects = boxes.setdefault(str(picture), {})
        for item in scene["objects"]:
            box = _box(item["box"], size, size)
            for name in scene_names(str(item["name"])):
                objects.setdefault(name, []).append(box)
    return boxes, sum(len(scene["objects"]) for scene in value["pictures"].values())


def _read_instances(value: dict[str, Any]) -> tuple[_BoxLists, int]:
    """Return the boxes of a COCO file of instances, and how many there are."""
    images = {image["id"]: image for image in value["images"]}
    names = {category["id"]: str(category["name"]) for category in value["categories"]}
    boxes: _BoxLists = {str(image["file_name"]): {} for image in images.values()}
    for annotation in value["annotations"]:
        image = images[annotation["image_id"]]
        x, y, width, height = annotation["bbox"]
        box = _box([x, y, x + width, y + height], *(_positive(image[side], side) for side in ("width", "height")))
        boxes[str(image["file_name"])].setdefault(names[annotation["category_id"]], []).append(box)
    return boxes, len(value["annotations"])


def _positive(value: Any, name: str) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} {value!r}")
    return number


def _box(corners: Sequence[Any], width: float, height: float) -> list[float]:
    """Return a box in shares of the picture's width and height, clipped to it."""
    left, top, right, bottom = (float(value) for value in corners)
    box = [min(1.0, max(0.0, v)) for v in (left / width, top / height, right / width, bottom / height)]
    if not all(map(math.isfinite, (left, top, right, bottom))) or right < left or bottom < top:
        raise ValueError(f"box {list(corners)!r}")
    return box
