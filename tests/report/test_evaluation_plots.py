"""The figures of an evaluation, by what is drawn where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tiny_evaluation import OF_CNN, OF_TOKENS, Made, made

from gexplain.report.evaluation_plots import (
    draw_agreement,
    draw_comparison,
    draw_curves,
    draw_quality_and_cost,
    draw_sanity,
    draw_similarity,
    drawing,
    styles_of,
)
from gexplain.report.evaluation_results import Results, read_results
from gexplain.report.evaluation_values import BASELINES, KEY_VALUES

TWO = {"lm": ("attnlrp", "ism", "random"), "cnn": ("deeplift", "ism", "random")}


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    with drawing():
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results_of(made(TWO), tmp_path_factory.mktemp("two"))


def results_of(tables: Made, folder: Path) -> Results:
    return read_results(tables.write(folder))


def panels(figure: Figure | None) -> list[Axes]:
    assert figure is not None
    return figure.axes


def legend(figure: Figure | None) -> list[str]:
    assert figure is not None
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(panel: Axes, marker: str) -> list[tuple[float, float]]:
    """x and y of each lone mark of a kind."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in panel.lines
        if line.get_marker() == marker and len(line.get_xdata()) == 1
    ]


def test_curves_are_those_of_the_table_and_lerf_is_dashed(results):
    found = panels(draw_curves(results, "lm"))
    assert [panel.get_title(loc="left") for panel in found] == ["by token", "by nucleotide"]
    for panel, level, variants in zip(
        found, ("token", "nucleotide"), ({"native", "sum"}, {"uniform", "native"}), strict=True
    ):
        wanted = []
        for method in TWO["lm"]:
            for order, dashes in (("morf", "-"), ("lerf", "--")):
                rows = [
                    row
                    for row in results.curves
                    if (row.model, row.method, row.level, row.order) == ("lm", method, level, order)
                    and row.variant in variants
                ]
                wanted.append((dashes, [row.fraction for row in rows], [row.mean for row in rows]))
        drawn = [(line.get_linestyle(), [*line.get_xdata()], [*line.get_ydata()]) for line in panel.lines]
        assert drawn == wanted
        banded = {TWO["lm"][0], *BASELINES} & set(TWO["lm"])
        assert len(panel.collections) == 2 * len(banded)


def test_comparison_has_a_dot_an_interval_and_the_chance_of_each_method(results):
    figure = draw_comparison(results)
    found = panels(figure)
    assert len(found) == len(KEY_VALUES)
    assert legend(figure) == ["lm", "cnn", "chance"]
    for panel, value in zip(found, KEY_VALUES, strict=True):
        rows = results.values(value.metric, value.level).values()
        assert panel.get_title(loc="left").startswith(f"{value.label}, {value.level}\n")
        assert [x for x, _ in points(panel, "o")] == [row.mean for row in rows]
        ends = [
            [*line.get_xdata()] for line in panel.lines if line.get_marker() == "None" and line.get_linewidth() == 2
        ]
        assert ends == [[row.low, row.high] for row in rows]
        chance = [x for x, _ in points(panel, "|")]
        np.testing.assert_array_equal(chance, [row.chance for row in rows])
    names = [label.get_text() for label in found[0].get_yticklabels()]
    assert names == ["attnlrp", "ism", "deeplift", "random"]  # baselines last
    # Where both models have a method, one is above its line and the other below.
    heights = {
        key: round(y, 2)
        for key, (_, y) in zip(results.values("delta", "nucleotide"), points(found[1], "o"), strict=True)
    }
    assert heights["lm", "ism"] == 0.87
    assert heights["cnn", "ism"] == 1.13


def test_similarity_is_annotated_with_the_table_and_has_no_diagonal(results):
    panel = panels(draw_similarity(results, "cnn"))[0]
    texts = {text.get_position()[::-1]: text.get_text() for text in panel.texts}
    pairs = results.similarity("pearson", "cnn")
    methods = TWO["cnn"]
    assert {*texts} == {(i, j) for i in range(3) for j in range(3) if i != j}
    for (i, j), text in texts.items():
        assert float(text.replace("−", "-")) == pytest.approx(pairs[methods[i], methods[j]].mean, abs=0.0051)


