"""Tells known pictures that are gone from those that a scan of their folder cannot see now."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossgraph.vision.pictures import HEIF_SUFFIXES
from crossgraph.vision.scan import SUFFIXES, FolderScan, printable

Identity = tuple[int, int]
"""Device and inode of a folder."""

OTHER_DISK = "is another disk than before"
_MANY_FOLDERS = 5  # more are reported as one


@dataclass
class Missing:
    """Known pictures that a scan did not find.

    Attributes:
        gone: Paths of those that do not exist any more.
        unread: Paths of those that could not be asked.
        unseen: Paths of those whose folder suddenly holds none of them, by that folder.
        reasons: What happened to each of these folders.
    """

    gone: list[str] = field(default_factory=list[str])
    unread: list[str] = field(default_factory=list[str])
    unseen: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    reasons: dict[str, str] = field(default_factory=dict[str, str])

    def notes(self, remedy: str, again: str = "") -> list[str]:
        """Return one line for each folder that suddenly holds none of its pictures.

        Args:
            remedy: What to do where the pictures are gone for good; "{}" stands for the folder.
            again: What to do after that where the folder holds other pictures now.
        """
        lines: list[str] = []
        for folder, paths in self.unseen.items():
            shown, reason = printable(folder), self.reasons[folder]
            whole = remedy + (again if reason == OTHER_DISK else "")
            stay = f"the {_count(len(paths))} known from it stay"
            if paths:
                lines.append(f"{shown}: {reason}; {stay}: mount it, or if they are gone: {whole.replace('{}', shown)}")
        return lines


def find_missing(
    scan: FolderScan,
    known: Collection[str],
    identities: Mapping[str, Identity] | None = None,
    left_out: Collection[str] = (),
) -> Missing:
    """Sort the known pictures that a scan did not find into those that are gone and those that only cannot be seen.

    A picture is gone where its folder was read and does not name it, or does not exist any more. It is not where it
    or a folder above it could not be asked, and not where its folder is there and suddenly holds nothing: then a disk
    is not mounted, or another one is. Of the same folder as before, the loss of a single picture is believed.

    Args:
        scan: Of the folder.
        known: Paths of all pictures known from there.
        identities: Device and inode of its folders when the pictures were last seen.
        left_out: Known pictures that are not wanted any more; they are gone.
    """
    identities = identities or {}
    present = {file.path for file in scan.files}
    missing = Missing()
    lost = [path for path in known if path not in present]
    unwanted = set(left_out)
    missing.unread = [path for path in lost if path not in unwanted and unread_part(path, scan.unread)]
    not_asked = set(missing.unread)
    missing.gone = [path for path in lost if path in unwanted]
    judge = _Judge(scan, identities, (path for path in known if path in present or path in not_asked))
    for path in lost:
        if path in unwanted or path in not_asked:
            continue
        folder = judge.unseen_folder(path)
        if folder is None:
            missing.gone.append(path)
        else:
            missing.unseen.setdefault(folder, []).append(path)
    for folder, paths in list(missing.unseen.items()):
        if len(paths) == 1 and folder != scan.root and identities.get(folder) == scan.folders.get(folder, ()):
            missing.gone += missing.unseen.pop(folder)
    missing.reasons = {folder: judge.reasons[folder] for folder in missing.unseen}
    return missing


def unread_notes(unread: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Return a line for each folder with pictures that could not be asked, or one line for many folders.

    Args:
        unread: Files and folders that could not be asked, with the reason.
        known: Paths of the known pictures that are among them.
    """
    counts = Counter[str]()
    for path in known:
        if part := unread_part(path, unread):
            counts[part] += 1
    names = [path for path in unread if counts[path] or _is_picture(path) or not Path(path).suffix]
    groups: dict[str, list[str]] = {}
    for path in names:
        groups.setdefault(_parent(path), []).append(path)
    if len(groups) > _MANY_FOLDERS:
        groups = {os.path.commonpath(list(groups)): names}
    return [_unread_note(folder, paths, unread, counts) for folder, paths in groups.items()]


