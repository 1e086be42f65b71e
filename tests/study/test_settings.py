"""Settings: every choice there is can be named, and what cannot be done is told at once."""

from __future__ import annotations

import pytest

from gexplain.attribution.explainers import METHODS
from gexplain.errors import UsageError
from gexplain.evaluation.levels import AGGREGATIONS
from gexplain.evaluation.metrics import METRICS
from gexplain.inputs import CHOICES
from gexplain.projection import PROJECTIONS
from gexplain.study.settings import METRIC_NAMES, EvaluateSettings


def test_every_metric_can_be_named():
    assert set(METRIC_NAMES) == {*METRICS, "similarity"}
    for name in METRIC_NAMES:
        settings = EvaluateSettings(metrics=(name,))
        assert [one for one in METRIC_NAMES if settings.wants(one)] == [name]


def test_by_default_every_metric_is_wanted():
    assert all(EvaluateSettings().wants(name) for name in METRIC_NAMES)


def test_every_method_projection_and_aggregation_can_be_named():
    of_all = {name for of_kind in METHODS.values() for name in of_kind}
    assert {*CHOICES["method"]} == {"auto", *of_all}
    assert {*CHOICES["projection"]} == {*PROJECTIONS}
    EvaluateSettings(methods=sorted(of_all), projections=tuple(PROJECTIONS), aggregations=tuple(AGGREGATIONS))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"methods": ("attnlpr", "ism")}, "unknown methods: attnlpr"),
        ({"methods": ("auto",)}, "unknown methods: auto"),
        ({"methods": ("ism", "ism")}, "methods named twice: ism, ism"),
        ({"metrics": ("delta",)}, "unknown metrics: delta"),
        ({"projections": ("mean",)}, "unknown projections: mean"),
        ({"projections": ()}, "no projections"),
        ({"aggregations": ("median",)}, "unknown aggregations: median"),
        ({"aggregations": ()}, "no aggregations"),
        ({"draws": 0}, "draws 0; expected at least 1"),
        ({"sample": 0}, "sample 0"),
        ({"costly": -1}, "costly -1"),
        ({"costly": 3}, "costly 3; expected 0, or at least 5"),
        ({"costly": 0, "metrics": ("gini", "sanity", "robustness")}, "costly 0 measures no sanity, robustness"),
        ({"mutants": 0}, "mutants 0"),
        ({"shifts": 0}, "shifts 0"),
        ({"window": 9}, "window 9; expected at least 10"),
        ({"seed": -1}, "seed -1"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"substitution": "zeros"}, "unknown substitution: zeros"),
        ({"explained": "probability"}, "unknown explained: probability"),
        ({"dtype": "float16"}, "unknown dtype: float16"),
        ({"strict": True, "on_bad_line": "skip"}, "strict"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_error_with_its_mend(changed, told):
    with pytest.raises(UsageError) as raised:
        EvaluateSettings(**changed)
    assert told in raised.value.message
    assert raised.value.hint


def test_localisation_by_name_needs_the_true_sites():
    EvaluateSettings(metrics=("localisation",)).check_truth(True)
    EvaluateSettings().check_truth(False)  # all that can be measured
    with pytest.raises(UsageError, match="localisation without true sites"):
        EvaluateSettings(metrics=("gini", "localisation")).check_truth(False)


def test_costly_0_is_all_that_is_not_costly():
    assert EvaluateSettings(costly=0).wants("gini")
