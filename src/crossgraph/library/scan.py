"""Finding the pictures of a root: hidden and excluded folders skipped, links followed only inside the root."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.vision.pictures import HEIF_SUFFIXES
from crossgraph.vision.scan import SUFFIXES, printable


@dataclass(frozen=True)
class Found:
    """A picture file, not yet read."""

    path: str
    size: int
    modified: int


@dataclass
class RootScan:
    """What a root holds.

    Attributes:
        files: Its pictures, sorted by path.
        notes: (path, reason) of what was passed over though it looks like a picture or a folder of them.
        unread: Folders that could not be opened: what lies there is neither found nor gone.
    """

    files: list[Found] = field(default_factory=list[Found])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unread: list[str] = field(default_factory=list[str])


def check_roots(roots: Sequence[Path]) -> list[Path]:
    """Return the real paths of the roots; one inside another is left out, since the outer one holds it.

    Raises:
        InputError: One does not exist, is no folder, or cannot be opened.
    """
    real: list[Path] = []
    for root in roots:
        if not root.exists():
            raise InputError(f"{root}: no such folder", "check the path of the pictures")
        if not root.is_dir():
            raise InputError(f"{root}: is a file", "name the folder it lies in")
        if not os.access(root, os.R_OK | os.X_OK):
            raise InputError(f"{root}: cannot be read", "check the folder's permissions")
        try:
            str(root.resolve()).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"{printable(str(root))}: its name is not UTF-8", "rename the folder") from error
        real.append(root.resolve())
    outer = [
        root for root in dict.fromkeys(real) if not any(root != other and root.is_relative_to(other) for other in real)
    ]
    return sorted(outer)


def scan_root(root: Path, exclude: Sequence[str] = (), avoid: Sequence[Path] = (), heif: bool = False) -> RootScan:
    """Walk a root: real folders first, then linked ones, each folder once.

    Args:
        root: A real path.
        exclude: Patterns of names or of paths below the root ("raw", "*.tmp.jpg", "2019/private*").
        avoid: Folders that are never entered, by whatever name: the library itself, and what was taken out.
        heif: Whether HEIC pictures can be read.
    """
    scan = RootScan()
    seen = {(status.st_dev, status.st_ino) for folder in avoid if (status := _status(folder))}
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            scan.notes.append((printable(str(folder)), f"folder: {(error.strerror or str(error)).lower()}"))
            scan.unread.append(str(folder))
            continue
        for entry in entries:
            below = Path(entry.path).relative_to(root).as_posix()
            if entry.name.startswith(".") or _excluded(entry.name, below, exclude):
                continue
            _look(entry, root, scan, links if entry.is_symlink() else folders, heif)
    scan.files.sort(key=lambda found: found.path)
    return scan


def _look(entry: os.DirEntry[str], root: Path, scan: RootScan, folders: list[Path], heif: bool) -> None:
    shown = printable(entry.path)
    suffix = Path(entry.name).suffix.lower()
    try:
        if entry.is_symlink():
            target = Path(entry.path).resolve(strict=True)
            if not target.is_relative_to(root):
                if entry.is_dir() or suffix in SUFFIXES:
                    scan.notes.append((shown, f"a link that leads out of {root}"))
                return
        if entry.is_dir():
            folders.append(Path(entry.path))
            return
        if suffix in HEIF_SUFFIXES and not heif:
            scan.notes.append((shown, "HEIC is read with: pip install 'crossgraph[heif]'"))
            return
        if suffix not in SUFFIXES | HEIF_SUFFIXES:
            return
        entry.path.encode("utf-8")
        status = entry.stat()
        if not entry.is_file():
            scan.notes.append((shown, "not a regular file"))
            return
        scan.files.append(Found(entry.path, status.st_size, status.st_mtime_ns))
    except UnicodeEncodeError:
        scan.notes.append((shown, "its name is not UTF-8; rename it"))
    except RuntimeError:
        scan.notes.append((shown, "a loop of links"))
    except OSError as error:
        if suffix in SUFFIXES | HEIF_SUFFIXES or entry.is_symlink():
            scan.notes.append((shown, "a link to nothing" if entry.is_symlink() else (error.strerror or "").lower()))


def _status(folder: Path) -> os.stat_result | None:
    try:
        return folder.stat()
    except OSError:
        return None


def is_excluded(path: str, root: Path, patterns: Sequence[str]) -> bool:
    """Return whether patterns pass over a path below a root, or over a folder that it lies in."""
    below = Path(path).relative_to(root)
    folders = [below, *below.parents][:-1]
    return any(_excluded(folder.name, folder.as_posix(), patterns) for folder in folders)


def _excluded(name: str, below: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(below, pattern) for pattern in patterns)
