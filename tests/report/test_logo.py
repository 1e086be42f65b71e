from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from tiny_tracks import gaps, noise, random_letters, write_bigwig

from gexplain.genome.bigwig import read_bigwig
from gexplain.report.logo import (
    Box,
    glyph_definitions,
    information_logo,
    letter_information,
    overview,
    relevance_logo,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert('x')</script>&\"\x00\x1b\udcff\ufffe é"


def parse(svg: str) -> ET.Element:
    svg.encode("utf-8")  # no lone surrogate is left
    return ET.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in parse(svg).iter(f"{SVG}text")]


def letters(svg: str) -> list[tuple[int, str, float, float, float]]:
    """Of each letter: position, letter, middle in pixels of the picture, foot below the axis, and value."""
    (group,) = (one for one in parse(svg).iter(f"{SVG}g") if "data-unit" in one.attrib)
    unit = float(group.attrib["data-unit"])
    origin = re.fullmatch(r"translate\((\S+) (\S+)\)", group.attrib["transform"])
    assert origin is not None
    found = []
    for use in group.iter(f"{SVG}use"):
        moved = re.fullmatch(r"translate\((\S+) (\S+)\) scale\((\S+) (\S+)\)", use.attrib["transform"])
        assert moved is not None
        x, foot, width, scale = (float(number) for number in moved.groups())
        letter = use.attrib["href"].removeprefix("#glyph-")
        middle = float(origin[1]) + x + width / 2
        found.append((int(use.attrib["data-position"]), letter, middle, foot / unit, scale / unit))
    return found


def test_the_heights_of_letters_are_the_bigwigs_values(tmp_path):
    rng = np.random.default_rng(0)
    values = noise(rng, 400) * 10 ** rng.uniform(-6, 2, 400)
    values[120:130] = values[200] = np.nan
    write_bigwig(tmp_path / "x.bw", {"chr1": 400}, {"chr1": values})
    known = read_bigwig(tmp_path / "x.bw", "chr1", 100, 250)
    sequence = random_letters(rng, 150)
    drawn = letters(relevance_logo(sequence, known, chrom="chr1", start=100))
    has_value = np.flatnonzero(~np.isnan(known))
    assert len(has_value) == 139
    assert [position for position, *_ in drawn] == (100 + has_value).tolist()
    assert [letter for _, letter, *_ in drawn] == [sequence[index] for index in has_value]
    # Not only close: the very float32.
    np.testing.assert_array_equal(np.float32([value for *_, value in drawn]), known[has_value])


def test_letters_stand_in_the_middle_of_their_bases_and_on_the_axis():
    drawn = letters(relevance_logo("ACGTA", np.array([1, -1, 0.5, np.nan, 2]), chrom="c", start=7, letter_width=12))
    first = drawn[0][2]
    assert [round(middle - first, 6) for _, _, middle, *_ in drawn] == [0, 12, 24, 48]
    assert {foot for *_, foot, _ in drawn} == {0}
    # A negative scale turns a letter over, so that it hangs below the axis, upside down.
    assert [math.copysign(1, value) for *_, value in drawn] == [1, -1, 1, 1]


def test_letters_stay_inside_the_panel():
    rng = np.random.default_rng(1)
    svg = relevance_logo(random_letters(rng, 60), noise(rng, 60), chrom="c", start=0, height=120)
    root = parse(svg)
    (group,) = (one for one in root.iter(f"{SVG}g") if "data-unit" in one.attrib)
    axis = float(group.attrib["transform"].split()[1].rstrip(")"))
    unit = float(group.attrib["data-unit"])
    heights = np.array([value for *_, value in letters(svg)]) * unit
    assert heights.max() - heights.min() == pytest.approx(120, abs=1e-3)
    assert axis - heights.max() >= 0
    assert axis - heights.min() <= float(root.attrib["height"])


def glyph_boxes(definitions: str) -> dict[str, tuple[float, float, float, float]]:
    """The box around the points of each outline; those of curves count too, so it may be too large."""
    boxes = {}
    for path in parse(definitions).iter(f"{SVG}path"):
        points = np.array(re.findall(r"-?[\d.]+", path.attrib["d"]), dtype=float).reshape(-1, 2)
        boxes[path.attrib["id"]] = (*points.min(0), *points.max(0))
    return boxes


