"""Track hubs are valid by UCSC's rules, whatever things are called, and say of which genome they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hub_validator import problems
from tiny_browser import TinyRun, make_run

from gexplain.errors import UsageError
from gexplain.genome.assemblies import _ASSEMBLIES
from gexplain.genome.intervals import Interval
from gexplain.report import hub
from gexplain.report.browser_files import write_browser_files

HOSTILE = (
    '<script>alert("1")</script>',
    "a\nparent b\n\ntrack evil\ntype bam",
    "it's \\",
    "$D 100% & more",
    "Ω é 中文 \udcff \x00\x1b",
    "relevance",
    "a" * 100,
    "",
    "a b",
    "a_b",
)


def write(run: TinyRun, assembly: str | None = None) -> list[str]:
    return write_browser_files(run.path, run.path, run.manifest, run.genome, assembly=assembly)


def tracks_of(run: TinyRun) -> dict[str, dict[str, str]]:
    blocks = (run.path / "trackDb.txt").read_text().strip("\n").split("\n\n")
    stanzas = [dict(line.split(" ", 1) for line in block.split("\n")) for block in blocks]
    return {stanza["track"]: stanza for stanza in stanzas}


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"labels": ["Reb1"]},
        {"labels": [f"class {i}" for i in range(40)]},
        {"labels": ["a", "b", "c"], "explained": [1]},
        {"by_strand": True},
        {"labels": ["Reb1"], "by_strand": True},
        {"labels": ["expression"], "head": "regression"},
        {"labels": ["liver", "brain"], "head": "regression"},
        {"head": "multi_label"},
        {"n_hits": None},
        {"n_hits": 0},
        {"formats": ["bedgraph", "bigwig"]},
        {"labels": HOSTILE},
        {"labels": HOSTILE, "by_strand": True},
    ],
    ids=lambda choices: ",".join(choices) or "default",
)
def test_the_hub_of_any_run_is_valid(tmp_path: Path, choices: dict) -> None:
    run = make_run(tmp_path, **choices)
    assert write(run) == []
    assert problems(run.path) == []


def test_every_track_is_there_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, labels=HOSTILE)
    write(run)
    assert {one["bigDataUrl"] for one in tracks_of(run).values() if "bigDataUrl" in one} == {
        *(f"browser/{stem}.bb" for stem in ("regions", "seqlets", "hits")),
        *(f"tracks/{hub.quote(stem)}.bw" for stem in run.manifest["tracks"]),
    }


def test_relevance_is_drawn_as_letters_on_one_scale_and_predictions_from_0_to_1(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run)
    tracks = tracks_of(run)
    assert tracks["relevance"]["autoScale"] == "group"
    assert tracks["prediction"]["viewLimits"] == "0:1"
    for stem in ("background", "CTCF"):
        assert tracks[f"relevance_{stem}"]["logo"] == "on"
        assert tracks[f"relevance_{stem}"]["type"] == "bigWig -0.5 1.25"
        assert tracks[f"prediction_{stem}"]["type"] == "bigWig 0 1"


def test_values_of_a_regression_have_no_limits(tmp_path: Path) -> None:
    run = make_run(tmp_path, labels=["liver", "brain"], head="regression")
    write(run)
    assert "viewLimits" not in tracks_of(run)["prediction"]
    assert tracks_of(run)["prediction_liver"]["type"] == "bigWig -0.5 1.25"


def test_what_has_the_most_calls_is_shown_at_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, labels=[*"abcdef"])
    run.manifest["calls"] = {"seqlets": {"e": 2, "c": 1}, "primary hits": {"e": 0, "b": 5}, "null": {"regions": 9}}
    write(run)
    tracks = tracks_of(run)
    assert [name for name in "abcdef" if tracks[f"relevance_{name}"]["parent"] == "relevance on"] == [*"bce"]
    assert [name for name in "abcdef" if tracks[f"prediction_{name}"]["parent"] == "prediction on"] == [*"bce"]


def test_labels_say_the_class_as_far_as_there_is_room(tmp_path: Path) -> None:
    run = make_run(tmp_path, labels=["CTCF", "a rather long name of a class", "Ångström <b>"], by_strand=True)
    write(run)
    labels = {name: one["shortLabel"] for name, one in tracks_of(run).items()}
    assert labels["relevance_CTCF_plus"] == "CTCF rel. (+)"
    assert labels["prediction_a_rather_long_name_of_a_class_minus"] == "a rathe pred. (-)"
    assert labels["relevance_ngstr_m_b_plus"] == "Angstrom rel. (+)"
    assert labels["coverage_plus"] == "Coverage (+)"


def test_a_known_assembly_is_recognised_and_one_that_is_given_believed(tmp_path: Path) -> None:
    run = make_run(tmp_path, chroms={"chr2": 3000, "chr1": 5000, "chrM": 100})
    write(run)
    assert "twoBitPath browser/genome.2bit" in (run.path / "genomes.txt").read_text()
    write(run, assembly="GCF_000001405.40")
    assert (run.path / "genomes.txt").read_text() == "genome GCF_000001405.40\ntrackDb trackDb.txt\n"
    assert not (run.path / "browser" / "genome.2bit").exists()
    run.genome.chroms = dict(_ASSEMBLIES["hg38"])
    assert hub.write_hub(run.path, run.manifest, run.genome, None) is None
    assert (run.path / "genomes.txt").read_text() == "genome hg38\ntrackDb trackDb.txt\n"


@pytest.mark.parametrize("assembly", ["", "hg 38", "../x", "hg38\ntrackDb x"])
def test_an_assembly_that_is_no_name_is_refused(tmp_path: Path, assembly: str) -> None:
    with pytest.raises(UsageError, match="expected what UCSC calls the assembly"):
        write(make_run(tmp_path), assembly=assembly)


@pytest.mark.parametrize(
    ("formats", "chroms", "reason"),
    [
        (["bedgraph"], {"chr1": 5000, "chr2": 200}, "it takes bigWigs; score with --format bigwig"),
        (["npz"], {"chr1": 5000, "chr2": 200}, "it takes bigWigs; score with --format bigwig"),
        (
            ["bigwig"],
            {"chr1": 5000, "chr2": 200, "HLA-A*01:01": 300},
            r"names a hub cannot have, HLA-A\*01:01; .* --assembly",
        ),
    ],
)
def test_where_there_can_be_no_hub_it_is_told_why_and_the_old_one_goes(
    tmp_path: Path, formats: Sequence[str], chroms: dict[str, int], reason: str
) -> None:
    run = make_run(tmp_path, formats=formats, chroms=chroms)
    for name in hub.HUB_FILES:
        (run.path / name).write_text("old")
    (note,) = write(run)
    assert re.search(reason, note)
    assert not any((run.path / name).exists() for name in hub.HUB_FILES)


def test_a_large_unknown_genome_is_not_brought_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LARGEST_GENOME", 10_000)
    run = make_run(tmp_path)
    (note,) = write(run)
    assert "11,900 bases are too many to bring along" in note
    assert "gexplain report OUT --assembly hg38" in note
    assert not (run.path / "browser" / "genome.2bit").exists()


def test_the_genome_of_the_hub_is_the_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path, regions=[Interval("chr1", 2000, 2400)])
    write(run)
    text = (run.path / "genomes.txt").read_text()
    assert f"genome genome_{run.manifest['genome']['sha256'][:8]}\n" in text
    assert "defaultPos chr1:2001-2400\n" in text


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("hub.txt", "hub gexplain", "hub my hub", "not one word"),
        ("hub.txt", r"email .*\n", "", "lacks email"),
        ("hub.txt", "@hub", " at hub", "no address"),
        ("hub.txt", "genomesFile genomes.txt", "genomesFile other.txt", "no file other.txt"),
        ("hub.txt", "shortLabel .*", "shortLabel " + "x" * 18, "more than 17"),
        ("genomes.txt", r"organism .*\n", "", "lacks organism"),
        ("genomes.txt", r"defaultPos .*", "defaultPos chr1:1-9999", "no place in it"),
        ("genomes.txt", "browser/genome.2bit", "browser/hits.bb", "no place in it"),
        ("genomes.txt", "trackDb trackDb.txt", "trackDb gone.txt", "no trackDb"),
        ("trackDb.txt", "track hits", "track motif.hits", "hits: track motif.hits"),
        ("trackDb.txt", "track hits", "track regions", "two tracks are called regions"),
        ("trackDb.txt", "track hits\n", "", "does not begin with track"),
        ("trackDb.txt", "\n\ntrack hits", "\ntrack hits", "track twice in a stanza"),
        ("trackDb.txt", "visibility pack", "visibility packed", "visibility packed"),
        ("trackDb.txt", "type bigBed 9 \\+", "type bigBed 12", "columns, of BED 9"),
        ("trackDb.txt", "browser/hits.bb", "browser/gone.bb", "no file browser/gone.bb"),
        ("trackDb.txt", "browser/hits.bb", "../out/browser/hits.bb", r"no file \.\./out"),
        ("trackDb.txt", "browser/hits.bb", "tracks/CTCF.bw", "is no bigBed"),
        ("trackDb.txt", "parent relevance on", "parent relevances on", "parent is no composite"),
        ("trackDb.txt", "parent relevance on", "parent relevance yes", "parent relevance yes"),
        ("trackDb.txt", "compositeTrack on\n", "", "parent is no composite"),
        ("trackDb.txt", "parent relevance on", "parent relevance on\nvisibility full", "its parent's"),
        ("trackDb.txt", "color 0,114,178", "color 0,114,278", "color 0,114,278"),
        ("trackDb.txt", "color 0,114,178", "color blue", "color blue"),
        ("trackDb.txt", "maxHeightPixels 128:64:16", "maxHeightPixels 16:64:128", "not max:default:min"),
        ("trackDb.txt", "viewLimits 0:1", "viewLimits 1:0", "upside down"),
        ("trackDb.txt", "windowingFunction mean", "windowingFunction median", "windowingFunction median"),
        ("trackDb.txt", "autoScale on", "autoScale group", "share a scale"),
        ("trackDb.txt", "itemRgb on", "itemRgb on\nlogo on", "logo is not of bigBed"),
        ("trackDb.txt", "itemRgb on", "itemRGB on", "unknown setting itemRGB"),
        ("trackDb.txt", "bigWig -0.5 1.25", "bigWig", "without limits"),
        ("trackDb.txt", "longLabel Seqlets.*", "longLabel " + "x" * 77, "more than 76"),
        ("trackDb.txt", "shortLabel Seqlets", "shortLabel <b>Seq</b>", "has mark-up"),
        ("trackDb.txt", "shortLabel Seqlets", "shortLabel é", "not plain text"),
        ("trackDb.txt", "shortLabel Seqlets", "shortLabel a \\\\", "goes on in the next line"),
        ("trackDb.txt", "shortLabel Seqlets", "shortLabel", "shortLabel has no value"),
        ("trackDb.txt", "shortLabel Seqlets\n", "", "no shortLabel"),
        ("trackDb.txt", r"bigDataUrl browser/hits.bb\n", "", "no bigDataUrl"),
    ],
)
def test_the_validator_finds_what_is_wrong(tmp_path: Path, file: str, old: str, new: str, problem: str) -> None:
    run = make_run(tmp_path)
    write(run)
    path = run.path / file
    text, n = re.subn(old, lambda match: match.expand(new) if "\\" in new else new, path.read_text())
    assert n > 0
    path.write_text(text, encoding="utf-8")
    assert any(re.search(problem, found) for found in problems(run.path)), problems(run.path)


def test_the_validator_wants_no_more_than_ten_tracks_at_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, labels=[*"abcdef"])
    write(run)
    path = run.path / "trackDb.txt"
    path.write_text(re.sub("(parent .*) off", r"\1 on", path.read_text()))
    assert problems(run.path) == ["16 tracks are shown at first, more than ten"]
