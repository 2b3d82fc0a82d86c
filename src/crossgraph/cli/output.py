"""Print a command's notes to stderr; stdout is for its results."""

from __future__ import annotations

import sys


def log(line: str) -> None:
    """Print a line to stderr at once."""
    print(line, file=sys.stderr, flush=True)
