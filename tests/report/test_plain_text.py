from __future__ import annotations

import sys

import pytest

from gexplain.report.plain_text import spell_in_ascii


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("CTCF (MA0139.2) <b>&'", "CTCF (MA0139.2) <b>&'"),
        ("Ångström é", "Angstrom e"),
        ("β-catenin, NF-κB, Δ9", "beta-catenin, NF-kappaB, Delta9"),
        ("中 \udcff \x00", "? ? ?"),
        ("a\t\n b\u00a0c", "a b c"),
        ("ﬁ", "fi"),
        ("", ""),
    ],
)
def test_names_in_plain_letters(text: str, plain: str) -> None:
    assert spell_in_ascii(text) == plain


def test_whatever_it_is_it_becomes_one_line_of_printable_ascii() -> None:
    for code in [*range(0x10000), *range(0x10000, sys.maxunicode, 64)]:
        text = f"a {chr(code)} {chr(code)}b"
        plain = spell_in_ascii(text)
        assert plain.isascii(), code
        assert plain.isprintable(), code
        assert "  " not in plain, code
        assert spell_in_ascii(plain) == plain, code
