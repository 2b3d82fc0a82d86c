"""Verifies, repairs, rebuilds and compacts a library, removes folders from it, and exports what it knows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.files import sha256, write_text
from crossgraph.library.features import KEY, FeatureFiles
from crossgraph.library.library import Library
from crossgraph.library.lock import write_lock
from crossgraph.library.manifest import Picture, RecordPosition
from crossgraph.library.manifest_repair import repair_manifest
from crossgraph.library.near_duplicates import delete_pictures, group_new
from crossgraph.library.photo import read_photo
from crossgraph.library.reading import write_thumbnail
from crossgraph.library.records import Shards, are_whole
from crossgraph.library.roots import add_removed_folder, existing_first, forget_named_folders, may_exist
from crossgraph.library.writer import Writer, delete_orphans, flush, sync_store
from crossgraph.progress import ProgressCallback
from crossgraph.tables import Table
from crossgraph.vision.pictures import BrokenPicture, PictureLoader, heif_is_read
from crossgraph.vision.scan import is_gone, reason_of, scan_folder

_BLOCK = 64
_EXPORTED = ("id", "sha256", "paths", "width", "height", "date", "camera", "latitude", "longitude", "captions", "alike")


@dataclass
class Findings:
    """The results of `verify`.

    Attributes:
        pictures: How many were checked.
        manifest: Faults of the manifest itself that were repaired.
        codes: Pictures without a whole record; they are deleted, so that the next indexing encodes them anew.
        thumbnails: Thumbnails made again.
        store: Points added to the store and deleted from it.
        missing: Files that no longer exist.
        changed: Files whose content is not the one that was indexed.
        unread: (path, reason) of files that could not be read to compare their content.
    """

    pictures: int = 0
    manifest: int = 0
    codes: int = 0
    thumbnails: int = 0
    store: tuple[int, int] = (0, 0)
    missing: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])
    unread: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def sound(self) -> bool:
        """Return whether nothing had to be repaired."""
        repaired = self.manifest or self.codes or self.thumbnails or any(self.store)
        return not (repaired or self.missing or self.changed or self.unread)


def verify(library: Library, report: ProgressCallback, content: bool = False) -> Findings:
    """Check the manifest, and every record, thumbnail and point against it; repair what can be repaired.

    Args:
        library: To check.
        report: Called with progress.
        content: Whether every file is read, to compare its SHA-256 with the one that was indexed.

    Raises:
        InputError: The manifest is damaged beyond repair, or a server has the library open.
    """
    findings = Findings()
    with write_lock(library.folder):
        report("checking the manifest", 0, 1)
        findings.manifest = repair_manifest(library.manifest)
        report("checking the manifest", 1, 1)
        delete_orphans(library)
        delete_stray_thumbnails(library)
        ids = library.manifest.ids()
        findings.pictures = len(ids)
        if not ids:
            return findings
        lost = _lost_records(library, ids)
        if lost:
            with library.manifest.transaction() as connection:
                delete_pictures(connection, sorted(lost))
            findings.codes = len(lost)
        whole = [number for number in ids if number not in lost]
        with PictureLoader(8) as loader:
            for done, number in enumerate(whole, start=1):
                picture = library.get(number)
                findings.missing += [str(path) for path in picture.paths if not may_exist(path)]
                findings.thumbnails += _repair_thumbnail(library, picture, loader)
                report("verifying", done, len(whole))
        group_new(library.manifest, report)
        findings.store = sync_store(library, report)
        if content:
            _compare_contents(library, findings, report)
    return findings


def _compare_contents(library: Library, findings: Findings, report: ProgressCallback) -> None:
    """Hash every file and note those that differ; these are read again by the next indexing run."""
    files = library.manifest.contents()
    for done, (path, digest) in enumerate(files, start=1):
        try:
            if sha256(path) != digest:
                findings.changed.append(path)
        except OSError as error:
            if not is_gone(error):
                findings.unread.append((path, reason_of(error)))
        report("comparing contents", done, len(files))
    library.manifest.clear_file_times(findings.changed)


def rebuild(library: Library, report: ProgressCallback) -> int:
    """Build the store anew from manifest and codes; return how many points it holds."""
    with write_lock(library.folder):
        library.drop_store()
        written, _ = sync_store(library, report, rewrite=True)
        library.store.optimise(report)
    return written


def compact(library: Library, report: ProgressCallback) -> tuple[int, int]:
    """Write the codes and features of the present pictures into new files; return bytes before and after.

    The manifest switches to the new files in one transaction, and only then are the old ones deleted.
    """
    with write_lock(library.folder):
        delete_orphans(library)
        delete_stray_thumbnails(library)
        features = FeatureFiles(library)
        ids, generation, layout = library.manifest.ids(), library.generation + 1, features.layout
        newer = replace(layout, generation=layout.generation + 1) if layout else None
        current = [(library.shards, generation), *([(features.shards(newer), newer.generation)] if newer else [])]
        before = sum(shards.bytes() for shards, _ in current)
        positions = copy_records(library.shards, library.manifest.positions(ids), generation, report)
        values, feature_positions = {"generation": str(generation)}, None
        if newer is not None:
            feature_positions = copy_records(features.shards(newer), features.positions(ids), newer.generation, report)
            values[KEY] = newer.to_text()
        set_positions(library, positions, values, feature_positions)
        for shards, kept in current:
            shards.drop(keep=kept)
        return before, sum(shards.bytes() for shards, _ in current)


def copy_records(
    shards: Shards, positions: dict[int, RecordPosition], generation: int, report: ProgressCallback
) -> dict[int, RecordPosition]:
    """Copy records into files of another generation; return the new position of each."""
    shards.drop_generation(generation)
    ids, end = list(positions), RecordPosition(generation)
    copies: dict[int, RecordPosition] = {}
    for start in range(0, len(ids), _BLOCK):
        block = ids[start : start + _BLOCK]
        written = shards.append(shards.read([positions[number] for number in block]), end)
        end = written[-1].following
        copies |= zip(block, written, strict=True)
        report("compacting", start + len(block), len(ids))
    return copies


def delete_stray_thumbnails(library: Library) -> None:
    """Delete thumbnails of contents that are not in the library, and those that a kill left half written."""
    for folder in sorted((library.folder / "thumbnails").glob("*")):
        for path in folder.glob("*") if folder.is_dir() else []:
            if path.suffix == ".tmp" or library.manifest.by_content(path.stem) is None:
                path.unlink(missing_ok=True)


def remove(library: Library, folder: Path, report: ProgressCallback) -> int:
    """Remove a root, or everything below a folder, from the library; return how many files. No picture is touched.

    A folder inside a root stays out until it is named again, unless it holds no picture now: then what comes into
    it later is indexed.

    Raises:
        InputError: The library has nothing from there.
    """
    real = Path(os.path.realpath(folder))
    with write_lock(library.folder):
        paths = [
            path
            for number in library.manifest.roots()
            for path in library.manifest.files(number)
            if Path(path) == real or Path(path).is_relative_to(real)
        ]
        roots = [number for number, root in library.manifest.roots().items() if root.is_relative_to(real)]
        if not paths and not roots:
            raise InputError(f"{folder}: the library has nothing from there", "see: crossgraph library info")
        if library.manifest.meta("layout"):
            _ = library.store  # fails before anything is removed where another process has it open
        forget_named_folders(library.manifest, real)
        if not roots and _holds_pictures(real):
            add_removed_folder(library.manifest, real)
        Writer(library, False).forget(paths)
        with library.manifest.transaction() as connection:
            connection.executemany("DELETE FROM roots WHERE id = ?", [(number,) for number in roots])
        group_new(library.manifest, report)
        if library.manifest.meta("layout"):
            flush(library)
        report("removing", len(paths), len(paths))
    return len(paths)


def _holds_pictures(folder: Path) -> bool:
    """Return whether a folder holds a picture now, or may do so where it cannot be read."""
    scan = scan_folder(folder, links_stay_inside=True)
    return bool(scan.files or scan.unread) and may_exist(folder)


def export(library: Library, out: Path, report: ProgressCallback) -> int:
    """Write what is known of every picture as CSV or JSONL; return how many.

    Raises:
        InputError: The file cannot be written.
    """
    ids = library.manifest.ids()
    rows: list[dict[str, Any]] = []
    for start in range(0, len(ids), 500):
        pictures = library.manifest.get(ids[start : start + 500])
        rows += [_exported(pictures[number]) for number in ids[start : start + 500]]
        report("exporting", len(rows), len(ids))
    if out.suffix == ".csv":
        cells = [["; ".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows]
        write_text(out, Table(_EXPORTED, cells).to_csv())
    else:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _exported(picture: Picture) -> dict[str, Any]:
    values = vars(picture) | {
        "paths": [str(path) for path in existing_first(picture.paths)[0]],
        "captions": list(picture.captions),
    }
    return {name: values[name] for name in _EXPORTED}


def _lost_records(library: Library, ids: Sequence[int]) -> set[int]:
    """Return the pictures whose record is not whole, or not finite."""
    positions = library.manifest.positions(ids)
    held = {
        key: library.shards.rows(*key)
        for key in {(position.generation, position.shard) for position in positions.values()}
    }
    lost = {number for number in ids if number not in positions}
    lost |= {
        number for number, position in positions.items() if position.row >= held[position.generation, position.shard]
    }
    for start in range(0, len(ids), _BLOCK):
        block = [number for number in ids[start : start + _BLOCK] if number not in lost]
        if block:
            records = library.records(block)
            whole = are_whole(records) & np.isfinite(records["index"]).all(axis=1)
            lost |= {number for number, is_whole in zip(block, whole, strict=True) if not is_whole}
    return lost


def _repair_thumbnail(library: Library, picture: Picture, loader: PictureLoader) -> int:
    """Make a missing or damaged thumbnail again; return how many were made."""
    path = library.thumbnail(picture.sha256)
    if _is_webp(path):
        return 0
    for file in picture.paths:
        with contextlib.suppress(OSError, BrokenPicture):
            heif_is_read()
            data = file.read_bytes()
            if hashlib.sha256(data).hexdigest() == picture.sha256:
                write_thumbnail(path, read_photo(data, loader, 8, 1e6).thumbnail)
                return 1
    return 0


def _is_webp(path: Path) -> bool:
    """Return whether a file is a WebP picture of the length that its header names."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head, size = file.read(12), path.stat().st_size
        return head[:4] + head[8:] == b"RIFFWEBP" and int.from_bytes(head[4:8], "little") + 8 == size
    return False


def set_positions(
    library: Library,
    positions: Mapping[int, RecordPosition],
    values: Mapping[str, str],
    features: Mapping[int, RecordPosition] | None,
) -> None:
    """Point the manifest to records in new files, in one transaction with what else changes.

    Args:
        library: Whose manifest it is.
        positions: Of each picture's codes.
        values: Keys of the manifest that change too.
        features: Positions of the stored features; pictures that are not in it have none. None changes nothing.
    """
    with library.manifest.transaction() as connection:
        connection.executemany(
            "UPDATE pictures SET generation = ?, shard = ?, row = ? WHERE id = ?",
            [(position.generation, position.shard, position.row, number) for number, position in positions.items()],
        )
        if features is not None:
            connection.execute("UPDATE pictures SET feature_shard = NULL, feature_row = NULL")
            connection.executemany(
                "UPDATE pictures SET feature_shard = ?, feature_row = ? WHERE id = ?",
                [(position.shard, position.row, number) for number, position in features.items()],
            )
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))
