"""Attaches the captions of a root's captions.jsonl or captions.csv to the pictures that it names."""

from __future__ import annotations

import stat
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.data.captions_file import CAPTION_FILES, read_captions
from crossgraph.library.manifest import Manifest
from crossgraph.vision.scan import is_gone, reason_of


def attach_captions(manifest: Manifest, number: int, root: Path) -> tuple[list[int], list[tuple[str, str]]]:
    """Make the captions of a root's pictures those of its captions file now.

    Pictures are named by their path below the root. Copies share the captions of all.

    Args:
        manifest: The library's.
        number: The root's id.
        root: Its folder.

    Returns:
        The pictures whose captions have changed, and (path, reason) of a captions file that cannot be read; known
        captions then stay.
    """
    try:
        path = next((root / name for name in CAPTION_FILES if _is_file(root / name)), None)
    except OSError as error:
        return [], [(str(error.filename or root), reason_of(error))]
    try:
        captions = {each.names[0]: each.captions for each in read_captions(path)} if path is not None else {}
    except InputError as error:
        return [], [(str(path), error.problem.removeprefix(str(path)).lstrip(":, "))]
    start = len(str(root).rstrip("/")) + 1
    wanted = {
        (file.picture, " ".join(text.split()))
        for name, file in (manifest.files(number).items() if captions else ())
        for text in captions.get(name[start:], ())
        if text.strip()
    }
    rows = manifest.connection.execute("SELECT picture, text FROM captions WHERE root = ?", (number,))
    known = {(row[0], row[1]) for row in rows}
    fresh, old = sorted(wanted - known), sorted(known - wanted)
    changed = sorted({picture for picture, _ in [*fresh, *old]})
    if changed:
        with manifest.transaction() as connection:
            connection.executemany(
                "DELETE FROM captions WHERE picture = ? AND text = ? AND root = ?", [(*each, number) for each in old]
            )
            connection.executemany("INSERT INTO captions VALUES (?, ?, ?)", [(*each, number) for each in fresh])
            connection.executemany("INSERT OR IGNORE INTO pending VALUES (?)", [(picture,) for picture in changed])
    return changed, []


def _is_file(path: Path) -> bool:
    """Return whether a path is a file.

    Raises:
        OSError: That cannot be asked now.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if is_gone(error):
            return False
        raise
