"""Find out what a folder holds, and open it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.data.bua import find_tables
from crossgraph.data.captioned import CaptionedData, CaptionedPicture
from crossgraph.data.coco import is_coco, read_coco
from crossgraph.data.dataset import DataSet, Log, split_name
from crossgraph.data.folder import CAPTION_FILES, read_captions
from crossgraph.data.karpathy import Captions, is_karpathy, read_karpathy
from crossgraph.data.precomp import PrecompData, caption_lines, is_precomp
from crossgraph.files import read_json

_OWN_FILES = {"objects.json", "scenes.json", "splits.json", "manifest.json"}
_EXPECTED = "<split>_caps.txt with <split>_ims.npy, dataset_*.json, captions_*.json, captions.csv or captions.jsonl"


def open_data(folder: Path, features: Path | None = None, captions: Captions = "raw", log: Log = print) -> DataSet:
    """Open a data set by looking at it; each split is announced in one line when it is opened.

    Args:
        folder: The data set's folder, or its captions file.
        features: Where its features lie; `folder/features` by default (precomp: the folder itself).
        captions: Of Karpathy's files: the sentence as written, or the file's own tokens.
        log: Hears announcements and notes.

    Raises:
        InputError: The folder is missing, holds no layout that is known, or has no features.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such folder", _nearby(folder) or "check the path of --data")
    if folder.is_dir() and is_precomp(folder):
        return PrecompData(folder, features, log)
    home = folder if folder.is_dir() else folder.parent
    layout, source, pictures = _read_pictures(folder, captions, log)
    return CaptionedData(layout, home, source, pictures, features or _default_features(home), log)


def read_sentences(folder: Path, captions: Captions = "raw") -> tuple[Path, list[str]]:
    """Read all captions of a data set, whatever its splits; features are not needed.

    Args:
        folder: As `open_data` takes it.
        captions: See `open_data`.

    Returns:
        The folder that the data set's own files lie in, and the captions.

    Raises:
        InputError: The folder is missing, or holds no layout that is known.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: no such folder", _nearby(folder) or "check the path")
    if folder.is_dir() and is_precomp(folder):
        said = caption_lines(folder)
    else:
        pictures = _read_pictures(folder, captions, lambda note: None)[2]
        said = [caption for picture in pictures for caption in picture.captions if caption.strip()]
    for caption in said:
        try:
            caption.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{folder}: half a character in {caption!a}", "write the file again as UTF-8") from error
    if not said:
        raise InputError(f"{folder}: holds no caption", "write at least one")
    return folder if folder.is_dir() else folder.parent, said


def _nearby(path: Path) -> str:
    """Suggest a sibling of nearly the same name."""
    try:
        siblings = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    hint = did_you_mean(path.name, siblings) if siblings else ""
    return hint if hint.startswith("did you mean") else ""


def _default_features(folder: Path) -> Path:
    features = folder / "features"
    if features.exists():
        return features
    if find_tables(folder):
        return folder
    raise InputError(
        f"{folder}: its pictures have no features yet",
        f"make them: crossgraph extract {folder} --out {features}, or name them with --features",
    )


def _read_pictures(path: Path, captions: Captions, log: Log) -> tuple[str, Path, list[CaptionedPicture]]:
    if path.is_file():
        if path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
            return "folder", path, read_captions(path, log)
        if path.suffix != ".json":
            raise InputError(
                f"{path}: not a captions file by its name",
                "give one that ends in .csv, .tsv, .jsonl or .json, or the data set's folder",
            )
        found = _read_json_layouts([path], captions)
        if found is None:
            raise InputError(f"{path}: neither Karpathy's layout nor COCO's captions", f"give {_EXPECTED}")
        return found
    own = [path / name for name in CAPTION_FILES if (path / name).is_file()]
    if len(own) > 1:
        raise InputError(
            f"{path}: holds both {own[0].name} and {own[1].name}", f"name the one to read: --data {own[0]}"
        )
    if own:
        return "folder", own[0], read_captions(own[0], log)
    candidates = [
        file
        for place in (path, path / "annotations")
        for file in sorted(place.glob("*.json"))
        if file.name not in _OWN_FILES
    ]
    likely = [file for file in candidates if "caption" in file.name or file.name.startswith("dataset")]
    if found := _read_json_layouts(likely or candidates, captions):
        return found
    raise InputError(f"{path}: {_instead(path)}", f"a data set has {_EXPECTED}")


def _instead(path: Path) -> str:
    """Say what a folder without captions holds."""
    if not any(path.iterdir()):
        return "is empty"
    for below in sorted(path.iterdir()):
        if below.is_dir() and (is_precomp(below) or any((below / name).exists() for name in CAPTION_FILES)):
            return f"holds no captions itself; did you mean {below}?"
    if any(file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") for file in path.iterdir()):
        return f"holds pictures but neither {' nor '.join(CAPTION_FILES)}"
    return "holds no captions that are understood"


def _read_json_layouts(files: Sequence[Path], captions: Captions) -> tuple[str, Path, list[CaptionedPicture]] | None:
    coco: list[tuple[Path, Any]] = []
    for file in files:
        value = read_json(file)
        if is_karpathy(value):
            return "karpathy", file, read_karpathy(value, file, captions)
        if is_coco(value):
            coco.append((file, value))
    if not coco:
        return None
    if len(coco) == 1:
        return "coco", coco[0][0], read_coco(coco[0][1], coco[0][0], None)
    pictures = [picture for file, value in coco for picture in read_coco(value, file, _split_of(file))]
    return "coco", coco[0][0].parent, pictures


def _split_of(file: Path) -> str:
    for word in ("train", "restval", "val", "dev", "test"):
        if word in file.stem.lower():
            return split_name(word)
    raise InputError(
        f"{file}: one of several captions files, and its name says no split", "put train, val or test in it"
    )
