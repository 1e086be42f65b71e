"""Windows drawn of a run: from its regions, by nothing but the seed and where they lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_tracks import random_letters, write_fasta

from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.study.run_windows import draw_regions, draw_windows, predicted_classes, windows_of
from gexplain.windows import Tiling, Window

CLASSES = ("none", "promoter", "enhancer")
HEADER = "#chrom\tstart\tend\tname\tstrand\tstatus\treason\twindows\tscored_bases\tambiguous_bases\tpredicted"
TILING = Tiling(40, 20)


def table(path: Path, rows) -> Path:
    """rows: (chrom, start, end, strand, ambiguous bases, predicted class, highest probabilities)."""
    lines = [HEADER + "".join(f"\tprobability_{name}\tmax_{name}" for name in CLASSES)]
    for chrom, start, end, strand, ambiguous, predicted, highest in rows:
        values = "".join(f"\t0.1\t{value}" for value in highest)
        head = f"{chrom}\t{start}\t{end}\tname\t{strand}"
        lines.append(f"{head}\tscored\t.\t1\t{end - start}\t{ambiguous}\t{predicted}{values}")
    lines.append("chr1\t5\t5\tname\t.\tskipped\tempty region" + "\t." * 10)
    path.write_text("\n".join(lines) + "\n")
    return path


def plain(start: int, width: int = 30, strand: str = ".", predicted: str = "none", highest=(0.9, 0.1, 0.1)):
    return ("chr1", start, start + width, strand, 0, predicted, highest)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """chr1 of 4,000 bases, of which 1,000 to 2,000 are N; chr2 of 30, fewer than a window."""
    rng = np.random.default_rng(1)
    letters = random_letters(rng, 1000) + "N" * 1000 + random_letters(rng, 2000)
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    with Genome(write_fasta(path, {"chr1": letters, "chr2": random_letters(rng, 30)})) as opened:
        yield opened


def test_every_scored_region_is_drawn_where_there_are_no_more(tmp_path):
    drawn = draw_regions(table(tmp_path / "r.tsv", [plain(0), plain(50), plain(90)]), "both", 5, 0)
    assert {region.start for region in drawn.regions} == {0, 50, 90}
    assert (drawn.n_regions, drawn.n_bases) == (3, 90)


def test_neither_the_order_of_regions_nor_their_copies_matter(tmp_path):
    rows = [plain(10 * i) for i in range(500)]
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(500)]
    one, other, twice = (
        draw_regions(table(tmp_path / "r.tsv", some), "both", 7, 3).regions for some in (rows, shuffled, rows + rows)
    )
    assert one == other == twice
    assert len(set(one)) == 7


def test_every_region_is_drawn_as_often_as_another(tmp_path):
    path = table(tmp_path / "r.tsv", [plain(10 * i) for i in range(10)])
    counts = Counter(region.start for seed in range(400) for region in draw_regions(path, "both", 2, seed).regions)
    # 80 of each are expected, with a standard deviation of 8.
    assert len(counts) == 10
    assert all(45 < n < 115 for n in counts.values())


def test_ambiguous_bases_are_counted_over_all_regions(tmp_path):
    rows = [("chr1", 0, 100, ".", n, "none", (0.9, 0, 0)) for n in (0, 10, 11, 50)]
    drawn = draw_regions(table(tmp_path / "r.tsv", rows), "both", 1, 0)
    assert (drawn.n_bases, drawn.n_ambiguous, drawn.n_over) == (400, 71, 2)


@pytest.mark.parametrize(
    ("mode", "strands"), [("both", ".."), ("forward", "++"), ("reverse", "--"), ("region", "+-")]
)
def test_regions_are_on_the_strand_that_the_run_reads(tmp_path, mode, strands):
    rows = [plain(0, strand="+"), plain(90, strand="-")]
    drawn = draw_regions(table(tmp_path / "r.tsv", rows), mode, 2, 0)
    assert [one.strand for one in sorted(drawn.regions, key=lambda one: one.start)] == list(strands)


def test_a_region_counts_for_each_class_that_is_likely_in_it(tmp_path):
    rows = [
        plain(0, highest=(0.9, 0.6, 0.1)),
        plain(50, predicted="enhancer", highest=(0.3, 0.3, 0.4)),
        plain(90, highest=(0.9, 0.5, 0.2)),
    ]
    by_class = draw_regions(table(tmp_path / "r.tsv", rows), "both", 5, 0, CLASSES).by_class
    starts = {index: {one.start for one in regions} for index, regions in by_class.items()}
    assert starts == {0: {0, 90}, 1: {0}, 2: {50}}


def test_windows_are_those_of_the_run(genome):
    region = Interval("chr1", 2105, 2333)
    tiles = TILING.starts(np.array([[2105, 2333]]), np.array([-1]), 4000).tolist()
    windows = list(windows_of(region, genome, TILING, 100, 0))
    assert sorted(one.start for one in windows) == tiles
    assert all(one.end - one.start == 40 for one in windows)


def test_windows_of_n_alone_are_not_drawn(genome):
    windows = list(windows_of(Interval("chr1", 900, 2100), genome, TILING, 1000, 0))
    assert windows
    assert not any(one.start >= 1000 and one.end <= 2000 for one in windows)


def test_a_chromosome_shorter_than_a_window_is_its_window(genome):
    assert list(windows_of(Interval("chr2", 3, 9), genome, TILING, 5, 0)) == [Window("chr2", 0, 30)]


def test_each_region_gives_a_window_before_one_gives_a_second(tmp_path, genome, model):
    rows = [plain(2000 + 200 * i, width=150) for i in range(4)]
    drawn = draw_regions(table(tmp_path / "r.tsv", rows), "both", 6, 0)
    chosen = draw_windows(drawn, genome, TILING, model, 6, 0)
    assert sorted(Counter(region.start for region in chosen.values()).values()) == [1, 1, 2, 2]


def test_no_window_is_drawn_twice(tmp_path, genome, model):
    rows = [plain(2000, width=100), plain(2010, width=100), plain(2001, width=30), plain(2000, width=32)]
    drawn = draw_regions(table(tmp_path / "r.tsv", rows), "both", 50, 0)
    chosen = draw_windows(drawn, genome, TILING, model, 50, 0)
    expected = {one for region in drawn.regions for one in windows_of(region, genome, TILING, 200, 0)}
    assert set(chosen) == expected
    assert len(expected) < 4 * 5


class FirstLetters:
    """Predicts enhancer of what begins with AC, else promoter of what begins with A or C."""

    def predict(self, sequences, *, strand):
        assert strand == "both"
        classes = [2 if one.startswith("AC") else int(one[0] in "AC") for one in sequences]
        return np.eye(3)[classes]


def test_of_each_class_as_many_windows_as_there_are(tmp_path, genome):
    likely = (0.9, 0.9, 0.9)  # every class may be anywhere: which is there the model says
    model = FirstLetters()
    drawn = draw_regions(table(tmp_path / "r.tsv", [plain(2000, 2000, highest=likely)]), "both", 15, 0, CLASSES)
    chosen = draw_windows(drawn, genome, TILING, model, 15, 0)
    found = Counter(predicted_classes(model, list(chosen), genome).tolist())
    tried = list(windows_of(drawn.regions[0], genome, TILING, 32, 0))
    supply = Counter(predicted_classes(model, tried, genome).tolist())
    assert supply[2] < 5 < min(supply[0], supply[1])  # else the test says nothing
    assert found[2] == supply[2]
    assert sum(found.values()) == 15
    assert abs(found[0] - found[1]) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_a_class_whose_regions_share_a_window_loses_no_turn(tmp_path, genome, seed):
    """Of none there are two windows, one of them of two regions; of the others more than enough."""
    letters = genome.fetch("chr1", 2000, 4000)
    of_none = [i for i in range(1900) if letters[i] in "GT"][:900:300]
    of_promoter = [i for i in range(1900) if letters[i] == "C"][:900:90]
    rows = [plain(2000 + at, 40) for at in of_none[:2]] + [plain(2000 + of_none[0] + 5, 30)]
    rows += [plain(2000 + at, 40, predicted="promoter", highest=(0.1, 0.9, 0.1)) for at in of_promoter]
    drawn = draw_regions(table(tmp_path / "r.tsv", rows), "both", 3, seed, CLASSES)
    chosen = draw_windows(drawn, genome, TILING, FirstLetters(), 3, seed)
    classes = predicted_classes(FirstLetters(), list(chosen), genome).tolist()
    assert sorted(classes) == [0, 0, 1]
