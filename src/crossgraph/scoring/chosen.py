"""Scores of chosen pairs: each picture with captions of its own, as a short list asks for them."""

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

_MOST_GROWTH = 1.5  # of a code on the shelf, when it is prepared
LISTS = (16, 8, 4, 2)  # captions of a list, where many lists are scored in one call
SHELF_BYTES = 1 << 28  # of captions' codes in memory
PICTURES_BYTES = 1 << 27  # of pictures whose lists are cut together: the more, the fewer calls are not full
_WORTH_A_FILE = 1 << 20
_PAIRS_UNTIL_FREE = 1 << 14  # after which, when the length changes, what calls have freed is given back


@dataclass(frozen=True)
class Chosen:
    """One picture's scores.

    Attributes:
        image: Its row.
        captions: Columns.
        scores: Of the picture with each of these.
    """

    image: int
    captions: Int64[np.ndarray, " chosen"]
    scores: Float32[np.ndarray, " chosen"]


class Shelf:
    """Captions' codes by their length, found by the caption's number; what is too much for memory lies in files.

    Args:
        scorer: Codes are kept as it takes them fastest, where that is not far larger than they are.
        lengths: Tokens of every caption.
    """

    def __init__(self, scorer: Scorer, lengths: Int64[np.ndarray, " txt"]) -> None:
        self._scorer = scorer
        self.words, self.place = lengths, np.empty(len(lengths), np.int64)
        for rows in plan_buckets(lengths.tolist(), len(lengths)):
            self.place[rows] = np.arange(len(rows))
        self._counts = np.bincount(lengths)
        self.codes: dict[int, TextCode] = {}
        self._in_memory = 0
        self._maps: list[np.ndarray] = []

    def take(self, buckets: Iterable[TextBucket]) -> None:
        """Take codes of captions of equal length, each once."""
        for bucket in buckets:
            code = self._kept(bucket.code)
            words, rows = int(self.words[bucket.captions[0]]), _rows(self.place[bucket.captions])
            if words not in self.codes:  # room for all of this length, so that nothing is ever there twice
                count = int(self._counts[words])
                self.codes[words] = code.map(lambda t, n=count: self._room(n, t))
            for kept, new in zip(_tensors(self.codes[words]), _tensors(code), strict=True):
                kept[rows.to(kept.device)] = new
        self.release_pages()

    def needs(self, bucket: TextBucket) -> int:
        """Return the bytes that the codes of all captions will take, going by the first of a bucket."""
        code = self._kept(bucket.code.select(slice(0, 1)))
        return _bytes(code) * int(self.words.sum()) // int(self.words[bucket.captions[0]])

    def _kept(self, code: TextCode) -> TextCode:
        """Return a code as it is kept: prepared, unless that makes it far larger."""
        one = code.select(slice(0, 1))
        grows = _bytes(prepared_texts(self._scorer, one)) > _MOST_GROWTH * _bytes(one)
        return code if grows else prepared_texts(self._scorer, code)

    def release_pages(self) -> None:
        """Let the memory go of what lies in files; it is read again when it is wanted."""
        for some in self._maps:
            release_pages(some)

    def _room(self, count: int, like: Tensor) -> Tensor:
        """Return room for so many rows."""
        shape = (count, *like.shape[1:])
        size = math.prod(shape) * like.element_size()
        if like.device.type != "cpu" or size < _WORTH_A_FILE or self._in_memory + size <= SHELF_BYTES:
            self._in_memory += size
            return like.new_empty(shape)
        self._maps.append(file_backed(size, "captions' codes"))
        return torch.from_numpy(self._maps[-1]).view(like.dtype).view(shape)  # pyright: ignore[reportUnknownMemberType]


@dataclass(frozen=True)
class Lists:
    """Short lists of equally many captions of one length, each with its picture: what one call scores.

    Attributes:
        words: Length of the captions.
        pictures: Rows of a block.
        captions: Places on the shelf of that length; a list may end in repetitions.
        slots: Where their scores go.
    """

    words: int
    pictures: Int64[np.ndarray, " group"]
    captions: Int64[np.ndarray, "group txt"]
    slots: Int64[np.ndarray, "group txt"]


