"""`check_model` passes a model that keeps its promises, and names the promise that another breaks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from references.tiny_matcher import TinyMatcher

from crossgraph.core.errors import InputError
from crossgraph.core.registry import Registry
from crossgraph.core.types import Attention
from crossgraph.models.base import Matcher
from crossgraph.testing import check_model


class Aligned(TinyMatcher):
    """The tiny matcher with an alignment."""

    def align(self, image, text):
        words = int(text.mask[0].sum())
        likeness = text.local[0, :words] @ image.local[0].T
        score = self.score(image.map(lambda t: t[None]), text.map(lambda t: t[None]))[0, 0, 0]
        return Attention(torch.softmax(likeness, dim=-1), torch.full((words,), 1 / words), score)


class ReadsPadding(Aligned):
    def pair_scores(self, images, texts):
        return super().pair_scores(images, texts) * texts.mask.shape[-1]


class KnowsItsBatch(Aligned):
    def pair_scores(self, images, texts):
        scores = super().pair_scores(images, texts)
        return scores - scores.mean() if self.training else scores


class NeverLearns(Aligned):
    def __init__(self, config, inputs):
        super().__init__(config, inputs)
        self.unused = torch.nn.Parameter(torch.zeros(3))


class OtherScore(Aligned):
    def align(self, image, text):
        found = super().align(image, text)
        return Attention(found.weights, found.significance, found.score + 1)


def register(monkeypatch: pytest.MonkeyPatch, model: type[TinyMatcher]) -> str:
    """Make a model the only registered one."""
    registry: Registry[type[Matcher]] = Registry("model", None)
    registry.register("checked")(model)
    for module in ("testing", "runs"):
        monkeypatch.setattr(f"crossgraph.{module}.MODELS", registry)
    return "checked"


def test_a_model_that_keeps_everything_passes(monkeypatch):
    check_model(register(monkeypatch, Aligned))


@pytest.mark.parametrize(
    ("model", "check"),
    [
        (ReadsPadding, "check_caption_alone"),
        (KnowsItsBatch, "check_training_splits"),
        (NeverLearns, "check_gradients: no gradient reaches unused"),
        (OtherScore, "check_alignment"),
    ],
)
def test_the_broken_promise_is_named(monkeypatch, model, check):
    with pytest.raises(AssertionError, match=check):
        check_model(register(monkeypatch, model))


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="unknown model 'nothing-like-it'"):
        check_model("nothing-like-it")


def test_the_example_of_a_plugin_passes(root):
    """In a process of its own, since what a plugin registers stays registered."""
    code = "import sys; sys.path.insert(0, 'examples'); import my_model; from crossgraph.testing import check_model; "
    command = [sys.executable, "-c", code + "check_model('mean-cosine')"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