def test_each_outline_fills_the_box_above_the_axis():
    boxes = glyph_boxes(glyph_definitions())
    assert set(boxes) == {f"glyph-{letter}" for letter in "ACGTN"}
    for box in boxes.values():
        np.testing.assert_allclose(box, (0, -1, 1, 0), atol=0.03)


def test_lower_case_is_the_same_letter_and_others_are_n():
    drawn = letters(relevance_logo("acgtNRu-", np.ones(8), chrom="c", start=0))
    assert "".join(letter for _, letter, *_ in drawn) == "ACGTNNNN"


def test_every_letter_that_is_drawn_is_defined():
    svg = relevance_logo("ACGTN", np.ones(5), chrom="c", start=0) + information_logo(np.eye(4))
    used = set(re.findall(r'href="#([^"]+)"', svg))
    assert used == set(re.findall(r'id="([^"]+)"', glyph_definitions()))


def test_a_gap_is_drawn_as_one_and_has_no_letter():
    values = np.array([np.nan, 1, np.nan, np.nan, 2])
    svg = relevance_logo("ACGTA", values, chrom="c", start=10)
    marked = [one.attrib["data-gap"] for one in parse(svg).iter(f"{SVG}rect") if "data-gap" in one.attrib]
    assert marked == ["10-11", "12-14"]
    assert [position for position, *_ in letters(svg)] == [11, 14]


@pytest.mark.parametrize("values", [[np.nan] * 5, [0.0] * 5, [1e-42, 0, 0, 0, -1e-42]])
def test_nothing_to_see_is_drawn_all_the_same(values):
    svg = relevance_logo("ACGTA", np.array(values), chrom="c", start=0)
    assert all(math.isfinite(value) for *_, value in letters(svg))
    assert overview(np.array(values), chrom="c", start=0).count("<svg") == 1


def test_one_base_has_its_own_position():
    svg = relevance_logo("G", np.array([0.5]), chrom="chr1", start=41)
    assert "42" in texts(svg)
    assert letters(svg)[0][4] == 0.5


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, 1e300])
def test_the_infinite_is_refused_with_its_place(infinite):
    with pytest.raises(ValueError, match=r"chr1:1,002\b"):
        relevance_logo("ACG", np.array([0, infinite, 0]), chrom="chr1", start=1000)
    with pytest.raises(ValueError, match=r"chr1:1,002\b"):
        overview(np.array([0, infinite, 0]), chrom="chr1", start=1000)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 letters and 2 values"):
        relevance_logo("ACG", np.ones(2), chrom="c", start=0)
    with pytest.raises(ValueError, match="at least one"):
        relevance_logo("", np.empty(0), chrom="c", start=0)
    with pytest.raises(ValueError, match="at least one"):
        overview(np.empty(0), chrom="c", start=0)
    with pytest.raises(ValueError, match="leave y_range"):
        relevance_logo("ACG", np.array([0, 2, 0]), chrom="c", start=0, y_range=(-1, 1))
    with pytest.raises(ValueError, match="expected finite"):
        relevance_logo("A", np.array([2]), chrom="c", start=0, y_range=(1, 3))


def test_one_scale_can_be_given_to_several_logos():
    first = relevance_logo("AC", np.array([1, -1]), chrom="c", start=0, y_range=(-4, 4), height=80)
    second = relevance_logo("AC", np.array([4, -2]), chrom="c", start=0, y_range=(-4, 4), height=80)
    assert re.findall(r'data-unit="(\S+)"', first + second) == ["10", "10"]


@pytest.mark.parametrize("start", [0, 7, 99, 12_345_678])
def test_positions_are_those_that_people_read_below_their_base(start):
    svg = relevance_logo("A" * 120, np.ones(120), chrom="chr7", start=start, letter_width=10)
    middle_of = {position: middle for position, _, middle, *_ in letters(svg)}
    numbers = [one for one in parse(svg).iter(f"{SVG}text") if re.fullmatch(r"[\d,]+", one.text or "")]
    on_axis = [one for one in numbers if float(one.attrib["x"]) > 58]  # those of the values are to the left of it
    assert len(on_axis) >= 5
    for one in on_axis:
        position = int((one.text or "").replace(",", "")) - 1
        assert float(one.attrib["x"]) == pytest.approx(middle_of[position], abs=0.02)
    assert "position on chr7" in texts(svg)


