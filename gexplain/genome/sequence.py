"""DNA strings: the other strand, and the letters that are no base."""

from __future__ import annotations

_COMPLEMENT = str.maketrans("ACGTUNRYSWKMBDHVacgtunryswkmbdhv", "TGCAANYRSWMKVHDBtgcaanyrswmkvhdb")
_BASES = "ACGT"


def reverse_complement(sequence: str) -> str:
    """The other strand, read 5' to 3'. IUPAC letters are complemented too; any other letter stays."""
    return sequence.translate(_COMPLEMENT)[::-1]


def count_ambiguous(sequence: str) -> int:
    """Letters other than A, C, G and T in an upper-case sequence: the model reads each as [UNK]."""
    return len(sequence) - sum(sequence.count(base) for base in _BASES)
