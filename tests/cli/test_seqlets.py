"""`gexplain seqlets`: of a run, of any track, from a pipe and into one; and clear words where that cannot be."""

from __future__ import annotations

import shutil

import numpy as np
import pysam
import pytest
from bed_validator import read_bed

import gexplain
from gexplain.calls import SEQLETS
from gexplain.genome.bed_table import autosql

TYPES = [column.type for column in SEQLETS.columns]
TRACK, REGION = 6, 12
WARNED = "gexplain: warning: no --null, so seqlets are told from the track itself"


@pytest.fixture
def rows(test_data):
    """The rows of a table, which a strict reader of BED takes."""
    with gexplain.Genome(test_data / "genome.fa") as genome:
        return lambda text: read_bed(text, genome.chroms, TYPES)


@pytest.fixture
def seqlets(run, planted, test_data):
    """`gexplain seqlets` of the planted track and its null."""
    null = ("--null", planted / "null.bw", planted / "null.fa")
    return lambda *options: run("seqlets", planted / "planted.bw", test_data / "genome.fa", *null, *options)


# ---- where relevance comes from ----


def test_a_run_s_seqlets_are_those_that_score_wrote(run, finished, rows):
    done = run("seqlets", finished / "one", "--q", 1)
    assert (done.code, done.out) == (0, (finished / "one" / "seqlets.bed").read_text())
    found = rows(done.out)
    assert done.err == f"{len(found)} seqlets of q at most 1\n"
    assert {row[REGION] for row in found} == {"left", "right", "chr2:1001-3000"}


def test_a_run_s_track_with_its_null_and_regions_gives_the_same(run, finished, test_data):
    out = finished / "one"
    null = ("--null", out / "null" / "promoter.bw", out / "null" / "null.fa")
    source = ("seqlets", out / "tracks" / "promoter.bw", test_data / "genome.fa")
    done = run(*source, *null, "--regions", finished / "read.bed", "--q", 1)
    assert (done.code, done.out) == (0, (out / "seqlets.bed").read_text())


def test_regions_are_the_scored_stretches_where_none_are_named(run, finished, rows, test_data):
    out = finished / "one"
    null = ("--null", out / "null" / "promoter.bw", out / "null" / "null.fa")
    found = rows(run("seqlets", out / "tracks" / "promoter.bw", test_data / "genome.fa", *null, "--q", 1).out)
    assert {row[REGION] for row in found} == {"chr1:1985-8000", "chr1:40001-44032", "chr2:961-3008"}


def test_the_seqlets_of_one_track_of_several(run, finished, rows):
    everything = rows(run("seqlets", finished / "all", "--q", 1).out)
    assert {row[TRACK] for row in everything} == {"background", "promoter", "enhancer"}
    some = run("seqlets", finished / "all", "--q", 1, "--track", "promoter", "--track", "enhancer").out
    assert rows(some) == [row for row in everything if row[TRACK] != "background"]


def test_planted_sites_are_found_and_little_else(seqlets, rows, test_data):
    sites = [line.split("\t") for line in (test_data / "truth.bed").read_text().splitlines()]
    sites = [(int(site[1]), int(site[2])) for site in sites if site[0] == "chr1"]
    high = [(int(row[1]), int(row[2])) for row in rows(seqlets().out) if row[7] == "high"]
    on_a_site = [any(start < end_ and start_ < end for start_, end_ in sites) for start, end in high]
    found = [any(start < end_ and start_ < end for start_, end_ in high) for start, end in sites]
    assert np.mean(found) > 0.95
    assert np.mean(on_a_site) > 0.9


def test_a_bigwig_on_standard_input_is_its_file(run, seqlets, planted, test_data):
    null = ("--null", planted / "null.bw", planted / "null.fa")
    piped = run("seqlets", "-", test_data / "genome.fa", *null, stdin=(planted / "planted.bw").read_bytes())
    assert piped.out.replace("standard_input", "planted") == seqlets().out
    assert piped.code == 0


