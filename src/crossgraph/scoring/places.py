"""Whether a place can take results, told before the work that makes them."""

from __future__ import annotations

import os
from pathlib import Path

from crossgraph.core.errors import InputError


def check_file(path: Path, suffix: str) -> None:
    """Refuse a place for a file.

    Args:
        path: The file that will be written.
        suffix: What its name must end in, dot included.

    Raises:
        InputError: Another suffix, a folder of that name, or no way to write there.
    """
    if path.suffix != suffix:
        raise InputError(f"{path}: must end in {suffix}", f"name it {path.stem or 'scores'}{suffix}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder", "name a file in it")
    _check_ancestors(path)


def check_folder(folder: Path) -> None:
    """Refuse a place for a folder of results.

    Args:
        folder: Made later, where missing.

    Raises:
        InputError: A file stands there, or there is no way to write there.
    """
    _check_ancestors(folder / "anything")


def _check_ancestors(path: Path) -> None:
    for folder in path.absolute().parents:
        if folder.is_dir():
            if not os.access(folder, os.W_OK | os.X_OK):
                raise InputError(f"{folder}: cannot be written", "choose another place or change its permissions")
            return
        if folder.exists():
            raise InputError(f"{folder}: is a file where a folder is wanted", "choose another place")
