"""Score files: a plain `.npy` and a JSON beside it that records how it was made.

    scores.npy        float32, images × captions, in the split's order
    scores.npy.json   models, data fingerprint, split, command, the digest of scores.npy

The matrix is written row by row and takes its name when it is whole. A matrix without the JSON (made
elsewhere) can be evaluated as well; its card then says that its models are unknown.
"""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float32

from crossgraph.core.errors import InputError
from crossgraph.data.npy_file import read_header
from crossgraph.data.split import Split
from crossgraph.files import atomic_write, check_output_file, read_json, reserve, sha256, write_json
from crossgraph.provenance import all_versions, describe_run, git_revision, hardware, pairs_fingerprint, typed_command
from crossgraph.runs import Run
from crossgraph.scoring.engine import ScoreBlock
from crossgraph.scoring.recall import refuse_nonfinite
from crossgraph.scoring.topk import RunningTopK

FORMAT_VERSION = 1
_REMEDY = "give a float32 .npy of images × captions, as 'crossgraph score' writes it"


@dataclass(frozen=True)
class ScoreInfo:
    """Record of how a score matrix was made, saved beside it.

    Attributes:
        models: One entry a model, as `describe_run` gives it.
        split: The split's name.
        pairs: Fingerprint of the split's ids, captions and map, see `crossgraph.provenance`.
        features: Fingerprint of its features.
        region_encoder: Name of the encoder of its features.
        precision: Of the matrix products.
        device: They ran on.
        seconds: They took.
        command: What was typed.
        versions: Of the program and its libraries.
        git_revision: Of the program, where known.
        sha256: Of the matrix file.
    """

    models: list[dict[str, Any]]
    split: str
    pairs: str
    features: str
    region_encoder: str
    precision: str
    device: str
    seconds: float = 0.0
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    git_revision: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class ScoreFile:
    """A score matrix on disk.

    Attributes:
        path: The `.npy`.
        scores: Its values, memory-mapped.
        info: What made it, or None where no (or another matrix's) JSON lies beside it.
        remark: Why there is no `info`, or "".
    """

    path: Path
    scores: Float[np.ndarray, "img txt"]
    info: ScoreInfo | None
    remark: str


def describe_score(run: Run, split: Split, device: torch.device, precision: str) -> ScoreInfo:
    """Return the record that is saved beside a score matrix of this run."""
    return ScoreInfo(
        models=[describe_run(run)],
        split=split.name,
        pairs=pairs_fingerprint(split),
        features=split.features.fingerprint(),
        region_encoder=split.features.encoder,
        precision=precision,
        device=str(hardware(device)["device"]),
        command=typed_command(),
        versions=all_versions(),
        git_revision=git_revision(),
    )


def write_scores(
    path: Path,
    parts: Iterable[ScoreBlock | Float32[np.ndarray, "img txt"]],
    shape: tuple[int, int],
    info: ScoreInfo,
) -> ScoreInfo:
    """Write a score matrix block by block; the file is renamed into place when complete.

    Args:
        path: The `.npy`.
        parts: Portions that lie anywhere, or blocks of whole rows, one after the other.
        shape: Images, captions.
        info: What makes it; `seconds` and `sha256` are filled in.

    Returns:
        `info` with the matrix's digest and the seconds its parts took, as written beside it.

    Raises:
        InputError: The disk is full (told before the first row where the system can tell), or the place
            cannot be written.
    """
    check_output_file(path, ".npy")
    begun = time.monotonic()
    header = io.BytesIO()
    layout = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    beside = path.with_name(f"{path.name}.json")
    with atomic_write(path) as file:
        reserve(file, len(header.getvalue()) + 4 * shape[0] * shape[1])
        file.write(header.getvalue())
        row = 0
        for part in parts:
            portion = part if isinstance(part, ScoreBlock) else ScoreBlock(row, 0, part)
            _put(file, portion, len(header.getvalue()), shape[1])
            row = portion.image + len(portion.scores)
        beside.unlink(missing_ok=True)  # of an older matrix; the new one's follows
    seconds = round(time.monotonic() - begun, 3)
    whole = dataclasses.replace(info, seconds=seconds, sha256=sha256(path))
    write_json(beside, {"format_version": FORMAT_VERSION, **dataclasses.asdict(whole)})
    return whole


