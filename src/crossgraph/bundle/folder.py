"""Read and write bundles.

bundle.json         what it is: format version, region encoder, short-list sizes, calibration, how it was made
reranker/           a run
retriever/          a run, or
head.safetensors    an index head on the re-ranker's codes
sieve.safetensors   optional: a late-interaction retriever on the same codes, for cascades
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle.head import HeadConfig, IndexHead
from crossgraph.bundle.late_interaction import LateInteractionConfig, LateInteractionRetriever
from crossgraph.bundle.short_list import ShortList
from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.files import atomic_write, read_json, sha256, unwritable, write_json
from crossgraph.runs import Run, load_run

Part = TypeVar("Part", IndexHead, LateInteractionRetriever)
FORMAT_VERSION = 1
MANIFEST = "bundle.json"
RUN_FILES = ("run.json", "model.safetensors", "vocabulary.json")
_AGAIN = "make it again with 'crossgraph bundle'"


def load_bundle(path: Path) -> Bundle:
    """Load a bundle, or a bare run as one.

    Args:
        path: A folder with bundle.json, or a run's.

    Raises:
        InputError: It is neither, of a newer format, or a part is missing or was changed.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder", "give a bundle or a run")
    if not (path / MANIFEST).exists():
        if not (path / "run.json").exists():
            raise InputError(f"{path}: holds neither bundle.json nor run.json", "give a bundle or a finished run")
        return Bundle(path, load_run(path))
    about = read_json(path / MANIFEST, _AGAIN)
    if not isinstance(about, dict):
        raise InputError(f"{path / MANIFEST}: not an object", _AGAIN)
    version = about.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise InputError(
            f"{path / MANIFEST}: format version {version}, this program reads {FORMAT_VERSION}",
            "update crossgraph" if newer else _AGAIN,
        )
    try:
        return _read(path, about)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path / MANIFEST}: incomplete ({error})", _AGAIN) from error


def save_bundle(folder: Path, bundle: Bundle, made: dict[str, Any]) -> Bundle:
    """Write a bundle; `bundle.json` comes last and marks it as complete.

    Args:
        folder: Made where missing.
        bundle: Its parts may lie anywhere; runs are copied.
        made: How it was made, for the record.

    Returns:
        The same, from its new place.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    _copy_run(bundle.reranker, folder / "reranker")
    if bundle.retriever is not None:
        _copy_run(bundle.retriever, folder / "retriever")
    about: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "region_encoder": bundle.region_encoder,
        "reranker": {"model": bundle.reranker.info.model, "sha256": sha256(folder / "reranker" / "model.safetensors")},
        "retriever": None,
        "head": _save_part(bundle.head, folder / "head.safetensors"),
        "sieve": _save_part(bundle.late_interaction, folder / "sieve.safetensors"),
        "short_list": bundle.short_list.as_json() if bundle.short_list else None,
        "calibration": bundle.calibration.as_json() if bundle.calibration else None,
        "made": made,
    }
    if bundle.retriever is not None:
        weights = folder / "retriever" / "model.safetensors"
        about["retriever"] = {"model": bundle.retriever.info.model, "sha256": sha256(weights)}
    write_json(folder / MANIFEST, about)
    return load_bundle(folder)


def copy_bundle(bundle: Bundle, folder: Path) -> None:
    """Copy a bundle or a bare run into a folder; what was there is deleted only when the copy is complete."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        if (bundle.path / MANIFEST).exists():
            save_bundle(fresh, bundle, {"copied_from": bundle.name})
        else:
            fresh.mkdir(parents=True)
            for name in RUN_FILES:
                shutil.copyfile(bundle.path / name, fresh / name)
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def _read(path: Path, about: dict[str, Any]) -> Bundle:
    reranker = _checked_run(path / "reranker", about["reranker"]["sha256"])
    retriever = _checked_run(path / "retriever", about["retriever"]["sha256"]) if about["retriever"] else None
    head = _read_head(path / "head.safetensors", dict(about["head"])) if about["head"] else None
    return Bundle(
        path,
        reranker,
        retriever,
        head,
        ShortList.from_json(about["short_list"]) if about["short_list"] else None,
        Calibration.from_json(about["calibration"]) if about["calibration"] else None,
        _read_late_interaction(path / "sieve.safetensors", dict(about["sieve"])) if about.get("sieve") else None,
    )


def _save_part(part: IndexHead | LateInteractionRetriever | None, path: Path) -> dict[str, Any] | None:
    """Write a part's weights, and return its entry of bundle.json."""
    if part is None:
        return None
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in part.state_dict().items()}
    with atomic_write(path) as file:
        file.write(save(tensors))
    return {**dataclasses.asdict(part.config), "sha256": sha256(path)}


def _read_head(path: Path, about: dict[str, Any]) -> IndexHead:
    expected = about.pop("sha256")
    head = IndexHead(configs.build(HeadConfig, about, f"{path.parent / MANIFEST}: head"))
    return _filled(head, path, expected)


def _read_late_interaction(path: Path, about: dict[str, Any]) -> LateInteractionRetriever:
    expected = about.pop("sha256")
    retriever = LateInteractionRetriever(
        configs.build(LateInteractionConfig, about, f"{path.parent / MANIFEST}: sieve")
    )
    return _filled(retriever, path, expected)


def _filled(part: Part, path: Path, expected: str) -> Part:
    """Load a part's weights from a file, after checking its digest."""
    try:
        if sha256(path) != expected:
            raise InputError(f"{path}: is not the file that bundle.json names", _AGAIN)
        part.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", _AGAIN) from error
    except (SafetensorError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})", _AGAIN) from error
    return part.eval()


def _checked_run(folder: Path, expected: str) -> Run:
    run = load_run(folder)
    if sha256(folder / "model.safetensors") != expected:
        raise InputError(f"{folder / 'model.safetensors'}: is not the file that bundle.json names", _AGAIN)
    return run


def _copy_run(run: Run, folder: Path) -> None:
    if folder.exists() and run.path.resolve() == folder.resolve():
        return
    for name in RUN_FILES:
        with (run.path / name).open("rb") as source, atomic_write(folder / name) as file:
            shutil.copyfileobj(source, file)
