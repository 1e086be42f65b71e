"""Letters: what a training sequence may be made of."""

from __future__ import annotations

import re

from gexplain.errors import InputError

# Shorter ones hold no motif, and many a model no token.
MIN_WIDTH = 10

_OTHER_LETTER = re.compile("[^ACGTRYSWKMBDHVN]")


def check_letters(sequence: str, place: str) -> None:
    """InputError where an upper-case sequence has a letter that is no IUPAC code of DNA. place: for the message."""
    found = _OTHER_LETTER.search(sequence)
    if found is None:
        return
    letter = found[0]
    if letter == "U":
        hint = "write T for U: the models read DNA"
    elif letter in "-.* \t":
        hint = "remove gaps, stops and spaces from the sequences"
    else:
        hint = "give nucleotides, one sequence a row; N stands for an unknown base"
    raise InputError(
        f"{place} has the letter {letter!r}, base {found.start() + 1:,} of the sequence;"
        " expected A, C, G, T, N or another IUPAC code of DNA",
        hint=hint,
    )
