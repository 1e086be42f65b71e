from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from tiny_browser import make_run

from gexplain.attribution.target import Target
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.intervals import Interval
from gexplain.outputs import name_tracks
from gexplain.report.browser_files import write_browser_files
from gexplain.report.igv import write_igv_session

LABELS = ("promoter", 'a<b & "c" é')
RELEVANCE = ["promoter relevance", 'a<b & "c" é relevance']
PREDICTION = ["promoter prediction", 'a<b & "c" é prediction']
CHROMS = {"chr1": 5000, "HLA-A*01:01": 3000}
REGIONS = """\
#chrom\tstart\tend\tname\tstrand\tstatus\treason
chr9\t10\t20\t.\t.\tskipped\tunknown chromosome
HLA-A*01:01\t1000\t1400\t.\t.\tscored\t.
chr1\t0\t100\t.\t.\tscored\t.
"""


def make_manifest(
    genome: Path,
    *,
    labels: Sequence[str] = LABELS,
    formats: Sequence[str] = ("bigwig",),
    head: str = "classification",
    by_strand: bool = False,
) -> dict[str, Any]:
    target = Target(tuple(range(len(labels))), tuple(labels))
    names = name_tracks(target, ("+", "-") if by_strand else (".",), by_strand=by_strand)
    return {
        "genome": {"file": str(genome)},
        "settings": {"formats": list(formats)},
        "model": {"head": head},
        "tracks": {
            one.stem: {"kind": one.kind, "target": one.target, "strand": one.strand, "bases": 400} for one in names
        },
    }


def write_session(directory: Path, **choices: Any) -> ET.Element:
    """The session of a run in directory/out with the genome in directory/data."""
    out = directory / "out"
    out.mkdir(parents=True)
    (out / "regions.tsv").write_text(REGIONS)
    write_igv_session(out / "igv_session.xml", out, make_manifest(directory / "data" / "genome.fa", **choices))
    return ET.parse(out / "igv_session.xml").getroot()


def tracks_of(session: ET.Element) -> dict[str, ET.Element]:
    return {one.attrib["name"]: one for one in session.iterfind("Panel[@name='DataPanel']/Track")}


def features_of(session: ET.Element) -> list[str]:
    """The files below the reference."""
    return [one.attrib["id"] for one in session.iterfind("Panel[@name='FeaturePanel']/Track")][1:]


def ranges_of(session: ET.Element) -> dict[str, dict[str, str]]:
    return {
        name: data_range.attrib
        for name, track in tracks_of(session).items()
        for data_range in track.iterfind("DataRange")
    }


def test_every_track_has_a_resource_and_a_name_with_target_and_kind(tmp_path: Path) -> None:
    session = write_session(tmp_path)
    assert session.tag == "Session"
    assert list(tracks_of(session)) == [*RELEVANCE, *PREDICTION, "coverage"]
    assert [one.attrib["path"] for one in session.iter("Resource")] == [
        one.attrib["id"] for one in tracks_of(session).values()
    ]


def test_names_say_the_strand(tmp_path: Path) -> None:
    assert list(tracks_of(write_session(tmp_path, labels=["Reb1"], by_strand=True))) == [
        *("Reb1 relevance (+)", "Reb1 prediction (+)", "coverage (+)"),
        *("Reb1 relevance (-)", "Reb1 prediction (-)", "coverage (-)"),
    ]


def test_paths_hold_when_run_and_genome_move_together(tmp_path: Path) -> None:
    session = write_session(tmp_path / "before")
    (tmp_path / "before" / "data").mkdir()
    (tmp_path / "before" / "data" / "genome.fa").touch()
    (tmp_path / "before" / "out" / "tracks").mkdir()
    for resource in session.iter("Resource"):
        (tmp_path / "before" / "out" / resource.attrib["path"]).touch()
    (tmp_path / "before").rename(tmp_path / "after")
    paths = [session.attrib["genome"], *(one.attrib["path"] for one in session.iter("Resource"))]
    assert paths[:2] == ["../data/genome.fa", "tracks/promoter.bw"]
    assert all((tmp_path / "after" / "out" / path).is_file() for path in paths)


