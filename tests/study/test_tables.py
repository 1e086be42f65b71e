"""Tables: metrics.tsv is the parts line by line; the others are what pandas and plain loops make of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from gexplain.errors import RunError
from gexplain.evaluation.curves import FRACTIONS
from gexplain.evaluation.metrics import METRICS, PAIR_METRICS
from gexplain.evaluation.resampling import bootstrap_mean
from gexplain.study.measure import Part
from gexplain.study.tables import (
    COST_COLUMNS,
    CURVES_COLUMNS,
    METRICS_COLUMNS,
    SUMMARY_COLUMNS,
    write_tables,
)

GROUP = ["model", "method", "other", "level", "variant", "metric"]
NUMBERS = ["mean", "low", "high", "chance", "difference", "difference_low", "difference_high", "p", "q"]
TOLERANCE = {"rel": 2e-5, "abs": 1e-9, "nan_ok": True}  # six digits are written


def read(path) -> pd.DataFrame:
    """A table; in columns of numbers "." is NaN."""
    text = dict.fromkeys((*GROUP, "sequence", "reference", "order"), str)
    nothing = {name: ["."] for name in (*NUMBERS, "value")}
    return pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values=nothing)


def frame(parts) -> pd.DataFrame:
    """All rows of all parts, those of chance too."""
    return pd.DataFrame([row for part in parts for row in part.metrics], columns=["sequence", *GROUP, "value"])


@pytest.fixture(scope="module")
def rows(finished) -> pd.DataFrame:
    return frame(finished.parts)


@pytest.fixture(scope="module")
def summary(finished) -> pd.DataFrame:
    return read(finished.path / "summary.tsv")


# ---- metrics.tsv ----


def test_metrics_are_the_rows_of_the_parts_without_those_of_chance(finished, rows):
    table = read(finished.path / "metrics.tsv")
    assert tuple(table) == METRICS_COLUMNS
    expected = rows[~rows.metric.str.endswith(" chance")].reset_index(drop=True)
    assert len(rows) > len(expected) == len(table) > 1000
    pd.testing.assert_frame_equal(table[["sequence", *GROUP]], expected[["sequence", *GROUP]])
    np.testing.assert_allclose(table.value, expected.value, rtol=1e-5)


def test_every_value_of_every_metric_is_there(rows):
    families = {"strand agreement", "robustness", "sanity"}
    found = {metric for metric in rows.metric if not metric.endswith(" chance")}
    expected = {name.removesuffix(" N") for metric in METRICS.values() for name in metric.higher_is_better} | set(
        PAIR_METRICS
    )
    assert {metric.rpartition(" ")[0] if metric[-1].isdigit() else metric for metric in found} == expected
    assert all(any(metric.startswith(family) for metric in found) for family in families)


# ---- summary.tsv ----


def test_a_line_of_the_summary_is_n_and_the_mean_of_its_group(rows, summary):
    assert tuple(summary) == SUMMARY_COLUMNS
    known = rows[~rows.metric.str.endswith(" chance")]
    expected = known.groupby(GROUP, sort=False).value.agg(["count", "mean"])
    assert list(expected.index) == [tuple(line) for line in summary[GROUP].to_numpy()]
    assert summary.n.tolist() == expected["count"].tolist()
    assert summary["mean"].tolist() == pytest.approx(expected["mean"].tolist(), **TOLERANCE)
    assert summary.n.max() == 8
    assert summary.n.min() < 8


def test_chance_is_the_mean_of_the_chance_rows(rows, summary):
    means = rows.groupby(GROUP).value.mean()
    found = [line for line in summary.to_dict("records") if not math.isnan(line["chance"])]
    for line in found:
        chance = means[(*(line[name] for name in GROUP[:-1]), line["metric"] + " chance")]
        assert line["chance"] == pytest.approx(chance, **TOLERANCE)
    with_chance = {"delta", "auroc", "auprc", "mass accuracy", "rank accuracy", "pointing game", "robustness pearson"}
    with_chance.add("robustness top kept")
    with_chance |= {f"strand agreement {what}" for what in ("pearson", "spearman")}
    assert {line["metric"] for line in found if not line["metric"].startswith("sanity")} == with_chance


def test_an_interval_is_the_bootstraps_and_holds_the_mean(rows, summary):
    groups = dict(list(rows.groupby(GROUP)))
    for line in summary.iloc[::37].to_dict("records"):
        values = groups[tuple(line[name] for name in GROUP)].value.to_numpy()
        if line["n"] < 5:
            continue
        expected = bootstrap_mean(values, what="", seed=0)
        assert line["low"] == pytest.approx(expected.low, **TOLERANCE)
        assert line["high"] == pytest.approx(expected.high, **TOLERANCE)
    known = summary[summary.n >= 5]
    slack = 1e-5 * known["mean"].abs() + 1e-9
    assert (known.low <= known["mean"] + slack).all()
    assert (known["mean"] <= known.high + slack).all()
    assert (known.low < known.high).mean() > 0.8


REFERENCES = {
    ("bert", "nucleotide"): ("bert", "attnlrp", "uniform"),
    ("bert", "token"): ("bert", "attnlrp", "native"),
    ("cnn", "nucleotide"): ("cnn", "deeplift", "native"),
}


def reference_of(line) -> tuple[str, str, str] | None:
    """What the line is compared with: the model's default method, and that of the second with that of the first."""
    if line["other"] != ".":
        return None
    own = REFERENCES[line["model"], line["level"]]
    if (line["model"], line["method"], line["variant"]) != own:
        return own
    of_logits = line["metric"].startswith(("aopc", "delta", "comprehensiveness", "sufficiency", "sanity"))
    return REFERENCES["bert", "nucleotide"] if line["model"] == "cnn" and not of_logits else None


