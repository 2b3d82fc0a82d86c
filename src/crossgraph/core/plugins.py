"""Plugins: models, region encoders and data layouts from outside the package, by entry point or `--plugin`.

A plugin is a Python file or module that registers what it brings when it is imported. Only what the user installed
(entry points of the group `crossgraph.plugins`) or named is imported; a run folder that names a plugin never causes
code to be loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from crossgraph.core.errors import InputError

GROUP = "crossgraph.plugins"
_NAMED = "CROSSGRAPH_PLUGINS"  # an environment variable, so that processes started by a command load them too
_OPTION = "crossgraph --plugin FILE.py COMMAND ..."
_loaded: dict[str, Plugin] = {}  # by the name of its module


@dataclass(frozen=True)
class Plugin:
    """A plugin that was imported.

    Attributes:
        name: File name, or name of the module.
        digest: SHA-256 of its source, of all files where it is a package.
    """

    name: str
    digest: str


def name_plugins(sources: Sequence[str]) -> None:
    """Name the plugins that this process and the processes it starts load.

    Args:
        sources: Paths of Python files, or names of modules.

    Raises:
        InputError: There is no such file or module.
    """
    resolved: list[str] = []
    for source in sources:
        is_file = source.endswith(".py") or os.sep in source
        if not source:
            raise InputError("--plugin names nothing", "give a Python file, or the name of a module")
        if is_file and not (source.endswith(".py") and Path(source).is_file()):
            problem = "not a Python file" if Path(source).exists() else "no such file"
            raise InputError(f"--plugin {source}: {problem}", "give a .py file, or the name of a module")
        if not is_file and importlib.util.find_spec(source.partition(".")[0]) is None:
            raise InputError(f"--plugin {source}: no such module", "install it, or give the path of its .py file")
        resolved.append(str(Path(source).resolve()) if is_file else source)
    os.environ[_NAMED] = json.dumps(resolved)


def load_plugins() -> None:
    """Import installed and named plugins, each once.

    Raises:
        InputError: One cannot be imported.
    """
    installed = [point.module for point in importlib.metadata.entry_points(group=GROUP)]
    for source in [*installed, *_named()]:
        # The path is part of the name: two files of one name are two plugins.
        own = f"crossgraph_plugin_{Path(source).stem}_{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        module = own if source.endswith(".py") else source
        if module in _loaded:
            continue
        _loaded[module] = Plugin("", "")  # a plugin that looks into a registry must not be imported by that again
        try:
            _loaded[module] = _import(source, module)
        except (Exception, SystemExit) as error:
            del _loaded[module]
            raise _explain(source, error) from error


def plugin_of(entry: type) -> dict[str, str]:
    """Return name and digest of the plugin that defines a class, as a run records them; empty for our own."""
    for module, plugin in _loaded.items():
        if entry.__module__ == module or entry.__module__.startswith(f"{module}."):
            return {"name": plugin.name, "digest": plugin.digest}
    return {}


def check_plugin(recorded: object, owner: str) -> None:
    """Check that the plugin that made something is loaded.

    Args:
        recorded: As `plugin_of` returned it; empty where no plugin made it.
        owner: What it made, for messages.

    Raises:
        InputError: The plugin is not loaded, or it is another version.
    """
    if not recorded:
        return
    values = cast("Mapping[str, object]", recorded if isinstance(recorded, Mapping) else {})
    name, digest = values.get("name"), values.get("digest")
    if not isinstance(name, str) or not isinstance(digest, str):
        raise InputError(f"{owner}: its entry 'plugin' is no name and digest", "make the run again")
    load_plugins()
    if any(plugin.digest == digest for plugin in _loaded.values()):
        return
    if any(plugin.name == name for plugin in _loaded.values()):
        problem = f"was made with another version of the plugin {name} (sha256 {digest[:12]}…)"
        raise InputError(f"{owner}: {problem}", f"pass that version ({_OPTION}), or train again")
    raise InputError(f"{owner}: its model is of the plugin {name}, which is not loaded", f"pass it: {_OPTION}")


def _named() -> list[str]:
    """Return the sources that this process or the one that started it named."""
    try:
        sources: object = json.loads(os.environ.get(_NAMED, "[]"))
    except ValueError:
        sources = None
    if not isinstance(sources, list):
        raise InputError(f"${_NAMED} is no list of plugins", "unset it, and name plugins by --plugin")
    return [str(source) for source in cast("list[object]", sources)]


def _import(source: str, name: str) -> Plugin:
    if not source.endswith(".py"):
        module = importlib.import_module(source)
        return Plugin(source, _digest(_files(module)))
    spec = importlib.util.spec_from_file_location(name, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look the module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return Plugin(Path(source).name, _digest([Path(source)]))


def _files(module: ModuleType) -> list[Path]:
    if hasattr(module, "__path__"):
        return sorted(file for folder in module.__path__ for file in Path(folder).rglob("*.py"))
    return [Path(module.__file__)] if module.__file__ else []


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _explain(source: str, error: BaseException) -> InputError:
    if isinstance(error, InputError):
        return error
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
    line = getattr(error, "lineno", None) or (own[-1] if own else None)
    where = f" at line {line}" if line else ""
    said = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
    return InputError(f"plugin {source}: cannot be imported{where} ({said})", "mend it, or leave --plugin out")
