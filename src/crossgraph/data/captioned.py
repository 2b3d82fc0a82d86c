"""Pair the pictures of a captions file with extracted features: what Karpathy, COCO and plain folders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.bottom_up_tsv import BottomUpFeatures, find_tables
from crossgraph.data.dataset import DataSet, Log, in_order
from crossgraph.data.manifest import MANIFEST
from crossgraph.data.pairing import Name, pair
from crossgraph.data.shards import ShardFolder
from crossgraph.data.split import CocoIds, Split
from crossgraph.data.splitting import find_or_make_splits

PICTURE_FOLDERS = ("", "images", "pictures", "photos", "Images")
UNUSUAL = 10  # times the median, from which on a count or length is noted
MANY_CAPTIONS = 20  # of a picture: no more are never noted
LONG_CAPTION = 500  # characters: no longer one is ever noted


@dataclass(frozen=True)
class CaptionedPicture:
    """One picture of a captions file.

    Attributes:
        names: Its names in the file; the first is its id.
        captions: Its sentences, as written.
        split: Its split, or None where the file does not say.
        coco: COCO's ids of the picture and of each caption, where the file has them.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    split: str | None = None
    coco: tuple[int, tuple[int, ...]] | None = None

    @property
    def id(self) -> str:
        """The first name."""
        return self.names[0]


def coco_ids(image: object, captions: Sequence[object]) -> tuple[int, tuple[int, ...]] | None:
    """Return COCO's ids of a picture and its captions where all are whole numbers, else None."""
    numbers = [value for value in (image, *captions) if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) <= len(captions) or not all(0 <= number < 1 << 62 for number in numbers):
        return None
    return numbers[0], tuple(numbers[1:])


