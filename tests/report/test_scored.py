from __future__ import annotations

import numpy as np
import pytest
from tiny_runs import TinyRun

from gexplain.errors import InputError
from gexplain.genome.intervals import Interval
from gexplain.report import scored as scored_module
from gexplain.report.scored import choose_top, count_calls, read_scored
from gexplain.report.sparklines import LEVELS, PIECE, POINTS, RelevanceTracks, decode, encode, extremes

CLASSES = ("background", "Abf1", "Reb1")


def grid(n: int, width: int = 100, step: int = 150) -> tuple[tuple[Interval, str], ...]:
    return tuple((Interval("chr1", i * step, i * step + width, f"r{i}"), "") for i in range(n))


# ---- regions.tsv ----


def test_a_row_says_what_its_line_says(tmp_path):
    table = read_scored(TinyRun().write(tmp_path))
    assert list(table.names) == ["first", "second", "nowhere", "."]
    assert table.interval(1) == Interval("chr1", 3000, 3090, "second", "-")
    assert [table.reasons[one] for one in table.reason] == ["", "", "unknown chromosome", ""]
    assert [table.predictions[one] for one in table.prediction] == [(0,), (2,), (), (1,)]
    assert table.best.tolist() == [0, 2, -1, 1]
    np.testing.assert_allclose(table.probabilities[[0, 1, 3]], [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    assert np.isnan(table.probabilities[2]).all()
    # One target is 0.5, 1.5, 2.5 and 0.1, 0.2, 0.3, in the order of the targets.
    assert table.relevance[0].tolist() == [0.5, 1.5, 2.5]
    np.testing.assert_allclose(table.unexplained[3], [0.1, 0.2, 0.3])


def test_a_region_is_explained_by_the_track_of_its_class(tmp_path):
    assert read_scored(TinyRun().write(tmp_path)).target.tolist() == [0, 2, -1, 1]


@pytest.mark.parametrize("targets", [("predicted",), ("Abf1",)])
def test_without_such_a_track_by_the_only_one(tmp_path, targets):
    assert read_scored(TinyRun(targets=targets).write(tmp_path)).target.tolist() == [0, 0, -1, 0]


def test_a_multi_label_region_has_all_classes_above_a_half(tmp_path):
    chances = [(0.7, 0.9, 0.1), (0.1, 0.2, 0.3), (0.6, 0.6, 0.6)]
    table = read_scored(TinyRun(head="multi_label", chances=chances).write(tmp_path))
    assert [table.predictions[one] for one in table.prediction] == [(0, 1), (), (), (0, 1, 2)]
    assert table.best.tolist() == [1, 2, -1, 0]


@pytest.mark.parametrize(("column", "text"), [(10, "Rap1"), (11, "high"), (1, "1e3")])
def test_a_changed_table_is_an_input_error_with_its_line(tmp_path, column, text):
    run = TinyRun().write(tmp_path)
    path = run.path / "regions.tsv"
    lines = path.read_text().split("\n")
    fields = lines[2].split("\t")
    fields[column] = text
    lines[2] = "\t".join(fields)
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"line 3 of .*{text}"):
        read_scored(run)


def test_a_regression_predicts_no_class(tmp_path):
    table = read_scored(
        TinyRun(classes=("y",), targets=("y",), head="regression", chances=[(-3,), (5,), (0,)]).write(tmp_path)
    )
    assert table.predictions == [()]
    assert table.probabilities[[0, 1, 3], 0].tolist() == [-3, 5, 0]


def test_of_many_classes_a_row_keeps_the_best(tmp_path):
    classes = [f"c{i}" for i in range(30)]
    chances = np.random.default_rng(0).dirichlet(np.ones(30), 3)
    table = read_scored(TinyRun(classes=classes, targets=classes, chances=chances.tolist()).write(tmp_path))
    for row, line in zip((0, 1, 3), chances, strict=True):
        best = np.argsort(-line)[:3]
        assert table.ranked[row].tolist() == best.tolist()
        np.testing.assert_allclose(table.probabilities[row], line[best], rtol=1e-5)
        assert table.target[row] == best[0]
        assert table.relevance[row, 0] == best[0] + 0.5  # of the target that explains the row


def test_lines_beyond_the_cap_are_counted_and_not_kept(tmp_path):
    table = read_scored(TinyRun().write(tmp_path), most=2)
    assert (len(table), table.n_lines) == (2, 4)


def test_a_table_with_other_columns_is_an_input_error(tmp_path):
    run = TinyRun().write(tmp_path)
    path = run.path / "regions.tsv"
    path.write_text(path.read_text().replace("\tsecond\t", "\tsecond\t\t"))
    with pytest.raises(InputError, match=r"line 3 of .*39 columns; expected 38"):
        read_scored(run)


# ---- Which are shown in detail ----


def by_hand(chances: np.ndarray, n: int) -> list[tuple[int, int]]:
    """Turn by turn: the class predicted least often first, its best region that nobody has taken."""
    predicted = chances.argmax(1)
    order = sorted(range(chances.shape[1]), key=lambda one: int((predicted == one).sum()))
    chosen: dict[int, int] = {}
    while len(chosen) < min(n, len(chances)):
        for one in order:
            left = [row for row in range(len(chances)) if row not in chosen]
            if left and len(chosen) < n:
                chosen[max(left, key=lambda row, one=one: (chances[row, one], -row))] = one
    return list(chosen.items())


@pytest.mark.parametrize("n", [0, 1, 5, 24, 40])
def test_top_regions_are_those_of_the_rule(tmp_path, n):
    chances = np.random.default_rng(3).dirichlet(np.ones(3), 30).round(3)
    table = read_scored(TinyRun(regions=grid(30), chances=chances.tolist()).write(tmp_path))
    assert choose_top(table, CLASSES, CLASSES, n) == by_hand(chances.astype(np.float32), n)


def test_under_predicted_they_go_by_the_class_that_is_predicted(tmp_path):
    chances = [(0.9, 0.05, 0.05), (0.8, 0.1, 0.1), (0.2, 0.6, 0.2), (0.7, 0.2, 0.1)]
    table = read_scored(TinyRun(targets=("predicted",), regions=grid(4), chances=chances).write(tmp_path))
    assert choose_top(table, CLASSES, ["predicted"], 3) == [(2, 0), (0, 0), (1, 0)]


def test_skipped_regions_are_never_among_them(tmp_path):
    table = read_scored(TinyRun().write(tmp_path))
    assert sorted(row for row, _ in choose_top(table, CLASSES, CLASSES, 9)) == [0, 1, 3]


# ---- Seqlets and hits ----


def test_hits_and_seqlets_count_for_the_region_they_lie_in(tmp_path):
    hits = [
        (1010, 1020, "+", "REB1", "Reb1", 1),
        (1030, 1040, "+", "REB1", "Reb1", 0),  # secondary
        (1100, 1110, "-", "ABF1", "Abf1", 1),
        (1200, 1210, "-", "ABF1", "Abf1", 1),
        (3010, 3020, "-", "REB1", "Reb1", 1),
    ]
    run = TinyRun(hits=hits, seqlets=[(1010, 1020, "Reb1"), (3000, 3010, "Abf1"), (3050, 3060, "Abf1")]).write(
        tmp_path
    )
    calls = count_calls(run, read_scored(run), listed=[1])
    assert calls.hits.tolist() == [3, 1, 0, 0]
    assert calls.seqlets.tolist() == [1, 2, 0, 0]
    assert [[calls.factors[one] for one in of_row] for of_row in calls.factors_of[:2]] == [["ABF1", "REB1"], ["REB1"]]
    [hit] = calls.listed[1]
    assert (hit.start, hit.end, hit.strand, hit.factor, hit.track) == (3010, 3020, "-", "REB1", "Reb1")


def test_two_regions_of_one_name_keep_their_hits_apart(tmp_path):
    regions = [(Interval("chr1", start, start + 100, "twin"), "") for start in (1000, 5000)]
    hits = [(1010, 1020, "+", "A", "Reb1", 1), (5010, 5020, "+", "B", "Reb1", 1), (5030, 5040, "+", "B", "Reb1", 1)]
    run = TinyRun(regions=regions, chances=[(1, 0, 0)] * 2, hits=hits).write(tmp_path)
    assert count_calls(run, read_scored(run)).hits.tolist() == [1, 2]


def test_with_strands_a_hit_belongs_to_a_region_of_its_tracks_strand(tmp_path):
    regions = [(Interval("chr1", 1000, 1100, "plus", "+"), ""), (Interval("chr1", 1050, 1150, "minus", "-"), "")]
    hits = [(1060, 1070, "+", "A", "Reb1.plus", 1), (1080, 1090, "+", "A", "Reb1.minus", 1)]
    run = TinyRun(strand="region", regions=regions, chances=[(1, 0, 0)] * 2, hits=hits).write(tmp_path)
    assert count_calls(run, read_scored(run)).hits.tolist() == [1, 1]


def test_hits_of_regions_beyond_the_table_count_for_no_row(tmp_path):
    run = TinyRun(regions=grid(3), chances=[(1, 0, 0)] * 3, hits=[(310, 320, "+", "A", "Reb1", 1)]).write(tmp_path)
    assert count_calls(run, read_scored(run)).hits.tolist() == [0, 0, 1]
    assert count_calls(run, read_scored(run, most=2)).hits.tolist() == [0, 0]


def test_tables_read_in_chunks_are_the_same(tmp_path, monkeypatch):
    hits = [(1000 + 10 * i, 1010 + 10 * i, "+", f"F{i % 3}", "Reb1", 1) for i in range(30)]
    run = TinyRun(hits=hits).write(tmp_path)
    whole = count_calls(run, read_scored(run), [0])
    monkeypatch.setattr(scored_module, "_CHUNK", 7)
    cut = count_calls(run, read_scored(run), [0])
    assert cut.hits.tolist() == whole.hits.tolist() == [30, 0, 0, 0]
    assert cut.listed == whole.listed


def test_a_run_that_called_nothing_has_none(tmp_path):
    run = TinyRun(is_called=False).write(tmp_path)
    calls = count_calls(run, read_scored(run))
    assert not calls.hits.any()
    assert not calls.seqlets.any()


# ---- Sparklines ----


def slow_extremes(values: np.ndarray, points: int) -> list[float]:
    n = min(len(values), points)
    shares = [[v for v in values[i * len(values) // n : (i + 1) * len(values) // n] if v == v] for i in range(n)]
    return [max(share, key=abs) if share else float("nan") for share in shares]


@pytest.mark.parametrize("n", [1, 2, 47, 48, 49, 100, 1000])
def test_a_point_is_the_most_extreme_value_of_its_share(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=n).astype(np.float32)
    values[rng.random(n) < 0.3] = np.nan
    np.testing.assert_array_equal(extremes(values), slow_extremes(values, POINTS))


def test_what_is_encoded_is_read_back_to_half_a_level():
    points = np.append(np.random.default_rng(0).normal(size=47), np.nan)
    text, peak = encode(points)
    assert len(text) == 48
    assert peak == np.nanmax(np.abs(points))
    np.testing.assert_allclose(decode(text, peak), points, atol=0.5001 * peak / LEVELS)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_nothing_but_zeros_or_gaps_is_encoded_as_such(value):
    text, peak = encode(np.full(5, value))
    np.testing.assert_array_equal(decode(text, peak), np.full(5, value))


def test_a_region_read_in_pieces_has_the_same_extremes(tmp_path, monkeypatch):
    run = TinyRun().write(tmp_path)
    region = Interval("chr2", 500, 500 + 20 * POINTS)
    with RelevanceTracks(run) as tracks:
        whole = extremes(tracks.values("Abf1", region.chrom, region.start, region.end))
        monkeypatch.setattr("gexplain.report.sparklines.PIECE", 7)
        np.testing.assert_array_equal(tracks.extremes("Abf1", region), whole)
    assert PIECE > 1000


def test_more_tracks_than_may_be_open_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain.report.sparklines._MOST_OPEN", 2)
    run = TinyRun().write(tmp_path)
    with RelevanceTracks(run) as tracks:
        for _ in range(2):
            for stem in ("background", "Abf1", "Reb1"):
                np.testing.assert_array_equal(
                    tracks.values(stem, "chr1", 1000, 1010), run.values(stem, Interval("chr1", 1000, 1010))
                )
