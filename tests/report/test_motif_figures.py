from __future__ import annotations

import csv
import json
import math
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_tracks import random_letters, word_motif, write_fasta, write_meme

import gexplain
from gexplain.errors import InputError
from gexplain.genome.intervals import Interval
from gexplain.motifs import hits
from gexplain.report.motif_figures import position_histogram, read_motif_rows, read_offsets
from gexplain.run_folder import Run, open_run

SVG = "{http://www.w3.org/2000/svg}"
SUMMARY = "#track motif tf matches used hits primary_hits regions_with_hit relevance_inside relevance_outside"
SUMMARY = f"{SUMMARY} null_matches null_used enrichment q"
HITS = (
    "#chrom start end name score strand track motif relevance share logOdds matchP relevanceP p q isPrimary primary"
)
HITS = f"{HITS} region"
HOSTILE = "</text><script>\"'&\udcff"


def write_run(
    folder: Path,
    summary: list[tuple[object, ...]],
    found: list[tuple[object, ...]] = (),
    regions: str = "chr1 100 200 one + scored",
    strand: str = "region",
) -> Run:
    """A run of what is read here. summary: track, motif, factor, matches, primary hits, enrichment and q.
    found: chrom, start, end, track, motif and isPrimary of hits.
    """

    def write(name: str, lines: list[str]) -> None:
        text = "\n".join(line.replace(" ", "\t") for line in lines) + "\n"
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")

    folder.mkdir(exist_ok=True)
    write("regions.tsv", ["#chrom start end name strand status", *regions.split(", ")])
    lines = [
        f"{track} {motif} {tf} {n} 1 {k} {k} 1 0.5 . 9 1 {ratio} {q}" for track, motif, tf, n, k, ratio, q in summary
    ]
    write("motif_summary.tsv", [SUMMARY, *lines])
    lines = [
        f"{c} {a} {b} TF 9 + {track} {motif} 1 1 1 1 1 1 1 {primary} M r" for c, a, b, track, motif, primary in found
    ]
    write("hits.bed", [HITS, *lines])
    tracks = {"A": ".", "B": ".", "A.plus": "+", "A.minus": "-"}
    manifest = {
        "settings": {"q": 0.05, "formats": ["bigwig"], "strand": strand},
        "genome": {},
        "tracks": {name: {"kind": "relevance", "target": "A", "strand": strand} for name, strand in tracks.items()},
        "warnings": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return open_run(folder)


def test_motifs_come_by_primary_hits_then_by_enrichment(tmp_path):
    summary = [
        ("A", "M1", "one", 9, 2, 1.5, 1),
        ("A", "M2", "two", 9, 0, 9, 0.001),
        ("B", "M1", "one", 9, 5, ".", "."),
        ("B", "M3", "three", 9, 2, 3, 1),
        ("B", "M4", "four", 9, 2, 1.5, 1),
    ]
    table = read_motif_rows(write_run(tmp_path, summary))
    assert table is not None
    assert [(row.track, row.motif) for row in table.rows] == [("B", "M1"), ("B", "M3"), ("A", "M1"), ("B", "M4")]
    assert table.n_with_hits == 4
    assert math.isnan(table.rows[0].enrichment)
    assert math.isnan(table.rows[0].relevance_outside)
    assert table.rows[0].relevance_inside == 0.5


def test_of_many_motifs_the_best_are_shown_and_all_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    summary = [("A", f"M{n}", "x", 9, int(rng.integers(0, 50)), float(rng.random()), 1) for n in range(200)]
    table = read_motif_rows(write_run(tmp_path, summary), top=7)
    assert table is not None
    with_hits = sorted((one for one in summary if one[4]), key=lambda one: (-one[4], -one[5]))
    assert [row.motif for row in table.rows] == [one[1] for one in with_hits[:7]]
    assert table.n_with_hits == len(with_hits)
    assert "the 7 with most primary hits" in table.sentence


def test_without_hits_the_most_enriched_are_shown_with_what_that_means(tmp_path):
    summary = [("A", "M1", "x", 9, 0, 2.5, 0.3), ("A", "M2", "x", 9, 0, 4, 1), ("B", "M3", "x", 9, 0, 5, 1)]
    summary.append(("B", "M4", "x", 0, 0, ".", "."))
    table = read_motif_rows(write_run(tmp_path / "none", summary))
    assert table is not None
    assert [row.motif for row in table.rows] == ["M1", "M3", "M2"]
    assert table.n_with_hits == 0
    assert "not significant" in table.sentence
    assert "0.3" in table.sentence
    table = read_motif_rows(write_run(tmp_path / "some", [("A", "M0", "x", 9, 0, 9, 0.01), *summary]))
    assert table is not None
    assert table.rows[0].motif == "M0"
    assert "not significant" not in table.sentence
    assert "the excess of 1 is significant" in table.sentence
    table = read_motif_rows(write_run(tmp_path / "no match", summary[-1:]))
    assert table is not None
    assert (table.rows, table.sentence) == ([], "No motif has a match in the scored bases.")


def test_a_run_without_motifs_has_no_table(tmp_path):
    run = write_run(tmp_path, [])
    (tmp_path / "motif_summary.tsv").unlink()
    assert read_motif_rows(run) is None


def test_offsets_are_from_the_middle_of_a_hit_to_that_of_its_region(tmp_path):
    regions = (
        "chr1 100 200 one . scored, chr1 400 501 two - scored, chr2 0 100 gone . skipped, chr2 0 20 three + scored"
    )
    found = [
        ("chr1", 140, 160, "A", "M1", 1),  # in the very middle
        ("chr1", 150, 161, "A", "M1", 1),
        ("chr1", 150, 160, "A", "M1", 0),
        ("chr1", 150, 160, "A", "M2", 1),
        ("chr1", 460, 470, "A", "M1", 1),  # to the right, on the minus strand
        ("chr1", 600, 602, "A", "M1", 1),  # outside, and still nearest to the second
        ("chr2", 30, 32, "A", "M1", 1),  # the skipped region has no hits
        ("chr1", 140, 160, "B", "M1", 1),
    ]
    run = write_run(tmp_path, [("A", "M1", "x", 9, 5, 1, 1)], found, regions)
    offsets = read_offsets(run, {("A", "M1"), ("B", "M9")})
    assert offsets["A", "M1"].tolist() == [-150.5, -14.5, 0, 5.5, 21]
    assert offsets["B", "M9"].tolist() == []
    table = read_motif_rows(run)
    assert table is not None
    (row,) = table.rows
    assert row.offsets.tolist() == offsets["A", "M1"].tolist()


def test_a_track_of_one_strand_has_the_regions_of_that_strand(tmp_path):
    regions = "chr1 0 100 plus + scored, chr1 50 150 minus - scored"
    found = [("chr1", 60, 70, "A.plus", "M1", 1), ("chr1", 60, 70, "A.minus", "M1", 1)]
    offsets = read_offsets(write_run(tmp_path, [], found, regions), {("A.plus", "M1"), ("A.minus", "M1")})
    assert {track: values.tolist() for (track, _), values in offsets.items()} == {"A.plus": [15], "A.minus": [35]}


def test_a_run_of_one_strand_has_hits_of_all_regions(tmp_path):
    regions = "chr1 0 100 plus + scored, chr1 200 300 minus - scored, chr1 400 500 none . scored"
    found = [("chr1", start, start + 10, "A.minus", "M1", 1) for start in (45, 245, 455)]
    run = write_run(tmp_path, [], found, regions, strand="reverse")
    assert read_offsets(run, {("A.minus", "M1")})["A.minus", "M1"].tolist() == [0, 0, 10]


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("motif_summary.tsv", "\t2\t2\t", "\t2\ttwo\t", "line 2 of .*primary_hits is 'two'"),
        ("motif_summary.tsv", "\t1.5\t", "\tmuch\t", "line 2 of .*enrichment is 'much'"),
        ("motif_summary.tsv", "\t1.5\t", "\t", "line 2 of .*13 columns, expected 14"),
        ("motif_summary.tsv", "#track", "track", "no column '#track'"),
        ("hits.bed", "\t140\t", "\t1e9\t", "line 2 of .*start is '1e9'"),
        ("hits.bed", "chr1\t", "chr7\t", "line 2 of .*chr7, where regions.tsv has no scored region"),
        ("hits.bed", "isPrimary", "first", "no column 'isPrimary'"),
    ],
)
def test_a_table_that_was_changed_is_told_with_its_line(tmp_path, name, old, new, said):
    run = write_run(tmp_path, [("A", "M1", "x", 9, 2, 1.5, 1)], [("chr1", 140, 160, "A", "M1", 1)])
    path = tmp_path / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        read_motif_rows(run)


