from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from gexplain.report import igv_page
from gexplain.report.igv_page import MOST_SHOWN, igv_config
from gexplain.run_folder import Run

HOSTILE = ["<img src=x onerror=alert(1)>", "a&amp;b", "日本 \"x'", "\udcff\x01"]


def make_run(
    folder: Path,
    *,
    targets: list[str] | None = None,
    strands: str = ".",
    formats: tuple[str, ...] = ("bigwig",),
    head: str = "classification",
    calls: dict[str, Any] | None = None,
    features: tuple[str, ...] = ("hits", "seqlets", "regions"),
) -> Run:
    """A run with the files that a page asks for, empty."""
    targets = targets or ["promoter"]
    tracks = {}
    for strand in strands:
        suffix = {".": "", "+": ".plus", "-": ".minus"}[strand]
        for kind, infix in (("relevance", ""), ("prediction", ".prediction")):
            for i, name in enumerate(targets):
                tracks[f"é{i}+%20{infix}{suffix}"] = {"kind": kind, "target": name, "strand": strand}
        tracks[f"coverage{suffix}"] = {"kind": "coverage", "target": "", "strand": strand}
    (folder / "browser").mkdir(parents=True)
    (folder / "tracks").mkdir()
    for name in ("reference.fa.gz", "reference.fa.gz.fai", "reference.fa.gz.gzi", *(f"{one}.bb" for one in features)):
        (folder / "browser" / name).touch()
    for stem in tracks:
        for name in formats:
            (folder / "tracks" / f"{stem}{ {'bigwig': '.bw', 'bedgraph': '.bedGraph', 'npz': '.npz'}[name] }").touch()
    (folder / "regions.tsv").write_text(
        "#chrom\tstart\tend\tname\tstrand\tstatus\treason\n"
        "chr1\t5\t6\tx\t.\tskipped\tempty\n"
        "HLA-A*01:01\t1000\t2000\ty\t.\tscored\t.\n"
    )
    manifest = {
        "settings": {"formats": list(formats)},
        "model": {"head": head},
        "genome": {"file": "/data/genome.fa"},
        "tracks": tracks,
    }
    return Run(folder, manifest | ({"calls": calls} if calls is not None else {}))


def names(config: dict[str, Any]) -> list[str]:
    return [track["name"] for track in config["tracks"]]


def test_the_run_is_shown_with_its_own_reference_and_nobody_else_is_asked(tmp_path):
    options = igv_config(make_run(tmp_path / "out"))["igv"]
    reference = options["reference"]
    assert [reference[name] for name in ("fastaURL", "indexURL", "compressedIndexURL")] == [
        f"browser/reference.fa.gz{end}" for end in ("", ".fai", ".gzi")
    ]
    assert options["loadDefaultGenomes"] is False
    assert options["search"] is False


def test_it_opens_at_the_first_scored_region(tmp_path):
    locus = igv_config(make_run(tmp_path / "out"))["igv"]["reference"]["locus"]
    assert locus == {"chr": "HLA-A*01:01", "start": 1000, "end": 2000}


@pytest.mark.parametrize("table", ["#chrom\tstart\tend\tname\tstrand\tstatus\n", None])
def test_without_a_region_igv_chooses(tmp_path, table):
    run = make_run(tmp_path / "out")
    (run.path / "regions.tsv").unlink()
    if table is not None:
        (run.path / "regions.tsv").write_text(table)
    assert "locus" not in igv_config(run)["igv"]["reference"]


def test_features_come_first_then_each_class_then_coverage(tmp_path):
    config = igv_config(make_run(tmp_path / "out", targets=["a", "b"]))
    assert names(config) == [
        *("motif hits", "seqlets", "scored regions"),
        *("a relevance", "a prediction", "b relevance", "b prediction"),
        "coverage",
    ]
    assert [track["order"] for track in config["tracks"]] == [*range(1, 9)]
    assert [track["class"] for track in config["tracks"]] == [None, None, None, "a", "a", "b", "b", None]


def test_only_files_that_are_there_are_asked_for(tmp_path):
    run = make_run(tmp_path / "out", features=("regions",))
    config = igv_config(run)
    urls = [track["url"] for track in config["tracks"]]
    assert "browser/regions.bb" in urls
    assert all((run.path / os.fsdecode(unquote_to_bytes(url))).is_file() for url in urls)


