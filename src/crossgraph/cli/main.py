"""`crossgraph COMMAND ...`: finds the command, calls it, and prints errors as one line.

A command is a module of this package that defines a function of its own name (`import_` for `import`).
Nothing heavy is imported before a command is chosen.
"""

from __future__ import annotations

import ast
import errno
import functools
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from crossgraph.core.errors import InputError, did_you_mean

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141

GROUPS: dict[str, tuple[str, ...]] = {
    "First look": ("demo", "scenes"),
    "From pictures to a model": ("models", "extract", "parse", "train", "sweep", "table", "versus", "import"),
    "From a model to numbers": ("score", "evaluate", "compare", "report", "bench"),
    "Looking inside": ("explain", "figure", "encode"),
    "A library of pictures": ("bundle", "index", "search", "serve", "library"),
}
"""How the list of commands is laid out; a command that stands nowhere is listed under "More"."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after `crossgraph`; those of the process by default.

    Returns:
        The exit code: 0, 2 for what a person can mend, 130 after Ctrl-C, 141 where nobody reads on.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or idle threads spin, and starve other programs
    words = list(sys.argv[1:] if arguments is None else arguments)
    plugins = _take_plugins(words)
    if words and words[0] == "help":
        words = [*words[1:2], "--help"]
    name = words[0] if words else "--help"
    prog = "crossgraph" if name.startswith("-") else f"crossgraph {name}"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name or "×" must not fail on an old terminal
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = functools.partial(_show_warning, prog)
        try:
            if plugins:
                from crossgraph.core.plugins import name_plugins

                name_plugins(plugins)
            _dispatch(name, words[1:])
            print(end="", flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except KeyboardInterrupt as stop:
            kept = str(stop) or "what was finished is kept and nothing is half-written; run the same command again"
            return _complain(prog, f"stopped: {kept}", INTERRUPTED)
        except Exception as error:
            line = explain(error)
            if line is None or "CROSSGRAPH_TRACEBACK" in os.environ:
                raise
            return _complain(prog if not isinstance(error, _UnknownCommand) else "crossgraph", line, BAD_INPUT)
    return 0


def _take_plugins(words: list[str]) -> list[str]:
    """Remove `--plugin X` before the command from the words and return each X."""
    plugins: list[str] = []
    while words and words[0].partition("=")[0] == "--plugin":
        _, equals, value = words.pop(0).partition("=")
        plugins.append(value if equals else words.pop(0) if words else "")
    return plugins


def commands() -> dict[str, str]:
    """Find the commands: name to the first line of its docstring, without importing any."""
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem in ("__init__", "main"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == path.stem:
                found[path.stem.rstrip("_").replace("_", "-")] = (ast.get_docstring(node) or "").partition("\n")[0]
    return found


def load(name: str) -> Callable[..., None]:
    """Import the function behind a command.

    Raises:
        InputError: There is no such command; the message suggests the nearest.
    """
    known = commands()
    if name not in known:
        raise _UnknownCommand(f"no command '{name}'", did_you_mean(name, known))
    stem = name.replace("-", "_")
    stem = stem if (Path(__file__).parent / f"{stem}.py").exists() else f"{stem}_"
    return getattr(importlib.import_module(f"crossgraph.cli.{stem}"), stem)


def overview() -> str:
    """Return what `crossgraph --help` prints."""
    known = commands()
    placed = {name for names in GROUPS.values() for name in names}
    groups = GROUPS | {"More": tuple(name for name in known if name not in placed)}
    width = max(map(len, known), default=0) + 2
    lines = ["usage: crossgraph COMMAND ...", "", "Image-text matching you can train, search with, and look inside."]
    for title, names in groups.items():
        rows = [f"  {name:<{width}}{known[name]}" for name in names if name in known]
        lines += ["", f"{title}:", *rows] if rows else []
    return "\n".join(
        [
            *lines,
            "",
            "crossgraph COMMAND --help tells more; crossgraph --version names the version.",
            "crossgraph --plugin FILE.py COMMAND ... adds models and encoders of your own.",
        ]
    )


def explain(error: BaseException) -> str | None:
    """Return one line for an error that a person can mend, None for a defect of ours."""
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError) or _is_memory(error):
        return "not enough memory: use a smaller batch or less data, or close other programs"
    if isinstance(error, OSError) and error.errno:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}no room left to write: free some disk space and run the same command again"
        if error.filename is not None:
            return f"{error.filename}: {os.strerror(error.errno).lower()}: check the path and its permissions"
    return None


class _UnknownCommand(InputError):
    """A mistyped command; its message starts with the program's name alone."""


def _dispatch(name: str, words: Sequence[str]) -> None:
    if name in ("-h", "--help"):
        print(overview())
    elif name in ("-V", "--version"):
        from crossgraph import __version__

        print(f"crossgraph {__version__}")
    elif name.startswith("-"):
        raise _UnknownCommand(f"no option {name}", "a command comes first; crossgraph --help lists them")
    else:
        function = load(name)
        from crossgraph.cli.signature import call

        try:
            call(function, f"crossgraph {name}", words)
        except SystemExit as stop:
            if stop.code not in (None, 0):
                raise


def _is_memory(error: BaseException) -> bool:
    """Return whether torch ran out of memory; its messages differ by device."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _complain(prog: str, line: str, code: int) -> int:
    print(f"{prog}: {line}", file=sys.stderr)
    return code


def _show_warning(
    prog: str,
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    print(f"{prog}: warning: {' '.join(str(message).split())}", file=sys.stderr)
