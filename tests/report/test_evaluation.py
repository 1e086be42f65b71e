"""The report of an evaluation: what its page says, and that nothing is missing or leaves the page."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread
from tiny_evaluation import Made, made

from gexplain.errors import InputError, RunError
from gexplain.evaluation.curves import FRACTIONS
from gexplain.evaluation.metrics import METRICS, PAIR_METRICS
from gexplain.report.evaluation import format_p, format_value, inline_svg, write_report
from gexplain.report.evaluation_results import read_results
from gexplain.report.evaluation_values import KEY_VALUES, MEANINGS, family

TWO = {"dnabert2-tf": ("attnlrp", "ism", "random"), "cnn-tf": ("deeplift", "ism", "random")}
ONE = {"dnabert2-tf": ("attnlrp", "random")}
MAIN_VARIANT = {
    ("dnabert2-tf", "token"): {"attnlrp": "native", "ism": "sum", "random": "native"},
    ("dnabert2-tf", "nucleotide"): {"attnlrp": "uniform", "ism": "native", "random": "uniform"},
    ("cnn-tf", "token"): {},
    ("cnn-tf", "nucleotide"): {"deeplift": "native", "ism": "native", "random": "native"},
}
STEMS = [
    "comparison",
    "curves-dnabert2-tf",
    "curves-cnn-tf",
    "similarity-dnabert2-tf",
    "similarity-cnn-tf",
    "agreement-dnabert2-tf-cnn-tf",
    "sanity",
    "quality-and-cost",
]


class Page(HTMLParser):
    """Words, links, ids and tables of a page; and that each element is closed where it must be."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text.append(data)
        if {"td", "th"} & {*self.open}:
            self.tables[-1][-1][-1] += data if "small" not in self.open else f" {data}"

    def _note(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tags.append(tag)
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        self.references += [
            value or "" for name, value in attributes.items() if name in ("href", "src", "xlink:href")
        ]
        self.references += re.findall(r"url\(([^)]*)\)", " ".join(value or "" for value in attributes.values()))
        if tag == "a":
            self.links.append(attributes["href"] or "")

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def table(self, *columns: str) -> list[list[str]]:
        """The rows of the tables whose headers begin so."""
        return [row for table in self.tables if [c.split(" ")[0] for c in table[0]][: len(columns)] == [*columns]
                for row in table[1:]]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Page]:
    """An evaluation of two models with all there is, reported."""
    folder = made(TWO).write(tmp_path_factory.mktemp("whole"))
    written = write_report(folder)
    return folder, written, Page((folder / "evaluation.html").read_text(encoding="utf-8"))


def report(result: Made, folder: Path) -> tuple[list[str], Page]:
    """The stems of the figures, and the page."""
    written = write_report(result.write(folder))
    return [path.stem for path in written[1::2]], Page(written[0].read_text(encoding="utf-8"))


def slim(models: dict[str, tuple[str, ...]], *metrics: str) -> Made:
    """An evaluation of these metrics alone, without curves: quickly drawn."""
    result = made(models).keep(lambda row: row["metric"] in metrics)
    result.curves = []
    return result


def summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_all_figures_are_written_as_png_and_svg(whole):
    folder, written, _ = whole
    assert written[0] == folder / "evaluation.html"
    assert written[1:] == [folder / "plots" / f"{stem}{suffix}" for stem in STEMS for suffix in (".png", ".svg")]
    for path in written[1::2]:
        pixels = imread(path)[:, :, :3]
        assert (pixels < 0.9).any(-1).mean() > 0.01, path  # more than a frame
        assert (pixels[:3] == 1).all(), path  # nothing is cut off at the border
        assert (pixels[-3:] == 1).all(), path
        assert (pixels[:, :3] == 1).all(), path
        assert (pixels[:, -3:] == 1).all(), path


