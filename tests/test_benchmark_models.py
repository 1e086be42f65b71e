"""The data and the measures of the shipped models: benchmarks/models."""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED, needs_shared

import gexplain
from gexplain.genome.intervals import Interval
from gexplain.genome.sequence import reverse_complement

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "models"))

import evaluate
import explanations
import genome_like
import human
import measures
import motif_hits
import tracks
import yeast

MOTIF = motif_hits.Motif("MA0001.1", "toy", np.array([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]]))


def random_sequences(n: int, width: int, seed: int = 0) -> list[str]:
    letters = np.array(list("ACGT"))[np.random.default_rng(seed).integers(0, 4, (n, width))]
    return ["".join(row) for row in letters]


# ---- Motif hits ----


def slow_scan(sequence: str, motif: motif_hits.Motif) -> list[list[float]]:
    """Scores (P, 2) from the definition: log-odds of each word added up, and those of its reverse complement."""
    pseudo = motif_hits.PSEUDOCOUNT
    width = len(motif.probabilities)

    def score(word: str) -> float:
        return sum(
            np.log2((row["ACGT".index(letter)] + pseudo) / (1 + 4 * pseudo) / 0.25)
            for letter, row in zip(word, motif.probabilities, strict=True)
        )

    best = score("".join("ACGT"[row.argmax()] for row in motif.probabilities))
    words = [sequence[start : start + width] for start in range(len(sequence) - width + 1)]
    return [[score(word) / best, score(reverse_complement(word)) / best] for word in words]


def test_scan_equals_the_slow_oracle():
    sequences = random_sequences(5, 23)
    expected = [slow_scan(sequence, MOTIF) for sequence in sequences]
    np.testing.assert_allclose(motif_hits.scan_motif(sequences, MOTIF), expected, atol=1e-12)


def test_scan_of_the_other_strand_is_the_scan_turned_round():
    sequences = random_sequences(4, 30)
    turned = motif_hits.scan_motif([reverse_complement(one) for one in sequences], MOTIF)
    np.testing.assert_allclose(motif_hits.scan_motif(sequences, MOTIF), turned[:, ::-1, ::-1], atol=1e-12)


def test_a_letter_that_is_no_base_scores_as_the_worst():
    worst = "ACT"[::-1]  # any word will do: the middle letter decides
    assert motif_hits.scan_motif([worst.replace("C", "N")], MOTIF)[0, 0, 0] == pytest.approx(
        motif_hits.scan_motif([worst.replace("C", "A")], MOTIF)[0, 0, 0]
    )


@pytest.mark.parametrize("site", ["ACT", "AGT"])  # the best word, and its reverse complement
def test_the_best_word_scores_one_on_either_strand(site):
    sequence = "GGGGG" + site + "GGGG"
    best = motif_hits.best_hits(motif_hits.scan_motif([sequence], MOTIF), MOTIF)
    assert (best.start[0], best.width) == (5, 3)
    assert best.score[0] == pytest.approx(1)


def test_bases_covered_by_hits_are_those_near_a_hit():
    sequences = random_sequences(6, 40, seed=1)
    scores = motif_hits.scan_motif(sequences, MOTIF)
    expected = np.zeros((6, 40), dtype=bool)
    for row, start in zip(*np.nonzero((scores >= 0.7).any(2)), strict=True):
        expected[row, max(0, start - 2) : start + 3 + 2] = True
    covered = motif_hits.covered_by_hits(scores, MOTIF, 0.7, margin=2)
    assert 0 < covered.sum() < covered.size
    np.testing.assert_array_equal(covered, expected)


def test_the_newest_version_of_a_motif_is_read(tmp_path):
    matrix = "letter-probability matrix: alength= 4 w= 2 nsites= 9 E= 0\n 1 0 0 0\n 0 {} 0 0\nURL somewhere\n"
    versions = {"MA0009.2": 0.2, "MA0009.10": 1.0, "MA0099.3": 0.3}
    text = "".join(f"\nMOTIF {motif_id} X\n{matrix.format(value)}" for motif_id, value in versions.items())
    (tmp_path / "motifs.meme").write_text("MEME version 4\n" + text)
    motif = motif_hits.read_motif(tmp_path / "motifs.meme", "MA0009")
    assert (motif.id, motif.name, motif.probabilities.tolist()) == ("MA0009.10", "X", [[1, 0, 0, 0], [0, 1, 0, 0]])
    with pytest.raises(ValueError, match="no motif MA0001"):
        motif_hits.read_motif(tmp_path / "motifs.meme", "MA0001")


