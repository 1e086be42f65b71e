from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gexplain.report.svg import escape, nice_ticks, picture, px, shortened, text


def test_ticks_are_round_evenly_spaced_and_written_as_they_are():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        size = 10 ** rng.uniform(-6, 6)
        low, high = sorted(rng.uniform(-1, 1, 2) * size)
        most = int(rng.integers(5, 9))
        ticks = nice_ticks(low, high, most)
        values = np.array([value for value, _ in ticks])
        assert 2 <= len(ticks) <= most
        assert (values >= low - 1e-5 * size).all()
        assert (values <= high + 1e-5 * size).all()
        steps = np.diff(values)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        leading = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
        assert round(leading, 3) in (1, 2, 5)
        for value, written in ticks:
            assert written.replace("−", "-") != "-0"
            assert "-" not in written
            assert float(written.replace("−", "-").replace(",", "")) == pytest.approx(value, rel=1e-4, abs=1e-9)


def holds_xml(letter: str) -> bool:
    """https://www.w3.org/TR/xml/#charsets"""
    return letter in "\t\n\r" or 0x20 <= ord(letter) < 0xD800 or 0xDFFF < ord(letter) < 0xFFFE or ord(letter) > 0xFFFF


def test_any_text_is_the_text_of_an_element_again():
    everything = "".join(map(chr, range(0x3000))).replace("\r", "") + "\ud800\udfff\ufffe\uffff\U0001f9ec"
    shown = picture(10, 10, [text(0, 0, everything)], label=everything)
    shown.encode()
    expected = "".join(letter if holds_xml(letter) else "\ufffd" for letter in everything)
    assert ET.fromstring(shown)[0].text == expected


def test_an_attribute_is_not_left():
    for quote in "\"'":
        content = f"{quote} d={quote}"
        element = ET.fromstring(f"<a b={quote}{escape(content)}{quote}/>")
        assert element.attrib == {"b": content}


def test_lengths_are_short_and_never_minus_zero():
    assert [px(one) for one in (1, 1.5, 0.125, -0.001, 100, 1e6)] == ["1", "1.5", "0.12", "0", "100", "1000000"]


def test_a_shortened_text_is_as_long_as_it_may_be():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"
