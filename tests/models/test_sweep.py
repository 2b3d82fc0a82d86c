"""What every registered model promises, whatever it is: add a model, and these run on it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge, prescribed_loss
from crossgraph.models.base import MODELS, Batch, Inputs, Progress

INPUTS = Inputs(feature_size=20, vocabulary_size=30)
SMALL = {"embed_size": 16, "word_size": 12, "sim_size": 8}

# Choices within a registered model that take other ways than its defaults: "model field=choice ..."
# Two steps where the mean is read: after three fresh ones all nodes agree to 17 digits, and so do the edges.
VARIANTS = [
    "sgr steps=0",
    "sgr steps=0 nodes=global",
    "sgr steps=0 nodes=local",
    "sgr steps=1",
    "sgr nodes=local steps=2",
    "sgr attention=i2t",
    "sgr attention=i2t nodes=local",
    "saf nodes=local",
    "saf attention=i2t",
    "saf attention_statistics=per_batch attention=i2t nodes=local",
    "sgraf-average similarity=scalar",
    "sgraf-average similarity=scalar attention=i2t",
    "sgraf-average similarity=scalar nodes=both",
    "sgraf-average attention=i2t nodes=both",
    "sgraf-average nodes=global",
    "sgraf-joint nodes=local steps=2",
    "sgraf-joint attention=i2t steps=1",
    "cgmn spatial_layers=2",
    "cgmn spatial_layers=1 region_norm=region edge_weight=published without_edges=full",
    "cgmn read_out=mean semantic_layers=1",
    "vsepp image_norm=none",
    "vsepp signs=absolute",
    "vsrn input_norm=none node_norm=region read_norm=none",
    "vsrn input_norm=region layers=1",
    "vsrn captioning=attention captioning_size=10",
    "gpo text_norm=none text_direction=forward",
    "scan attention=i2t aggregation=lse",
    "scan aggregation=lse",
    "scan aggregation=max",
    "scan attention=i2t aggregation=sum",
    "scan affinity_norm=softmax",
    "scan affinity_norm=l2norm",
    "scan affinity_norm=clipped attention=i2t",
    "scan affinity_norm=no_norm",
    "scan region_layer=weight_norm text_direction=forward",
    "scan image_norm=none text_norm=none",
    "bfan focus=equal",
    "bfan text_direction=forward",
    "imram form=image",
    "imram form=text memory_norm=l2",
    "imram steps=1",
    "imram form=image steps=2 affinity_norm=l2norm",
    "pfan attention=i2t",
    "pfan aggregation=lse position_size=4 grid=4",
    "pfan aggregation=max blocks=40",
    "gsmn boxes=zero",
    "gsmn messages=dense",
    "gsmn messages=sparse",
    "camp negatives=all",
    "camp loss=ranking",
    "camp form=gate_fusion",
    "camp form=cross_attention text_norm=l2 loss=ranking",
    "camp form=cross_attention_new loss=ranking",
    "camp form=cross_attention_new word_average=published_50 loss=ranking",
    "hsc region_layers=1 word_layers=0",
    "hsc attention=i2t text_direction=forward word_layers=1 region_layers=0",
    "tshsr fusion=learned levels=2",
    "tshsr interaction=replace levels=1",
    "tshsr streams=t2i",
    "tshsr streams=i2t context_nodes=1",
    "dp-rnn recurrent=none",
    "dp-rnn text_direction=forward image_norm=none",
    "mmca heads=2 text_direction=forward",
]

# Scores that add up several cosines drift by as much more.
SUMMED = {"bfan": 2, "imram": 6}


def make(name, seed=0, **choices):
    """Build a small model with every weight and statistic random."""
    torch.manual_seed(seed)
    name, *own = name.split()
    choices |= {key: int(value) if value.isdigit() else value for key, value in (word.split("=") for word in own)}
    family = MODELS[name]
    fields = {item.name for item in dataclasses.fields(family.Config)}
    config = family.Config(**{k: v for k, v in (SMALL | choices).items() if k in fields})
    model = family(config, INPUTS)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("running_var") or ("norm" in key and key.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif key.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.1)
    return model.eval()


def some_regions(count=5, regions=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, regions, INPUTS.feature_size, generator=generator)
    low = torch.rand(count, regions, 2, generator=generator) / 3
    boxes = torch.cat([low, low + 0.4], dim=-1)
    return Regions(features, torch.ones(count, regions, dtype=torch.bool), boxes)


def some_tokens(lengths=(9, 3, 6, 2, 5), width=None, seed=2):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, INPUTS.vocabulary_size, (length,), generator=generator)
    return Tokens(ids, torch.tensor(lengths))


def scores(model, regions, tokens):
    with torch.no_grad():
        return model.score_block(model.encode_images(regions), model.encode_texts(tokens))


def training_loss(model, regions, tokens, negatives):
    """The sum of the terms that the model names."""
    batch = Batch(regions, tokens, torch.arange(len(tokens)))
    same = torch.eye(len(tokens), dtype=torch.bool)

    def ranking(matrix, prescribed=None):
        if prescribed is not None:
            return prescribed_loss(prescribed, matrix, same)
        return hinge(matrix, same, 0.2, negatives)

    images, texts = model.encode_images(regions), model.encode_texts(tokens)
    return torch.stack(list(model.losses(images, texts, batch, ranking, Progress()).values())).sum()


@pytest.fixture(params=[*MODELS, *VARIANTS])
def name(request):
    return request.param


def test_scores_are_one_finite_number_a_pair(name):
    matrix = scores(make(name), some_regions(5), some_tokens())
    assert matrix.shape == (5, 5)
    assert torch.isfinite(matrix).all()
    assert matrix.std() > 0


def test_one_caption_alone_scores_as_in_a_long_batch(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    together = scores(model, regions, tokens)
    for row in range(len(tokens)):
        length = int(tokens.lengths[row])
        alone = Tokens(tokens.ids[row : row + 1, :length], tokens.lengths[row : row + 1])
        torch.testing.assert_close(scores(model, regions, alone)[:, 0], together[:, row], rtol=0, atol=1e-5)


def test_more_padding_and_what_stands_in_it_change_nothing(name):
    model, regions, tokens = make(name), some_regions(), some_tokens(width=14)
    filled = torch.where(tokens.mask, tokens.ids, torch.full_like(tokens.ids, 7))
    torch.testing.assert_close(
        scores(model, regions, Tokens(filled, tokens.lengths)),
        scores(model, regions, some_tokens()),
        rtol=0,
        atol=1e-5,
    )


def test_the_order_of_captions_and_pictures_does_not_matter(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    pictures, captions = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(
        scores(model, regions.select(pictures), tokens.select(captions)),
        scores(model, regions, tokens)[pictures][:, captions],
        rtol=0,
        atol=1e-5,
    )


def test_the_order_of_regions_matters_where_the_model_says_so(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    shuffled = Regions(regions.features[:, order], regions.mask, regions.boxes[:, order])
    drift = (scores(model, shuffled, tokens) - scores(model, regions, tokens)).abs().max()
    assert (drift > 1e-3) if model.reads_region_order else (drift < 1e-5)


def test_masked_regions_change_nothing(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    junk, hidden = torch.full((5, 3, INPUTS.feature_size), 9.0), torch.zeros(5, 3, dtype=torch.bool)
    padded = Regions(
        torch.cat([regions.features[:, :4], junk, regions.features[:, 4:]], dim=1),  # as when regions are dropped
        torch.cat([regions.mask[:, :4], hidden, regions.mask[:, 4:]], dim=1),
        torch.cat([regions.boxes[:, :4], torch.ones(5, 3, 4), regions.boxes[:, 4:]], dim=1),
    )
    torch.testing.assert_close(scores(model, padded, tokens), scores(model, regions, tokens), rtol=0, atol=1e-5)


def test_a_short_list_s_score_is_the_matrix_entry(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        matrix = model.score_block(images, texts)
        lists = torch.tensor([[0, 3], [1, 1], [4, 2], [2, 0], [3, 4]])  # two pictures for each caption
        short = model.score(images.map(lambda t: t[lists]), texts.map(lambda t: t[:, None]))
    assert short.shape == (5, 2, 1)
    expected = torch.stack([matrix[lists[j], j] for j in range(5)])
    torch.testing.assert_close(short[:, :, 0], expected, rtol=0, atol=1e-5)


def test_the_alignment_s_score_is_the_matrix_entry_and_its_weights_are_shares(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        matrix = model.score_block(images, texts)
        for i, j in ((0, 0), (4, 1), (2, 3)):
            attention = model.align(images.select(slice(i, i + 1)), texts.select(slice(j, j + 1)))
            length = int(tokens.lengths[j])
            assert attention.weights.shape == (length, 7)
            assert attention.significance.shape == (length,)
            torch.testing.assert_close(attention.score, matrix[i, j], rtol=0, atol=1e-5)
            torch.testing.assert_close(attention.weights.sum(dim=1), torch.ones(length))
            assert attention.significance.min() >= 0
            assert attention.significance.sum() <= 1 + 1e-5


def test_codes_without_a_group_axis_or_of_other_widths_are_refused(name):
    model = make(name)
    with torch.no_grad():
        images, texts = model.encode_images(some_regions()), model.encode_texts(some_tokens())
    with pytest.raises(ValueError, match="group axis"):
        model.score(images, texts)
    with pytest.raises(ValueError, match="differ in groups"):
        model.score(images.map(lambda t: t[:, None]), texts.map(lambda t: t[None]))


def test_the_folded_form_scores_the_same(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    with torch.no_grad():
        images = model.encode_images(regions).map(lambda t: t[None])
        texts = model.encode_texts(tokens).map(lambda t: t[None])
        torch.testing.assert_close(model.fold().score(images, texts), model.score(images, texts), rtol=0, atol=1e-5)


def test_every_parameter_learns_but_those_said_to_be_dead(name):
    model = make(name).double().train()  # in float64 what is zero by construction is below 1e-13 of the rest
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    regions = some_regions().map(lambda t: t.double() if t.is_floating_point() else t)
    training_loss(model, regions, some_tokens(), "sum").backward()
    gradients = {key: p.grad for key, p in model.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    still = {key for key, gradient in gradients.items() if gradient.norm() <= 1e-13 * total}
    assert still == set(model.dead_parameters())


def test_state_survives_saving(name, tmp_path):
    from crossgraph.runs import RunInfo, describe_model, load_run, save_run
    from crossgraph.text.vocabulary import Vocabulary

    words = [f"w{i}" for i in range(INPUTS.vocabulary_size - 4)]
    vocabulary = Vocabulary.build([" ".join(words)], minimum=1)
    model, regions, tokens = make(name), some_regions(), some_tokens()
    registered = name.split()[0]
    save_run(tmp_path / "run", model, vocabulary, RunInfo(registered, **describe_model(model)))
    again = load_run(tmp_path / "run")
    assert again.info.model == registered
    assert again.model.config == model.config
    assert again.vocabulary.words == vocabulary.words
    assert torch.equal(scores(again.model, regions, tokens), scores(model, regions, tokens))


def test_bfloat16_drifts_little(name):
    model, regions, tokens = make(name), some_regions(), some_tokens()
    exact = scores(model, regions, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drifted = scores(model, regions, tokens)
    assert (drifted - exact).abs().max() < 0.02 * SUMMED.get(name.split()[0], 1)


@pytest.mark.slow
def test_it_overfits_32_pairs(name):
    torch.manual_seed(0)
    model = make(name, dropout=0.0).train()
    regions = some_regions(32)
    tokens = some_tokens(tuple(3 + i % 6 for i in range(32)))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(400):
        loss = training_loss(model, regions, tokens, "sum" if step < 200 else "hardest")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    matrix = scores(model.eval(), regions, tokens)
    assert (matrix.argmax(dim=1) == torch.arange(32)).all()
    assert (matrix.argmax(dim=0) == torch.arange(32)).all()
