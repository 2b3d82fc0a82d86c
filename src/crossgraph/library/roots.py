"""Which folders an indexing run looks at, and which it never does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from crossgraph.library.manifest import Manifest
from crossgraph.library.scan import check_roots

_TAKEN_OUT = "taken_out"


def choose_roots(manifest: Manifest, named: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Return the roots to index.

    Args:
        manifest: The library's.
        named: By a person; one inside a root of the library stands for that root. None takes the library's own.

    Returns:
        Real paths, and (path, reason) of the library's own that are not there now.

    Raises:
        InputError: One that was named is not there.
    """
    known = list(manifest.roots().values())
    if not named:
        there = [root for root in known if root.is_dir()]
        return check_roots(there), [
            (str(root), "folder: is not there; its pictures stay in the library") for root in known if root not in there
        ]
    real = check_roots(named)
    put_back(manifest, real)
    outer = {root: next((other for other in known if root.is_relative_to(other)), root) for root in real}
    return list(dict.fromkeys(outer.values())), []


def taken_out(manifest: Manifest) -> list[Path]:
    """Return the folders inside roots that were taken out of the library."""
    return [Path(path) for path in json.loads(manifest.meta(_TAKEN_OUT, "[]"))]


def take_out(manifest: Manifest, folder: Path) -> None:
    """Remember that a folder inside a root is not wanted."""
    folders = [str(path) for path in taken_out(manifest) if not path.is_relative_to(folder)]
    manifest.remember({_TAKEN_OUT: json.dumps([*folders, str(folder)])})


def put_back(manifest: Manifest, folders: Sequence[Path]) -> None:
    """Forget that folders were taken out, where one of them, or one inside them, is asked for by name."""
    before = taken_out(manifest)
    left = [path for path in before if not any(folder.is_relative_to(path) for folder in folders)]
    if left != before:
        manifest.remember({_TAKEN_OUT: json.dumps([str(path) for path in left])})
