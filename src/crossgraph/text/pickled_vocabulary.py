"""Safe reading of pickled vocabularies (VSRN, CGMN), without running any code in them.

A pickle is a program. This reader allows it to build dicts, lists, tuples, strings and whole numbers, and one object of
a class named `Vocabulary`, which is replaced by a class without behaviour; anything else is refused.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.text.vocabulary import Vocabulary

_REMEDY = (
    "convert it in an environment that you trust: load it there and write word2idx, idx2word and idx as a JSON object"
)
_LARGEST = 64 << 20  # bytes; the published ones are below 1 MB


class _Refused(Exception):
    """The pickle needs something that is not allowed; the message names it."""


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, by its name or first byte."""
    if path.suffix in (".pkl", ".pickle"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == pickle.PROTO
    except OSError:
        return False


def load_pickled(path: Path) -> Vocabulary:
    """Read a pickled vocabulary: an object of a class `Vocabulary`, or a dict, with `word2idx` and `idx2word`.

    Raises:
        InputError: It is missing or no pickle, asks for anything but plain containers, strings, whole numbers and
            its own class, or is no vocabulary.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: too large for a vocabulary", "give the file published with the checkpoint")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "give the vocabulary's file") from error
    try:
        loaded = _read(content)
    except _Refused as refusal:
        raise InputError(f"{path}: refused, it asks for {refusal}", _REMEDY) from refusal
    except Exception as error:  # a broken pickle can fail with any of them
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        raise InputError(f"{path}: not a readable pickle ({reason})", _REMEDY) from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: not a vocabulary (it holds one {type(loaded).__name__})", _REMEDY)
    return Vocabulary.from_values(_as_json(loaded, path), path)


def _read(content: bytes) -> Any:
    """Unpickle with access to two empty classes only, made for this call so that a file cannot change ours."""

    class AuthorsVocabulary:
        """An object of the authors' class, with any attributes."""

    class Object:
        """Replacement of `object`."""

    def make_object(made: Any, base: Any, state: Any = None) -> Any:
        """Replace Python 2's helper that makes objects of new-style classes; allows the authors' class alone."""
        if made is not AuthorsVocabulary or base is not Object:
            raise _Refused("another class than its vocabulary's")
        return AuthorsVocabulary()

    class Reader(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str) -> Any:
            if global_name == "Vocabulary":
                return AuthorsVocabulary
            if (module_name, global_name) in (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")):
                return make_object
            if (module_name, global_name) in (("builtins", "object"), ("__builtin__", "object")):
                return Object
            raise _Refused(f"{module_name}.{global_name}")

        def persistent_load(self, pid: Any) -> Any:
            raise _Refused("an object outside the file")

    loaded = Reader(io.BytesIO(content), encoding="utf-8").load()  # Python 2's strings were bytes
    if isinstance(loaded, AuthorsVocabulary):
        loaded = vars(loaded)
    return loaded


def _as_json(loaded: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Return the three entries as in JSON, where keys are text; only str and int are allowed."""
    values: dict[str, Any] = {}
    for name, (key, value) in {"word2idx": (str, int), "idx2word": (int, str)}.items():
        entries = loaded.get(name)
        if not isinstance(entries, dict) or not all(type(k) is key and type(v) is value for k, v in entries.items()):
            raise InputError(f"{path}: not a vocabulary ('{name}' does not map words and rows)", _REMEDY)
        values[name] = {str(k): v for k, v in entries.items()}
    if type(loaded.get("idx")) is int:
        values["idx"] = loaded["idx"]
    return values
