"""What the parity tests of several models share: a golden checkpoint as a model, a pass, and its comparison."""

from __future__ import annotations

import numpy as np
import torch

from crossgraph.losses import hinge, prescribed_loss
from crossgraph.models.base import Batch, Progress
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint


def build(goldens, family, name, **options):
    """Return the model of a golden checkpoint; `options` replace stored ones."""
    path = goldens / family / f"{name}.pth"
    file = read_checkpoint(path)
    return IMPORTERS[family](file.states, {**file.options, **options}, str(path)).build(str(path))


def close(ours, golden, tolerance=1e-5):
    """Within `tolerance` × max(1, the largest magnitude)."""
    golden = np.asarray(golden)
    limit = tolerance * max(1.0, float(np.abs(golden).max(initial=0)))
    np.testing.assert_allclose(np.asarray(torch.as_tensor(ours).detach()), golden, rtol=0, atol=limit)


def one_pass(model, regions, tokens, negatives, margin=0.2):
    """Encode both sides and return the model's terms by the hinge, and the codes."""
    same = torch.eye(len(tokens), dtype=torch.bool)

    def ranking(scores, prescribed=None):
        if prescribed is not None:
            return prescribed_loss(prescribed, scores, same)
        return hinge(scores, same, margin, negatives)

    images, texts = model.encode_images(regions), model.encode_texts(tokens)
    batch = Batch(regions, tokens, torch.arange(len(tokens)))
    return model.losses(images, texts, batch, ranking, Progress()), (images, texts)


def check_training(model, arrays, our_key, gradients="train.gradnorm.", buffers="train.buf."):
    """Compare the norm of every parameter's gradient (1e-4), and every buffer (1e-5), after one pass."""
    places = {"img": 0, "txt": 1}
    ours, ours_kept = dict(model.named_parameters()), dict(model.named_buffers())
    total = sum(float(parameter.grad.norm()) ** 2 for parameter in ours.values()) ** 0.5
    seen = set()
    for key in arrays.files:
        if key.startswith(gradients):
            side, _, theirs = key.removeprefix(gradients).partition(".")
            name = our_key(f"{places[side]}.{theirs}")
            if name not in ours:  # of a layer that the authors hold but do not use
                assert float(arrays[key]) == 0, key
                continue
            norm = float(ours[name].grad.norm())
            if name in model.dead_parameters():  # both hold nothing but rounding
                assert max(norm, float(arrays[key])) < 1e-6 * total, name
            else:
                np.testing.assert_allclose(norm, arrays[key], rtol=1e-4, atol=1e-7 * total, err_msg=key)
            seen.add(name)
        elif key.startswith(buffers):
            theirs = key.removeprefix(buffers)
            theirs = theirs if theirs.startswith(("img.", "txt.")) else f"img.{theirs}"
            side, _, theirs = theirs.partition(".")
            name = our_key(f"{places[side]}.{theirs}")
            if name in ours_kept:
                np.testing.assert_allclose(ours_kept[name].numpy(), arrays[key], rtol=1e-5, atol=1e-6, err_msg=key)
    assert seen == set(ours), "every parameter has its golden gradient"
