"""What all tests share: shape checks on, one torch thread, the data folders."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

_CHECKED = ["core", "graphs", "models", "losses", "scoring", "pipeline", "bundle", "store", "explain", "evaluate"]
_EARLY = [name for name in sys.modules if name.startswith(tuple(f"crossgraph.{part}" for part in _CHECKED))]
assert not _EARLY, f"imported before their shapes could be checked: {_EARLY}"

import beartype  # noqa: E402
import hypothesis  # noqa: E402
import jaxtyping  # noqa: E402


def _check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let beartype check a function, but for hints that it cannot check on a bare function."""
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {name: Any if _uncheckable(hint, function) else hint for name, hint in hints.items()}
    return beartype.beartype(function)


def _uncheckable(hint: Any, function: Any) -> bool:
    """Tell whether a hint is `Self` or has a protocol inside that only a static checker can follow."""
    if isinstance(hint, str):
        try:
            hint = eval(hint, function.__globals__)
        except NameError:  # a class still being defined: beartype looks it up at the first call
            return False
    if get_origin(hint) is Literal:  # its arguments are values: "global" is no expression
        return False
    protocol = getattr(hint, "_is_protocol", False) and not getattr(hint, "_is_runtime_protocol", False)
    return hint is Self or protocol or any(_uncheckable(part, function) for part in get_args(hint))


_checker = types.ModuleType("crossgraph_shape_checker")
_checker.check = _check  # type: ignore[attr-defined]
sys.modules[_checker.__name__] = _checker  # the hook takes a checker by name only
jaxtyping.install_import_hook([f"crossgraph.{part}" for part in _CHECKED], f"{_checker.__name__}.check")

hypothesis.settings.register_profile("crossgraph", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("crossgraph")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two cores are shared by two test processes; small tensors gain nothing from more threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Numbers made once by running the published models; each folder has a README."""
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photos and captions that are not ours to commit, beside the checkout or at CROSSGRAPH_SHARED."""
    folder = Path(os.environ.get("CROSSGRAPH_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        reason = f"photos and captions are not at {folder / 'data'} (name another place by CROSSGRAPH_SHARED)"
        if os.environ.get("CROSSGRAPH_REQUIRE_SHARED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