def _unread_note(folder: str, paths: Sequence[str], unread: Mapping[str, str], counts: Mapping[str, int]) -> str:
    reason = Counter(unread[path] for path in paths).most_common(1)[0][0]
    below = sum(counts.get(path, 0) for path in paths)
    fresh = sum(_is_picture(path) and not counts.get(path) for path in paths)
    shown = printable(paths[0] if len(paths) == 1 else folder)
    if not below + fresh:
        return f"{shown}: cannot be read now ({reason})"
    where = "" if len(paths) == 1 and _is_picture(paths[0]) else f"{_count(below + fresh)} below it "
    stay = f"; what is known of {'it' if below == 1 else 'them'} stays" if below else ""
    return f"{shown}: {where}cannot be read now ({reason}){stay}"


def unread_part(path: str, unread: Mapping[str, str]) -> str:
    """Return the path, or the folder above it, that could not be asked; empty where there is none."""
    while unread:
        if path in unread:
            return path
        above = _parent(path)
        if above in ("", path):
            break
        path = above
    return ""


class _Judge:
    """Finds the folder because of which a picture cannot be seen.

    Args:
        scan: Of the root.
        identities: Of its folders when the pictures were last seen.
        seen: Paths of the known pictures that are still there or could not be asked.
    """

    def __init__(self, scan: FolderScan, identities: Mapping[str, Identity], seen: Iterable[str]) -> None:
        self.scan, self.before = scan, identities
        self.holding_known = folders_above(seen, scan.root)
        filled = [file.path for file in scan.files]
        self.holding_any = self.holding_known | folders_above([*filled, *scan.unread], scan.root)
        self.reasons: dict[str, str] = {}
        self._known: dict[str, str | None] = {}

    def unseen_folder(self, path: str) -> str | None:
        """Return the folder that suddenly does not show a picture, or None where the picture is gone."""
        if path in self.scan.dangling:
            target = self.scan.dangling[path]
            return self.unseen_folder(target) if _is_below(target, self.scan.root) else None
        folder = _parent(path)
        if folder not in self._known:
            self._known[folder] = self._find(folder)
        return self._known[folder]

    def _find(self, folder: str) -> str | None:
        chain = list(_chain(folder, self.scan.root))
        for position, part in enumerate(chain):
            if part in self.holding_known:
                continue
            if part in self.scan.dangling:
                return self._because(part, "leads to nothing now")
            if not any(below in self.scan.folders for below in chain[position:]):
                mounts = (below for below in chain[position:] if self._was_mount(below))
                mount = next(mounts, None)
                return None if mount is None else self._because(mount, "was another disk and is not there now")
            if part not in self.scan.folders:
                continue  # a hidden folder, entered further down
            if part not in self.holding_any:
                return self._because(part, "holds no picture any more")
            if self._is_other_device(part):
                return self._because(part, OTHER_DISK)
        return None

    def _because(self, folder: str, reason: str) -> str:
        self.reasons[folder] = reason
        return folder

    def _was_mount(self, folder: str) -> bool:
        """Return whether a folder was another device than the root."""
        root = self.before.get(self.scan.root, self.scan.folders.get(self.scan.root))
        return folder in self.before and root is not None and self.before[folder][0] != root[0]

    def _is_other_device(self, folder: str) -> bool:
        """Return whether a folder is another device than before; numbers change when a computer starts again."""
        if folder not in self.before:
            return False
        root = self.scan.root
        is_mount = self.scan.folders[folder][0] != self.scan.folders[root][0]
        if folder != root and not is_mount and not self._was_mount(folder):
            return False
        return self.before[folder][0] != self.scan.folders[folder][0]


def folders_above(paths: Iterable[str], root: str) -> set[str]:
    """Return all folders of a root in which one of the paths lies, at any depth."""
    found: set[str] = set()
    for folder in {_parent(path) for path in paths}:
        for part in _upwards(folder, root):
            if part in found:
                break
            found.add(part)
    return found


def _chain(folder: str, root: str) -> Sequence[str]:
    """Return the folders from a root down to one below it."""
    return list(_upwards(folder, root))[::-1]


def _upwards(folder: str, root: str) -> Iterator[str]:
    while len(folder) >= len(root):
        yield folder
        above = _parent(folder)
        if folder in (above, root):
            break
        folder = above


def _parent(path: str) -> str:
    """Return the folder that a path lies in; empty where it names none. A library has a million of them."""
    head, separator, _ = path.rpartition(os.sep)
    return head or separator


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def _is_picture(path: str) -> bool:
    return Path(path).suffix.lower() in SUFFIXES | HEIF_SUFFIXES


def _count(number: int) -> str:
    return f"{number:,} picture{'' if number == 1 else 's'}"
