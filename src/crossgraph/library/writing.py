"""Steps of pictures written to codes, manifest and store, in the order that survives a kill."""

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
from crossgraph.library.alike import drop_pictures
from crossgraph.library.features import FeatureFiles
from crossgraph.library.library import STALE, Library
from crossgraph.library.manifest import Place, now
from crossgraph.library.reading import Read
from crossgraph.library.records import Kind, Layout, pack
from crossgraph.progress import ProgressCallback
from crossgraph.vision.pictures import reader_signature

_UNSETTLED = 4096  # pictures that a killed run may leave to be brought to the store again


@dataclass
class Step:
    """Files that are committed together.

    Attributes:
        plain: (root, file) of known or broken content.
        fresh: (root, file) of new content, in the order of `codes`.
        copies: (root, file) of content that this run has met before, in this step or an earlier one.
        codes: Of the fresh ones.
        regions: Of the fresh ones.
    """

    plain: list[tuple[int, Read]] = field(default_factory=list[tuple[int, Read]])
    fresh: list[tuple[int, Read]] = field(default_factory=list[tuple[int, Read]])
    copies: list[tuple[int, Read]] = field(default_factory=list[tuple[int, Read]])
    codes: list[EncodedPictures] = field(default_factory=list[EncodedPictures])
    regions: list[Regions] = field(default_factory=list[Regions])

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.plain) + len(self.fresh) + len(self.copies)

    def add_plain(self, root: int, read: Read) -> None:
        """Add a file that needs no encoding."""
        self.plain.append((root, read))

    def add_encoded(self, reads: Sequence[tuple[int, Read]], regions: Regions, codes: EncodedPictures) -> None:
        """Add files of new content."""
        self.fresh += reads
        self.codes.append(codes)
        self.regions.append(regions)

    def all(self) -> list[tuple[int, Read]]:
        """Return (root, file) of all files."""
        return [*self.plain, *self.fresh, *self.copies]

    def paths(self) -> list[str]:
        """Return the paths of all files."""
        return [read.file.path for _, read in self.all()]

    def broken(self) -> list[tuple[str, str]]:
        """Return (path, reason) of the files that cannot be used."""
        return [(read.file.path, read.broken) for _, read in self.plain if read.broken]


class Writer:
    """Writes to one library; its caller holds the library's lock.

    Args:
        library: With a model.
        keep_features: Whether region features are kept too.
        kind: How codes are stored where the library is new.
    """

    def __init__(self, library: Library, keep_features: bool, kind: Kind = "float16") -> None:
        self.library = library
        self._kind: Kind = kind
        self._unsettled = 0
        self._features = FeatureFiles(library) if keep_features or library.manifest.meta("features") else None

    def repair(self, report: ProgressCallback) -> None:
        """Mend what a killed run left: points that the store lacks or has too many, files that nobody names."""
        if self.library.manifest.meta("layout"):
            self.library.shards.drop(keep=self.library.generation)
            sync_store(self.library, report)

    def commit(self, step: Step) -> None:
        """Write a step.

        A content that lies nowhere after it stays until the run's end: another file of the run may have it.
        """
        if not len(step):
            return
        manifest = self.library.manifest
        places = self._append(step) if step.fresh else []
        features = self._features.append(step.regions) if self._features and step.fresh else None
        kept = [(place.shard, place.row) for place in features] if features else [None] * len(step.fresh)
        touched: list[int] = []
        with manifest.transaction() as connection:
            replaced = _pictures_at(connection, step.paths())
            for (root, read), place, feature in zip(step.fresh, places, kept, strict=True):
                number = _insert(connection, read, place, feature)
                _file(connection, root, read, number)
                touched.append(number)
            for root, read in step.copies:
                (number,) = connection.execute("SELECT id FROM pictures WHERE sha256 = ?", (read.sha256,)).fetchone()
                _file(connection, root, read, number)
                touched.append(number)
            for root, read in step.plain:
                number = read.picture if read.picture is not None else _insert_broken(connection, read)
                _file(connection, root, read, number)
                touched.append(number)
            changed = list(dict.fromkeys([*touched, *replaced]))
            connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(number,) for number in changed])
        self.upsert(changed)

    def forget(self, paths: Iterable[str]) -> None:
        """Forget files that are gone, and pictures that lie nowhere any more."""
        paths = list(paths)
        if paths:
            with self.library.manifest.transaction() as connection:
                changed = list(dict.fromkeys(_pictures_at(connection, paths)))
                connection.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])
                connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(number,) for number in changed])
            self.upsert(changed)
        drop_orphans(self.library)

    def finish(self, report: ProgressCallback) -> None:
        """Bring the store to disk, and build what makes it fast."""
        if self.library.manifest.meta("layout"):
            settle(self.library)
            self.library.store.optimise(report)

    def _append(self, step: Step) -> list[Place]:
        index = np.concatenate([codes.index for codes in step.codes])
        code = join_codes([codes.code for codes in step.codes])
        if not self.library.manifest.meta("layout"):
            layout = Layout.of(index, code, self._kind)
            values = {"layout": layout.to_json(), "generation": "0", "boxes": boxes_of(step.regions)}
            self.library.manifest.remember(values)
            self.library.forget_model()
        records = pack(self.library.layout, index, code)
        return self.library.shards.append(records, _next_place(self.library))

    def upsert(self, ids: Sequence[int]) -> None:
        """Tell the store how some pictures are now."""
        upsert(self.library, ids)
        self._unsettled += len(ids)
        if self._unsettled > _UNSETTLED:
            settle(self.library)
            self._unsettled = 0


