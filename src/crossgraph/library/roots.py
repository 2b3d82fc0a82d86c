"""Chooses the folders that an indexing run scans, and checks which paths of a picture exist."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.library.manifest import Manifest
from crossgraph.vision.pictures import heif_is_read
from crossgraph.vision.scan import KINDS, is_gone, is_ignored, printable, reason_of, scan_folder

_REMOVED = "taken_out"
_ENTERED = "entered"


def check_roots(roots: Sequence[Path]) -> list[Path]:
    """Return the real paths of the roots; one inside another is left out, since the outer one holds it.

    Raises:
        InputError: One does not exist, is no folder, or cannot be opened.
    """
    real = {_real_root(root) for root in roots}
    return sorted(root for root in real if not any(root != other and root.is_relative_to(other) for other in real))


def _real_root(root: Path) -> Path:
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise InputError(f"{root}: is a file", "name the folder it lies in")
        real = root.resolve()
    except OSError as error:
        if is_gone(error):
            raise InputError(f"{root}: no such folder", "check the path of the pictures") from error
        raise InputError(f"{root}: {reason_of(error)}", "check the folder's permissions, or mount it again") from error
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"{root}: cannot be read", "check the folder's permissions")
    try:
        str(real).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{printable(str(root))}: its name is not UTF-8", "rename the folder") from error
    return real


def check_holds_pictures(roots: Sequence[Path]) -> None:
    """Check that there is a picture below at least one of some folders.

    Raises:
        InputError: There is none.
    """
    scans = (scan_folder(root, links_stay_inside=True, heif=heif_is_read()) for root in check_roots(roots))
    unusable: list[tuple[str, str]] = []
    for scan in scans:
        if scan.files or scan.unread:
            return
        unusable += scan.unusable
    names = ", ".join(map(str, roots))
    if unusable:
        path, reason = unusable[0]
        raise InputError(f"{names}: no picture can be read; the first of {len(unusable):,} is {path}", reason)
    raise InputError(f"{names}: no picture found ({KINDS})", "check the path of the pictures")


def choose_roots(manifest: Manifest, named: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the roots to index.

    Args:
        manifest: The library's.
        named: By the user; one inside a root of the library means that root. None takes the library's own.

    Returns:
        Real paths, and a line for each root of the library that is not there now.

    Raises:
        InputError: One that was named is not there.
    """
    known = list(manifest.roots().values())
    problems = root_problems(known)
    notes = [f"{printable(str(root))}: {problem}" for root, problem in problems.items()]
    if not named:
        return check_roots([root for root in known if root not in problems]), notes
    real = check_roots(named)
    every = [_real_root(folder) for folder in named]
    forget_removed_folders(manifest, every)
    _remember_entered(manifest, every, known)
    outer = {root: next((other for other in known if root.is_relative_to(other)), root) for root in real}
    return list(dict.fromkeys(outer.values())), notes


def root_problems(roots: Iterable[Path]) -> dict[Path, str]:
    """Return the problem of each root that is not there or cannot be opened now, with what to do."""
    problems: dict[Path, str] = {}
    for root in roots:
        remove = f"crossgraph library remove '{printable(str(root))}'"
        try:
            is_folder = stat.S_ISDIR(root.stat().st_mode)
        except OSError as error:
            if not is_gone(error):
                problems[root] = f"cannot be read now ({reason_of(error)}); its pictures stay in the library"
                continue
            is_folder = False
        if not is_folder:
            problems[root] = f"is not there; its pictures stay in the library (to take them out: {remove})"
        elif not os.access(root, os.R_OK | os.X_OK):
            problems[root] = "cannot be read now (permission denied); its pictures stay in the library"
    return problems


def existing_first(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """Return the paths of a picture, those that exist now first, and how many do; a single path is not checked."""
    if len(paths) == 1:
        return list(paths), 1
    existing = [path for path in paths if may_exist(path)]
    return [*existing, *(path for path in paths if path not in existing)], len(existing)


def may_exist(path: Path) -> bool:
    """Return whether a path exists, or may exist where that cannot be found out now."""
    try:
        path.stat()
    except OSError as error:
        return not is_gone(error)
    return True


def removed_folders(manifest: Manifest) -> list[Path]:
    """Return the folders inside roots that the user removed from the library."""
    return _folders(manifest, _REMOVED)


def add_removed_folder(manifest: Manifest, folder: Path) -> None:
    """Write to the manifest that a folder inside a root was removed."""
    outside = [path for path in removed_folders(manifest) if not path.is_relative_to(folder)]
    _remember(manifest, _REMOVED, [*outside, folder])


def forget_removed_folders(manifest: Manifest, folders: Sequence[Path]) -> None:
    """Forget that folders were removed, where one of them, or one inside them, is named again."""
    before = removed_folders(manifest)
    _remember(manifest, _REMOVED, [path for path in before if not any(each.is_relative_to(path) for each in folders)])


def named_folders(manifest: Manifest, root: Path) -> list[Path]:
    """Return the hidden and system folders below a root that are scanned because they were named."""
    return [path for path in _folders(manifest, _ENTERED) if path != root and path.is_relative_to(root)]


def forget_named_folders(manifest: Manifest, folder: Path) -> None:
    """Forget the hidden and system folders at or below a folder that were named."""
    _remember(manifest, _ENTERED, [path for path in _folders(manifest, _ENTERED) if not path.is_relative_to(folder)])


def is_ignored_below(root: Path, path: Path, enter: Sequence[Path]) -> bool:
    """Return whether a path lies in a hidden or system folder below a root, and in none that is to be entered."""
    inside = max((folder for folder in [root, *enter] if path.is_relative_to(folder)), key=lambda each: len(each.parts))
    return any(is_ignored(part) for part in path.relative_to(inside).parts)


def _remember_entered(manifest: Manifest, named: Sequence[Path], known: Sequence[Path]) -> None:
    """Write to the manifest the folders that were named, now or before, and that a scan would not enter otherwise."""
    roots = [*named, *known]
    fresh = [
        folder
        for folder in roots
        if any(folder != root and folder.is_relative_to(root) and is_ignored_below(root, folder, []) for root in roots)
    ]
    _remember(manifest, _ENTERED, list(dict.fromkeys([*_folders(manifest, _ENTERED), *fresh])))


def _folders(manifest: Manifest, key: str) -> list[Path]:
    return [Path(path) for path in json.loads(manifest.meta(key, "[]"))]


def _remember(manifest: Manifest, key: str, folders: Sequence[Path]) -> None:
    if folders != _folders(manifest, key):
        manifest.remember({key: json.dumps([str(folder) for folder in folders])})
