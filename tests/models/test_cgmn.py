"""What CGMN alone promises: its graphs' edges, its node score, its second loss."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from references.published import one_pass
from references.tiny_matcher import WORDS, tiny_split

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import Inputs
from crossgraph.models.cgmn import CGMN, CGMNConfig
from crossgraph.scoring.encode import encode_split
from crossgraph.scoring.engine import score_matrix
from crossgraph.text.packing import collate
from crossgraph.text.vocabulary import Vocabulary


def model(**choices):
    torch.manual_seed(0)
    made = CGMN(CGMNConfig(embed_size=8, word_size=6, **choices), Inputs(5, 13))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("norm.weight"):  # zero at the start: the graphs would do nothing
                parameter.fill_(1.0)
    return made.eval()


def regions(boxes=True):
    features = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))
    corner = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(2)) / 4
    return Regions(
        features, torch.ones(3, 4, dtype=torch.bool), torch.cat([corner, corner + 0.5], -1) if boxes else None
    )


def tokens(edges=None):
    ids = torch.tensor([[1, 4, 5, 6, 2], [1, 7, 8, 2, 0]])
    return Tokens(ids, torch.tensor([5, 4]), edges=edges)


def vectors(made, some):
    with torch.no_grad():
        return made.encode_texts(some).index


def test_edges_of_grammar_replace_the_fall_back_and_a_chain_given_as_edges_is_the_chain():
    made = model()
    chain = torch.tensor([[[0, 1], [1, 2], [2, 3], [3, 4]], [[0, 1], [1, 2], [2, 3], [-1, -1]]])
    torch.testing.assert_close(vectors(made, tokens(chain)), vectors(made, tokens()))
    grammar = torch.tensor([[[1, 3]], [[0, 2]]])
    assert (vectors(made, tokens(grammar)) - vectors(made, tokens())).abs().max() > 1e-3
    assert (vectors(model(without_edges="full"), tokens()) - vectors(made, tokens())).abs().max() > 1e-3


def test_edges_that_reach_beyond_a_caption_are_skipped():
    made = model()
    beyond = torch.tensor([[[1, 3], [-1, -1]], [[0, 2], [1, 4]]])
    inside = torch.tensor([[[1, 3], [-1, -1]], [[0, 2], [-1, -1]]])
    assert torch.equal(vectors(made, tokens(beyond)), vectors(made, tokens(inside)))


def test_a_split_s_edges_reach_the_score():
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])
    plain = tiny_split(images=4)
    edges = [[(0, min(2, len(caption.split())))] for caption in plain.captions]
    made = model()
    split = dataclasses.replace(plain, edges=edges)
    matrix = score_matrix(made, encode_split(made, vocabulary, split))
    with torch.no_grad():
        images = made.encode_images(plain.features.read(range(4)))
        texts = made.encode_texts(collate([vocabulary.encode(caption) for caption in plain.captions], edges))
        expected = made.score_block(images, texts)
    torch.testing.assert_close(torch.from_numpy(matrix), expected, rtol=0, atol=1e-5)
    assert abs(matrix - score_matrix(made, encode_split(made, vocabulary, plain))).max() > 1e-3


def test_boxes_are_asked_for_where_the_graph_needs_them_and_change_the_nodes():
    with_boxes = model(spatial_layers=2)
    with pytest.raises(InputError, match=r"graph of overlapping boxes.*spatial_layers 0"):
        with_boxes.encode_images(regions(boxes=False))
    apart = dataclasses.replace(
        regions(), boxes=torch.tensor([[0.0, 0, 0.1, 0.1], [0.9, 0.9, 1, 1]] * 2).expand(3, 4, 4)
    )
    with torch.no_grad():
        difference = with_boxes.encode_images(regions()).index - with_boxes.encode_images(apart).index
    assert difference.abs().max() > 1e-3
    model().encode_images(regions(boxes=False))


def test_the_node_score_adds_up_each_word_s_best_cosine():
    made = model()
    with torch.no_grad():
        images, texts = made.encode_images(regions()), made.encode_texts(tokens())
        scores = made.node_scores(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]
    for picture in range(3):
        for caption, length in enumerate((5, 4)):
            pairs = torch.nn.functional.cosine_similarity(
                images.local[picture][None], texts.local[caption, :length, None], dim=-1
            )
            torch.testing.assert_close(scores[picture, caption], pairs.amax(dim=1).sum(), rtol=0, atol=1e-5)


def test_node_matching_is_a_third_of_a_second_term_and_can_be_left_out():
    pictures = regions().select(torch.tensor([0, 1]))
    with torch.no_grad():
        whole, _ = one_pass(model(matching_weight=1.0), pictures, tokens(), "hardest")
        third, _ = one_pass(model(), pictures, tokens(), "sum")
        none, _ = one_pass(model(matching_weight=0.0), pictures, tokens(), "sum")
    torch.testing.assert_close(third["matching"], whole["matching"] / 3)  # all negatives, whatever the recipe says
    assert set(third) == {"ranking", "matching"}
    assert set(none) == {"ranking"}


@pytest.mark.parametrize(
    "choices, words",
    [
        ({"embed_size": 0}, "model.config.embed_size is 0"),
        ({"spatial_layers": -1}, "model.config.spatial_layers is -1"),
        ({"matching_weight": -0.5}, "model.config.matching_weight is -0.5"),
        ({"matching_margin": float("nan")}, "model.config.matching_margin is nan"),
    ],
)
def test_what_makes_no_model_is_refused(choices, words):
    with pytest.raises(InputError, match=words):
        CGMNConfig(**choices)