def test_addresses_are_relative_and_quoted(tmp_path):
    urls = [track["url"] for track in igv_config(make_run(tmp_path / "out"))["tracks"]]
    assert "tracks/%C3%A90%2B%2520.bw" in urls
    assert not [url for url in urls if url.startswith("/") or ":" in url or "?" in url or "#" in url]


def test_relevance_tracks_share_one_scale_and_probabilities_have_theirs(tmp_path):
    tracks = igv_config(make_run(tmp_path / "out", targets=["a", "b"]))["tracks"]
    for track in tracks:
        if track["name"].endswith("relevance"):
            assert (track["graphType"], track["autoscaleGroup"]) == ("dynseq", "relevance")
            assert track["color"] != track["altColor"]
        if track["name"].endswith("prediction"):
            assert (track["min"], track["max"]) == (0, 1)
            assert "autoscale" not in track


def test_values_of_a_regression_are_autoscaled(tmp_path):
    tracks = igv_config(make_run(tmp_path / "out", head="regression"))["tracks"]
    prediction = next(track for track in tracks if track["name"] == "promoter prediction")
    assert prediction["autoscale"] is True
    assert "max" not in prediction


def test_strands_have_tracks_of_their_own(tmp_path):
    config = igv_config(make_run(tmp_path / "out", strands="+-", features=()))
    kinds = ("relevance", "prediction")
    assert names(config) == [
        *(f"promoter {kind} ({strand})" for strand in "+-" for kind in kinds),
        *(f"coverage ({strand})" for strand in "+-"),
    ]


@pytest.mark.parametrize(
    ("formats", "format_", "suffix"),
    [(("bedgraph", "bigwig"), "bigwig", ".bw"), (("bedgraph", "npz"), "bedgraph", ".bedGraph")],
)
def test_the_best_format_is_taken(tmp_path, formats, format_, suffix):
    tracks = igv_config(make_run(tmp_path / "out", formats=formats, features=()))["tracks"]
    assert {track["format"] for track in tracks} == {format_}
    assert {Path(track["url"]).suffix for track in tracks} == {suffix}


def test_a_run_without_either_says_so(tmp_path):
    config = igv_config(make_run(tmp_path / "out", formats=("npz",), features=()))
    assert config["tracks"] == []
    assert config["notes"] == ["The run has no tracks that a genome browser reads: score with --format bigwig."]


def test_text_that_a_page_cannot_hold_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(igv_page, "LARGEST_TEXT", 3)
    run = make_run(tmp_path / "out", formats=("bedgraph",), features=())
    (run.path / "tracks" / "coverage.bedGraph").write_bytes(b"1234")
    config = igv_config(run)
    assert names(config) == ["promoter relevance", "promoter prediction"]
    assert "tracks/coverage.bedGraph" in config["notes"][0]


def test_without_the_reference_there_is_no_browser(tmp_path):
    run = make_run(tmp_path / "out")
    (run.path / "browser" / "reference.fa.gz.gzi").unlink()
    assert igv_config(run)["igv"] is None


def test_one_class_leaves_no_choice(tmp_path):
    assert igv_config(make_run(tmp_path / "out"))["classes"] == []


def test_of_many_classes_those_with_the_most_calls_are_shown(tmp_path):
    targets = [f"class {i}" for i in range(20)]
    calls = {
        "null": {"regions": 12},
        "seqlets": {f"é{i}+%20": 5 for i in (3, 19)},
        "primary hits": {f"é{i}+%20": i for i in range(10, 15)},
    }
    config = igv_config(make_run(tmp_path / "out", targets=targets, calls=calls))
    shown = [one["name"] for one in config["classes"] if one["shown"]]
    assert shown == [f"class {i}" for i in (3, 10, 11, 12, 13, 14)]
    assert len(shown) == MOST_SHOWN
    few = igv_config(make_run(tmp_path / "few", targets=targets[:MOST_SHOWN]))
    assert all(one["shown"] for one in few["classes"])


def test_names_are_text_for_json_and_for_igv(tmp_path):
    config = igv_config(make_run(tmp_path / "out", targets=HOSTILE))
    assert json.loads(json.dumps(config)) == config
    assert [one["name"] for one in config["classes"]] == HOSTILE  # the panel's own script takes them for text
    assert not [name for name in names(config) if "<" in name or ">" in name]
    assert "a&amp;amp;b relevance" in names(config)
