"""Writes pictures to codes, manifest and store, in an order that survives a kill.

1. Records of codes (and features) are appended and synced. Until the manifest names them they are bytes behind the
   last known record, which the next append cuts off.
2. One transaction of the manifest adds pictures and files, and lists the pictures as `pending`.
3. The store gets their points, which it may keep in memory for a while.
4. `flush` syncs the store; only then is `pending` cleared.

A run killed after 2 or 3 leaves points that the store lacks: `sync_store` writes all that are pending again. In
another order the manifest could name records that do not exist, or the store forget points that nobody writes again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from crossgraph.bundle.bundle import EncodedPictures
from crossgraph.core.types import ImageCode, Regions
from crossgraph.library.features import FeatureFiles
from crossgraph.library.library import STALE, Library
from crossgraph.library.manifest import RecordPosition, now
from crossgraph.library.near_duplicates import delete_pictures
from crossgraph.library.reading import ReadFile
from crossgraph.library.records import Kind, Layout, pack
from crossgraph.progress import ProgressCallback
from crossgraph.vision.pictures import reader_signature

_MAX_UNFLUSHED = 4096  # pictures whose points a killed run may leave to be written again

_PHOTO_COLUMNS = ("width", "height", "orientation", "date", "camera", "latitude", "longitude", "hash")
_RootFile = tuple[int, ReadFile]


@dataclass
class Step:
    """Files that are committed together.

    Attributes:
        plain: (root, file) of known or broken content.
        fresh: (root, file) of new content, in the order of `codes`.
        copies: (root, file) of content that this run has met before, in this step or an earlier one.
        codes: Of the fresh files.
        regions: Of the fresh files.
    """

    plain: list[_RootFile] = field(default_factory=list[_RootFile])
    fresh: list[_RootFile] = field(default_factory=list[_RootFile])
    copies: list[_RootFile] = field(default_factory=list[_RootFile])
    codes: list[EncodedPictures] = field(default_factory=list[EncodedPictures])
    regions: list[Regions] = field(default_factory=list[Regions])

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.plain) + len(self.fresh) + len(self.copies)

    def add_encoded(self, reads: Sequence[_RootFile], regions: Regions, codes: EncodedPictures) -> None:
        """Add files of new content."""
        self.fresh += reads
        self.codes.append(codes)
        self.regions.append(regions)

    def all(self) -> list[_RootFile]:
        """Return (root, file) of all files."""
        return [*self.plain, *self.fresh, *self.copies]

    def broken(self) -> list[tuple[str, str]]:
        """Return (path, reason) of the files that cannot be used."""
        return [(read.file.path, read.broken) for _, read in self.plain if read.broken]


class Writer:
    """Writes to one library, whose lock the caller holds.

    Args:
        library: With a model.
        keep_features: Whether region features are stored too.
        kind: How codes are stored in a new library.
    """

    def __init__(self, library: Library, keep_features: bool, kind: Kind = "float16") -> None:
        self.library = library
        self._kind: Kind = kind
        self._unflushed = 0
        self._features = FeatureFiles(library) if keep_features or library.manifest.meta("features") else None

    def repair(self, report: ProgressCallback) -> None:
        """Repair what a killed run left: points that the store lacks or has too many, files of unused generations."""
        if self.library.manifest.meta("layout"):
            self.library.shards.drop(keep=self.library.generation)
            sync_store(self.library, report)

    def commit(self, step: Step) -> None:
        """Write a step.

        A content without a file stays until the run's end, for another file of the run may have it.
        """
        if not len(step):
            return
        manifest = self.library.manifest
        positions = self._append(step) if step.fresh else []
        features = self._features.append(step.regions) if self._features and step.fresh else None
        with manifest.transaction() as connection:
            replaced = _pictures_at(connection, [read.file.path for _, read in step.all()])
            for number, (_, read) in enumerate(step.fresh):
                _insert(connection, read, positions[number], features[number] if features else None)
            for _, read in step.plain:
                if read.picture is None:
                    _insert_broken(connection, read)
            touched = [_insert_file(connection, *each) for each in (*step.fresh, *step.copies, *step.plain)]
            changed = list(dict.fromkeys([*touched, *replaced]))
            _add_pending(connection, changed)
        self.upsert(changed)

    def forget(self, paths: Iterable[str]) -> None:
        """Delete files that are gone, and pictures without a file."""
        paths = list(paths)
        if paths:
            with self.library.manifest.transaction() as connection:
                changed = list(dict.fromkeys(_pictures_at(connection, paths)))
                connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])
                _add_pending(connection, changed)
            self.upsert(changed)
        delete_orphans(self.library)

    def finish(self, report: ProgressCallback) -> None:
        """Flush the store, and build its search index."""
        if self.library.manifest.meta("layout"):
            flush(self.library)
            self.library.store.optimise(report)

    def _append(self, step: Step) -> list[RecordPosition]:
        index = np.concatenate([codes.index for codes in step.codes])
        code = join_codes([codes.code for codes in step.codes])
        if not self.library.manifest.meta("layout"):
            layout = Layout.of(index, code, self._kind)
            values = {"layout": layout.to_json(), "generation": "0", "boxes": boxes_of(step.regions)}
            self.library.manifest.remember(values)
            self.library.unload_model()
        records = pack(self.library.layout, index, code)
        return self.library.shards.append(records, _next_position(self.library))

    def upsert(self, ids: Sequence[int]) -> None:
        """Write the points of some pictures to the store."""
        upsert(self.library, ids)
        self._unflushed += len(ids)
        if self._unflushed > _MAX_UNFLUSHED:
            flush(self.library)
            self._unflushed = 0


def upsert(library: Library, ids: Sequence[int]) -> None:
    """Write the points of some pictures to a library's store; those without codes are passed over."""
    ready = library.manifest.positions(ids)
    for points in library.points([number for number in ids if number in ready]):
        library.store.upsert(points)


