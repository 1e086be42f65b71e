"""Passes: what each method costs, counted where all paths meet."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from gexplain.attribution.deeplift import N_REFERENCES
from gexplain.attribution.explainers import METHODS, TokenExplainer
from gexplain.attribution.gradients import IG_STEPS
from gexplain.attribution.passes import count_passes
from gexplain.attribution.target import Target

SEQUENCE = "ACGTTGCATTAGGCATCGACGTGTA"
ONE, ALL = Target((1,), ("promoter",)), Target((0, 1, 2), ("none", "promoter", "enhancer"))
L = len(SEQUENCE)

# Rows forward and backward of one sequence, read on one strand, for one explained value.
COSTS = {
    "attnlrp": (1, 1),
    "cplrp": (1, 1),
    "gradient-x-input": (1, 1),
    "saliency": (1, 1),
    "integrated-gradients": (IG_STEPS + 2, IG_STEPS),  # the two ends of the way are read, too
    "attention": (1, 0),
    "attention-rollout": (1, 0),
    "occlusion-base": (L + 1, 0),
    "ism": (3 * L + 1, 0),
    "random": (1, 0),
    "lrp": (1, 1),
    "deeplift": (1 + 2, 2),  # the logits, then sequence and baseline together
    "deeplift-shap": (1 + 2 * N_REFERENCES, 2 * N_REFERENCES),
}


@pytest.mark.parametrize(("kind", "method"), [(kind, one) for kind, methods in METHODS.items() for one in methods])
def test_passes_are_what_the_method_says(request, kind, method):
    if METHODS[kind][method].needs and find_spec(METHODS[kind][method].needs) is None:
        pytest.skip(f"needs {METHODS[kind][method].needs}")
    model = request.getfixturevalue({"DNABERT-2": "exact_model", "CNN": "exact_cnn"}[kind])
    n_tokens = len(model.tokens([SEQUENCE])[0].ids) - 2
    forward, backward = COSTS.get(method, (n_tokens + 1, 0))
    explainer = TokenExplainer(model, method)
    with count_passes(model) as passes:
        explainer.read([SEQUENCE], ONE)
    assert (passes.forward, passes.backward) == (forward, backward)
    assert passes.forward_equivalents == forward + backward
    with count_passes(model) as passes:
        explainer.read([SEQUENCE, "TTTT"], ONE, ".")
        explainer.read([SEQUENCE], ONE)
    if method in COSTS and method not in ("ism", "occlusion-base"):  # those cost by the base
        assert (passes.forward, passes.backward) == (5 * forward, 5 * backward)
    if method == "ism":
        assert passes.forward == 3 * forward + 2 * (3 * len("TTTT") + 1)


def test_every_explained_value_has_a_backward_pass_of_its_own(exact_model):
    with count_passes(exact_model) as passes:
        TokenExplainer(exact_model).read([SEQUENCE] * 4, ALL)
    assert (passes.forward, passes.backward) == (4, 12)


def test_counting_ends_with_the_block_and_leaves_no_hook(exact_model):
    with count_passes(exact_model) as passes:
        pass
    exact_model.predict([SEQUENCE])
    assert (passes.forward, passes.backward) == (0, 0)
    assert not exact_model.network.classifier._forward_hooks
