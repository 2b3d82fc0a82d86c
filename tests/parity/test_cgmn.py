"""CGMN gives what its authors' code gives, array by array, with and without the graph of boxes."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from references.published import build, check_training, close, one_pass

from crossgraph.core.types import Regions, Tokens
from crossgraph.graphs.region_graph import overlap
from crossgraph.models.cgmn import OVERLAP


def edges_of(depends):
    """The pairs after the root, padded."""
    pairs = [entry[1:] for entry in depends]
    padded = torch.full((len(pairs), max(map(len, pairs)), 2), -1)
    for row, entry in enumerate(pairs):
        if entry:
            padded[row, : len(entry)] = torch.tensor(entry)
    return padded


@pytest.fixture(params=[0, 1], ids=["without boxes", "with boxes"])
def case(request, goldens):
    arrays = np.load(goldens / "cgmn" / f"cgmn_iou{request.param}_eval.npz")
    model = build(goldens, "cgmn", "cgmn_iou1", if_IOU=bool(request.param))
    features, boxes = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["boxes"])
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool), boxes)
    edges = edges_of(json.loads(str(arrays["depends"])))
    tokens = Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]), edges=edges)
    return model, arrays, regions, tokens


def test_every_array_of_evaluation(case):
    model, arrays, regions, tokens = case
    close((overlap(regions.boxes, regions.mask) >= OVERLAP).float(), arrays["iou"])
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        scores = model.score_block(images, texts)
        nodes = model.node_scores(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]
    close(images.local, arrays["gcn_img_emb"])
    close(texts.local, arrays["gcn_cap_emb"] * tokens.mask[..., None].numpy())
    close(images.index, arrays["img_emb"])
    close(texts.index, arrays["cap_emb"])
    close(scores, arrays["sims"])
    close(nodes, arrays["matching_scores"])


@pytest.mark.parametrize(
    "negatives, key", [("hardest", "retrieval_loss_maxviol_1"), ("sum", "retrieval_loss_maxviol_0")]
)
def test_both_losses(case, negatives, key):
    model, arrays, regions, tokens = case
    with torch.no_grad():
        terms, _ = one_pass(model, regions, tokens, negatives)
    assert float(terms["ranking"]) == pytest.approx(float(arrays[key]), rel=1e-5)
    assert 3 * float(terms["matching"]) == pytest.approx(float(arrays["matching_loss"]), rel=1e-5)


def test_one_training_step(case):
    from crossgraph.models.published.independent import cgmn_key as our_key

    model, arrays, regions, tokens = case
    model.train()
    terms, (images, texts) = one_pass(model, regions, tokens, "hardest")
    loss = sum(terms.values())
    loss.backward()
    close(images.index, arrays["train.img_emb"])
    close(texts.index, arrays["train.cap_emb"])
    assert float(loss.detach()) == pytest.approx(float(arrays["train.loss"]), rel=1e-5)
    check_training(model, arrays, our_key)


def test_the_published_files_give_the_published_scores_through_the_command_line(goldens, tmp_path):
    """Checkpoint, pickled vocabulary, features, boxes, captions and dependency edges, typed as a person would."""
    from crossgraph.cli.main import main

    arrays = np.load(goldens / "cgmn" / "cgmn_iou1_eval.npz")
    words = ["<pad>", "<start>", "<end>", "<unk>", *(f"w{row}" for row in range(4, 50))]
    vocabulary = {"word2idx": {w: i for i, w in enumerate(words)}, "idx2word": dict(enumerate(words)), "idx": 50}
    (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(vocabulary, 2))
    data = tmp_path / "tiny_precomp"
    data.mkdir()
    np.save(data / "test_ims.npy", arrays["images"])
    largest = np.ceil(arrays["boxes"].max(axis=(1, 2))).astype(np.int64)
    np.save(data / "test_ims_bbx.npy", arrays["boxes"])
    np.save(data / "test_ims_size.npy", np.stack([largest, largest], axis=1))
    captions = [
        " ".join(words[row] if row > 3 else "unheard" for row in ids[1 : length - 1])
        for ids, length in zip(arrays["captions"], arrays["lengths"], strict=True)
    ]
    captions[-1] = captions[-1] or "unheard"  # a line must hold something: the golden's last caption is empty
    (data / "test_caps.txt").write_text("".join(f"{caption}\n" for caption in captions))
    (data / "test_caps.json").write_text(str(arrays["depends"]))
    run, checkpoint = tmp_path / "run", goldens / "cgmn" / "cgmn_iou1.pth"
    assert main(["import", "cgmn", str(checkpoint), "--vocab", str(tmp_path / "vocab.pkl"), "--out", str(run)]) == 0
    out = tmp_path / "scores.npy"
    assert main(["score", str(run), "--data", str(data), "--split", "test", "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out)[:, :5], arrays["sims"][:, :5], rtol=0, atol=1e-5)
