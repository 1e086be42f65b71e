"""Levels: tokens made of nucleotides are what plain loops over their bases make."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.evaluation.levels import AGGREGATIONS, inside_tokens, spells
from gexplain.projection import project_copy, project_uniform

# [CLS], five tokens that tile 12 bases, [SEP]
SPANS = np.array([[0, 0], [0, 3], [3, 4], [4, 8], [8, 10], [10, 12], [0, 0]])
SLOW = {"sum": sum, "mean": lambda values: sum(values) / len(values), "max": max}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_each_aggregation_has_an_oracle():
    assert AGGREGATIONS.keys() == SLOW.keys()


@pytest.mark.parametrize("name", AGGREGATIONS)
@pytest.mark.parametrize(
    "spans",
    [SPANS, SPANS[1:-1], np.array([[2, 5], [7, 8], [9, 11]]), np.array([[7, 9], [2, 5]])],
    ids=["with special tokens", "without", "with bases between", "in another order"],
)
def test_tokens_are_what_a_loop_over_their_bases_gives(rng, name, spans):
    relevance = rng.normal(size=12).astype(np.float32)
    expected = [SLOW[name]([float(relevance[i]) for i in range(a, b)]) for a, b in spans.tolist() if b > a]
    tokens = AGGREGATIONS[name](relevance, spans)
    assert tokens.dtype == np.float64
    np.testing.assert_allclose(tokens, expected, rtol=1e-12)


def test_aggregation_by_hand():
    relevance = np.array([1, -2, 4, -5, 0, 0, 0, -8, -1, -3, 2, 2.0])
    assert AGGREGATIONS["sum"](relevance, SPANS).tolist() == [3, -5, -8, -4, 4]
    assert AGGREGATIONS["mean"](relevance, SPANS).tolist() == [1, -5, -2, -2, 2]
    assert AGGREGATIONS["max"](relevance, SPANS).tolist() == [4, -5, 0, -1, 2]


@pytest.mark.parametrize(
    ("project", "names"), [(project_uniform, ["sum"]), (project_copy, ["mean", "max"])], ids=["uniform", "copy"]
)
def test_aggregation_undoes_its_projection(rng, project, names):
    tokens = rng.normal(size=len(SPANS))
    for name in names:
        there_and_back = AGGREGATIONS[name](project(tokens, SPANS, 12), SPANS)
        np.testing.assert_allclose(there_and_back, tokens[1:-1], rtol=1e-12)


def test_the_sum_over_tokens_that_tile_is_the_sum_over_bases(rng):
    relevance = rng.normal(size=12)
    assert AGGREGATIONS["sum"](relevance, SPANS).sum() == pytest.approx(relevance.sum())


def test_tokens_that_spell_are_those_with_bases():
    assert spells(SPANS).tolist() == [False, True, True, True, True, True, False]


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_special_tokens_alone_have_no_relevance(name):
    assert AGGREGATIONS[name](np.ones(4), np.zeros((2, 2), dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("spans", [[[0, 13]], [[-1, 2]], [[5, 3]]])
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_spans_that_leave_the_sequence_are_refused(name, spans):
    with pytest.raises(ValueError, match="leave the sequence of 12"):
        AGGREGATIONS[name](np.zeros(12), np.array(spans))


def test_a_token_is_inside_with_half_of_its_bases():
    #                    3 bases  1  4 bases     2     2
    inside = np.array([1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 0], dtype=bool)
    assert inside_tokens(inside, SPANS).tolist() == [True, True, True, True, False]
    inside[[0, 5]] = False
    assert inside_tokens(inside, SPANS).tolist() == [False, True, False, True, False]


def test_inside_tokens_are_what_a_count_gives(rng):
    for _ in range(50):
        inside = rng.random(12) < 0.5
        expected = [sum(inside[a:b].tolist()) >= (b - a) / 2 for a, b in SPANS.tolist() if b > a]
        assert inside_tokens(inside, SPANS).tolist() == expected
