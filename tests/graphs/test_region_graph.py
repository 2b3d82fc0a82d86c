"""Graphs over regions and words: their edges, norms and starts."""

from __future__ import annotations

import pytest
import torch

from crossgraph.graphs.region_graph import EdgeGraph, SemanticGraph, edge_weights, masked_l2norm, overlap


def test_overlap_is_the_share_of_the_common_area():
    boxes = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0], [1.0, 1.0, 1.0, 1.0]]])
    found = overlap(boxes, torch.ones(1, 4, dtype=torch.bool))[0]
    expected = torch.eye(4)
    expected[0, 1] = expected[1, 0] = 2 / 6
    expected[3, 3] = 0  # a box without area overlaps nothing
    torch.testing.assert_close(found, expected)
    hidden = overlap(boxes, torch.tensor([[True, False, True, True]]))[0]
    assert hidden[1].sum() == hidden[:, 1].sum() == 0


def test_edges_are_cosines_or_what_published_code_computes():
    nodes = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    cosine = torch.nn.functional.cosine_similarity(nodes[:, :, None], nodes[:, None], dim=-1)
    torch.testing.assert_close(edge_weights(nodes, "cosine"), cosine)
    products = nodes @ nodes.transpose(1, 2) / nodes.pow(2).sum(-1)[:, None]
    torch.testing.assert_close(edge_weights(nodes, "published"), products)
    assert torch.isfinite(edge_weights(torch.zeros(1, 2, 3), "published")).all()


def test_norms_run_over_features_or_over_real_regions():
    nodes, mask = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    torch.testing.assert_close(masked_l2norm(nodes, mask, "feature").norm(dim=-1), torch.ones(2, 5))
    by_region = masked_l2norm(nodes, mask, "region")
    torch.testing.assert_close(by_region[1, :3].norm(dim=0), torch.ones(3))
    assert by_region[1, 3:].abs().max() == 0


@pytest.mark.parametrize("layer", [SemanticGraph(3), EdgeGraph(3)])
def test_a_layer_starts_as_the_identity(layer):
    nodes, mask = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    taken = layer(nodes, mask) if isinstance(layer, SemanticGraph) else layer(nodes, torch.ones(2, 5, 5), mask)
    assert torch.equal(taken, nodes)


def test_padding_enters_the_statistics_only_where_published_code_lets_it():
    nodes, mask = torch.randn(2, 5, 3), torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    junk = nodes.masked_fill(~mask[..., None], 7.0)
    for statistics, same in (("real", True), ("published", False)):
        layer = EdgeGraph(3, statistics)
        torch.nn.init.ones_(layer.norm.weight)
        one, other = (layer(x, (x @ x.mT) * mask[:, None], mask)[mask] for x in (nodes, junk))
        assert torch.allclose(one, other, atol=1e-6) is same