class ListScorer:
    """Scores pictures with captions of their own, as often as one likes.

    Args:
        model: Scores, by its folded form where it has one; as it is now.
        lengths: Tokens of every caption.
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
        self._shelf = Shelf(self._scorer, lengths)
        self._most: dict[int, int] = {}
        self._many = isinstance(self._scorer, ScoresLists)

    def take(self, texts: Iterable[TextBucket]) -> None:
        """Take captions' codes; all of them must be there before anything is scored.

        Raises:
            InputError: They are too many for memory, and there is no room for them in files.
        """
        with inference(self._model, self._precision):
            self._shelf.take(texts)

    def needs(self, bucket: TextBucket) -> int:
        """Return the bytes that the codes of all captions will take, going by some of them."""
        with inference(self._model, self._precision):
            return self._shelf.needs(bucket)

    def scores(
        self, images: CodeBlocks, chosen: Sequence[Int64[np.ndarray, " _"]], report: ProgressCallback | None = None
    ) -> Iterator[Chosen]:
        """Score each picture with the captions chosen for it.

        Args:
            images: Codes of pictures.
            chosen: Columns for each picture.
            report: Hears how many pairs are done.
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
                    yield Chosen(first + row, captions, scores[ends[row] : ends[row + 1]])
                first += len(code)
                del code  # before the next are made

    def _jobs(
        self, images: ImageCode, wanted: Sequence[Int64[np.ndarray, " _"]], scores: Float32[np.ndarray, " pair"]
    ) -> Iterator[Job]:
        """Cut the pairs of a block of pictures into calls, one length of captions after another."""
        rounded = self._precision == "bfloat16" and images.local.device.type == "cpu"
        words, pairs, most = 0, 0, self._most or self._measured(images)
        for lists in _cut(wanted, self._shelf, most, self._many, rounded):
            if lists.words != words:
                words = lists.words
                self._shelf.release_pages()  # of the last length's codes
                if pairs > _PAIRS_UNTIL_FREE:  # each length's tensors are of a size of their own, and fit no freed ones
                    trim_heap()
                    pairs = 0
            pairs += lists.captions.size
            yield _job(self._scorer, images, self._shelf, lists, scores, self._precision)
        self._shelf.release_pages()

    def _prepared(self, images: CodeBlocks) -> Iterator[ImageCode]:
        """Give pictures as the scorer takes them; many of them together, where lists of many are scored in one call."""
        some: list[ImageCode] = []
        for block in images:
            with inference(self._model, self._precision):
                some.append(prepared_images(self._scorer, block))
            if not self._many or sum(map(_bytes, some)) >= PICTURES_BYTES:
                some = [_together(some)]
                trim_heap()  # what it was made of needs no memory any more
                yield some.pop()
        if some:
            some = [_together(some)]
            trim_heap()
            yield some.pop()

    def _measured(self, images: ImageCode) -> dict[int, int]:
        """Return how many pairs a call takes, by the captions' length: measured of the ends alone."""
        codes = self._shelf.codes
        ends = [min(codes), max(codes)]
        shares = [1 / self._size.of(self._scorer, images, codes[words].select(slice(0, SAMPLE))) for words in ends]
        self._most = {words: max(1, int(1 / np.interp(words, ends, shares))) for words in codes}
        return self._most


def _job(
    scorer: Scorer,
    images: ImageCode,
    shelf: Shelf,
    lists: Lists,
    into: Float32[np.ndarray, " pair"],
    precision: Precision,
) -> Job:
    """Score some lists in one call; returns how many pairs were asked for."""

    def job() -> int:
        with compute_in(images.local.device, precision):
            pictures = images.select(_rows(lists.pictures)).map(lambda t: t[:, None])
            groups, captions = lists.captions.shape
            texts = shelf.codes[lists.words].select(_rows(lists.captions.ravel()))
            found = scorer.score(pictures, texts.map(lambda t: t.view(groups, captions, *t.shape[1:])))
            into[lists.slots] = found[:, 0].float().cpu().numpy()
        return len(np.unique(lists.slots))

    return job


