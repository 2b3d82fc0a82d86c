"""COCO's captions JSON: `images[].{id, file_name}` and `annotations[].{image_id, caption}`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data.caption_text import parse_captions
from crossgraph.data.captioned import CaptionedPicture, coco_ids


def is_coco(value: Any) -> bool:
    """Tell whether parsed JSON is of this layout, with captions."""
    annotations = value.get("annotations") if isinstance(value, Mapping) else None
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return isinstance(first, Mapping) and "caption" in first and isinstance(value.get("images"), list)


def read_coco(value: Mapping[str, Any], source: Path, split: str | None) -> list[CaptionedPicture]:
    """Read the pictures of a parsed file, in the order of `images`.

    Args:
        value: The parsed JSON.
        source: The file, for messages.
        split: The split that all of them belong to; None where it is to be made.

    Raises:
        InputError: An annotation names no picture of the file, or an entry lacks what it should have.
    """
    captions: dict[Any, list[str]] = defaultdict(list)
    ids: dict[Any, list[Any]] = defaultdict(list)
    try:
        for number, annotation in enumerate(value["annotations"]):
            texts = parse_captions(annotation["caption"], f"{source}: annotations[{number}]")
            captions[annotation["image_id"]] += texts
            ids[annotation["image_id"]] += [annotation.get("id")] if len(texts) == 1 else [None] * len(texts)
        pictures = [
            CaptionedPicture(
                (str(image["file_name"]), str(image["id"])),
                tuple(captions.pop(image["id"], ())),
                split,
                coco_ids(image["id"], ids[image["id"]]),
            )
            for image in value["images"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{source}: an entry is not as COCO's captions have it ({error})",
            "images need id and file_name, annotations need image_id and caption",
        ) from error
    if captions:
        lost = next(iter(captions))
        raise InputError(
            f"{source}: {len(captions):,} captioned pictures are not among its images (image_id {lost})",
            "add them to images; the file may be cut short, or joined from two",
        )
    return pictures