def upsert(library: Library, ids: Sequence[int]) -> None:
    """Tell a library's store how some pictures are now; those without codes or files are passed over."""
    ready = library.manifest.places(ids)
    for points in library.points([number for number in ids if number in ready]):
        library.store.upsert(points)


def settle(library: Library) -> None:
    """Bring the store to disk, and remember that it knows all."""
    library.store.flush()
    library.manifest.settled()


def drop_orphans(library: Library) -> int:
    """Forget the pictures that lie nowhere any more, with their thumbnails; return how many."""
    query = "SELECT id, sha256 FROM pictures WHERE id NOT IN (SELECT picture FROM files)"
    with library.manifest.transaction() as connection:
        gone = [(row[0], row[1]) for row in connection.execute(query).fetchall()]
        drop_pictures(connection, [number for number, _ in gone])
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
        report: Hears how many points are written.
        rewrite: Whether those that are there are written anew.

    Returns:
        How many points were written, and how many taken out.
    """
    if library.store_is_stale:
        library.drop_store()
        rewrite = True
    wanted, there = set(library.manifest.ids()), set(library.store.ids())
    pending = wanted & set(library.manifest.pending())
    extra, missing = sorted(there - wanted), sorted(wanted if rewrite else (wanted - there) | pending)
    if extra:
        library.store.delete(extra)
    done = 0
    for points in library.points(missing):
        library.store.upsert(points)
        done += len(points)
        report("filling the store", done, len(missing))
    library.store.flush()
    library.manifest.settled(STALE)
    return len(wanted if rewrite else wanted - there), len(extra)


def boxes_of(batches: Sequence[Regions]) -> str:
    """Return the regions' boxes as text where they are the same in all pictures, as a grid's are; else nothing."""
    boxes = [regions.boxes for regions in batches if regions.boxes is not None]
    if len(boxes) < len(batches) or any(not torch.equal(each, each[:1].expand_as(each)) for each in boxes):
        return ""
    return json.dumps(boxes[0][0].tolist())


def _next_place(library: Library) -> Place:
    generation = library.generation
    query = "SELECT shard, max(row) FROM pictures WHERE generation = ? GROUP BY shard ORDER BY shard DESC LIMIT 1"
    last = library.manifest.connection.execute(query, (generation,)).fetchone()
    return Place(generation, last[0], last[1] + 1) if last else Place(generation, 0, 0)


def _insert(connection: sqlite3.Connection, read: Read, place: Place, feature: tuple[int, int] | None) -> int:
    photo = read.photo
    assert photo is not None
    values = {
        "sha256": read.sha256,
        "width": photo.width,
        "height": photo.height,
        "orientation": photo.orientation,
        "date": photo.date,
        "camera": photo.camera,
        "latitude": photo.latitude,
        "longitude": photo.longitude,
        "hash": photo.hash,
        "state": "ready",
        "reason": None,
        "feature_shard": feature[0] if feature else None,
        "feature_row": feature[1] if feature else None,
        "added": now(),
        **dataclasses.asdict(place),
    }
    return _write_row(connection, values)


def _insert_broken(connection: sqlite3.Connection, read: Read) -> int:
    values = {"sha256": read.sha256, "state": "broken", "reason": read.broken, "reader": reader_signature()}
    return _write_row(connection, {**values, "added": now()})


def _write_row(connection: sqlite3.Connection, values: dict[str, object]) -> int:
    names = ", ".join(values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("sha256", "added"))
    query = (
        f"INSERT INTO pictures ({names}) VALUES ({', '.join('?' * len(values))}) "
        f"ON CONFLICT (sha256) DO UPDATE SET {changes} RETURNING id"
    )
    return connection.execute(query, list(values.values())).fetchone()[0]


def _file(connection: sqlite3.Connection, root: int, read: Read, picture: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO files (path, root, picture, size, modified, changed) VALUES (?, ?, ?, ?, ?, ?)",
        (read.file.path, root, picture, read.file.size, read.file.modified, read.file.changed),
    )


def _pictures_at(connection: sqlite3.Connection, paths: Sequence[str]) -> list[int]:
    """Return the pictures that the manifest knows at some paths."""
    query = "SELECT picture FROM files WHERE path = ?"
    return [row[0] for path in paths for row in connection.execute(query, (path,))]


def join_codes(codes: Sequence[ImageCode]) -> ImageCode:
    """Return some codes as one."""
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in codes[0].parts}
    return ImageCode(torch.cat([code.local for code in codes]), torch.cat([code.mask for code in codes]), parts=parts)