def test_a_bedgraph_from_score_s_pipe_is_the_run_s_track(shell, finished):
    regions, null = finished / "regions.bed", finished / "one" / "null"
    done = shell(
        f"set -o pipefail; gexplain score {regions} test_data/genome.fa -m test_data/tiny_checkpoint -q -o -"
        f" --target promoter | gexplain seqlets - test_data/genome.fa --null {null}/promoter.bw {null}/null.fa --q 1"
        f" --regions {finished}/read.bed"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("standard_input", "promoter") == (finished / "one" / "seqlets.bed").read_text()


def test_without_a_null_the_track_is_its_own_and_that_is_told(run, planted, rows, test_data):
    command = ("seqlets", planted / "planted.bw", test_data / "genome.fa")
    first, again, other = run(*command), run(*command, "-q"), run(*command, "--seed", 1)
    assert first.err.startswith(WARNED)
    assert again.err.startswith(WARNED)  # -q silences no warning
    assert first.out == again.out != other.out
    assert len(rows(first.out)) > 0


def test_what_is_written_is_of_that_q_at_most(seqlets, rows):
    everything = rows(seqlets("--q", 1).out)
    called = rows(seqlets().out)
    assert called == [row for row in everything if float(row[11]) <= 0.05]
    assert 0 < len(called) < len(everything)


# ---- where the table goes ----


def test_a_file_is_what_standard_output_gets_with_its_columns_beside(seqlets, tmp_path):
    done = seqlets("-o", tmp_path / "called.bed")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f", in {tmp_path / 'called.bed'}\n")
    assert (tmp_path / "called.bed").read_text() == seqlets().out
    assert (tmp_path / "called.as").read_text() == autosql(SEQLETS)
    assert {path.name for path in tmp_path.iterdir()} == {"called.bed", "called.as"}


def test_bed_gz_is_compressed_and_indexed(seqlets, tmp_path):
    (tmp_path / "called.bed.gz.csi").touch()  # of an earlier table
    assert seqlets("-o", tmp_path / "called.bed.gz", "-q").err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"called.bed.gz", "called.bed.gz.tbi", "called.as"}
    lines = seqlets().out.splitlines()
    with pysam.TabixFile(str(tmp_path / "called.bed.gz")) as table:
        assert [*table.header, *table.fetch("chr1")] == lines
        start = int(lines[1].split("\t")[1])
        assert next(table.fetch("chr1", start, start + 1)) == lines[1]


def test_nothing_called_is_a_table_without_rows(run, planted, tmp_path, test_data):
    (tmp_path / "flat.bedGraph").write_text("chr1\t5000\t9000\t1\n")
    command = ("seqlets", tmp_path / "flat.bedGraph", test_data / "genome.fa")
    for target in ("-", tmp_path / "none.bed", tmp_path / "none.bed.gz"):
        assert run(*command, "-o", target).code == 0
    assert (tmp_path / "none.bed").read_text() == SEQLETS.header + "\n"
    with pysam.TabixFile(str(tmp_path / "none.bed.gz")) as table:
        assert (list(table.header), list(table.contigs)) == ([SEQLETS.header], [])


def test_quiet_is_silent(seqlets):
    assert seqlets("-q").err == ""


def test_progress_is_of_bases_on_standard_error(seqlets, monkeypatch):
    monkeypatch.setattr("gexplain_cli.progress.EVERY_S", 0.0)
    done = seqlets()
    assert "bases: 248,100 of 248,100 (" in done.err
    assert "bases: " not in done.out


def test_a_reader_that_leaves_ends_it_as_it_ends_a_c_tool(shell, finished):
    done = shell(f'gexplain seqlets {finished}/one --q 1 | true; echo "${{PIPESTATUS[@]}}" >&2')
    assert done.stderr == "141 0\n"


# ---- what cannot be ----

