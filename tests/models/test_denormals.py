"""Denormal numbers: flushed while the model computes, on every thread that does, and nowhere else."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from gexplain.attribution.explainers import TokenExplainer
from gexplain.attribution.target import Target
from gexplain.models.denormals import are_denormals_flushed, flushed_denormals

SMALL = 2e-38  # half of it is denormal

with flushed_denormals():
    CAN_FLUSH = are_denormals_flushed()
needs_flushing = pytest.mark.skipif(not CAN_FLUSH, reason="this CPU cannot flush denormal numbers")


@needs_flushing
def test_they_are_flushed_while_it_lasts_and_kept_afterwards():
    assert not are_denormals_flushed()
    with flushed_denormals():
        with flushed_denormals():
            pass
        assert are_denormals_flushed()
    assert not are_denormals_flushed()


def test_an_error_brings_them_back():
    @flushed_denormals()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not are_denormals_flushed()


@needs_flushing
def test_they_are_flushed_on_all_threads_that_torch_begins_meanwhile():
    found = []

    def halve():
        with flushed_denormals():
            found.append(int((torch.full((1_000_000,), SMALL) * 0.5 > 0).sum()))

    thread = threading.Thread(target=halve)  # one for which torch has begun none yet
    thread.start()
    thread.join()
    assert found == [0]


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
        point = model.embed(ids).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model.logits(point, mask)[0, 0], point)
        return (point * gradient).sum(-1).detach().numpy()

    kept = relevance()
    with flushed_denormals():
        flushed = relevance()
    np.testing.assert_allclose(flushed, kept, rtol=1e-4, atol=1e-6 * np.abs(kept).max())
