"""Read the captions files in JSON of Karpathy's splits and of COCO."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.data.caption_text import parse_captions
from crossgraph.data.captioned import CaptionedPicture, coco_ids
from crossgraph.data.dataset import split_name

Captions = Literal["raw", "tokens"]


def is_karpathy(value: Any) -> bool:
    """Return whether parsed JSON is of Karpathy's layout."""
    images = value.get("images") if isinstance(value, Mapping) else None
    return isinstance(images, list) and bool(images) and isinstance(images[0], Mapping) and "sentences" in images[0]


def is_coco(value: Any) -> bool:
    """Return whether parsed JSON is of COCO's layout, with captions."""
    annotations = value.get("annotations") if isinstance(value, Mapping) else None
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return isinstance(first, Mapping) and "caption" in first and isinstance(value.get("images"), list)


def read_karpathy(value: Mapping[str, Any], source: Path, captions: Captions = "raw") -> list[CaptionedPicture]:
    """Read the pictures of `dataset_flickr8k.json`, `dataset_flickr30k.json` or `dataset_coco.json`.

    They hold `images[].{filename, split, sentences[].{raw, tokens}}`, with COCO's `filepath` and `cocoid`. The split
    `restval` belongs to COCO's train, `val` is dev.

    Args:
        value: The parsed JSON.
        source: The file, for messages.
        captions: Take the sentence as written, or the file's own tokens joined by spaces.

    Raises:
        InputError: An entry lacks what it should have; it is named by its number.
    """
    pictures: list[CaptionedPicture] = []
    for number, image in enumerate(value["images"]):
        where = f"{source}: images[{number}]"
        try:
            sentences = image["sentences"]
            texts = [s["raw"] if captions == "raw" else " ".join(s["tokens"]) for s in sentences]
            own = [text for written in texts for text in parse_captions(written, where)]
            names = [str(image["filename"])]
            names += [f"{image['filepath']}/{image['filename']}"] if image.get("filepath") else []
            names += [str(image["cocoid"])] if "cocoid" in image else []
            ids = [sentence.get("sentid") for sentence in sentences]
            coco = coco_ids(image["cocoid"], ids) if "cocoid" in image and len(ids) == len(own) else None
            split = split_name(str(image["split"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{where} is not as Karpathy's files have it ({error})",
                "each needs filename, split and sentences with raw",
            ) from error
        pictures.append(CaptionedPicture(tuple(names), tuple(own), split, coco))
    return pictures


def read_coco(value: Mapping[str, Any], source: Path, split: str | None) -> list[CaptionedPicture]:
    """Read the pictures of COCO's `images[].{id, file_name}` and `annotations[].{image_id, caption}`.

    Args:
        value: The parsed JSON.
        source: The file, for messages.
        split: The split that all of them belong to; None where it is to be made.

    Raises:
        InputError: An annotation names no picture of the file, or an entry lacks what it should have.
    """
    captions: dict[Any, list[str]] = defaultdict(list)
    ids: dict[Any, list[Any]] = defaultdict(list)
    pictures: list[CaptionedPicture] = []
    try:
        for number, annotation in enumerate(value["annotations"]):
            texts = parse_captions(annotation["caption"], f"{source}: annotations[{number}]")
            captions[annotation["image_id"]] += texts
            ids[annotation["image_id"]] += [annotation.get("id")] if len(texts) == 1 else [None] * len(texts)
        for image in value["images"]:
            names, own = (str(image["file_name"]), str(image["id"])), tuple(captions.pop(image["id"], ()))
            pictures.append(CaptionedPicture(names, own, split, coco_ids(image["id"], ids[image["id"]])))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{source}: an entry is not as COCO's captions have it ({error})",
            "images need id and file_name, annotations need image_id and caption",
        ) from error
    if captions:
        lacking = f"{len(captions):,} captioned pictures are not among its images (image_id {next(iter(captions))})"
        raise InputError(f"{source}: {lacking}", "add them to images; the file may be cut short, or joined from two")
    return pictures
