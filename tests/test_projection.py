"""Projection: token relevance laid on the bases that the token spells."""

from __future__ import annotations

import numpy as np
import pytest

from gexplain.projection import PROJECTIONS, project_copy, project_uniform

SPANS = np.array([[0, 0], [0, 3], [3, 4], [4, 9], [0, 0]])
RELEVANCE = np.array([10.0, 6.0, -2.0, 5.0, 20.0])


def test_uniform_shares_a_token_equally_among_its_bases():
    np.testing.assert_array_equal(project_uniform(RELEVANCE, SPANS, 9), [2, 2, 2, -2, 1, 1, 1, 1, 1])


def test_copy_gives_each_base_the_whole():
    np.testing.assert_array_equal(project_copy(RELEVANCE, SPANS, 9), [6, 6, 6, -2, 5, 5, 5, 5, 5])


def test_uniform_keeps_the_sum_of_tokens_with_a_span():
    generator = np.random.default_rng(0)
    ends = np.cumsum(generator.integers(1, 9, 100))
    spans = np.stack([np.append(0, ends[:-1]), ends], axis=1)
    relevance = generator.normal(size=100)
    assert project_uniform(relevance, spans, ends[-1]).sum() == pytest.approx(relevance.sum(), abs=1e-12)


def test_mirrored_spans_of_the_other_strand_are_laid_where_they_lie():
    np.testing.assert_array_equal(
        project_uniform(RELEVANCE, 9 - SPANS[:, ::-1], 9), project_uniform(RELEVANCE, SPANS, 9)[::-1]
    )


@pytest.mark.parametrize("name", list(PROJECTIONS))
def test_a_span_beyond_the_window_is_an_error(name):
    with pytest.raises(ValueError, match="leave the window of 8"):
        PROJECTIONS[name](RELEVANCE, SPANS, 8)
