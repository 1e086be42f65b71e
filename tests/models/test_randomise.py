"""Randomised models: random from the top down to where it is asked for, and the model's own below."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_checkpoint

import gexplain
from gexplain.models.randomise import n_blocks, randomise

SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC"]
DNABERT2 = [
    ("classifier.", "bert.pooler."),
    ("bert.encoder.layer.1.",),
    ("bert.encoder.layer.0.",),
    ("bert.embeddings.",),
]
CNN = [("classifier.",), ("dense.",), ("conv.",)]


@pytest.fixture(params=[("exact_model", DNABERT2), ("exact_cnn", CNN)], ids=["DNABERT-2", "CNN"])
def model_and_blocks(request):
    fixture, blocks = request.param
    return request.getfixturevalue(fixture), blocks


def changed(one, other) -> set[str]:
    states = one.network.state_dict(), other.network.state_dict()
    assert set(states[0]) == set(states[1])
    return {name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])}


def test_the_top_blocks_are_random_and_the_others_the_models_own(model_and_blocks):
    model, blocks = model_and_blocks
    assert n_blocks(model) == len(blocks)
    for n_top in range(len(blocks) + 1):
        prefixes = tuple(prefix for block in blocks[:n_top] for prefix in block)
        expected = {name for name in model.network.state_dict() if name.startswith(prefixes)} if prefixes else set()
        assert changed(model, randomise(model, n_top)) == expected
    assert expected == set(model.network.state_dict())


def test_the_original_is_untouched(model_and_blocks):
    model, blocks = model_and_blocks
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    logits, source = model.predict(SEQUENCES), model.checkpoint.source
    random = randomise(model, len(blocks))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())
    np.testing.assert_array_equal(model.predict(SEQUENCES), logits)
    assert model.checkpoint.source == source
    assert np.abs(random.predict(SEQUENCES) - logits).max() > 0.01


def test_a_seed_says_all(model_and_blocks):
    model, blocks = model_and_blocks
    one, same, other = (randomise(model, len(blocks), seed) for seed in (1, 1, 2))
    assert changed(one, same) == set()
    assert changed(one, other) == set(model.network.state_dict())


def test_more_blocks_go_on_from_fewer(model_and_blocks):
    model, blocks = model_and_blocks
    for n_top in range(1, len(blocks)):
        names = changed(randomise(model, n_top), randomise(model, n_top + 1))
        assert names
        assert all(name.startswith(blocks[n_top]) for name in names)


def test_tensors_keep_their_mean_and_spread(tmp_path):
    folder = tiny_checkpoint(tmp_path / "model", hidden_size=64, intermediate_size=96)
    model = gexplain.load_model(folder, device="cpu")
    random = randomise(model, n_blocks(model))
    for name, tensor in model.network.state_dict().items():
        drawn = random.network.state_dict()[name]
        if tensor.numel() > 1000:
            assert float(drawn.mean()) == pytest.approx(float(tensor.mean()), abs=0.03)
            assert float(drawn.std()) == pytest.approx(float(tensor.std()), rel=0.1)
        # Nothing of what was there is left, but for its spread.
        if tensor.numel() > 50:
            assert abs(np.corrcoef(tensor.ravel(), drawn.ravel())[0, 1]) < 0.5


def test_a_tensor_of_equal_values_keeps_them(exact_cnn, tmp_path):
    folder = tiny_checkpoint(tmp_path / "model", labels=["activity"], head="regression", n_targets=1)
    model = gexplain.load_model(folder, device="cpu")
    assert changed(model, randomise(model, 1)).isdisjoint({"classifier.bias"})
    assert "classifier.weight" in changed(model, randomise(model, 1))


def test_device_precision_classes_and_window_are_those_of_the_model(model_and_blocks):
    model, _ = model_and_blocks
    random = randomise(model, 1, seed=7)
    for name in ("kind", "device", "dtype", "labels", "head", "window"):
        assert getattr(random, name) == getattr(model, name)
    assert not any(parameter.requires_grad for parameter in random.network.parameters())


def test_it_says_that_it_is_no_longer_the_model(model_and_blocks):
    model, blocks = model_and_blocks
    random = randomise(model, 2, seed=7)
    assert random.checkpoint.source == f"{model.checkpoint.source}, top 2 of {len(blocks)} blocks random, seed 7"
    digests = {one.identity()["model"] for one in (model, random, randomise(model, 3, 7), randomise(model, 2, 8))}
    assert len(digests) == 4


@pytest.mark.parametrize("wrong", [-1, 5])
def test_more_blocks_than_there_are_is_an_error(exact_model, wrong):
    with pytest.raises(ValueError, match=f"{wrong} blocks to randomise; the model has 4"):
        randomise(exact_model, wrong)
