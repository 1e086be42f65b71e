"""The measures of seqlets and hits: benchmarks/motifs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gexplain.attributions import open_attributions
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.motifs.database import load_motifs

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "motifs"))

import calibration
import curves
import figures
import genomes
import matches
import planted
import speed
import tables
import yeast_sites

TEST_DATA = Path(__file__).resolve().parents[1] / "test_data"


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# ---- Which match is on which site ----


def test_a_match_is_on_the_site_that_it_shares_half_of_the_narrower_one_with():
    sites = ints(100, 200), ints(120, 210)  # 20 bases, and 10
    start = ints(90, 91, 108, 116, 195, 196, 204, 206, 50)
    end = ints(109, 111, 112, 124, 205, 202, 214, 216, 60)
    # Shared: 9 of 19, 11 of 20, 4 of 4, 4 of 8, 5 of 10, 2 of 6, 6 of 10, 4 of 10, none.
    assert curves.sites_overlapped(start, end, *sites).tolist() == [-1, 0, 0, 0, 1, -1, 1, -1, -1]


def test_of_two_sites_a_match_is_on_the_one_that_it_shares_more_with():
    assert curves.sites_overlapped(ints(10), ints(30), ints(5, 16), ints(21, 40)).tolist() == [1]


def test_a_match_is_near_the_nearest_site_within_reach():
    middle = np.array([90.0, 89.5, 103, 110, 110.5])
    assert curves.sites_near(middle, np.array([100.0, 105]), within=10).tolist() == [0, -1, 1, 1, 1]


def test_calls_on_one_site_are_all_true_and_find_it_once():
    measured = curves.measure_calls(ints(0, 0, 2, -1, -1, -1), 4, ints(-1, 5, -1, 3, 3, -1))
    assert measured == curves.Measured(called=6, true=3, found=2, sites=4, on_decoys=2, decoys_hit=1)
    assert (measured.false, measured.precision, measured.recall) == (3, 0.5, 0.5)


# ---- Curves ----

# Ranked: site 1, none, site 1 again and site 0 (equal scores), none, none; site 2 is never found.
SCORES = np.array([5.0, 9, 5, 1, 7, 3])
SITES = ints(0, 1, 1, -1, -1, -1)


def test_a_curve_calls_matches_of_equal_score_together():
    curve = curves.rank_matches(SCORES, SITES, 3)
    assert curve.score.tolist() == [9, 7, 5, 3, 1]
    assert curve.called.tolist() == [1, 2, 4, 5, 6]
    assert curve.true.tolist() == [1, 1, 3, 3, 3]
    assert curve.found.tolist() == [1, 1, 2, 2, 2]
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 3 / 4, 3 / 5, 3 / 6])


def test_average_precision_counts_each_site_with_the_precision_that_it_is_found_at():
    assert curves.rank_matches(SCORES, SITES, 3).average_precision() == pytest.approx((1 + 3 / 4 + 0) / 3)


def slow_average_precision(scores: list[float], sites: list[int], n_sites: int) -> float:
    """From the definition: every site counts with the precision of the strictest threshold that finds it."""
    total = 0.0
    for site in range(n_sites):
        on_site = [score for score, on in zip(scores, sites, strict=True) if on == site]
        if on_site:
            called = [on >= 0 for score, on in zip(scores, sites, strict=True) if score >= max(on_site)]
            total += sum(called) / len(called)
    return total / n_sites


def test_average_precision_equals_the_slow_oracle_with_ties_and_several_matches_a_site():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.integers(0, 12, 60).astype(float)
        sites = rng.integers(-15, 10, 60).clip(-1)
        expected = slow_average_precision(scores.tolist(), sites.tolist(), 10)
        assert curves.rank_matches(scores, sites, 10).average_precision() == pytest.approx(expected)


def test_weights_are_as_many_copies():
    copies_of_match, copies_of_site = ints(2, 1, 1, 3, 0, 2), ints(2, 1, 3)
    weighted = curves.rank_matches(SCORES, SITES, 3, weight_M=copies_of_match, weight_S=copies_of_site)
    # Site 0 twice is the sites 0 and 3, with one of the two copies of its match each.
    sites = np.concatenate([np.repeat(SITES, copies_of_match), []]).astype(np.int64)
    sites[1] = 3
    copied = curves.rank_matches(np.repeat(SCORES, copies_of_match), sites, 6)
    assert weighted.average_precision() == pytest.approx(copied.average_precision())
    assert weighted.sites == copied.sites == 6


def test_the_threshold_of_equal_recall_is_the_first_that_finds_as_many():
    curve = curves.rank_matches(SCORES, SITES, 3)
    assert [curve.point_that_finds(n) for n in (0, 1, 2)] == [None, 0, 2]
    with pytest.raises(ValueError, match="3 sites are to be found, but the matches are on 2"):
        curve.point_that_finds(3)


def test_without_a_match_nothing_is_found():
    curve = curves.rank_matches(np.empty(0), ints(), 3)
    assert curve.average_precision() == 0
    assert curve.point_that_finds(0) is None


def test_a_bootstrap_draws_units_with_all_that_is_in_them():
    # Units 4 and 8 have a site each: found first of all, and last of two. A draw is of both, or of one twice.
    scores, sites = np.array([9.0, 7, 1]), ints(0, -1, 1)
    drawn = curves.bootstrap_average_precision(
        {"a": scores, "same": scores}, sites, ints(4, 8, 8), ints(4, 8), draws=200
    )
    both = (1 + 2 / 3) / 2
    assert {round(value, 6) for value in drawn["a"].tolist()} == {1.0, 0.5, round(both, 6)}
    np.testing.assert_array_equal(drawn["a"], drawn["same"])


def test_the_interval_is_the_middle_95_percent():
    assert curves.interval(np.arange(1_001)) == (25, 975)


# ---- Rankings ----


def test_joined_scores_put_matches_of_little_relevance_last_as_equals():
    of = matches.Matches(
        ints(0, 0, 0),
        ints(8, 8, 8),
        np.array([1e-4, 1e-5, 1e-3]),
        np.array([3.0, -1, 2]),
        np.array([1e-3, 0.02, 0.01]),
    )
    scores = of.scores()
    np.testing.assert_allclose(scores[matches.FIMO], [4, 5, 3])
    assert scores[matches.RELEVANCE].tolist() == [3, -1, 2]
    np.testing.assert_allclose(scores[matches.UNGATED], [7, 5 - np.log10(0.02), 3 - np.log10(0.01)])
    np.testing.assert_allclose(scores[matches.JOINED], [7, 0, 3 - np.log10(0.01)])


def test_chromosomes_lie_apart_on_the_axis():
    axis = matches.Axis({"b": 50, "a": 30})
    start, end = axis.spans([Interval("a", 0, 8), Interval("b", 42, 50)])
    assert (end - start).tolist() == [8, 8]
    assert end[1] + 100 < start[0]


# ---- Genomes and noise ----


def test_a_shuffled_genome_has_the_composition_of_the_pieces_and_the_size_asked(tmp_path):
    rng = np.random.default_rng(0)
    pieces = {"low": "".join(rng.choice(list("AT"), 900)), "high": "".join(rng.choice(list("CG"), 600))}
    source = genomes.write_fasta(tmp_path / "source.fa", {**pieces, "gap": "N" * 600})
    once = genomes.shuffled_genome(source, 3_100, 1_000, seed=1)
    assert {name: len(sequence) for name, sequence in once.items()} == {f"chr{n}": 1_000 for n in (1, 2, 3)} | {
        "chr4": 100
    }
    text = "".join(once.values())
    blocks = Counter("".join(sorted(set(text[at : at + 300]))) for at in range(0, 3_000, 300))
    assert blocks == {"AT": 6, "CG": 4}  # each of the five pieces twice
    assert (
        once
        == genomes.shuffled_genome(source, 3_100, 1_000, seed=1)
        != genomes.shuffled_genome(source, 3_100, 1_000, seed=2)
    )


def test_a_genome_of_n_cannot_be_shuffled(tmp_path):
    source = genomes.write_fasta(tmp_path / "n.fa", {"chr1": "N" * 900})
    with pytest.raises(ValueError, match="N"):
        genomes.shuffled_genome(source, 600, 600, seed=0)


def test_a_fasta_that_is_there_is_left_alone(tmp_path):
    path = genomes.write_fasta(tmp_path / "a.fa", {"chr1": "ACGT" * 40})
    with Genome(path):
        before = path.stat().st_mtime_ns
    genomes.write_fasta(path, {"chr1": "ACGT" * 40})
    assert path.stat().st_mtime_ns == before
    with Genome(genomes.write_fasta(path, {"chr1": "ACGTT" * 40})) as genome:
        assert genome.chroms == {"chr1": 200}


def test_token_noise_comes_in_runs_that_share_a_standard_normal_value():
    noise = genomes.token_noise(50_000, np.random.default_rng(0))
    borders = np.flatnonzero(np.diff(noise)) + 1
    widths = np.diff(borders)  # but for the first run and the last
    assert len(noise) == 50_000
    assert set(widths.tolist()) == set(range(3, 10))
    assert np.std(noise[borders[:-1]] * widths) == pytest.approx(1, abs=0.05)


def test_the_unscrubbed_genome_keeps_chance_matches_and_holds_its_sites():
    demo = genomes._demo_maker()
    motifs = demo.read_motifs((demo.HERE / "demo_motifs.meme").read_text(encoding="ascii"))
    sequences, sites, decoys = genomes.unscrubbed_genome(20)
    assert {name: len(one) for name, one in sequences.items()} == {"chr1": 20_000}
    n_strong = 0
    for motif in motifs:
        codes = np.array(["ACGT".index(letter) for letter in sequences["chr1"]])
        scores = demo.scan(codes, motif)
        n_strong += int((scores >= demo.LEAST_SITE_SCORE).sum())
        own, own_decoys = genomes.of_factor(sites, motif.factor), genomes.of_factor(decoys, motif.factor)
        assert len(own) == len(own_decoys) == 6
        assert all(scores[site.start] >= demo.LEAST_SITE_SCORE for site in own)
        assert all(scores[decoy.start] <= demo.MOST_DECOY_SCORE for decoy in own_decoys)
    assert n_strong > len(sites)
    with pytest.raises(ValueError, match="25 kb"):
        genomes.unscrubbed_genome(25)


# ---- Calibration ----


def test_hits_of_each_chromosome_alone_are_those_of_a_genome_of_it_alone(tmp_path):
    """A strong site on a small chromosome is called there, and not among the places of a large one."""
    rng = np.random.default_rng(0)
    motifs = load_motifs(str(TEST_DATA / "motifs.meme"), ["USF1"])
    site = "".join("ACGT"[row.argmax()] for row in motifs.motifs[0].probabilities)

    def write(name: str, chroms: dict[str, str]) -> tuple[Path, Path]:
        fasta = genomes.write_fasta(tmp_path / f"{name}.fa", chroms)
        with BigWigWriter(tmp_path / f"{name}.bw", {chrom: len(text) for chrom, text in chroms.items()}) as track:
            for chrom, text in chroms.items():
                values = rng.random(len(text)).astype(np.float32)
                for at in range(len(text)):
                    if text.startswith(site, at) and name != "null":
                        values[at : at + len(site)] += 5
                track.write(chrom, 0, values)
        return tmp_path / f"{name}.bw", fasta

    null = write("null", {"null": genomes.random_sequence(60_000, rng)})
    small = {"small": genomes.random_sequence(500, rng) + site + genomes.random_sequence(500, rng)}
    large = {"large": genomes.random_sequence(200_000, rng)}

    def n_called(name: str, chroms: dict[str, str]) -> tuple[int, int]:
        track, fasta = write(name, chroms)
        with open_attributions(track, fasta, null=null) as attributions:
            called = calibration.call_all(attributions, motifs, tmp_path / name, apart=True).calls[name]
        return called.hits, called.hits_apart

    together, apart = n_called("both", small | large)
    assert apart == n_called("alone", small)[0] > 0
    assert together == 0


def test_seqlets_of_each_chromosome_and_direction_are_tested_alone():
    import pandas as pd

    seqlets = pd.DataFrame(
        {
            "chrom": ["a", "a", "a", "b", "b"],
            "direction": ["high", "high", "low", "high", "high"],
            "p": [0.02, 0.5, 0.04, 0.03, 0.05],
        }
    )
    assert calibration.seqlets_apart(seqlets) == 4  # q: 0.04 and 0.5; 0.04; 0.05 and 0.05


def test_p_values_of_sites_are_shares_of_the_weakest():
    import pandas as pd

    called = calibration.Called(
        bases=1_000,
        calls={},
        seqlets=pd.DataFrame({"track": ["A", "A"], "direction": ["high", "low"], "p": [0.3, 0.7]}),
        hits=pd.DataFrame({"track": ["A"] * 5, "p": [1e-4, 2e-4, 3e-4, 4e-4, 9e-4], "isPrimary": [1, 1, 1, 1, 0]}),
        n_hit_tests=10_000,
    )
    p, n_tests = calibration.p_values(called)["primary hits"]["A"]
    np.testing.assert_allclose(p, [0.25, 0.5, 0.75, 1])
    assert n_tests == pytest.approx(4)  # calibrated: as many as there are
    assert calibration.p_shares(called)["primary hits"]["1"] == pytest.approx(1)


# ---- Yeast ----


def test_promoters_that_touch_are_one_unit():
    clusters = yeast_sites.merged(ints(50, 10, 20, 12), ints(60, 20, 30, 14))
    assert [one.tolist() for one in clusters] == [[10, 50], [30, 60]]
    middle = np.array([9.5, 10, 29.5, 30, 55, 60])
    assert yeast_sites.promoter_of(middle, clusters).tolist() == [-1, 0, 0, -1, 1, -1]


def test_the_middle_of_a_span_is_a_base_or_the_border_of_two():
    assert yeast_sites.middles(ints(7, 7), ints(8, 9)).tolist() == [7, 7.5]


def test_sites_in_promoters_are_read_once_each(tmp_path):
    (tmp_path / "chipexo_sites.bed").write_text(
        "chrI\t15\t16\tReb1\t0\t+\nchrI\t15\t16\tReb1\t0\t-\nchrI\t40\t41\tReb1\t0\t+\nchrI\t20\t21\tRap1\t0\t+\n"
    )
    (tmp_path / "reb1_peaks_rhee2011.bed").write_text("chrI\t0\t50\tReb1\t.\t+\n")
    axis = matches.Axis({"chrI": 100})
    chip_exo, rhee = yeast_sites.truths("Reb1", tmp_path, axis, (ints(10), ints(30)))
    assert (chip_exo.name, chip_exo.middles.tolist(), chip_exo.promoters.tolist()) == (
        yeast_sites.CHIP_EXO,
        [15],
        [0],
    )
    assert (rhee.name, rhee.middles.tolist()) == (yeast_sites.RHEE, [24.5])


def test_a_yeast_result_compares_hits_with_fimo_at_equal_recall():
    truth = yeast_sites.Truth("Reb1", "sites", np.array([100.0, 300]), ints(0, 1))
    middle = np.array([95.0, 200, 305, 400])
    scores = {matches.FIMO: np.array([4.0, 6, 3, 2]), matches.JOINED: np.array([9.0, 2, 8, 1])}
    called = np.array([95.0, 400, 305, 200]), np.array([0.01, 0.05, 0.3, 0.8])
    result = yeast_sites.measure(truth, middle, scores, called, ints(0, 0, 1, 1), draws=20)
    assert (result.called.called, result.called.true, result.called.found) == (2, 1, 1)
    assert {q: one.called for q, one in result.by_q.items()} == {0.05: 2, 0.1: 2, 0.2: 2, 0.3: 3, 0.5: 3, 0.7: 3}
    assert result.by_q[0.3].true == 2
    assert (result.fimo.called, result.fimo.true, result.fimo.found) == (2, 1, 1)
    assert result.fimo_p == pytest.approx(1e-4)
    described = result.figures()
    assert described["average precision"][matches.JOINED]["value"] == 1
    assert described["average precision over FIMO"][matches.JOINED]["value"] == pytest.approx(1 - (1 / 2 + 2 / 3) / 2)


# ---- Planted ----


def test_hits_are_compared_with_fimo_of_the_threshold_that_finds_as_many(tmp_path):
    axis = matches.Axis({"chr1": 1_000})
    sites = [Interval("chr1", 100, 110, "CTCF_site_1"), Interval("chr1", 300, 310, "CTCF_site_2")]
    decoys = [Interval("chr1", 500, 510, "CTCF_decoy_1")]
    genome = planted.Planted("toy", tmp_path / "none.fa", [*sites, Interval("chr1", 700, 710, "REST_site_1")], decoys)
    truth = planted.Truth.of(genome, "CTCF", axis)
    (tmp_path / "hits.bed").write_text(
        "#chrom\tstart\tend\tmotif\tisPrimary\nchr1\t300\t310\tM1\t1\nchr1\t301\t311\tM2\t0\nchr1\t500\t510\tM1\t1\n"
    )
    start = ints(100, 300, 500, 700)
    all_matches = matches.Matches(start, start + 10, np.array([1e-6, 1e-7, 1e-8, 2e-4]), np.zeros(4), np.ones(4))
    one = planted.compare(truth, tmp_path / "hits.bed", all_matches)
    assert one.hits == curves.Measured(called=3, true=2, found=1, sites=2, on_decoys=1, decoys_hit=1)
    assert one.primary == curves.Measured(called=2, true=1, found=1, sites=2, on_decoys=1, decoys_hit=1)
    assert one.fimo == curves.Measured(called=2, true=1, found=1, sites=2, on_decoys=1, decoys_hit=1)
    assert one.usual_fimo == curves.Measured(called=3, true=2, found=2, sites=2, on_decoys=1, decoys_hit=1)
    assert one.match_p == pytest.approx(1e-7)
    of_m2 = planted.compare(truth, tmp_path / "hits.bed", all_matches, {"M2"})
    assert (of_m2.hits.called, of_m2.hits.true, of_m2.primary.called) == (1, 1, 0)


# ---- Speed, tables and figures ----


def test_speed_measures_calls_in_inputs_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "NULL_BASES", 5_000)
    monkeypatch.setattr(speed, "WARM_UP_BASES", 2_000)
    speed.make_inputs(tmp_path, 6_000)
    measured = speed.measure(tmp_path, 2)
    assert measured["together"] == pytest.approx(measured["call_seqlets"] + measured["call_hits"])
    assert measured["MB"] > 10
    assert (tmp_path / "motif_summary.tsv").read_text().count("\n") == 3


def test_a_table_is_markdown_and_figures_are_strict_json(tmp_path):
    assert (
        tables.markdown_table("Caption.", ["a", "b"], [["1", "2"]])
        == "Caption.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    )
    tables.write_json(tmp_path / "new" / "figures.json", {"a": None})
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == {"a": None}
    with pytest.raises(ValueError, match="JSON"):
        tables.write_json(tmp_path / "figures.json", {"a": float("nan")})


def test_figures_are_drawn_where_a_panel_has_no_call_and_a_track_no_test(tmp_path):
    curve = curves.rank_matches(SCORES, SITES, 3)
    empty = curves.rank_matches(np.empty(0), ints(), 3)
    panels = [
        figures.PrecisionRecall("some", {matches.FIMO: curve}, curves.Measured(2, 1, 1, 3)),
        figures.PrecisionRecall("none", {matches.FIMO: empty}, curves.Measured(0, 0, 0, 3)),
    ]
    figures.plot_curves(tmp_path / "curves.png", panels, called="hits", columns=2)
    uniform = [figures.Uniform("p", "p-value", {"A": np.linspace(0, 1, 50)}, {"A": 50})]
    figures.plot_p_values(tmp_path / "p.png", [*uniform, figures.Uniform("none", "p-value", {}, {})])
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("curves.png", "p.png"))
