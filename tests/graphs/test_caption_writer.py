"""The caption writer's loss, against one caption at a time without padding."""

from __future__ import annotations

from itertools import pairwise

import torch

from crossgraph.core.types import Tokens
from crossgraph.graphs.caption_writer import CaptionWriter


def plain(writer, regions, ids):
    """−log p of one caption (its ids, `<start>` first) given one picture's real regions."""
    read, state = writer.read.gru(writer.narrow(regions)[None])
    read, state, total = read[0], state[0], 0.0
    for given, wanted in pairwise(ids):
        logits = writer.attend(torch.tanh(writer.attend_region(read) + writer.attend_state(state)))
        context = (logits.softmax(dim=0) * read).sum(dim=0)
        state = writer.write(torch.cat([writer.embedding(given), context])[None], state)
        total = total - writer.to_words(state)[0].log_softmax(dim=0)[wanted]
    return total


def test_the_loss_is_the_sum_of_each_caption_s_alone():
    torch.manual_seed(0)
    writer = CaptionWriter(dim=6, vocabulary=12, word_size=5, size=4, dropout=0.5).eval()
    regions, mask = (
        torch.randn(3, 5, 6),
        torch.tensor([[True] * 5, [True, False, True, True, False], [True] + [False] * 4]),
    )
    ids = torch.tensor([[1, 4, 5, 6, 2], [1, 7, 2, 9, 9], [1, 2, 0, 0, 0]])
    lengths = torch.tensor([5, 3, 2])
    with torch.no_grad():
        together = writer(regions, mask, Tokens(ids, lengths))
        alone = [plain(writer, regions[i, mask[i]], ids[i, : lengths[i]]) for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).sum())
