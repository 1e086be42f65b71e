"""`gexplain hits`: of a run, of any track, with any motifs, in pipes; and clear words where that cannot be."""

from __future__ import annotations

import csv
import shutil
from collections import Counter

import numpy as np
import pysam
import pytest
from bed_validator import read_bed

import gexplain
from gexplain.calls import HITS
from gexplain.genome.bed_table import autosql

TYPES = [column.type for column in HITS.columns]
NAME, SCORE, STRAND, TRACK, MOTIF = 3, 4, 5, 6, 7
Q, IS_PRIMARY, PRIMARY, REGION = 14, 15, 16, 17
WARNED = "gexplain: warning: no --null, so hits are told from the track itself"

needs_bedtools = pytest.mark.skipif(shutil.which("bedtools") is None, reason="needs bedtools on the PATH")


@pytest.fixture
def rows(test_data):
    """The rows of a table, which a strict reader of BED takes."""
    with gexplain.Genome(test_data / "genome.fa") as genome:
        return lambda text: read_bed(text, genome.chroms, TYPES)


@pytest.fixture
def hits(run, planted, test_data):
    """`gexplain hits` of the planted track and its null, with the motifs of the test genome."""
    source = (planted / "planted.bw", test_data / "genome.fa", "--motifs", test_data / "motifs.meme")
    return lambda *options: run("hits", *source, "--null", planted / "null.bw", planted / "null.fa", *options)


def sites(test_data) -> dict[str, list[tuple[int, int]]]:
    """The planted sites of chr1 by factor."""
    found: dict[str, list[tuple[int, int]]] = {}
    for line in (test_data / "truth.bed").read_text().splitlines():
        chrom, start, end, factor, *_ = line.split("\t")
        if chrom == "chr1":
            found.setdefault(factor, []).append((int(start), int(end)))
    return found


# ---- where relevance and motifs come from ----


def test_a_run_s_hits_are_those_that_score_wrote(run, finished, rows):
    out = finished / "one"
    done = run("hits", out, "--q", 1, "--match-p", 0.01)
    assert (done.code, done.out) == (0, (out / "hits.bed").read_text())
    found = rows(done.out)
    n_primary = sum(row[IS_PRIMARY] == "1" for row in found)
    assert done.err.startswith(f"{n_primary} primary hits of q at most 1; motifs: ")
    assert {row[REGION] for row in found} == {"left", "right", "chr2:1001-3000"}


def test_a_run_s_track_with_its_null_and_regions_gives_the_same(run, finished, test_data):
    out = finished / "one"
    null = ("--null", out / "null" / "promoter.bw", out / "null" / "null.fa")
    source = ("hits", out / "tracks" / "promoter.bw", test_data / "genome.fa", "--regions", finished / "read.bed")
    done = run(*source, *null, "--motifs", test_data / "motifs.meme", "--match-p", 0.01, "--q", 1)
    assert (done.code, done.out) == (0, (out / "hits.bed").read_text())