# ---- A run in earnest ----


@pytest.fixture(scope="module")
def finished(cnn, tmp_path_factory):
    """Runs over regions of both strands that overlap: on both strands, and on that of each region."""
    rng = np.random.default_rng(5)
    root = tmp_path_factory.mktemp("motif_figures")
    fasta = write_fasta(root / "g.fa", {name: random_letters(rng, n) for name, n in (("chr2", 900), ("chr1", 2000))})
    motifs = write_meme(root / "m.meme", [word_motif("M1.1", "TGACTCAG", sure=0.8), word_motif("M2.1", "AC")])
    regions = [
        Interval("chr1", 1000, 1900, "long", "-"),
        Interval("chr1", 100, 801, strand="+"),
        Interval("chr1", 700, 1100, "between", "+"),
        Interval("chr2", 50, 850, "inner", "-"),
    ]
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hits, "USED_P", 0.6)
        patch.setattr(hits, "NEAR_P", 0.9)
        for strand in ("both", "region"):
            settings = gexplain.ScoreSettings(
                target="promoter", strand=strand, null_regions=12, motifs=str(motifs), match_p=0.01, q=1.0, window=64
            )
            runs[strand] = gexplain.score(regions, fasta, cnn, output=root / strand, settings=settings)
    return runs


@pytest.mark.parametrize("strand", ["both", "region"])
def test_offsets_are_those_to_the_region_that_the_hit_names(finished, strand):
    run = finished[strand]
    middles, signs = {}, {}
    with (run.path / "regions.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            name = row["name"] if row["name"] != "." else f"{row['#chrom']}:{int(row['start']) + 1}-{row['end']}"
            middles[name] = (int(row["start"]) + int(row["end"])) / 2
            signs[name] = -1 if row["strand"] == "-" else 1
    expected: dict[tuple[str, str], list[float]] = {}
    with (run.path / "hits.bed").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["isPrimary"] == "1":
                middle = (int(row["start"]) + int(row["end"])) / 2
                offset = (middle - middles[row["region"]]) * signs[row["region"]]
                expected.setdefault((row["track"], row["motif"]), []).append(offset)
    table = read_motif_rows(run)
    assert table is not None
    assert {(row.track, row.motif) for row in table.rows} == set(expected)
    assert len({row.track for row in table.rows}) == (1 if strand == "both" else 2)
    for row in table.rows:
        assert row.offsets.tolist() == sorted(expected[row.track, row.motif])
        assert len(row.offsets) == row.primary_hits > 0


# ---- The histogram ----


def bars(svg: str) -> list[tuple[float, float, int]]:
    """Left and right of each bar in pixels from the line of the centre, and how many hits it has."""
    root = ET.fromstring(svg)
    middle = next(float(one.attrib["x1"]) for one in root.iter(f"{SVG}line"))
    return [
        (float(one.attrib["x"]) - middle, float(one.attrib["x"]) + float(one.attrib["width"]) - middle, int(n))
        for one in root.iter(f"{SVG}rect")
        if (n := one.attrib.get("data-count"))
    ]


@pytest.mark.parametrize("spread", [0, 0.5, 10, 43.5, 700, 1e5, 3e7])
def test_every_hit_is_in_a_bar(spread):
    offsets = np.round(np.random.default_rng(1).uniform(-spread, spread, 500) * 2) / 2
    found = bars(position_histogram(offsets))
    assert sum(n for *_, n in found) == 500
    assert all(left < right for left, right, _ in found)
    assert all(one[1] <= other[0] for one, other in pairwise(found))


def test_a_bar_lies_over_its_offsets():
    offsets = np.array([-40, -40, -7.5, 0, 0, 0, 12, 49.5])
    svg = position_histogram(offsets, width=400, reach=50)
    ticks = {
        float((one.text or "").replace("−", "-")): float(one.attrib["x"])
        for one in ET.fromstring(svg).iter(f"{SVG}text")
        if one.attrib.get("text-anchor") == "middle" and (one.text or "").lstrip("−").isdigit()
    }
    per_base = (ticks[40] - ticks[-40]) / 80
    counted = Counter()
    for left, right, n in bars(svg):
        inside = [one for one in offsets.tolist() if left - 0.6 <= one * per_base <= right + 0.6]
        assert len(inside) == n
        counted.update(inside)
    assert sorted(counted.elements()) == sorted(offsets.tolist())


def test_a_histogram_of_turned_hits_is_turned():
    offsets = np.random.default_rng(2).integers(-90, 90, 200) / 2
    forward, backward = bars(position_histogram(offsets)), bars(position_histogram(-offsets))
    for (left, right, n), (other_left, other_right, m) in zip(forward, backward[::-1], strict=True):
        assert (left, right, n) == (pytest.approx(-other_right, abs=0.03), pytest.approx(-other_left, abs=0.03), m)


def test_a_histogram_of_nothing_is_an_empty_one():
    assert bars(position_histogram(np.empty(0))) == []


def test_a_hostile_title_is_text():
    root = ET.fromstring(position_histogram(np.zeros(1), title=HOSTILE))
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {"svg", "text", "rect", "line"}
    assert HOSTILE.replace("\udcff", "\ufffd") in [one.text for one in root.iter(f"{SVG}text")]
