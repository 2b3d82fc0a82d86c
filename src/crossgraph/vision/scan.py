"""Finds the pictures below a folder: by their endings, links followed once, hidden and system folders ignored."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.vision.pictures import HEIF_SUFFIXES

SUFFIXES = frozenset([".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib"])
SYSTEM_FOLDERS = frozenset(
    [
        *("@eadir", "#recycle", "#snapshot", "@tmp"),  # Synology
        *("@recycle", "@recently-snapshot", "@__thumb"),  # QNAP
        *("$recycle.bin", "recycler", "recycled", "system volume information"),  # Windows
        *("__macosx", "network trash folder", "temporary items"),  # macOS
        *("lost+found", "~snapshot"),
    ]
)
"""Folders that systems and storage devices make for themselves, in lower case: thumbnails, waste bins, snapshots."""
KINDS = "JPEG, PNG, WebP, GIF, TIFF, BMP"


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture file, not yet read: path, size in bytes, mtime and ctime in nanoseconds.

    `changed` is 0 on Windows, where ctime is the time of creation.
    """

    path: str
    size: int
    modified: int
    changed: int


@dataclass
class FolderScan:
    """What a folder holds.

    Attributes:
        root: The folder.
        files: Its pictures, sorted by path.
        unusable: (path, reason) of what is named like a picture or a folder of them and is none.
        unread: Files and folders that could not be asked now, with the reason: neither found nor gone.
        folders: Device and inode of each folder that was entered.
        dangling: Links that lead nowhere now, and the path that each leads to.
        ignored: Hidden and system folders that were not entered.
    """

    root: str
    files: list[PictureFile] = field(default_factory=list[PictureFile])
    unusable: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unread: dict[str, str] = field(default_factory=dict[str, str])
    folders: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    dangling: dict[str, str] = field(default_factory=dict[str, str])
    ignored: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Scan:
    """The pictures of a folder by their ids.

    Attributes:
        pictures: Where each picture lies, by id: its path below the folder, with forward slashes; sorted.
        broken: (id, reason) of what should be a picture or a folder and cannot be opened, sorted.
        folder: The scan that they were found by; None for a single picture.
    """

    pictures: dict[str, Path]
    broken: list[tuple[str, str]]
    folder: FolderScan | None = None


def find_pictures(root: Path) -> Scan:
    """Find the pictures below a folder by their names' endings, or take one picture whatever its name.

    Args:
        root: A folder, or one picture, whose id is then its name.

    Raises:
        InputError: There is no such path, or the folder cannot be opened or holds no picture.
    """
    root = Path(root)
    try:
        mode = root.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{root}: {reason_of(error)}", "check the path of the pictures") from error
    if not stat.S_ISDIR(mode):
        if not stat.S_ISREG(mode):
            raise InputError(f"{root}: neither a picture nor a folder", "name a folder of pictures")
        return Scan({root.name: root}, [])
    scan = scan_folder(root)
    if str(root) in scan.unread and not scan.files:
        raise InputError(f"{root}: {scan.unread[str(root)]}", "check the folder's permissions, or mount it")
    if not (scan.files or scan.unusable or scan.unread):
        raise InputError(f"{root}: holds no pictures ({KINDS})", "check the path of the pictures")
    pictures = {id_below(root, file.path): Path(file.path) for file in scan.files}
    broken = [(printable(id_below(root, path)), reason) for path, reason in scan.unusable]
    return Scan(dict(sorted(pictures.items())), sorted(broken), scan)


def id_below(root: Path, path: str) -> str:
    """Return a picture's id: its path below the folder, with forward slashes."""
    return Path(path).relative_to(root).as_posix()


def scan_folder(
    root: Path,
    exclude: Sequence[str] = (),
    avoid: Sequence[Path] = (),
    enter: Sequence[Path] = (),
    heif: bool | None = None,
    links_stay_inside: bool = False,
) -> FolderScan:
    """Find the pictures below a folder: real folders first, then linked ones, each folder once.

    Args:
        root: A folder.
        exclude: Patterns of names or of paths below the root ("raw", "*.tmp.jpg", "2019/private*").
        avoid: Folders that are never entered, whatever path leads there.
        enter: Folders below the root that are entered although they are hidden or a system's.
        heif: Whether HEIC pictures can be read; where not, they are reported. None passes over them.
        links_stay_inside: Whether links out of the root are reported instead of followed; the root is then a real path.
    """
    return _Walk(root, exclude, avoid, enter, heif, links_stay_inside).run()


def is_ignored(name: str) -> bool:
    """Return whether folders of a name are not entered: hidden ones, and those of systems and storage devices."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_excluded(below: str, patterns: Sequence[str]) -> bool:
    """Return whether a path below the root, or its name, fits one of the patterns."""
    name = below.rpartition("/")[2]
    return any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(below, pattern) for pattern in patterns)


def is_gone(error: OSError) -> bool:
    """Return whether an error says that a path does not exist, rather than that it cannot be asked now."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def ignored_note(scan: FolderScan) -> list[str]:
    """Return a line that counts the hidden and system folders that were not entered; none where there are none."""
    names = (Path(path).name for path in scan.ignored)
    counts = Counter("hidden" if name.startswith(".") else printable(name) for name in names)
    parts = [f"{count:,} {name}" for name, count in sorted(counts.items())]
    folders = f"{len(scan.ignored):,} {'folder' if len(scan.ignored) == 1 else 'folders'}"
    return [f"{printable(scan.root)}: passed over {folders} ({', '.join(parts)}); name one to use it"] if parts else []