def flush(library: Library) -> None:
    """Sync the store to disk, then clear the pending pictures."""
    library.store.flush()
    library.manifest.clear_pending()


def delete_orphans(library: Library) -> int:
    """Delete the pictures without a file, with their thumbnails and points; return how many."""
    query = "SELECT id, sha256 FROM pictures WHERE id NOT IN (SELECT picture FROM files)"
    with library.manifest.transaction() as connection:
        gone = [(row[0], row[1]) for row in connection.execute(query).fetchall()]
        delete_pictures(connection, [number for number, _ in gone])
    if gone and library.manifest.meta("layout"):
        library.store.delete([number for number, _ in gone])
    for _, digest in gone:
        with contextlib.suppress(OSError):
            library.thumbnail(digest).unlink(missing_ok=True)
    return len(gone)


def sync_store(library: Library, report: ProgressCallback, rewrite: bool = False) -> tuple[int, int]:
    """Make the store hold exactly the manifest's pictures, as they are now, on disk.

    Args:
        library: With codes.
        report: Progress callback.
        rewrite: Whether present points are written anew.

    Returns:
        How many points were written, and how many deleted.
    """
    if library.store_is_stale:
        library.drop_store()
        rewrite = True
    wanted, present = set(library.manifest.ids()), set(library.store.ids())
    pending = wanted & set(library.manifest.pending())
    extra, missing = sorted(present - wanted), sorted(wanted if rewrite else (wanted - present) | pending)
    if extra:
        library.store.delete(extra)
    done = 0
    for points in library.points(missing):
        library.store.upsert(points)
        done += len(points)
        report("filling the store", done, len(missing))
    library.store.flush()
    library.manifest.clear_pending(STALE)
    return len(wanted if rewrite else wanted - present), len(extra)


def boxes_of(batches: Sequence[Regions]) -> str:
    """Return the regions' boxes as text where they are the same in all pictures, as a grid's are; otherwise ""."""
    boxes = [regions.boxes for regions in batches if regions.boxes is not None]
    if len(boxes) < len(batches) or any(not torch.equal(each, each[:1].expand_as(each)) for each in boxes):
        return ""
    return json.dumps(boxes[0][0].tolist())


def _next_position(library: Library) -> RecordPosition:
    generation = library.generation
    query = "SELECT shard, max(row) FROM pictures WHERE generation = ? GROUP BY shard ORDER BY shard DESC LIMIT 1"
    last = library.manifest.connection.execute(query, (generation,)).fetchone()
    return RecordPosition(generation, *last).following if last else RecordPosition(generation)


def _insert(
    connection: sqlite3.Connection, read: ReadFile, position: RecordPosition, feature: RecordPosition | None
) -> None:
    values = {
        "sha256": read.sha256,
        **{name: getattr(read.photo, name) for name in _PHOTO_COLUMNS},
        "state": "ready",
        "reason": None,
        "feature_shard": feature.shard if feature else None,
        "feature_row": feature.row if feature else None,
        "added": now(),
        **dataclasses.asdict(position),
    }
    _upsert_picture(connection, values)


def _insert_broken(connection: sqlite3.Connection, read: ReadFile) -> None:
    values = {"sha256": read.sha256, "state": "broken", "reason": read.broken, "reader": reader_signature()}
    _upsert_picture(connection, {**values, "added": now()})


def _upsert_picture(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    names = ", ".join(values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("sha256", "added"))
    query = (
        f"INSERT INTO pictures ({names}) VALUES ({', '.join('?' * len(values))}) "
        f"ON CONFLICT (sha256) DO UPDATE SET {changes}"
    )
    connection.execute(query, list(values.values()))


def _insert_file(connection: sqlite3.Connection, root: int, read: ReadFile) -> int:
    """Insert a file of a picture that is in the manifest; return the picture's id."""
    picture = read.picture
    if picture is None:
        (picture,) = connection.execute("SELECT id FROM pictures WHERE sha256 = ?", (read.sha256,)).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO files (path, root, picture, size, modified, changed) VALUES (?, ?, ?, ?, ?, ?)",
        (read.file.path, root, picture, read.file.size, read.file.modified, read.file.changed),
    )
    return picture


def _add_pending(connection: sqlite3.Connection, pictures: Iterable[int]) -> None:
    connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(number,) for number in pictures])


def _pictures_at(connection: sqlite3.Connection, paths: Sequence[str]) -> list[int]:
    """Return the pictures that the manifest knows at some paths."""
    query = "SELECT picture FROM files WHERE path = ?"
    return [row[0] for path in paths for row in connection.execute(query, (path,))]


def join_codes(codes: Sequence[ImageCode]) -> ImageCode:
    """Return the codes of several batches as one."""
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in codes[0].parts}
    return ImageCode(torch.cat([code.local for code in codes]), torch.cat([code.mask for code in codes]), parts=parts)