def test_paths_as_typed_are_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    write_igv_session(Path("out/session.xml"), Path("out"), make_manifest(Path("genome.fa")))
    assert ET.parse("out/session.xml").getroot().attrib["genome"] == "../genome.fa"


def test_genome_is_found_from_a_run_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "deep" / "real").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/deep/real")
    (tmp_path / "genome.fa").touch()
    write_igv_session(tmp_path / "session.xml", tmp_path / "out", make_manifest(tmp_path / "genome.fa"))
    genome = ET.parse(tmp_path / "session.xml").getroot().attrib["genome"]
    assert (tmp_path / "out" / genome).is_file()


def test_what_xml_cannot_hold_is_replaced(tmp_path: Path) -> None:
    session = write_session(tmp_path, labels=["a\x00b\x1bc", "tab\tand\udcff"])
    assert list(tracks_of(session))[:2] == ["a\ufffdb\ufffdc relevance", "tab\tand\ufffd relevance"]


def test_relevance_tracks_share_one_scale(tmp_path: Path) -> None:
    tracks = tracks_of(write_session(tmp_path))
    groups = {name: one.attrib.get("autoscaleGroup") for name, one in tracks.items()}
    assert groups == {
        **dict.fromkeys(RELEVANCE, "relevance"),
        **dict.fromkeys([*PREDICTION, "coverage"], None),
    }
    assert all(tracks[name].attrib["color"] != tracks[name].attrib["altColor"] for name in RELEVANCE)


def test_probabilities_are_drawn_from_0_to_1(tmp_path: Path) -> None:
    session = write_session(tmp_path)
    assert [name for name, one in tracks_of(session).items() if one.attrib["autoScale"] == "false"] == PREDICTION
    ends = {name: (one["minimum"], one["maximum"]) for name, one in ranges_of(session).items()}
    assert ends == dict.fromkeys(PREDICTION, ("0.0", "1.0"))


def test_values_of_a_regression_are_autoscaled(tmp_path: Path) -> None:
    session = write_session(tmp_path, head="regression")
    assert {one.attrib["autoScale"] for one in tracks_of(session).values()} == {"true"}
    assert not ranges_of(session)


@pytest.mark.parametrize(
    ("formats", "suffixes"),
    [
        (["bedgraph", "bigwig", "npz"], {".bw"}),
        (["bedgraph", "npz"], {".bedGraph"}),
        (["npz"], set()),
    ],
)
def test_the_best_format_that_igv_reads_is_taken(tmp_path: Path, formats: list[str], suffixes: set[str]) -> None:
    session = write_session(tmp_path, formats=formats)
    assert {Path(one.attrib["path"]).suffix for one in session.iter("Resource")} == suffixes
    assert {Path(one.attrib["id"]).suffix for one in tracks_of(session).values()} == suffixes


def test_it_opens_at_the_first_scored_region(tmp_path: Path) -> None:
    assert write_session(tmp_path).attrib["locus"] == "HLA-A*01:01:1,001-1,400"


def test_without_a_region_it_opens_at_the_whole_genome(tmp_path: Path) -> None:
    write_igv_session(tmp_path / "session.xml", tmp_path, make_manifest(tmp_path / "genome.fa"))
    assert ET.parse(tmp_path / "session.xml").getroot().attrib["locus"] == "All"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    write_session(tmp_path / "one")
    write_session(tmp_path / "two")
    first, second = ((tmp_path / one / "out" / "igv_session.xml").read_bytes() for one in ("one", "two"))
    assert first == second


