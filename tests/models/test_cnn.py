"""The CNN: its logits, its checkpoints, and the surface that it shares with DNABERT-2."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import CnnOracle
from safetensors.torch import load_file, save_file
from tiny import tiny_cnn, tiny_cnn_state

import gexplain
from gexplain.errors import InputError, ModelError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.models.cnn import Cnn, CnnConfig, one_hot, parameter_shapes, random_cnn_state, save_cnn_checkpoint

CONFIG = CnnConfig(n_targets=3, n_filters=12, filter_width=7, hidden=5)
SEQUENCES = ["ACGTTGCATTAGGCATCGACGTGTA", "TTTTAGC", "CACGTGNNACGTTATAACGTGACCATGACA", "NNNNNNNNNNNNCA", "A"]


def network(seed: int = 0, **how: float) -> Cnn:
    cnn = Cnn(CONFIG, **how).double().eval()
    cnn.load_state_dict(tiny_cnn_state(CONFIG, seed))
    return cnn


def logits(cnn: Cnn, sequences: list[str]) -> np.ndarray:
    one_hot_B4L, mask_BL = one_hot(sequences)
    return cnn(one_hot_B4L.double(), mask_BL).detach().numpy()


# -- the network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_logits_equal_the_slow_oracle(seed):
    cnn = network(seed)
    oracle = CnnOracle(cnn.state_dict())
    expected = np.stack([oracle.forward(sequence) for sequence in SEQUENCES])
    np.testing.assert_allclose(logits(cnn, SEQUENCES), expected, atol=1e-12)


def test_padding_changes_no_logit():
    cnn = network()
    with torch.no_grad():
        cnn.conv.bias.fill_(1.0)  # what an unmasked filter would find in padding
    together = logits(cnn, SEQUENCES)
    for sequence, row in zip(SEQUENCES, together, strict=True):
        one_hot_B4L, _ = one_hot([sequence])
        np.testing.assert_allclose(cnn(one_hot_B4L.double())[0].detach(), row, atol=1e-12)


def test_one_hot_has_a_row_a_base_and_nothing_for_other_letters():
    one_hot_B4L, mask_BL = one_hot(["ACGTN", "RÉA"])
    expected = np.zeros((2, 4, 5))
    for row, base, place in ((0, 0, 0), (0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 0, 2)):
        expected[row, base, place] = 1
    np.testing.assert_array_equal(one_hot_B4L, expected)
    np.testing.assert_array_equal(mask_BL, [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert (one_hot_B4L.dtype, mask_BL.dtype) == (torch.float32, torch.bool)


@pytest.mark.parametrize("wrong", [["ACGT", "acgt"], ["ACGT", ""], ["AC GT"], [" ACGT"], ["ACGT\n"], ["AC", "\t"]])
def test_one_hot_refuses_what_is_no_sequence(wrong):
    with pytest.raises(ValueError, match="upper-case letters without whitespace"):
        one_hot(wrong)


def test_dropout_acts_in_training_only():
    dropped = network(dropout=0.5)
    np.testing.assert_array_equal(logits(dropped, SEQUENCES), logits(network(), SEQUENCES))
    dropped.train()
    torch.manual_seed(0)
    assert not np.array_equal(logits(dropped, SEQUENCES), logits(dropped, SEQUENCES))


def test_the_random_state_is_that_of_its_seed_and_torch_s_own_width():
    one, again, other = (random_cnn_state(CONFIG, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    Cnn(CONFIG).load_state_dict(one)
    inputs = {"conv": 4 * 7, "dense": 12, "classifier": 5}
    for name, tensor in one.items():
        assert torch.equal(tensor, again[name])
        assert not torch.equal(tensor, other[name])
        assert tensor.abs().max() <= 1 / math.sqrt(inputs[name.partition(".")[0]])
    conv = one["conv.weight"] * math.sqrt(inputs["conv"])
    assert conv.abs().max() > 0.95
    assert conv.var() == pytest.approx(1 / 3, rel=0.15)


@pytest.mark.parametrize("wrong", [{"n_filters": 0}, {"filter_width": 8}, {"hidden": 0}, {"n_targets": 0}])
def test_sizes_that_no_cnn_has_are_refused(wrong):
    with pytest.raises(ValueError, match="filter width must be odd"):
        CnnConfig(**{"n_targets": 3, **wrong})


# -- checkpoints --------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(tmp_path):
    folder = tiny_cnn(tmp_path / "cnn", labels=["a", "b"], head="multi_label", window=101)
    model = gexplain.load_model(folder, device="cpu")
    saved = load_file(folder / "model.safetensors")
    assert (model.labels, model.head, model.window, model.kind) == (("a", "b"), "multi_label", 101, "CNN")
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == parameter_shapes(model.network.config)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, saved[name])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_no_training_window_is_none(tmp_path):
    assert gexplain.load_model(tiny_cnn(tmp_path / "cnn"), device="cpu").window is None


def test_float16_weights_run_in_float32(tmp_path):
    whole = gexplain.load_model(tiny_cnn(tmp_path / "whole"), device="cpu")
    half = gexplain.load_model(tiny_cnn(tmp_path / "half", dtype=torch.float16), device="cpu")
    assert json.loads((tmp_path / "half" / "config.json").read_text())["torch_dtype"] == "float16"
    assert {parameter.dtype for parameter in half.network.parameters()} == {torch.float32}
    assert half.predict(SEQUENCES).dtype == np.float32
    np.testing.assert_allclose(half.predict(SEQUENCES), whole.predict(SEQUENCES), atol=0.02)
    assert not np.array_equal(half.predict(SEQUENCES), whole.predict(SEQUENCES))


def test_a_weights_file_means_its_folder(cnn_dir):
    assert gexplain.load_model(cnn_dir / "model.safetensors", device="cpu").kind == "CNN"


def test_the_kinds_are_told_apart_by_their_config(checkpoint_dir, cnn_dir):
    assert [gexplain.load_model(one, device="cpu").kind for one in (checkpoint_dir, cnn_dir)] == ["DNABERT-2", "CNN"]


def configure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != ""}))


def alter(folder: Path, **tensors: torch.Tensor | None) -> None:
    state = load_file(folder / "model.safetensors")
    state |= {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, folder / "model.safetensors")


DAMAGES = {
    "config.json has n_filters None; expected a whole number": lambda at: configure(at, n_filters=""),
    "config.json has hidden True": lambda at: configure(at, hidden=True),
    "sizes that no CNN has": lambda at: configure(at, filter_width=8),
    "tensors do not fit a CNN of 13 filters of 7 bases": lambda at: configure(at, n_filters=13),
    "config.json has id2label for 0; the classifier has 3 rows": lambda at: configure(at, id2label={"0": "a"}),
    "unknown problem_type 'magic'": lambda at: configure(at, problem_type="magic"),
    "config.json has gexplain_window 'wide'": lambda at: configure(at, gexplain_window="wide"),
    "missing: dense.bias": lambda at: alter(at, dense_bias=None),
    "unexpected: pool.weight": lambda at: alter(at, pool_weight=torch.zeros(1)),
    "NaN or infinite weights: dense.bias": lambda at: alter(at, dense_bias=torch.full((5,), math.nan)),
    "quantised weights": lambda at: alter(at, dense_bias=torch.zeros(5, dtype=torch.int8)),
    "no weights; found config.json": lambda at: (at / "model.safetensors").unlink(),
    "damaged safetensors file": lambda at: (at / "model.safetensors").write_bytes(b"x"),
    "config.json: not JSON": lambda at: (at / "config.json").write_text("{"),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_a_broken_folder_is_told_with_its_mend(tmp_path, told):
    folder = tiny_cnn(tmp_path / "cnn")
    DAMAGES[told](folder)
    with pytest.raises(ModelError) as raised:
        gexplain.load_model(folder, device="cpu")
    assert told in str(raised.value)
    assert raised.value.message.startswith(str(folder))
    assert raised.value.hint


def test_save_refuses_what_does_not_fit(tmp_path):
    state = random_cnn_state(CONFIG, torch.Generator())
    with pytest.raises(ValueError, match="3 targets"):
        save_cnn_checkpoint(tmp_path, state, CONFIG, labels=["a", "b"], head="classification")
    with pytest.raises(ValueError, match="tensors and shapes"):
        save_cnn_checkpoint(tmp_path, {}, CONFIG, labels=["a", "b", "c"], head="classification")
    assert list(tmp_path.iterdir()) == []


# -- predictions, of both kinds of model --------------------------------------------------------------------


@pytest.fixture(params=["exact_model", "exact_cnn"])
def either(request):
    """One model of each kind, in float64."""
    return request.getfixturevalue(request.param)


def test_predictions_are_the_network_s(exact_cnn):
    expected = logits(exact_cnn.network, SEQUENCES)
    np.testing.assert_allclose(exact_cnn.predict(SEQUENCES, strand="forward"), expected, atol=1e-12)


def test_predict_reads_both_strands_and_averages(either):
    turned = [reverse_complement(sequence) for sequence in SEQUENCES]
    forward, reverse = (either.predict(SEQUENCES, strand=strand) for strand in ("forward", "reverse"))
    assert np.abs(forward - reverse).max() > 0.01
    np.testing.assert_allclose(reverse, either.predict(turned, strand="forward"), atol=1e-12)
    np.testing.assert_allclose(either.predict(SEQUENCES), (forward + reverse) / 2, atol=1e-12)
    np.testing.assert_allclose(either.predict(SEQUENCES), either.predict(turned), atol=1e-12)


def test_batch_size_does_not_matter(either):
    for batch_size in (1, 3):
        np.testing.assert_allclose(
            either.predict(SEQUENCES, batch_size=batch_size), either.predict(SEQUENCES), atol=1e-12
        )


def test_no_sequences_have_no_logits(either):
    assert either.predict([]).shape == (0, 3)


def test_another_strand_is_a_usage_error(either):
    with pytest.raises(UsageError, match="no strand '\\+'"):
        either.predict(SEQUENCES, strand="+")


def test_lower_case_is_told_with_the_place_of_the_sequence(either):
    with pytest.raises(InputError, match="sequence 2"):
        either.predict(["ACGT", "ACGT", "ACgt"])


@pytest.mark.parametrize("wrong", ["", "AC GT"])
def test_what_is_no_sequence_is_refused(either, wrong):
    with pytest.raises(ValueError, match=r"not (a sequence|sequences)"):
        either.predict(["ACGT", wrong])


def test_the_parameters_are_frozen(either):
    assert not any(parameter.requires_grad for parameter in either.network.parameters())


def test_bfloat16_is_not_for_a_cnn(cnn_dir):
    with pytest.raises(UsageError, match="bfloat16"):
        gexplain.load_model(cnn_dir, device="cpu", dtype="bfloat16")


def test_cpu_and_other_devices_agree(cnn_dir, exact_cnn, device):
    there = gexplain.load_model(cnn_dir, device=device)
    np.testing.assert_allclose(there.predict(SEQUENCES), exact_cnn.predict(SEQUENCES), atol=1e-4)