# ---- Sequence without peaks ----


def test_markov_sequences_have_few_cpg_and_a_composition_each():
    sequences = genome_like.markov_sequences(400, 500, np.random.default_rng(0))
    assert sequences == genome_like.markov_sequences(400, 500, np.random.default_rng(0))
    gc = np.array([(one.count("C") + one.count("G")) / 500 for one in sequences])
    assert 0.37 < gc.mean() < 0.43  # below that of the bases drawn: CpG takes C and G with it
    assert gc.std() > 0.05
    cpg = sum(one.count("CG") for one in sequences) / 499
    assert cpg < 0.6 * sum(one.count("C") * one.count("G") for one in sequences) / 500**2


def test_joined_flanks_are_the_flanks_of_either_strand_once_each():
    peaks = random_sequences(30, 101)
    flanks = genome_like.peak_flanks(peaks)
    joined = genome_like.join_flanks(flanks, np.random.default_rng(0))
    pieces = [joined[start : start + 26] for start in range(0, len(joined), 26)]
    either = Counter(min(one, reverse_complement(one)) for one in flanks)
    assert Counter(min(one, reverse_complement(one)) for one in pieces) == either
    assert 0 < sum(piece in flanks for piece in pieces) < len(pieces)


# ---- The human data ----


@pytest.fixture
def peak_files(tmp_path):
    """human_tf/ with random peaks in the order of their rank, 1,500 in an AC file; B files as there are."""
    folder = tmp_path / "human_tf"
    folder.mkdir()
    for seed, (factor, name) in enumerate(human.FILES.items()):
        peaks = random_sequences(2_500, 101, seed)
        write_peaks(folder / f"{name}_AC.seq.gz", peaks[:1_500], [])
        if factor in ("CTCF", "USF1"):
            write_peaks(folder / f"{name}_B.seq.gz", peaks[1_500:2_000], peaks[2_000:])
    return folder


def write_peaks(path: Path, bound: list[str], unbound: list[str]) -> None:
    rows = [(sequence, 1) for sequence in bound] + [(sequence, 0) for sequence in unbound]
    lines = "".join(f"A\tseq\t{sequence}\t{is_bound}\n" for sequence, is_bound in rows)
    path.write_bytes(gzip.compress(f"FoldID\tEventID\tseq\tBound\n{lines}".encode()))


def test_the_split_takes_every_peak_once_and_b_files_where_there_are_some(peak_files):
    splits = human.split_peaks(peak_files)
    for factor, name in human.FILES.items():
        ranked, _ = human.read_sequences(peak_files / f"{name}_AC.seq.gz")
        split = splits[factor]
        if factor in ("CTCF", "USF1"):
            assert (split.test, split.test_shuffles) == human.read_sequences(peak_files / f"{name}_B.seq.gz")
            assert sorted(split.train + split.dev) == sorted(ranked)
        else:
            assert split.test == ranked[:500]
            assert sorted(split.train + split.dev + split.test) == sorted(ranked)
        assert len(split.dev) == 400


def test_human_files_are_balanced_and_the_same_every_time(peak_files, tmp_path):
    folders = [tmp_path / "once", tmp_path / "again"]
    for folder in folders:
        human.prepare_human(peak_files, folder, n_background=205_000)
    names = ["background.fa", "dev.csv", "test.csv", "test_pairs.tsv", "train.csv"]
    assert sorted(path.name for path in folders[0].iterdir()) == names
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)
    labels = {}
    for name in ("train", "dev", "test"):
        with (folders[0] / f"{name}.csv").open(newline="") as file:
            labels[name] = Counter(row["label"] for row in csv.DictReader(file))
    classes = {human.BACKGROUND, *human.FILES}
    assert labels["dev"] == dict.fromkeys(classes, 400)
    assert labels["test"] == dict.fromkeys(classes, 500)
    assert human.BACKGROUND not in labels["train"]
    with gexplain.Genome(folders[0] / "background.fa") as genome:
        assert genome.chroms == {"markov1": 200_000, "markov2": 5_000, "flanks1": 200_000, "flanks2": 5_000}


