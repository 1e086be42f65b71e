"""Samples: the sequences of an evaluation, where their true sites lie, and what is said of those passed over."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import InputError
from gexplain.inputs import ScoreSettings, open_inputs
from gexplain.study.samples import CsvSamples, RegionSamples, Samples, count_labels, draw

ROWS = ["ACGTACGTACGTACGT", "TTTTTTTTTTGGGGG", "ACGTNNNNNNNNNNNN", "CCCCCCCCCCCCNNNNNNNN", "GATTACAGATTACA"]
CHROMS = {"chr1": 400, "chr2": 60, "chrN": 200}


def sheet(tmp_path: Path, rows=ROWS, labels="abcab", name: str = "rows.csv") -> Path:
    path = tmp_path / name
    lines = [f"{sequence},{label}" for sequence, label in zip(rows, labels, strict=False)]
    path.write_text("\n".join(["sequence,label", *lines]) + "\n")
    return path


def bed(tmp_path: Path, *lines: str, name: str = "sites.bed") -> Path:
    path = tmp_path / name
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines))
    return path


def of_csv(path: Path, truth: Path | None = None, sample: int | None = None, seed: int = 0) -> CsvSamples:
    return CsvSamples(path, truth, sample, seed)


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    """Chromosomes of random bases; chrN is N but for its last 50."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("genome") / "g.fa"
    text = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in CHROMS.items()}
    text["chrN"] = "N" * 150 + text["chrN"][150:]
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in text.items()))
    return path


@pytest.fixture
def of_regions(genome, tmp_path):
    """The samples of BED lines, in windows of 40 bases; open as long as the test."""

    @contextmanager
    def opened(
        *lines: str,
        truth: Path | None = None,
        window: int = 40,
        sample: int | None = None,
        seed: int = 0,
        chrom_alias: str | None = None,
        on_bad_line: str = "stop",
    ):
        settings = ScoreSettings(chrom_alias=chrom_alias)
        with open_inputs(bed(tmp_path, *lines, name="regions.bed"), genome, settings) as inputs:
            yield RegionSamples(inputs, window, truth, sample, seed, chrom_alias=chrom_alias, on_bad_line=on_bad_line)

    return opened


def listed(samples: Samples):
    return [one for chunk in samples.chunks(2) for one in chunk]


def sequence_of(genome: Path, chrom: str, start: int, end: int) -> str:
    text = genome.read_text().split()
    return text[text.index(f">{chrom}") + 1][start:end]


def inside_by_loops(sites, chrom: str, start: int, width: int) -> list[bool] | None:
    """Of each base, whether some site holds it; None where no base is in one."""
    inside = []
    for position in range(start, start + width):
        held = False
        for site_chrom, site_start, site_end in sites:
            if site_chrom == chrom and site_start <= position < site_end:
                held = True
        inside.append(held)
    return inside if True in inside else None


# ---- a CSV ----


def test_rows_are_named_by_their_lines_and_numbered_by_their_place(tmp_path):
    found = listed(of_csv(sheet(tmp_path, [ROWS[0], ROWS[1], ROWS[4]], "aba")))
    assert [(one.number, one.name, one.sequence, one.label) for one in found] == [
        (0, "2", ROWS[0], "a"),
        (1, "3", ROWS[1], "b"),
        (2, "4", ROWS[4], "a"),
    ]
    assert [one.inside for one in found] == [None] * 3


def test_sequences_mostly_of_n_are_left_out_and_told(tmp_path):
    samples = of_csv(sheet(tmp_path))
    assert samples.names == ["2", "3", "5", "6"]  # of line 4 a quarter is bases; of line 5 more than half
    assert len(samples) == 4
    assert samples.warnings == ["1 sequence left out: more than half of its letters are no base"]
    assert samples.labels == ["a", "b", "a", "b"]


def test_chunks_are_all_samples_in_their_order(tmp_path):
    samples = of_csv(sheet(tmp_path))
    assert [[one.name for one in chunk] for chunk in samples.chunks(3)] == [["2", "3", "5"], ["6"]]
    assert samples.shortest == 14


def test_labels_are_counted(tmp_path):
    assert count_labels(of_csv(sheet(tmp_path)).labels) == {"a": 2, "b": 2}


# ---- what is drawn ----


