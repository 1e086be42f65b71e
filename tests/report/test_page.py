"""report.html: what its text says, whatever the run, and that nothing of a run becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import TinyRun
from tiny_tracks import word_motif

from gexplain.errors import InputError, RunError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.motifs.database import MotifSet
from gexplain.report import page as page_module
from gexplain.report.methods_text import methods_paragraph, references
from gexplain.report.page import write_report
from gexplain.report.reading import how_to_read
from gexplain.report.region_pictures import most_relevant_span
from gexplain.report.sparklines import decode, extremes
from gexplain.report.table_data import clip, to_script
from gexplain.run_folder import Run

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>\'"&\u2028\u202e\x01 \udcff é中'
WAYS = {
    "plain": TinyRun(),
    "predicted alone": TinyRun(targets=("predicted",)),
    "one of the classes": TinyRun(targets=("Abf1",)),
    "multi-label": TinyRun(head="multi_label", chances=[(0.7, 0.9, 0.1), (0.1, 0.2, 0.3), (0.6, 0.6, 0.6)]),
    "regression": TinyRun(classes=("y",), targets=("y",), head="regression", chances=[(-3,), (5,), (0,)]),
    "CNN": TinyRun(is_cnn=True, method="deeplift"),
    "no null": TinyRun(is_called=False),
    "by strand": TinyRun(
        strand="region",
        regions=[(Interval("chr1", 100, 180, "a", "+"), ""), (Interval("chr1", 300, 520, "b", "-"), "")],
        chances=[(0.7, 0.2, 0.1), (0.1, 0.1, 0.8)],
    ),
    "forward": TinyRun(strand="forward", hits=[(3010, 3020, "-", "REB1", "Reb1", 1)]),
    "reverse": TinyRun(strand="reverse", hits=[(3010, 3020, "-", "REB1", "Reb1", 1)]),
    "highest output": TinyRun(
        classes=("y1", "y2"), targets=("predicted",), head="regression", chances=[(-3, 4), (5, -6), (0, 9)]
    ),
    "several outputs": TinyRun(
        classes=("y1", "y2"), targets=("y1", "y2"), head="regression", chances=[(-3, 4), (5, -6), (0, 9)]
    ),
    "one of several outputs": TinyRun(
        classes=("y1", "y2"), targets=("y2",), head="regression", chances=[(-3, 4), (5, -6), (0, 9)]
    ),
    "ism": TinyRun(method="ism"),
    "saliency": TinyRun(method="saliency"),
    "random": TinyRun(method="random"),
    "one region": TinyRun(regions=[(Interval("chr1", 100, 180), "")], chances=[(0.7, 0.2, 0.1)]),
    "one base": TinyRun(regions=[(Interval("chr1", 100, 101), "")], chances=[(0.7, 0.2, 0.1)]),
    "bedGraph alone": TinyRun(formats=("bedgraph",)),
    "many classes": TinyRun(
        classes=[f"c{i}" for i in range(40)],
        targets=[f"c{i}" for i in range(40)],
        chances=np.random.default_rng(0).dirichlet(np.ones(40), 3).tolist(),
    ),
    "hits": TinyRun(
        hits=[(1010, 1020, "+", "REB1", "Reb1", 1), (3010, 3020, "-", "REB1", "Reb1", 1)],
        seqlets=[(1010, 1020, "Reb1")],
        summary=["Reb1\tMREB1\tREB1\t20\t9\t2\t2\t2\t0.1\t0.01\t9\t1\t7.5\t0.001"],
    ),
    "hostile names": TinyRun(
        classes=("background", HOSTILE, "A,B"),
        targets=("background", HOSTILE, "A,B"),
        regions=[
            (Interval("chr1", 1000, 1400, HOSTILE, "+"), ""),
            (Interval("chr1", 3000, 3090, "x" * 5000, "-"), ""),
            (Interval(HOSTILE, 10, 20, "</script>"), HOSTILE),
        ],
        chances=[(0.1, 0.8, 0.1), (0.1, 0.1, 0.8)],
        hits=[(1010, 1020, "+", HOSTILE, "target_1", 1)],
        summary=[f"target_1\tM\t{HOSTILE}\t20\t9\t1\t1\t1\t0.1\t0.01\t9\t1\t7.5\t0.001"],
        more={"warnings": [HOSTILE], "command": ["gexplain", "score", HOSTILE]},
    ),
}


class Page(HTMLParser):
    """Tags, ids, links and words of a page; that elements are closed where they must be, and ids are used once."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.handlers += [name for name in given if name.startswith("on")]
        if "id" in given:
            self.ids.append(str(given["id"]))
        if "href" in given:
            self.links.append(str(given["href"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.texts[
                f"{self.open[-1]} {self.ids[-1] if 'json' in self.get_starttag_text() else len(self.texts)}"
            ] = data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def data(self, name: str) -> Any:
        return json.loads(self.texts[f"script {name}"])


def page_of(run: Run, **choices: Any) -> Page:
    with Genome(run.path / "genome.fa") as genome:
        path = write_report(run, genome=genome, **choices)
    assert path == run.path / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(params=WAYS)
def way(request) -> str:
    return request.param


# ---- Every run has a page ----


def test_every_kind_of_run_has_a_whole_page(tmp_path, way):
    page = page_of(WAYS[way].write(tmp_path))
    assert page.tags.count("h1") == 1
    assert page.tags.count("main") == 1
    assert not page.handlers
    for section in ("run", "regions", "top", "motifs", "profiles", "quality", "methods", "reading", "files"):
        assert section in page.ids
    assert "nan" not in page.text.split()
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith(("https://", "data:")):
            assert (tmp_path / link).exists(), link


def test_nothing_is_loaded_from_anywhere(tmp_path, way):
    page = page_of(WAYS[way].write(tmp_path))
    assert not {"img", "iframe", "object", "embed", "base"} & {*page.tags}
    assert page.tags.count("link") == 1  # the icon, which is empty
    assert "src=" not in re.sub(r"<script.*?</script>", "", page.html, flags=re.S).replace("src=x onerror", "")


def test_a_hostile_name_is_text_and_never_markup(tmp_path):
    page = page_of(WAYS["hostile names"].write(tmp_path))
    clean = HOSTILE.replace("\x01", "\ufffd").replace("\udcff", "\ufffd")
    assert "alert" not in " ".join(page.tags)
    assert page.tags.count("script") == 4  # two of data, two of our own
    assert re.sub(r"\s+", " ", clean) in page.text
    data = page.data("regions-data")
    assert data["names"] == [HOSTILE, "x" * 199 + "…", "</script>"]
    assert data["reasons"] == ["", HOSTILE]
    assert data["factors"] == [HOSTILE]


def test_data_in_a_script_is_ascii_without_what_could_end_it():
    text = to_script({"name": HOSTILE, "</script>": "<!--"})
    assert text.isascii()
    assert not re.search("[<>&\n]", text)
    assert json.loads(text) == {"name": HOSTILE, "</script>": "<!--"}


def test_the_policy_allows_the_page_own_scripts_and_no_others(tmp_path):
    html = page_of(TinyRun().write(tmp_path)).html
    [policy] = re.findall('Content-Security-Policy" content="([^"]*)"', html)
    scripts = re.findall("<script>(.*?)</script>", html, flags=re.S)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert re.findall(r"sha256-([^&']*)", policy) == hashes
    assert len(hashes) == 2
    assert policy.startswith("default-src 'none';".replace("'", "&#39;"))
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0].replace("&#39", "")


def test_the_page_is_replaced_when_it_is_whole(tmp_path, monkeypatch):
    run = TinyRun().write(tmp_path)
    page_of(run)
    before = (tmp_path / "report.html").read_bytes()
    page_of(run)
    assert (tmp_path / "report.html").read_bytes() == before
    monkeypatch.setattr(Path, "replace", _full_disk)
    with Genome(tmp_path / "genome.fa") as genome, pytest.raises(RunError, match=r"report\.html"):
        write_report(run, genome=genome)
    assert not [*tmp_path.glob(".report*")]


def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


# ---- The table's data ----


def unpack(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def test_the_table_has_every_region_of_the_run(tmp_path):
    data = page_of(TinyRun().write(tmp_path)).data("regions-data")
    assert data["n"] == 4
    assert [data["chroms"][one] for one in unpack(data["chrom"], "<u4")] == ["chr1", "chr1", "chr9", "chr2"]
    assert unpack(data["start"], "<u4").tolist() == [1000, 3000, 10, 500]
    assert unpack(data["end"], "<u4").tolist() == [1400, 3090, 20, 1500]
    assert data["strand"] == "+-.."
    np.testing.assert_allclose(unpack(data["probabilities"][2], "<u2") / 65535, [0.1, 0.8, 0, 0.1], atol=1e-5)


def test_sparklines_are_of_the_bigwig(tmp_path):
    run = TinyRun().write(tmp_path)
    data = page_of(run).data("regions-data")
    for number, target in enumerate(data["targets"]):
        for row, region in enumerate(region for region, reason in TinyRun().regions if not reason):
            row += row == 2  # the skipped one lies between
            peak = unpack(data["peaks"][number], "<f4")[row]
            expected = extremes(run.values(target, region))
            np.testing.assert_allclose(
                decode(data["sparklines"][number][row], peak), expected, atol=0.501 * peak / 31
            )


def test_of_a_large_run_a_row_has_the_sparkline_that_explains_it(tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain.report.region_pictures.MOST_SPARKLINES", 5)
    data = page_of(TinyRun().write(tmp_path)).data("regions-data")
    assert len(data["sparklines"]) == len(data["peaks"]) == len(data["unexplained"]) == 1
    assert [bool(one) for one in data["sparklines"][0]] == [True, True, False, True]
    np.testing.assert_allclose(unpack(data["unexplained"][0], "<f4"), [0.1, 0.3, np.nan, 0.2])


def test_names_are_cut_for_the_page():
    assert clip("x" * 200) == "x" * 200
    assert clip("x" * 201) == "x" * 199 + "…"


# ---- What the page says ----


def test_skipped_regions_are_counted_with_their_reasons(tmp_path):
    page = page_of(TinyRun().write(tmp_path))
    assert "Not scored: 1 unknown chromosome." in page.text


def test_without_bigwigs_the_page_says_why_it_has_no_pictures(tmp_path):
    page = page_of(WAYS["bedGraph alone"].write(tmp_path))
    assert page.text.count("this run wrote bedgraph alone. Score again with --format bigwig,bedgraph.") == 2
    assert page.data("regions-data")["sparklines"] == []


def test_the_quality_section_says_that_it_was_not_measured_and_how_to(tmp_path):
    page = page_of(TinyRun().write(tmp_path))
    assert f"not measured for this run. gexplain report {tmp_path} --quality" in page.text


def test_a_damaged_quality_file_is_an_input_error(tmp_path):
    run = TinyRun().write(tmp_path)
    (tmp_path / "quality.json").write_text("{}")
    with pytest.raises(InputError, match=r"quality\.json"):
        page_of(run)


def test_regions_in_detail_have_their_letters_and_hits(tmp_path):
    run = WAYS["hits"].write(tmp_path)
    page = page_of(run, top=3)
    articles = re.findall(r'<article id="region-(\d+)".*?</article>', page.html, flags=re.S)
    assert sorted(articles) == ["0", "1", "3"]
    assert page.html.count("data-position=") == 150 + 90 + 150
    assert page.text.count("REB1") >= 3


def test_a_region_in_detail_counts_the_hits_of_its_own_track(tmp_path):
    hits = [
        (1010, 1020, "+", "REB1", "background", 1),
        (1040, 1050, "+", "REB1", "Abf1", 1),
        (1070, 1080, "+", "REB1", "Abf1", 1),
        (3010, 3020, "-", "REB1", "Abf1", 1),
    ]
    page = page_of(TinyRun(hits=hits).write(tmp_path))
    articles = dict(re.findall(r'<article id="region-(\d+)"(.*?)</article>', page.html, flags=re.S))
    assert "track background · 1 primary hit in it" in articles["0"]
    assert "track Reb1" in articles["1"]
    assert "primary hit" not in articles["1"]
    assert unpack(page.data("regions-data")["hits"], "<u4").tolist() == [3, 1, 0, 0]


@pytest.mark.parametrize("strand", ["forward", "reverse"])
def test_of_a_run_of_one_strand_every_region_has_its_values(tmp_path, strand):
    run = WAYS[strand].write(tmp_path)
    data = page_of(run).data("regions-data")
    assert [bool(one) for one in data["sparklines"][0]] == [True, True, False, True]
    assert unpack(data["hits"], "<u4").tolist() == [0, 1, 0, 0]


# ---- What is said is true of the run ----


def section_of(page: Page, name: str) -> str:
    found = re.search(f'<section id="{name}".*?</section>', page.html, flags=re.S)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", ["regression", "several outputs", "one of several outputs", "highest output"])
def test_of_a_regression_no_class_and_no_probability_is_told_of(tmp_path, name):
    page = page_of(WAYS[name].write(tmp_path))
    words = "".join(section_of(page, one) for one in ("top", "profiles", "reading", "methods"))
    assert "output" in words
    for word in ("class", "probabilit", "logit", "likeliest"):
        assert not re.search(rf"(?<![-\w=\"]){word}(?![-=\"])", re.sub(r"<[^>]*>", " ", words)), word


def test_of_a_regression_every_output_has_a_profile_of_all_regions(tmp_path):
    page = page_of(WAYS["several outputs"].write(tmp_path))
    assert re.findall(r"mean relevance of (y\d) at each position, of (\d) regions", page.text) == [
        ("y1", "3"),
        ("y2", "3"),
    ]
    assert "by predicted value, the highest on top" in page.text


def test_of_several_outputs_the_explained_one_is_shown(tmp_path):
    data = page_of(WAYS["one of several outputs"].write(tmp_path)).data("regions-data")
    assert unpack(data["best"], "<i4").tolist() == [1, 1, -1, 1]


@pytest.mark.parametrize(
    ("name", "says", "never"),
    [
        ("plain", "speak for the explained class", "noise"),
        ("regression", "speak for a higher value", "class"),
        ("saliency", "the more it mattered", "speak"),
        ("random", "are noise", "speak"),
    ],
)
def test_the_legend_of_the_letters_is_that_of_the_method(tmp_path, name, says, never):
    page = page_of(WAYS[name].write(tmp_path))
    (legend,) = re.findall(r'<p class="legend">(.*?)</p>', page.html, flags=re.S)
    legend = re.sub(r"<[^>]*>", "", legend)
    assert says in legend
    assert never not in legend


def test_that_profiles_are_turned_is_told_where_they_are(tmp_path):
    said = "Regions on the minus strand are turned."
    assert said in page_of(TinyRun().write(tmp_path / "some")).text
    forward = TinyRun(regions=[(Interval("chr1", 100, 180, "a", "+"), "")], chances=[(0.7, 0.2, 0.1)])
    assert said not in page_of(forward.write(tmp_path / "none")).text


def test_noise_explains_nothing(tmp_path):
    text = page_of(WAYS["random"].write(tmp_path)).text
    assert "this model used these bases" not in text
    assert "why the model" not in text
    assert "looks where the regions are centred" not in text


def test_a_class_that_is_predicted_nowhere_is_told_of_where_there_is_one(tmp_path):
    said = "is predicted nowhere is shown"
    assert said not in page_of(WAYS["predicted alone"].write(tmp_path / "alone")).text
    all_predicted = TinyRun(chances=[(0.7, 0.2, 0.1), (0.1, 0.1, 0.8), (0.3, 0.6, 0.1)])
    assert said not in page_of(all_predicted.write(tmp_path / "all")).text
    some = TinyRun(chances=[(0.7, 0.2, 0.1), (0.1, 0.1, 0.8), (0.6, 0.3, 0.1)])
    assert said in page_of(some.write(tmp_path / "some")).text


def test_as_many_regions_in_detail_as_asked_for(tmp_path):
    run = TinyRun().write(tmp_path)
    assert page_of(run, top=1).html.count("<article") == 1
    assert page_of(run, top=0).html.count("<article") == 0


def test_motifs_have_logos_where_their_matrices_are_known(tmp_path):
    run = WAYS["hits"].write(tmp_path)
    motifs = MotifSet("motifs.meme", "0", (word_motif("MREB1", "TTACCCG", "REB1"),))
    letters = [page_of(run, motifs=one).html.count("#glyph-") for one in (None, motifs)]
    assert letters[1] - letters[0] == 4 * 7  # a column has its four letters


def test_a_table_beyond_the_cap_is_told_plainly(tmp_path, monkeypatch):
    run = TinyRun().write(tmp_path)
    whole = page_module.read_scored
    monkeypatch.setattr(page_module, "read_scored", lambda run: whole(run, most=2))
    page = page_of(run)
    assert "The page has the first 2 of 4 lines of regions.tsv" in page.text
    assert page.data("regions-data")["n"] == 2


def test_the_command_is_quoted_as_a_shell_takes_it(tmp_path):
    run = TinyRun(more={"command": ["gexplain", "score", "my peaks.bed"]}).write(tmp_path)
    assert "gexplain score 'my peaks.bed'" in page_of(run).text


def test_progress_tells_how_many_regions_are_done(tmp_path):
    told: list[tuple[int, int]] = []
    page_of(TinyRun().write(tmp_path), progress=lambda done, n: told.append((done, n)))
    assert told[-1] == (3, 3)


# ---- Methods and limits ----


def manifest_of(way: TinyRun, path: Path) -> dict[str, Any]:
    return dict(way.write(path).manifest)


def test_the_methods_name_what_was_used_and_cite_it(tmp_path):
    manifest = manifest_of(TinyRun(), tmp_path)
    paragraph = methods_paragraph(manifest)
    cited = [one.cited for one in references(manifest)]
    assert {"Kurth et al. 2026", "Achtibat et al. 2024", "Zhou et al. 2023", "Grant et al. 2011", "JASPAR"} <= {
        *cited
    }
    assert all(one in paragraph for one in cited)
    assert "shared equally by its bases" in paragraph


def test_a_cnn_is_no_dnabert2(tmp_path):
    manifest = manifest_of(WAYS["CNN"], tmp_path)
    assert "DNABERT-2" not in methods_paragraph(manifest)
    assert {one.cited for one in references(manifest)} >= {"Shrikumar et al. 2017"}
    assert not {one.cited for one in references(manifest)} & {"Zhou et al. 2023", "Achtibat et al. 2024"}
    assert not any("token" in sentence for _, sentence in how_to_read(manifest))


def test_without_a_null_nothing_is_said_of_fimo(tmp_path):
    manifest = manifest_of(WAYS["no null"], tmp_path)
    assert "FIMO" not in methods_paragraph(manifest)
    assert "--null-regions 0" in " ".join(sentence for _, sentence in how_to_read(manifest))
    manifest["settings"] = {**manifest["settings"], "null regions": 50}
    said = " ".join(sentence for _, sentence in how_to_read(manifest))
    assert "--null-regions 0" not in said
    assert "could be shuffled" in said


@pytest.mark.parametrize("method", ["ism", "occlusion-base"])
def test_of_a_method_of_bases_no_token_shares_its_relevance(tmp_path, method):
    manifest = manifest_of(TinyRun(method=method), tmp_path)
    assert "shared equally" not in methods_paragraph(manifest)
    assert not any("token" in sentence for _, sentence in how_to_read(manifest))


def test_the_methods_whose_values_are_of_bases_are_those_of_gexplain():
    from gexplain.attribution.explainers import METHODS
    from gexplain.report.methods_text import _OF_BASES

    assert {*_OF_BASES} == {name for name, one in METHODS["DNABERT-2"].items() if one.level == "nucleotide"}


def test_the_methods_tell_the_baseline_and_the_points_of_the_path(tmp_path):
    from gexplain.attribution.deeplift import N_REFERENCES
    from gexplain.attribution.explainers import METHODS
    from gexplain.attribution.gradients import IG_STEPS

    name = "integrated-gradients"
    for kind, of_kind in METHODS.items():
        run = TinyRun(method=name, is_cnn=kind == "CNN", more={"rules": dict(of_kind[name].rules)})
        paragraph = methods_paragraph(manifest_of(run, tmp_path / kind))
        assert f"at {IG_STEPS} points, from {of_kind[name].rules['baseline']}," in paragraph
    shap = TinyRun(method="deeplift-shap", is_cnn=True)
    assert f"from {N_REFERENCES} dinucleotide" in methods_paragraph(manifest_of(shap, tmp_path / "shap"))


def test_without_motifs_nothing_is_said_of_hits(tmp_path):
    manifest = manifest_of(TinyRun(), tmp_path)
    assert "Motif hits" in [name for name, _ in how_to_read(manifest)]
    calls = {name: one for name, one in manifest["calls"].items() if name not in ("motifs", "primary hits")}
    assert "Motif hits" not in [name for name, _ in how_to_read({**manifest, "calls": calls})]


def test_every_method_of_gexplain_has_its_words(tmp_path):
    from gexplain.attribution.explainers import METHODS
    from gexplain.report.methods_text import _METHODS

    assert {*_METHODS} == {name for of_kind in METHODS.values() for name in of_kind}


# ---- The most relevant span ----


def slow_span(values: np.ndarray, longest: int) -> float:
    sums = [np.nansum(np.maximum(values[i : i + longest], 0)) for i in range(len(values) - longest + 1)]
    return max(sums)


def test_the_letters_shown_are_the_most_relevant():
    rng = np.random.default_rng(0)
    values = rng.normal(size=700).astype(np.float32)
    values[rng.random(700) < 0.1] = np.nan
    start, end = most_relevant_span(values, 150)
    assert end - start == 150
    assert np.nansum(np.maximum(values[start:end], 0)) == pytest.approx(slow_span(values, 150))


def test_a_lone_peak_stands_in_the_middle():
    values = np.zeros(1000, dtype=np.float32)
    values[500:510] = 1
    start, end = most_relevant_span(values, 150)
    assert (start + end) // 2 == pytest.approx(505, abs=1)


def test_a_region_without_a_value_has_no_span():
    assert most_relevant_span(np.full(9, np.nan, dtype=np.float32), 5) is None


def test_the_report_loads_neither_torch_nor_transformers():
    code = (
        "import sys, gexplain.report.page; print({'torch', 'transformers', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
