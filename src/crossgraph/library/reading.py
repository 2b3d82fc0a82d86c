"""Reads a file for indexing: its content's digest, and of new content pixels and thumbnail."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crossgraph.library.library import Library
from crossgraph.library.photo import Photo, read_photo
from crossgraph.vision.pictures import BrokenPicture, PictureLoader
from crossgraph.vision.scan import PictureFile


@dataclass(frozen=True)
class ReadFile:
    """The result of reading a file.

    Attributes:
        file: The file.
        sha256: Of its bytes; empty where they could not be read.
        picture: Id of a known picture of this content, or None.
        photo: What a new picture needs; None where the content is known or broken.
        broken: Why it cannot be used, or empty.
        error: Why its bytes could not be read, which says nothing of the picture.
    """

    file: PictureFile
    sha256: str
    picture: int | None = None
    photo: Photo | None = None
    broken: str = ""
    error: OSError | None = None


def read_file(library: Library, file: PictureFile, loader: PictureLoader, size: int, max_megapixels: float) -> ReadFile:
    """Read a file; of new content decode pixels and write the thumbnail."""
    try:
        data = Path(file.path).read_bytes()
    except OSError as error:
        return ReadFile(file, "", error=error)
    digest = hashlib.sha256(data).hexdigest()
    known = library.manifest.by_content(digest)
    if known is not None and known[1] == "ready":
        return ReadFile(file, digest, picture=known[0])
    try:
        photo = read_photo(data, loader, size, max_megapixels)
    except BrokenPicture as reason:
        return ReadFile(file, digest, broken=str(reason))
    write_thumbnail(library.thumbnail(digest), photo.thumbnail)
    return ReadFile(file, digest, photo=photo)


def write_thumbnail(path: Path, data: bytes) -> None:
    """Write a thumbnail, whole or not at all; it is not synced, since it can be made again."""
    with contextlib.suppress(OSError):  # a library without thumbnails still finds; verify says which are missing
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
