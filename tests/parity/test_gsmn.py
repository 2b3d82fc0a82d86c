"""GSMN gives what its authors' code gives, array by array: no message passes in it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from references.golden_codes import encoded, grouped, inputs, losses_close, scored
from references.published import build, close

from crossgraph.core.errors import InputError
from crossgraph.core.types import Tokens
from crossgraph.models.gsmn import GSMN


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "gsmn" / "gsmn_eval.npz")


@pytest.fixture(scope="module")
def model(goldens):
    return build(goldens, "gsmn", "gsmn")


@pytest.fixture(scope="module")
def sides(model, arrays):
    with torch.no_grad():
        return model.compare(*grouped(*encoded(model, arrays)))


def chosen(model, **choices):
    """The same weights with other choices."""
    other = GSMN(dataclasses.replace(model.config, **choices), model.inputs)
    other.load_state_dict(model.state_dict())
    return other.eval()


def test_both_encoders(model, arrays):
    images, texts = encoded(model, arrays)
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])


def test_the_kernels_on_boxes(model, arrays):
    boxes = inputs(arrays)[0].boxes
    with torch.no_grad():
        close(model.kernels.polar(boxes), arrays["pseudo_coord"])
        close(model.kernels(boxes), arrays["gauss_weights"])


@pytest.mark.parametrize("direction, name", [("t2i", "t"), ("i2t", "v")])
def test_the_nodes_before_and_behind_the_graph(sides, arrays, direction, name):
    side = sides[direction]
    real = side.mask[..., None]
    close((side.blocks * real)[0], arrays[f"{name}_nodes"])
    close((side.nodes * real)[0], arrays[f"{name}_graph"])


@pytest.mark.parametrize("published", ["dense", "sparse"])
def test_the_scores_whichever_the_published_file_says(goldens, sides, arrays, published):
    model = build(goldens, "gsmn", "gsmn", is_sparse=published == "sparse")
    for direction in ("i2t", "t2i"):
        close(sides[direction].score[0], arrays[f"{published}.{direction}"])
    scores = scored(model, arrays)
    close(scores, arrays[f"{published}.sims"])
    losses_close(scores, arrays, f"{published}.")


def test_boxes_divided_again_and_boxes_that_are_nothing(model, arrays):
    regions, tokens = inputs(arrays)
    size = torch.from_numpy(arrays["image_wh"]).repeat(1, 2)[:, None].float()
    again = dataclasses.replace(regions, boxes=regions.boxes / size)
    none = dataclasses.replace(regions, boxes=None)
    with torch.no_grad():
        texts = model.encode_texts(tokens)
        close(model.score_block(model.encode_images(again), texts), arrays["boxes_divided_twice.dense.sims"])
        zero = chosen(model, boxes="zero")
        close(zero.score_block(zero.encode_images(none), texts), arrays["boxes_zero.dense.sims"])
        with pytest.raises(InputError, match="have no boxes"):
            model.encode_images(none)


def test_messages_pass_when_asked_for_and_follow_the_grammar_when_sparse(model, arrays):
    regions, tokens = inputs(arrays)
    pairs = [[edge for edge in caption[1:] if max(edge) < 12] for caption in json.loads(str(arrays["depends"]))]
    edges = torch.full((len(pairs), max(map(len, pairs)), 2), -1)
    for row, caption in enumerate(pairs):
        edges[row, : len(caption)] = torch.tensor(caption).reshape(-1, 2)
    parsed = Tokens(tokens.ids, tokens.lengths, edges=edges)
    scores = {}
    with torch.no_grad():
        for messages, given in (("none", parsed), ("dense", parsed), ("sparse", parsed), ("sparse", tokens)):
            one = chosen(model, messages=messages)
            key = messages if given is parsed else "chain"
            scores[key] = one.score_block(one.encode_images(regions), one.encode_texts(given))
    named = list(scores)
    for i, one in enumerate(named):
        for other in named[i + 1 :]:
            assert (scores[one] - scores[other]).abs().max() > 1e-4, (one, other)


def test_messages_are_the_plain_sums_over_neighbours(model, arrays):
    dense = chosen(model, messages="dense")
    images, texts = encoded(dense, arrays)
    with torch.no_grad():
        sides = dense.compare(*grouped(images, texts))
        for picture, caption in ((0, 0), (4, 7)):
            words = int(texts.mask[caption].sum())
            blocks = sides["t2i"].blocks[0, picture, caption, :words]
            u = texts.local[caption, :words]
            mixed = torch.softmax(dense.config.smooth * u @ u.T, dim=1) @ blocks
            close(sides["t2i"].nodes[0, picture, caption, :words], dense.textual_graph(mixed))
            w = images.parts["kernels"][picture]
            kernels = dense.visual_graph.weight.view(8, -1, 8)
            m = sides["i2t"].blocks[0, picture, caption]
            plain = [torch.cat([kernels[k] @ (w[i, :, k] @ m) for k in range(8)]) for i in range(7)]
            close(sides["i2t"].nodes[0, picture, caption], torch.stack(plain))
