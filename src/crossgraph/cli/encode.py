"""`crossgraph encode`: pictures and sentences to a run's codes, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from crossgraph.pipeline import PictureCodes, Pipeline
    from crossgraph.scoring.encode import ProgressCallback


def encode(
    run: Path,
    pictures: list[Path] | None = None,
    *,
    texts: Path | None = None,
    features: Path | None = None,
    out: Path,
    part: str | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Write the codes of pictures and sentences, each side encoded alone.

    A .safetensors file holds all arrays of both sides (pictures.local, texts.local, ...); a .npy file one
    array of one side, with a .npy.json beside it that names its rows. Broken pictures inside a folder
    are listed and left out.

    Args:
        run: A run that `crossgraph train` or `crossgraph import` made.
        pictures: Pictures, or folders of them.
        texts: A text file, one sentence a line.
        features: In place of pictures, region features of your own: a .npy of (pictures, regions, D).
        out: The .safetensors or .npy to write.
        part: For .npy, which array: local, index, global ... (index where the model has one, else local).
        dtype: Of the numbers.
        device: Where to compute; auto takes the accelerator where there is one.
    """
    from crossgraph.files import check_output_file
    from crossgraph.pipeline import TextCodes, load
    from crossgraph.pipeline.export import SUFFIXES, choose_part, write_npy, write_safetensors
    from crossgraph.progress import ProgressDisplay
    from crossgraph.provenance import describe_run

    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: must end in .safetensors or .npy", f"name it {out.stem or 'codes'}.safetensors")
    check_output_file(out, out.suffix)
    if out.suffix == ".npy":
        check_output_file(out.with_name(f"{out.name}.json"), ".json")
    if pictures and features:
        raise InputError("both pictures and --features are given", "give one of them")
    if not (pictures or features or texts):
        raise InputError("nothing to encode", "name pictures or folders, --features FILE.npy, or --texts FILE")
    both = bool(texts) and bool(pictures or features)
    if out.suffix == ".npy" and both:
        raise InputError(f"{out}: holds one side's codes only", "name it .safetensors, or encode each side by itself")
    if part and out.suffix != ".npy":
        raise InputError(f"--part {part}: a .safetensors file holds all parts", "name a .npy file, or leave --part out")
    pipe = load(run, device=device)
    sentences = _sentences(texts) if texts else []
    sides: dict[str, PictureCodes | TextCodes] = {}
    with ProgressDisplay() as progress:
        report = progress.for_task("encoding")
        if texts:
            sides["texts"] = pipe.encode_texts(sentences, report)
        if features:
            sides["pictures"] = _encode_own(pipe, features, report)
        elif pictures:
            named, found = {str(path) for path in pictures}, _found(pictures)
            sides["pictures"] = pipe.encode_pictures(found, report, lambda name, why: _broken(name, why, named))
    made_by = describe_run(pipe.run)
    if out.suffix == ".npy":
        ((side, codes),) = sides.items()
        chosen = choose_part(codes, part, str(run))
        shapes = {f"{side}.{chosen}": write_npy(out, side, codes, chosen, made_by, dtype)}
    else:
        shapes = write_safetensors(out, sides, made_by, dtype)
    described = ", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items())
    print(f"{out}: {described}")


def _encode_own(pipe: Pipeline, path: Path, report: ProgressCallback) -> PictureCodes:
    """Encode a file of features; errors name the file and the picture in it."""
    import numpy as np

    try:
        codes = pipe.encode_pictures(_features(path), report)
    except InputError as error:
        if not error.problem.startswith("picture "):
            raise
        raise InputError(f"{path}, {error.problem}", error.remedy) from error
    broken = np.flatnonzero(~np.isfinite(codes.local).all(axis=(1, 2)))
    if len(broken):
        raise InputError(f"{path}, picture {broken[0]}: its code is no number", "make these features again")
    return codes


def _sentences(path: Path) -> list[str]:
    from crossgraph.files import read_text

    lines = [line.strip() for line in read_text(path).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: holds no sentence", "write one sentence a line")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise InputError(f"{path}: line {number} is empty", "write one sentence a line")
    return lines


def _features(path: Path) -> np.ndarray:
    import numpy as np

    remedy = "give a .npy of numbers of shape (pictures, regions, D)"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", "check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a whole .npy file ({' '.join(str(error).split())[:80]})", remedy) from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or not len(array):
        raise InputError(f"{path}: shape {getattr(array, 'shape', '?')}", remedy)
    return array


def _is_folder(path: Path) -> bool:
    import stat

    from crossgraph.vision.scan import is_gone, reason_of

    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if is_gone(error):
            return False
        raise InputError(f"{path}: {reason_of(error)}", "check the permissions, or mount it") from error


def _found(paths: list[Path]) -> list[str]:
    """Return the pictures named, and those in the folders named."""
    from crossgraph.vision.missing import unread_notes
    from crossgraph.vision.scan import find_pictures, ignored_note

    found: list[str] = []
    for root in paths:
        if not _is_folder(root):
            found.append(str(root))
            continue
        scan = find_pictures(root)
        found += [str(path) for path in scan.pictures.values()]
        assert scan.folder is not None
        for note in [*ignored_note(scan.folder), *unread_notes(scan.folder.unread, ())]:
            log(f"crossgraph encode: note: {note}")
        for name, reason in scan.broken:
            log(f"crossgraph encode: left out {root / name}: {reason}")
    return found


def _broken(name: str, reason: str, named: set[str]) -> None:
    """Refuse a broken picture that was named itself; list one that a folder held."""
    if name in named:
        raise InputError(f"{name}: {reason}", "give a picture that opens")
    log(f"crossgraph encode: left out {name}: {reason}")
