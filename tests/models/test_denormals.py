"""Denormal numbers: flushed while a model computes, on every thread that does."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.models.denormals import are_denormals_flushed, flushed_denormals
from gexplain.models.rules import ATTN_LRP

with flushed_denormals():
    CAN_FLUSH = are_denormals_flushed()
needs_flushing = pytest.mark.skipif(not CAN_FLUSH, reason="this CPU cannot flush denormal numbers")


@needs_flushing
def test_an_error_brings_them_back():
    @flushed_denormals()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not are_denormals_flushed()


@needs_flushing
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_within_another_ends_alone_whatever_torch_takes_for_its_numbers(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with flushed_denormals():
            with flushed_denormals():
                pass
            assert are_denormals_flushed()
        assert not are_denormals_flushed()
    finally:
        torch.set_default_dtype(before)


# In a process of its own: the tests give torch one thread, and what helps a thread is begun once.
COUNT = """
import sys
import numpy as np
import torch
import gexplain
from gexplain.attribution.attnlrp import relevance_of_batch
from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.genome.fasta import Genome
from gexplain.pipeline import read_windows
from gexplain.windows import Window

assert torch.get_num_threads() == 2
model = gexplain.load_model(sys.argv[1])
genome = Genome(sys.argv[2])
found = []


def count(*_):
    found.append(int((torch.full((1_000_000,), 2e-38) * 0.5 > 0).sum()))


model.network.classifier.register_forward_hook(count)
model.predict(["ACGTACGTACGT"])
list(read_windows([Window("chr1", 0, 40, "+")], genome, TokenExplainer(model), Target((0,), ("a",))))
print(*found)
"""


@needs_flushing
def test_they_are_flushed_on_the_threads_that_help(checkpoint_dir, tmp_path):
    (tmp_path / "genome.fa").write_text(">chr1\n" + "ACGTTGCA" * 5 + "\n")
    words = [sys.executable, "-c", COUNT, str(checkpoint_dir), str(tmp_path / "genome.fa")]
    told = subprocess.run(
        words, env=os.environ | {"OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=False
    )
    assert told.stdout.split() == ["0", "0"], told.stderr


@needs_flushing
@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.predict(["ACGTACGTACGT"]),
        lambda model: TokenExplainer(model).read(["ACGTACGTACGT"], Target((0,), ("a",))),
    ],
    ids=["predict", "read"],
)
def test_the_model_computes_without_them(use, model):
    seen = []
    hook = model.network.classifier.register_forward_hook(lambda *_: seen.append(are_denormals_flushed()))
    try:
        use(model)
    finally:
        hook.remove()
    assert seen == [True]
    assert not are_denormals_flushed()


def test_relevance_is_the_same_without_them(model):
    # Long enough that attention's weights of far tokens are denormal, or were.
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 3_000))
    ids, mask = model.pad(model.tokens([sequence]))

    def relevance():
        found = relevance_of_batch(model.network, ids, mask, Target((0,), ("a",)), rules=ATTN_LRP)
        return found.token_relevance.numpy()

    kept = relevance()
    with flushed_denormals():
        flushed = relevance()
    np.testing.assert_allclose(flushed, kept, rtol=1e-4, atol=1e-6 * np.abs(kept).max())
