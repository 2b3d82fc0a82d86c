"""Finding and loading of `transformers` models on this machine, without network and without running their code.

Weights are read from safetensors alone, code in the folder is never executed, nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging as levels
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, sha256

INSTALL = "pip install 'crossgraph[transformers]'"
_UNUSED = ("pooler", "head.", "mask_token")  # parts that no hidden state depends on; they may be missing
_FAILURES = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, ImportError)


def find_model(source: str) -> Path:
    """Return the folder of a model.

    Args:
        source: A folder, or a name that the local Hugging Face cache knows.

    Raises:
        InputError: Neither exists, or the folder is no model's.
    """
    folder = Path(source).expanduser()
    if folder.is_file():
        raise InputError(f"{source}: is a file", "give the folder that holds config.json and model.safetensors")
    if not folder.is_dir():
        folder = _cached(source)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: has no config.json", "give a folder that model.save_pretrained(FOLDER) wrote")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's `config.json`.

    Raises:
        InputError: It is not JSON, or names no model type.
    """
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise InputError(f"{path}: names no model_type", "give a folder that model.save_pretrained(FOLDER) wrote")
    return config


def weight_files(folder: Path) -> list[Path]:
    """Return a model's weight files, sorted.

    Raises:
        InputError: There are none in safetensors format.
    """
    whole = folder / "model.safetensors"
    files = [whole] if whole.is_file() else sorted(folder.glob("model-*.safetensors"))
    if not files:
        old = next((path.name for pattern in ("*.bin", "*.pt", "*.h5") for path in folder.glob(pattern)), "")
        raise InputError(
            f"{folder}: has no model.safetensors{f', only {old}' if old else ''}",
            "load the model once and write it with model.save_pretrained(FOLDER)",
        )
    return files


def fingerprint(folder: Path, names: Sequence[str] = ("config.json",)) -> str:
    """Return a digest of a model's weights and of the named files that exist.

    Raises:
        InputError: There are no weights.
    """
    digest = hashlib.sha256()
    for path in [*weight_files(folder), *(folder / name for name in names)]:
        if path.is_file():
            digest.update(f"{path.name}\0{sha256(path)}\0".encode())
    return digest.hexdigest()


def load_model(kind: str, folder: Path) -> Any:
    """Load a model in float32 and evaluation mode.

    Args:
        kind: A class of `transformers`: "CLIPVisionModel".
        folder: The model's folder.

    Raises:
        InputError: `transformers` is not installed, or the weights are damaged or another model's.
    """
    weight_files(folder)
    remedy = "it may be truncated or another model's; get it again"
    with quiet():
        transformers = package()
        import torch
        from safetensors import SafetensorError

        try:
            model, loading = getattr(transformers, kind).from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except (*_FAILURES, SafetensorError) as error:
            raise InputError(f"{folder}: cannot be loaded as {kind} ({_shortened(error)})", remedy) from error
    missing = sorted(name for name in loading["missing_keys"] if not any(part in name for part in _UNUSED))
    if missing:
        raise InputError(f"{folder}: its weights lack {len(missing)} tensors of {kind} ('{missing[0]}', …)", remedy)
    return model.eval()


def build(make: Callable[[], Any], source: str) -> Any:
    """Build a `transformers` object from a configuration; a refusal becomes one line.

    Raises:
        InputError: It was refused.
    """
    with quiet():
        try:
            return make()
        except _FAILURES as error:
            raise InputError(f"{source}: not a configuration that can be built ({_shortened(error)})") from error


def package() -> Any:
    """Return the package `transformers`.

    Raises:
        InputError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise InputError("the package transformers is not installed", INSTALL) from error
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and reports of `transformers` within the block; errors are still raised."""
    package()
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(levels.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _cached(source: str) -> Path:
    package()
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(source, "config.json")
    except ValueError:  # not a name that a hub could have
        config = None
    if not isinstance(config, str):
        raise InputError(
            f"{source}: no such folder, and no model of this name in the local Hugging Face cache",
            "give the folder of a model that lies on this machine; nothing is downloaded",
        )
    return Path(config).parent


def _shortened(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