def test_a_difference_is_paired_over_sequences_with_the_default_method(rows, summary):
    values = {key: group.set_index("sequence").value for key, group in rows.groupby(GROUP)}
    n_tested = 0
    for line in summary.to_dict("records"):
        reference = reference_of(line)
        differences = []
        if reference is not None:
            model, method, variant = reference
            theirs = values.get((model, method, ".", line["level"], variant, line["metric"]), {})
            own = values[tuple(line[name] for name in GROUP)]
            for sequence in own.index:
                if sequence in theirs and not math.isnan(own[sequence] - theirs[sequence]):
                    differences.append(own[sequence] - theirs[sequence])
        if len(differences) < 5:
            assert line["reference"] == "."
            assert all(math.isnan(line[name]) for name in NUMBERS[4:])
            continue
        n_tested += 1
        assert line["reference"] == (method if model == line["model"] else f"{model}:{method}")
        assert line["difference"] == pytest.approx(sum(differences) / len(differences), **TOLERANCE)
        assert line["difference_low"] <= line["difference"] + 1e-9 + 1e-5 * abs(line["difference"])
        assert line["difference"] <= line["difference_high"] + 1e-9 + 1e-5 * abs(line["difference"])
    assert n_tested > 300


def test_a_p_value_is_wilcoxons(rows, summary):
    values = {key: group.set_index("sequence").value for key, group in rows.groupby(GROUP)}
    found = summary[(summary.metric == "delta") & (summary.reference == "attnlrp")]
    assert len(found) >= 8
    for line in found.to_dict("records"):
        model, method, variant = reference_of(line)
        theirs = values[model, method, ".", line["level"], variant, "delta"]
        differences = (values[tuple(line[name] for name in GROUP)] - theirs).dropna().to_numpy()
        differences = differences[np.abs(differences) > 1e-9]
        expected = wilcoxon(differences).pvalue if len(differences) else 1.0
        assert line["p"] == pytest.approx(expected, rel=1e-4)


def test_q_values_are_benjamini_and_hochbergs_over_the_whole_table(summary):
    p = summary.p.dropna()
    ranked = p.sort_values(ascending=False)
    least, q = 1.0, {}
    for above, (row, value) in enumerate(ranked.items()):
        least = min(least, value * len(ranked) / (len(ranked) - above))
        q[row] = least
    assert summary.q.dropna().to_dict() == pytest.approx(q, rel=1e-4)
    assert (summary.p.isna() == summary.q.isna()).all()


def test_the_second_models_default_is_compared_with_that_of_the_first(summary):
    found = summary[summary.reference.str.contains(":")]
    assert set(zip(found.model, found.method, found.variant, strict=True)) == {("cnn", "deeplift", "native")}
    assert set(found.reference) == {"bert:attnlrp"}
    assert {"gini", "robustness pearson"} <= set(found.metric)
    assert "delta" not in set(found.metric)  # in the logits of each


# ---- curves.tsv and cost.tsv ----


def test_curves_are_means_over_sequences_at_every_share(finished):
    table = read(finished.path / "curves.tsv")
    assert tuple(table) == CURVES_COLUMNS
    expected: dict[tuple, list[float]] = {}
    for part in finished.parts:
        for *where, morf, lerf in part.curves:
            for order, values in (("morf", morf), ("lerf", lerf)):
                for fraction, value in zip(FRACTIONS, values, strict=True):
                    expected.setdefault((*where, order, fraction), []).append(value)
    assert len(table) == len(expected)
    for line in table.to_dict("records"):
        values = expected[tuple(line[name] for name in CURVES_COLUMNS[:6])]
        assert line["n"] == len(values) == 8
        assert line["mean"] == pytest.approx(sum(values) / 8, **TOLERANCE)
        assert line["low"] <= line["mean"] + 1e-5 <= line["high"] + 2e-5


def test_all_curves_of_a_model_and_level_begin_and_end_alike(finished):
    table = read(finished.path / "curves.tsv")
    for _, of_level in table[table.fraction.isin([0, 1])].groupby(["model", "level", "fraction"]):
        assert len(of_level) > 4
        assert np.ptp(of_level["mean"]) < 1e-5


