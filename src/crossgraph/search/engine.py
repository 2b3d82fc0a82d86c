"""Search a library in two stages: nearest neighbours of index vectors, then re-ranking of the short list.

What is subtracted is subtracted twice: from the query's index vector, so that the neighbours are others, and
from the score, as P · Π (1 − P_minus). A picture in the query counts by the cosine of index vectors, both
brought to the same spread within the short list.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from crossgraph.bundle.bundle import Bundle, EncodedText
from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.library.library import Library
from crossgraph.library.manifest import Picture
from crossgraph.library.roots import existing_first, root_problems
from crossgraph.pipeline.alignment import Alignment, build_alignment, shortened
from crossgraph.pipeline.pictures import PictureLike
from crossgraph.pipeline.pipeline import Pipeline
from crossgraph.scoring.encode import encode_captions, inference
from crossgraph.scoring.engine import score_bucket
from crossgraph.search.query import Query, blend
from crossgraph.search.results import GOOD, Hit, Results, Timings
from crossgraph.search.words import is_known, word_filter, word_share
from crossgraph.store import matches
from crossgraph.store.base import Neighbour
from crossgraph.vision.scan import printable

_MINUS_WEIGHT = 0.5  # of a minus term in the query's index vector
_SPARE = 1.5  # more neighbours than hits, since near-duplicates become one


@dataclass(frozen=True)
class _EncodedQuery:
    """A query, encoded."""

    text: EncodedText | None
    minus: list[EncodedText]
    picture: np.ndarray | None
    vector: np.ndarray
    seconds: float


class Searcher:
    """Searches a library.

    Args:
        library: Open; it stays the caller's.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        self._pipeline: Pipeline | None = None

    @property
    def bundle(self) -> Bundle:
        """The library's model."""
        return self.library.bundle

    def search(self, query: Query) -> Results:
        """Find pictures.

        Raises:
            InputError: The library is empty, the model knows no word of the text, a picture cannot be read or is not
                in the library, or the store is down or empty.
        """
        begun = time.monotonic()
        pictures = self.library.count()
        if not pictures:
            raise InputError(f"{self.library.folder}: holds no picture yet", "fill it with: crossgraph index PICTURES")
        if query.min_probability and self.bundle.calibration is None:
            raise InputError(
                f"{self.library.model_name}: its scores are not calibrated, so a least probability means nothing",
                "make a bundle with 'crossgraph bundle' and index with it, or leave it out",
            )
        self._check_named(query)
        query, unknown, notes = self._drop_unknown_minus(query)
        asked = self._encode(query)
        size, wanted = self._sizes(query, pictures)
        near = self._nearest(query, asked, max(size, round(query.k * _SPARE)))
        if not near and not self.library.store.count():
            raise InputError(
                f"{self.library.folder}: its nearest neighbours were lost", "run: crossgraph library rebuild"
            )
        found = time.monotonic()
        order, scores, probability = self._rank(query, asked, near)
        ranked = time.monotonic()
        hits = self._hits(
            query,
            [near[row].id for row in order],
            scores[order],
            probability[order] if probability is not None else None,
        )
        best = max((hit.probability for hit in hits if hit.probability is not None), default=None)
        ended = time.monotonic()
        encode_ms = 1000 * asked.seconds
        timings = Timings(
            encode_ms, 1000 * (found - begun) - encode_ms, 1000 * (ranked - found), 1000 * (ended - begun)
        )
        texts = [*([asked.text] if asked.text else []), *asked.minus]
        return Results(
            hits=self._with_existing_paths(hits[: query.k]),
            tokens=asked.text.tokens if asked.text else (),
            unknown=tuple(dict.fromkeys(word for text in texts for word in text.unknown) | unknown),
            timings=timings,
            short_list=min(size, len(near)) if query.has_text else 0,
            wanted=wanted if query.has_text else 0,
            pictures=pictures,
            matching=len(hits),
            any_good=bool(hits) and (best is None or best >= GOOD),
            notes=(*notes, *self._notes(query, size, wanted)),
        )

    def explain(self, number: int, text: str) -> Alignment:
        """Return the alignment of a picture of the library and a sentence.

        Raises:
            InputError: There is no such picture, or no word of the sentence is known.
        """
        return self.explain_many([number], text)[0]

    def explain_many(self, ids: Sequence[int], text: str) -> list[Alignment]:
        """Return the alignments of several pictures with a sentence, in the order given; see `explain`."""
        encoded = self.bundle.encode_text(text)
        codes = self.library.codes(list(ids))
        pictures = self.library.manifest.get(list(ids))
        model, run = self.bundle.reranker.info.model, self.library.model_name
        alignments: list[Alignment] = []
        for row, number in enumerate(ids):
            code = codes.select(slice(row, row + 1))
            attention = self.bundle.align(encoded.code, code)
            path = next(iter(existing_first(pictures[number].paths)[0]), None)
            boxes = self.library.boxes
            alignments.append(
                build_alignment(attention, text, encoded.tokens, encoded.unknown, code.mask[0], boxes, path, model, run)
            )
        return alignments

    def captions_for(
        self, picture: PictureLike | int, captions: Sequence[str] | None = None, k: int = 20
    ) -> list[tuple[str, float, float | None]]:
        """Rank sentences for a picture.

        Args:
            picture: An id of the library, or any picture.
            captions: Those to rank; those of the library without.
            k: How many.

        Returns:
            (sentence, score, probability or None), the best first.

        Raises:
            InputError: There is no sentence, or none of which the model knows a word.
        """
        texts = list(captions) if captions is not None else self._own_captions()
        usable = [text for text in texts if self.bundle.reranker.vocabulary.encode(text).has_known_word]
        if not usable:
            raise InputError("no sentence to choose from", "give some, or index pictures with captions beside them")
        code = self.library.codes([picture]) if isinstance(picture, int) else self._encode_picture(picture)[1]
        run = self.bundle.reranker
        scores = np.empty(len(usable), dtype=np.float32)
        with inference(run.model):
            for bucket in encode_captions(run.model, run.vocabulary, usable):
                scores[bucket.captions] = score_bucket(self.bundle.scorer, code, bucket, lambda pairs: None)[0]
        order = np.argsort(-scores, kind="stable")[:k]
        probability = self.bundle.probability(scores)
        return [
            (usable[row], float(scores[row]), None if probability is None else float(probability[row]))
            for row in order.tolist()
        ]

    def _check_named(self, query: Query) -> None:
        named = [*query.like, *query.unlike]
        present = self.library.manifest.positions(named) if named else {}
        absent = [number for number in named if number not in present]
        if absent:
            raise InputError(f"picture {absent[0]} is not in the library", "leave it out, or search again")

    def _drop_unknown_minus(self, query: Query) -> tuple[Query, dict[str, None], list[str]]:
        """Drop minus terms of which the model knows no word; return their words, and notes."""
        passed = [term for term in query.minus if not is_known(self.bundle, term)]
        words = dict.fromkeys(word for term in passed for word in self.bundle.reranker.vocabulary.encode(term).unknown)
        notes = [f"The model knows no word of {shortened(term)}, so it was not taken out." for term in passed]
        return replace(query, minus=tuple(term for term in query.minus if term not in passed)), words, notes

    def _encode(self, query: Query) -> _EncodedQuery:
        begun = time.monotonic()
        text = self.bundle.encode_text(query.text) if query.has_text else None
        minus = [self.bundle.encode_text(term) for term in query.minus]
        picture = self._encode_picture(query.picture)[0] if query.picture is not None else None
        parts: list[tuple[float, np.ndarray]] = []
        share = query.picture_weight if text is not None else 1.0
        if text is not None:
            parts.append((1 - share if picture is not None else 1.0, text.index))
        if picture is not None:
            parts.append((share, picture))
        if query.like:
            parts.append((1.0, blend([(1.0, row) for row in self.library.index_vectors(query.like)])))
        if query.unlike:
            parts += [(-_MINUS_WEIGHT, row) for row in self.library.index_vectors(query.unlike)]
        parts += [(-_MINUS_WEIGHT / len(minus), term.index) for term in minus]
        return _EncodedQuery(text, minus, picture, blend(parts), time.monotonic() - begun)

    def _sizes(self, query: Query, pictures: int) -> tuple[int, int]:
        """Return how many pictures are re-ranked, and how many the recall target asks for."""
        if not query.has_text or self.bundle.kind == "independent":
            return 0, 0
        sizes = self.bundle.short_list
        wanted = sizes.wanted(pictures, query.recall) if sizes is not None else pictures
        return self.bundle.short_list_size(pictures, query.recall), wanted

    def _nearest(self, query: Query, asked: _EncodedQuery, limit: int) -> list[Neighbour]:
        near = self.library.store.search(asked.vector, limit + len(query.like), query.where)
        if query.join_words and asked.text is not None:
            words = word_filter(asked.text.tokens, query.where)
            if words is not None:
                known = {neighbour.id for neighbour in near}
                more = self.library.store.search(asked.vector, limit, words)
                near = near + [neighbour for neighbour in more if neighbour.id not in known]
        present = self.library.manifest.positions([neighbour.id for neighbour in near])
        return [one for one in near if one.id in present and one.id not in query.like]

    def _rank(
        self, query: Query, asked: _EncodedQuery, near: Sequence[Neighbour]
    ) -> tuple[np.ndarray, Float[np.ndarray, " hit"], Float[np.ndarray, " hit"] | None]:
        """Order the neighbours; return the order, and scores and probabilities by neighbour."""
        cosine = np.array([neighbour.score for neighbour in near], dtype=np.float64)
        if not len(near) or asked.text is None:
            scores = self._subtract_minus(cosine, asked, near, None)
            return np.argsort(-scores, kind="stable"), scores, None
        codes = None if self.bundle.kind == "independent" else self.library.codes([one.id for one in near])
        raw = self._text_scores(asked.text, codes, near)
        found = self.bundle.probability(raw.astype(np.float32))
        scores = np.clip(raw, 0, 1) if found is None else found.astype(np.float64)
        scores = self._subtract_minus(scores, asked, near, codes)
        if query.join_words:
            pictures = self.library.manifest.get([one.id for one in near])
            share = np.array([word_share(asked.text.tokens, pictures[one.id]) for one in near])
            scores = 1 - (1 - scores) * (1 - 0.5 * share)
        probability = None if found is None else scores.copy()
        if asked.picture is not None or query.like:
            share = query.picture_weight
            wanted = (
                asked.picture
                if asked.picture is not None
                else blend([(1.0, row) for row in self.library.index_vectors(query.like)])
            )
            alike = self.library.index_vectors([one.id for one in near]) @ wanted
            scores = (1 - share) * _standardised(scores) + share * _standardised(alike)
        elif found is not None and not asked.minus and not query.join_words:
            return np.argsort(-raw, kind="stable"), scores, probability  # ties of a saturated curve keep their order
        return np.argsort(-scores, kind="stable"), scores, probability

    def _subtract_minus(
        self, scores: np.ndarray, asked: _EncodedQuery, near: Sequence[Neighbour], codes: ImageCode | None
    ) -> np.ndarray:
        """Return the scores lowered by the probability of each minus term."""
        if not asked.minus or not len(near):
            return scores
        if codes is None and self.bundle.kind != "independent":
            codes = self.library.codes([one.id for one in near])
        for term in asked.minus:
            raw = self._text_scores(term, codes, near)
            unwanted = self.bundle.probability(raw.astype(np.float32))
            scores = scores * (1 - (np.clip(raw, 0, 1) if unwanted is None else unwanted))
        return scores

    def _text_scores(self, text: EncodedText, codes: ImageCode | None, near: Sequence[Neighbour]) -> np.ndarray:
        if codes is None:
            return (self.library.index_vectors([one.id for one in near]) @ text.index).astype(np.float64)
        return self.bundle.score(text.code, codes).astype(np.float64)

    def _hits(self, query: Query, ids: Sequence[int], scores: np.ndarray, probability: np.ndarray | None) -> list[Hit]:
        """Turn ranked ids into hits: one of each group of near-duplicates, none below the least probability."""
        groups = self.library.manifest.alike(ids)
        first: dict[int, int] = {}
        others: dict[int, int] = {}
        for row, number in enumerate(ids):
            if probability is not None and probability[row] < query.min_probability:
                continue
            group = groups.get(number, number)
            if group in first:
                others[group] = others.get(group, 0) + 1
            else:
                first[group] = row
        best_rows = sorted(first.values())
        pictures = self.library.manifest.get([ids[row] for row in best_rows])
        shown = self._largest_of_groups(query, [pictures[ids[row]] for row in best_rows if ids[row] in pictures])
        hits: list[Hit] = []
        for row in best_rows:
            picture = shown.get(ids[row])
            if picture is None or not picture.paths:
                continue
            hits.append(
                Hit(
                    id=picture.id,
                    path=str(picture.paths[0]),
                    score=float(scores[row]),
                    probability=None if probability is None else float(probability[row]),
                    copies=others.get(picture.alike, 0) + len(picture.paths) - 1,
                    width=picture.width,
                    height=picture.height,
                    date=picture.date,
                )
            )
        return hits

    def _largest_of_groups(self, query: Query, best: Sequence[Picture]) -> dict[int, Picture]:
        """Return the picture that is shown in place of each best-ranked one: the largest near-duplicate of it.

        Near-duplicates that the filter leaves out, and those that the query names, are not shown. Among pictures of
        the same size, the best-ranked one stays.
        """
        members = self.library.manifest.group_members([picture.alike for picture in best])
        others = {number for group in members.values() if len(group) > 1 for number in group}
        pictures = self.library.manifest.get(sorted(others - set(query.like)))
        roots = self.library.manifest.roots().values()
        shown: dict[int, Picture] = {}
        for picture in best:
            shown[picture.id] = picture
            for number in members.get(picture.alike, []):
                other = pictures.get(number)
                if other is None or not other.paths or _pixels(other) <= _pixels(shown[picture.id]):
                    continue
                if query.where is None or matches(query.where, other.fields(roots)):
                    shown[picture.id] = other
        return shown

    def _with_existing_paths(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return hits whose path exists now where any does, and that count only copies that exist."""
        pictures = self.library.manifest.get([hit.id for hit in hits])
        found: list[Hit] = []
        for hit in hits:
            picture = pictures.get(hit.id)
            if picture is not None and picture.paths:  # else an index run has just removed it
                paths, existing = existing_first(picture.paths)
                hit = replace(hit, path=str(paths[0]), copies=hit.copies - len(paths) + max(existing, 1))  # noqa: PLW2901
            found.append(hit)
        return found

    def _notes(self, query: Query, size: int, wanted: int) -> tuple[str, ...]:
        problems = root_problems(self.library.manifest.roots().values())
        notes = [f"{printable(str(root))}: {problem}" for root, problem in problems.items()]
        if query.has_text and wanted > size > 0 and self.bundle.kind == "two-stage":
            notes.append(f"{size:,} pictures were re-ranked where the recall target asks for {wanted:,}")
        return tuple(notes)

    def _encode_picture(self, picture: PictureLike) -> tuple[np.ndarray, ImageCode]:
        if self._pipeline is None:
            self._pipeline = Pipeline(self.bundle.reranker)
        encoded = self.bundle.encode_pictures(self._pipeline.regions([picture]))
        return encoded.index[0], encoded.code

    def _own_captions(self) -> list[str]:
        rows = self.library.manifest.connection.execute("SELECT DISTINCT text FROM captions ORDER BY text")
        return [row[0] for row in rows]


def _pixels(picture: Picture) -> int:
    return picture.width * picture.height


def _standardised(values: np.ndarray) -> np.ndarray:
    """Return numbers with mean 0 and deviation 1, so that two kinds can be added."""
    deviation = float(values.std())
    return (values - values.mean()) / deviation if deviation > 1e-9 else np.zeros_like(values)