def _cut(
    wanted: Sequence[Int64[np.ndarray, " _"]], shelf: Shelf, most: Mapping[int, int], many: bool, rounded: bool
) -> Iterator[Lists]:
    """Cut the pairs of a block of pictures into calls.

    A scorer of many lists gets some of many pictures at a time, cut to the lengths `LISTS`, the last filled up;
    another gets one list at a time. For every shape of a product in bfloat16 PyTorch's library on a CPU generates
    code, which takes longer than a small product and a megabyte each: there calls are filled up to one of few sizes.

    Args:
        wanted: Captions for each picture.
        shelf: Of the captions.
        most: Pairs of a call, by the captions' length.
        many: Many lists at a time.
        rounded: Fill up.
    """
    pictures = np.repeat(np.arange(len(wanted)), [len(one) for one in wanted])
    captions = np.concatenate([*wanted, np.empty(0, np.int64)])
    lengths = shelf.words[captions]
    for words in np.unique(lengths).tolist():
        sizes = [size for size in LISTS if many and size <= most[words]] or [most[words]]
        slots = np.flatnonzero(lengths == words)
        ends = np.flatnonzero(np.diff(pictures[slots])) + 1
        lists: dict[int, list[Int64[np.ndarray, " _"]]] = {}
        for one in np.split(slots, ends):
            for some in _portions(one, sizes):
                size = len(some)
                if many:
                    size = next(size for size in reversed(sizes) if size >= len(some))
                elif rounded:
                    size = _round_size(len(some), most[words])
                lists.setdefault(size, []).append(np.pad(some, (0, size - len(some)), mode="edge"))
        for size, equal in lists.items():
            at_once = max(1, most[words] // size) if many else 1
            for first in range(0, len(equal), at_once):
                some = equal[first : first + at_once]
                count = _round_size(len(some), at_once) if rounded else len(some)
                found = np.stack(some + some[-1:] * (count - len(some)))
                yield Lists(words, pictures[found[:, 0]], shelf.place[captions[found]], found)


def _portions(one: Int64[np.ndarray, " txt"], sizes: Sequence[int]) -> Iterator[Int64[np.ndarray, " _"]]:
    """Cut a list into portions of the first size, and what is left into the largest that it fills; the last may not."""
    first = 0
    for size in sizes:
        while len(one) - first >= size:
            yield one[first : first + size]
            first += size
    if first < len(one):
        yield one[first:]


def _round_size(count: int, most: int) -> int:
    """Return the least of 1, 2, 3, 4, 6, 8, 12, 16, 24 … that is no less than a count; at most `most`."""
    power = 1 << (count - 1).bit_length()
    return min(most, power if 4 * count > 3 * power or power < 4 else 3 * power // 4)


def _tensors(code: ImageCode | TextCode) -> list[Tensor]:
    return [code.local, code.mask, *([] if code.index is None else [code.index]), *code.parts.values()]


def _bytes(code: ImageCode | TextCode) -> int:
    return sum(tensor.nbytes for tensor in _tensors(code))


def _rows(numbers: Int64[np.ndarray, " row"]) -> Tensor:
    return torch.from_numpy(numbers)  # pyright: ignore[reportUnknownMemberType]


def _together(codes: Sequence[ImageCode]) -> ImageCode:
    """Put pictures of equally many regions together."""
    first = codes[0]
    if len(codes) == 1:
        return first
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in first.parts}
    index = None if first.index is None else torch.cat([code.index for code in codes if code.index is not None])
    return ImageCode(torch.cat([c.local for c in codes]), torch.cat([c.mask for c in codes]), index, parts)