# The arguments, the exit code, a part of the message and one of the mend. RUN, TRACK ... are the fixtures' files.
REFUSED = {
    "nothing there": ("gone.bw GENOME", 3, "cannot read gone.bw: ", ""),
    "a track without its genome": ("PLANTED/planted.bw", 2, "a track needs its genome", "give GENOME"),
    "a pipe without its genome": ("-", 2, "a track needs its genome", "give GENOME"),
    "another assembly": (
        *("PLANTED/planted.bw other.fa", 3),
        "of different assemblies: chr1 has 120,000 bases in the track and 1,200 in the FASTA",
        "give the FASTA that the track was made with",
    ),
    "other names": (
        *("PLANTED/planted.bw bare.fa", 3),
        "has values on chromosomes that bare.fa lacks: chr1\n    bare.fa has 1",
        "give the FASTA that the track was made with",
    ),
    "a track without values": ("PLANTED/empty.bw GENOME", 3, "empty.bw has no values", "with relevance"),
    "no bedGraph": ("peaks.bed GENOME", 3, "line 1 of peaks.bed: no bedGraph", "give a bigWig, or a bedGraph"),
    "a folder that is no run": (". GENOME", 3, ". holds no gexplain run", "that gexplain score -o wrote"),
    "a run that is not finished": ("unfinished", 3, "unfinished: the run is not finished", "score command again"),
    "a run without a null": (
        *("RUNS/no_null", 3),
        "no_null has no null to tell seqlets and hits from: it was scored with --null-regions 0",
        "score again without that; or give one of its tracks and another null",
    ),
    "a run of text": ("RUNS/text", 3, "text has no bigWigs to read", "score with --format bigwig"),
    "a run's genome that moved": ("moved", 3, "genome, gone.fa, is not there", "FASTA"),
    "another genome than the run's": ("RUNS/one other.fa", 3, "other.fa is not the genome of", "FASTA"),
    "a null for a run": (
        "RUNS/one --null PLANTED/null.bw PLANTED/null.fa",
        *(2, "is a run, with a null and regions of its own", "leave out --null and --regions"),
    ),
    "regions for a run": ("RUNS/one --regions RUNS/regions.bed", 2, "is a run, with", "leave out --null"),
    "a track that the run lacks": (
        *("RUNS/one --track enhancer", 2),
        *("has no relevance track 'enhancer'", "--track takes promoter"),
    ),
    "a track of a track": ("PLANTED/planted.bw GENOME --track x", 2, "--track chooses among", "leave it out"),
    "regions without a value": (
        "PLANTED/planted.bw GENOME --regions chr2.bed",
        *(3, "planted.bw has no values in the regions", "that were scored"),
    ),
    "a null of another FASTA": (
        "PLANTED/planted.bw GENOME --null PLANTED/null.bw GENOME",
        *(3, "null.bw has values on chromosomes that", "give the FASTA that the track was made with"),
    ),
    "a null without values": (
        "PLANTED/planted.bw GENOME --null PLANTED/empty.bw GENOME",
        *(3, "empty.bw has no values", "the track of shuffled sequence"),
    ),
    "regions elsewhere": (
        "PLANTED/planted.bw GENOME --regions chr9.bed",
        *(3, "chr9.bed: chr9:4-9 (0-based) is empty, or not on a chromosome", "of the track's assembly"),
    ),
    "no regions": ("PLANTED/planted.bw GENOME --regions none.bed", 3, "none.bed: no regions", "leave out --regions"),
    "no folder for the output": (
        "RUNS/one -o gone/called.bed",
        *(2, "-o gone/called.bed: there is no folder", "make it, or give another -o"),
    ),
    "a folder for the output": ("RUNS/one -o .", 2, "-o . is a folder; expected a file", "the path of a file"),
    "a device for the output": ("RUNS/one -o /dev/null", 2, "-o /dev/null is a device or a pipe", "path of a file"),
    "an empty output": ("RUNS/one -o ''", 2, "-o is empty; expected a file", "is a shell variable not set?"),
}


@pytest.mark.parametrize(("arguments", "code", "message", "mend"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_called_is_one_error(
    run, finished, planted, test_data, tmp_path, monkeypatch, arguments, code, message, mend
):
    monkeypatch.chdir(tmp_path)
    files = {
        "other.fa": f">chr1\n{'ACGT' * 300}\n",
        "bare.fa": f">1\n{'ACGT' * 300}\n",
        "peaks.bed": "chr1\t4\t9\n",
        "chr9.bed": "chr9\t4\t9\n",
        "chr2.bed": "chr2\t4\t9\n",
        "none.bed": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "unfinished" / ".unfinished").mkdir(parents=True)
    shutil.copytree(finished / "one", tmp_path / "moved")
    manifest = (tmp_path / "moved" / "manifest.json").read_text()
    (tmp_path / "moved" / "manifest.json").write_text(manifest.replace(str(test_data / "genome.fa"), "gone.fa"))
    monkeypatch.setattr("gexplain.calls.stream_spans", lambda *_, **__: pytest.fail("begun"))
    places = {"RUNS": finished, "PLANTED": planted, "GENOME": test_data / "genome.fa"}
    for word, path in places.items():
        arguments = arguments.replace(word, str(path))
    before = {path for path in tmp_path.rglob("*") if path.suffix != ".fai"}
    outcome = run("seqlets", *(word.strip("'") for word in arguments.split()))
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert (outcome.err.count("gexplain: error:"), outcome.err.count("    fix: ")) == (1, 1)
    head, _, fix = outcome.err.partition("    fix: ")
    assert message in head
    assert mend in fix
    assert {path for path in tmp_path.rglob("*") if path.suffix != ".fai"} == before
