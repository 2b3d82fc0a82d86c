"""Find out what a folder holds, and open it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data.captioned import CaptionedData, CaptionedPicture
from crossgraph.data.coco import is_coco, read_coco
from crossgraph.data.dataset import DataSet, Log, split_name
from crossgraph.data.folder import CAPTION_FILES, read_captions
from crossgraph.data.karpathy import Captions, is_karpathy, read_karpathy
from crossgraph.data.precomp import PrecompData
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
        raise InputError(f"{folder}: no such folder", "check the path of --data")
    if folder.is_dir() and any(folder.glob("*_caps.txt")):
        return PrecompData(folder, features, log)
    home = folder if folder.is_dir() else folder.parent
    layout, source, pictures = _read_pictures(folder, captions)
    return CaptionedData(layout, home, source, pictures, features or _default_features(home), log)


def _default_features(folder: Path) -> Path:
    features = folder / "features"
    if features.exists():
        return features
    if any(folder.glob("*.tsv")):
        return folder
    raise InputError(
        f"{folder}: its pictures have no features yet",
        f"make them: crossgraph extract {folder} --out {features}, or name them with --features",
    )


def _read_pictures(path: Path, captions: Captions) -> tuple[str, Path, list[CaptionedPicture]]:
    if path.is_file():
        if path.suffix in (".csv", ".jsonl"):
            return "folder", path, read_captions(path)
        found = _read_json_layouts([path], captions)
        if found is None:
            raise InputError(f"{path}: neither Karpathy's layout nor COCO's captions", f"give {_EXPECTED}")
        return found
    for name in CAPTION_FILES:
        if (path / name).exists():
            return "folder", path / name, read_captions(path / name)
    candidates = [file for file in sorted(path.glob("*.json")) if file.name not in _OWN_FILES]
    likely = [file for file in candidates if "caption" in file.name or file.name.startswith("dataset")]
    found = _read_json_layouts(likely or candidates, captions)
    if found is None:
        what = "is empty" if not any(path.iterdir()) else "holds no captions that are understood"
        raise InputError(f"{path}: {what}", f"a data set has {_EXPECTED}")
    return found


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
