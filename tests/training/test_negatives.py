"""Negatives: as many as asked, of the widths asked, from the places allowed, each place as likely."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from gexplain.errors import InputError, UsageError
from gexplain.genome.fasta import Genome
from gexplain.training.negatives import (
    BedWindows,
    DinucleotideShuffles,
    Negatives,
    RandomGenome,
    draw_evenly,
    draw_indices,
)
from gexplain.training.overlaps import merge_intervals, overlap_any


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def random_dna(n: int, seed: int) -> str:
    return "".join(rng(seed).choice(list("ACGT"), n))


def write_genome(path, **chroms: str) -> Genome:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in chroms.items()))
    return Genome(path)


def test_indices_are_drawn_again_only_when_all_are_used_up():
    drawn = draw_indices(5, 13, rng())
    assert sorted(Counter(drawn.tolist()).values()) == [2, 2, 3, 3, 3]
    assert sorted(draw_indices(5, 5, rng()).tolist()) == [0, 1, 2, 3, 4]
    assert draw_indices(5, 0, rng()).tolist() == []


@pytest.mark.parametrize("n", [0, 1, 3, 8])
def test_shuffles_have_the_dinucleotides_of_some_positive(n):
    positives = [random_dna(width, width) for width in (20, 30, 40)]
    shuffles = DinucleotideShuffles().draw(n, rng(), positives)
    counts = [Counter(pairwise(one)) for one in positives]
    of = [counts.index(Counter(pairwise(one))) for one in shuffles]
    assert len(of) == n
    assert max(Counter(of).values(), default=0) <= -(-n // 3)


def test_windows_of_a_bed_are_used_up_before_they_are_drawn_again():
    windows = BedWindows("unbound.bed", ["AAAA", "CCCC", "GGGG"])
    assert sorted(windows.draw(3, rng(), ["TTTT"])) == ["AAAA", "CCCC", "GGGG"]
    assert sorted(Counter(windows.draw(7, rng(), ["TTTT"])).values()) == [2, 2, 3]


def test_windows_with_a_margin_are_sub_windows_at_every_shift():
    sequence = "ACGTTGCAAC"
    drawn = BedWindows("unbound.bed", [sequence], margin=2).draw(500, rng(), ["TTTT"])
    seen = Counter(drawn)
    assert sorted(seen) == sorted(sequence[shift : shift + 6] for shift in range(5))
    assert min(seen.values()) > 60


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_are_those_counted_base_by_base(seed):
    draws = rng(seed)
    starts = draws.integers(0, 60, 12)
    intervals = np.stack([starts, starts + draws.integers(1, 9, 12)], axis=1)[: seed % 13]
    covered = {base for start, end in intervals.tolist() for base in range(start, end)}
    merged = merge_intervals(intervals)
    assert [base for start, end in merged.tolist() for base in range(start, end)] == sorted(covered)
    assert (merged[1:, 0] > merged[:-1, 1]).all()
    asked = np.arange(66)
    for width in (1, 2, 7):
        expected = [any(base in covered for base in range(start, start + width)) for start in range(66)]
        assert overlap_any(asked, asked + width, merged).tolist() == expected


def allowed_windows(chroms: dict[str, str], width: int, avoid: dict[str, list[tuple[int, int]]]) -> list[str]:
    """Base by base: the windows inside one chromosome, off the intervals, with at most a tenth of N."""
    return sorted(
        sequence[start : start + width]
        for chrom, sequence in chroms.items()
        for start in range(len(sequence) - width + 1)
        if not any(start < end and begin < start + width for begin, end in avoid.get(chrom, []))
        and sequence[start : start + width].count("N") <= width / 10
    )


def test_random_windows_are_uniform_over_every_allowed_place(tmp_path):
    chroms = {"a": random_dna(60, 1), "b": random_dna(30, 2) + "NNN" + random_dna(25, 3), "tiny": "ACGTAC"}
    avoid = {"a": [(5, 12), (8, 20), (58, 60)], "b": [(0, 1)], "elsewhere": [(0, 9)]}
    genome = write_genome(tmp_path / "g.fa", **chroms, other=random_dna(99, 4))
    intervals = {chrom: np.array(places) for chrom, places in avoid.items()}
    source = RandomGenome(genome, ["a", "b", "tiny"], intervals)
    expected = allowed_windows(chroms, 12, avoid)
    assert len(set(expected)) == len(expected) > 40
    seen = Counter(source.draw(300 * len(expected), rng(), ["C" * 12]))
    assert sorted(seen) == expected
    freedom = len(expected) - 1
    chi_square = sum((n - 300) ** 2 / 300 for n in seen.values())
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_random_windows_have_the_widths_of_the_positives(tmp_path):
    source = RandomGenome(write_genome(tmp_path / "g.fa", a=random_dna(200, 1)), ["a"])
    drawn = source.draw(6, rng(), ["A" * 10, "A" * 20, "A" * 30])
    assert sorted(map(len, drawn)) == [10, 10, 20, 20, 30, 30]


@pytest.mark.parametrize(
    ("sequence", "avoid"), [("ACGT" * 4, []), ("ACGT" + "N" * 99, []), ("ACGT" * 10, [(15, 25)])]
)
def test_no_room_for_a_random_window_is_an_error(tmp_path, sequence, avoid, monkeypatch):
    monkeypatch.setattr("gexplain.training.negatives.MAX_ROUNDS", 300)
    places = {"a": np.array(avoid, dtype=np.int64).reshape(-1, 2)}
    source = RandomGenome(write_genome(tmp_path / "g.fa", a=sequence), ["a"], places)
    with pytest.raises(InputError, match=r"no random window of 20 bases found in 300 draws from 1 chromosome"):
        source.draw(2, rng(), ["A" * 20])


def test_sources_share_evenly_and_equal_seeds_draw_equally(tmp_path):
    sources = [
        BedWindows("a.bed", ["A" * 9]),
        BedWindows("c.bed", ["C" * 9]),
        RandomGenome(write_genome(tmp_path / "g.fa", a="G" * 50), ["a"]),
    ]
    drawn = draw_evenly(sources, 8, rng(), ["T" * 9])
    assert Counter(one[0] for one in drawn) == {"A": 3, "C": 3, "G": 2}
    shuffles = DinucleotideShuffles()
    positives = [random_dna(50, 5)]
    assert shuffles.draw(4, rng(1), positives) == shuffles.draw(4, rng(1), positives)


def test_the_number_of_negatives():
    assert Negatives().n_for(100) == 0
    assert Negatives(sources=("dinuc-shuffle",)).n_for(100) == 100
    assert Negatives(sources=("dinuc-shuffle", "x.bed"), per_positive=0.5).n_for(100) == 50
    assert Negatives(sources=("dinuc-shuffle", "x.bed"), per_positive=0.01).n_for(100) == 2
    assert Negatives(sources=("dinuc-shuffle", "random-genome", "x.bed")).beds == ("x.bed",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_positive": 0}, "0 negatives per positive"),
        ({"per_positive": float("nan")}, "nan negatives per positive"),
        ({"sources": ("x.bed", "x.bed")}, r"'x\.bed' are asked for twice"),
    ],
)
def test_negatives_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Negatives(**options)