def test_a_run_is_looked_at_for_the_motifs_that_it_was_made_with(run, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain.models.bundled.DEFAULT_MOTIFS", str(tmp_path / "none.meme"))
    assert run("hits", finished / "one").code == 0


def test_the_hits_of_one_track_of_several(run, finished, rows):
    options = ("--q", 1, "--match-p", 0.01)
    everything = rows(run("hits", finished / "all", *options).out)
    assert {row[TRACK] for row in everything} == {"background", "promoter", "enhancer"}
    some = run("hits", finished / "all", *options, "--track", "promoter", "--track", "enhancer").out
    assert rows(some) == [row for row in everything if row[TRACK] != "background"]


def test_a_bigwig_on_standard_input_is_its_file(run, hits, planted, test_data):
    source = ("-", test_data / "genome.fa", "--motifs", test_data / "motifs.meme")
    null = ("--null", planted / "null.bw", planted / "null.fa")
    piped = run("hits", *source, *null, stdin=(planted / "planted.bw").read_bytes())
    assert piped.out.replace("standard_input", "planted") == hits().out
    assert piped.code == 0


def test_planted_sites_are_hits_of_their_factors_and_little_else_is(hits, rows, test_data):
    primary = [row for row in rows(hits().out) if row[IS_PRIMARY] == "1"]
    of_factor = sites(test_data)
    found = {
        factor: [
            any(row[NAME] == factor and int(row[1]) < end and start < int(row[2]) for row in primary)
            for start, end in places
        ]
        for factor, places in of_factor.items()
    }
    on_a_site = [
        any(int(row[1]) < end and start < int(row[2]) for start, end in of_factor[row[NAME]]) for row in primary
    ]
    assert np.mean([one for places in found.values() for one in places]) > 0.8
    assert np.mean(on_a_site) > 0.9


def test_every_hit_is_a_match_on_its_strand(hits, rows, test_data):
    """The log-odds again, from the letters of the FASTA and the matrices of the MEME file."""
    matrices: dict[str, list[list[float]]] = {}
    for line in (test_data / "motifs.meme").read_text().splitlines():
        if line.startswith("MOTIF"):
            columns = matrices.setdefault(line.split()[1], [])
        elif line.startswith("0."):
            columns.append([float(word) for word in line.split()])
    found = rows(hits().out)
    assert found
    with pysam.FastaFile(str(test_data / "genome.fa")) as genome:
        for row in found:
            letters = genome.fetch(row[0], int(row[1]), int(row[2])).upper()
            if row[STRAND] == "-":
                letters = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))
            matrix = matrices[row[MOTIF]]
            assert len(letters) == len(matrix)
            odds = sum(
                np.log2(column["ACGT".index(letter)] / 0.25) for letter, column in zip(letters, matrix, strict=True)
            )
            assert float(row[10]) == pytest.approx(odds, abs=0.1 * len(matrix))  # FIMO rounds each column


def test_without_a_null_the_track_is_its_own_and_that_is_told(run, planted, test_data):
    command = ("hits", planted / "planted.bw", test_data / "genome.fa", "--motifs", test_data / "motifs.meme")
    first, again, other = run(*command), run(*command, "-q"), run(*command, "--q", 1, "--seed", 1)
    assert first.err.startswith(WARNED)
    assert again.err.startswith(WARNED)  # -q silences no warning
    assert first.out == again.out
    assert other.out != run(*command, "--q", 1).out


def test_motifs_are_chosen_by_id_or_factor(hits, rows):
    assert {row[MOTIF] for row in rows(hits("--motif", "ctcf", "--motif", "REST", "--q", 1).out)} == {"CTCF", "REST"}


def test_motifs_come_from_jaspar_by_group(run, planted, rows, test_data):
    source = ("hits", planted / "planted.bw", test_data / "genome.fa", "--motifs", "jaspar2024:vertebrates")
    null = ("--null", planted / "null.bw", planted / "null.fa")
    done = run(*source, *null, "--motif", "CTCF", "--motif", "MA0526")
    assert done.err.endswith("; motifs: JASPAR 2024 CORE vertebrates\n")
    assert {(row[NAME], row[MOTIF].split(".")[0]) for row in rows(done.out)} == {
        ("CTCF", "MA0139"),
        ("CTCF", "MA1929"),
        ("CTCF", "MA1930"),
        ("USF2", "MA0526"),
    }


def test_what_is_written_is_of_that_q_at_most(hits, rows):
    everything, called = (rows(hits("--match-p", 0.01, "--q", q).out) for q in (1, 0.05))
    assert {row[Q] for row in called} == {row[Q] for row in everything if float(row[Q]) <= 0.05}
    assert 0 < len(called) < len(everything)


def test_a_secondary_hit_names_the_motif_of_its_primary(hits, rows, tmp_path, test_data):
    text = (test_data / "motifs.meme").read_text()
    (tmp_path / "twice.meme").write_text(text + "\n" + text[text.index("MOTIF CTCF") :].replace("MOTIF ", "MOTIF X"))
    found = rows(hits("--motifs", tmp_path / "twice.meme").out)
    secondary = [row for row in found if row[IS_PRIMARY] == "0"]
    assert len(secondary) >= len(found) // 3
    for row in secondary:
        assert any(  # of another motif, or of the same one on the other strand
            one[IS_PRIMARY] == "1"
            and one[MOTIF] == row[PRIMARY]
            and (one[MOTIF], one[STRAND]) != (row[MOTIF], row[STRAND])
            and int(one[1]) < int(row[2])
            and int(row[1]) < int(one[2])
            for one in found
        )


# ---- where the table goes ----