def boxes_of(svg: str) -> dict[str, tuple[float, float]]:
    """Left and right of each frame, in pixels, by its title."""
    found = {}
    for group in parse(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and rect is not None:
            left = float(rect.attrib["x"])
            found[title.text or ""] = (left, left + float(rect.attrib["width"]))
    return found


def test_boxes_lie_over_their_bases():
    boxes = [Box(102, 110, "REST", "+"), Box(104, 107, "ZNF", "-"), Box(90, 103, "cut"), Box(500, 510, "away")]
    svg = relevance_logo("A" * 30, np.ones(30), chrom="c", start=100, boxes=boxes, letter_width=10)
    middle_of = {position: middle for position, _, middle, *_ in letters(svg)}
    found = boxes_of(svg)
    assert set(found) == {"REST (+)", "ZNF (-)", "cut"}
    for name, first, last in (("REST (+)", 102, 109), ("ZNF (-)", 104, 106), ("cut", 100, 102)):
        assert found[name] == pytest.approx((middle_of[first] - 5, middle_of[last] + 5), abs=0.02)


def test_no_two_labels_lie_on_one_another():
    rng = np.random.default_rng(2)
    starts = rng.integers(0, 140, 25)
    boxes = [Box(int(one), int(one) + 8, f"factor_{number}", "+") for number, one in enumerate(starts)]
    svg = relevance_logo("A" * 150, np.ones(150), chrom="c", start=0, boxes=boxes)
    places = [
        (float(one.attrib["y"]), float(one.attrib["x"]), 6.0 * len(one.text or ""))
        for one in parse(svg).iter(f"{SVG}text")
        if (one.text or "").startswith("factor_")
    ]
    assert len(places) == 25
    for number, (y, x, width) in enumerate(places):
        assert y > 0
        for other_y, other_x, other_width in places[number + 1 :]:
            assert y != other_y or x + width <= other_x or other_x + other_width <= x


def test_hostile_names_are_text_and_nothing_else():
    box = Box(0, 2, HOSTILE, "+")
    for svg in (
        relevance_logo("AC", np.ones(2), chrom=HOSTILE, start=0, boxes=[box], title=HOSTILE),
        overview(np.ones(2), chrom=HOSTILE, start=0, boxes=[box], title=HOSTILE),
        information_logo(np.eye(4), title=HOSTILE),
        relevance_logo('<"', np.ones(2), chrom="c", start=0),
    ):
        root = parse(svg)
        names = {one.tag.removeprefix(SVG) for one in root.iter()}
        assert names <= {"svg", "g", "text", "title", "rect", "line", "path", "use"}
    shown = relevance_logo("AC", np.ones(2), chrom="c", start=0, title=HOSTILE)
    assert re.sub("[\x00\x1b\udcff\ufffe]", "\ufffd", HOSTILE) in texts(shown)


def test_no_picture_has_an_id_a_style_or_a_script():
    svg = relevance_logo("AC", np.ones(2), chrom="c", start=0, boxes=[Box(0, 1, "x")]) + overview(
        np.ones(2), chrom="c", start=0
    )
    for one in (*parse(f"<div>{svg}{information_logo(np.eye(4))}</div>").iter(),):
        assert not {"id", "style"} & set(one.attrib)
        assert not one.tag.endswith(("style", "script"))


# ---- A motif's information ----


def information_slowly(row: list[float]) -> list[float]:
    """Schneider & Stephens (1990): R = 2 - H, and each letter has its share of it."""
    entropy = 0.0
    for share in row:
        if share > 0:
            entropy -= share * math.log2(share)
    return [share * (2 - entropy) for share in row]


def test_letters_of_a_motif_are_as_high_as_their_information():
    rng = np.random.default_rng(3)
    rows = rng.dirichlet([0.3] * 4, 12)
    rows[3], rows[4] = (1, 0, 0, 0), (0.5, 0, 0.5, 0)
    drawn = letters(information_logo(rows))
    for position in range(12):
        expected = information_slowly(rows[position].tolist())
        here = {letter: (foot, value) for index, letter, _, foot, value in drawn if index == position}
        for base, height in zip("ACGT", expected, strict=True):
            assert here.get(base, (0, 0))[1] == pytest.approx(height, abs=1e-6)
        # From the foot up, each stands on the one before; the most informative is on top.
        stacked = sorted((-foot, value) for foot, value in here.values())
        assert stacked[0][0] == 0
        for (foot, value), (following, higher) in pairwise(stacked):
            assert following == pytest.approx(foot + value, abs=1e-3)
            assert higher >= value


def test_a_column_that_says_nothing_is_empty():
    np.testing.assert_array_equal(letter_information(np.full((2, 4), 0.25)), 0)
    assert letters(information_logo(np.full((2, 4), 0.25))) == []
    # Counts and probabilities are the same motif.
    np.testing.assert_allclose(
        letter_information(np.array([[7.0, 1, 1, 1]])), letter_information(np.array([[0.7, 0.1, 0.1, 0.1]]))
    )


@pytest.mark.parametrize(
    "rows", [np.empty((0, 4)), np.ones((3, 5)), np.zeros((1, 4)), [[-1, 1, 1, 0]], [[np.nan] * 4]]
)
def test_what_is_no_motif_is_refused(rows):
    with pytest.raises(ValueError, match="probabilities"):
        information_logo(np.asarray(rows, dtype=float))


# ---- A whole region ----


def bars(svg: str, color: str, *, pale: bool) -> list[tuple[float, float, float]]:
    """Left, right and height of each bar of a colour."""
    (path,) = (
        one
        for one in parse(svg).iter(f"{SVG}path")
        if one.attrib.get("fill") == color and ("fill-opacity" in one.attrib) == pale and "transform" in one.attrib
    )
    found, x, y = [], 0.0, 0.0
    for command, number in re.findall(r"([MHV])([\d.-]+)", path.attrib["d"]):
        if command == "V":
            y = float(number)
        elif command == "H":
            found.append((x, float(number), -y))
        if command in "MH":
            x = float(number)
    return [one for one in found if one[1] > one[0]]


def bar_at(found: list[tuple[float, float, float]], x: float) -> float:
    return next(height for left, right, height in found if left <= x < right)


def test_an_overview_shows_the_mean_and_the_extremes_of_each_column():
    rng = np.random.default_rng(4)
    values = gaps(rng, noise(rng, 5000).astype(np.float64), 6)
    svg = overview(values, chrom="c", start=0, width=500, height=100)
    unit = 100 / (max(np.nanmax(values), 0) - min(np.nanmin(values), 0))
    columns = values.reshape(250, 20)
    drawn = {(color, pale): bars(svg, color, pale=pale) for color in ("#0072B2", "#D55E00") for pale in (True, False)}
    for number, column in enumerate(columns):
        known = column[~np.isnan(column)]
        mean = known.mean() if len(known) else 0
        x = number * 2 + 1
        for color, sign in (("#0072B2", 1), ("#D55E00", -1)):
            extreme = max(sign * known.max(initial=0, where=sign > 0), -known.min(initial=0) if sign < 0 else 0)
            assert bar_at(drawn[color, True], x) * sign == pytest.approx(extreme * unit, abs=0.06)
            assert bar_at(drawn[color, False], x) * sign == pytest.approx(max(sign * mean, 0) * unit, abs=0.06)


def test_a_short_region_has_a_bar_for_each_base():
    svg = overview(np.array([1.0, 2, 4, 3]), chrom="c", start=0, width=400, height=80)
    assert bars(svg, "#0072B2", pale=False) == [(0, 100, 20), (100, 200, 40), (200, 300, 80), (300, 400, 60)]


def test_the_marked_span_lies_over_its_bases():
    svg = overview(np.ones(100), chrom="c", start=1000, span=(1020, 1030), width=500)
    (marked,) = (one for one in parse(svg).iter(f"{SVG}rect") if one.attrib.get("data-start") == "1020")
    assert (float(marked.attrib["x"]) - 58, float(marked.attrib["width"])) == (100, 50)
    assert 'data-start="10"' not in overview(np.ones(100), chrom="c", start=1000, span=(10, 20))
