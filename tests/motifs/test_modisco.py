"""TF-MoDISco's input and output: arrays as it wants them, and patterns that come back to where they were."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gexplain.errors import InputError, UsageError
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.sequence import reverse_complement
from gexplain.motifs.modisco import (
    centre_windows,
    encode_one_hot,
    fit_width,
    index_chroms,
    read_instances,
    write_modisco,
)

# Neither in the order of the alphabet nor of length.
LENGTHS = {"chrII": 3000, "chrX": 800, "chrI": 2000}
LETTERS = "ACGT"


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Genome:
    """Random letters, some N and lower case among them."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    with path.open("w") as file:
        for chrom, length in LENGTHS.items():
            letters = rng.choice(list("ACGTNRacgt"), length, p=[0.2] * 4 + [0.03, 0.01] + [0.04] * 4)
            file.write(f">{chrom}\n{''.join(letters)}\n")
    return Genome(path)


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    """Relevance of both signs; gaps here and there, and no value in the second half of chrII."""
    rng = np.random.default_rng(4)
    tracks = {chrom: rng.normal(size=length).astype(np.float32) for chrom, length in LENGTHS.items()}
    for one in tracks.values():
        one[rng.random(len(one)) < 0.1] = np.nan
    tracks["chrII"][1500:] = np.nan
    return tracks


def write_track(path: Path, values: dict[str, np.ndarray]) -> Path:
    with BigWigWriter(path, LENGTHS) as writer:
        for chrom, of_chrom in values.items():
            writer.write(chrom, 0, of_chrom)
    return path


@pytest.fixture(scope="module")
def track(tmp_path_factory, values) -> Path:
    return write_track(tmp_path_factory.mktemp("track") / "relevance.bw", values)


REGIONS = [
    Interval("chrI", 1990, 2000, "at the end"),
    Interval("chrII", 1000, 1100, "first"),
    Interval("chrX", 0, 800, "wide"),
    Interval("chrII", 990, 1110, "around the first"),
    Interval("chrII", 2000, 2100, "without relevance"),
    Interval("chrII", 0, 3, "at the start"),
]


# ---- windows ----


def test_windows_lie_around_the_middle_inside_the_chromosome_in_fasta_order():
    windows = centre_windows(REGIONS, 60, LENGTHS)
    assert [(one.chrom, one.start, one.end) for one in windows] == [
        ("chrII", 0, 60),
        ("chrII", 1020, 1080),
        ("chrII", 2020, 2080),
        ("chrX", 370, 430),
        ("chrI", 1940, 2000),
    ]


def test_of_equal_windows_the_first_region_s_is_kept():
    assert [one.name for one in centre_windows(REGIONS, 60, LENGTHS) if one.start == 1020] == ["first"]


def test_windows_of_two_strands_are_two():
    regions = [Interval("chrI", 500, 510, "a", strand) for strand in ("+", "-", "+")]
    assert [one.strand for one in centre_windows(regions, 60, LENGTHS)] == ["+", "-"]


@pytest.mark.parametrize(
    ("widths", "least", "expected"),
    [((100, 301, 900), 50, 302), ((10, 10), 512, 512), ((7,), 101, 102), ((7,), 1, 50)],
)
def test_the_width_is_the_median_even_and_not_too_small(widths, least, expected):
    assert fit_width([Interval("chrI", 0, width) for width in widths], least) == expected


@pytest.mark.parametrize("width", [0, 48, 101, -2])
def test_a_width_that_modisco_cannot_halve_or_use_is_refused(width):
    with pytest.raises(UsageError, match=f"--width {width}: expected an even number"):
        centre_windows(REGIONS, width, LENGTHS)


def test_a_width_larger_than_a_chromosome_is_one_error():
    with pytest.raises(UsageError, match="windows of 802 nucleotides do not fit into chrX, of 800") as refused:
        centre_windows(REGIONS, 802, LENGTHS)
    assert "--width 800" in refused.value.hint
    assert len(centre_windows(REGIONS, 800, LENGTHS)) == 5


# ---- arrays ----


@pytest.fixture
def exported(tmp_path, genome, track):
    windows = centre_windows(REGIONS, 60, LENGTHS)
    return write_modisco(tmp_path / "modisco", windows, {".": track}, genome)