class CaptionedData(DataSet):
    """A captions file paired with extracted features.

    Args:
        layout: The file's layout.
        path: Its folder, where a missing split is saved.
        source: The captions file, for messages.
        pictures: Its pictures.
        features: The feature folder.
        log: Called with announcements and notes.

    Raises:
        InputError: No picture has a caption, an id occurs twice, or captions and features do not pair.
    """

    def __init__(
        self, layout: str, path: Path, source: Path, pictures: Sequence[CaptionedPicture], features: Path, log: Log
    ) -> None:
        super().__init__(layout, path, log)
        self._source = source
        self._features = features
        self._folder = _open_features(features, log)
        self._pictures = _captioned(pictures, source, log)
        _note_unusual(self._pictures, source, log)
        pairing = pair(_names(self._pictures), self._folder.ids)
        self._feature_rows = pairing.rows
        if pairing.extra:
            extra, known = _first_names([self._folder.ids[row] for row in pairing.extra]), len(self._folder.ids)
            log(f"note: {features}: {len(pairing.extra):,} of {known:,} pictures have no caption ({extra})")
        self._leave_out(self._broken(), features, "pictures could not be read and are left out")
        if all(row is None for row in self._feature_rows):
            self._refuse_missing(range(len(self._pictures)))
        self._leave_out(self._removed(), source, "pictures are gone, with their features, and are left out")
        self._complete_splits()

    @property
    def splits(self) -> list[str]:
        """The splits that the file names, or that were made."""
        return in_order(picture.split for picture in self._pictures if picture.split)

    def _open(self, name: str) -> Split:
        chosen = [row for row, picture in enumerate(self._pictures) if picture.split == name]
        self._refuse_missing(chosen)
        pictures = [self._pictures[row] for row in chosen]
        counts = [len(picture.captions) for picture in pictures]
        files = find_picture_files(self.path, pictures)
        return Split(
            name=name,
            image_ids=[picture.id for picture in pictures],
            captions=[caption for picture in pictures for caption in picture.captions],
            caption_image=np.repeat(np.arange(len(pictures), dtype=np.int64), counts),
            features=self._folder.choose(
                [feature for row in chosen if (feature := self._feature_rows[row]) is not None]
            ),
            picture_paths=[] if None in files else [file for file in files if file is not None],
            source=f"{self._source} ({name})",
            coco=_coco_ids(pictures),
        )

    def _broken(self) -> list[int]:
        """Return the pictures that extraction could not read: they will never have features."""
        missing = [row for row, features in enumerate(self._feature_rows) if features is None]
        if not missing or not self._folder.broken:
            return []
        broken = pair(_names([self._pictures[row] for row in missing]), self._folder.broken).rows
        return [row for row, broken_row in zip(missing, broken, strict=True) if broken_row is not None]

    def _removed(self) -> list[int]:
        """Return the pictures of which neither features nor the file are left, where most others have both.

        Where no pictures lie beside the captions, or most are missing, something else is amiss.
        """
        missing = [row for row, features in enumerate(self._feature_rows) if features is None]
        if not missing or 2 * len(missing) > len(self._pictures):
            return []
        files = find_picture_files(self.path, self._pictures)
        if 2 * sum(file is not None for file in files) < len(files):
            return []
        return [row for row in missing if files[row] is None]

    def _leave_out(self, rows: Sequence[int], source: Path, reason: str) -> None:
        """Drop pictures, with a note that names some."""
        if rows:
            names = _first_names([self._pictures[row].id for row in rows])
            self._log(f"note: {source}: {len(rows):,} {reason} ({names})")
            dropped = set(rows)
            rest = [row for row in range(len(self._pictures)) if row not in dropped]
            self._pictures = [self._pictures[row] for row in rest]
            self._feature_rows = [self._feature_rows[row] for row in rest]

    def _refuse_missing(self, chosen: Sequence[int]) -> None:
        """Refuse pictures without features, naming some."""
        missing = [self._pictures[row].id for row in chosen if self._feature_rows[row] is None]
        if missing:
            raise InputError(
                f"{self._source}: {len(missing):,} of {len(chosen):,} pictures have no features in {self._features} "
                f"({_first_names(missing)})",
                f"extract those pictures too, or name the right features; they hold {_first_names(self._folder.ids)}",
            )

    def _complete_splits(self) -> None:
        unknown = [picture.id for picture in self._pictures if picture.split is None]
        if not unknown:
            return
        if len(unknown) < len(self._pictures):
            count = f"{len(unknown):,} of {len(self._pictures):,} pictures name no split"
            raise InputError(
                f"{self._source}: {count} ({_first_names(unknown)})", "name one for them too, as for the others"
            )
        splits = find_or_make_splits(self.path, unknown, self._evidence_of_likeness, self._log)
        self._pictures = [replace(picture, split=splits[picture.id]) for picture in self._pictures]

    def _evidence_of_likeness(self) -> tuple[list[Path | None], list[str]]:
        """Return the pictures' files, and digests of those that are not at hand."""
        files = find_picture_files(self.path, self._pictures)
        rows = [row if file is None else None for row, file in zip(self._feature_rows, files, strict=True)]
        return files, self._folder.contents(rows)


def _open_features(path: Path, log: Log) -> ShardFolder | BottomUpFeatures:
    """Open features of any kind: a folder of shards, a TSV file, or a folder of TSV files."""
    make = "make them: crossgraph extract PICTURES --out FEATURES"
    if not path.exists():
        raise InputError(f"{path}: no such features", make)
    if (path / MANIFEST).is_file():
        return ShardFolder(path)
    if tables := find_tables(path):
        return BottomUpFeatures(path, tables, log)
    if path.is_dir() and (any(path.glob("shard-*.json")) or any(path.glob("features-*.npy"))):
        raise InputError(
            f"{path}: features without a {MANIFEST}, an extraction that was not finished",
            "run the same crossgraph extract command again, it goes on where it stopped",
        )
    raise InputError(f"{path}: holds no features, neither {MANIFEST} nor a bottom-up-attention .tsv", make)


def _coco_ids(pictures: Sequence[CaptionedPicture]) -> CocoIds | None:
    """Return COCO's ids; None where an id is missing or occurs twice."""
    known = [picture.coco for picture in pictures if picture.coco is not None]
    images, captions = [image for image, _ in known], [caption for _, own in known for caption in own]
    if len(known) < len(pictures) or len(set(images)) < len(images) or len(set(captions)) < len(captions):
        return None
    return CocoIds(np.array(images, dtype=np.int64), np.array(captions, dtype=np.int64))