def test_a_sample_is_drawn_by_the_seed_and_keeps_the_order():
    rows = np.arange(100, 200)
    drawn = draw(rows, 10, 3)
    assert len(set(drawn.tolist())) == 10
    assert set(drawn.tolist()) <= set(rows.tolist())
    assert (np.diff(drawn) > 0).all()
    assert (draw(rows, 10, 3) == drawn).all()
    assert (draw(rows, 10, 4) != drawn).any()


@pytest.mark.parametrize("most", [None, 5, 6])
def test_no_more_than_there_are_is_all_of_them(most):
    assert draw(np.arange(5), most, 0).tolist() == [0, 1, 2, 3, 4]


def test_a_sample_is_of_readable_sequences_alone(tmp_path):
    for seed in range(5):
        samples = of_csv(sheet(tmp_path), sample=3, seed=seed)
        assert len(samples) == 3
        assert "4" not in samples.names
        assert [one.number for one in listed(samples)] == [0, 1, 2]


# ---- true sites ----

SITES = {
    "none here": ["3 1 4"],
    "one": ["2 3 7", "3 0 1"],
    "two, apart": ["2 3 5", "2 9 12"],
    "two that overlap": ["2 3 8", "2 5 12"],
    "one in the other": ["2 2 12", "2 4 6"],
    "past the end": ["2 12 40"],
    "the whole": ["2 0 40"],
    "side by side, out of order": ["2 8 9", "2 7 8"],
}


@pytest.mark.parametrize("lines", SITES.values(), ids=SITES)
def test_the_truth_of_a_row_is_what_loops_find(tmp_path, lines):
    samples = of_csv(sheet(tmp_path), bed(tmp_path, *lines))
    sites = [(chrom, int(start), int(end)) for chrom, start, end in map(str.split, lines)]
    for one in listed(samples):
        expected = inside_by_loops(sites, one.name, 0, len(one.sequence))
        assert (None if one.inside is None else one.inside.tolist()) == expected
    assert samples.n_with_truth == sum(one.inside is not None for one in listed(samples)) > 0


@pytest.mark.parametrize("seed", range(3))
def test_the_truth_of_a_region_is_what_loops_find(tmp_path, of_regions, seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 380, size=12)
    sites = [("chr1", int(start), int(start + rng.integers(1, 30))) for start in starts] + [("chr2", 5, 9)]
    truth = bed(tmp_path, *(f"{chrom} {start} {end}" for chrom, start, end in sites))
    centres = rng.integers(0, 400, size=10).tolist()
    with of_regions(*(f"chr1 {centre} {centre + 1}" for centre in centres), truth=truth) as samples:
        for one, centre in zip(listed(samples), centres, strict=True):
            start = min(max(centre - 20, 0), 360)
            expected = inside_by_loops(sites, "chr1", start, 40)
            assert (None if one.inside is None else one.inside.tolist()) == expected


def test_truth_that_misses_all_is_told_with_both_sides_names(tmp_path, of_regions):
    truth = bed(tmp_path, "1 100 200", "1 300 310", "2 20 30")
    with pytest.raises(InputError, match="none of its 3 sites overlaps any of the 2 sequences") as raised:
        of_regions("chr1 100 140", "chr2 0 40", truth=truth).__enter__()
    assert raised.value.detail.splitlines() == ["sites are on 1, 2", "sequences are on chr1, chr2"]


def test_truth_of_a_csv_by_other_names_is_told(tmp_path):
    with pytest.raises(InputError, match="of a CSV, the chromosome is the row's line"):
        of_csv(sheet(tmp_path), bed(tmp_path, "chr1 1 5"))


def test_truth_without_a_site_is_told(tmp_path):
    with pytest.raises(InputError, match="none of its 0 sites") as raised:
        of_csv(sheet(tmp_path), bed(tmp_path))
    assert "sites are on no chromosome" in raised.value.detail


@pytest.mark.parametrize("alias", ["chr", "file"])
@pytest.mark.parametrize("regions_on", ["chr1", "1"])
def test_the_truths_chromosomes_are_mapped_as_the_regions_are(tmp_path, of_regions, alias, regions_on):
    """Two names of one chromosome are one; a name that nothing maps stays what it is."""
    if alias == "file":
        (tmp_path / "alias.tsv").write_text("chr1\t1\n")
    truth = bed(tmp_path, "1 110 120", "chr1 130 132", "1 205 207", "7 100 140")
    given = "chr" if alias == "chr" else str(tmp_path / "alias.tsv")
    with of_regions(f"{regions_on} 100 140", f"{regions_on} 200 240", truth=truth, chrom_alias=given) as samples:
        found = listed(samples)
    sites = [("chr1", 110, 120), ("chr1", 130, 132), ("chr1", 205, 207)]
    for one, start in zip(found, (100, 200), strict=True):
        assert one.inside is not None
        assert one.inside.tolist() == inside_by_loops(sites, "chr1", start, 40)


