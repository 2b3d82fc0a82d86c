"""Karpathy's split files (`dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`).

`images[].{filename, split, sentences[].{raw, tokens}}`, with COCO's `filepath` and `cocoid`. The split `restval`
belongs to COCO's train, `val` is dev.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.data.caption_text import parse_captions
from crossgraph.data.captioned import CaptionedPicture, coco_ids
from crossgraph.data.dataset import split_name

Captions = Literal["raw", "tokens"]


def is_karpathy(value: Any) -> bool:
    """Tell whether parsed JSON is of this layout."""
    images = value.get("images") if isinstance(value, Mapping) else None
    return isinstance(images, list) and bool(images) and isinstance(images[0], Mapping) and "sentences" in images[0]


def read_karpathy(value: Mapping[str, Any], source: Path, captions: Captions = "raw") -> list[CaptionedPicture]:
    """Read the pictures of a parsed file.

    Args:
        value: The parsed JSON.
        source: The file, for messages.
        captions: Take the sentence as written, or the file's own tokens joined by spaces.

    Raises:
        InputError: An entry lacks what it should have; it is named by its number.
    """
    pictures: list[CaptionedPicture] = []
    for number, image in enumerate(value["images"]):
        try:
            where = f"{source}: images[{number}]"
            texts = [
                parse_captions(sentence["raw"] if captions == "raw" else " ".join(sentence["tokens"]), where)
                for sentence in image["sentences"]
            ]
            folder = image.get("filepath")
            names = [str(image["filename"])]
            names += [f"{folder}/{image['filename']}"] if folder else []
            names += [str(image["cocoid"])] if "cocoid" in image else []
            own = tuple(text for sentence in texts for text in sentence)
            ids = [sentence.get("sentid") for sentence in image["sentences"]]
            coco = coco_ids(image["cocoid"], ids) if "cocoid" in image and len(ids) == len(own) else None
            picture = CaptionedPicture(tuple(names), own, split_name(str(image["split"])), coco)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{source}: images[{number}] is not as Karpathy's files have it ({error})",
                "each needs filename, split and sentences with raw",
            ) from error
        pictures.append(picture)
    return pictures
