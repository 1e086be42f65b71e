"""The study of explanations and its costs: benchmarks/evaluation."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_checkpoint, tiny_cnn

import gexplain
from gexplain.attribution.passes import Passes
from gexplain.evaluation.resampling import compare
from gexplain.genome.sequence import reverse_complement
from gexplain.inputs import open_inputs
from gexplain.report import evaluation_plots
from gexplain.study.samples import RegionSamples

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "models"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "motifs"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks" / "evaluation"))

import human
import motif_hits
import seconds
import study
import study_data
import study_tables

FACTORS = tuple(human.FILES)
WORDS = {"CTCF": "CCGCGG", "FOXA1": "TGTTTA", "GABPA": "CCGGAA", "REST": "CAGCAC", "USF1": "CACGTG"}
SETTINGS = gexplain.EvaluateSettings(
    target="label",
    methods=("attnlrp", "deeplift", "gradient-x-input", "occlusion-base", "random"),
    projections=("uniform", "copy"),
    aggregations=("sum", "mean", "max"),
    draws=1,
    costly=5,
    mutants=1,
    shifts=2,
    seed=3,
)


def motif_of(word: str) -> motif_hits.Motif:
    rows = [[0.97 if base == letter else 0.01 for base in "ACGT"] for letter in word]
    return motif_hits.Motif("MA0001.1", word, np.array(rows))


MOTIFS = {factor: motif_of(word) for factor, word in WORDS.items()}


def random_sequences(n: int, width: int, seed: int = 0) -> list[str]:
    letters = np.array(list("ACGT"))[np.random.default_rng(seed).integers(0, 4, (n, width))]
    return ["".join(row) for row in letters]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def bed_of(path: Path) -> list[tuple[str, int, int, str]]:
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [(chrom, int(start), int(end), name) for chrom, start, end, name, *_ in lines]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """test.csv as prepare.py writes it: three peaks of each factor, of which the first has its word twice."""
    folder = tmp_path_factory.mktemp("prepared")
    with (folder / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "label"])
        for seed, factor in enumerate((*FACTORS, human.BACKGROUND)):
            for number, peak in enumerate(random_sequences(3, human.PEAK_WIDTH, seed)):
                if number == 0 and factor in WORDS:
                    word = WORDS[factor]
                    peak = f"{peak[:10]}{word}{peak[16:60]}{reverse_complement(word)}{peak[66:]}"
                writer.writerow([peak, factor])
    return folder


@pytest.fixture(scope="module")
def human_data(prepared, tmp_path_factory) -> study_data.StudyData:
    return study_data.human_data(prepared, MOTIFS, tmp_path_factory.mktemp("human"), 8)


# ---- The data ----


def test_factors_take_turns_until_there_are_enough():
    groups = {"a": "xyz", "b": "p", "c": "qr"}
    assert study_data.in_turn(groups, 5) == [
        ("a", 1, "x"),
        ("b", 1, "p"),
        ("c", 1, "q"),
        ("a", 2, "y"),
        ("c", 2, "r"),
    ]
    assert study_data.in_turn(groups, None)[5:] == [("a", 3, "z")]


@pytest.mark.parametrize("marks", ["0110100", "1110011", "0000", "1111", "1"])
def test_stretches_are_the_runs_of_marked_bases(marks):
    expected, start = [], None
    for position, mark in enumerate([*marks, "0"]):
        if mark == "1" and start is None:
            start = position
        elif mark == "0" and start is not None:
            expected.append((start, position))
            start = None
    assert list(study_data.stretches(np.array([mark == "1" for mark in marks]))) == expected


def test_each_peak_is_a_contig_named_after_its_factor_and_background_is_left_out(human_data, prepared):
    regions = bed_of(human_data.regions)
    with (prepared / "test.csv").open(newline="") as file:
        of_factor = {factor: [] for factor in (*FACTORS, human.BACKGROUND)}
        for row in csv.DictReader(file):
            of_factor[row["label"]].append(row["sequence"])
    assert [name for *_, name in regions] == [*FACTORS, *FACTORS[:3]]
    with gexplain.Genome(human_data.genome) as genome:
        assert list(genome.chroms) == [chrom for chrom, *_ in regions]
        for chrom, start, end, name in regions:
            assert (start, end) == (0, human.PEAK_WIDTH)
            factor, number = chrom.split("_")
            assert factor == name
            assert genome.fetch(chrom, start, end) == of_factor[factor][int(number) - 1]


def test_the_truth_of_a_peak_is_every_strong_hit_of_its_own_matrix_on_either_strand(human_data):
    """Slowly: a base is in a site if a word over it scores 0.6 of the best, from the definition of the score."""
    expected = {}
    with gexplain.Genome(human_data.genome) as genome:
        for chrom, start, end, name in bed_of(human_data.regions):
            peak, word, inside = genome.fetch(chrom, start, end), WORDS[name], set()
            # A letter of the word has 0.97, any other 0.01; 0.001 is added to each.
            right, wrong = np.log2(0.971 / 1.004 / 0.25), np.log2(0.011 / 1.004 / 0.25)
            for place in range(len(peak) - 5):
                for text in (peak[place : place + 6], reverse_complement(peak[place : place + 6])):
                    score = sum(right if a == b else wrong for a, b in zip(text, word, strict=True))
                    if score >= 0.6 * 6 * right:
                        inside |= set(range(place, place + 6))
            expected[chrom] = inside
    found: dict[str, set[int]] = {chrom: set() for chrom in expected}
    for chrom, start, end, name in bed_of(human_data.truth):
        assert chrom.startswith(name)
        found[chrom] |= set(range(start, end))
    assert found == expected
    for factor in FACTORS:
        assert {*range(10, 16), *range(60, 66)} <= found[f"{factor}_1"]
    n_without = sum(not inside for inside in found.values())
    assert n_without > 0
    assert sum(human_data.counts[f"{factor} with a site"] for factor in FACTORS) == 8 - n_without
    assert sum(human_data.counts[factor] for factor in FACTORS) == 8


def test_yeast_windows_are_explained_as_they_are_with_their_site_off_the_centre(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "reb1.bed").write_text("chrIV\t100\t228\tReb1\t0\t+\nchrIV\t500\t628\tReb1\t0\t-\n")
    (tmp_path / "eval" / "rap1.bed").write_text("chrIV\t300\t428\tRap1\t0\t-\n")
    (tmp_path / "chipexo_sites.bed").write_text(
        "chrIV\t140\t141\tReb1\t0\t+\nchrIV\t580\t581\tReb1\t0\t-\nchrIV\t364\t365\tRap1\t0\t-\nchrIV\t400\t401\tAbf1\t0\t+\n"
    )
    (tmp_path / "sacCer3.fa.gz").symlink_to(tmp_path / "genome.fa")
    (tmp_path / "genome.fa").write_text(f">chrIV\n{random_sequences(1, 700)[0]}\n")
    motifs = {"Reb1": motif_of("ACGTACGTA"), "Rap1": motif_of("ACGTACGTACGT")}
    data = study_data.yeast_data(tmp_path, tmp_path, motifs, tmp_path / "inputs", 3)
    # Nine bases, and one more to either side; twelve, whose middle is either of two, and one more.
    assert bed_of(data.truth) == [
        ("chrIV", 135, 146, "Reb1"),
        ("chrIV", 575, 586, "Reb1"),
        ("chrIV", 357, 372, "Rap1"),
    ]
    assert data.counts == {"Reb1": 2, "Reb1 with a site": 2, "Rap1": 1, "Rap1 with a site": 1}
    with open_inputs(data.regions, tmp_path / "genome.fa", SETTINGS.of_inputs()) as inputs:
        samples = RegionSamples(inputs, data.window, data.truth, None, 0)
        assert samples.labels == ["Reb1", "Rap1", "Reb1"]
        (chunk,) = samples.chunks(3)
        places = [("chrIV", 100), ("chrIV", 300), ("chrIV", 500)]
        for sample, (chrom, start), (first, last) in zip(chunk, places, [(35, 46), (57, 72), (75, 86)], strict=True):
            assert sample.sequence == inputs.genome.fetch(chrom, start, start + 128)
            assert np.flatnonzero(sample.inside).tolist() == list(range(first, last))


# ---- The study ----


@pytest.fixture(scope="module")
def done(human_data, tmp_path_factory) -> tuple[Path, study_tables.Study]:
    """The whole study with two tiny models."""
    folder = tmp_path_factory.mktemp("study")
    labels = (human.BACKGROUND, *FACTORS)
    models = (
        str(tiny_checkpoint(folder / "tf", labels=labels, n_targets=6, n_layers=1)),
        str(tiny_cnn(folder / "tf-cnn", labels=labels)),
    )
    data = replace(human_data, models=models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_plots, "_DPI", 20)  # figures are drawn to be there
        study.measure(data, folder / "out" / "human", SETTINGS)
    return folder, study_tables.read_study(folder / "out" / "human")


def cells(text: str) -> dict[str, dict[str, str]]:
    """First column to column to cell of a Markdown table below its caption."""
    _, _, header, _, *lines = text.split("\n")
    names = [cell.strip() for cell in header.strip("|").split("|")]
    rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def summary_of(folder: Path, **where: str) -> dict[str, str]:
    """The one row of summary.tsv."""
    rows = [
        row
        for row in rows_of(folder / "out" / "human" / "summary.tsv")
        if row["other"] == "." and all(row[name] == value for name, value in where.items())
    ]
    assert len(rows) == 1
    return rows[0]


def number(text: str) -> float:
    return float(text.replace("−", "-").strip("*+"))


def test_report_has_all_tables_and_copies_the_figures(done, capsys):
    folder, _ = done
    study.report(folder / "out", folder / "figures")
    text = (folder / "out" / "tables.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    assert text.startswith("## human\n\n8 sequences, ")
    assert text.count("\n| --- |") == 16
    assert "nan" not in text
    figures = sorted(path.name for path in (folder / "figures").iterdir())
    assert figures == [
        f"evaluation_human_{name}.png"
        for name in ("comparison", "curves", "quality-and-cost", "sanity", "similarity")
    ]


def test_the_best_method_is_bold_and_no_baseline_is(done):
    folder, tables = done
    found = cells(study_tables.quality_table(tables, "tf"))
    methods = ("attnlrp", "gradient-x-input", "occlusion-base", "random", "randomised-weights")
    assert tuple(found)[:5] == methods
    for column, metric, best in (("Δ, bases ↑", "delta", max), ("sufficiency ↓", "sufficiency", min)):
        means = {}
        for method in methods:
            rows = rows_of(folder / "out" / "human" / "metrics.tsv")
            variant = "native" if method == "occlusion-base" else "uniform"
            where = {"model": "tf", "method": method, "level": "nucleotide", "variant": variant, "metric": metric}
            values = [float(row["value"]) for row in rows if all(row[key] == one for key, one in where.items())]
            assert len(values) == 8
            means[method] = np.mean(values)
            assert number(found[method][column]) == pytest.approx(means[method], abs=6e-3)
        chosen = best(methods[:3], key=means.__getitem__)
        assert [method for method in methods if found[method][column].startswith("**")] == [chosen]
    assert found["*chance*"]["AUROC ↑"] == "0.500"


def test_passes_are_in_the_table_of_properties(done):
    found = cells(study_tables.properties_table(done[1], "tf"))
    assert found["attnlrp"]["forward equivalents"] == "2"
    assert found["occlusion-base"]["forward equivalents"] == f"{1 + human.PEAK_WIDTH}"


def test_a_rival_is_taken_from_the_default_and_not_the_other_way_round(done):
    folder, tables = done
    found = cells(study_tables.rivals_table(tables, "tf"))["attnlrp − gradient-x-input"]
    for column, level, variant in (("Δ, tokens", "token", "native"), ("Δ, bases", "nucleotide", "uniform")):
        row = summary_of(folder, model="tf", method="gradient-x-input", level=level, variant=variant, metric="delta")
        difference, rest = found[column].split(" (")
        interval, q = rest.split("), q ")
        low, high = interval.split(" to ")
        assert number(difference) == pytest.approx(-float(row["difference"]), abs=6e-4)
        assert number(low) == pytest.approx(-float(row["difference_high"]), abs=6e-4)
        assert number(high) == pytest.approx(-float(row["difference_low"]), abs=6e-4)
        assert number(q) == pytest.approx(float(row["q"]), abs=6e-4)


def test_the_cnn_is_compared_with_the_transformer(done):
    folder, tables = done
    assert cells(study_tables.models_table(tables))["Δ, bases"]["difference"] == "–"  # in the logits of each
    found = cells(study_tables.models_table(tables))["Gini"]
    means = [number(found[name]) for name in ("tf, attnlrp", "tf-cnn, deeplift")]
    assert number(found["difference"].split(" ")[0]) == pytest.approx(means[1] - means[0], abs=0.02)
    assert found["difference"].endswith(
        f"q {float(summary_of(folder, model='tf-cnn', method='deeplift', variant='native', metric='gini')['q']):.3f}"
    )


def test_averaged_readings_stand_below_the_plain_one_with_their_paired_difference(done):
    folder, tables = done
    found = cells(study_tables.averaging_table(tables, "tf"))
    assert list(found) == ["plain", "both strands", "2 shifts", "both strands, 2 shifts"]
    values: dict[str, list[float]] = {}
    for row in rows_of(folder / "out" / "human" / "metrics.tsv"):
        if (row["model"], row["method"], row["level"], row["metric"]) == ("tf", "attnlrp", "nucleotide", "delta"):
            values.setdefault(row["variant"], []).append(float(row["value"]))
    both, plain = np.array(values["uniform, both strands"]), np.array(values["uniform"])
    expected = compare(both, plain, what="delta", seed=3)
    mean, interval = found["both strands"]["Δ"].split(" (")
    assert number(mean) == pytest.approx(both.mean(), abs=6e-3)
    low, high = interval.rstrip(")").split(" to ")
    assert (number(low), number(high)) == pytest.approx((expected.low, expected.high), abs=6e-3)
    assert "(" not in found["plain"]["Δ"]


def test_projections_are_of_methods_by_token_and_aggregations_of_methods_by_base(done):
    _, tables = done
    assert list(cells(study_tables.projections_table(tables, "tf"))) == [
        "attnlrp, uniform", "attnlrp, copy", "gradient-x-input, uniform", "gradient-x-input, copy",
    ]  # fmt: skip
    assert list(cells(study_tables.aggregations_table(tables, "tf"))) == [
        "occlusion-base, sum", "occlusion-base, mean", "occlusion-base, max",
    ]  # fmt: skip


def test_similarity_agreement_and_sanity_name_their_pairs(done):
    _, tables = done
    similar = cells(study_tables.similarity_table(tables, "tf"))
    assert similar["attnlrp"]["random"] == similar["random"]["attnlrp"]
    assert next(iter(cells(study_tables.agreement_table(tables, "tf", "tf-cnn")))) == "attnlrp"
    sanity = cells(study_tables.sanity_table(tables, "tf"))
    assert set(sanity["random"].values()) == {"random", "1.00"}  # it looks at no weights
    assert sanity["attnlrp"]["1"] != "1.00"


def test_a_part_without_its_folder_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "read_motifs", lambda folder: MOTIFS)
    with pytest.raises(SystemExit):
        study.main([str(tmp_path), "--part", "human", "--output", str(tmp_path / "out")])
    assert "--human is needed" in capsys.readouterr().err


# ---- Seconds ----


def test_attnlrp_is_one_forward_and_one_backward_pass(tmp_path):
    model = gexplain.load_model(tiny_checkpoint(tmp_path / "tf"), device="cpu")
    costs = seconds.measure_costs(model, random_sequences(3, 20), repeats=2)
    assert list(costs)[:2] == [seconds.FORWARD, "attnlrp"]
    assert costs[seconds.FORWARD].passes == Passes(3, 0)
    assert costs["attnlrp"].passes == Passes(3, 3)
    assert costs["ism"].passes == Passes(3 * 61, 0)
    assert all(len(cost.seconds) == 2 and min(cost.seconds) > 0 for cost in costs.values())


def test_time_is_that_of_the_median_turn_against_the_forward_pass_of_the_same_turn():
    costs = {
        seconds.FORWARD: seconds.Cost(Passes(4, 0), [1.0, 2.0, 1.0]),
        "slow": seconds.Cost(Passes(4, 8), [4.0, 6.0, 90.0]),
    }
    found = cells(seconds.cost_table("here", costs, 4))
    assert found["slow"] == {
        "method": "slow", "forward": "1", "backward": "2", "forward equivalents": "3",
        "s per 1,000 windows": "1,500", "time / forward": "4.00",
    }  # fmt: skip


def test_windows_are_spread_over_the_genome(tmp_path):
    sequences = random_sequences(2, 25)
    (tmp_path / "genome.fa").write_text(f">a\n{sequences[0]}\n>b\n{sequences[1]}\n")
    windows = seconds.genome_windows(tmp_path / "genome.fa", 10, 2)
    assert windows == [sequences[0][:10], sequences[1][10:20]]
    with pytest.raises(ValueError, match="no 30 bases"):
        seconds.genome_windows(tmp_path / "genome.fa", 30, 2)