def test_the_arrays_hold_what_the_genome_and_the_track_have(exported, genome, values):
    sequences = np.load(exported.folder / "sequences.npz")["arr_0"]
    attributions = np.load(exported.folder / "attributions.npz")["arr_0"]
    lines = [line.split("\t") for line in (exported.folder / "index.bed").read_text().splitlines()]
    assert sequences.shape == attributions.shape == (4, 4, 60) == (len(lines), 4, 60)
    assert (sequences.dtype, attributions.dtype) == (np.int8, np.float32)
    for row, (chrom, start, *_) in enumerate(lines):
        letters = genome.fetch(chrom, int(start), int(start) + 60)
        for column in range(60):
            value = values[chrom][int(start) + column]
            for base in range(4):
                is_there = letters[column] == LETTERS[base]
                assert sequences[row, base, column] == int(is_there)
                expected = value if is_there and not np.isnan(value) else 0
                assert attributions[row, base, column] == expected


def test_the_index_is_bed6_and_without_a_header(exported):
    assert (exported.folder / "index.bed").read_text().splitlines() == [
        "chrII\t0\t60\tat_the_start\t0\t.",
        "chrII\t1020\t1080\tfirst\t0\t.",
        "chrX\t370\t430\twide\t0\t.",
        "chrI\t1940\t2000\tat_the_end\t0\t.",
    ]


def test_what_has_no_relevance_is_counted(exported, values):
    assert (exported.n_windows, exported.n_without_relevance) == (4, 1)
    stretches = [values["chrII"][:60], values["chrII"][1020:1080], values["chrX"][370:430], values["chrI"][1940:]]
    expected = sum(int(np.isnan(one).sum()) for one in stretches)
    assert exported.n_unscored == expected > 0
    assert exported.unscored_share == expected / 240


def test_each_strand_has_its_track(tmp_path, genome, values):
    tracks = {
        "+": write_track(tmp_path / "plus.bw", values),
        "-": write_track(tmp_path / "minus.bw", {chrom: -one for chrom, one in values.items()}),
    }
    windows = [Interval("chrI", 100, 160, "a", "+"), Interval("chrI", 100, 160, "b", "-")]
    write_modisco(tmp_path / "out", windows, tracks, genome)
    plus, minus = np.load(tmp_path / "out" / "attributions.npz")["arr_0"]
    assert np.abs(plus).sum() > 0
    np.testing.assert_array_equal(plus, -minus)