def _captioned(pictures: Sequence[CaptionedPicture], source: Path, log: Log) -> list[CaptionedPicture]:
    """Drop pictures without captions, with a note; refuse doubled ids and empty captions."""
    seen: set[str] = set()
    for picture in pictures:
        if picture.names[0] in seen:
            raise InputError(
                f"{source}: picture '{picture.names[0]}' stands in it twice", "put all its captions into one entry"
            )
        seen.add(picture.names[0])
        try:
            "".join((picture.id, *picture.captions)).encode("utf-8")
        except UnicodeEncodeError as error:
            remedy = "write the file again as UTF-8"
            raise InputError(f"{source}: half a character in the text of {picture.id!a}", remedy) from error
        if any(not caption.strip() for caption in picture.captions):
            raise InputError(f"{source}: picture '{picture.names[0]}' has an empty caption", "write or remove it")
    kept = [picture for picture in pictures if picture.captions]
    if not kept:
        raise InputError(f"{source}: holds no caption", "write at least one caption per picture")
    if len(kept) < len(pictures):
        log(f"note: {source}: {len(pictures) - len(kept):,} pictures without a caption are left out")
    return kept


def _note_unusual(pictures: Sequence[CaptionedPicture], source: Path, log: Log) -> None:
    """Note pictures with far more captions than usual, and captions far longer than usual: signs of a spoilt file."""
    counts = np.array([len(picture.captions) for picture in pictures])
    usual = int(np.median(counts))
    if len(rows := np.flatnonzero(counts > max(MANY_CAPTIONS, UNUSUAL * usual))):
        most = int(counts.argmax())
        problem = f"{len(rows):,} picture{'s have' if len(rows) > 1 else ' has'} far more captions than usual"
        log(f"note: {source}: {problem}: '{pictures[most].id}' has {counts[most]:,}, most have {usual:,}")
    longest = [max(map(len, picture.captions)) for picture in pictures]
    usual = int(np.median(longest))
    if len(rows := np.flatnonzero(np.array(longest) > max(LONG_CAPTION, UNUSUAL * usual))):
        most = int(np.argmax(longest))
        problem = f"{len(rows):,} picture{'s have' if len(rows) > 1 else ' has'} a caption far longer than usual"
        size = f"one of '{pictures[most].id}' has {longest[most]:,} characters, most have {usual:,}"
        log(f"note: {source}: {problem}: {size}")


def _names(pictures: Sequence[CaptionedPicture]) -> list[Name]:
    """Return the names to find features by: the longest path, and a number where there is one."""
    numbers = ([name for name in picture.names if name.isdecimal()] for picture in pictures)
    paths = (max(picture.names, key=lambda name: name.count("/")) for picture in pictures)
    return [Name(path, (number or [""])[-1]) for path, number in zip(paths, numbers, strict=True)]


def find_picture_files(folder: Path, pictures: Sequence[CaptionedPicture]) -> list[Path | None]:
    """Return the pictures' files, or None, below that folder in or beside `folder` that holds most of them.

    A picture goes by several names, of which the first or the second is tried, the same for all.
    """
    roots = [folder / below for below in PICTURE_FOLDERS] + [folder.parent / below for below in PICTURE_FOLDERS[1:]]
    sample = pictures[:: max(1, len(pictures) // 20)]
    best: list[Path | None] = [None] * len(pictures)
    names = min(2, max((len(picture.names) for picture in sample), default=0))
    for root in roots:
        for number in range(names):
            if not any(_file(root, picture, number) for picture in sample):
                continue
            files = [_file(root, picture, number) for picture in pictures]
            if None not in files:
                return files
            best = min(best, files, key=lambda paths: paths.count(None))
    return best


def _file(root: Path, picture: CaptionedPicture, number: int) -> Path | None:
    path = root / picture.names[min(number, len(picture.names) - 1)]
    return path if path.is_file() else None


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (", …" if len(names) > 3 else "")
