"""Compares what a root holds now with what the library knows from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossgraph.library.library import Library
from crossgraph.library.manifest import KnownFile, Manifest
from crossgraph.library.roots import is_ignored_below, named_folders, removed_folders
from crossgraph.vision.missing import Identity, Missing, find_missing, folders_above
from crossgraph.vision.scan import (
    FolderScan,
    PictureFile,
    ignored_note,
    is_excluded,
    is_ignored,
    listed,
    printable,
    scan_folder,
)

_IDENTITIES = "folders"


@dataclass(frozen=True)
class RootChanges:
    """The differences between a root and what the library knows of it.

    Attributes:
        root: The folder.
        to_read: Its new and changed files.
        unchanged: How many files are as before.
        known: How many files were known.
        excluded: How many of them the patterns skip now.
        before: What is known of the changed files, and of those that cannot be seen.
        missing: Known files that were not found.
        unread: Files and folders that could not be read, with the reason.
        unusable: (path, reason) of files that only look like pictures, and of pictures that are broken as before.
        undated: Unchanged files whose ctime the library does not know yet.
        notes: Lines about folders that are ignored.
        identities: Device and inode of its folders of pictures.
    """

    root: Path
    to_read: list[PictureFile]
    unchanged: int
    known: int
    excluded: int
    before: dict[str, KnownFile]
    missing: Missing
    unread: dict[str, str]
    unusable: list[tuple[str, str]]
    undated: list[PictureFile]
    notes: list[str]
    identities: dict[str, Identity]

    @property
    def is_seen(self) -> bool:
        """Return whether the root itself could be read and is the same folder as before."""
        return str(self.root) not in self.missing.unseen and str(self.root) not in self.unread


def scan_root(
    library: Library,
    root: Path,
    number: int,
    exclude: Sequence[str],
    heif: bool,
    is_unchanged: Callable[[PictureFile, KnownFile], bool],
) -> RootChanges:
    """Scan a root and compare it with the manifest.

    Args:
        library: Whose root it is.
        root: A real path.
        number: Its id.
        exclude: Patterns of names or of paths below the root to skip.
        heif: Whether HEIC pictures can be read.
        is_unchanged: Whether a file need not be read again.
    """
    manifest = library.manifest
    enter, avoid = named_folders(manifest, root), [library.folder, *removed_folders(manifest)]
    scan = scan_folder(root, exclude, avoid, enter, heif, links_stay_inside=True)
    known = manifest.files(number)
    found = {file.path for file in scan.files}
    lost = [path for path in known if path not in found]
    ignored = [path for path in lost if is_ignored_below(root, Path(path), enter)]
    excluded = [path for path in lost if _is_excluded(path, root, exclude)]
    identities = {path: each for path, each in _known_identities(manifest).items() if _is_inside(path, [str(root)])}
    missing = find_missing(scan, known, identities, {*ignored, *excluded})
    to_read = [file for file in scan.files if file.path not in known or not is_unchanged(file, known[file.path])]
    reading = {file.path for file in to_read}
    same = [file for file in scan.files if file.path not in reading]
    broken = [(printable(file.path), known[file.path].broken) for file in same if known[file.path].broken]
    unseen = [path for paths in missing.unseen.values() for path in paths]
    return RootChanges(
        root=root,
        to_read=to_read,
        unchanged=len(same) - len(broken),
        known=len(known),
        excluded=len(excluded),
        before={path: known[path] for path in [*(file.path for file in to_read), *unseen] if path in known},
        missing=missing,
        unread=scan.unread,
        unusable=sorted([*scan.unusable, *broken]),
        undated=[file for file in same if known[file.path].changed is None],
        notes=_ignored_notes(scan, ignored),
        identities=_identities(scan, missing),
    )


def _ignored_notes(scan: FolderScan, leaving: Sequence[str]) -> list[str]:
    """Return a line about folders that were not entered, and one about known pictures in such folders.

    Args:
        scan: Of a folder.
        leaving: Known pictures in such folders.
    """
    root, notes = printable(scan.root), list[str]()
    if leaving:
        names = {part for path in leaving for part in Path(path).relative_to(scan.root).parts[:-1] if is_ignored(part)}
        notes.append(
            f"{root}: {len(leaving):,} {'picture leaves' if len(leaving) == 1 else 'pictures leave'} the library: "
            f"folders like {listed(sorted(map(printable, names))[:3])} are passed over unless they are named"
        )
    return [*notes, *ignored_note(scan)]


def remember_identities(manifest: Manifest, changes: Iterable[RootChanges]) -> None:
    """Write device and inode of each folder of pictures to the manifest, to notice later that another disk is there."""
    before = _known_identities(manifest)
    roots = set(map(str, manifest.roots().values()))
    after = dict(before)
    for change in changes:
        if not change.is_seen:
            continue
        kept = {folder: value for folder, value in after.items() if _is_inside(folder, change.missing.unseen)}
        after = {folder: value for folder, value in after.items() if not _is_inside(folder, [str(change.root)])}
        after |= change.identities | kept
    after = {folder: value for folder, value in after.items() if _is_inside(folder, roots)}
    if after != before:
        manifest.remember({_IDENTITIES: json.dumps(after)})


def _identities(scan: FolderScan, missing: Missing) -> dict[str, Identity]:
    """Return device and inode of the folders with pictures."""
    filled = folders_above([*(file.path for file in scan.files), *missing.unread], scan.root)
    return {folder: identity for folder, identity in scan.folders.items() if folder in filled}


def _known_identities(manifest: Manifest) -> dict[str, Identity]:
    return {folder: (value[0], value[1]) for folder, value in json.loads(manifest.meta(_IDENTITIES, "{}")).items()}


def _is_inside(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is one of some folders or lies below one."""
    return any(path == folder or path.startswith(f"{folder.rstrip(os.sep)}{os.sep}") for folder in folders)


def _is_excluded(path: str, root: Path, patterns: Sequence[str]) -> bool:
    """Return whether a path, or a folder above it below the root, fits a pattern."""
    if not patterns:
        return False
    parts = Path(path).relative_to(root).parts
    return any(is_excluded("/".join(parts[: end + 1]), patterns) for end in range(len(parts)))
