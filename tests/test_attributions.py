"""Attributions: what a person has, a run or another tool's track, opened the same way; what does not fit is told."""

from __future__ import annotations

import gzip
import io
import shutil

import numpy as np
import pytest
from tiny_tracks import noise, random_letters, word_motif, write_bigwig, write_fasta, write_meme

import gexplain
from gexplain.attributions import default_motifs, open_attributions
from gexplain.calls import call_seqlets
from gexplain.errors import InputError, UsageError
from gexplain.genome.bedgraph import BedGraphWriter
from gexplain.genome.intervals import Interval
from gexplain.models import bundled

LENGTHS = {"b": 900, "a": 300}


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(1)
    made = {chrom: noise(rng, length) for chrom, length in LENGTHS.items()}
    made["b"][400:430] = np.nan
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory, values):
    """A genome, a track of it in three formats, and a null of the track."""
    made = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(2)
    write_fasta(made / "g.fa", {chrom: random_letters(rng, length) for chrom, length in LENGTHS.items()})
    write_bigwig(made / "t.bw", LENGTHS, values)
    with BedGraphWriter(made / "t.bedGraph", LENGTHS) as writer:
        for chrom, of_chrom in values.items():
            writer.write(chrom, 0, of_chrom)
    (made / "t.bedGraph.gz").write_bytes(gzip.compress((made / "t.bedGraph").read_bytes()))
    write_fasta(made / "null.fa", {"n1": random_letters(rng, 700), "n2": random_letters(rng, 600)})
    write_bigwig(made / "null.bw", {"n1": 700, "n2": 600}, {"n1": noise(rng, 700), "n2": noise(rng, 600)})
    (made / "regions.bed").write_text("b\t100\t200\tone\na\t5\t50\t.\n")
    return made


@pytest.fixture(scope="module")
def run(folder, cnn, tmp_path_factory):
    meme = write_meme(folder / "motifs.meme", [word_motif("M1", "TGACTCAG")])
    return gexplain.score(
        [Interval("b", 100, 400, "first"), Interval("a", 10, 200)],
        folder / "g.fa",
        cnn,
        output=tmp_path_factory.mktemp("run") / "out",
        settings=gexplain.ScoreSettings(target="all", null_regions=4, motifs=str(meme), window=64, q=1),
    )


def seqlets(tmp_path, *arguments, **options) -> list[str]:
    with open_attributions(*arguments, **options) as attributions:
        call_seqlets(attributions, tmp_path / "seqlets.bed", q=1)
    return (tmp_path / "seqlets.bed").read_text().splitlines()


# ---- A track ----


