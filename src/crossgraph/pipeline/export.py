"""Write codes as files for other programs: everything in one safetensors file, or one array as .npy.

`codes.safetensors` holds `pictures.local`, `pictures.mask`, `texts.local`, ... and, in its metadata under
"crossgraph", a JSON text that says what the rows are. `codes.npy` holds one array, and `codes.npy.json`
beside it that same JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.files import atomic_write, write_json
from crossgraph.pipeline.codes import PictureCodes, TextCodes

FORMAT_VERSION = 1
SUFFIXES = (".npy", ".safetensors")
Dtype = Literal["float32", "float16"]


def arrays_of(codes: PictureCodes | TextCodes, dtype: Dtype = "float32") -> dict[str, np.ndarray]:
    """Return a side's arrays by name; numbers in `dtype`, masks and boxes as they are."""
    named: dict[str, np.ndarray | None] = {"local": codes.local, "index": codes.index, **codes.parts}
    arrays = {name: array.astype(dtype) for name, array in named.items() if array is not None}
    arrays["mask"] = codes.mask
    if isinstance(codes, PictureCodes) and codes.boxes is not None:
        arrays["boxes"] = codes.boxes
    return arrays


def describe(codes: PictureCodes | TextCodes) -> dict[str, Any]:
    """Return what the rows are: ids or sentences, and how many regions or tokens of each are real."""
    counts = [int(count) for count in codes.mask.sum(axis=1)]
    if isinstance(codes, PictureCodes):
        return {"ids": codes.ids, "regions": counts}
    return {"texts": codes.texts, "tokens": counts, "unknown": codes.unknown}


def write_safetensors(
    path: Path, sides: Mapping[str, PictureCodes | TextCodes], made_by: Mapping[str, Any], dtype: Dtype = "float32"
) -> dict[str, tuple[int, ...]]:
    """Write all arrays of one or both sides; the file is whole or not there.

    Args:
        path: The file.
        sides: "pictures" and "texts", or one of them.
        made_by: The run, for the record.
        dtype: Of the numbers.

    Returns:
        Shape by name.

    Raises:
        InputError: The file cannot be written, or the disk is full.
    """
    arrays = {
        f"{side}.{name}": np.ascontiguousarray(array)
        for side, codes in sides.items()
        for name, array in arrays_of(codes, dtype).items()
    }
    about = {"format_version": FORMAT_VERSION, "made_by": dict(made_by)}
    about |= {side: describe(codes) for side, codes in sides.items()}
    with atomic_write(path) as file:
        file.write(save(arrays, {"crossgraph": json.dumps(about, ensure_ascii=False)}))
    return {name: array.shape for name, array in arrays.items()}


def choose_part(codes: PictureCodes | TextCodes, part: str | None, name: str) -> str:
    """Return which array a .npy file will hold: the one asked for, else "index" where there is one, else "local".

    Raises:
        InputError: There is no such array.
    """
    known = arrays_of(codes)
    if part is None:
        return "index" if "index" in known else "local"
    if part not in known:
        raise InputError(f"--part {part}: {name} gives no such code", did_you_mean(part, known))
    return part


def write_npy(
    path: Path,
    side: str,
    codes: PictureCodes | TextCodes,
    part: str,
    made_by: Mapping[str, Any],
    dtype: Dtype = "float32",
) -> tuple[int, ...]:
    """Write one array, and beside it what its rows are; the array comes last, so that it means "whole".

    Returns:
        Its shape.

    Raises:
        InputError: The file cannot be written, or the disk is full.
    """
    array = arrays_of(codes, dtype)[part]
    about = {"format_version": FORMAT_VERSION, "made_by": dict(made_by), "part": part, side: describe(codes)}
    write_json(path.with_name(path.name + ".json"), about)
    with atomic_write(path) as file:
        np.save(file, array, allow_pickle=False)
    return array.shape
