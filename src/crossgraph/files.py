"""Files that are either whole or not there: write to a temporary name, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from crossgraph.core.errors import InputError

_NO_ROOM_UNKNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as mkstemp draws them


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the name `path` only when the block ends well.

    Args:
        path: The final name. Its folder is made when missing.

    Yields:
        A binary file object. It and its name vanish when the block raises.

    Raises:
        InputError: The disk is full, or the place cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Tell whether a file's name is one that `atomic_write` makes up; with its writer killed, it is nobody's."""
    return _TEMPORARY.fullmatch(name) is not None


def reserve(file: IO[bytes], size: int) -> None:
    """Ask for a file's room at once, so that a full disk is told before the work and not after it.

    Args:
        file: Open for writing.
        size: Bytes that it will have.

    Raises:
        OSError: There is no room; a file system that cannot tell is believed to have it.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in _NO_ROOM_UNKNOWN:
            raise


def unwritable(path: Path, error: OSError) -> InputError:
    """Turn the operating system's refusal to write `path` into a line for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"{path}: no room left to write it", "free some disk space and run the same command again")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return InputError(f"{path}: cannot be written ({reason.lower()})", "choose another place or change its permissions")


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically; see `atomic_write` for what is raised."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path | str, value: object) -> None:
    """Write indented JSON atomically; see `atomic_write` for what is raised."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: Path | str, remedy: str = "check the path") -> str:
    """Read a UTF-8 file.

    Raises:
        InputError: It is missing, a folder, unreadable or not UTF-8.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", remedy) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8", "save it as UTF-8") from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise InputError(f"{path}: cannot be read ({reason})", remedy) from error


def read_json(path: Path | str, remedy: str = "check the path") -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing, unreadable or not JSON; the line and column are named.
    """
    text = read_text(path, remedy)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(
            f"{path}: not valid JSON at {where} ({error.msg})", "it may be truncated; make it again"
        ) from error


def sha256(path: Path | str, limit: int | None = None) -> str:
    """Return the hexadecimal SHA-256 of a file, or of its first `limit` bytes."""
    digest = hashlib.sha256()
    left = limit
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20 if left is None else min(1 << 20, left)):
            digest.update(chunk)
            if left is not None:
                left -= len(chunk)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder to disk, so that a new file survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_output_file(path: Path, suffix: str) -> None:
    """Check that a file can be written, before the work that makes it.

    Args:
        path: The file that will be written.
        suffix: What its name must end in, dot included.

    Raises:
        InputError: Another suffix, a folder of that name, or it cannot be written.
    """
    if path.suffix != suffix:
        raise InputError(f"{path}: must end in {suffix}", f"name it {path.stem or 'scores'}{suffix}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder", "name a file in it")
    _check_ancestors(path)


def check_output_folder(folder: Path) -> None:
    """Check that a folder of results can be written, before the work that makes them.

    Args:
        folder: It need not exist.

    Raises:
        InputError: It is a file, or cannot be written.
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