def test_features_that_lie_there_are_shown_below_the_reference(tmp_path: Path) -> None:
    bare, full = make_run(tmp_path / "bare"), make_run(tmp_path / "full")
    write_igv_session(bare.path / "igv_session.xml", bare.path, bare.manifest)
    assert features_of(ET.parse(bare.path / "igv_session.xml").getroot()) == []
    write_browser_files(full.path, full.path, full.manifest, full.genome)
    session = ET.parse(full.path / "igv_session.xml").getroot()
    assert features_of(session) == ["browser/hits.bb", "browser/seqlets.bb", "browser/regions.bb"]
    resources = [one.attrib["path"] for one in session.iter("Resource")]
    assert resources == [*(one.attrib["id"] for one in tracks_of(session).values()), *features_of(session)]
    assert all((full.path / path).is_file() for path in resources)


def test_features_are_shown_of_a_run_that_has_no_other_tracks(tmp_path: Path) -> None:
    run = make_run(tmp_path, formats=["npz"])
    write_browser_files(run.path, run.path, run.manifest, run.genome)
    session = ET.parse(run.path / "igv_session.xml").getroot()
    assert [one.attrib["path"] for one in session.iter("Resource")] == features_of(session)
    assert len(features_of(session)) == 3


def test_many_classes_have_lower_tracks(tmp_path: Path) -> None:
    few = tracks_of(write_session(tmp_path / "few"))
    many = tracks_of(write_session(tmp_path / "many", labels=[*"abcdefgh"]))
    assert sum(int(one.attrib["height"]) for one in many.values()) < 900
    assert int(many["a relevance"].attrib["height"]) < int(few["promoter relevance"].attrib["height"])


needs_igv = pytest.mark.skipif(
    not all(map(shutil.which, ("igv", "xvfb-run", "timeout"))), reason="needs igv, xvfb-run and timeout"
)


@needs_igv
def test_igv_desktop_shows_it_as_it_was_meant(tmp_path: Path) -> None:
    # IGV loads the session, over another genome, and saves what it then shows.
    session = write_session(tmp_path / "my run")
    write_genome(tmp_path / "my run" / "data" / "genome.fa", CHROMS)
    for name, track in tracks_of(session).items():
        path = tmp_path / "my run" / "out" / track.attrib["id"]
        path.parent.mkdir(exist_ok=True)
        with BigWigWriter(path, CHROMS) as file:
            values = np.sin(np.arange(400) / 9) if "relevance" in name else np.full(400, 0.25)
            file.write("HLA-A*01:01", 1000, values.astype(np.float32))
    shown = show_in_igv(tmp_path, tmp_path / "my run" / "out" / "igv_session.xml")
    assert shown.attrib["genome"].endswith("data/genome.fa")
    assert shown.attrib["locus"].startswith("HLA-A*01:01:")
    assert list(tracks_of(shown)) == list(tracks_of(session))
    for name, track in tracks_of(shown).items():
        meant = tracks_of(session)[name].attrib
        assert {key: track.attrib.get(key) for key in meant} == dict(meant)
    ranges = ranges_of(shown)
    assert all(float(ranges[name]["minimum"]) < -0.9 for name in RELEVANCE)
    assert all(ranges[name]["maximum"] == "1.0" for name in PREDICTION)
    assert shown.find("Panel[@name='FeaturePanel']/Track[@id='Reference sequence']") is not None


