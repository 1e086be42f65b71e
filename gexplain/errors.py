"""What can go wrong, as one tree; every error that a user can mend carries the mend.

GexplainError                exit code 1
├── UsageError               2    the command or call itself: options that do not go together
├── InputError               3    a BED, FASTA or other data file
│   └── BedError                  one malformed line, with its place
├── ModelError               3    a checkpoint or tokenizer that cannot be used
├── SkippedRegionsError      4    --strict, and something could not be scored
└── RunError                 1    the run: a folder in use, a full disk, out of memory

A broken promise between our own functions is a ValueError or an assert, and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class GexplainError(Exception):
    """An error for the user: what is wrong, and how to mend it.

    message: where, what was found, what was expected. detail: lines shown as they are (the bad line
    of a file, say). hint: the mend, without the word "fix".
    """

    exit_code = 1

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        parts += [f"    {line}" for line in self.detail.splitlines()]
        if self.hint:
            parts.append(f"    fix: {self.hint}")
        return "\n".join(parts)


class UsageError(GexplainError):
    """Options or arguments that do not go together."""

    exit_code = 2


class InputError(GexplainError):
    """Input data that cannot be used as it is."""

    exit_code = 3


class BedError(InputError):
    """A malformed line of a BED file."""


class ModelError(GexplainError):
    """A checkpoint or tokenizer that cannot be used."""

    exit_code = 3


class SkippedRegionsError(GexplainError):
    """Under --strict: some regions could not be scored."""

    exit_code = 4


class RunError(GexplainError):
    """The run itself failed: a folder in use, a full disk, out of memory."""


def preview(names: Iterable[str], most: int = 4) -> str:
    """The first few names, as an error message lists them: "chr1, chr2, chr3 ... (17 in all)"."""
    listed = list(names)
    text = ", ".join(listed[:most])
    return text if len(listed) <= most else f"{text} ... ({len(listed):,} in all)"


def count(n: int, noun: str) -> str:
    """A number of things, as a message says it: "1 region", "1,124 regions"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
