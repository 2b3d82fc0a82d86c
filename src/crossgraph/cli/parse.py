"""`crossgraph parse`: which words of each caption depend on which, kept beside the captions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def parse(
    data: Path,
    *,
    parser: str | None = None,
    captions: Literal["raw", "tokens"] = "raw",
) -> None:
    """Parse all captions of a data set and keep their dependency edges beside them, in dependencies.jsonl.

    Models that look at dependency edges (cgmn) read the file when they are trained and evaluated, and sentences that
    are typed to them later are parsed alike. Needs an installed parser: pip install 'crossgraph[parser]'. Captions
    that are in the file already are not parsed again; stopped at any moment, the same command goes on.

    Args:
        data: The data folder, or its captions file; features are not needed.
        parser: The package of an installed spaCy model; the best known one by default.
        captions: Of Karpathy's files: the sentence as written, or the file's own tokens.
    """
    from crossgraph.data.edges import FILE, write_dependencies
    from crossgraph.data.opening import read_sentences
    from crossgraph.files import check_output_folder
    from crossgraph.progress import ProgressDisplay
    from crossgraph.text.dependencies import find_parser

    found = find_parser(parser)  # before the data are read, which takes longer
    home, sentences = read_sentences(data, captions)
    check_output_folder(home)
    path = home / FILE
    with ProgressDisplay() as progress:
        try:
            made = write_dependencies(path, sentences, found, progress.update)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"what was parsed is kept in {path}; the same command goes on") from None
    state = f"{made:,} parsed now" if made else "nothing to do: all were there already"
    print(f"{len(sentences):,} captions, {len(set(sentences)):,} different, by {found.name} → {path} ({state})")