@needs_igv
def test_igv_desktop_draws_values_and_features(tmp_path: Path) -> None:
    names = ["background", '<b>"A&B"</b>', "\x1bé\udcff"]
    place = Interval("chr1", 2000, 2400, '<img src="x"> & \udcff')
    others = [Interval("chr2", 0, 100), Interval("chr2", 200, 300)]
    run = make_run(tmp_path / "my run", labels=names, regions=[*others, place])
    write_browser_files(run.path, run.path, run.manifest, run.genome)
    session = ET.parse(run.path / "igv_session.xml").getroot()
    shown = show_in_igv(tmp_path, run.path / "igv_session.xml", "chr1:1,951-2,450")
    assert features_of(shown) == features_of(session)
    picture = read_picture(tmp_path / "shown.png")
    blue, vermillion, green, grey = "0,114,178", "213,94,0", "0,158,115", "128,128,128"
    orange, dark, pale = "230,159,0", "117,61,97", "190,160,178"
    hits, secondary, regions = (rows_of(picture, color) for color in (dark, pale, orange))
    for rows in (hits, secondary, regions):
        assert len(rows) > 0
    # Top down: relevance up and down of three classes, predictions, coverage, hits, seqlets and regions.
    values = slice(0, hits.min())
    for color, least in ((blue, 2000), (vermillion, 2000), (green, 10_000), (grey, 5000)):
        assert count_pixels(picture[values], color) > least
    assert rows_of(picture[values], blue).min() < rows_of(picture[values], green).min()
    assert rows_of(picture[values], green).max() < rows_of(picture[values], grey).max()
    seqlets = slice(max(hits.max(), secondary.max()), regions.min())
    assert count_pixels(picture[seqlets], blue) > 100
    assert count_pixels(picture[seqlets], vermillion) > 100
    # The region takes 400 of 500 bases.
    width = (picture == color_of(orange)).all(2).any(0).sum()
    assert 0.75 < width / (0.8 * (picture.shape[1] - 160)) < 1.05


def show_in_igv(folder: Path, session: Path, locus: str | None = None) -> ET.Element:
    """The session that IGV Desktop saves after it has opened one; what it draws is in folder/shown.png."""
    write_genome(folder / "other.fa", {"chr7": 5000})
    (folder / "prefs.properties").write_text("IGV.Bounds=0,0,1400,1000\n")
    batch = folder / "batch.txt"
    batch.write_text(
        # Unless a script begins with a genome, IGV looks for its default one, in the network.
        f"genome {folder}/other.fa\n"
        f'load "{session}"\n'
        f"snapshotDirectory {folder}\n"
        + (f"goto {locus}\n" if locus else "")
        + f"snapshot shown.png\nsaveSession {folder}/shown.xml\nexit\n"
    )
    igv = ["igv", "--igvDirectory", str(folder), "--batch", str(batch)]
    # Each worker of pytest-xdist looks for a free screen among its own.
    screen = 100 * (1 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
    done = subprocess.run(
        ["timeout", "300", "xvfb-run", "-a", "-n", str(screen), "-s", "-screen 0 1400x1000x24", *igv],
        env={**os.environ, "LC_ALL": "C.UTF-8", "JAVA_TOOL_OPTIONS": f"-Duser.home={folder}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    told = (folder / "igv0.log").read_text() + done.stdout + done.stderr
    severe = [line for line in told.splitlines() if line.startswith(("SEVERE", "ERROR"))]
    # Without a network it finds no list of genomes, and says so.
    assert [line for line in severe if "[OAuthUtils]" not in line and "[GenomeListManager]" not in line] == []
    assert "TrackLoader" in told  # what it loads is told there
    return ET.parse(folder / "shown.xml").getroot()


def read_picture(path: Path) -> np.ndarray:
    """(rows, columns, 3), 0 to 255."""
    return np.round(255 * plt.imread(path)[:, :, :3]).astype(int)


def color_of(color: str) -> list[int]:
    return [int(part) for part in color.split(",")]


def count_pixels(picture: np.ndarray, color: str) -> int:
    return int((picture == color_of(color)).all(2).sum())


def rows_of(picture: np.ndarray, color: str) -> np.ndarray:
    """The rows with a stretch of a colour; single pixels may be the rim of a letter."""
    return np.flatnonzero((picture == color_of(color)).all(2).sum(1) > 5)


def write_genome(path: Path, chroms: dict[str, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f">{name}\n{'ACGTA' * (length // 5)}\n" for name, length in chroms.items()))
