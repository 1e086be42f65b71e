"""A strict reader of BED tables, written from UCSC's description of the format and not from the writer.

https://genome.ucsc.edu/FAQ/FAQformat.html#format1 and, for the types, kent's autoSql.doc. What is merely usual is
asked for too: tabs alone, one number of fields, FASTA order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

INTEGERS = {"int": (-(2**31), 2**31 - 1), "uint": (0, 2**32 - 1)}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_bed(text: str, chroms: Mapping[str, int], types: Sequence[str] = ()) -> list[list[str]]:
    """The fields of every row; AssertionError, naming the line, for what a strict reader would refuse.

    chroms: names to lengths, in the order of the file. types: the autoSql types of the columns after the sixth.
    """
    assert text.endswith("\n"), "the last line has no end"
    rows, last = [], (-1, -1, -1)
    order = list(chroms)
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if line.startswith("#"):
            assert not rows, f"line {number}: a comment among the rows"
            continue
        assert not line.startswith(("track", "browser")), f"line {number}: for the browser alone"
        fields = line.split("\t")
        assert len(fields) == 6 + len(types), f"line {number}: {len(fields)} fields"
        assert not re.search(r"\s", "".join(fields)), f"line {number}: white space in a field"
        assert "" not in fields, f"line {number}: an empty field"
        chrom, start, end, name, score, strand = fields[:6]
        assert chrom in chroms, f"line {number}: chromosome {chrom}"
        for integer in (start, end, score):
            assert re.fullmatch("[0-9]+", integer), f"line {number}: {integer!r} is no integer"
        assert 0 <= int(start) < int(end) <= chroms[chrom], f"line {number}: [{start}, {end})"
        assert len(name.encode(errors="surrogateescape")) <= 255, f"line {number}: a long name"
        assert int(score) <= 1000, f"line {number}: score {score}"
        assert strand in ("+", "-", "."), f"line {number}: strand {strand}"
        place = order.index(chrom), int(start), int(end)
        assert place >= last, f"line {number}: not sorted"
        last = place
        for kind, value in zip(types, fields[6:], strict=True):
            _check_value(kind, value, number)
        rows.append(fields)
    return rows


def _check_value(kind: str, value: str, number: int) -> None:
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        assert re.fullmatch(r"-?\d+", value), f"line {number}: {value!r} is no {kind}"
        assert low <= int(value) <= high, f"line {number}: {value} does not fit {kind}"
    elif kind in ("float", "double"):
        assert NUMBER.fullmatch(value), f"line {number}: {value!r} is no {kind}"
    elif kind == "string":
        assert len(value.encode(errors="surrogateescape")) <= 255, f"line {number}: a long string"
    else:
        assert kind == "lstring", f"line {number}: no type {kind}"
