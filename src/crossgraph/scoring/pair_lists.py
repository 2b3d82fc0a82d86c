"""Score lists of pairs: each picture with captions of its own, as short lists need.

Captions are cached by length, so that all tensors of a call have one length and no padding. A call scores lists of
several pictures where the model's fast form can (`ScoresLists`), else one list.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.memory import file_backed, release_pages, trim_heap
from crossgraph.models.base import Matcher, Scorer
from crossgraph.models.fast.form import Precision, ScoresLists
from crossgraph.progress import ProgressCallback, pair_counter
from crossgraph.scoring.blocks import SAMPLE, BlockSize
from crossgraph.scoring.encode import CodeBlocks, TextBucket, compute_in, device_of, inference, plan_buckets
from crossgraph.scoring.engine import DEFAULT_SIZE, prepared_images, prepared_texts
from crossgraph.scoring.workers import Job, workers

_MAX_GROWTH = 1.5  # codes that preparing enlarges more are cached unprepared
LISTS = (16, 8, 4, 2)  # captions per list, where several lists are scored in one call
CACHE_BYTES = 1 << 28  # caption codes in memory; the rest is backed by files
PICTURES_BYTES = 1 << 27  # picture codes whose lists are cut together: more pictures leave fewer calls partly full
_SMALLEST_FILE = 1 << 20  # bytes; smaller tensors stay in memory
_PAIRS_PER_TRIM = 1 << 14  # pairs after which freed memory is returned, at the next change of caption length


@dataclass(frozen=True)
class ShortListScores:
    """Scores of one picture with the captions of its list.

    Attributes:
        image: Row of the picture.
        captions: Columns of the captions.
        scores: Score with each of these captions.
    """

    image: int
    captions: Int64[np.ndarray, " chosen"]
    scores: Float32[np.ndarray, " chosen"]


class CaptionCodeCache:
    """Caption codes, grouped by caption length; beyond `CACHE_BYTES` they are backed by anonymous files.

    Args:
        scorer: Codes are cached as it prepares them, unless that enlarges them more than 1.5 times.
        lengths: Number of tokens of every caption.
    """

    def __init__(self, scorer: Scorer, lengths: Int64[np.ndarray, " txt"]) -> None:
        self._scorer = scorer
        self.words = lengths
        self.rows = np.empty(len(lengths), np.int64)  # of each caption among those of its length
        for rows in plan_buckets(lengths.tolist(), len(lengths)):
            self.rows[rows] = np.arange(len(rows))
        self._counts = np.bincount(lengths)
        self.codes: dict[int, TextCode] = {}
        self._in_memory = 0
        self._maps: list[np.ndarray] = []

    def take(self, buckets: Iterable[TextBucket]) -> None:
        """Add codes of captions; each caption is added once."""
        for bucket in buckets:
            code = self._as_cached(bucket.code)
            words, rows = int(self.words[bucket.captions[0]]), _rows(self.rows[bucket.captions])
            if words not in self.codes:  # space for all captions of this length: growing would need it twice
                count = int(self._counts[words])
                self.codes[words] = code.map(lambda t, n=count: self._allocate(n, t))
            for cached, new in zip(_tensors(self.codes[words]), _tensors(code), strict=True):
                cached[rows.to(cached.device)] = new
        self.release_pages()

    def needs(self, bucket: TextBucket) -> int:
        """Estimate the bytes of all caption codes from the first code of a bucket."""
        code = self._as_cached(bucket.code.select(slice(0, 1)))
        return _bytes(code) * int(self.words.sum()) // int(self.words[bucket.captions[0]])

    def _as_cached(self, code: TextCode) -> TextCode:
        """Return a code as it is cached: prepared, unless that enlarges it too much."""
        first = code.select(slice(0, 1))
        grows = _bytes(prepared_texts(self._scorer, first)) > _MAX_GROWTH * _bytes(first)
        return code if grows else prepared_texts(self._scorer, code)

    def release_pages(self) -> None:
        """Release the pages of file-backed codes; they are read again on the next access."""
        for array in self._maps:
            release_pages(array)

    def _allocate(self, count: int, like: Tensor) -> Tensor:
        """Return an uninitialised tensor of `count` rows, backed by a file where memory is used up."""
        shape = (count, *like.shape[1:])
        size = math.prod(shape) * like.element_size()
        if like.device.type != "cpu" or size < _SMALLEST_FILE or self._in_memory + size <= CACHE_BYTES:
            self._in_memory += size
            return like.new_empty(shape)
        self._maps.append(file_backed(size, "captions' codes"))
        return torch.from_numpy(self._maps[-1]).view(like.dtype).view(shape)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Lists:
    """The lists of one call: equally many captions of one length for each picture.

    Attributes:
        words: Length of the captions.
        pictures: Rows of the pictures in their block.
        captions: Rows in the cache of that length; a list may end in repetitions.
        slots: Positions of the scores in the output.
    """

    words: int
    pictures: Int64[np.ndarray, " group"]
    captions: Int64[np.ndarray, "group txt"]
    slots: Int64[np.ndarray, "group txt"]


class ListScorer:
    """Scores pictures with lists of captions; caption codes are added once and used by every call of `scores`.

    Args:
        model: Scores by its fast form, built from the present weights.
        lengths: Number of tokens of every caption.
        precision: bfloat16 computes the matrix products in it.
        size: Of a block of pairs.
    """

    def __init__(
        self,
        model: Matcher,
        lengths: Int64[np.ndarray, " txt"],
        precision: Precision = "float32",
        size: BlockSize = DEFAULT_SIZE,
    ) -> None:
        self._model, self._size = model, size
        self._precision: Precision = precision
        with inference(model, precision):
            self._scorer = model.fold(precision)
        self._cache = CaptionCodeCache(self._scorer, lengths)
        self._limits: dict[int, int] = {}
        self._many = isinstance(self._scorer, ScoresLists)

    def take(self, texts: Iterable[TextBucket]) -> None:
        """Add caption codes; all captions must be added before anything is scored.

        Raises:
            InputError: There is no disk space for those that do not fit in memory.
        """
        with inference(self._model, self._precision):
            self._cache.take(texts)

    def needs(self, bucket: TextBucket) -> int:
        """Estimate the bytes of all caption codes from one bucket."""
        with inference(self._model, self._precision):
            return self._cache.needs(bucket)

    def scores(
        self, images: CodeBlocks, chosen: Sequence[Int64[np.ndarray, " _"]], report: ProgressCallback | None = None
    ) -> Iterator[ShortListScores]:
        """Yield the scores of each picture with the captions chosen for it.

        Args:
            images: Codes of pictures.
            chosen: Columns for each picture.
            report: Called with progress.
        """
        tick, first = pair_counter(report, sum(len(columns) for columns in chosen)), 0
        with workers(device_of(self._model)) as crew:
            for code in self._prepared(images):
                wanted = chosen[first : first + len(code)]
                scores = np.empty(sum(map(len, wanted)), np.float32)
                with inference(self._model, self._precision):
                    crew.run(self._jobs(code, wanted, scores), tick)
                trim_heap()
                ends = np.cumsum([0, *map(len, wanted)])
                for row, captions in enumerate(wanted):
                    yield ShortListScores(first + row, captions, scores[ends[row] : ends[row + 1]])
                first += len(code)
                del code  # frees it before the next block is encoded

    def _jobs(
        self, images: ImageCode, wanted: Sequence[Int64[np.ndarray, " _"]], scores: Float32[np.ndarray, " pair"]
    ) -> Iterator[Job]:
        """Yield the calls that score a block of pictures, by caption length."""
        rounded = self._precision == "bfloat16" and images.local.device.type == "cpu"
        words, pairs, limits = 0, 0, self._limits or self._measure(images)
        for lists in _cut(wanted, self._cache, limits, self._many, rounded):
            if lists.words != words:
                words = lists.words
                self._cache.release_pages()  # codes of the previous length are not needed any more
                if pairs > _PAIRS_PER_TRIM:  # tensors of another length do not fit the blocks that were freed
                    trim_heap()
                    pairs = 0
            pairs += lists.captions.size
            yield _job(self._scorer, images, self._cache, lists, scores, self._precision)
        self._cache.release_pages()

    def _prepared(self, images: CodeBlocks) -> Iterator[ImageCode]:
        """Yield prepared picture codes; blocks are concatenated where a call scores lists of several pictures."""
        some: list[ImageCode] = []
        for block in images:
            with inference(self._model, self._precision):
                some.append(prepared_images(self._scorer, block))
            if not self._many or sum(map(_bytes, some)) >= PICTURES_BYTES:
                some = [_concatenate(some)]
                trim_heap()  # returns the memory of the parts
                yield some.pop()
        if some:
            some = [_concatenate(some)]
            trim_heap()
            yield some.pop()

    def _measure(self, images: ImageCode) -> dict[int, int]:
        """Return the pairs per call by caption length: measured for the shortest and longest, interpolated between."""
        codes = self._cache.codes
        ends = [min(codes), max(codes)]
        shares = [1 / self._size.of(self._scorer, images, codes[words].select(slice(0, SAMPLE))) for words in ends]
        self._limits = {words: max(1, int(1 / np.interp(words, ends, shares))) for words in codes}
        return self._limits


def _job(
    scorer: Scorer,
    images: ImageCode,
    cache: CaptionCodeCache,
    lists: Lists,
    into: Float32[np.ndarray, " pair"],
    precision: Precision,
) -> Job:
    """Return a job that scores some lists in one call and returns the number of distinct pairs."""

    def job() -> int:
        with compute_in(images.local.device, precision):
            pictures = images.select(_rows(lists.pictures)).map(lambda t: t[:, None])
            groups, captions = lists.captions.shape
            texts = cache.codes[lists.words].select(_rows(lists.captions.ravel()))
            scores = scorer.score(pictures, texts.map(lambda t: t.view(groups, captions, *t.shape[1:])))
            into[lists.slots] = scores[:, 0].float().cpu().numpy()
        return len(np.unique(lists.slots))

    return job


def _cut(
    wanted: Sequence[Int64[np.ndarray, " _"]],
    cache: CaptionCodeCache,
    limits: Mapping[int, int],
    many: bool,
    rounded: bool,
) -> Iterator[Lists]:
    """Cut the pairs of a block of pictures into calls.

    A scorer of several lists gets lists of several pictures, cut to the lengths `LISTS`; the last one is padded by
    repetition. Other scorers get one list at a time. For every new shape of a bfloat16 product, PyTorch's CPU library
    generates code, which takes longer than a small product and a megabyte each; there calls are padded to few sizes.

    Args:
        wanted: Captions for each picture.
        cache: Codes of the captions.
        limits: Pairs per call, by caption length.
        many: Whether a call scores several lists.
        rounded: Whether calls are padded to few sizes.
    """
    pictures = np.repeat(np.arange(len(wanted)), [len(one) for one in wanted])
    captions = np.concatenate([*wanted, np.empty(0, np.int64)])
    lengths = cache.words[captions]
    for words in np.unique(lengths).tolist():
        sizes = [size for size in LISTS if many and size <= limits[words]] or [limits[words]]
        slots = np.flatnonzero(lengths == words)
        ends = np.flatnonzero(np.diff(pictures[slots])) + 1
        lists: dict[int, list[Int64[np.ndarray, " _"]]] = {}
        for list_slots in np.split(slots, ends):  # the list of one picture
            for some in _pieces(list_slots, sizes):
                size = len(some)
                if many:
                    size = next(size for size in reversed(sizes) if size >= len(some))
                elif rounded:
                    size = _round_size(len(some), limits[words])
                lists.setdefault(size, []).append(np.pad(some, (0, size - len(some)), mode="edge"))
        for size, equal in lists.items():
            at_once = max(1, limits[words] // size) if many else 1
            for first in range(0, len(equal), at_once):
                some = equal[first : first + at_once]
                count = _round_size(len(some), at_once) if rounded else len(some)
                stacked = np.stack(some + some[-1:] * (count - len(some)))  # (lists, captions per list)
                yield Lists(words, pictures[stacked[:, 0]], cache.rows[captions[stacked]], stacked)


def _pieces(slots: Int64[np.ndarray, " txt"], sizes: Sequence[int]) -> Iterator[Int64[np.ndarray, " _"]]:
    """Cut a list into pieces of the first size, the rest into the largest sizes it fills; the last may be shorter."""
    first = 0
    for size in sizes:
        while len(slots) - first >= size:
            yield slots[first : first + size]
            first += size
    if first < len(slots):
        yield slots[first:]


def _round_size(count: int, most: int) -> int:
    """Round a count up to the next of 1, 2, 3, 4, 6, 8, 12, 16, 24 …; at most `most`."""
    power = 1 << (count - 1).bit_length()
    return min(most, power if 4 * count > 3 * power or power < 4 else 3 * power // 4)


def _tensors(code: ImageCode | TextCode) -> list[Tensor]:
    return [code.local, code.mask, *([] if code.index is None else [code.index]), *code.parts.values()]


def _bytes(code: ImageCode | TextCode) -> int:
    return sum(tensor.nbytes for tensor in _tensors(code))


def _rows(numbers: Int64[np.ndarray, " row"]) -> Tensor:
    return torch.from_numpy(numbers)  # pyright: ignore[reportUnknownMemberType]


def _concatenate(codes: Sequence[ImageCode]) -> ImageCode:
    """Concatenate codes of pictures with equally many regions."""
    first = codes[0]
    if len(codes) == 1:
        return first
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in first.parts}
    index = None if first.index is None else torch.cat([code.index for code in codes if code.index is not None])
    return ImageCode(torch.cat([c.local for c in codes]), torch.cat([c.mask for c in codes]), index, parts)