def test_a_file_is_what_standard_output_gets_with_its_columns_beside(hits, tmp_path):
    done = hits("-o", tmp_path / "called.bed")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f", in {tmp_path / 'called.bed'}\n")
    assert (tmp_path / "called.bed").read_text() == hits().out
    assert (tmp_path / "called.as").read_text() == autosql(HITS)
    assert {path.name for path in tmp_path.iterdir()} == {"called.bed", "called.as"}


def test_bed_gz_is_compressed_and_indexed(hits, tmp_path):
    assert hits("-o", tmp_path / "called.bed.gz", "-q").err == ""
    assert {path.name for path in tmp_path.iterdir()} == {"called.bed.gz", "called.bed.gz.tbi", "called.as"}
    with pysam.TabixFile(str(tmp_path / "called.bed.gz")) as table:
        assert [*table.header, *table.fetch("chr1")] == hits().out.splitlines()


def test_the_summary_counts_the_table(hits, rows, tmp_path, test_data):
    found = rows(hits("--summary", tmp_path / "summary.tsv").out)
    with (tmp_path / "summary.tsv").open() as file:
        summary = {row["motif"]: row for row in csv.DictReader(file, delimiter="\t")}
    n_hits = Counter(row[MOTIF] for row in found)
    n_places = Counter(motif for motif, *_ in {(row[MOTIF], *row[:3]) for row in found})
    n_primary = Counter(row[MOTIF] for row in found if row[IS_PRIMARY] == "1")
    assert set(summary) == set(sites(test_data))
    for motif, row in summary.items():
        assert (row["#track"], row["tf"]) == ("planted", motif)
        assert (int(row["hits"]), int(row["primary_hits"])) == (n_hits[motif], n_primary[motif])
        assert int(row["matches"]) >= int(row["used"]) >= n_places[motif]
        assert int(row["regions_with_hit"]) == min(1, n_hits[motif])  # one stretch is scored
        assert float(row["relevance_inside"]) > float(row["relevance_outside"])
        assert float(row["enrichment"]) > 1
        assert float(row["q"]) < 0.05


def test_a_run_s_summary_is_the_one_that_score_wrote(run, finished, tmp_path):
    run("hits", finished / "one", "--q", 1, "--match-p", 0.01, "--summary", tmp_path / "summary.tsv")
    assert (tmp_path / "summary.tsv").read_text() == (finished / "one" / "motif_summary.tsv").read_text()


def test_quiet_is_silent(hits):
    assert hits("-q").err == ""


# ---- pipes ----


@needs_bedtools
def test_bedtools_takes_the_hits_from_a_pipe(shell, finished, tmp_path, rows):
    table = rows((finished / "one" / "hits.bed").read_text())
    first, last = (int(table[i][1]) for i in (0, -1))
    genes = [(table[0][0], first, first + 1, "gene_1"), (table[-1][0], last, last + 1, "gene_2")]
    text = "".join("\t".join(map(str, gene)) + "\n" for gene in genes)
    (tmp_path / "genes.bed").write_text(text)
    done = shell(
        f"set -o pipefail; gexplain hits {finished}/one --q 1 --match-p 0.01 -q"
        " | bedtools intersect -a - -b genes.bed -wa -wb"
    )
    assert (done.returncode, done.stderr) == (0, "")
    joined = [line.split("\t") for line in done.stdout.splitlines()]
    assert joined == [
        [*row, chrom, str(start), str(end), name]
        for row in table
        for chrom, start, end, name in genes
        if row[0] == chrom and int(row[1]) < end and start < int(row[2])
    ]
    assert {line[-1] for line in joined} == {"gene_1", "gene_2"}


@needs_bedtools
def test_hits_are_sorted_as_bedtools_sorts_by_the_fasta(shell, finished):
    done = shell(f"bedtools sort -g test_data/genome.fa.fai -i {finished}/all/hits.bed | cut -f 1-2")
    table = (finished / "all" / "hits.bed").read_text().splitlines()[1:]
    assert done.stdout.splitlines() == ["\t".join(line.split("\t")[:2]) for line in table]


def test_a_reader_that_leaves_ends_it_as_it_ends_a_c_tool(shell, finished):
    done = shell(f'gexplain hits {finished}/one --q 1 --match-p 0.01 | true; echo "${{PIPESTATUS[@]}}" >&2')
    assert done.stderr == "141 0\n"