def test_without_an_alias_no_name_of_the_truth_is_mapped(tmp_path, of_regions):
    with of_regions("chr1 100 140", truth=bed(tmp_path, "1 110 120", "chr1 130 132")) as samples:
        (one,) = listed(samples)
    assert one.inside is not None
    assert np.flatnonzero(one.inside).tolist() == [30, 31]


def test_malformed_lines_of_the_truth_are_skipped_where_that_is_asked_for(tmp_path, of_regions):
    lines = ["chr1 110 120", "chr1 9 x", "chr1 130 132", *["chr1 9 1"] * 6]
    with pytest.raises(InputError, match="line 2"):
        of_regions("chr1 100 140", truth=bed(tmp_path, *lines)).__enter__()
    with of_regions("chr1 100 140", truth=bed(tmp_path, *lines), on_bad_line="skip") as samples:
        assert samples.warnings == [f"{tmp_path / 'sites.bed'}: 7 malformed lines skipped: 2, 4, 5, 6, 7 ..."]
        (one,) = listed(samples)
    assert one.inside is not None
    assert np.flatnonzero(one.inside).tolist() == [*range(10, 20), 30, 31]


def test_malformed_lines_of_the_truth_of_a_csv_are_skipped_too(tmp_path):
    truth = bed(tmp_path, "2 9 1", "2 3 5")
    samples = CsvSamples(sheet(tmp_path, [ROWS[0]]), truth, None, 0, on_bad_line="skip")
    assert samples.warnings == [f"{truth}: 1 malformed line skipped: 1"]
    assert samples.n_with_truth == 1


def test_without_their_truth_samples_are_those_that_had_none(tmp_path):
    samples, bare = of_csv(sheet(tmp_path), bed(tmp_path, "2 3 7")), of_csv(sheet(tmp_path))
    assert samples.digest() != bare.digest()
    samples.forget_truth("too few")
    assert samples.warnings == [*bare.warnings, "too few"]
    assert (samples.n_with_truth, samples.digest()) == (0, bare.digest())
    assert [one.inside for one in listed(samples)] == [None] * 4


# ---- the same letters twice ----


def test_rows_of_the_same_letters_are_told_and_kept(tmp_path):
    samples = of_csv(sheet(tmp_path, [ROWS[0], ROWS[1], ROWS[0], ROWS[4], ROWS[0]], "abcab"))
    assert len(samples) == 5
    (warning,) = samples.warnings
    assert warning.startswith("3 of 5 sequences are the same letters as another;")


def test_windows_of_the_same_letters_are_told(of_regions):
    with of_regions("chr1 100 140", "chr1 110 130", "chr1 200 240", "chr1 0 9", "chr1 2 5") as samples:
        assert samples.names == ["chr1:101-140", "chr1:101-140#2", "chr1:201-240", "chr1:1-40", "chr1:1-40#2"]
        (warning,) = samples.warnings
    assert warning.startswith("4 of 5 sequences are the same letters as another;")


def test_only_what_is_measured_is_told_to_be_the_same(tmp_path):
    samples = of_csv(sheet(tmp_path, [ROWS[0], ROWS[1], ROWS[0]], "aba"), sample=1)
    assert samples.warnings == []


# ---- regions of a genome ----


def test_a_window_is_around_the_middle_or_the_summit(of_regions, genome):
    peaks = ["chr1 100 200 a 0 . 1 1 1 -1", "chr1 100 200 b 0 . 1 1 1 10", "chr1 101 200 c 0 . 1 1 1 0"]
    with of_regions(*peaks) as samples:
        found = {one.name: one.sequence for one in listed(samples)}
    assert found == {
        "a": sequence_of(genome, "chr1", 130, 170),
        "b": sequence_of(genome, "chr1", 90, 130),
        "c": sequence_of(genome, "chr1", 81, 121),
    }


