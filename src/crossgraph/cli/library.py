"""`crossgraph library`: what a library holds, and what keeps it in shape."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Literal

from crossgraph.core.errors import InputError


def library(
    action: Literal["info", "verify", "rebuild", "compact", "remove", "export"] = "info",
    target: Path | None = None,
    *,
    library: Path | None = None,
    json: bool = False,
    content: bool = False,
) -> None:
    """Look at a picture library, check it, mend it, take something out of it.

    info: what it holds and how large it is. verify: the manifest itself, and every code, thumbnail and neighbour
    against it, mended where that can be. rebuild: the nearest neighbours anew, from manifest and codes. compact: free
    the disk space of removed pictures. remove FOLDER: take a folder out; the pictures stay where they are.
    export FILE: what is known of every picture, as .csv or .jsonl.

    Args:
        action: What to do.
        target: The folder for remove, the file for export.
        library: The library's folder; $CROSSGRAPH_LIBRARY, or the one in your home folder.
        json: Print JSON (info).
        content: Read every file too, and compare it with what was indexed (verify).
    """
    from crossgraph.library import maintenance
    from crossgraph.library.library import Library, default_library
    from crossgraph.progress import ProgressDisplay

    needs = {"remove": "the folder to take out", "export": "the .csv or .jsonl to write"}
    if action in needs and target is None:
        raise InputError(f"library {action}: what?", f"name {needs[action]}")
    if action not in needs and target is not None:
        raise InputError(
            f"library {action} {target}: takes nothing more", f"leave {target} out; --library names the library"
        )
    with Library(library or default_library()) as opened, ProgressDisplay() as progress:
        report = progress.update
        if action == "info":
            found = opened.info()
            print(dumps(found, indent=2, ensure_ascii=False) if json else _summary(found))
        elif action == "verify":
            findings = maintenance.verify(opened, report, content)
            print(_findings(findings))
        elif action == "rebuild":
            print(f"{maintenance.rebuild(opened, report):,} pictures in the store")
        elif action == "compact":
            before, after = maintenance.compact(opened, report)
            print(f"codes: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")
        elif action == "remove":
            assert target is not None
            count = maintenance.remove(opened, target, report)
            print(f"{count:,} {'file' if count == 1 else 'files'} taken out; the pictures themselves are untouched")
        elif action == "export":
            assert target is not None
            _check_table(target)
            print(f"{target}: {maintenance.export(opened, target, report):,} pictures")


def _check_table(path: Path) -> None:
    from crossgraph.files import check_output_file

    if path.suffix not in (".csv", ".jsonl"):
        raise InputError(f"{path}: must end in .csv or .jsonl", f"name it {path.stem or 'pictures'}.csv")
    check_output_file(path, path.suffix)


def _summary(found: dict[str, object]) -> str:
    sizes = found["bytes"]
    assert isinstance(sizes, dict)
    roots, problems = found["roots"], found["root_problems"]
    assert isinstance(roots, list)
    assert isinstance(problems, dict)
    lines = [
        f"{found['folder']}: {found['pictures']:,} pictures in {found['files']:,} files, {found['broken']:,} broken",
        *(f"  from {root}" + (f": {problems[root]}" if root in problems else "") for root in roots),
        f"model {found['model']} on {found['region_encoder']}; index by {found['index']}"
        if found["model"]
        else "no model yet: crossgraph index PICTURES --model RUN-or-BUNDLE",
        f"scores are {'calibrated' if found['calibrated'] else 'not calibrated'}; neighbours in {found['store']}",
        *([f"{found['bytes_per_picture']:,} bytes of {found['codes']} codes a picture"] if found["codes"] else []),
        "on disk: " + ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in sizes.items() if size),
    ]
    return "\n".join(lines)


def _findings(found: object) -> str:
    from crossgraph.library.maintenance import Findings

    assert isinstance(found, Findings)
    if found.sound:
        return f"{found.pictures:,} pictures: all sound"
    parts = [
        f"{found.manifest:,} faults of the manifest mended: run 'crossgraph index', which finds again what they hid"
        if found.manifest
        else "",
        f"{found.codes:,} without whole codes: run 'crossgraph index' to encode them anew" if found.codes else "",
        f"{found.thumbnails:,} thumbnails made again" if found.thumbnails else "",
        f"{found.store[0]:,} added to the store, {found.store[1]:,} taken out" if any(found.store) else "",
        f"{len(found.changed):,} files hold other content than was indexed (first: {found.changed[0]}): run "
        "'crossgraph index'"
        if found.changed
        else "",
        f"{len(found.unread):,} files could not be read (first: {found.unread[0][0]}: {found.unread[0][1]})"
        if found.unread
        else "",
        f"{len(found.missing):,} files are not there now (first: {found.missing[0]}): mount their disk if it is not "
        "mounted, then run 'crossgraph index'"
        if found.missing
        else "",
    ]
    return "\n".join([f"{found.pictures:,} pictures looked at", *(f"  {part}" for part in parts if part)])