# ---- what cannot be ----

# The arguments, the exit code, a part of the message and one of the mend. RUN, TRACK ... are the fixtures' files.
REFUSED = {
    "a malformed MEME file": (
        *("RUNS/one --motifs bad.meme", 3),
        *(
            "line 5 of bad.meme: 3 numbers in a row, expected 4\n    0.1 0.2 0.3",
            "the probabilities of A, C, G and T",
        ),
    ),
    "no MEME file": ("RUNS/one --motifs RUNS/regions.bed", 3, "regions.bed", "MEME"),
    "no motifs": ("RUNS/one --motifs none", 2, "--motifs none: hits are matches of motifs", "gexplain seqlets"),
    "no such MEME file": ("RUNS/one --motifs gone.meme", 3, "there is no file gone.meme", "or jaspar:GROUP"),
    "an unknown motif": (
        *("RUNS/one --motifs MOTIFS --motif CTCG", 2),
        *("no motif 'CTCG' in", "did you mean CTCF?"),
    ),
    "an unknown motif of the default ones": (
        *("PLANTED/planted.bw GENOME --motif FOXA9", 2),
        *("no motif 'FOXA9' in", "did you mean FOXA1?"),
    ),
    "an unknown group": (
        *("RUNS/one --motifs jaspar:vertebrate", 2),
        *("no group 'vertebrate' in JASPAR", "did you mean jaspar:vertebrates?"),
    ),
    "an unknown release": ("RUNS/one --motifs jaspar1999:fungi", 2, "no release JASPAR1999", "takes the newest"),
    "another assembly": ("PLANTED/planted.bw other.fa", 3, "of different assemblies: chr1 has 120,000", "the FASTA"),
    "a track without values": ("PLANTED/empty.bw GENOME", 3, "empty.bw has no values", "with relevance"),
    "a folder that is no run": (".", 3, ". holds no gexplain run", "that gexplain score -o wrote"),
    "a run that is not finished": ("unfinished", 3, "unfinished: the run is not finished", "score command again"),
    "a run without a null": ("RUNS/no_null", 3, "no_null has no null to tell", "score again without that"),
    "a null for a run": ("RUNS/one --null PLANTED/null.bw PLANTED/null.fa", 2, "is a run, with a null", "leave out"),
    "no folder for the output": ("RUNS/one -o gone/x.bed", 2, "there is no folder", "make it, or give another -o"),
    "no folder for the summary": (
        *("RUNS/one --summary gone/x.tsv", 2),
        *("--summary gone/x.tsv: there is no folder", "or give another --summary"),
    ),
    "a folder for the summary": ("RUNS/one --summary .", 2, "--summary . is a folder", "the path of a file"),
    "one file for both": ("RUNS/one -o x.bed --summary x.bed", 2, "-o and --summary are both x.bed", "of its own"),
}


@pytest.mark.parametrize(("arguments", "code", "message", "mend"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_called_is_one_error(
    run, finished, planted, test_data, tmp_path, monkeypatch, arguments, code, message, mend
):
    monkeypatch.chdir(tmp_path)
    matrix = "letter-probability matrix: alength= 4 w= 2\n0.1 0.2 0.3\n0.25 0.25 0.25 0.25\n"
    (tmp_path / "bad.meme").write_text(f"MEME version 4\n\nMOTIF a\n{matrix}")
    (tmp_path / "other.fa").write_text(f">chr1\n{'ACGT' * 300}\n")
    (tmp_path / "unfinished" / ".unfinished").mkdir(parents=True)
    monkeypatch.setattr("gexplain.calls.HitFinder", lambda *_, **__: pytest.fail("begun"))
    places = {"RUNS": finished, "PLANTED": planted, "GENOME": "genome.fa", "MOTIFS": "motifs.meme"}
    for word, path in places.items():
        arguments = arguments.replace(word, str(test_data / path))
    before = {path for path in tmp_path.rglob("*") if path.suffix != ".fai"}
    outcome = run("hits", *arguments.split())
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert (outcome.err.count("gexplain: error:"), outcome.err.count("    fix: ")) == (1, 1)
    head, _, fix = outcome.err.partition("    fix: ")
    assert message in head
    assert mend in fix
    assert {path for path in tmp_path.rglob("*") if path.suffix != ".fai"} == before