def test_a_peak_that_shares_bases_with_a_held_one_is_left_out_on_either_strand():
    held, same, other_strand, apart = random_sequences(4, 101)
    same = same[:60] + held[20:50] + same[90:]
    other_strand = other_strand[:60] + reverse_complement(held[20:50]) + other_strand[90:]
    nearly = apart[:59] + reverse_complement(held[19]) + held[20:49] + reverse_complement(held[49]) + apart[90:]
    assert human.without_shared([same, other_strand, apart, nearly], [held]) == [apart, nearly]


def test_a_background_larger_than_the_flanks_is_refused():
    with pytest.raises(ValueError, match="fewer than 1,000"):
        human.background_chroms(random_sequences(5, 101), 1_000)


@needs_shared
def test_the_human_split_is_the_one_that_the_models_were_trained_on():
    splits = human.split_peaks(SHARED / "data" / "human_tf")
    text = "\n".join(
        sequence
        for factor, split in splits.items()
        for part in (split.dev, split.dev_shuffles, split.test, split.test_shuffles)
        for sequence in (factor, *part)
    )
    assert (
        hashlib.sha256(text.encode()).hexdigest()
        == "6588d65dd761a73ef1f3671cde45a366a167a9da2fac65433a7d6d5ae1337a37"
    )


# ---- The yeast data ----


def test_a_window_is_free_only_away_from_sites():
    is_free = yeast.site_free([Interval("chrI", 100, 101), Interval("chrII", 500, 501)], margin=10)
    assert [is_free("chrI", start, start + 20) for start in (69, 70, 71, 110, 111)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert is_free("chrII", 100, 120)
    assert is_free("chrIII", 100, 120)


def test_sites_lie_at_the_centre_or_the_offset_and_windows_stay_in_the_chromosome():
    sites = [Interval("chrI", at, at + 1, "Reb1", "-") for at in (10, 500, 990)]
    centred = list(yeast.site_windows(sites, {"chrI": 1_000}))
    assert [one.start for one in centred] == [0, 500 - 64, 1_000 - 128]
    assert {(one.width, one.name, one.strand) for one in centred} == {(128, "Reb1", "-")}
    (moved,) = yeast.site_windows(sites[1:2], {"chrI": 1_000}, [32])
    assert moved.start == 500 - 64 + 32


def test_intervals_that_touch_are_one_cluster():
    parts = [("b", 5, 9), ("a", 30, 40), ("a", 10, 20), ("a", 20, 25), ("a", 12, 14)]
    merged = yeast.merge(Interval(chrom, start, end) for chrom, start, end in parts)
    assert [(one.chrom, one.start, one.end) for one in merged] == [("a", 10, 25), ("a", 30, 40), ("b", 5, 9)]


def test_random_windows_stay_off_sites_and_reach_every_place_left():
    is_free = yeast.site_free([Interval("chrI", 50, 51)], margin=0)
    windows = yeast.random_windows({"chrI": 100, "chrII": 40}, 2_000, is_free, np.random.default_rng(0), width=30)
    places = {(one.chrom, one.start) for one in windows}
    assert places == {("chrI", at) for at in (*range(21), *range(51, 71))} | {("chrII", at) for at in range(11)}


@pytest.fixture(scope="module")
def yeast_files(tmp_path_factory):
    """What prepare.py yeast writes of the real data: file name to its intervals."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which lies beside the checkout")
    out = tmp_path_factory.mktemp("yeast")
    counts = yeast.prepare_yeast(SHARED / "data" / "yeast", out)
    files = {name: yeast.read_intervals(out / name) for name in counts}
    assert counts == {name: len(intervals) for name, intervals in files.items()}
    return files


def test_yeast_files_hold_nothing_of_the_chromosomes_held_out(yeast_files):
    for name, intervals in yeast_files.items():
        chroms = {one.chrom for one in intervals}
        assert not chroms & set(yeast.UNUSED_CHROMS)
        assert not name.startswith("eval/") or chroms == set(yeast.TEST_CHROMS)


def test_yeast_windows_hold_their_site_or_none(yeast_files):
    sites = yeast.read_intervals(SHARED / "data" / "yeast" / "chipexo_sites.bed")
    for factor in yeast.FACTORS:
        of_factor = {(one.chrom, one.start) for one in sites if one.name == factor}
        for window in yeast_files[f"{factor.lower()}.bed"]:
            assert (window.chrom, window.start + 64) in of_factor
        reach = range(64 - yeast.MAX_OFFSET, 64 + yeast.MAX_OFFSET + 1)
        for window in yeast_files[f"eval/{factor.lower()}.bed"]:
            assert any((window.chrom, window.start + at) in of_factor for at in reach)
    by_chrom = {chrom: [one.start for one in sites if one.chrom == chrom] for chrom in {one.chrom for one in sites}}
    for name in ("unbound.bed", "eval/random.bed"):
        for window in yeast_files[name]:
            assert not any(window.start - 16 <= at < window.end + 16 for at in by_chrom[window.chrom])


def test_unbound_windows_do_not_overlap_and_lie_upstream_of_their_gene(yeast_files):
    tss = {one.name: one for one in yeast.read_intervals(SHARED / "data" / "yeast" / "tss.bed")}
    last = Interval("", 0, 0)
    for window in yeast_files["unbound.bed"]:
        assert window.chrom != last.chrom or window.start >= last.end
        gene = tss[window.name]
        upstream = gene.start - window.end if gene.strand == "+" else window.start - gene.end
        assert upstream in (0, 128, 256)
        last = window


# ---- Measures ----


def test_auroc_is_the_chance_that_a_positive_scores_higher():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(2, 9, 40), rng.integers(0, 7, 60)  # many ties
    wins = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert measures.auroc(positive, negative) == pytest.approx(np.mean(wins))


class FakeModel:
    """background and CTCF: the logit of CTCF is the number of C of both strands, background's is 10."""

    labels = ("background", "CTCF")

    def predict(self, sequences, *, strand, batch_size):
        assert strand == "both"
        return np.array([[10.0, one.count("C") + one.count("G")] for one in sequences])


def test_model_scores_are_the_logit_less_the_background_in_the_order_asked():
    scores = measures.ModelScores(FakeModel())
    sequences = ["CCCC", "CGCGCGCGCGCG", "CCCC", "AAAA"]
    np.testing.assert_array_equal(scores.bound(sequences, "CTCF"), [-6, 2, -6, -10])
    assert scores.labels(sequences[1:]) == ["CTCF", "background", "background"]


def test_the_base_of_highest_relevance_counts_once_where_several_are_highest():
    relevance = np.array([[0.0, 3, 1, 1], [2, 2, 0, 0], [1, 1, 1, 1]])
    near = np.array([[False, True, False, False], [True, False, False, False], [False, False, False, True]])
    assert explanations.share_on_top(relevance, near) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)


