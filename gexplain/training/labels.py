"""Labels: what the classes are called, and which logit each is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches

from gexplain.errors import InputError, UsageError, preview

# What the class of negatives may be called in a file, likeliest first.
BACKGROUND_NAMES = ("background", "negative", "unbound")


def order_labels(
    found: Collection[str], source: str, *, with_negatives: bool, keep: Sequence[str] = ()
) -> tuple[str, ...]:
    """The labels in logit order; the class of negatives, wherever there is one, is the first.

    found: the labels of the training examples. keep: those to train on, in the order wanted; all by default, where
    integers keep their order and names are sorted. With negatives there is a background: the class of one of
    BACKGROUND_NAMES, or "0" of integer labels, or else a new class "background".

    Raises InputError where one class is all there is, where integers are not 0, 1, 2 ..., and where `keep` has what
    is not there.
    """
    _check_kept(found, source, keep)
    if _are_numbers(found):
        if not keep:
            _check_integers(found, source, 1 if with_negatives and "0" not in found else 0)
        ordered = list(keep) or sorted(found, key=int)
        background = "0" if with_negatives and "0" in ordered else None
    else:
        ordered = list(keep) or sorted(found)
        by_lower = {label.lower(): label for label in reversed(ordered)}
        background = next((by_lower[name] for name in BACKGROUND_NAMES if name in by_lower), None)
    if with_negatives and background is None:
        background = BACKGROUND_NAMES[0]
    if background is not None:
        ordered = [background, *(label for label in ordered if label != background)]
    if len(ordered) < 2:
        what = "--labels leaves" if keep else f"{source} has"
        raise InputError(
            f"{what} one class only, {ordered[0]!r}; a classifier needs two",
            hint=f"--negatives adds examples of {BACKGROUND_NAMES[0]!r}; here it needs positives beside them"
            if with_negatives
            else "--negatives dinuc-shuffle adds a class 'background'; or label the negatives of your own",
        )
    return tuple(ordered)


def _check_kept(found: Collection[str], source: str, keep: Sequence[str]) -> None:
    twice = [label for label in keep if keep.count(label) > 1]
    if twice:
        raise UsageError(f"--labels names {twice[0]!r} twice", hint="name each label once")
    unknown = [label for label in keep if label not in found]
    if unknown:
        by_lower = {label.lower(): label for label in sorted(found)}
        near = [by_lower[one] for one in get_close_matches(unknown[0].lower(), by_lower, n=1)]
        raise InputError(
            f"{source} has no label {unknown[0]!r}; it has {preview(sorted(found), 8)}",
            hint=f"did you mean {near[0]}?" if near else "name labels as the file does",
        )


def _are_numbers(found: Collection[str]) -> bool:
    return all(re.fullmatch(r"[-+]?\d+(\.\d*)?", label) for label in found)


def _check_integers(found: Collection[str], source: str, first: int) -> None:
    """InputError where the labels are not the integers from `first` on: a label is the number of its logit."""
    expected = {str(number) for number in range(first, first + len(found))}
    if expected != set(found):
        raise InputError(
            f"{source} has the labels {preview(sorted(found, key=float), 8)}; expected whole numbers from {first} on,"
            f" none left out: {preview(sorted(expected, key=int), 8)}",
            hint="number the classes again; or give them names, of which any will do",
        )
