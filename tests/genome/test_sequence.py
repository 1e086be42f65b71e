"""DNA strings: the other strand, and letters that are no base."""

from __future__ import annotations

from gexplain.genome.sequence import count_ambiguous, reverse_complement


def test_the_other_strand_is_read_backwards():
    assert reverse_complement("AACGTN") == "NACGTT"


def test_iupac_letters_are_complemented_and_twice_is_the_same():
    assert reverse_complement("RYSWKMBDHVN") == "NBDHVKMWSRY"
    assert reverse_complement(reverse_complement("ACGTRYSWKMBDHVN")) == "ACGTRYSWKMBDHVN"


def test_letters_other_than_bases_are_counted():
    assert count_ambiguous("ACGTNNRYU") == 5