def test_mass_inside_is_of_positive_relevance_and_none_where_there_is_none():
    relevance = np.array([[3.0, 1, -9, 0], [-1, -1, 0, 0]])
    inside = np.array([[True, False, True, False], [True, True, True, True]])
    assert explanations.mass_inside(relevance, inside) == pytest.approx((3 / 4 + 0) / 2)


def test_sites_are_the_sequences_with_a_strong_hit():
    sequences = ["GGGGGGACTGGGGGGG", "GGGGGGGGGGGGGGGG", "ACTGGGGGGGGGGACT"]
    sites = explanations.find_sites(sequences, MOTIF)
    assert sites.sequences == [sequences[0], sequences[2]]
    assert np.flatnonzero(sites.in_best[0]).tolist() == [6, 7, 8]
    assert np.flatnonzero(sites.near_best[0]).tolist() == list(range(3, 12))
    assert np.flatnonzero(sites.in_best[1]).tolist() == [0, 1, 2]
    assert np.flatnonzero(sites.in_strong[1]).tolist() == [0, 1, 2, 13, 14, 15]
    assert explanations.find_sites(sequences, MOTIF, most=1).sequences == sequences[:1]


def test_both_strands_explain_a_sequence_as_its_reverse_complement(exact_model):
    way = explanations.Way("attnlrp", both_strands=True)
    sequences = random_sequences(3, 40)
    turned = explanations.explain(exact_model, [reverse_complement(one) for one in sequences], "promoter", way)
    relevance = explanations.explain(exact_model, sequences, "promoter", way)
    np.testing.assert_allclose(relevance, turned[:, ::-1], atol=1e-10)


