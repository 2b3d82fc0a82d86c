"""Open a data set: find out which layout a folder or a captions file has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.core.registry import Registry
from crossgraph.data.bottom_up_tsv import find_tables
from crossgraph.data.captioned import CaptionedData, CaptionedPicture
from crossgraph.data.captions_file import CAPTION_FILES, read_captions
from crossgraph.data.dataset import DataSet, Log, split_name
from crossgraph.data.json_captions import Captions, is_coco, is_karpathy, read_coco, read_karpathy
from crossgraph.data.precomp import PrecompData, caption_lines, is_precomp
from crossgraph.files import read_json

_OWN_FILES = {"objects.json", "scenes.json", "splits.json", "manifest.json"}
_EXPECTED = "<split>_caps.txt with <split>_ims.npy, dataset_*.json, captions_*.json, captions.csv or captions.jsonl"

LAYOUTS: Registry[Callable[[Path, Log], list[CaptionedPicture] | None]] = Registry("data layout", None)
"""Readers of plugins, by layout; each returns the captioned pictures of a path, or None for another layout."""

CaptionsFile = tuple[str, Path, list[CaptionedPicture]]
"""Layout, file (or folder of several) and pictures."""


def open_data(folder: Path, features: Path | None = None, captions: Captions = "raw", log: Log = print) -> DataSet:
    """Open a data set of any known layout; each split is announced in one line when it is opened.

    Args:
        folder: The data set's folder, or its captions file.
        features: Where its features lie; `folder/features` by default (precomp: the folder itself).
        captions: Of Karpathy's files: the sentence as written, or the file's own tokens.
        log: Called with announcements and notes.

    Raises:
        InputError: The folder is missing, holds no layout that is known, or has no features.
    """
    folder = Path(folder)
    _check_exists(folder, "check the path of --data")
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
    _check_exists(folder, "check the path")
    if folder.is_dir() and is_precomp(folder):
        sentences = caption_lines(folder)
    else:
        pictures = _read_pictures(folder, captions, lambda note: None)[2]
        sentences = [caption for picture in pictures for caption in picture.captions if caption.strip()]
    for caption in sentences:
        try:
            caption.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{folder}: half a character in {caption!a}", "write the file again as UTF-8") from error
    if not sentences:
        raise InputError(f"{folder}: holds no caption", "write at least one")
    return folder if folder.is_dir() else folder.parent, sentences


def _check_exists(path: Path, remedy: str) -> None:
    """Refuse a path that does not exist, with a sibling of nearly the same name."""
    if path.exists():
        return
    try:
        hint = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()])
    except OSError:
        hint = ""
    raise InputError(f"{path}: no such folder", hint if hint.startswith("did you mean") else remedy)


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


def _read_pictures(path: Path, captions: Captions, log: Log) -> CaptionsFile:
    for layout in LAYOUTS:
        pictures = LAYOUTS[layout](path, log)
        if pictures is not None:
            return layout, path, pictures
    if path.is_file():
        if find_tables(path):
            raise InputError(f"{path}: holds region features, not captions", "name it by --features")
        if path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
            return "folder", path, read_captions(path, log)
        if path.suffix != ".json":
            remedy = "give one that ends in .csv, .tsv, .jsonl or .json, or the data set's folder"
            raise InputError(f"{path}: not a captions file by its name", remedy)
        pictures = _read_json_layouts([path], captions)
        if pictures is None:
            raise InputError(f"{path}: neither Karpathy's layout nor COCO's captions", f"give {_EXPECTED}")
        return pictures
    own = [path / name for name in CAPTION_FILES if (path / name).is_file()]
    if len(own) > 1:
        problem = f"{path}: holds both {own[0].name} and {own[1].name}"
        raise InputError(problem, f"name the one to read: --data {own[0]}")
    if own:
        return "folder", own[0], read_captions(own[0], log)
    files = [*sorted(path.glob("*.json")), *sorted((path / "annotations").glob("*.json"))]
    candidates = [file for file in files if file.name not in _OWN_FILES]
    likely = [file for file in candidates if "caption" in file.name or file.name.startswith("dataset")]
    if pictures := _read_json_layouts(likely or candidates, captions):
        return pictures
    raise InputError(f"{path}: {_describe_other_folder(path)}", f"a data set has {_EXPECTED}")


def _describe_other_folder(path: Path) -> str:
    """Return what a folder without captions holds instead."""
    entries = sorted(path.iterdir())
    if not entries:
        return "is empty"
    for below in entries:
        if below.is_dir() and (is_precomp(below) or any((below / name).exists() for name in CAPTION_FILES)):
            return f"holds no captions itself; did you mean {below}?"
    if any(file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") for file in entries):
        return f"holds pictures but neither {' nor '.join(CAPTION_FILES)}"
    return "holds no captions that are understood"


def _read_json_layouts(files: Sequence[Path], captions: Captions) -> CaptionsFile | None:
    """Read the first file of Karpathy's layout, or else all of COCO's; None where there are none."""
    coco: list[tuple[Path, Any]] = []
    for file in files:
        value = read_json(file)
        if is_karpathy(value):
            return "karpathy", file, read_karpathy(value, file, captions)
        if is_coco(value):
            coco.append((file, value))
    if not coco:
        return None
    several = len(coco) > 1
    source = coco[0][0].parent if several else coco[0][0]
    splits = [_split_in_name(file) if several else None for file, _ in coco]
    pictures = [p for (file, value), split in zip(coco, splits, strict=True) for p in read_coco(value, file, split)]
    return "coco", source, pictures


def _split_in_name(file: Path) -> str:
    for word in ("train", "restval", "val", "dev", "test"):
        if word in file.stem.lower():
            return split_name(word)
    raise InputError(
        f"{file}: one of several captions files, and its name says no split", "put train, val or test in it"
    )
