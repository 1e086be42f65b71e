from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gexplain.attribution.target import Target
from gexplain.genome.bigwig import BigWigWriter
from gexplain.outputs import name_tracks
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


@pytest.mark.skipif(
    not all(map(shutil.which, ("igv", "xvfb-run", "timeout"))), reason="needs igv, xvfb-run and timeout"
)
def test_igv_desktop_shows_it_as_it_was_meant(tmp_path: Path) -> None:
    # IGV loads the session, over another genome, and saves what it then shows.
    session = write_session(tmp_path / "my run")
    write_genome(tmp_path / "my run" / "data" / "genome.fa", CHROMS)
    write_genome(tmp_path / "other.fa", {"chr7": 5000})
    for name, track in tracks_of(session).items():
        path = tmp_path / "my run" / "out" / track.attrib["id"]
        path.parent.mkdir(exist_ok=True)
        with BigWigWriter(path, CHROMS) as file:
            values = np.sin(np.arange(400) / 9) if "relevance" in name else np.full(400, 0.25)
            file.write("HLA-A*01:01", 1000, values.astype(np.float32))
    batch = tmp_path / "batch.txt"
    batch.write_text(
        # Unless a script begins with a genome, IGV looks for its default one, in the network.
        f"genome {tmp_path}/other.fa\n"
        f'load "{tmp_path}/my run/out/igv_session.xml"\n'
        f"snapshotDirectory {tmp_path}\n"
        "snapshot shown.png\n"
        f"saveSession {tmp_path}/shown.xml\n"
        "exit\n"
    )
    igv = ["igv", "--igvDirectory", str(tmp_path), "--batch", str(batch)]
    subprocess.run(
        ["timeout", "50", "xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", *igv],
        env={**os.environ, "LC_ALL": "C.UTF-8", "JAVA_TOOL_OPTIONS": f"-Duser.home={tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )

    assert (tmp_path / "shown.png").stat().st_size > 0
    shown = ET.parse(tmp_path / "shown.xml").getroot()
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


def write_genome(path: Path, chroms: dict[str, int]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f">{name}\n{'ACGTA' * (length // 5)}\n" for name, length in chroms.items()))
