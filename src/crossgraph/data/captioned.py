"""Pictures with captions that come apart from their features: what Karpathy, COCO and plain folders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.dataset import DataSet, Log, in_order
from crossgraph.data.feature_folder import open_features
from crossgraph.data.pairing import Name, pair
from crossgraph.data.split import Split
from crossgraph.data.splitting import find_or_make_splits

PICTURE_FOLDERS = ("", "images", "pictures")


@dataclass(frozen=True)
class CaptionedPicture:
    """One picture of a captions file.

    Attributes:
        names: The names it goes by, the best first; the first is its id.
        captions: Its sentences, as written.
        split: Its split, or None where the file does not say.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    split: str | None = None


class CaptionedData(DataSet):
    """A captions file paired with extracted features.

    Args:
        layout: What kind of file it is.
        path: The folder it lies in, where a missing split is saved.
        source: The captions file, for messages.
        pictures: What it holds.
        features: The feature folder.
        log: Hears announcements and notes.

    Raises:
        InputError: No picture has a caption, an id occurs twice, or captions and features do not pair.
    """

    def __init__(
        self, layout: str, path: Path, source: Path, pictures: Sequence[CaptionedPicture], features: Path, log: Log
    ) -> None:
        super().__init__(layout, path, log)
        self._source = source
        self._pictures = _usable(pictures, source, log)
        self._folder = open_features(features)
        self._features_of = _pair(self._pictures, self._folder.ids, source, features)
        extra = len(self._folder.ids) - len(self._pictures)
        if extra:
            log(f"note: {features}: {extra:,} of {len(self._folder.ids):,} pictures have no caption and are left out")
        self._complete_splits()

    @property
    def splits(self) -> list[str]:
        """The splits that the file names, or that were made."""
        return in_order(picture.split for picture in self._pictures if picture.split)

    def _open(self, name: str) -> Split:
        pictures = [picture for picture in self._pictures if picture.split == name]
        counts = [len(picture.captions) for picture in pictures]
        ids = [picture.names[0] for picture in pictures]
        paths = _picture_paths(self.path, ids)
        return Split(
            name=name,
            image_ids=ids,
            captions=[caption for picture in pictures for caption in picture.captions],
            caption_image=np.repeat(np.arange(len(pictures), dtype=np.int64), counts),
            features=self._folder.source([self._features_of[name] for name in ids]),
            picture_paths=paths,
            source=f"{self._source} ({name})",
        )

    def _complete_splits(self) -> None:
        unknown = sum(picture.split is None for picture in self._pictures)
        if not unknown:
            return
        if unknown < len(self._pictures):
            raise InputError(
                f"{self._source}: {unknown:,} of {len(self._pictures):,} pictures name no split",
                "name a split for all of them, or for none",
            )
        ids = [picture.names[0] for picture in self._pictures]
        source = self._folder.source([self._features_of[name] for name in ids])
        made = find_or_make_splits(self.path, ids, _picture_paths(self.path, ids), source, self._log)
        self._pictures = [replace(picture, split=made[picture.names[0]]) for picture in self._pictures]


def _usable(pictures: Sequence[CaptionedPicture], source: Path, log: Log) -> list[CaptionedPicture]:
    """Drop pictures without captions, with a note; refuse doubled ids and empty captions."""
    seen: set[str] = set()
    for picture in pictures:
        if picture.names[0] in seen:
            raise InputError(f"{source}: picture '{picture.names[0]}' stands in it twice", "remove one of the two")
        seen.add(picture.names[0])
        if any(not caption.strip() for caption in picture.captions):
            raise InputError(f"{source}: picture '{picture.names[0]}' has an empty caption", "write or remove it")
    kept = [picture for picture in pictures if picture.captions]
    if not kept:
        raise InputError(f"{source}: holds no caption", "write at least one caption per picture")
    if len(kept) < len(pictures):
        log(f"note: {source}: {len(pictures) - len(kept):,} pictures without a caption are left out")
    return kept


def _pair(pictures: Sequence[CaptionedPicture], known: Sequence[str], source: Path, features: Path) -> dict[str, str]:
    """Return the features' name of every picture's id; refuse pictures without features."""
    wanted = [Name(p.names[0], next((name for name in p.names[1:] if name.isdigit()), "")) for p in pictures]
    rows = pair(wanted, known).rows
    missing = [name.path for name, row in zip(wanted, rows, strict=True) if row is None]
    if missing:
        examples = ", ".join(f"'{name}'" for name in missing[:3])
        have = f"'{known[0]}', ..." if known else "none"
        raise InputError(
            f"{source}: {len(missing):,} of {len(wanted):,} pictures have no features in {features} ({examples})",
            f"extract those pictures too, or name the right features; they hold {have}",
        )
    return {name.path: known[row] for name, row in zip(wanted, rows, strict=True) if row is not None}


def _picture_paths(folder: Path, ids: Sequence[str]) -> list[Path]:
    """Find the picture files below the folder; none of them where one cannot be found."""
    for below in PICTURE_FOLDERS:
        paths = [folder / below / name for name in ids]
        if paths and paths[0].is_file() and all(path.is_file() for path in paths):
            return paths
    return []
