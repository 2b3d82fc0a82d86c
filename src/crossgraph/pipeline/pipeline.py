"""Use a run: encode pictures and sentences, score, rank and explain them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, Regions, TextCode
from crossgraph.models.base import Matcher
from crossgraph.pipeline.alignment import Alignment, alignment_of, encode_sentence
from crossgraph.pipeline.codes import PictureCodes, Ranking, TextCodes, pad_together
from crossgraph.pipeline.pictures import Broken, PictureLike, Pictures, as_list, join, name_of, region_batches
from crossgraph.progress import ProgressCallback, pair_counter
from crossgraph.runs import Run, load_run
from crossgraph.scoring.encode import TextBucket, encode_captions, inference, plan_buckets
from crossgraph.scoring.engine import choose_device, score_bucket
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.vision.region_encoder import RegionEncoder, load_region_encoder

IMAGES_PER_BLOCK = 128
_NAMED = 8


class UnknownWords(UserWarning):
    """Some words are not in the model's vocabulary; it read `<unk>` in their place."""


def load(path: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto") -> Pipeline:
    """Load a run for use.

    Args:
        path: The folder of a run, made by `crossgraph train` or `crossgraph import`, or of a bundle, whose
            re-ranker is taken.
        device: Where to compute; "auto" takes the accelerator where there is one.

    Raises:
        InputError: It is no run, or a file of it is missing or broken.
    """
    folder = Path(path)
    is_bundle = (folder / "bundle.json").exists()
    return Pipeline(load_run(folder / "reranker" if is_bundle else folder), choose_device(device))


class Pipeline:
    """A model that takes pictures and sentences.

    Pictures may be paths, PIL images, arrays of region features (regions, D), or `Regions`; several are a
    list of these or one array (pictures, regions, D). A word that the vocabulary lacks is read as `<unk>`,
    named in a warning (`UnknownWords`) and in what is returned; a sentence of no known word is refused.

    Args:
        run: What was loaded.
        device: Where to compute.

    Attributes:
        run: As given, its model on the device.
        name: The run's folder.
    """

    def __init__(self, run: Run, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        run.model.to(self.device)
        self.run = run
        self.name = run.path.name or str(run.path)

    @property
    def model(self) -> Matcher:
        """The model, in evaluation mode."""
        return self.run.model

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that the model knows."""
        return self.run.vocabulary

    @cached_property
    def region_encoder(self) -> RegionEncoder:
        """What turns pictures into the regions that the model was trained on, loaded when first needed.

        Raises:
            InputError: The run was made with features that no encoder here makes, or its package is missing.
        """
        name = self.run.info.region_encoder
        if name == "published":
            raise InputError(
                f"{self.run.path}: trained on published features, which nothing here makes from a picture",
                "give region features as arrays (regions, D) instead, or train on features of 'crossgraph extract'",
            )
        encoder = load_region_encoder(name)
        if encoder.feature_size != self.model.inputs.feature_size:
            raise InputError(
                f"{self.run.path}: {name} gives features {encoder.feature_size:,} wide, "
                f"the model takes {self.model.inputs.feature_size:,}",
                "give region features as arrays (regions, D) instead",
            )
        return encoder

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a sentence that the model does not know."""
        return list(self.vocabulary.encode(text).unknown)

    def regions(self, pictures: Pictures, report: ProgressCallback | None = None) -> Regions:
        """Turn pictures into regions, features (n, R, D); features of one's own come back as they are.

        Args:
            pictures: At least one.
            report: Called with progress.

        Raises:
            InputError: There is none, one cannot be read, or features do not fit the model.
        """
        return join([regions for _, regions in self._batches(pictures, report)])

    def encode_pictures(
        self, pictures: Pictures, report: ProgressCallback | None = None, broken: Broken | None = None
    ) -> PictureCodes:
        """Encode pictures alone, without any sentence.

        Args:
            pictures: At least one.
            report: Called with progress.
            broken: Called with (name, reason) of a picture that cannot be read, which is then left out; without
                it such a picture is an error.

        Returns:
            float32 arrays in the order given: `local` (n, R, d) and what else the model's score needs.

        Raises:
            InputError: There is none, one cannot be read, or features do not fit the model.
        """
        names: list[str] = []
        codes: list[ImageCode] = []
        boxes: list[np.ndarray | None] = []
        for some, regions in self._batches(pictures, report, broken):
            names += some
            with inference(self.model):
                codes.append(self.model.encode_images(regions.to(self.device)))
            boxes.append(None if regions.boxes is None else regions.boxes.numpy().astype(np.float32))
        if not codes:
            raise InputError("none of the pictures can be read", "give pictures that open")
        known = [box for box in boxes if box is not None]
        return PictureCodes(
            ids=names,
            local=pad_together([_array(code.local) for code in codes]),
            mask=pad_together([code.mask.cpu().numpy() for code in codes]),
            index=_joined([code.index for code in codes]),
            parts={name: pad_together([_array(code.parts[name]) for code in codes]) for name in codes[0].parts},
            boxes=pad_together(known) if len(known) == len(boxes) else None,
        )

    def encode_texts(self, texts: Sequence[str], report: ProgressCallback | None = None) -> TextCodes:
        """Encode sentences alone, without any picture.

        Args:
            texts: At least one.
            report: Called with progress.

        Returns:
            float32 arrays in the order given: `local` (n, L, d), zero where padded, and what else the
            model's score needs; unknown words beside them.

        Raises:
            InputError: There is none, or the vocabulary knows no word of one.
        """
        texts = self._checked(texts)
        unknown = self._unknown(texts)
        buckets = encode_captions(self.model, self.vocabulary, texts, report=report)
        back = np.argsort(np.concatenate([bucket.captions for bucket in buckets]), kind="stable")
        codes = [bucket.code for bucket in buckets]
        index = _joined([code.index for code in codes])
        return TextCodes(
            texts=texts,
            local=pad_together([_array(code.local) for code in codes])[back],
            mask=pad_together([code.mask.cpu().numpy() for code in codes])[back],
            index=None if index is None else index[back],
            parts={name: pad_together([_array(code.parts[name]) for code in codes])[back] for name in codes[0].parts},
            unknown=unknown,
        )

    def rank(
        self,
        *,
        texts: Sequence[str] | TextCodes,
        pictures: Pictures | PictureCodes,
        report: ProgressCallback | None = None,
    ) -> Ranking:
        """Score every picture with every sentence.

        Args:
            texts: Sentences, or their codes from `encode_texts`.
            pictures: Pictures, or their codes from `encode_pictures`.
            report: Called with progress.

        Raises:
            InputError: As `encode_pictures` and `encode_texts`, or codes of another model's width.
        """
        if isinstance(texts, TextCodes):
            buckets, sentences, unknown = _buckets(texts, self.device), texts.texts, texts.unknown
        else:
            sentences = self._checked(texts)
            unknown = self._unknown(sentences)
            buckets = encode_captions(self.model, self.vocabulary, sentences)
        codes = pictures if isinstance(pictures, PictureCodes) else self.encode_pictures(pictures)
        self._check_widths(codes, buckets)
        return Ranking(self._scores(codes, buckets, len(sentences), report), codes.ids, sentences, unknown)

    def explain(self, picture: PictureLike, sentence: str, boxes: np.ndarray | None = None) -> Alignment:
        """Return the alignment of one pair: which word met which region, how much each word counted, and the score.

        Args:
            picture: One picture.
            sentence: Any.
            boxes: xyxy in 0..1 of the regions (R, 4), for features of one's own.

        Raises:
            InputError: The picture cannot be read or does not fit, the sentence is empty, or none of its
                words is known.
        """
        encode_sentence(self.vocabulary, sentence, self.name)
        regions = self.regions([picture])
        if boxes is not None:
            regions = dataclasses.replace(regions, boxes=_boxes(boxes, regions.features.shape[1]))
        self._warn([self.unknown_words(sentence)])
        shown = picture if isinstance(picture, Image.Image) else None
        shown = Path(picture) if isinstance(picture, (str, Path)) else shown
        return alignment_of(self.run, regions, sentence, shown)

    def _batches(
        self, pictures: Pictures, report: ProgressCallback | None, broken: Broken | None = None
    ) -> Iterator[tuple[list[str], Regions]]:
        entries = as_list(pictures)
        if not entries:
            raise InputError("no picture is given", "give at least one")
        for rows, regions in region_batches(entries, self.model.inputs, lambda: self.region_encoder, self.name, broken):
            yield [name_of(entries[row], row) for row in rows], regions
            if report is not None:
                report("pictures", rows[-1] + 1, len(entries))

    def _checked(self, texts: Sequence[str]) -> list[str]:
        sentences = [texts] if isinstance(texts, str) else list(texts)
        if not sentences:
            raise InputError("no sentence is given", "give at least one")
        for sentence in sentences:
            encode_sentence(self.vocabulary, sentence, self.name)
        return sentences

    def _unknown(self, texts: Sequence[str]) -> list[list[str]]:
        unknown = [self.unknown_words(text) for text in texts]
        self._warn(unknown)
        return unknown

    def _warn(self, unknown: Sequence[Sequence[str]]) -> None:
        words = list(dict.fromkeys(word for some in unknown for word in some))
        if not words:
            return
        named = ", ".join(f"'{word}'" for word in words[:_NAMED]) + (", …" if len(words) > _NAMED else "")
        many = f"{len(words):,} words are" if len(words) > 1 else "a word is"
        warnings.warn(f"{many} unknown to {self.name} and read as <unk>: {named}", UnknownWords, stacklevel=4)

    def _check_widths(self, codes: PictureCodes, buckets: Sequence[TextBucket]) -> None:
        image, text = codes.local.shape[-1], buckets[0].code.local.shape[-1]
        if image != text:
            raise InputError(
                f"codes of {image} and {text} numbers a region and word", "encode both sides with the same run"
            )

    def _scores(
        self, codes: PictureCodes, buckets: Sequence[TextBucket], texts: int, report: ProgressCallback | None
    ) -> Float32[np.ndarray, "img txt"]:
        scores = np.empty((len(codes), texts), dtype=np.float32)
        tick = pair_counter(report, scores.size)

        with inference(self.model):
            scorer = self.model.fold()
            for start in range(0, len(codes), IMAGES_PER_BLOCK):
                rows = slice(start, start + IMAGES_PER_BLOCK)
                images = codes.tensors().select(rows).to(self.device)
                for bucket in buckets:
                    scores[rows, bucket.captions] = score_bucket(scorer, images, bucket, tick)
        return scores


def _buckets(texts: TextCodes, device: torch.device) -> list[TextBucket]:
    code: TextCode = texts.tensors()
    rows = plan_buckets([int(length) for length in texts.mask.sum(axis=1)])
    return [TextBucket(some, code.select(torch.from_numpy(some)).to(device)) for some in rows]


def _boxes(boxes: np.ndarray, regions: int) -> torch.Tensor:
    array = np.asarray(boxes, dtype=np.float32)
    if array.shape != (regions, 4):
        raise InputError(f"boxes of shape {array.shape}", f"give one box a region: ({regions}, 4)")
    ordered = (array[:, :2] <= array[:, 2:]).all()
    if not (np.isfinite(array).all() and ordered and array.min() >= 0 and array.max() <= 1):
        raise InputError("boxes outside 0..1 or not xyxy", "give x0, y0, x1, y1 as shares of width and height")
    return torch.from_numpy(array)[None]


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()


def _joined(tensors: Sequence[torch.Tensor | None]) -> np.ndarray | None:
    known = [_array(tensor) for tensor in tensors if tensor is not None]
    return pad_together(known) if known else None
