from __future__ import annotations

import base64
import re
import tracemalloc
import xml.etree.ElementTree as ET
from io import BytesIO

import numpy as np
import pytest
from tiny_tracks import gaps, noise

from gexplain.report.profiles import MOST_COLUMNS, MOST_ROWS, Profiles
from gexplain.report.svg import color_index, diverging_colors, png_uri

SVG = "{http://www.w3.org/2000/svg}"


def regions(seed: int, n: int, width: int = 61) -> list[tuple[np.ndarray, int, str, float]]:
    """Values with gaps, centre, strand and order of regions of many widths."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        size = int(rng.integers(1, width))
        values = noise(rng, size).astype(np.float64)
        values[rng.random(size) < 0.1] = np.nan
        found.append((values, int(rng.integers(-3, size + 3)), str(rng.choice(["+", "-", "."])), float(rng.random())))
    return found


def add_all(profiles: Profiles, group: str, some: list[tuple[np.ndarray, int, str, float]]) -> None:
    for values, centre, strand, order in some:
        profiles.add(group, values, centre, strand=strand, order=order)


def rows_slowly(some: list[tuple[np.ndarray, int, str, float]], reach: int, bin_width: int) -> np.ndarray:
    """(n, n_columns): each region's mean in each column, base by base."""
    side = max(0, -(-(reach - bin_width // 2) // bin_width))
    table = np.full((len(some), 2 * side + 1), np.nan)
    for number, (values, centre, strand, _) in enumerate(some):
        columns: dict[int, list[float]] = {}
        for index, value in enumerate(values):
            offset = (index - centre) * (-1 if strand == "-" else 1)
            if abs(offset) <= reach and not np.isnan(value):
                columns.setdefault(round(offset / bin_width), []).append(value)
        for column, within in columns.items():
            table[number, column + side] = sum(within) / len(within)
    return table


@pytest.mark.parametrize("reach", [0, 1, 25, 500])
def test_the_mean_is_that_of_all_regions(reach):
    some = regions(0, 300, 61 if reach < 100 else 1200)
    profiles = Profiles(reach)
    add_all(profiles, "g", some)
    table = rows_slowly(some, reach, profiles.bin_width)
    assert (profiles.bin_width > 1) == (reach == 500)
    n = (~np.isnan(table)).sum(0)
    expected = np.array(
        [column[~np.isnan(column)].mean() if len(column[~np.isnan(column)]) else np.nan for column in table.T]
    )
    error = np.array(
        [
            column[~np.isnan(column)].std(ddof=1) / np.sqrt(len(column[~np.isnan(column)])) if k > 1 else np.nan
            for column, k in zip(table.T, n, strict=True)
        ]
    )
    mean, standard_error, counts = profiles.mean("g")
    assert len(profiles.offsets) == len(mean) <= MOST_COLUMNS
    np.testing.assert_array_equal(counts, n)
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(standard_error, error, rtol=1e-9, atol=1e-12)


def test_the_order_of_adding_does_not_matter_for_the_mean():
    some = regions(1, 500)
    one, other = Profiles(20), Profiles(20)
    add_all(one, "g", some)
    add_all(other, "g", some[::-1])
    for first, second in zip(one.mean("g"), other.mean("g"), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reach", [20, 400])
def test_a_region_on_the_minus_strand_is_turned_around_its_centre(reach):
    rng = np.random.default_rng(2)
    values = gaps(rng, noise(rng, 900), 4)
    forward, backward = Profiles(reach), Profiles(reach)
    forward.add("g", values, 300, strand="-")
    backward.add("g", values[::-1], 899 - 300, strand="+")
    np.testing.assert_array_equal(forward.mean("g")[0], backward.mean("g")[0])
    plus = Profiles(reach)
    plus.add("g", values, 300, strand="+")
    np.testing.assert_allclose(forward.mean("g")[0], plus.mean("g")[0][::-1], rtol=1e-12)


def test_few_regions_have_a_row_each_in_their_order():
    some = regions(3, MOST_ROWS)
    profiles = Profiles(12)
    add_all(profiles, "g", some)
    rows, orders, weights = profiles.heat_map("g")
    ranks = np.argsort([-order for *_, order in some], kind="stable")
    np.testing.assert_array_equal(rows, rows_slowly(some, 12, 1)[ranks])
    np.testing.assert_array_equal(orders, [some[rank][3] for rank in ranks])
    np.testing.assert_array_equal(weights, 1)


def test_equals_stay_in_the_order_in_which_they_came():
    profiles = Profiles(0)
    for number in range(50):
        profiles.add("g", np.array([number]), 0, order=0.5)
    assert profiles.heat_map("g")[0][:, 0].tolist() == list(range(50))


@pytest.mark.parametrize("arrival", ["random", "rising", "falling"])
def test_many_regions_become_even_rows_in_order(arrival):
    n = 20_000
    orders = np.random.default_rng(4).random(n)
    orders = {"random": orders, "rising": np.sort(orders), "falling": np.sort(orders)[::-1]}[arrival]
    profiles = Profiles(1)
    for order in orders.tolist():
        profiles.add("g", np.array([order, np.nan, 1 - order]), 1, order=order)
    rows, means, weights = profiles.heat_map("g")
    assert MOST_ROWS / 2 < len(rows) <= MOST_ROWS
    assert weights.sum() == n
    assert weights.max() <= 4 * n / MOST_ROWS
    assert (np.diff(means) <= 0).all()
    # A row is the mean of its regions: no value is lost, and none counted twice.
    np.testing.assert_allclose(rows[:, 0], means, rtol=1e-9)
    np.testing.assert_allclose(
        (rows * weights[:, None]).sum(0) / n, [orders.mean(), np.nan, 1 - orders.mean()], rtol=1e-9
    )
    # And its regions are those of about its place in the order: the rows' means are the quantiles.
    middles = 1 - (np.cumsum(weights) - weights / 2) / n
    np.testing.assert_allclose(means, np.quantile(orders, middles), atol=0.02)


def test_memory_does_not_grow_with_the_regions():
    values = np.random.default_rng(5).normal(size=2001)
    profiles = Profiles(1000)
    for _ in range(2 * MOST_ROWS + 1):
        profiles.add("g", values, 1000)
    tracemalloc.start()
    for number in range(3000):
        profiles.add("g", values, 1000, order=number % 7)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 3,000 rows of float32 would be 2.5 MB even at MOST_COLUMNS columns.
    assert grown < 100_000


@pytest.mark.parametrize("values", [[0, np.inf], [-np.inf, 0]])
def test_the_infinite_is_refused(values):
    with pytest.raises(ValueError, match="infinite"):
        Profiles(3).add("g", np.array(values), 0)


@pytest.mark.parametrize("order", [np.nan, np.inf])
def test_an_order_is_finite(order):
    with pytest.raises(ValueError, match="order"):
        Profiles(3).add("g", np.zeros(3), 0, order=order)


# ---- Drawing ----


def pixels_of(uri: str) -> np.ndarray:
    """(height, width, 3), as another reader of PNGs sees them."""
    from matplotlib.image import imread

    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray((imread(BytesIO(base64.b64decode(data)), format="png")[..., :3] * 255).round(), dtype=np.uint8)


def test_an_image_is_a_png_of_its_colours():
    rng = np.random.default_rng(6)
    index = rng.integers(0, 256, (13, 29)).astype(np.uint8)
    colors = diverging_colors()
    np.testing.assert_array_equal(pixels_of(png_uri(index, colors)), colors[index])


def luminance(colors: np.ndarray) -> np.ndarray:
    """Relative luminance, as of https://www.w3.org/TR/WCAG21/."""
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_colours_darken_on_either_side_of_white():
    colors = diverging_colors()
    assert colors.shape == (256, 3)
    assert colors[128].tolist() == [255, 255, 255]
    light = luminance(colors[1:])
    assert (np.diff(light[:128]) > 0).all()
    assert (np.diff(light[127:]) < 0).all()
    # No value is no colour of the scale.
    assert colors[0].tolist() not in colors[1:].tolist()


def test_colours_are_told_apart_without_red_and_green():
    # To a dichromat without long-wave cones, red and green channels are nearly one (Viénot et al. 1999): what remains
    # is blue against the rest.
    colors = diverging_colors().astype(int)
    negative, positive = colors[40], colors[-40]
    assert positive[2] - positive[:2].mean() > 60
    assert negative[:2].mean() - negative[2] > 60


def test_values_get_the_colour_of_their_sign_and_size():
    index = color_index(np.array([0, 1, -1, 5, -5, 0.5, np.nan, 1e-9]), 1)
    assert index.tolist() == [128, 255, 1, 255, 1, 192, 0, 128]


def figures_of(
    n: int, groups: tuple[str, ...] = ("one", "two"), reach: int = 30
) -> list[tuple[str, ET.Element, str]]:
    profiles = Profiles(reach)
    for number, group in enumerate(groups):
        add_all(profiles, group, regions(7 + number, n, 2 * reach + 2))
    return [(one.title, ET.fromstring(one.svg), one.caption) for one in profiles.figures()]


def test_a_figure_shows_its_rows_with_sharp_pixels():
    some = regions(7, 40)
    profiles = Profiles(30)
    add_all(profiles, "g", some)
    (figure,) = profiles.figures()
    uri = re.findall(r'image-rendering="pixelated" href="([^"]+)"', figure.svg)[0]
    rows = profiles.heat_map("g")[0]
    shown = pixels_of(uri)
    assert shown.shape[:2] == rows.shape
    grey = (shown == diverging_colors()[0]).all(-1)
    np.testing.assert_array_equal(grey, np.isnan(rows))
    blue = shown[..., 2].astype(int) - shown[..., 0]
    assert (blue[(rows > 0) & ~grey] >= 0).all()
    assert (blue[(rows < 0) & ~grey] <= 0).all()


def test_all_groups_share_their_scales_and_say_so():
    figures = figures_of(300)
    ends = {re.findall("±([^;.]+[.]?[0-9]*)", caption)[0] for *_, caption in figures}
    assert len(ends) == 1
    for _, svg, caption in figures:
        shown = [one.text for one in svg.iter(f"{SVG}text")]
        assert any(f"+{end}" in shown and f"−{end}" in shown for end in (one.rstrip(".") for one in ends))
        assert "same scales" in caption


def test_the_axis_is_in_bases_from_the_centre():
    for reach in (30, 700):
        (_, svg, _), *_ = figures_of(5, ("g",), reach=reach)
        images = list(svg.iter(f"{SVG}image"))
        left, width = float(images[0].attrib["x"]), float(images[0].attrib["width"])
        profiles = Profiles(reach)
        per_base = width / (len(profiles.offsets) * profiles.bin_width)
        ticks = [
            (int((one.text or "").replace("−", "-")), float(one.attrib["x"]))
            for one in svg.iter(f"{SVG}text")
            if re.fullmatch(r"−?\d+", one.text or "") and left <= float(one.attrib["x"]) <= left + width
        ]
        assert len(ticks) >= 5
        for offset, x in ticks:
            assert x == pytest.approx(left + width / 2 + offset * per_base, abs=0.02)


@pytest.mark.parametrize(
    ("values", "said"), [([np.nan], "no value"), ([0.0], "region"), ([-3.0], "1 region"), ([1e-40], "region")]
)
def test_next_to_nothing_is_drawn_all_the_same(values, said):
    profiles = Profiles(2)
    profiles.add("g", np.array(values), 0)
    (figure,) = profiles.figures()
    numbers = [
        value for one in ET.fromstring(figure.svg).iter() for key, value in one.attrib.items() if key != "href"
    ]
    assert not any("nan" in value for value in numbers)
    assert said in figure.caption


def test_without_a_region_there_is_no_figure():
    assert Profiles(10).figures() == []


def test_hostile_names_are_text_and_nothing_else():
    hostile = "</text><script>x</script>\"'&\x00\udcff"
    ((title, svg, _),) = figures_of(3, (hostile,))
    assert title == hostile  # for the page to escape
    assert {one.tag.removeprefix(SVG) for one in svg.iter()} <= {"svg", "text", "rect", "line", "path", "image"}
    assert not any("id" in one.attrib for one in svg.iter())