def test_shifts_average_the_readings_that_hold_a_base(exact_model):
    (sequence,) = random_sequences(1, 40)
    read = [
        np.concatenate([np.full(shift, np.nan), one.relevance])
        for shift in range(3)
        for one in gexplain.explain(exact_model, [sequence[shift:]], target="promoter", method="gradient-x-input")
    ]
    way = explanations.Way("gradient-x-input", shifts=3)
    relevance = explanations.explain(exact_model, [sequence], "promoter", way)
    np.testing.assert_allclose(relevance[0], np.nanmean(read, axis=0), atol=1e-10)


def test_a_way_that_the_model_does_not_have_is_left_out_with_a_line(model, capsys):
    sites = {"promoter": explanations.find_sites(["GGGGGGACTGGGGGGG"] * 2, MOTIF)}
    ways = (explanations.Way("deeplift"), explanations.Way("gradient-x-input"))
    measured = dict(explanations.measure_explanations(model, sites, ways))
    assert list(measured) == ["random bases", "random tokens", "gradient-x-input"]
    assert measured["random bases"]["promoter"]["top"] == pytest.approx(9 / 16)
    assert capsys.readouterr().out.startswith("deeplift: left out.")


def test_a_top_base_is_near_within_ten_bases_of_the_site():
    relevance = np.zeros(300)
    relevance[[90, 164]] = 5, 3
    assert tracks.top_is_near(relevance, 164) == (1.0, 21 / 129)  # 90 is out of reach
    assert tracks.top_is_near(relevance, 101)[0] == 0
    assert tracks.top_is_near(relevance, 100)[0] == 1
    assert tracks.top_is_near(relevance, 5) == (pytest.approx(16 / 70), 16 / 70)  # nothing but ties in reach


@pytest.mark.parametrize(("width", "starts"), [(128, [0]), (256, [0, 128]), (300, [0, 128, 172]), (100, [])])
def test_windows_side_by_side_end_with_the_promoter(width, starts):
    assert tracks.tile_starts(width) == starts


class FakeRun:
    """Tracks of a chromosome of 600 bases: one 3 bases right of each site, zero elsewhere."""

    tracks = ("Reb1", "Reb1.prediction")

    def __init__(self, sites):
        self._values = np.zeros(600)
        self._values[[site + 3 for site in sites]] = 1

    def values(self, track, interval):
        return self._values[interval.start : interval.end]


def test_a_track_that_marks_the_sites_agrees_with_them(tmp_path):
    promoters, sites = [(0, 300), (200, 512)], [60, 250, 550]  # merged, and one site in no promoter
    (tmp_path / "promoters_chrIV_chrXVI.bed").write_text("".join(f"chrIV\t{a}\t{b}\n" for a, b in promoters))
    (tmp_path / "chipexo_sites.bed").write_text("".join(f"chrIV\t{at}\t{at + 1}\tReb1\t0\t+\n" for at in sites))
    agreement = tracks.measure_tracks(FakeRun(sites), tmp_path)["Reb1"]
    assert (agreement.n_sites, agreement.top_near) == (2, 1)
    # [0, 128) and [128, 256) have a site, [256, 384) has one within 32 bases of its edge, [384, 512) has none.
    assert (agreement.n_windows, agreement.n_bound) == (3, 2)
    assert agreement.by_prediction == agreement.by_relevance == 1


# ---- Tables ----


def test_tables_mark_what_misses_its_gate():
    aurocs = {"CTCF": 0.96, "FOXA1": 0.98, "GABPA": 0.5, "REST": 0.99, "USF1": 0.994}
    figures = {
        "species": "human",
        "auroc": aurocs,
        "auroc_of_motif": dict.fromkeys(aurocs, 0.9),
        "accuracy": {"all": 0.86},
        "called_bound": {"Markov": 0.06, "yeast genome": 0.05, "shuffles of test peaks": 0.3},
        "with_strong_motif": {"Markov": 0.1, "yeast genome": 0.1},
    }
    text = "\n".join(evaluate.tables({"ours": figures}))
    assert "| ours | 0.960 | 0.980 | 0.500 * | 0.990 | 0.994 | 0.860 * |" in text
    assert "| ours | 0.060 * | 0.050 | 0.300 |" in text
