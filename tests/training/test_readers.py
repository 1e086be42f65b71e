"""Readers: CSV, and BED with FASTA, into a Dataset; and one clear error for each thing that can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import BedError, InputError, UsageError
from gexplain.genome.sequence import reverse_complement
from gexplain.training.negatives import Negatives
from gexplain.training.readers import read_bed_data, read_csv_data
from gexplain.training.regions import RegionReading
from gexplain.training.splits import Split

SHUFFLES = Negatives(sources=("dinuc-shuffle",))


def random_dna(n: int, seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), n))


def csv_text(*labels: str, width: int = 20, first_seed: int = 0) -> str:
    rows = (f"{random_dna(width, first_seed + k)},{label}\n" for k, label in enumerate(labels))
    return "sequence,label\n" + "".join(rows)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def counts(dataset) -> dict[str, dict[str, int]]:
    return dataset.described["counts"]


# ---- CSV ----


def test_a_csv_is_split_within_each_class(tmp_path):
    path = write(tmp_path / "train.csv", csv_text(*(["b"] * 40 + ["a"] * 20)))
    dataset = read_csv_data(path, split=Split(dev_fraction=0.1, test_fraction=0.2))
    assert dataset.labels == ("a", "b")
    assert counts(dataset) == {"train": {"a": 14, "b": 28}, "dev": {"a": 2, "b": 4}, "test": {"a": 4, "b": 8}}
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    parts = (dataset.train, dataset.dev, dataset.test)
    read = [(s, dataset.labels[c]) for part in parts for s, c in zip(part.sequences, part.classes, strict=True)]
    assert sorted(read) == sorted((sequence, label) for sequence, label in rows)
    assert dataset.window == 20
    assert dataset.warnings == []
    assert (dataset.negatives, dataset.n_negatives) == ((), 0)


def test_equal_seeds_split_equally(tmp_path):
    path = write(tmp_path / "train.csv", csv_text(*("ab" * 50)))
    first, again, other = (read_csv_data(path, split=Split(seed=seed)).dev.sequences for seed in (3, 3, 4))
    assert first == again
    assert sorted(first) != sorted(other)


def test_given_files_are_read_as_they_are(tmp_path):
    train = write(tmp_path / "train.csv", csv_text("0", "1", "1"))
    dev = write(tmp_path / "dev.csv", csv_text("1", "0", first_seed=10))
    test = write(tmp_path / "test.csv", csv_text("0", "1", first_seed=20))
    dataset = read_csv_data(train, dev, test)
    assert dataset.train.classes.tolist() == [0, 1, 1]
    assert dataset.dev.classes.tolist() == [1, 0]
    assert dataset.test is not None
    assert dataset.test.sequences == [random_dna(20, 20), random_dna(20, 21)]
    assert read_csv_data(train, dev).test is None
    assert dataset.described["files"] == [
        {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "role": path.stem}
        for path in (train, dev, test)
    ]


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: "\n".join(f'"{a}","{b}"' for a, b in (line.split(",") for line in text.splitlines())).encode(),
        lambda text: "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines()).encode(),
        lambda text: text.replace("sequence,label", "Sequence, Label").lower().encode() + b"\n\n",
    ],
    ids=["bom", "crlf", "gzip", "tsv", "quoted", "columns-swapped", "lower-case-and-blank-lines"],
)
def test_a_csv_may_be_dressed_in_many_ways(tmp_path, dress):
    text = csv_text("0", "1", "0", "1")
    plain = read_csv_data(write(tmp_path / "a.csv", text), write(tmp_path / "b.csv", text))
    dressed = write(tmp_path / "c.csv", dress(text))
    dataset = read_csv_data(dressed, dressed)
    assert dataset.train.sequences == plain.train.sequences
    assert dataset.train.classes.tolist() == [0, 1, 0, 1]


def test_iupac_letters_are_kept_and_much_n_is_warned_of(tmp_path):
    path = write(tmp_path / "t.csv", "sequence,label\nACGTRYSWKMBDHVN,0\nNNNNNNNNACGTACG,1\n")
    dataset = read_csv_data(path, path)
    assert dataset.train.sequences == ["ACGTRYSWKMBDHVN", "NNNNNNNNACGTACG"]
    assert "2 sequences of 4 more than half N" in dataset.warnings


def test_equal_sequences_are_never_split(tmp_path):
    text = csv_text(*("ab" * 20))
    lines = text.splitlines()[1:]
    twins = [f"{reverse_complement(line.split(',')[0])},{line.split(',')[1]}" for line in lines]
    path = write(tmp_path / "t.csv", "\n".join(["sequence,label", *lines, *lines, *twins]))
    dataset = read_csv_data(path, split=Split(dev_fraction=0.3))
    assert counts(dataset)["dev"] == {"a": 18, "b": 18}
    assert dataset.warnings == []


def test_leaks_and_conflicts_between_files_are_warned_of(tmp_path):
    text = csv_text("0", "1", "1")
    train = write(tmp_path / "train.csv", text + f"{random_dna(20, 0)},1\n")
    dataset = read_csv_data(train, write(tmp_path / "dev.csv", text))
    assert [warning.split(":")[0] for warning in dataset.warnings] == [
        "3 of 3 sequences of dev are in train too (on either strand)",
        "1 sequence of train with more than one label",
    ]


def test_labels_choose_classes_and_their_order(tmp_path):
    path = write(tmp_path / "t.csv", csv_text(*("abc" * 10)))
    dataset = read_csv_data(path, labels=("c", "a"))
    assert dataset.labels == ("c", "a")
    assert counts(dataset) == {"train": {"c": 9, "a": 9}, "dev": {"c": 1, "a": 1}}
    assert dataset.described["left_out"] == 10


def test_shuffles_become_the_background_of_a_csv(tmp_path):
    path = write(tmp_path / "t.csv", csv_text(*("xy" * 20)))
    dataset = read_csv_data(path, split=Split(dev_fraction=0.1), negatives=SHUFFLES)
    assert dataset.labels == ("background", "x", "y")
    assert counts(dataset) == {
        "train": {"background": 0, "x": 18, "y": 18},
        "dev": {"background": 4, "x": 2, "y": 2},
    }
    assert dataset.n_negatives == 36
    dinucleotides = [sorted(pairwise(sequence)) for sequence in dataset.dev.sequences]
    assert sorted(dinucleotides[:4]) == sorted(dinucleotides[4:])
    assert [source.name for source in dataset.negatives] == ["dinuc-shuffle"]


def test_negatives_join_a_background_and_count_positives_only(tmp_path):
    path = write(tmp_path / "t.csv", csv_text(*(["unbound"] * 20 + ["x"] * 10)))
    dataset = read_csv_data(path, negatives=Negatives(sources=("dinuc-shuffle",), per_positive=2))
    assert dataset.labels == ("unbound", "x")
    assert counts(dataset) == {"train": {"unbound": 18, "x": 9}, "dev": {"unbound": 2 + 2, "x": 1}}
    assert dataset.n_negatives == 18


def test_only_positives_are_shuffled(tmp_path):
    rows = [f"{'A' * (20 + k)},unbound\n" for k in range(5)] + [f"{random_dna(20, k)},x\n" for k in range(5)]
    path = write(tmp_path / "t.csv", "sequence,label\n" + "".join(rows))
    split = Split(dev_fraction=0.4)
    dataset = read_csv_data(path, split=split, negatives=Negatives(sources=("dinuc-shuffle",), per_positive=4))
    labelled = [rows.index(f"{one},x\n") for one in dataset.dev.sequences if f"{one},x\n" in rows]
    assert len(labelled) == 2
    shuffled = dataset.dev.sequences[-8:]
    assert all(len(set(sequence)) > 1 for sequence in shuffled)


def test_a_dev_file_with_a_background_of_its_own_gets_no_other(tmp_path):
    train = write(tmp_path / "train.csv", csv_text(*("xy" * 5)))
    bound = write(tmp_path / "bound.csv", csv_text("x", "y", first_seed=20))
    both = write(tmp_path / "both.csv", csv_text("0", "1", first_seed=20))
    assert counts(read_csv_data(train, bound, negatives=SHUFFLES))["dev"] == {"background": 2, "x": 1, "y": 1}
    numbered = write(tmp_path / "numbered.csv", csv_text(*("01" * 5)))
    dataset = read_csv_data(numbered, both, negatives=SHUFFLES)
    assert counts(dataset)["dev"] == {"0": 1, "1": 1}
    assert dataset.n_negatives == 5


def test_negatives_join_class_zero_of_integers_and_this_is_said(tmp_path):
    path = write(tmp_path / "t.csv", csv_text(*("01" * 10)))
    assert read_csv_data(path, negatives=SHUFFLES).warnings == [
        "the negatives join class 0: it is taken to be the background"
    ]


def test_random_genome_negatives_of_a_csv(tmp_path):
    chroms = {"a": random_dna(300, 90), "b": random_dna(300, 91)}
    fasta = write(tmp_path / "g.fa", "".join(f">{name}\n{sequence}\n" for name, sequence in chroms.items()))
    path = write(tmp_path / "t.csv", csv_text(*("x" * 30)))
    dataset = read_csv_data(
        path, genome=fasta, negatives=Negatives(sources=("random-genome",)), split=Split(exclude_chroms=("b",))
    )
    drawn = [s for s, label in zip(dataset.dev.sequences, dataset.dev.classes, strict=True) if label == 0]
    assert len(drawn) == 3
    assert all(sequence in chroms["a"] for sequence in drawn)
    assert dataset.described["files"][-1]["file"] == "g.fa"


def test_what_was_read_is_described_in_json(tmp_path):
    path = write(tmp_path / "t.csv", csv_text(*("xy" * 20)))
    described = read_csv_data(path, negatives=SHUFFLES, split=Split(seed=5)).described
    assert json.loads(json.dumps(described)) == described
    assert described["split"]["seed"] == 5
    assert described["negatives"] == {"sources": ["dinuc-shuffle"], "per_positive": 1.0, "per_epoch": 36}
    assert str(tmp_path) not in json.dumps(described)


GOOD = "ACGTACGTACGT"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", r"is empty, or begins", "sequence,label"),
        ("sequence,label\n", r"has no rows", "give sequences"),
        (f"{GOOD},0\n", rf"other columns: its first line is '{GOOD},0'", "no header"),
        (f"seq,class\n{GOOD},0\n", r"other columns: its first line is 'seq,class'", "name them sequence and label"),
        (f"sequence,label,id\n{GOOD},0,1\n", r"other columns: its first line is 'sequence,label,id'", "keep"),
        (f"sequence;label\n{GOOD};0\n", r"other columns", "commas for the semicolons"),
        (f"sequence\n{GOOD}\n", r"other columns: its first line is 'sequence'", "keep"),
        (f"sequence,label\n{GOOD},0\n{GOOD}\n", r"line 3 of .*t\.csv has 1 columns", "every line"),
        (f"sequence,label\n{GOOD},0\n\n{GOOD},\n", r"line 4 of .*t\.csv has no label", "the class"),
        (f"sequence,label\n{GOOD},0\n,1\n", r"line 3 of .*t\.csv has no sequence", "remove"),
        (f"sequence,label\n{GOOD},0\nACGTACGTAXGT,1\n", r"line 3 of .* the letter 'X', base 10 of the s", "N stands"),
        (f"sequence,label\n{GOOD},0\nACGUACGTACGT,1\n", r"line 3 of .* the letter 'U', base 4 of the s", "T for U"),
        (f"sequence,label\n{GOOD},0\nACG-ACGTACGT,1\n", r"line 3 of .* the letter '-', base 4 of the s", "gaps"),
        (f"sequence,label\n{GOOD},0\nACGTÄCGTACGT,1\n", r"line 3 of .* the letter 'Ä', base 5", "nucleotides"),
        ("sequence,label\nACGTACGTA,0\n", r"line 2 of .*: a sequence of 9 bases; expected at least 10", "columns"),
        (f'sequence,label\n{GOOD},0\n"{GOOD}"x,1\n', r"line 3 of .* is no line of a CSV", "quotation"),
        (f">chr1\n{GOOD}\n", r"looks like a FASTA, not a CSV", "sequence,label"),
        ("sequence,label\n".encode("utf-16"), r"looks like a UTF-16 text, not a CSV", "sequence,label"),
        (b"sequence,label\n\xff\xfa,1\n", r"is not UTF-8 text", "UTF-8"),
        (gzip.compress(csv_text("0", "1").encode(), mtime=0)[:-9], r"truncated or damaged gzip", "again"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused(tmp_path, text, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        read_csv_data(write(tmp_path / "t.csv", text))
    assert hint in caught.value.hint


def test_a_missing_csv_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*t\.csv: no such file"):
        read_csv_data(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("00000", r"one class only, '0'"),
        ("00220", r"has the labels 0, 2; expected whole numbers from 0 on"),
        ("aaaab", r"class 'b' has 1 distinct sequence; 2 are needed to split them into train and dev\n"),
        ("aabcd", r"class 'b' has 1 distinct sequence; .*\(3 classes have as few\)"),
    ],
)
def test_classes_that_cannot_be_learnt_are_refused(tmp_path, labels, message):
    path = write(tmp_path / "t.csv", csv_text(*labels))
    with pytest.raises(InputError, match=message):
        read_csv_data(path)


def test_labels_of_dev_that_train_has_not_are_refused(tmp_path):
    train = write(tmp_path / "train.csv", csv_text("a", "b"))
    with pytest.raises(InputError, match=r"line 3 of .*dev\.csv: label 'c' is not in train, which has a, b"):
        read_csv_data(train, write(tmp_path / "dev.csv", csv_text("a", "c")))
    with pytest.raises(InputError, match=r"class 'b' has no example in dev"):
        read_csv_data(train, write(tmp_path / "dev.csv", csv_text("a", "a")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": Split(test_chroms=("chr1",))}, "have no chromosomes to split by"),
        ({"test": "t.csv", "split": Split(test_fraction=0.1)}, "as a file and as a fraction"),
        ({"negatives": Negatives(sources=("unbound.bed",))}, r"'unbound\.bed' with a CSV"),
        ({"negatives": Negatives(sources=("random-genome",))}, "need the FASTA"),
        ({"genome": "g.fa"}, r"g\.fa is not used"),
    ],
)
def test_options_that_do_not_go_with_a_csv_are_refused_before_it_is_read(options, message):
    with pytest.raises(UsageError, match=message):
        read_csv_data("not-there.csv", **options)


# ---- BED and FASTA ----

CHROMS = {f"chr{k}": random_dna(2000, 100 + k) for k in (1, 2, 3, 4)} | {"short": random_dna(50, 200)}
READING = RegionReading(window=40)
BY_CHROM = Split(dev_chroms=("chr3",), test_chroms=("chr4",))


@pytest.fixture
def fasta(tmp_path) -> Path:
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in CHROMS.items())
    return write(tmp_path / "genome.fa", text.lower())


def bed_text(*rows: tuple) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)


def spread(*labels: str, chroms=("chr1", "chr2", "chr3", "chr4"), width: int = 10) -> list[tuple]:
    """A region of each label on each chromosome, far from one another."""
    return [
        (chrom, 100 + 120 * k, 100 + 120 * k + width, label) for chrom in chroms for k, label in enumerate(labels)
    ]


@pytest.fixture
def sites(tmp_path) -> Path:
    return write(tmp_path / "sites.bed", bed_text(*spread("Reb1", "Rap1", "Reb1")))


def test_windows_are_centred_and_split_by_chromosome(sites, fasta):
    dataset = read_bed_data(sites, fasta, reading=READING, split=BY_CHROM)
    assert dataset.labels == ("Rap1", "Reb1")
    assert counts(dataset) == {
        "train": {"Rap1": 2, "Reb1": 4},
        "dev": {"Rap1": 1, "Reb1": 2},
        "test": {"Rap1": 1, "Reb1": 2},
    }
    assert dataset.dev.sequences == [CHROMS["chr3"][start - 15 : start + 25] for start in (100, 220, 340)]
    assert dataset.dev.classes.tolist() == [1, 0, 1]
    assert dataset.window == 40
    assert dataset.warnings == []


def test_one_bed_per_class_reads_as_a_labelled_bed_does(tmp_path, sites, fasta):
    rows = spread("Reb1", "Rap1", "Reb1")
    beds = {
        name: write(tmp_path / f"{name}.bed", bed_text(*(row[:3] for row in rows if row[3] == name)))
        for name in ("Reb1", "Rap1")
    }
    one = read_bed_data(sites, fasta, reading=READING, split=BY_CHROM)
    two = read_bed_data(beds, fasta, reading=READING, split=BY_CHROM)
    assert one.labels == two.labels
    for part in ("train", "dev", "test"):
        a, b = getattr(one, part), getattr(two, part)
        assert sorted(zip(a.sequences, a.classes, strict=True)) == sorted(zip(b.sequences, b.classes, strict=True))
    assert [(one["file"], one["role"]) for one in two.described["files"]] == [
        ("Reb1.bed", "Reb1"), ("Rap1.bed", "Rap1"), ("genome.fa", "genome")
    ]  # fmt: skip


def test_summits_centre_windows(tmp_path, fasta):
    rows = [(chrom, 500, 700, label, 0, ".", 1, 1, 1, 20 + 60 * k)
            for chrom in ("chr1", "chr3") for k, label in enumerate("ab")]  # fmt: skip
    dataset = read_bed_data(
        write(tmp_path / "p.narrowPeak", bed_text(*rows)), fasta, reading=READING, split=Split(dev_chroms=("chr3",))
    )
    assert dataset.dev.sequences == [CHROMS["chr3"][500:540], CHROMS["chr3"][560:600]]


def test_minus_strand_regions_are_read_forward(tmp_path, fasta):
    rows = [(*row, 0, "-") for row in spread("a", "b", chroms=("chr1", "chr3"))]
    dataset = read_bed_data(
        write(tmp_path / "s.bed", bed_text(*rows)), fasta, reading=READING, split=Split(dev_chroms=("chr3",))
    )
    assert dataset.dev.sequences[0] == CHROMS["chr3"][85:125]


def test_jitter_gives_training_windows_a_margin(sites, fasta):
    plain = read_bed_data(sites, fasta, reading=READING, split=BY_CHROM)
    jittered = read_bed_data(sites, fasta, reading=RegionReading(window=40, jitter=7), split=BY_CHROM)
    assert (jittered.train.margin, jittered.dev.margin) == (7, 0)
    assert {len(sequence) for sequence in jittered.train.sequences} == {54}
    assert jittered.train.windows() == plain.train.sequences
    assert jittered.dev.sequences == plain.dev.sequences


def test_windows_shift_inward_at_the_ends_of_chromosomes(tmp_path, fasta):
    rows = [("chr1", 0, 1, "a"), ("chr1", 1999, 2000, "b"), ("chr3", 0, 3, "a"), ("chr3", 1995, 2000, "b")]
    path = write(tmp_path / "s.bed", bed_text(*rows))
    split = Split(dev_chroms=("chr3",))
    dataset = read_bed_data(path, fasta, reading=READING, split=split)
    assert dataset.train.sequences == [CHROMS["chr1"][:40], CHROMS["chr1"][-40:]]
    assert dataset.dev.sequences == [CHROMS["chr3"][:40], CHROMS["chr3"][-40:]]
    assert dataset.warnings == []
    jittered = read_bed_data(path, fasta, reading=RegionReading(window=40, jitter=5), split=split)
    assert jittered.train.sequences == [CHROMS["chr1"][:50], CHROMS["chr1"][-50:]]
    assert jittered.warnings == [
        "2 regions of train so close to a chromosome's end that jitter may move windows off them"
    ]


@pytest.mark.parametrize(("centre", "is_near"), [(9, True), (10, False), (1989, False), (1990, True)])
def test_a_region_is_near_an_end_if_some_moved_window_misses_it(tmp_path, fasta, centre, is_near):
    jitter = 5
    rows = [("chr1", centre, centre + 1, "a"), ("chr1", 900, 901, "b"), ("chr3", 9, 10, "a"), ("chr3", 90, 91, "b")]
    dataset = read_bed_data(
        write(tmp_path / "s.bed", bed_text(*rows)),
        fasta,
        reading=RegionReading(window=40, jitter=jitter),
        split=Split(dev_chroms=("chr3",)),
    )
    start = CHROMS["chr1"].index(dataset.train.sequences[0])
    misses = [not start + shift <= centre < start + shift + 40 for shift in range(2 * jitter + 1)]
    assert any(misses) == is_near == bool(dataset.warnings)


def test_any_column_may_hold_the_labels(tmp_path, fasta, sites):
    rows = [(*row[:3], "site", 0, "+", "x y", row[3]) for row in spread("Reb1", "Rap1", "Reb1")]
    text = "# a comment\ntrack name=x\n" + bed_text(*rows)
    expected = read_bed_data(sites, fasta, reading=READING, split=BY_CHROM)
    for path in (write(tmp_path / "a.bed", text), write(tmp_path / "b.bed", gzip.compress(text.encode()))):
        dataset = read_bed_data(path, fasta, reading=RegionReading(window=40, label_column=8), split=BY_CHROM)
        assert dataset.labels == expected.labels
        assert dataset.train.classes.tolist() == expected.train.classes.tolist()
    rows = [(*row[:3], "site", {"Reb1": 1, "Rap1": 0}[row[3]]) for row in spread("Reb1", "Rap1", "Reb1")]
    path = write(tmp_path / "c.bed", bed_text(*rows))
    dataset = read_bed_data(path, fasta, reading=RegionReading(window=40, label_column=5), split=BY_CHROM)
    assert dataset.labels == ("0", "1")
    assert dataset.train.classes.tolist() == expected.train.classes.tolist()


def test_excluded_chromosomes_are_used_for_nothing(tmp_path, fasta):
    rows = [*spread("a", "b"), ("chrUn_7", 5, 6, "a"), ("chr2", 1999, 2001, "a")]
    path = write(tmp_path / "s.bed", bed_text(*rows))
    split = Split(dev_chroms=("chr3",), exclude_chroms=("chr2,chrUn*",))
    dataset = read_bed_data(
        path, fasta, reading=READING, split=split, negatives=Negatives(sources=("random-genome",), per_positive=20)
    )
    assert counts(dataset)["train"] == {"background": 0, "a": 2, "b": 2}
    assert dataset.described["left_out"] == 4
    drawn = dataset.negatives[0].draw(300, np.random.default_rng(0), dataset.train.sequences)
    assert not any(window in CHROMS["chr2"] for window in drawn)


def test_a_drawn_split_keeps_overlapping_windows_together(tmp_path, fasta):
    # Windows of 36 bases, of 40 with their margins.
    reading = RegionReading(window=36, jitter=2)
    rows = [("chr1", 60 * k + shift, 60 * k + shift + 1, "ab"[k % 2]) for k in range(1, 30) for shift in (0, 9, 18)]
    path = write(tmp_path / "s.bed", bed_text(*rows))
    dataset = read_bed_data(path, fasta, reading=reading, split=Split(dev_fraction=0.2, test_fraction=0.2))
    assert dataset.test is not None
    places = {
        name: [CHROMS["chr1"].index(sequence) for sequence in part.windows()]
        for name, part in (("train", dataset.train), ("dev", dataset.dev), ("test", dataset.test))
    }
    assert {name: len(starts) for name, starts in places.items()} == {"train": 57, "dev": 15, "test": 15}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert min(abs(a - b) for a in places[one] for b in places[other]) >= 40


def test_windows_that_only_their_margins_join_are_one_group(tmp_path, fasta):
    starts = [100, 138, 600, 638, 1100, 1138, 1600, 1638]
    path = write(tmp_path / "s.bed", bed_text(*(("chr1", s, s + 1, "ab"[s > 1000]) for s in starts)))
    reading = RegionReading(window=36, jitter=2)
    for seed in range(5):
        dataset = read_bed_data(path, fasta, reading=reading, split=Split(dev_fraction=0.5, seed=seed))
        read = sorted(CHROMS["chr1"].index(sequence) + 18 for sequence in dataset.dev.sequences)
        assert [(a, b) for a, b in zip(read[::2], read[1::2], strict=True) if b - a == 38] == list(
            zip(read[::2], read[1::2], strict=True)
        )
        assert len(read) == 4


def test_negatives_come_from_their_own_split_and_off_the_positives(tmp_path, fasta, sites):
    unbound = write(tmp_path / "unbound.bed", bed_text(*((chrom, 1500, 1501) for chrom in ("chr1", "chr3", "chr4"))))
    sources = ("dinuc-shuffle", "random-genome", str(unbound))
    dataset = read_bed_data(
        sites,
        fasta,
        reading=RegionReading(window=40, jitter=5),
        split=Split(dev_chroms=("chr3",), test_chroms=("chr4",), exclude_chroms=("short",)),
        negatives=Negatives(sources=sources, per_positive=40),
    )
    assert dataset.labels == ("background", "Rap1", "Reb1")
    assert dataset.n_negatives == 6 * 40
    assert [source.name for source in dataset.negatives] == ["dinuc-shuffle", "random-genome", "unbound.bed"]
    positive_starts = [start - 15 for start in (100, 220, 340)]
    draw = np.random.default_rng(0)
    windows = dataset.train.windows()
    assert dataset.test is not None
    for chroms, part in ((("chr3",), dataset.dev), (("chr4",), dataset.test), (("chr1", "chr2"), None)):
        if part is not None:
            negatives = [s for s, label in zip(part.sequences, part.classes, strict=True) if label == 0]
            assert len(negatives) == 120
            shuffled, random, known = negatives[:40], negatives[40:80], negatives[80:]
            assert set(known) == {CHROMS[chroms[0]][1480:1520]}
            assert not any(sequence in CHROMS[chroms[0]] for sequence in shuffled)
        else:
            random = dataset.negatives[1].draw(200, draw, windows)
            moved = Counter(dataset.negatives[2].draw(200, draw, windows))
            assert sorted(moved) == sorted(CHROMS["chr1"][1475 + k : 1515 + k] for k in range(11))
        starts = [max(CHROMS[chrom].find(sequence) for chrom in chroms) for sequence in random]
        assert min(starts) >= 0
        assert all(abs(start - site) >= 40 for start in starts for site in positive_starts)
    assert dataset.warnings == [
        f"{name} has 40 negatives of unbound.bed, which has 1 there: some are there twice" for name in ("dev", "test")
    ]


def test_random_negatives_of_a_drawn_dev_come_from_the_chromosomes_of_train(sites, fasta):
    split = Split(dev_fraction=0.3, test_chroms=("chr4",), exclude_chroms=("chr3", "short"))
    negatives = Negatives(sources=("random-genome",), per_positive=60)
    dataset = read_bed_data(sites, fasta, reading=READING, split=split, negatives=negatives)
    drawn = [s for s, label in zip(dataset.dev.sequences, dataset.dev.classes, strict=True) if label == 0]
    assert len(drawn) == 120
    assert all(sequence in CHROMS["chr1"] or sequence in CHROMS["chr2"] for sequence in drawn)


def test_random_negatives_keep_off_a_whole_region_wider_than_its_window(tmp_path, fasta):
    rows = [(chrom, 100, 1990, "a") for chrom in ("chr1", "chr3")]
    dataset = read_bed_data(
        write(tmp_path / "s.bed", bed_text(*rows)),
        fasta,
        reading=READING,
        split=Split(dev_chroms=("chr3",), exclude_chroms=("chr2", "chr4", "short")),
        negatives=Negatives(sources=("random-genome",), per_positive=50),
    )
    drawn = dataset.dev.sequences[1:]
    assert len(drawn) == 50
    assert all(sequence in CHROMS["chr3"][:100] for sequence in drawn)


def test_a_bed_of_negatives_is_drawn_apart_where_the_split_is_drawn(tmp_path, fasta, sites):
    unbound = write(tmp_path / "unbound.bed", bed_text(*(("chr1", 600 + 60 * k, 601 + 60 * k) for k in range(20))))
    dataset = read_bed_data(
        sites, fasta, reading=READING, split=Split(dev_fraction=0.25), negatives=Negatives(sources=(str(unbound),))
    )
    in_train = set(dataset.negatives[0].draw(15, np.random.default_rng(0), ["A"]))
    in_dev = {s for s, label in zip(dataset.dev.sequences, dataset.dev.classes, strict=True) if label == 0}
    assert len(in_train) == 15
    assert in_dev
    assert not in_train & in_dev


def test_negatives_that_overlap_a_positive_are_warned_of(tmp_path, fasta, sites):
    rows = [(chrom, start, start + 1) for chrom in ("chr1", "chr3") for start in (100, 1000)]
    unbound = write(tmp_path / "unbound.bed", bed_text(*rows))
    split = Split(dev_chroms=("chr3",), exclude_chroms=("chr4",))
    dataset = read_bed_data(sites, fasta, reading=READING, split=split, negatives=Negatives(sources=(str(unbound),)))
    assert dataset.warnings[0] == "2 of 4 negative regions overlap a region of another class, or its window"


def test_the_chr_prefix_is_mapped_when_asked(tmp_path, fasta, sites):
    bare = write(tmp_path / "bare.bed", sites.read_text().replace("chr", ""))
    expected = read_bed_data(sites, fasta, reading=READING, split=BY_CHROM)
    dataset = read_bed_data(bare, fasta, reading=RegionReading(window=40, chrom_alias="chr"), split=BY_CHROM)
    assert dataset.train.sequences == expected.train.sequences


def test_malformed_lines_are_skipped_when_asked_and_said(tmp_path, fasta, sites):
    path = write(tmp_path / "s.bed", "chr1\t9\t5\tReb1\n" + sites.read_text())
    with pytest.raises(BedError, match=r"line 1 of .*s\.bed"):
        read_bed_data(path, fasta, reading=READING, split=BY_CHROM)
    dataset = read_bed_data(path, fasta, reading=RegionReading(window=40, on_bad_line="skip"), split=BY_CHROM)
    assert dataset.warnings == [f"{path}: 1 malformed line skipped: 1"]


def regions(*extra: tuple) -> str:
    return bed_text(*spread("Reb1", "Rap1"), *extra)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", r"s\.bed has no regions", "leave an empty BED out"),
        ("# nothing\n", r"s\.bed has no regions", "leave an empty BED out"),
        (bed_text(("chr1", 5, 9)), r"line 1 of .*s\.bed has no label in column 4", "--label-column"),
        (regions(("chr1", 5, 9, ".")), r"line 9 of .*s\.bed has no label in column 4", "--label-column"),
        (bed_text(*spread("Reb1")), r"s\.bed has one class only, 'Reb1'", "--negatives"),
        (bed_text(*spread("0", "2")), r"has the labels 0, 2; expected whole numbers", "names"),
        (regions(("chr1", 7, 7, "Reb1")), r"line 9 of .*s\.bed: an empty region", "start + 1"),
        (
            regions(("chr1", 1990, 2001, "Reb1"), ("chr2", 5000, 5001, "Reb1")),
            r"line 9 of .*: the region ends at 2,001, past the end of chr1 \(2,000 bases .* \(2 such regions\)",
            "assembly",
        ),
        (
            regions(("chr9", 5, 9, "Reb1"), ("chr9", 5, 9, "Rap1"), ("chrZ", 5, 9, "Rap1")),
            r"line 9 of .*: chromosome 'chr9', and 1 other like it is not in .*genome\.fa \(3 regions of 11\)",
            "--exclude-chroms chr9",
        ),
        (regions(("1", 5, 9, "Reb1")), r"line 9 of .*: chromosome '1' is not in .*genome\.fa", "--chrom-alias chr"),
        (regions().replace("chr", ""), r"none of the 8 regions' chromosomes are in .*genome\.fa", "--chrom-alias"),
        (
            bed_text(*spread("a", "b"), ("chr1", 900, 901, "c")),
            r"class 'c' has no example in dev \(1 in all\)",
            "--la",
        ),
        (bed_text(*spread("a", "b"), ("chr3", 900, 901, "c")), r"class 'c' has no example in train", "--labels"),
        (
            bed_text(*spread("a", "b", chroms=("chr1", "chr3"))),
            r"class 'a' has no example in test .*nor have b",
            "ch",
        ),
    ],
)
def test_a_bed_that_cannot_be_learnt_from_is_refused(tmp_path, fasta, text, message, hint):
    path = write(tmp_path / "s.bed", text)
    with pytest.raises(InputError, match=message) as caught:
        read_bed_data(path, fasta, reading=READING, split=BY_CHROM)
    assert hint in caught.value.hint


def test_a_window_wider_than_its_chromosome_is_refused(tmp_path, fasta):
    path = write(tmp_path / "s.bed", regions(("short", 5, 9, "Reb1")))
    with pytest.raises(InputError, match=r"line 9 of .*: short has 50 bases in .*, too few for a window of 60\n"):
        read_bed_data(path, fasta, reading=RegionReading(window=60), split=BY_CHROM)
    with pytest.raises(InputError, match="window of 40 with 6 bases of jitter on each side"):
        read_bed_data(path, fasta, reading=RegionReading(window=40, jitter=6), split=BY_CHROM)
    assert len(read_bed_data(path, fasta, reading=RegionReading(window=40, jitter=5), split=BY_CHROM).train) == 5


def test_a_drawn_split_of_windows_that_all_overlap_is_refused(tmp_path, fasta):
    rows = [("chr1", 100 + 20 * k, 101 + 20 * k, "ab"[k % 2]) for k in range(20)]
    with pytest.raises(InputError, match=r"class 'a' has 1 region apart from the others; 2 are"):
        read_bed_data(write(tmp_path / "s.bed", bed_text(*rows)), fasta, reading=READING)


def test_an_empty_bed_of_one_class_is_refused(tmp_path, fasta):
    beds = {"a": write(tmp_path / "a.bed", bed_text(*spread("a"))), "b": write(tmp_path / "b.bed", "# none\n")}
    with pytest.raises(InputError, match=r"b\.bed has no regions"):
        read_bed_data(beds, fasta, reading=READING, split=BY_CHROM)


def test_letters_of_the_fasta_are_checked_where_regions_are(tmp_path):
    fasta = write(tmp_path / "rna.fa", ">chr1\n" + "ACGU" * 50 + "\n>chr2\n" + "ACGT" * 50 + "\n")
    path = write(tmp_path / "s.bed", bed_text(("chr2", 50, 60, "a"), ("chr1", 50, 60, "b")))
    with pytest.raises(InputError, match=r"line 2 of .*s\.bed: the FASTA has the letter 'U'") as caught:
        read_bed_data({"x": path, "y": path}, fasta, reading=READING, split=Split(dev_chroms=("chr2",)))
    assert "T for U" in caught.value.hint


def test_a_bed_of_negatives_without_a_region_in_a_split_is_refused(tmp_path, fasta, sites):
    unbound = write(tmp_path / "unbound.bed", bed_text(("chr1", 900, 901)))
    with pytest.raises(InputError, match=r"negatives .*unbound\.bed: no region is on the chromosomes of dev"):
        read_bed_data(sites, fasta, reading=READING, split=BY_CHROM, negatives=Negatives(sources=(str(unbound),)))


def test_a_genome_without_room_for_negatives_is_refused_before_training(tmp_path, fasta, monkeypatch):
    monkeypatch.setattr("gexplain.training.negatives.MAX_ROUNDS", 100)
    path = write(tmp_path / "s.bed", bed_text(("chr1", 0, 2000, "a"), ("chr3", 100, 101, "a")))
    split = Split(dev_chroms=("chr3",), exclude_chroms=("chr2", "chr4", "short"))
    with pytest.raises(InputError, match="no random window of 40 bases"):
        read_bed_data(path, fasta, reading=READING, split=split, negatives=Negatives(sources=("random-genome",)))


@pytest.mark.parametrize(
    ("beds", "negatives", "message"),
    [
        ({"a": "-", "b": "-"}, (), "two BEDs are standard input"),
        ("-", ("-",), "two BEDs are standard input"),
        ("s.bed", ("dinuc_shuffle",), "unknown negatives 'dinuc_shuffle'"),
    ],
)
def test_options_that_do_not_go_with_a_bed_are_refused_before_it_is_read(beds, negatives, message):
    with pytest.raises(UsageError, match=message):
        read_bed_data(beds, "not-there.fa", negatives=Negatives(sources=negatives))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 9}, "--window 9: expected at least 10"),
        ({"window": 40, "jitter": 21}, "--jitter 21: expected 0 to 20"),
        ({"window": 40, "jitter": -1}, "--jitter -1"),
        ({"label_column": 3}, "--label-column 3"),
    ],
)
def test_readings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        RegionReading(**options)


# ---- Real data ----


@needs_shared
def test_gue_promoters_are_read_as_they_were_published():
    folder = SHARED / "data/gue/prom_300_tata"
    dataset = read_csv_data(folder / "train.csv", folder / "dev.csv", folder / "test.csv")
    assert counts(dataset) == {
        "train": {"0": 2460, "1": 2444}, "dev": {"0": 290, "1": 323}, "test": {"0": 315, "1": 298}
    }  # fmt: skip
    assert dataset.window == 300
    # The published split has the same promoter in train and dev or test a few times.
    assert [warning.split(" are ")[0] for warning in dataset.warnings[:2]] == [
        "14 of 613 sequences of dev", "6 of 613 sequences of test"
    ]  # fmt: skip


@needs_shared
def test_gue_mouse_3_splits_when_no_test_is_given():
    folder = SHARED / "data/gue/mouse/3"
    dataset = read_csv_data(folder / "train.csv", folder / "dev.csv", split=Split(test_fraction=0.1))
    assert dataset.test is not None
    assert len(dataset.train) + len(dataset.test) == 1904
    assert len(dataset.dev) == 239
    assert np.bincount(dataset.test.classes).tolist() == [95, 95]


@needs_shared
def test_yeast_sites_with_every_kind_of_negatives():
    folder = SHARED / "data/yeast"
    sources = ("dinuc-shuffle", "random-genome", str(folder / "unbound_promoters.bed"))
    dataset = read_bed_data(
        folder / "chipexo_sites.bed",
        folder / "sacCer3.fa.gz",
        reading=RegionReading(window=128, jitter=16),
        split=Split(
            dev_chroms=("chrII", "chrXI"), test_chroms=("chrIV,chrXVI",), exclude_chroms=("chrVII", "chrXIII")
        ),
        negatives=Negatives(sources=sources, per_positive=2),
        labels=("Reb1", "Rap1"),
    )
    lines = [line.split("\t") for line in (folder / "chipexo_sites.bed").read_text().splitlines()]
    part_of = {"chrII": "dev", "chrXI": "dev", "chrIV": "test", "chrXVI": "test"}
    expected = Counter((part_of.get(chrom, "train"), name) for chrom, _, _, name, *_ in lines)
    for part, n_background in (("train", 0), ("dev", 2), ("test", 2)):
        bound = {name: expected[part, name] for name in ("Reb1", "Rap1")}
        assert counts(dataset)[part] == {"background": n_background * sum(bound.values()), **bound}
    assert dataset.labels == ("background", "Reb1", "Rap1")
    assert {len(sequence) for sequence in dataset.dev.sequences} == {128}
    assert {len(sequence) for sequence in dataset.train.sequences} == {160}