def test_no_relevance_at_all_is_an_error_and_no_file(tmp_path, genome, track):
    with pytest.raises(InputError, match="no relevance in any of 1 window"):
        write_modisco(tmp_path / "out", [Interval("chrII", 2000, 2060)], {".": track}, genome)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_a_run_error_and_leaves_nothing(tmp_path, genome, track):
    code = f"""
import resource
from gexplain.errors import RunError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.motifs.modisco import write_modisco
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
windows = [Interval("chrI", start, start + 800) for start in range(1000)]
try:
    tracks = {{".": Path({str(track)!r})}}
    write_modisco(Path({str(tmp_path / "out")!r}), windows, tracks, Genome({str(genome.path)!r}))
except RunError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {tmp_path / 'out'}: file too large\n"
    assert done.stderr == ""
    assert list((tmp_path / "out").iterdir()) == []


def test_other_letters_than_bases_are_zero():
    assert encode_one_hot("ANCRGTU-").T.tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


# ---- the way back ----


def write_results(path: Path, window_size: int, patterns: dict[str, list[tuple[int, int, int, bool, float]]]) -> Path:
    """A result in the layout of modisco 2.5; a seqlet is (example, start, end, is_revcomp, relevance)."""
    h5py = pytest.importorskip("h5py", reason="needs h5py, in which modisco writes")
    with h5py.File(path, "w") as file:
        file.attrs["window_size"] = window_size
        for name, seqlets in patterns.items():
            group = file.create_group(f"{name}/seqlets")
            columns = list(zip(*seqlets, strict=True))
            for field, column in zip(("example_idx", "start", "end", "is_revcomp"), columns, strict=False):
                group.create_dataset(field, data=np.array(column))
            contributions = np.zeros((len(seqlets), 5, 4))
            contributions[:, 2, 1] = columns[4]
            group.create_dataset("contrib_scores", data=contributions)
    return path


INDEX = "chrII\t100\t200\ta\t0\t.\nchrII\t150\t250\tb\t0\t.\nchrI\t40\t140\tc\t0\t.\n"


@pytest.fixture
def index(tmp_path) -> Path:
    (tmp_path / "index.bed").write_text(INDEX)
    return tmp_path / "index.bed"


def test_instances_lie_where_they_were_found(tmp_path, index):
    # modisco cuts the middle 60 of the 100 bases: position 0 is the window's start + 20.
    results = write_results(
        tmp_path / "results.h5",
        60,
        {
            "neg_patterns/pattern_0": [(2, 0, 5, False, -2.0)],
            "pos_patterns/pattern_0": [(0, 10, 15, True, 4.0), (1, 8, 13, False, 1.0)],
        },
    )
    assert read_instances(results, index) == [
        ("chrII", 130, 135, "pos_patterns.pattern_0", 1000, "-", "positive", 4.0, "a"),
        ("chrII", 178, 183, "pos_patterns.pattern_0", 250, "+", "positive", 1.0, "b"),
        ("chrI", 60, 65, "neg_patterns.pattern_0", 500, "+", "negative", -2.0, "c"),
    ]


def test_an_instance_in_two_windows_counts_once(tmp_path, index):
    seqlets = [(0, 60, 65, False, 1.0), (1, 10, 15, False, 1.0)]
    results = write_results(tmp_path / "results.h5", 100, {"pos_patterns/pattern_0": seqlets})
    assert [row[1:3] for row in read_instances(results, index)] == [(160, 165)]


def test_a_result_without_patterns_has_no_instances(tmp_path, index):
    assert read_instances(write_results(tmp_path / "results.h5", 100, {}), index) == []


@pytest.mark.parametrize(("window_size", "example"), [(100, 3), (102, 0)])
def test_a_result_of_other_windows_is_refused(tmp_path, index, window_size, example):
    results = write_results(
        tmp_path / "results.h5", window_size, {"pos_patterns/pattern_0": [(example, 0, 5, False, 1.0)]}
    )
    with pytest.raises(InputError, match="is of other windows than"):
        read_instances(results, index)


def test_what_is_no_result_is_refused(tmp_path, index):
    h5py = pytest.importorskip("h5py", reason="needs h5py, in which modisco writes")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("weights")
    for path, reason in ((index, "signature"), (tmp_path / "none.h5", "no such file"), (tmp_path / "other.h5", "")):
        with pytest.raises(InputError, match=f"cannot read {path} as a result of modisco: .*{reason}"):
            read_instances(path, index)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (INDEX + "chrI\t1\t3\td\t0\t.\n", "different widths"),
        ("chrI\t1\tx\n", "line 1 is no line"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, text, reason):
    (tmp_path / "index.bed").write_text(text)
    with pytest.raises(InputError, match=f"is no index of windows: .*{reason}"):
        index_chroms(tmp_path / "index.bed")


def test_the_index_knows_its_chromosomes_in_its_order(index):
    assert list(index_chroms(index).items()) == [("chrII", 250), ("chrI", 140)]


# ---- modisco itself ----


@pytest.mark.skipif(
    shutil.which("modisco") is None, reason="needs the modisco command on the PATH (pip install modisco)"
)
def test_modisco_finds_a_planted_motif_where_it_is(tmp_path):
    pytest.importorskip("h5py", reason="needs h5py, in which modisco writes")
    rng = np.random.default_rng(0)
    motif, width, n_windows = "TGACTCATCGCG", 120, 160
    letters = rng.choice(list(LETTERS), width * n_windows)
    relevance = rng.normal(0, 0.02, len(letters)).astype(np.float32)
    sites = {}
    for number in range(n_windows):
        at, is_reverse = number * width + int(rng.integers(35, 75)), bool(rng.random() < 0.5)
        letters[at : at + len(motif)] = list(reverse_complement(motif) if is_reverse else motif)
        relevance[at : at + len(motif)] += 1
        sites[number] = at, "-" if is_reverse else "+"
    (tmp_path / "genome.fa").write_text(f">chr1\n{''.join(letters)}\n")
    with BigWigWriter(tmp_path / "relevance.bw", {"chr1": len(letters)}) as writer:
        writer.write("chr1", 0, relevance)
    windows = [Interval("chr1", width * i, width * (i + 1), f"region_{i}") for i in range(n_windows)]
    with Genome(tmp_path / "genome.fa") as genome:
        write_modisco(tmp_path / "out", windows, {".": tmp_path / "relevance.bw"}, genome)
    command = ["modisco", "motifs", "-n", "200", "-w", "110", "-s", "out/sequences.npz", "-a", "out/attributions.npz"]
    subprocess.run([*command, "-o", "out/results.h5"], cwd=tmp_path, check=True, capture_output=True)
    rows = read_instances(tmp_path / "out" / "results.h5", tmp_path / "out" / "index.bed")
    assert len(rows) > 100
    inside = {}
    for _, start, end, name, _, strand, sign, _, region in rows:
        at, strand_of_site = sites[int(region.removeprefix("region_"))]
        assert start <= at < at + len(motif) <= end
        assert sign == "positive"
        # A pattern may be of either strand, but all its sites lie alike in its instances.
        offset = at - start if strand == "+" else end - at - len(motif)
        inside.setdefault(name, set()).add((offset, strand == strand_of_site))
    assert {len(one) for one in inside.values()} == {1}