@pytest.mark.parametrize("stem", STEMS)
def test_text_in_an_svg_is_text(whole, stem):
    svg = ElementTree.parse(whole[0] / "plots" / f"{stem}.svg")
    words = {"".join(element.itertext()) for element in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert "ism" in words


def test_numbers_at_a_glance_are_those_of_the_table(whole):
    folder, _, page = whole
    rows = {
        (row["model"], row["method"], row["metric"], row["level"], row["variant"]): row for row in summary(folder)
    }
    glance = page.table("method")
    assert [row[0] for row in glance] == [
        *("dnabert2-tf", "attnlrp", "ism", "random", "chance"),
        *("cnn-tf", "deeplift", "ism", "random", "chance"),
    ]
    for model, lines in (("dnabert2-tf", glance[1:4]), ("cnn-tf", glance[6:9])):
        for method, *cells in lines:
            assert len(cells) == len(KEY_VALUES)
            for value, cell in zip(KEY_VALUES, cells, strict=True):
                variant = MAIN_VARIANT[model, value.level].get(method)
                if variant is None:
                    assert cell == "–"  # a CNN reads no tokens
                    continue
                row = rows[model, method, value.metric, value.level, variant]
                mean, low, high = (format_value(float(row[name])) for name in ("mean", "low", "high"))
                assert cell == f"{mean} {low} to {high}"
    auroc = 1 + [value.metric for value in KEY_VALUES].index("auroc")
    assert [glance[line][auroc] for line in (4, 9)] == ["0.500", "0.500"]


def test_every_row_of_the_key_values_is_on_the_page_with_its_test(whole):
    folder, _, page = whole
    shown = {tuple(row) for row in page.table("value", "model")}
    key = {value.metric for value in KEY_VALUES}
    wanted = [row for row in summary(folder) if row["metric"] in key and row["other"] == "."]
    assert len(wanted) > 100
    for row in wanted:
        numbers = {name: format_value(float(row[name])) if row[name] != "." else "–" for name in row if name in
                   ("mean", "low", "high", "chance", "difference", "difference_low", "difference_high")}  # fmt: skip
        is_reference = row["reference"] == "."
        assert (
            *(row[name] for name in ("metric", "model", "method", "level", "variant", "n")),
            numbers["mean"],
            f"{numbers['low']} to {numbers['high']}",
            numbers["chance"],
            "–" if is_reference else "attnlrp",
            numbers["difference"],
            "–" if is_reference else f"{numbers['difference_low']} to {numbers['difference_high']}",
            "–" if is_reference else "2e−9",
            "–" if is_reference else "0.031",
        ) in shown


def test_the_best_mean_of_a_model_is_bold_and_random_never_is(whole):
    html = (whole[0] / "evaluation.html").read_text(encoding="utf-8")
    lines = re.findall(r'<tr><th scope="row">(\w+)</th>\n((?:<td class="number(?: best)?">.*</td>\n)+)</tr>', html)
    bold = {method: cells.count('"number best"') for method, cells in lines if method != "chance"}
    assert bold["random"] == 0
    # Higher is better in all but the last column; made up so that the first method has more of everything.
    assert bold["attnlrp"] >= len(KEY_VALUES) - 3
    assert sum(bold.values()) >= 1


def test_the_page_stands_alone(whole):
    folder, _, page = whole
    html = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert "http" not in html
    assert "@import" not in html
    assert not {"script", "link", "img", "iframe", "object"} & {*page.tags}
    assert page.tags.count("svg") == len(STEMS)
    for link in page.links:
        assert link.startswith("#") or (folder / link).is_file(), link
    assert {"metrics.tsv", "summary.tsv", "curves.tsv", "cost.tsv", "manifest.json"} <= {*page.links}
    assert {f"plots/{stem}.svg" for stem in STEMS} <= {*page.links}


def test_ids_are_unique_and_references_inside_the_page_lead_somewhere(whole):
    _, _, page = whole
    assert len(page.ids) == len({*page.ids})
    inside = [reference[1:] for reference in page.references if reference.startswith("#")]
    assert len(inside) > 100
    assert {*inside} <= {*page.ids}


def test_the_page_says_what_was_evaluated(whole):
    _, _, page = whole
    for words in (
        "gexplain evaluate peaks.bed genome.fa -m dnabert2-tf",
        f"dnabert2-tf (DNABERT-2, sha256 {'d' * 64})",
        f"cnn-tf (CNN, sha256 {'c' * 64})",
        "sequences200",
        "targetCTCF",
        "seed7",
        "gexplain 0.1.0, torch 2.13.0",
        "3 of 203 regions were skipped: N",
        "Nothing: all that an evaluation measures is here.",
    ):
        assert words in page.words


def test_every_value_is_explained_with_its_direction(whole):
    _, _, page = whole
    lines = {row[0]: row[1:] for row in page.table("value", "meaning")}
    assert {*lines} == {family(row["metric"]) for row in summary(whole[0])}
    assert lines["auroc"] == ["how often a position in a site is more relevant than one outside", "higher", "0.5"]
    assert [lines[name][1] for name in ("entropy", "sufficiency", "sanity spearman N", "pearson")] == [
        *("lower", "lower", "lower", "neither")
    ]


def test_every_value_of_every_metric_has_its_line():
    named = {family(name) for metric in METRICS.values() for name in metric.higher_is_better}
    assert named | {*PAIR_METRICS} == {*MEANINGS}
    assert {value.metric for value in KEY_VALUES} <= named


def test_a_value_that_has_no_line_is_shown_all_the_same(tmp_path):
    result = slim(ONE, "gini")
    row = result.summary[0]
    result.summary.append([*row[:5], "novelty", *row[6:]])
    _, page = report(result, tmp_path)
    assert ["novelty", "not described here", "neither", "see the column chance"] in page.table("value", "meaning")
    assert format_value(row[7]) in next(line for line in page.table("value", "model") if line[0] == "novelty")


def test_what_was_not_measured_is_left_out_and_told(tmp_path):
    stems, page = report(slim(ONE, "delta", "entropy share"), tmp_path)
    assert stems == ["comparison", "quality-and-cost"]
    assert page.tags.count("svg") == 2
    assert page.table("method")[0] == ["dnabert2-tf"]
    assert {len(row) for row in page.table("method")[1:]} == {1 + 3}  # delta is of two levels
    missing = page.words.rpartition("Not measured")[2].partition("Files")[0]
    for told in (
        "robustness (nucleotide): takes mutants of the sequences.",
        "strand agreement (nucleotide): takes a reading of the other strand.",
        "mass accuracy (nucleotide), rank accuracy (nucleotide), AUROC (nucleotide), AUPRC (nucleotide),"
        " pointing game (nucleotide): takes sites that are known (--truth).",
        "Gini (nucleotide): takes relevance by nucleotide.",
        "Perturbation curves of dnabert2-tf, by token.",
        "Similarity between methods:",
        "Agreement between models: takes a second one (--against), and the metric similarity.",
        "Sanity: takes randomised weights",
    ):
        assert told in missing
    assert "Δ" not in missing
    assert "Quality against cost" not in missing


def test_cost_alone_is_a_table_without_a_figure(tmp_path):
    stems, page = report(slim(ONE, "gini"), tmp_path)
    assert stems == ["comparison"]
    assert "Quality against cost: takes faithfulness or localisation by nucleotide." in page.words
    assert page.table("model", "method", "sequences") == [
        ["dnabert2-tf", "attnlrp", "200", "1", "1", "2", "8.40", "42.00", "–"],
        ["dnabert2-tf", "random", "200", "0", "0", "0", "0.000", "0.000", "–"],
    ]


def test_tables_without_rows_give_a_page_that_says_so(tmp_path):
    result = made(ONE)
    result.metrics, result.summary, result.curves, result.cost = [], [], [], []
    stems, page = report(result, tmp_path)
    assert stems == []
    assert "dnabert2-tf (DNABERT-2" in page.words
    for value in KEY_VALUES:
        assert f"{value.label} ({value.level})" in page.words
    assert "Cost." in page.words


def test_without_curves_no_curves_are_drawn(tmp_path):
    result = made(TWO).keep(lambda row: row["metric"] == "gini")
    result.curves = [row for row in result.curves if row[0] == "cnn-tf" and row[2] == "nucleotide"]
    stems, page = report(result, tmp_path)
    assert stems == ["comparison", "curves-cnn-tf"]
    missing = page.words.rpartition("Not measured")[2].partition("Files")[0]
    for told in ("of dnabert2-tf, by token.", "of dnabert2-tf, by nucleotide."):
        assert f"Perturbation curves {told}" in missing
    assert "of cnn-tf" not in missing  # by nucleotide there are some, and tokens it has none


def test_a_mean_without_an_interval_or_a_value_without_a_number_is_no_error(tmp_path):
    result = made(ONE).keep(lambda row: row["metric"] in ("gini", "delta", "sanity spearman 1"))
    for row in result.summary:
        row[8] = row[9] = None
        if row[5] == "gini" and row[1] == "random":
            row[6:10] = [0, None, None, None]
    for row in result.curves:
        row[8] = row[9] = None
    stems, page = report(result, tmp_path)
    assert stems == ["comparison", "curves-dnabert2-tf", "sanity", "quality-and-cost"]
    glance = {row[0]: row[1:] for row in page.table("method")}
    gini = 2  # delta has two levels
    assert glance["random"][gini] == "–"
    assert re.fullmatch(r"0\.\d{3}", glance["attnlrp"][gini])


def test_names_are_escaped_and_shown_as_they_are(tmp_path):
    odd = {"a<b>&'$x$/y": ("attnlrp", "random"), "_m:é": ("ism",)}
    result = slim(odd, "gini", "pearson", "sanity spearman 1")
    result.manifest["warnings"] = ["<script>alert(1)</script> & more"]
    result.manifest["command"] = "gexplain evaluate 'x & y.bed' <z"
    stems, page = report(result, tmp_path)
    assert stems == [
        *("comparison", "similarity-a_b_x_y", "agreement-a_b_x_y-_m_", "sanity"),
    ]
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "<script>alert(1)</script> & more" in page.words
    assert "gexplain evaluate 'x & y.bed' <z" in page.words
    for model in odd:
        assert model in {row[1] for row in page.table("value", "model")}
    assert all((tmp_path / "plots" / f"{stem}.svg").is_file() for stem in stems)
    svg = ElementTree.parse(tmp_path / "plots/sanity.svg")
    assert {*odd} <= {"".join(element.itertext()) for element in svg.iter("{http://www.w3.org/2000/svg}text")}


def test_similarity_is_read_in_both_directions_and_agreement_in_one(tmp_path):
    results = read_results(made(TWO).write(tmp_path))
    within = results.similarity("pearson", "cnn-tf")
    assert {*within} == {(a, b) for a in TWO["cnn-tf"] for b in TWO["cnn-tf"] if a != b}
    assert within["ism", "deeplift"] is within["deeplift", "ism"]
    across = results.agreement("pearson", "dnabert2-tf", "cnn-tf")
    assert [*across] == [("attnlrp", "deeplift"), ("ism", "ism"), ("random", "random")]
    assert across["ism", "ism"].other == "cnn-tf:ism"
    assert results.agreement("pearson", "cnn-tf", "dnabert2-tf") == {}


def test_a_figure_shows_the_variant_that_comes_first(tmp_path):
    tables = made(TWO)
    results = read_results(tables.write(tmp_path))
    for (model, level), variants in MAIN_VARIANT.items():
        found = results.values("auroc", level)
        assert {method: row.variant for (name, method), row in found.items() if name == model} == variants
        curves = results.curves_of(model, level)
        assert {method: rows[0].variant for (method, _), rows in curves.items()} == variants
        for rows in curves.values():
            assert len({row.variant for row in rows}) == 1
            assert tuple(row.fraction for row in rows) == FRACTIONS
    for rows, at in ((tables.summary, 4), (tables.curves, 3)):
        rows.sort(key=lambda row: row[at] == "uniform")  # now copy is the first
    results = read_results(tables.write(tmp_path))
    assert results.values("auroc", "nucleotide")["dnabert2-tf", "attnlrp"].variant == "copy"
    assert results.curves_of("dnabert2-tf", "nucleotide")["attnlrp", "morf"][0].variant == "copy"


def test_the_same_tables_give_the_same_bytes(tmp_path):
    once, again = (write_report(slim(ONE, "delta", "pearson").write(tmp_path / name)) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


@pytest.mark.parametrize("name", ["metrics.tsv", "summary.tsv", "curves.tsv", "cost.tsv", "manifest.json"])
def test_a_folder_without_one_of_the_files_is_refused(tmp_path, name):
    made(ONE).write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"no finished evaluation: there is no {name}"):
        write_report(tmp_path)
    assert not (tmp_path / "evaluation.html").exists()


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "summary.tsv",
            lambda text: text.replace("\tq\n", "\tz\n", 1),
            r"summary\.tsv: the columns are model, .*, z;",
        ),
        ("cost.tsv", lambda _: "", r"cost\.tsv: the columns are none; expected model, method, sequences"),
        ("cost.tsv", lambda text: text + "a\tb\n", r"cost\.tsv:4: 2 columns, expected 8"),
        ("cost.tsv", lambda text: text.replace("\t2\t", "\ttwo\t"), r"cost\.tsv:2: forward_equivalents is 'two'"),
        ("manifest.json", lambda _: "{", r"manifest\.json is not JSON"),
        ("manifest.json", lambda _: "[]", r"manifest\.json: a list, expected an object"),
    ],
)
def test_a_table_that_is_no_such_table_is_refused_with_its_line(tmp_path, name, change, told):
    made(ONE).write(tmp_path)
    path = tmp_path / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match=told):
        write_report(tmp_path)


