from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.text())
def test_whatever_it_is_it_becomes_one_line_of_printable_ascii(text: str) -> None:
    plain = spell_in_ascii(text)
    assert all(" " <= letter <= "~" for letter in plain)
    assert spell_in_ascii(plain) == plain