def listed(parts: Sequence[str]) -> str:
    """Return some words as a list in a sentence: "a, b and c"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


class _Walk:
    """One scan of a folder; see `scan_folder`."""

    def __init__(
        self,
        root: Path,
        exclude: Sequence[str],
        avoid: Sequence[Path],
        enter: Sequence[Path],
        heif: bool | None,
        links_stay_inside: bool,
    ) -> None:
        self.root, self.exclude = root, exclude
        self.heif, self.links_stay_inside = heif, links_stay_inside
        self.scan = FolderScan(str(root))
        self.seen = {identity for folder in avoid if (identity := _identity(folder))}
        self.entered = {str(folder) for folder in enter}
        self.folders = [(str(root), "")]
        self.folders += [(str(folder), f"{folder.relative_to(root).as_posix()}/") for folder in enter]
        self.links: list[tuple[str, str]] = []

    def run(self) -> FolderScan:
        while self.folders or self.links:
            folder, prefix = self.folders.pop() if self.folders else self.links.pop(0)
            for entry in self._entries(folder):
                below = prefix + entry.name
                if not is_excluded(below, self.exclude):
                    self._take(entry, below)
        self.scan.files.sort(key=lambda file: file.path)
        return self.scan

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return a folder's entries, sorted; none of one that was entered before. What fails midway is noted."""
        entries: list[os.DirEntry[str]] = []
        try:
            status = Path(folder).stat()
            identity = (status.st_dev, status.st_ino)
            if identity in self.seen:
                return []
            self.seen.add(identity)
            with os.scandir(folder) as listing:
                self.scan.folders[folder] = identity
                for entry in listing:  # an error ends the listing; the entries before it count
                    entries.append(entry)
        except OSError as error:
            if folder == str(self.root) or not is_gone(error):
                self.scan.unread[folder] = reason_of(error)
        return sorted(entries, key=lambda entry: entry.name)

    def _take(self, entry: os.DirEntry[str], below: str) -> None:
        suffix = Path(entry.name).suffix.lower()
        try:
            if entry.is_symlink() and self._refuse_link(entry, suffix):
                return
            if entry.is_dir():
                if is_ignored(entry.name):
                    if entry.path not in self.entered:
                        self.scan.ignored.append(entry.path)
                else:
                    (self.links if entry.is_symlink() else self.folders).append((entry.path, f"{below}/"))
            elif not entry.name.startswith("."):
                self._take_file(entry, suffix)
        except UnicodeEncodeError:
            self.scan.unusable.append((printable(entry.path), "its name is not UTF-8; rename it"))
        except OSError as error:
            if not is_gone(error) and not is_ignored(entry.name):
                self.scan.unread[entry.path] = reason_of(error)

    def _refuse_link(self, entry: os.DirEntry[str], suffix: str) -> bool:
        """Return whether a link leads nowhere, in a loop, or out of the root where that is not allowed; note it.

        Raises:
            OSError: What it leads to cannot be asked.
        """
        is_picture = suffix in SUFFIXES | HEIF_SUFFIXES
        is_shown = (is_picture or not suffix) and not entry.name.startswith(".")
        problem = ""
        try:
            target = Path(os.path.realpath(entry.path, strict=True))
            if self.links_stay_inside and not target.is_relative_to(self.root):
                problem, is_shown = f"a link that leads out of {self.root}", is_picture or entry.is_dir()
        except OSError as error:
            if error.errno == errno.ELOOP:
                problem = "a loop of symbolic links"
            elif is_gone(error):
                self.scan.dangling[entry.path] = os.path.realpath(entry.path)
                problem = "a link to nothing"
            else:
                raise
        if problem and is_shown:
            self.scan.unusable.append((printable(entry.path), problem))
        return bool(problem)

    def _take_file(self, entry: os.DirEntry[str], suffix: str) -> None:
        if suffix in HEIF_SUFFIXES and self.heif is False:
            self.scan.unusable.append((printable(entry.path), "HEIC is read with: pip install 'crossgraph[heif]'"))
        elif suffix in SUFFIXES or (suffix in HEIF_SUFFIXES and self.heif):
            entry.path.encode("utf-8")
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                changed = 0 if os.name == "nt" else status.st_ctime_ns
                self.scan.files.append(PictureFile(entry.path, status.st_size, status.st_mtime_ns, changed))
            else:
                self.scan.unusable.append((printable(entry.path), "not a regular file"))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def printable(text: str) -> str:
    """Return text that can be printed and written as UTF-8 on one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def reason_of(error: OSError | ValueError) -> str:
    """Return what an error says, in a few words."""
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