def test_where_nothing_can_be_written_it_says_so(tmp_path):
    made(ONE).write(tmp_path)
    (tmp_path / "plots").write_text("a file, no folder")
    with pytest.raises(RunError, match=r"cannot write .*plots"):
        write_report(tmp_path)


def test_a_manifest_may_say_little(tmp_path):
    result = slim({"m": ("random",)}, "gini")
    result.manifest = {"sequences": {"file": "peaks.bed", "n": 12}, "target": None, "models": {"m": {}}}
    _, page = report(result, tmp_path)
    assert "m (–, sha256 –)" in page.words
    assert "file peaks.bed, n 12" in page.words
    assert json.loads((tmp_path / "manifest.json").read_text())["target"] is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(0.12345, "0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (1.0, "1.00"), (12.344, "12.34")],
        *[(123.46, "123.5"), (9876.5, "9,876"), (float("nan"), "–")],
    ],
)
def test_numbers_have_sensible_digits(value, shown):
    assert format_value(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0312, "0.031"), (1.0, "1.000"), (2.3e-9, "2e−9"), (4e-12, "4e−12"), (float("nan"), "–")]
)
def test_small_p_values_are_powers_of_ten(value, shown):
    assert format_p(value) == shown


def test_an_svg_in_the_page_has_ids_of_its_own_and_no_namespace():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><metadata>http://x</metadata>'
        '<defs><style>*{a: b}</style><path id="p"/></defs><use xlink:href="#p" clip-path="url(#c)"/>'
        "<text>a&lt;b &amp; c</text></svg>"
    )
    assert inline_svg(svg, "one", 'a "label"') == (
        '<svg role="img" aria-label="a &quot;label&quot;"><defs><path id="one-p" /></defs>'
        '<use href="#one-p" clip-path="url(#one-c)" /><text>a&lt;b &amp; c</text></svg>'
    )


def test_pyplot_is_not_loaded_and_matplotlib_only_when_drawing(tmp_path):
    slim(ONE, "gini").write(tmp_path)
    code = (
        "import sys; from gexplain.report.evaluation import write_report;"
        "print({'torch', 'pandas', 'matplotlib', 'jinja2'} & {*sys.modules});"
        f"write_report({str(tmp_path)!r}); print({{'matplotlib.pyplot', 'torch'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\nset()\n"