def test_at_a_chromosomes_ends_the_window_stays_inside(of_regions, genome):
    with of_regions("chr1 0 10 first", "chr1 395 400 last", "chr2 30 31 small", window=80) as samples:
        found = {one.name: one.sequence for one in listed(samples)}
    assert found == {
        "first": sequence_of(genome, "chr1", 0, 80),
        "last": sequence_of(genome, "chr1", 320, 400),
        "small": sequence_of(genome, "chr2", 0, 60),
    }


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["chr1 100 140 a", "chr1 200 240 b"], ["a", "b"]),
        (["chr1 100 140", "chr1 200 240"], ["chr1:101-140", "chr1:201-240"]),
        (["chr1 100 140 CTCF", "chr1 200 240 CTCF"], ["chr1:101-140", "chr1:201-240"]),
        (["chr1 100 140 a", "chr1 200 240 ."], ["chr1:101-140", "chr1:201-240"]),
        (["chr1 100 140 x", "chr1 110 130 x", "chr1 0 9 x"], ["chr1:101-140", "chr1:101-140#2", "chr1:1-40"]),
    ],
)
def test_names_tell_samples_apart(of_regions, lines, names):
    """Tables pair methods by name: two samples of one name would be one."""
    with of_regions(*lines) as samples:
        assert samples.names == names
        assert samples.labels == [[*line.split(), "."][3] for line in lines]


def test_windows_mostly_of_n_are_left_out_and_told(of_regions):
    with of_regions("chrN 100 140 n", "chr1 50 90 a", "chrN 150 170 b") as samples:
        assert samples.names == ["a", "b"]  # b has 30 bases of 40
        assert "1 sequence left out: more than half of its letters are no base" in samples.warnings


def test_regions_that_are_skipped_are_told(of_regions):
    with of_regions("chr1 50 90 a", "chr9 1 5 b") as samples:
        assert samples.names == ["a"]
        assert any("1 of 2 regions skipped" in warning for warning in samples.warnings)


def test_a_sample_of_regions_keeps_each_its_own_sequence_and_label(of_regions, genome):
    lines = [f"chr1 {start} {start + 40} r{start}" for start in range(0, 360, 30)]
    with of_regions(*lines, sample=5, seed=1) as samples:
        found = listed(samples)
    assert len(found) == 5
    for one in found:
        start = int(one.name[1:])
        assert one.label == one.name
        assert one.sequence == sequence_of(genome, "chr1", start, start + 40)
    starts = [int(one.name[1:]) for one in found]
    assert starts == sorted(starts)


# ---- the digest ----


def test_the_digest_says_all_that_is_measured(tmp_path):
    usual = [ROWS[0], ROWS[1]], "ab", ("2 3 7",)
    others = {
        "a base": ([ROWS[0][:-1] + "A", ROWS[1]], "ab", ("2 3 7",)),
        "a label": ([ROWS[0], ROWS[1]], "aa", ("2 3 7",)),
        "the order": ([ROWS[1], ROWS[0]], "ba", ("2 3 7",)),
        "one more": ([ROWS[0], ROWS[1], ROWS[4]], "abb", ("2 3 7",)),
        "a site": ([ROWS[0], ROWS[1]], "ab", ("2 3 8",)),
        "where a site is": ([ROWS[0], ROWS[1]], "ab", ("3 3 7",)),
        "no sites": ([ROWS[0], ROWS[1]], "ab", ()),
    }

    def digest(rows, labels, sites) -> str:
        return of_csv(sheet(tmp_path, rows, labels), bed(tmp_path, *sites) if sites else None).digest()

    digests = {name: digest(*given) for name, given in {"usual": usual, **others}.items()}
    assert len(set(digests.values())) == len(digests)
    assert digest(*usual) == digests["usual"]
    assert digest(*usual[:2], ("2 3 5", "2 5 7")) == digests["usual"]  # the same bases are inside
    named = of_csv(sheet(tmp_path, [ROWS[2], *usual[0]], "aab"), bed(tmp_path, "3 3 7"))
    assert named.names == ["3", "4"]
    assert named.digest() != digests["usual"]  # the names


def test_the_digest_is_not_of_the_files_form(tmp_path):
    plain = sheet(tmp_path)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    packed = of_csv(tmp_path / "packed.csv.gz")
    assert packed.digest() == of_csv(plain).digest()
    assert packed.sha256 != of_csv(plain).sha256
