"""Write what is unusual about a model, as its file's docstring says it, into its page; or say which are out of date.

    python docs/docstrings.py docs/models/*.md [--check]

A place for it is a line `<!-- docstring: src/crossgraph/models/scan.py -->` and one `<!-- end of docstring -->`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

PLACE = re.compile(r"(<!-- docstring: (\S+) -->\n).*?(<!-- end of docstring -->)", re.DOTALL)
UNUSUAL = re.compile(r"^What is unusual:\n((?:[- ] .*\n?)+)", re.MULTILINE)


def unusual(source: str) -> str:
    """Return the list under "What is unusual:" of a module's docstring; empty where there is none."""
    found = UNUSUAL.search(ast.get_docstring(ast.parse(source)) or "")
    return found[1].strip() if found else ""


def filled(text: str, root: Path = Path()) -> str:
    """Return a page whose places say what the docstrings say; paths are below `root`."""

    def said(place: re.Match[str]) -> str:
        return f"{place[1]}**What is unusual**\n\n{unusual((root / place[2]).read_text())}\n{place[3]}"

    return PLACE.sub(said, text)


def main() -> int:
    """Write the pages that are named, or with --check say which would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a page is out of date")
    given = parser.parse_args()
    stale = [page for page in given.pages if filled(page.read_text()) != page.read_text()]
    for page in stale:
        print(f"{page}: {'not as the docstring says' if given.check else 'written'}")
        if not given.check:
            page.write_text(filled(page.read_text()))
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
