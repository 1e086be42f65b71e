"""What a quality.json holds, read and checked: how far the tracks of a run can be trusted, as it was measured.

No torch here: gexplain.quality measures and writes, the report reads.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gexplain.errors import InputError

MISSING = "missing"
"""The one key of a part that could not be measured; its value says why."""

AGREEMENTS = ("strand_agreement", "shift_agreement")
ORDERS = ("relevance", "random", "least")
"""In which order positions were removed: most relevant first, at random, least relevant first."""


def read_quality(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What gexplain.quality.measure_quality gave, from the file that write_quality wrote.

    Raises InputError where the file cannot be read, or where what it holds is not what is written there: a part or
    a number that is missing, is of another kind, or does not fit the others.
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        _check(isinstance(found, dict), "", found, "an object")
        for part, check in _PARTS.items():
            _check(part in found, part, "nothing", "an object")
            _check(isinstance(found[part], dict), part, found[part], "an object")
            if part != "sample" and MISSING in found[part]:
                _check(isinstance(found[part][MISSING], str), f"{part}.{MISSING}", found[part][MISSING], "text")
            else:
                check(found[part], part)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="score again with --force"
        ) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{path} is no measured quality of a run: {error}", hint="score again with --force, or delete the file"
        ) from error
    whole: dict[str, Any] = found
    return whole


def _check(is_right: bool, where: str, found: object, expected: str) -> None:
    if not is_right:
        text = repr(found)
        excerpt = text if len(text) <= 40 else f"{text[:40]}..."
        raise ValueError(f"{where or 'it'} is {excerpt}; expected {expected}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number of JSON")


def _number(part: Mapping[str, Any], where: str, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    value = part.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    expected = (
        "a number" if math.isinf(low) else f"a number from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")
    )
    _check(is_number and low <= value <= high and math.isfinite(value), f"{where}.{name}", value, expected)  # type: ignore[operator,arg-type]
    return float(value)  # type: ignore[arg-type]


def _numbers(
    part: Mapping[str, Any], where: str, name: str, n: int, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    values = part.get(name)
    _check(isinstance(values, list) and len(values) == n, f"{where}.{name}", values, f"a list of {n:,} numbers")
    assert isinstance(values, list)
    return [_number({str(i): value}, f"{where}.{name}", str(i), low, high) for i, value in enumerate(values)]


def _text(part: Mapping[str, Any], where: str, name: str) -> None:
    _check(isinstance(part.get(name), str), f"{where}.{name}", part.get(name), "text")


def _rising(values: list[float], where: str) -> None:
    _check(all(a < b for a, b in itertools.pairwise(values)), where, values, "rising numbers")


def _check_sample(part: Mapping[str, Any], where: str) -> None:
    for name in ("regions", "windows"):
        _number(part, where, name, 0)
    _number(part, where, "seed")
    for name in ("how", "explained", "strand"):
        _text(part, where, name)


def _check_agreement(part: Mapping[str, Any], where: str) -> None:
    n = int(_number(part, where, "n", 1))
    _numbers(part, where, "values", n, -1, 1)
    quartiles = [_number(part, where, name, -1, 1) for name in ("low", "median", "high")]
    _check(quartiles == sorted(quartiles), where, quartiles, "low, median and high in this order")
    for name in ("name", "better"):
        _text(part, where, name)
    if where == "shift_agreement":
        _number(part, where, "bases", 1)


def _check_deletion(part: Mapping[str, Any], where: str) -> None:
    level = part.get("level")
    _check(level in ("token", "nucleotide"), f"{where}.level", level, "token or nucleotide")
    _number(part, where, "n", 1)
    fractions = part.get("fractions")
    _check(isinstance(fractions, list) and len(fractions) > 1, f"{where}.fractions", fractions, "a list of numbers")
    assert isinstance(fractions, list)
    _rising(_numbers(part, where, "fractions", len(fractions), 0, 1), f"{where}.fractions")
    for name in ORDERS:
        _numbers(part, where, name, len(fractions))
    area = part.get("area_difference")
    _check(isinstance(area, dict), f"{where}.area_difference", area, "an object")
    assert isinstance(area, dict)
    inside = f"{where}.area_difference"
    mean = _number(area, inside, "mean")
    if area.get("low", 0) is not None or area.get("high", 0) is not None:
        low, high = (_number(area, inside, name) for name in ("low", "high"))
        _check(low <= mean <= high, inside, area, "low, mean and high in this order")


def _check_ambiguous(part: Mapping[str, Any], where: str) -> None:
    _number(part, where, "share_of_bases", 0, 1)
    n = _number(part, where, "regions", 1)
    _number(part, where, "regions_over_10_percent", 0, n)


def _check_token_length(part: Mapping[str, Any], where: str) -> None:
    lengths = part.get("lengths")
    _check(isinstance(lengths, list) and len(lengths) > 0, f"{where}.lengths", lengths, "a list of numbers")
    assert isinstance(lengths, list)
    _rising(_numbers(part, where, "lengths", len(lengths), 1), f"{where}.lengths")
    _numbers(part, where, "tokens", len(lengths), 1)
    for name in ("mean_relevance", "per_base"):
        _numbers(part, where, name, len(lengths), 0)
    for name in ("spearman", "spearman_per_base"):
        if part.get(name, 0) is not None:  # none where all tokens are of one length
            _number(part, where, name, -1, 1)


def _check_by_class(part: Mapping[str, Any], where: str) -> None:
    for name, found in part.items():
        inside = f"{where}.{name}"
        _check(isinstance(found, dict), inside, found, "an object")
        _number(found, inside, "windows", 1)
        for value, least, most in (*((one, -1, 1) for one in AGREEMENTS), ("area_difference", -math.inf, math.inf)):
            if found.get(value, 0) is not None:
                _number(found, inside, value, least, most)


_PARTS: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    "sample": _check_sample,
    "strand_agreement": _check_agreement,
    "shift_agreement": _check_agreement,
    "deletion": _check_deletion,
    "ambiguous": _check_ambiguous,
    "token_length": _check_token_length,
    "by_class": _check_by_class,
}