@pytest.mark.parametrize("name", ["t.bw", "t.bedGraph", "t.bedGraph.gz"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_track_is_the_same_in_any_format(folder, tmp_path, name, is_stream):
    expected = seqlets(tmp_path, folder / "t.bw", folder / "g.fa", null=(folder / "null.bw", folder / "null.fa"))
    source = io.BytesIO((folder / name).read_bytes()) if is_stream else folder / name
    found = seqlets(tmp_path, source, folder / "g.fa", null=(folder / "null.bw", folder / "null.fa"))
    assert len(found) > 20
    called = "standard_input" if is_stream else "t"
    assert [line.replace(f"\t{called}", "\tt") for line in found] == expected


def test_a_null_may_be_a_bedgraph(folder, tmp_path):
    pair = folder / "t.bedGraph.gz", folder / "g.fa"
    found = seqlets(tmp_path, folder / "t.bw", folder / "g.fa", null=pair)
    assert found == seqlets(tmp_path, folder / "t.bw", folder / "g.fa", null=(folder / "t.bw", folder / "g.fa"))
    assert found != seqlets(tmp_path, folder / "t.bw", folder / "g.fa")


def test_only_a_track_without_a_null_is_compared_with_itself(folder, run):
    with open_attributions(folder / "t.bw", folder / "g.fa") as alone:
        assert alone.is_self_compared
    with open_attributions(folder / "t.bw", folder / "g.fa", null=(folder / "null.bw", folder / "null.fa")) as pair:
        assert not pair.is_self_compared
    with open_attributions(run.path) as of_run:
        assert not of_run.is_self_compared


def test_regions_are_the_stretches_unless_they_are_given(folder):
    with open_attributions(folder / "t.bw", folder / "g.fa") as alone:
        assert [alone.tracks["t"].territories.name(i) for i in range(3)] == ["b:1-400", "b:431-900", "a:1-300"]
    with open_attributions(folder / "t.bw", folder / "g.fa", regions=folder / "regions.bed") as given:
        assert [given.tracks["t"].territories.name(i) for i in range(2)] == ["one", "a:6-50"]


def test_what_was_made_of_a_bedgraph_is_gone_after(folder):
    with open_attributions(folder / "t.bedGraph", folder / "g.fa") as attributions:
        (made,) = (one.path for one in attributions.tracks.values())
        assert made.exists()
    assert not made.parent.exists()


# ---- A run ----


def test_a_run_has_its_tracks_null_and_regions(run, tmp_path):
    assert seqlets(tmp_path, run.path) == (run.path / "seqlets.bed").read_text().splitlines()
    with open_attributions(str(run.path)) as attributions:
        assert list(attributions.tracks) == ["none", "promoter", "enhancer"]
        for track in attributions.tracks.values():
            assert [track.territories.name(i) for i in range(2)] == ["first", "a:11-200"]
        assert attributions.n_bases() == 3 * 1200


def test_tracks_of_a_run_are_chosen_by_name(run, tmp_path):
    found = seqlets(tmp_path, run.path, tracks=["promoter"])
    assert found == [line for line in seqlets(tmp_path, run.path) if line.split("\t")[6] in ("promoter", "track")]


def test_a_genome_may_have_moved(run, folder, tmp_path):
    moved = shutil.copy(folder / "g.fa", tmp_path / "elsewhere.fa")
    with open_attributions(run.path, moved) as attributions:
        assert attributions.genome.path == moved


def test_motifs_are_those_of_the_run_or_of_its_model(run, folder, cnn, tmp_path):
    assert default_motifs(run.path) == str(folder / "motifs.meme")
    assert default_motifs(folder / "t.bw") == default_motifs(io.BytesIO()) == bundled.DEFAULT_MOTIFS
    without = gexplain.score(
        [Interval("a", 10, 20)],
        folder / "g.fa",
        cnn,
        output=tmp_path,
        settings=gexplain.ScoreSettings(null_regions=0),
    )
    assert default_motifs(without.path) == bundled.DEFAULT_MOTIFS


def scored_with_motifs(folder, cnn, tmp_path, monkeypatch, spec: str):
    """A run in another folder than its motifs, which are given as a person there types them."""
    monkeypatch.chdir(tmp_path)
    settings = gexplain.ScoreSettings(null_regions=2, motifs=spec, window=64)
    gexplain.score([Interval("b", 100, 200)], folder / "g.fa", cnn, output=tmp_path / "out", settings=settings)


def test_a_motif_file_given_by_a_relative_path_is_found_from_anywhere(folder, cnn, tmp_path, monkeypatch):
    shutil.copy(folder / "motifs.meme", tmp_path / "own.meme")
    scored_with_motifs(folder, cnn, tmp_path, monkeypatch, "own.meme")
    monkeypatch.chdir(folder)
    assert default_motifs(tmp_path / "out") == str(tmp_path / "own.meme")


def test_a_group_of_jaspar_is_no_path(folder, cnn, tmp_path, monkeypatch):
    scored_with_motifs(folder, cnn, tmp_path, monkeypatch, "jaspar:urochordates")
    assert default_motifs(tmp_path / "out") == "jaspar:urochordates"


def test_motifs_that_changed_after_the_run_are_told(folder, cnn, tmp_path, monkeypatch):
    write_meme(tmp_path / "own.meme", [word_motif("M1", "TGACTCAG")])
    scored_with_motifs(folder, cnn, tmp_path, monkeypatch, "own.meme")
    write_meme(tmp_path / "own.meme", [word_motif("M1", "TGACTCAC")])
    path = tmp_path / "own.meme"
    with pytest.raises(
        InputError, match=rf"^{path} has changed: .* {path.parent}/out was scored with.*(.|\n)*--motifs {path} "
    ):
        default_motifs(tmp_path / "out")


# ---- What does not fit ----


@pytest.mark.parametrize("is_stream", [False, True])
def test_errors_name_a_track_as_it_was_given(folder, tmp_path, is_stream):
    """Not by the copy that was made of it, whether it is opened or called."""

    def message(text: str) -> str:
        (tmp_path / "given.bg").write_text(text)
        source = io.BytesIO(text.encode()) if is_stream else tmp_path / "given.bg"
        with pytest.raises(InputError) as told, open_attributions(source, folder / "g.fa") as attributions:
            raise InputError(f"{attributions.tracks.popitem()[1].path} was called", hint="leave")
        return str(told.value)

    name = "standard input" if is_stream else f"{tmp_path}/given.bg"
    assert message("") == f"{name} has no values\n    fix: give a bedGraph with at least one line"
    assert message("b\tx\n").startswith(f"line 1 of {name}: no bedGraph")
    assert message("b\t5\t9\t1\nb\t1\t3\t1\n").endswith(
        f"    fix: bedtools sort -g {folder}/g.fa.fai -i {'-' if is_stream else name}"
    )
    assert message("b\t5\t9\t1\n") == f"{name} was called\n    fix: leave"


@pytest.fixture
def bad(folder, tmp_path):
    (tmp_path / "none.bed").write_text("# nothing\n")
    (tmp_path / "beside.bed").write_text("b\t0\t10\nb\t800\t901\nx\t0\t5\n")
    (tmp_path / "empty.bed").write_text("b\t7\t7\n")
    (tmp_path / "no_track").write_bytes(b"\x1f\x8b\x08nothing")
    (tmp_path / "empty.bg").write_text("")
    write_bigwig(tmp_path / "empty.bw", LENGTHS, {})
    write_fasta(tmp_path / "other.fa", {"b": "ACGT" * 9})
    return tmp_path


@pytest.mark.parametrize(
    ("source", "genome", "options", "error", "found"),
    [
        ("absent", None, {}, InputError, "cannot read .*absent: there is no such file"),
        ("absent.bw", "g.fa", {}, InputError, "cannot read .*absent.bw: there is no such file"),
        ("t.bw", None, {}, UsageError, "a track needs its genome"),
        ("t.bw", "g.fa", {"tracks": ["promoter"]}, UsageError, "--track chooses among the tracks of a run"),
        ("t.bw", "absent.fa", {}, InputError, "cannot read .*absent.fa"),
        ("t.bw", "other.fa", {}, InputError, "t.bw has values on chromosomes that .*other.fa lacks: a"),
        ("no_track", "g.fa", {}, InputError, "cannot read .*no_track: it is damaged, or no text"),
        ("empty.bw", "g.fa", {}, InputError, "empty.bw has no values"),
        ("empty.bw", "g.fa", {"regions": "regions.bed"}, InputError, "empty.bw has no values"),
        ("empty.bg", "g.fa", {}, InputError, "empty.bg has no values"),
        ("t.bw", "g.fa", {"regions": "none.bed"}, InputError, "none.bed: no regions"),
        ("t.bw", "g.fa", {"regions": "empty.bed"}, InputError, r"empty.bed: b:7-7 \(0-based\) is empty"),
        ("t.bw", "g.fa", {"regions": "beside.bed"}, InputError, r"b:800-901 .*\n.*2 of 3 regions are so"),
        ("t.bw", "g.fa", {"null": ("null.bw", "absent.fa")}, InputError, "cannot read .*absent.fa"),
        ("t.bw", "g.fa", {"null": ("absent.bw", "null.fa")}, InputError, "cannot read .*absent.bw"),
        ("run", None, {"tracks": ["promotor"]}, UsageError, "no relevance track 'promotor'\n.*none, promoter, enh"),
        ("run", None, {"tracks": ["coverage"]}, UsageError, "no relevance track 'coverage'"),
        ("run", "other.fa", {}, InputError, "other.fa is not the genome of"),
        ("run", None, {"null": ("null.bw", "null.fa")}, UsageError, "is a run, with a null and regions of its own"),
        ("run", None, {"regions": "regions.bed"}, UsageError, "is a run, with a null and regions of its own"),
        (".", None, {}, InputError, "holds no gexplain run"),
    ],
)
def test_what_does_not_fit_is_one_error(folder, run, bad, source, genome, options, error, found):
    def path(name: str):
        return next((one / name for one in (folder, bad) if (one / name).exists()), bad / name)

    given = {
        key: tuple(map(path, value)) if key == "null" else path(value) if key == "regions" else value
        for key, value in options.items()
    }
    with (
        pytest.raises(error, match=found),
        open_attributions(
            run.path if source == "run" else bad if source == "." else path(source), genome and path(genome), **given
        ),
    ):
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"formats": ("bedgraph",), "null_regions": 3, "motifs": "none"}, "has no bigWigs to read"),
        ({"null_regions": 0}, r"has no null .*--null-regions 0\n.*tracks/promoter.bw GENOME --null BIGWIG FASTA"),
    ],
)
def test_a_run_without_what_is_needed_is_told(folder, cnn, tmp_path, settings, found):
    score_settings = gexplain.ScoreSettings(target="promoter", **settings)
    gexplain.score([Interval("b", 10, 20)], folder / "g.fa", cnn, output=tmp_path, settings=score_settings)
    with pytest.raises(InputError, match=found), open_attributions(tmp_path):
        pytest.fail("opened")
