"""`crossgraph search`: pictures found by words, by another picture, or by both."""

from __future__ import annotations

import dataclasses
import os
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    from crossgraph.library.library import Library
    from crossgraph.pipeline import Alignment
    from crossgraph.search import Query, Results, Searcher
    from crossgraph.serve.remote import RemoteSearcher

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def search(
    text: str | None = None,
    *,
    library: Path | None = None,
    image: Path | None = None,
    picture_weight: float = 0.5,
    not_: list[str] | None = None,
    where: str | None = None,
    like: list[int] | None = None,
    unlike: list[int] | None = None,
    k: int = 20,
    min_score: float = 0.0,
    recall: float | None = None,
    join_words: bool = False,
    captions: Path | None = None,
    json: bool = False,
    html: Path | None = None,
    timings: bool = False,
    explain: bool = False,
) -> None:
    """Find pictures by a description, by another picture, or by both.

    A word with a minus before it must not be in the picture: "a beach -people". Filters compare path, name, folder,
    date, camera, width, height, megapixels, latitude, longitude and caption: "date >= 2020 and path ~ 'alps'". With
    --captions the other way round: sentences for a picture.

    Args:
        text: A description.
        library: The library's folder; $CROSSGRAPH_LIBRARY, or the one in your home folder.
        image: A picture to look like.
        picture_weight: Share of the picture where words are given too, 0..1.
        not_: What must not be in it.
        where: A filter.
        like: Ids of pictures to look like.
        unlike: Ids of pictures not to look like.
        k: Hits wanted.
        min_score: Leave out hits less likely than this, 0..1.
        recall: Share of queries whose best picture the short list must hold (0.99).
        join_words: Words of captions and file names count too.
        captions: A text file of sentences, one a line, to rank for --image ("-" for the library's own).
        json: Print JSON.
        html: Write the hits as a page that works from a file.
        timings: Print where the time went, and how long the short list was.
        explain: Print for each hit where its words were found.
    """
    from crossgraph.library.library import Library, default_library
    from crossgraph.search import Query, parse_query
    from crossgraph.store import parse_filter

    if html is not None:
        _check_page(html)
    if not 0 <= min_score <= 1:
        raise InputError(f"--min-score {min_score:g}", "give a number from 0 to 1")
    if captions is not None and image is None:
        raise InputError("--captions without a picture", "name one by --image")
    if any(not term.strip() for term in not_ or ()):
        raise InputError("--not: is empty", "say what must not be in the picture, or leave it out")
    wanted, minus = parse_query(text or "")
    _check_picture(image)
    query = None
    if captions is None:
        query = Query(
            text=wanted,
            picture=image,
            picture_weight=picture_weight,
            minus=(*minus, *(not_ or ())),
            where=parse_filter(where) if where is not None else None,
            like=tuple(like or ()),
            unlike=tuple(unlike or ()),
            k=k,
            min_probability=min_score,
            recall=recall,
            join_words=join_words,
        )
    with Library(library or default_library()) as opened:
        searcher = _searcher(opened)
        if query is None:
            assert image is not None and captions is not None
            _captions(searcher, image, captions, k, json)
            return
        results = searcher.search(query)
        found = _alignments(searcher, results, query) if explain or html else []
        _warn(results)
        if html is not None:
            from crossgraph.search.page import write_page

            write_page(html, opened, query, results, found)
        if json:
            _print_json(results, found if explain else [])
        elif html is not None:
            print(f"{html}: {len(results.hits):,} {'picture' if len(results.hits) == 1 else 'pictures'}")
        else:
            _print(results, found if explain else [], timings)


def _check_picture(path: Path | None) -> None:

    if path is not None and not path.is_file():
        what = "is a folder" if path.is_dir() else "not a regular file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}", "name a picture")


def _check_page(path: Path) -> None:
    from crossgraph.files import check_output_file

    check_output_file(path, ".html")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder", "make it, or name another file with --html")


def _searcher(library: Library) -> Searcher | RemoteSearcher:
    """Return what answers: the server that has the library open, or else the library itself."""
    from crossgraph.search import Searcher
    from crossgraph.serve.client import find_server
    from crossgraph.serve.remote import RemoteSearcher

    running = find_server(library.folder)
    return Searcher(library) if running is None else RemoteSearcher(running)


def _alignments(searcher: Searcher | RemoteSearcher, results: Results, query: Query) -> list[Alignment]:
    if not query.has_text or not results.hits:
        return []
    return searcher.explain_many([hit.id for hit in results.hits], query.text)


def _warn(results: Results) -> None:

    if results.unknown:
        named = ", ".join(f"'{word}'" for word in results.unknown)
        log(f"crossgraph search: warning: not known to the model, so passed over: {named}")
    for note in results.notes:
        log(f"crossgraph search: note: {note}")


def _print(results: Results, found: list[Alignment], timings: bool) -> None:
    from crossgraph.vision.scan import printable

    if not results.hits:
        print("no picture fits; loosen the filter or the least score")
    elif not results.any_good:
        print("no good match; the nearest are:")
    for number, hit in enumerate(results.hits, start=1):
        chance = f"{100 * hit.probability:3.0f} %" if hit.probability is not None else f"{hit.score:6.3f}"
        more = f"  +{hit.copies}" if hit.copies else ""
        print(f"{number:3}. {chance}  {printable(hit.path)}{more}  [{hit.id}]")
        if found:
            print(f"          {_where(found[number - 1])}")
    if timings:
        t = results.timings
        listed = f"short list {results.short_list:,}" if results.short_list else "no re-ranking"
        if results.wanted > results.short_list > 0:
            listed += f" of {results.wanted:,} wanted"
        print(
            f"{results.pictures:,} pictures, {t.total:.0f} ms "
            f"(encode {t.encode:.0f}, nearest {t.nearest:.0f}, re-rank {t.rerank:.0f}; {listed})"
        )


def _where(found: Alignment) -> str:
    """Return in a line where the content words were found: "red upper left 12 %"."""
    from crossgraph.explain.description import strongest_region

    parts: list[str] = []
    for row in found.content:
        best = strongest_region(found, row)
        parts.append(f"{found.tokens[row].text} {best.position} {100 * best.share:.0f} %")
    return "; ".join(parts)


def _print_json(results: Results, found: list[Alignment]) -> None:

    value = dataclasses.asdict(results)
    for hit, alignment in zip(value["hits"], found, strict=False):
        hit["alignment"] = alignment.as_json()
    print(dumps(value, indent=2, ensure_ascii=False))


def _captions(searcher: Searcher | RemoteSearcher, image: Path, captions: Path, k: int, as_json: bool) -> None:

    from crossgraph.files import read_text

    texts = None
    if str(captions) != "-":
        texts = [line.strip() for line in read_text(captions).splitlines() if line.strip()]
        if not texts:
            raise InputError(f"{captions}: holds no sentence", "write one sentence a line")
    ranked = searcher.captions_for(image, texts, k)
    if as_json:
        print(
            dumps([{"text": text, "score": s, "probability": p} for text, s, p in ranked], indent=2, ensure_ascii=False)
        )
        return
    for number, (text, score, probability) in enumerate(ranked, start=1):
        chance = f"{100 * probability:3.0f} %" if probability is not None else f"{score:6.3f}"
        print(f"{number:3}. {chance}  {text}")
