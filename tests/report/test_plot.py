"""The figure of one place: what is drawn is what the run's files say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tracks import random_letters, write_bigwig, write_fasta

from gexplain.errors import InputError, UsageError
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.report.plot import PlotSettings, default_name, draw_region, drawing, plot_region
from gexplain.report.plot_content import choose_tracks, find_place, read_groups
from gexplain.run_folder import Run

CHROMS = {"chr1": 12_000, "chr2": 3_000}
SCORED = (1_000, 11_000)  # of chr1
CLASSES = ("promoter", "enhancer")
HITS = (
    (1_010, 1_030, "REST", "+", "promoter", 1),
    (1_040, 1_052, "CTCF", "-", "promoter", 1),
    (1_042, 1_050, "CTCFL", "-", "promoter", 0),
    (1_060, 1_070, "GABPA", "+", "enhancer", 1),
)
SEQLETS = ((1_012, 1_028, "promoter", "high"), (1_045, 1_049, "promoter", "low"), (5_000, 5_020, "promoter", "high"))
REGIONS = (
    ("chr1", 1_000, 1_100, "peak_1", "+", "scored", "."),
    ("chr1", 1_080, 2_000, "peak_2", ".", "scored", "."),
    ("chr2", 100, 200, "lost", ".", "skipped", "N alone"),
    ("chr1", 9_000, 9_100, "twin", ".", "scored", "."),
    ("chr1", 9_500, 9_600, "twin", ".", "scored", "."),
)


def make_run(
    root: Path,
    classes: Sequence[str] = CLASSES,
    *,
    strands: Sequence[str] = (".",),
    hits: Sequence[tuple[Any, ...]] = HITS,
    head: str = "classification",
    chrom: str = "chr1",
) -> Run:
    """A finished run's files, made by hand, with gaps in its tracks; chrom: the name of its first chromosome."""
    rng = np.random.default_rng(0)
    lengths = {chrom: CHROMS["chr1"], "chr2": CHROMS["chr2"]}
    fasta = write_fasta(root / "genome.fa", {name: random_letters(rng, length) for name, length in lengths.items()})
    (root / "tracks").mkdir()
    tracks: dict[str, dict[str, Any]] = {}
    for strand in strands:
        suffix = {".": "", "+": ".plus", "-": ".minus"}[strand]
        for kind, infix in (("relevance", ""), ("prediction", ".prediction")):
            for number, name in enumerate(classes):
                tracks[f"class_{number}{infix}{suffix}"] = {"kind": kind, "target": name, "strand": strand}
        tracks[f"coverage{suffix}"] = {"kind": "coverage", "target": "", "strand": strand}
    for stem, track in tracks.items():
        prediction = rng.random(12_000) * (1 if head == "classification" else 2.5)
        values = {"relevance": rng.normal(size=12_000), "prediction": prediction}.get(
            track["kind"], rng.integers(1, 5, 12_000).astype(float)
        )
        values[: SCORED[0]] = values[SCORED[1] :] = values[1_055:1_058] = np.nan
        write_bigwig(root / "tracks" / f"{stem}.bw", lengths, {chrom: values})
    stems = dict(zip(classes, (f"class_{number}" for number in range(len(classes))), strict=True))
    columns = ["#chrom", "start", "end", "name", "strand", "status", "reason"]
    write_table(root / "regions.tsv", columns, [(chrom if row[0] == "chr1" else row[0], *row[1:]) for row in REGIONS])
    columns = ["#chrom", "start", "end", "name", "score", "strand", "track", "motif", "isPrimary"]
    rows = [(chrom, a, b, name, 0, strand, stems[track], "M", first) for a, b, name, strand, track, first in hits]
    write_table(root / "hits.bed", columns, rows)
    columns = ["#chrom", "start", "end", "name", "score", "strand", "track", "direction"]
    seqlets = [(chrom, a, b, "s", 0, ".", stems[track], way) for a, b, track, way in SEQLETS if track in stems]
    write_table(root / "seqlets.bed", columns, seqlets)
    manifest = {
        "settings": {"formats": ["bigwig"], "strand": "region" if len(strands) > 1 else "both"},
        "model": {"head": head},
        "genome": {"file": str(fasta), "sha256": Genome(fasta).sha256()},
        "tracks": tracks,
        "warnings": [],
    }
    return Run(root, manifest)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = ["\t".join(map(str, row)) for row in [columns, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


def draw(run: Run, start: int, end: int, chrom: str = "chr1", **settings: Any) -> tuple[Any, list[str]]:
    """The figure and its notes."""
    with drawing():
        return draw_region(run, Interval(chrom, start, end), PlotSettings(**{"dpi": 100, **settings}))


def panels(figure: Any) -> dict[str, Any]:
    return {axes.get_label(): axes for axes in figure.axes}


def polygons(axes: Any) -> list[tuple[float, float]]:
    """From where to where each polygon of a panel reaches."""
    from matplotlib.collections import PolyCollection

    found = [
        path.vertices[:, 0] for one in axes.collections if isinstance(one, PolyCollection) for path in one.get_paths()
    ]
    return sorted((float(xs.min()), float(xs.max())) for xs in found)


def texts(axes: Any) -> list[str]:
    return [one.get_text() for one in axes.texts]


# ---- Values ----


def letters(axes: Any) -> dict[int, tuple[float, float, float, float]]:
    """x0, x1, y0, y1 of each letter in a panel, by its position."""
    found = {}
    for one in axes.patches:
        if one.get_gid() and one.get_gid().startswith("relevance-"):
            box = one.get_path().get_extents()
            found[int(one.get_gid().rsplit("-", 1)[1])] = box.x0, box.x1, box.y0, box.y1
    return found


def test_letters_are_as_high_as_the_bigwig_says(run):
    figure, _ = draw(run, 1_020, 1_080)
    for number, name in enumerate(CLASSES):
        values = run.values(f"class_{number}", Interval("chr1", 1_020, 1_080))
        found = letters(panels(figure)[f"{name} relevance"])
        assert sorted(found) == [1_020 + i for i in np.flatnonzero(~np.isnan(values))]
        for position, (x0, x1, y0, y1) in found.items():
            value = values[position - 1_020]
            assert position < x0 < x1 < position + 1
            np.testing.assert_allclose((y0, y1), (min(value, 0), max(value, 0)), rtol=1e-6, atol=1e-9)


def test_letters_are_those_of_the_genome(run):
    """A letter's outline and colour tell which it is: as many corners, whatever its height."""
    figure, _ = draw(run, 1_020, 1_050)
    with Genome(run.manifest["genome"]["file"]) as genome:
        sequence = genome.fetch("chr1", 1_020, 1_050)
    shapes: dict[str, set[int]] = {}
    colors: dict[str, set[Any]] = {}
    for one in panels(figure)["promoter relevance"].patches:
        if one.get_gid():
            base = sequence[int(one.get_gid().rsplit("-", 1)[1]) - 1_020]
            shapes.setdefault(base, set()).add(len(one.get_path().vertices))
            colors.setdefault(base, set()).add(one.get_facecolor())
    assert sorted(shapes) == list("ACGT")
    assert all(len(shapes[base]) == len(colors[base]) == 1 for base in "ACGT")
    assert len(set.union(*colors.values())) == 4


def test_an_svg_has_the_values_in_the_heights_of_its_letters(run, tmp_path):
    interval = Interval("chr1", 1_020, 1_050)
    plot_region(run, interval, tmp_path / "figure.svg")
    root = ET.parse(tmp_path / "figure.svg").getroot()
    tops, feet = {}, {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        match = re.fullmatch(r"relevance-0-(\d+)", group.get("id", ""))
        if match:
            path = group.find("{http://www.w3.org/2000/svg}path")
            ys = [float(pair.split()[1]) for pair in re.findall(r"-?[\d.]+ -?[\d.]+", path.attrib["d"])]
            tops[int(match[1])], feet[int(match[1])] = min(ys), max(ys)
    values = run.values("class_0", interval).astype(float)
    assert sorted(tops) == list(range(1_020, 1_050))
    baseline = next(feet[1_020 + i] for i in range(30) if values[i] > 0)
    ends = [tops[1_020 + i] if values[i] > 0 else feet[1_020 + i] for i in range(30)]
    heights = np.array([baseline - end for end in ends])
    unit = heights[np.abs(values).argmax()] / values[np.abs(values).argmax()]
    np.testing.assert_allclose(heights / unit, values, atol=2e-4)


def stairs(axes: Any) -> dict[str, Any]:
    return {one.get_gid().rsplit("-", 1)[1]: one.get_data() for one in axes.patches if one.get_gid()}


def test_bars_are_the_values_of_the_bigwig(run):
    figure, _ = draw(run, 1_000, 1_400)
    values = run.values("class_0", Interval("chr1", 1_000, 1_400))
    bars = stairs(panels(figure)["promoter relevance"])
    np.testing.assert_array_equal(bars["positive"].edges, np.arange(1_000, 1_401))
    np.testing.assert_array_equal(bars["positive"].values, np.where(np.isnan(values), np.nan, np.maximum(values, 0)))
    np.testing.assert_array_equal(bars["negative"].values, np.where(np.isnan(values), np.nan, np.minimum(values, 0)))


def test_columns_of_many_bases_keep_the_extremes(run):
    figure, _ = draw(run, 0, 12_000)
    values = run.values("class_0", Interval("chr1", 0, 12_000))
    bars = stairs(panels(figure)["promoter relevance"])
    edges = bars["positive"].edges
    assert edges[0] == 0
    assert edges[-1] == 12_000
    assert len(edges) < 2_500
    for i, (low, high) in enumerate(pairwise(edges)):
        known = [value for value in values[low:high].tolist() if value == value]
        top, foot = (max([0.0, *known]), min([0.0, *known])) if known else (np.nan, np.nan)
        np.testing.assert_equal((bars["positive"].values[i], bars["negative"].values[i]), (top, foot))


def test_pages_of_a_track_change_nothing(run, monkeypatch):
    interval, chosen = Interval("chr1", 0, 12_000), choose_tracks(run, ["promoter"])
    (whole,) = read_groups(run, interval, chosen, 700)
    for page in (1, 97, 4_096):
        monkeypatch.setattr("gexplain.report.plot_content._PAGE", page)
        (paged,) = read_groups(run, interval, chosen, 700)
        for one, other in ((paged.relevance, whole.relevance), (paged.prediction, whole.prediction)):
            np.testing.assert_array_equal((one.low, one.high), (other.low, other.high))


@pytest.mark.parametrize("place", [(1_020, 1_060), (0, 12_000)])
def test_relevance_tracks_share_one_scale_that_shows_all(run, place):
    figure, _ = draw(run, *place)
    limits = {panels(figure)[f"{name} relevance"].get_ylim() for name in CLASSES}
    assert len(limits) == 1
    low, high = limits.pop()
    values = np.concatenate([run.values(f"class_{i}", Interval("chr1", *place)) for i in (0, 1)])
    assert low <= np.nanmin(values) < 0 < np.nanmax(values) <= high


def test_predictions_reach_from_0_to_1_and_values_of_a_regression_as_far_as_they_do(run, tmp_path):
    def scale(of: Run) -> list[str]:
        figure, _ = draw(of, 1_000, 1_400)
        # The prediction of a class stands below its relevance, without its name.
        return [one.get_text() for one in panels(figure)["prediction"].get_yticklabels()]

    assert scale(run) == ["0", "1"]
    assert scale(make_run(tmp_path, head="regression")) == ["0", "2.5"]


def test_coverage_is_drawn_only_if_asked_for(run):
    assert not any("coverage" in name for name in panels(draw(run, 1_000, 1_400)[0]))
    figure, _ = draw(run, 1_000, 1_400, tracks=("coverage",))
    area = panels(figure)["coverage windows"].patches[0].get_data()
    np.testing.assert_array_equal(area.values, run.values("coverage", Interval("chr1", 1_000, 1_400)))


# ---- Features ----


def test_primary_hits_stand_at_their_places_with_names_and_strands(run):
    figure, _ = draw(run, 1_000, 1_100, tracks=("promoter",))
    hits = panels(figure)["hits"]
    assert polygons(hits) == [(1_010, 1_030), (1_040, 1_052)]
    assert sorted(texts(hits)) == ["CTCF (−)", "REST (+)"]


def test_hits_point_along_their_strand(run):
    figure, _ = draw(run, 1_000, 1_100, tracks=("promoter",))
    (boxes,) = panels(figure)["hits"].collections
    for path, (start, end, _, strand) in zip(boxes.get_paths(), (HITS[0][:4], HITS[1][:4]), strict=True):
        xs, ys = path.vertices[:-1].T
        tip = xs[(ys > ys.min() + 0.1) & (ys < ys.max() - 0.1)]
        assert tip.tolist() == [end if strand == "+" else start]


def test_hits_and_seqlets_belong_to_their_track(run):
    figure, _ = draw(run, 1_000, 1_100, tracks=("enhancer",))
    assert polygons(panels(figure)["hits"]) == [(1_060, 1_070)]
    assert "seqlets" not in panels(figure)
    figure, _ = draw(run, 1_000, 1_100, tracks=("promoter",))
    assert polygons(panels(figure)["seqlets"]) == [(1_012, 1_028), (1_045, 1_049)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("width", [60.0, 180.0])
def test_names_overlap_neither_names_nor_boxes(tmp_path, seed, width):
    rng = np.random.default_rng(seed)
    starts = np.sort(rng.integers(1_000, 1_950, 14)).tolist()
    hits = [(at, at + int(rng.integers(4, 90)), "X" * int(rng.integers(1, 9)), "+", "promoter", 1) for at in starts]
    figure, notes = draw(make_run(tmp_path, hits=hits), 1_000, 2_000, tracks=("promoter",), width_mm=width)
    with drawing():
        figure.canvas.draw()
    axes = panels(figure)["hits"]
    assert len(texts(axes)) == (0 if notes else 14)
    names = [one.get_window_extent() for one in axes.texts]
    (collection,) = axes.collections
    boxes = [axes.transData.transform_path(path).get_extents() for path in collection.get_paths()]
    for i, one in enumerate(names):
        assert axes.bbox.x0 - 1 <= one.x0 < one.x1 <= axes.bbox.x1 + 1
        middle = (one.y0 + one.y1) / 2
        assert all(one.x1 <= other.x0 or other.x1 <= one.x0 for other in names[:i] if other.y0 < middle < other.y1)
        # A name lies in a box or outside of it, never half.
        for box in boxes:
            is_inside = box.x0 <= one.x0 and one.x1 <= box.x1
            assert is_inside or one.x1 <= box.x0 or box.x1 <= one.x0 or not box.y0 < middle < box.y1


def test_boxes_too_many_for_names_are_drawn_and_told(tmp_path):
    hits = [(1_000 + i, 1_010 + i, "LONG_NAME", "+", "promoter", 1) for i in range(300)]
    figure, notes = draw(make_run(tmp_path, hits=hits), 1_000, 11_000, tracks=("promoter",))
    assert len(polygons(panels(figure)["hits"])) == 300
    assert texts(panels(figure)["hits"]) == []
    assert notes == ["300 hits of promoter are drawn without names: too many for this width"]


def test_scored_regions_are_drawn_by_name(run):
    figure, _ = draw(run, 1_000, 1_090)
    assert sorted(texts(panels(figure)["regions"])) == ["peak_1 (+)", "peak_2"]
    assert polygons(panels(figure)["regions"]) == [(1_000, 1_100), (1_080, 2_000)]


GENES = (
    "chr1\t1050\t4000\tABF1\t0\t-\t1200\t3500\t0\t3\t250,300,1000,\t0,950,1950,\n"
    "chr1\t6000\t6500\tSNR6\t0\t+\t6000\t6000\t0\t1\t500,\t0,\n"
)


def test_genes_have_exons_coding_parts_and_names(run, tmp_path):
    (tmp_path / "genes.bed").write_text(GENES)
    figure, notes = draw(run, 1_000, 7_000, genes=tmp_path / "genes.bed")
    axes = panels(figure)["genes"]
    exons = [(1_050, 1_300), (2_000, 2_300), (3_000, 4_000), (6_000, 6_500)]
    coding = [(1_200, 1_300), (2_000, 2_300), (3_000, 3_500)]
    assert polygons(axes) == sorted(exons + coding)
    heights = {}
    (boxes,) = [one for one in axes.collections if type(one).__name__ == "PolyCollection"]
    for path in boxes.get_paths():
        xs, ys = path.vertices[:, 0], path.vertices[:, 1]
        heights.setdefault((xs.min(), xs.max()) in coding, set()).add(round(float(np.ptp(ys)), 6))
    assert min(heights[True]) <= max(heights[True])
    assert max(heights[True]) > max(heights[False])
    assert texts(axes) == ["ABF1", "SNR6"]
    assert {one.get_style() for one in axes.texts} == {"italic"}
    assert notes == []


def test_chevrons_in_introns_point_along_the_strand(run, tmp_path):
    for strand in "+-":
        (tmp_path / "genes.bed").write_text(GENES.replace("0\t-\t", f"0\t{strand}\t"))
        figure, _ = draw(run, 1_000, 4_200, genes=tmp_path / "genes.bed")
        lines = [one for one in panels(figure)["genes"].collections if type(one).__name__ == "LineCollection"]
        arms = [path.vertices[:, 0] for one in lines for path in one.get_paths() if len(path.vertices) == 3]
        assert arms
        assert all((xs[1] > xs[0]) == (strand == "+") for xs in arms)
        assert all(xs[0] == xs[2] for xs in arms)


def test_of_many_transcripts_one_a_gene_is_drawn_and_told(run, tmp_path):
    (tmp_path / "genes.bed").write_text(GENES + GENES.split("\n")[0].join(["", "\n"]) * 4)
    figure, notes = draw(run, 1_000, 7_000, genes=tmp_path / "genes.bed")
    assert texts(panels(figure)["genes"]) == ["ABF1", "SNR6"]
    assert notes == ["of 6 transcripts, one a gene is drawn: that with the most exonic bases"]


def test_what_the_gene_file_calls_the_chromosome_is_told(run, tmp_path):
    path = tmp_path / "genes.bed"
    path.write_text(GENES.replace("chr1", "1"))
    assert draw(run, 1_000, 2_000, genes=path)[1] == [f"chr1 is called 1 in {path}"]
    path.write_text(GENES.replace("chr1", "chr2"))
    assert draw(run, 1_000, 2_000, genes=path)[1] == [f"{path} has no gene on chr1"]
    path.write_text(GENES)
    assert draw(run, 10_000, 10_500, genes=path)[1] == [f"{path} has no gene in chr1:10,001-10,500"]


def test_the_axis_counts_from_1_with_thousands_separators(run):
    figure, _ = draw(run, 1_000, 11_000)
    axes = figure.axes[-1]
    ticks = {one.get_text(): at for one, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert ticks["2,000"] == 1_999.5  # the middle of the 2,000th base, [1999, 2000)
    assert all(int(text.replace(",", "")) - 0.5 == at for text, at in ticks.items())
    assert texts(axes) == ["Position on chr1 (bp)"]


def test_all_panels_have_the_same_bases_above_one_another(run):
    figure, _ = draw(run, 1_020, 1_080)
    assert {axes.get_xlim() for axes in figure.axes} == {(1_020, 1_080)}
    assert len({(round(axes.bbox.x0, 6), round(axes.bbox.x1, 6)) for axes in figure.axes}) == 1


# ---- The file ----


def test_each_format_is_written_whole(run, tmp_path):
    for suffix in (".png", ".svg", ".pdf", ".PNG"):
        plot_region(run, Interval("chr1", 1_000, 1_040), tmp_path / f"figure{suffix}", PlotSettings(dpi=150))
    png = (tmp_path / "figure.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20]) == int(180 / 25.4 * 150)
    assert (tmp_path / "figure.PNG").read_bytes() == png
    svg = ET.parse(tmp_path / "figure.svg").getroot()
    words = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"promoter", "REST (+)", "peak_1 (+)", "Position on chr1 (bp)"} <= set(words)
    identifiers = [one.get("id") for one in svg.iter() if one.get("id")]
    assert len(set(identifiers)) == len(identifiers)
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    assert not [one for one in tmp_path.iterdir() if "partial" in one.name]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(run, tmp_path, suffix):
    for name in ("one", "two"):
        plot_region(run, Interval("chr1", 1_000, 1_030), tmp_path / f"{name}.{suffix}", PlotSettings(dpi=60))
    assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


HOSTILE = (
    "<script>alert(1)</script>",
    '$\\frac{1}{0}$ & "quotes" \'',
    "tab\x00\x1b\n\u202e",
    "caf\udce9 Ω中\U0001f9ec--><!--",
)


def test_hostile_names_are_text(tmp_path):
    chrom = "HLA<b>&'\"$x$*01:01"
    hits = [(1_010 + 20 * i, 1_030 + 20 * i, name.replace("\n", " "), "+", name, 1) for i, name in enumerate(HOSTILE)]
    run = make_run(tmp_path, HOSTILE, hits=hits, chrom=chrom)
    for suffix in ("png", "pdf", "svg"):
        plot_region(
            run, Interval(chrom, 1_000, 1_150), tmp_path / f"figure.{suffix}", PlotSettings(dpi=60, letters=0)
        )
    root = ET.parse(tmp_path / "figure.svg").getroot()
    words = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert HOSTILE[0] in words
    assert HOSTILE[1] in words
    assert "tab\ufffd\ufffd\ufffd\ufffd" in words
    assert "caf\ufffd Ω中\U0001f9ec--><!--" in words
    assert f"Position on {chrom} (bp)" in words
    assert not [one for one in root.iter() if "script" in str(one.tag)]


def test_names_are_cut_to_their_room(tmp_path):
    figure, _ = draw(make_run(tmp_path, ("N" * 500,), hits=()), 1_000, 1_100)
    (name,) = [one for one in figure.texts if one.get_text().startswith("NN")]
    assert name.get_text().endswith("…")
    assert name.get_window_extent().x0 >= 0


def test_a_failed_figure_leaves_no_file(run, tmp_path):
    from gexplain.errors import RunError

    with pytest.raises(RunError, match="cannot write"):
        plot_region(run, Interval("chr1", 1_000, 1_100), tmp_path / "nowhere" / "figure.png")


@pytest.mark.parametrize(
    ("name", "found"), [("figure.jpg", "'.jpg'"), ("figure", "no suffix"), ("a.png.gz", "'.gz'")]
)
def test_another_suffix_is_refused(run, tmp_path, name, found):
    with pytest.raises(UsageError, match=rf"{found}.*\.png, \.svg, \.pdf"):
        plot_region(run, Interval("chr1", 1_000, 1_100), tmp_path / name)


@pytest.mark.parametrize(
    ("chrom", "name"),
    [("chr1", "chr1_1001-2000.png"), ("HLA-A*01:01", "HLA-A_01_01_1001-2000.png"), ("../x", "_x_1001-2000.png")],
)
def test_a_default_name_is_a_file_s(chrom, name):
    assert default_name(Interval(chrom, 1_000, 2_000)) == name


# ---- The place ----


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("chr1:1,001-2,000", ("chr1", 1_000, 2_000)),
        ("chr1:5", ("chr1", 4, 5)),
        ("chr2", ("chr2", 0, 3_000)),
        ("peak_1", ("chr1", 1_000, 1_100)),
    ],
)
def test_a_place_is_coordinates_a_chromosome_or_a_region(run, text, place):
    found = find_place(run, text)
    assert (found.chrom, found.start, found.end) == place


def test_flanks_end_with_the_chromosome(run):
    found = find_place(run, "peak_1", flank=500)
    assert (found.start, found.end) == (500, 1_600)
    found = find_place(run, "peak_1", flank=50_000)
    assert (found.start, found.end) == (0, 12_000)


@pytest.mark.parametrize(
    ("text", "found", "hint"),
    [
        ("chr9:1-100", "has no chromosome 'chr9'; its genome has chr1, chr2", "name chromosomes"),
        ("1:1-100", "has no chromosome '1'", "did you mean chr1"),
        ("chr1:11,990-12,010", "is not inside chr1, which has 12,000 bases", "12,000"),
        ("chr1:200-100", "expected 1 <= first <= last", "first base"),
        ("nothing", "'nothing' is no place, and no region", "column 4"),
        ("lost", "'lost' of .* was skipped: N alone", "that was scored"),
        ("twin", "2 regions of .* are called 'twin': chr1:9,001-9,100, chr1:9,501-9,600", "place"),
        (".", "no place", "column 4"),
    ],
)
def test_a_place_that_is_none_is_named(run, text, found, hint):
    with pytest.raises(InputError, match=found) as caught:
        find_place(run, text)
    assert hint in caught.value.hint


def test_where_nothing_was_scored_the_nearest_region_is_named(run):
    with pytest.raises(InputError, match=r"nothing was scored in chr1:101-200 .*chr1:1,001-1,100, 800 bases away"):
        draw(run, 100, 200)
    with pytest.raises(InputError, match=r"no region on chr2 was scored; the run's first is chr1:1,001-1,100"):
        draw(run, 100, 200, chrom="chr2")


# ---- Tracks ----


def test_a_name_is_a_class_or_a_track(run):
    def chosen(*names: str) -> list[tuple[object, ...]]:
        return [(one.name, one.relevance, one.prediction, one.coverage) for one in choose_tracks(run, names)]

    promoter = ("promoter", "class_0", "class_0.prediction", None)
    enhancer = ("enhancer", "class_1", "class_1.prediction", None)
    assert chosen() == [promoter, enhancer]
    assert chosen("enhancer", "class_0") == [enhancer, promoter]
    assert chosen("class_1", "enhancer") == [enhancer]
    assert chosen("coverage", "class_0.prediction") == [
        ("coverage", None, None, "coverage"),
        ("promoter", None, "class_0.prediction", None),
    ]
    with pytest.raises(UsageError, match="no track 'Promoter'") as caught:
        chosen("Promoter")
    assert "class_0" in caught.value.hint


def test_strands_are_told_apart(tmp_path):
    run = make_run(tmp_path, strands=("+", "-"), hits=())
    figure, _ = draw(run, 1_000, 1_400, tracks=("promoter",))
    values = {strand: run.values(f"class_0.{strand}", Interval("chr1", 1_000, 1_400)) for strand in ("plus", "minus")}
    for sign, strand in (("+", "plus"), ("-", "minus")):
        bars = stairs(panels(figure)[f"promoter ({sign}) relevance"])
        np.testing.assert_array_equal(
            np.nan_to_num(bars["positive"].values), np.nan_to_num(np.maximum(values[strand], 0))
        )


def test_too_many_classes_for_a_figure_are_refused(tmp_path):
    run = make_run(tmp_path, [f"class {i}" for i in range(41)], hits=())
    with pytest.raises(UsageError, match="41") as caught:
        draw(run, 1_000, 1_100)
    assert "--track" in caught.value.hint


def test_more_pixels_than_can_be_held_are_refused(run, monkeypatch):
    monkeypatch.setattr("gexplain.report.plot._MOST_PIXELS", 2e6)
    with pytest.raises(UsageError, match="4 million pixels; 2 are the most") as caught:
        draw(run, 1_000, 1_400, dpi=400)
    assert "--dpi" in caught.value.hint