def test_costs_are_rows_a_sequence_and_seconds_in_all(finished):
    table = read(finished.path / "cost.tsv")
    assert tuple(table) == COST_COLUMNS
    for line in table.to_dict("records"):
        costs = [
            cost
            for part in finished.parts
            for model, method, cost in part.costs
            if (model, method) == (line["model"], line["method"])
        ]
        assert len(costs) == 2  # a chunk each
        totals = {name: sum(cost[name] for cost in costs) for name in costs[0]}
        assert line["sequences"] == totals["sequences"] == 8
        assert line["forward"] == pytest.approx(totals["forward"] / 8, rel=1e-5)
        assert line["backward"] == pytest.approx(totals["backward"] / 8, rel=1e-5)
        assert line["forward_equivalents"] == pytest.approx(line["forward"] + line["backward"])
        assert line["seconds"] == pytest.approx(totals["seconds"], rel=1e-5)
        assert line["completeness_error"] == "."  # none of these methods claims a sum


# ---- what is missing ----


def made(values: dict[str, list[float]], metric: str = "gini", first: int = 0) -> Part:
    """Values of methods of model m, of sequences s0, s1 ..., or from another number on."""
    part = Part()
    for method, of_method in values.items():
        for number, value in enumerate(of_method, start=first):
            part.metrics.append((f"s{number}", "m", method, ".", "nucleotide", "native", metric, value))
    part.costs = [("m", method, {"sequences": 1, "forward": 1, "backward": 0, "seconds": 0.5}) for method in values]
    return part


def written(tmp_path, *parts: Part, defaults: dict[str, str] | None = None) -> pd.DataFrame:
    write_tables(tmp_path, parts, defaults or {"m": "a"}, 0)
    return read(tmp_path / "summary.tsv").set_index("method")


NAN = math.nan
FIVE = [1.0, 2.0, 3.0, 4.0, 6.0]


def test_fewer_than_five_values_have_a_mean_and_no_interval(tmp_path):
    found = written(tmp_path, made({"a": FIVE, "b": [1.0, 2.0, 3.0, 8.0, NAN]}))
    assert found.loc["b", ["n", "mean"]].tolist() == [4, 3.5]
    assert found.loc["b", ["low", "high", "difference", "p", "q"]].isna().all()
    assert found.loc["b", "reference"] == "."
    assert found.loc["a", ["n", "mean"]].tolist() == [5, 3.2]
    assert found.loc["a", "low"] < 3.2 < found.loc["a", "high"]


def test_nan_is_no_value(tmp_path):
    found = written(
        tmp_path, made({"a": [NAN, *FIVE, 5.0], "b": [9.0, NAN, *[2 * value for value in FIVE[1:]], 10.0]})
    )
    assert found.loc["b", "n"] == 6
    assert found.loc["b", "mean"] == pytest.approx(np.mean([9, 4, 6, 8, 12, 10]), rel=1e-5)
    # Both have a value on five sequences: 2, 3, 4, 6, 5, and twice that.
    assert found.loc["b", "difference"] == pytest.approx(4)
    assert found.loc["b", "p"] == pytest.approx(1 / 16)
    lines = (tmp_path / "metrics.tsv").read_text().splitlines()
    assert lines[1] == "s0\tm\ta\t.\tnucleotide\tnative\tgini\t."


def test_a_group_without_any_value_is_told(tmp_path):
    found = written(tmp_path, made({"a": FIVE, "b": [NAN] * 5}))
    assert found.loc["b", "n"] == 0
    assert math.isnan(found.loc["b", "mean"])
    assert "inf" not in (tmp_path / "summary.tsv").read_text()


def test_sequences_are_paired_by_name_wherever_they_stand(tmp_path):
    one, other = made({"a": FIVE}), made({"b": FIVE})
    other.metrics.reverse()  # s4 first
    found = written(tmp_path, one, other)
    assert found.loc["b", ["difference", "difference_low", "difference_high", "p"]].tolist() == [0, 0, 0, 1]
    apart = written(tmp_path, one, made({"b": FIVE}, first=5))
    assert apart.loc["b", "reference"] == "."  # no sequence has both


def test_parts_in_any_cut_make_the_same_summary(tmp_path):
    rows = made({"a": FIVE, "b": FIVE[::-1]}).metrics
    by_sequence = [Part([row for row in rows if row[0] == f"s{number}"], [], []) for number in range(5)]
    for name, parts in (("one", [Part(rows)]), ("many", by_sequence)):
        (tmp_path / name).mkdir()
        write_tables(tmp_path / name, parts, {"m": "a"}, 0)
    assert (tmp_path / "one" / "summary.tsv").read_bytes() == (tmp_path / "many" / "summary.tsv").read_bytes()


def test_tables_that_cannot_be_written_are_one_error(tmp_path):
    (tmp_path / "metrics.tsv").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write_tables(tmp_path, [made({"a": FIVE})], {"m": "a"}, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.tsv"]
