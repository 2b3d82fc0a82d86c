"""Finding the pictures of a folder: sorted, links followed once, hidden names skipped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crossgraph.core.errors import InputError

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib"])
_KINDS = "JPEG, PNG, WebP, GIF, TIFF, BMP"


@dataclass(frozen=True)
class Scan:
    """What a picture folder holds.

    Attributes:
        pictures: Where each picture lies, by id: its path below the folder, with forward slashes; sorted.
        broken: (id, reason) of what should be a picture or a folder and cannot be opened, sorted.
    """

    pictures: dict[str, Path]
    broken: list[tuple[str, str]]


def find_pictures(root: Path) -> Scan:
    """Find the pictures below a folder by their names' endings, or take one picture whatever its name.

    Hidden files and folders (a leading dot) are skipped. Linked folders are followed, each real folder
    once, so that a loop of links ends.

    Args:
        root: A folder, or one picture, whose id is then its name.

    Raises:
        InputError: There is no such path, or the folder cannot be opened or holds no picture.
    """
    root = Path(root)
    try:
        is_folder = (root.stat().st_mode & 0o170000) == 0o040000
    except (OSError, ValueError) as error:
        raise InputError(f"{root}: {_reason(error)}", "check the path of the pictures") from error
    if not is_folder:
        if not root.is_file():
            raise InputError(f"{root}: neither a picture nor a folder", "name a folder of pictures")
        return Scan({root.name: root}, [])
    pictures, broken = _walk(root)
    if not pictures and not broken:
        raise InputError(f"{root}: holds no pictures ({_KINDS})", "check the path of the pictures")
    return Scan(dict(sorted(pictures.items())), sorted(broken))


def _walk(root: Path) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    pictures: dict[str, Path] = {}
    broken: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [(root, "")], list[tuple[Path, str]]()
    while folders or links:
        folder, prefix = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise InputError(f"{root}: {_reason(error)}", "check the folder's permissions") from error
            broken.append((printable(prefix), f"folder: {_reason(error)}"))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + entry.name
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append((Path(entry.path), f"{name}/"))
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                problem = _problem(entry)
                if problem:
                    broken.append((printable(name), problem))
                else:
                    pictures[name] = Path(entry.path)
    return pictures, broken


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _problem(entry: os.DirEntry[str]) -> str:
    """Say why something named like a picture is not to be opened, or nothing."""
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    try:
        entry.stat()
    except FileNotFoundError:
        return "a link to nothing"
    except OSError as error:
        return _reason(error)
    return "" if entry.is_file() else "not a regular file"


def printable(text: str) -> str:
    """Return text that can be printed and written as UTF-8 on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _reason(error: OSError | ValueError) -> str:
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