def write_best(
    path: Path, portions: Iterable[ScoreBlock], shape: tuple[int, int], count: int, info: ScoreInfo
) -> ScoreInfo:
    """Write the k best captions of every picture and the k best pictures of every caption, instead of the matrix.

    The `.npz` holds `captions` (images, k) with `caption_scores`, and `images` (captions, k) with `image_scores`:
    numbers from 0 in the split's order, the best first.

    Args:
        path: The `.npz`.
        portions: All pairs, each once.
        shape: Images, captions.
        count: k, at least 1.
        info: What makes them; `seconds` and `sha256` are filled in.

    Raises:
        InputError: k below 1, a score that is no number, or a place that cannot be written.
    """
    if count < 1:
        raise InputError(f"--top-k {count}: keeps nothing", "give at least 1")
    check_output_file(path, ".npz")
    begun = time.monotonic()
    images, captions = shape
    of_images, of_captions = RunningTopK(images, min(count, captions)), RunningTopK(captions, min(count, images))
    for portion in portions:
        refuse_nonfinite(portion.scores, portion.image)
        of_images.add(portion.image, portion.caption, portion.scores)
        of_captions.add(portion.caption, portion.image, np.ascontiguousarray(portion.scores.T))
    beside = path.with_name(f"{path.name}.json")
    with atomic_write(path) as file:
        np.savez(
            file,
            captions=of_images.answers,
            caption_scores=of_images.scores,
            images=of_captions.answers,
            image_scores=of_captions.scores,
        )
        beside.unlink(missing_ok=True)
    seconds = round(time.monotonic() - begun, 3)
    whole = dataclasses.replace(info, seconds=seconds, sha256=sha256(path))
    write_json(beside, {"format_version": FORMAT_VERSION, "top_k": count, **dataclasses.asdict(whole)})
    return whole


def open_scores(path: Path) -> ScoreFile:
    """Open a score file, memory-mapped, with its record.

    Raises:
        InputError: It is missing, no `.npy`, truncated, not a matrix, empty, or not float32 or float64.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder", _REMEDY)
    shape, dtype, fortran, offset = read_header(path)
    if dtype.itemsize not in (4, 8):
        why = "float16 scores tie by rounding" if dtype.itemsize == 2 else "only float32 and float64 are read"
        raise InputError(f"{path}: holds {dtype}; {why}", "score again in float32")
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"{path}: holds an array of shape {shape}", _REMEDY)
    try:
        scores = np.memmap(path, dtype, "r", offset, shape, order="F" if fortran else "C")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be opened ({error})", _REMEDY) from error
    info, remark = _read_info(path)
    return ScoreFile(path, scores, info, remark)


def _put(file: IO[bytes], portion: ScoreBlock, start: int, columns: int) -> None:
    """Write a block at its position; plain writes, since a memory map would count as the process's memory."""
    values = np.ascontiguousarray(portion.scores, dtype="<f4")
    place = start + 4 * (portion.image * columns + portion.caption)
    if values.shape[1] == columns:
        file.seek(place)
        file.write(values.data)
        return
    for number, row in enumerate(values):
        file.seek(place + 4 * number * columns)
        file.write(row.data)


def _read_info(path: Path) -> tuple[ScoreInfo | None, str]:
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return None, f"{path.name}: what made these scores is unknown (no {beside.name} beside them)"
    values: object = read_json(beside)
    if not isinstance(values, dict):
        return None, f"{beside.name}: not what 'crossgraph score' writes, so it is ignored"
    entries = cast("dict[str, Any]", values)
    if entries.pop("format_version", None) != FORMAT_VERSION:
        return None, f"{beside.name}: of another format version, so it is ignored"
    try:
        info = ScoreInfo(**entries)
    except TypeError:
        return None, f"{beside.name}: not what 'crossgraph score' writes, so it is ignored"
    if info.sha256 != sha256(path):
        return None, f"{beside.name}: speaks of another matrix than {path.name} holds now, so it is ignored"
    return info, ""
