"""The quality of a run in pictures and words: every mark is at its number, and poor is called poor."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gexplain.report.quality_figures import FEW_TOKENS, MOST_CLASSES, quality_figures, quality_sentences

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert(1)</script>&\"'\x01\udce9 é" + "x" * 40


def agreement(values, **more):
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    kept = {"median": median, "low": low, "high": high, "values": list(values)}
    return {"name": "agreement", "n": len(values), "better": "higher", **kept, **more}


def of_class(windows=12, strand=0.8, shift=0.95, area=1.5):
    return {
        "windows": windows,
        "strand_agreement": strand,
        "shift_agreement": shift,
        "area_difference": area,
    }


def made(**parts):
    """A whole measurement, some parts of it other ones."""
    return {
        "sample": {
            "regions": 60,
            "windows": 64,
            "seed": 0,
            "how": "drawn by chance",
            "explained": "the logit of CTCF",
            "strand": "both",
        },
        "strand_agreement": agreement(np.linspace(0.2, 0.9, 64).tolist()),
        "shift_agreement": agreement(np.linspace(0.8, 1, 60).tolist(), bases=10),
        "deletion": {
            "level": "token",
            "fractions": [0, 0.2, 0.6, 1],
            "relevance": [3.0, 0.5, -0.5, 0.0],
            "random": [3.0, 2.25, 1.0, 0.0],
            "least": [3.0, 3.5, 2.5, 0.0],
            "n": 64,
            "area_difference": {"mean": 1.2, "low": 1.0, "high": 1.4},
        },
        "ambiguous": {"share_of_bases": 0.0, "regions": 450, "regions_over_10_percent": 0},
        "token_length": {
            "lengths": [1, 4, 9],
            "tokens": [20, 300, FEW_TOKENS - 1],
            "mean_relevance": [0.1, 0.2, 1.25],
            "per_base": [0.1, 0.05, 0.125],
            "spearman": 0.31,
            "spearman_per_base": -0.2,
        },
        "by_class": {"CTCF": of_class()},
        **parts,
    }


def figure(title, quality):
    (found,) = [one for one in quality_figures(quality) if one.title == title]
    return ET.fromstring(found.svg)


def marks(root, tag="circle"):
    """(x, value) of every mark that has a value."""
    found = []
    for one in root.iter(SVG + tag):
        if "data-value" in one.attrib:
            x = one.get("cx") or one.get("points").split(",")[0]
            found.append((float(x), float(one.get("data-value"))))
    return found


def said(name, **parts):
    return dict(quality_sentences(made(**parts)))[name]


def assert_linear(pairs):
    """Pixels are a straight line of the values, to the hundredth that is written."""
    x, values = np.array(pairs).T
    slope, offset = np.polyfit(values, x, 1)
    assert np.abs(slope * values + offset - x).max() < 0.02
    return slope


# ---- Pictures ----


def test_every_window_has_its_dot():
    quality = made()
    found = marks(figure("Agreement of two readings", quality))
    expected = quality["strand_agreement"]["values"] + quality["shift_agreement"]["values"]
    assert [value for _, value in found] == expected
    assert assert_linear(found) > 0


def test_dots_and_axis_have_one_scale():
    root = figure("Agreement of two readings", made())
    slope = assert_linear(marks(root))
    x, value = marks(root)[0]
    ticks = {
        one.text: float(one.get("x")) for one in root.iter(SVG + "text") if re.fullmatch(r"[\d.]+", one.text or "")
    }
    assert len(ticks) > 3
    for written, at in ticks.items():
        assert at == pytest.approx(x + slope * (float(written) - value), abs=0.1)


def test_negative_agreements_are_in_the_picture():
    root = figure("Agreement of two readings", made(strand_agreement=agreement([-0.9, 0.1, 0.5])))
    width = float(root.get("width"))
    assert all(0 < x < width for x, _ in marks(root))


def test_curves_go_through_their_numbers():
    quality = made()
    root = figure("Deletion", quality)
    heights = []
    for line in root.iter(SVG + "polyline"):
        values = quality["deletion"][line.get("data-order")]
        places = np.array([place.split(",") for place in line.get("points").split()], dtype=float)
        assert_linear(list(zip(places[:, 0], quality["deletion"]["fractions"], strict=True)))
        heights += zip(places[:, 1], values, strict=True)
    assert len(heights) == 12
    assert assert_linear(heights) < 0  # the highest value is at the top


@pytest.mark.parametrize("value", [2.5, 0.0])
def test_a_value_that_never_moves_is_drawn(value):
    flat = {**made()["deletion"], **dict.fromkeys(("relevance", "random", "least"), [value] * 4)}
    root = figure("Deletion", made(deletion=flat))
    assert "nan" not in ET.tostring(root, encoding="unicode").lower()


def test_means_of_few_tokens_are_open():
    root = figure("Token length", made())
    dots = [one for one in root.iter(SVG + "circle") if "data-value" in one.attrib]
    assert [float(one.get("data-value")) for one in dots] == [0.1, 0.2, 1.25, 0.1, 0.05, 0.125]
    assert [one.get("fill") == "#ffffff" for one in dots] == [False, False, True] * 2


def test_tokens_of_one_length_are_drawn():
    one = {"lengths": [3], "tokens": [9], "mean_relevance": [0.0], "per_base": [0.0]}
    root = figure("Token length", made(token_length={**one, "spearman": None, "spearman_per_base": None}))
    assert len(marks(root)) == 2


def test_classes_are_side_by_side():
    by_class = {"A": of_class(), "B": of_class(3, -0.2, None, None), "C": of_class(1, None, 0.5, -1.0)}
    root = figure("By class", made(by_class=by_class))
    strand, shift = marks(root), marks(root, "polygon")
    assert [value for _, value in strand] == [0.8, -0.2]
    assert [value for _, value in shift] == [0.95, 0.5]
    # The tip of a diamond is over its place, as the middle of a dot is.
    assert_linear(strand + shift)
    texts = [one.text for one in root.iter(SVG + "text")]
    assert {"1.50", "–", "−1.00"} <= set(texts)


def test_one_class_has_no_figure_of_classes():
    assert "By class" not in [one.title for one in quality_figures(made())]


def test_of_many_classes_the_first_are_drawn_and_it_is_said():
    quality = made(by_class={f"c{i}": of_class() for i in range(100)})
    (found,) = [one for one in quality_figures(quality) if one.title == "By class"]
    assert len(marks(ET.fromstring(found.svg))) == MOST_CLASSES
    assert f"The first {MOST_CLASSES} of 100 classes" in found.caption
    assert "70 more" in dict(quality_sentences(quality))["By class"]


def test_names_are_text_in_pictures():
    for one in quality_figures(made(by_class={HOSTILE: of_class(), "b": of_class()})):
        root = ET.fromstring(one.svg)
        assert not list(root.iter(SVG + "script"))
        assert not re.search(r"\s(id|style|on\w+|href)=", one.svg)


def test_what_is_missing_has_no_picture_and_is_said():
    nothing = {"missing": "every window is flat"}
    parts = ("strand_agreement", "shift_agreement", "deletion", "token_length", "ambiguous")
    quality = made(**dict.fromkeys(parts, nothing), by_class={})
    assert quality_figures(quality) == []
    sentences = dict(quality_sentences(quality))
    for name in ("Strand agreement", "Shift agreement", "Deletion", "Token length", "Ambiguous bases"):
        assert sentences[name] == "Not measured: every window is flat."


def test_one_missing_agreement_leaves_the_other():
    root = figure("Agreement of two readings", made(shift_agreement={"missing": "no room"}))
    assert len(marks(root)) == 64


def test_the_same_numbers_make_the_same_pictures():
    assert quality_figures(made()) == quality_figures(made())


# ---- Words ----


@pytest.mark.parametrize(
    ("median", "grade"),
    [(0.97, "Very good"), (0.8, "Good"), (0.67, "Fair"), (0.3, "Weak"), (0.1, "Poor"), (-0.6, "Poor")],
)
def test_agreement_is_graded_by_its_median(median, grade):
    values = [median - 0.01, median - 0.005, median, median + 0.005, median + 0.01]
    for name, part in (("Strand agreement", "strand_agreement"), ("Shift agreement", "shift_agreement")):
        sentence = said(name, **{part: agreement(values, bases=10)})
        assert sentence.startswith(f"{grade}: ")
        assert f"a median of {median:.2f}".replace("-", "−") in sentence


def test_agreement_says_what_is_in_common_and_how_many_windows_are_not():
    sentence = said("Strand agreement", strand_agreement=agreement([0.1, 0.5, 0.6, 0.8, 0.9]))
    assert "about 36 % of their variation in common" in sentence
    assert "half of 5 windows lie between 0.50 and 0.80, 1 below 0.25" in sentence


def test_what_is_not_quite_1_is_not_called_1():
    assert "a median of 0.998" in said("Shift agreement", shift_agreement=agreement([0.998] * 5, bases=10))


def test_a_mend_fits_the_strands_of_the_run():
    poor = agreement([0.1] * 9)
    assert "mean of both strands" in said("Strand agreement", strand_agreement=poor)
    sample = {**made()["sample"], "strand": "forward"}
    assert "--strand both" in said("Strand agreement", strand_agreement=poor, sample=sample)


def test_a_few_windows_are_not_judged():
    sentence = said("Strand agreement", strand_agreement=agreement([0.25, 0.99]))
    assert sentence.startswith("Too few windows to judge")
    assert "2 windows correlates at 0.25, 0.99" in sentence


@pytest.mark.parametrize(
    ("mean", "low", "high", "grade"),
    [
        (1.2, 1.0, 1.4, "Good"),
        (0.1, 0.05, 0.15, "Weak"),
        (0.1, -0.1, 0.3, "Poor"),
        (-0.5, -0.7, -0.3, "Poor"),
        (1.2, None, None, "Too few windows to judge"),
    ],
)
def test_deletion_is_graded_by_its_interval(mean, low, high, grade):
    deletion = {**made()["deletion"], "area_difference": {"mean": mean, "low": low, "high": high}}
    sentence = said("Deletion", deletion=deletion)
    assert sentence.startswith(f"{grade}: ")
    assert f"falls {abs(mean):.2f} {'more' if mean > 0 else 'less'} than in random order" in sentence


def test_deletion_that_may_be_chance_is_called_so():
    deletion = {**made()["deletion"], "area_difference": {"mean": 0.1, "low": -0.1, "high": 0.3}}
    assert "may be chance" in said("Deletion", deletion=deletion)


def test_deletion_says_what_a_fifth_does():
    assert "Without the most relevant fifth it is 0.50 on average, from 3.00; without a random fifth 2.25" in said(
        "Deletion"
    )


@pytest.mark.parametrize(
    ("share", "n_over", "grade", "text"),
    [
        (0.0, 0, "Very good", "none of the bases of 450 scored regions"),
        (0.00001, 0, "Very good", "less than 0.01 % of"),
        (0.004, 1, "Good", "0.40 % of the bases of 450 scored regions"),
        (0.05, 30, "Fair", "30 regions of them have more than 10 %"),
        (0.4, 400, "Poor", "40.00 %"),
    ],
)
def test_ambiguous_bases_are_graded_by_their_share(share, n_over, grade, text):
    sentence = said(
        "Ambiguous bases",
        ambiguous={"share_of_bases": share, "regions": 450, "regions_over_10_percent": n_over},
    )
    assert sentence.startswith(f"{grade}: ")
    assert text in sentence


def test_token_length_says_which_tokens_are_higher():
    sentence = said("Token length")
    assert "somewhat higher in short tokens" in sentence
    assert "329 tokens" in sentence
    # The 9 tokens of 9 bases are too few to be one of the extremes.
    assert "from 0.05 in tokens of 4 bases to 0.1 in those of 1" in sentence
    assert "Half of the tokens span 4 bases or more" in sentence


def test_token_length_without_a_trend_is_said_so():
    flat = {**made()["token_length"], "spearman_per_base": 0.05}
    assert "hardly depends on the length" in said("Token length", token_length=flat)


def test_the_sample_is_described():
    assert said("Sample") == (
        "Measured on 64 windows of 60 regions, drawn by chance (seed 0); explained is the logit of CTCF."
    )
    small = {**made()["sample"], "windows": 1, "regions": 1}
    assert "Measured on 1 window of 1 region," in said("Sample", sample=small)
    assert "say little" in said("Sample", sample=small)


def test_neither_torch_nor_pandas_is_loaded():
    code = (
        "import sys; from gexplain.report import quality_figures, quality_results;"
        "print({'torch', 'transformers', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
