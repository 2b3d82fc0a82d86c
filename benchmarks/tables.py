"""Write the tables of cards into the documentation, between marks that name the card; or say which are out of date.

    python benchmarks/tables.py docs/*.md [--check]

A place for a table is a line `<!-- card: experiments/store-scale/100000.json -->` and one `<!-- end of card -->`;
where there is no such card yet it stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import cascade
import index_speed
import model_ratios
import page_scroll
import score_memory
import search_scale
import serve_load
import store_scale
import train_waiting

TABLES = {
    "store-scale": store_scale.table,
    "search-scale": search_scale.table,
    "serve-load": serve_load.table,
    "index-speed": index_speed.table,
    "page/scroll": page_scroll.table,
    "speed/cascade": cascade.table,
    "speed/models": model_ratios.table,
    "speed/memory": score_memory.table,
    "speed-training/waiting": train_waiting.table,
}
"""By the card's folder, or where that holds cards of several kinds by folder and name."""
PLACE = re.compile(r"(<!-- card: (\S+) -->\n).*?(<!-- end of card -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return a page with every table as its card says."""

    def table(found: re.Match[str]) -> str:
        card = Path(found[2])
        if not card.exists():
            return found[0]
        kind = card.parent.name if card.parent.name in TABLES else f"{card.parent.name}/{card.stem}"
        return f"{found[1]}{TABLES[kind](json.loads(card.read_text()))}\n{found[3]}"

    return PLACE.sub(table, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a table is out of date")
    given = parser.parse_args()
    stale = [page for page in given.pages if filled(page.read_text()) != page.read_text()]
    for page in stale:
        print(f"{page}: {'a table is not as its card says' if given.check else 'written'}")
        if not given.check:
            page.write_text(filled(page.read_text()))
    return 1 if given.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