def test_agreement_has_a_dot_for_each_pair_of_methods(results):
    panel = panels(draw_agreement(results, "lm", "cnn"))[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["attnlrp and deeplift", "ism", "random"]
    rows = results.agreement("pearson", "lm", "cnn").values()
    assert points(panel, "o") == [(row.mean, at) for at, row in enumerate(rows)]
    ends = [[*line.get_xdata()] for line in panel.lines if line.get_linewidth() == 2]
    assert ends == [[row.low, row.high] for row in rows]


def test_a_pair_without_a_number_is_a_dash(tmp_path):
    tables = made(TWO)
    tables.summary = [row for row in tables.summary if not (row[2] == "ism" and row[1] == "deeplift")]
    panel = panels(draw_similarity(results_of(tables, tmp_path), "cnn"))[0]
    assert [text.get_text() for text in panel.texts].count("–") == 2


def test_sanity_starts_from_the_original_and_goes_by_blocks_not_by_letters(results):
    found = panels(draw_sanity(results))
    assert [panel.get_title(loc="left") for panel in found] == ["lm", "cnn"]
    for panel, model, n_blocks in zip(found, TWO, (12, 4), strict=True):
        lines = panel.lines[1:]  # the first is 0
        assert len(lines) == 3
        for line, method in zip(lines, TWO[model], strict=True):
            assert [*line.get_xdata()] == [*range(n_blocks + 1)]
            at_last = f"sanity spearman {n_blocks}"
            (row,) = [
                row
                for row in results.main(results.summary)
                if (row.model, row.method, row.level, row.metric) == (model, method, "nucleotide", at_last)
            ]
            assert (line.get_ydata()[0], line.get_ydata()[-1]) == (1, row.mean)


def test_quality_stands_over_its_cost_and_what_costs_nothing_is_a_line(results):
    figure = draw_quality_and_cost(results)
    panel = panels(figure)[0]
    marks = styles_of(results)
    delta = results.values("delta", "nucleotide")
    assert points(panel, marks["attnlrp"]["marker"]) == [(2, delta["lm", "attnlrp"].mean)]
    # Both models need as much for ism: a little apart, around the cost.
    (one, first), (other, second) = points(panel, marks["ism"]["marker"])
    assert one < 601 < other
    assert one * other == pytest.approx(601**2)
    assert other / one < 1.1
    assert (first, second) == (delta["lm", "ism"].mean, delta["cnn", "ism"].mean)
    across = [line.get_ydata()[0] for line in panel.lines if [*line.get_xdata()] == [0, 1]]
    assert across == [delta["lm", "random"].mean, delta["cnn", "random"].mean]
    assert legend(figure) == ["attnlrp", "ism", "deeplift", "random", "lm", "cnn"]


def test_equal_costs_fill_no_axis_of_their_own(tmp_path):
    tables = made({"lm": ("attnlrp", "cplrp", "random")})
    low, high = panels(draw_quality_and_cost(results_of(tables, tmp_path)))[0].get_xlim()
    assert low < 1.5
    assert high >= 10


def test_what_asks_the_model_nothing_alone_is_drawn_too(tmp_path):
    assert panels(draw_quality_and_cost(results_of(made({"lm": ("random",)}), tmp_path)))


def test_no_two_methods_look_alike_and_baselines_are_grey(tmp_path):
    results = results_of(made({"lm": OF_TOKENS, "cnn": OF_CNN}), tmp_path)
    styles = styles_of(results)
    assert [*sorted(styles)] == sorted({*OF_TOKENS, *OF_CNN})
    assert len({(style["color"], style["marker"]) for style in styles.values()}) == len(styles) == 15
    assert len({styles[method]["color"] for method in OF_CNN}) == len(OF_CNN)  # few enough for a colour each
    assert len({styles[method]["color"] for method in OF_TOKENS}) == 10  # eight, and two greys
    assert styles["random"]["color"] == "#777777"
    assert styles["randomised-weights"]["color"] == "#999999"
    assert "#777777" not in {style["color"] for method, style in styles.items() if method != "random"}


def test_what_there_is_no_row_for_is_no_figure(tmp_path):
    tables = made({"lm": ("attnlrp",)})
    tables.summary, tables.curves = [], []
    results = results_of(tables, tmp_path)
    assert draw_comparison(results) is None
    assert draw_curves(results, "lm") is None
    assert draw_similarity(results, "lm") is None
    assert draw_agreement(results, "lm", "cnn") is None
    assert draw_sanity(results) is None
    assert draw_quality_and_cost(results) is None
