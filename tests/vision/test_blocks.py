"""Boxes as blocks of a grid: the most covered first, shares that sum to 1."""

from __future__ import annotations

import torch

from crossgraph.vision.blocks import blocks_of_boxes


def described(*box, grid=4, blocks=5):
    index, share = blocks_of_boxes(torch.tensor([[list(map(float, box))]]), grid, blocks)
    return index[0, 0].tolist(), share[0, 0]


def test_a_box_that_is_one_block_has_that_block_alone():
    index, share = described(0.25, 0.5, 0.5, 0.75)
    assert index == [9, 16, 16, 16, 16]
    torch.testing.assert_close(share, torch.tensor([1.0, 0, 0, 0, 0]))


def test_shares_follow_the_area_that_is_covered():
    index, share = described(0.0, 0.0, 0.375, 0.25)
    assert index == [0, 1, 16, 16, 16]
    torch.testing.assert_close(share, torch.tensor([2 / 3, 1 / 3, 0, 0, 0]))


def test_a_box_of_more_blocks_than_are_kept_has_its_middle_ones():
    index, share = described(0, 0, 1, 1, blocks=4)
    assert sorted(index) == [5, 6, 9, 10]
    torch.testing.assert_close(share, torch.full((4,), 0.25))


def test_boxes_without_area_and_beyond_the_picture_have_no_block():
    for box in ((0.3, 0.3, 0.3, 0.3), (0.6, 0.6, 0.5, 0.5), (1.2, 0, 1.5, 1)):
        index, share = described(*box)
        assert index == [16] * 5
        assert not share.any()


def test_more_blocks_than_there_are_leaves_the_rest_empty():
    index, share = described(0, 0, 1, 1, grid=2, blocks=6)
    assert sorted(index) == [0, 1, 2, 3, 4, 4]
    torch.testing.assert_close(share.sum(), torch.tensor(1.0))


def test_shares_are_those_of_painted_pixels():
    generator = torch.Generator().manual_seed(0)
    low = torch.randint(0, 40, (3, 8, 2), generator=generator)
    boxes = torch.cat([low, low + torch.randint(1, 24, (3, 8, 2), generator=generator)], dim=-1)
    index, share = blocks_of_boxes(boxes / 64, 16, 256)
    for n in range(3):
        for r in range(8):
            picture = torch.zeros(64, 64)
            x0, y0, x1, y1 = boxes[n, r].tolist()
            picture[y0:y1, x0:x1] = 1
            area = picture.view(16, 4, 16, 4).sum(dim=(1, 3)).flatten()
            ours = torch.zeros(257).scatter_add_(0, index[n, r], share[n, r])[:256]
            torch.testing.assert_close(ours, area / area.sum())
