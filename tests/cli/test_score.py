"""`gexplain score`: every form of input gives the tracks it should, and nothing is passed over silently."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pysam
import pytest
from gexplain_cli.progress import show_stages
from paths import SHARED, needs_shared

from gexplain.run_folder import open_run

EDGE_CASES = SHARED / "data" / "edge_cases"
WINDOW = 128  # what the test model was trained on

# Three regions, and the same places as a person types them.
BED = "chr1\t40000\t40100\ta\t0\t+\nchr2\t50000\t50400\tb\t0\t-\nchrM\t2500\t2600\tc\t0\t.\n"
REGIONS = ("chr1:40,001-40,100", "chr2:50,001-50,400", "chrM:2501-2600")


def spans(outcome) -> list[tuple[str, int, int]]:
    """(chrom, start, end) of each stretch of bedGraph lines without a gap."""
    merged: list[tuple[str, int, int]] = []
    for line in outcome.out.splitlines():
        chrom, start, end, _ = line.split("\t")
        if merged and merged[-1][0] == chrom and merged[-1][2] == int(start):
            merged[-1] = chrom, merged[-1][1], int(end)
        else:
            merged.append((chrom, int(start), int(end)))
    return merged


def table(out: Path) -> list[dict[str, str]]:
    """The rows of regions.tsv."""
    with (out / "regions.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def reasons(out: Path) -> list[str]:
    return [row["reason"] for row in table(out)]


def write_fasta(path: Path, chroms: dict[str, int]) -> Path:
    """A FASTA of random chromosomes, 60 bases a line."""
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        for name, length in chroms.items():
            sequence = "".join(generator.choice(list("ACGT"), length))
            file.write(f">{name}\n" + "".join(f"{sequence[i : i + 60]}\n" for i in range(0, length, 60)))
    return path


@pytest.fixture
def plain(score) -> str:
    """The bedGraph of BED as it stands."""
    outcome = score(BED)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


# ---- forms of the regions ----

FORMS = {
    "gzip": gzip.compress(BED.encode()),
    "two gzip members": gzip.compress(BED[:30].encode()) + gzip.compress(BED[30:].encode()),
    "CRLF": BED.replace("\n", "\r\n").encode(),
    "BOM": b"\xef\xbb\xbf" + BED.encode(),
    "no last line end": BED.rstrip("\n").encode(),
    "comments and headers": b"browser position chr1\ntrack name=peaks\n# peaks\n\n" + BED.encode(),
    "a header line": b"chrom\tstart\tend\tname\tscore\tstrand\n" + BED.encode(),
    "spaces": BED.replace("\t", "  ").encode(),
    "another order": "".join(reversed(BED.splitlines(keepends=True))).encode(),
    "each line twice": BED.encode() * 2,
    "three columns": b"".join(b"\t".join(line.split(b"\t")[:3]) + b"\n" for line in BED.encode().splitlines()),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_the_form_of_the_bed_does_not_change_the_track(score, plain, tmp_path, data):
    path = tmp_path / "regions.txt"  # bytes tell the form, not the name
    path.write_bytes(data)
    outcome = score(path)
    assert (outcome.code, outcome.out) == (0, plain)


def test_a_bgzf_bed_is_its_plain_self(score, plain, tmp_path):
    (tmp_path / "regions.bed").write_text(BED)
    pysam.tabix_compress(str(tmp_path / "regions.bed"), str(tmp_path / "regions.bed.gz"))
    assert score(tmp_path / "regions.bed.gz").out == plain


def test_gzip_on_standard_input_is_its_plain_self(run, plain, test_data):
    model = test_data / "tiny_checkpoint"
    arguments = ("score", "-", test_data / "genome.fa", "-m", model, "-o", "-", "--target", "promoter")
    assert run(*arguments, stdin=gzip.compress(BED.encode())).out == plain


def test_a_bgzf_genome_is_its_plain_self(score, plain, tmp_path, test_data):
    pysam.tabix_compress(str(test_data / "genome.fa"), str(tmp_path / "genome.fa.gz"))
    assert score(BED, genome=tmp_path / "genome.fa.gz").out == plain


def test_regions_on_the_command_line_are_those_of_a_bed(score, plain):
    options = [word for region in REGIONS for word in ("-r", region)]
    assert score(None, *options).out == plain


def test_a_name_as_a_region_is_the_whole_chromosome(score):
    assert spans(score(None, "-r", "chrM", "--window", "512")) == [("chrM", 0, 5000)]


def test_a_peak_s_window_is_centred_on_its_summit(score):
    peak = "chr1\t40000\t40100\tpeak\t9\t.\t1\t2\t3\t{}\n"
    assert spans(score(peak.format(10))) == [("chr1", 40010 - WINDOW // 2, 40010 + WINDOW // 2)]
    assert spans(score(peak.format(-1))) == [("chr1", 40050 - WINDOW // 2, 40050 + WINDOW // 2)]


# ---- names of chromosomes ----


@pytest.mark.parametrize(
    "name", ["NC_000913.3", "HLA-A*01:01", "chr19_GL949746v1_alt", "gi|9628113|ref|NC_001659.2|"]
)
def test_names_with_odd_characters_pass(score, tmp_path, name):
    genome = write_fasta(tmp_path / "genome.fa", {"chr1": 300, name: 300})
    expected = [(name, 86, 86 + WINDOW)]
    assert spans(score(f"{name}\t100\t200\n", genome=genome)) == expected
    assert spans(score(None, "-r", f"{name}:101-200", genome=genome)) == expected
    assert spans(score(None, "-r", name, "--chroms", name, genome=genome)) == [(name, 0, 300)]


@pytest.mark.parametrize("prefixed", [True, False])
def test_chrom_alias_chr_adds_or_drops_the_prefix(score, plain, tmp_path, test_data, prefixed):
    if prefixed:
        outcome = score(BED.replace("chrM", "MT").replace("chr", ""), "--chrom-alias", "chr")
        assert (outcome.code, outcome.out) == (0, plain)
    else:
        text = (test_data / "genome.fa").read_text().replace(">chr", ">").replace(">M", ">MT")
        (tmp_path / "ensembl.fa").write_text(text)
        outcome = score(BED, "--chrom-alias", "chr", genome=tmp_path / "ensembl.fa")
        assert outcome.out == plain.replace("chrM", "MT").replace("chr", "")


def test_chrom_alias_takes_a_file(score, plain, tmp_path):
    aliases = tmp_path / "chromAlias.txt"
    aliases.write_text("# ucsc\trefseq\nchr1\tNC_000001.11\nchr2\tNC_000002.12\nchrM\tNC_012920.1\n")
    bed = BED.replace("chr1", "NC_000001.11").replace("chr2", "NC_000002.12").replace("chrM", "NC_012920.1")
    outcome = score(bed, "--chrom-alias", aliases)
    assert (outcome.code, outcome.out) == (0, plain)


def test_regions_tsv_has_the_names_of_the_fasta(score, tmp_path):
    score("1\t40000\t40100\n", "--chrom-alias", "chr", output=tmp_path / "out")
    assert [row["#chrom"] for row in table(tmp_path / "out")] == ["chr1"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("chr1", ["chr1"]), ("chr?", ["chr1", "chr2", "chrM"]), ("chrM, chr2", ["chr2", "chrM"]), ("*", None)],
)
def test_chroms_takes_names_and_globs(score, plain, wanted, found):
    rows = [line.split("\t") for line in plain.splitlines()]
    wanted_rows = [row for row in rows if found is None or row[0] in found]
    given = [line.split("\t") for line in score(BED, "--chroms", wanted).out.splitlines()]
    assert [row[:3] for row in given] == [row[:3] for row in wanted_rows]
    # Which windows share a batch changes the rounding.
    expected = [float(row[3]) for row in wanted_rows]
    assert [float(row[3]) for row in given] == pytest.approx(expected, rel=1e-5, abs=1e-6)


# ---- what is passed over is told ----


def test_chromosomes_not_asked_for_are_rows_with_a_reason(score, tmp_path):
    outcome = score(BED, "--chroms", "chr2", "-q", "--null-regions", "0", output=tmp_path / "out")
    assert reasons(tmp_path / "out") == ["chromosome not in --chroms", ".", "chromosome not in --chroms"]
    assert outcome.err == "gexplain: warning: 2 of 3 regions skipped: 2 chromosome not in --chroms\n"


def test_an_unknown_chromosome_and_an_end_past_the_chromosome_are_rows_and_no_errors(score, tmp_path):
    bed = BED + "chr9\t5\t9\td\t0\t.\nchr2\t79990\t80001\te\t0\t.\nchr2\t7\t7\tf\t0\t.\n"
    outcome = score(bed, "-q", output=tmp_path / "out")
    assert outcome.code == 0
    told = ["chromosome not in the FASTA", "past the chromosome's end", "empty region"]
    assert reasons(tmp_path / "out")[3:] == told
    assert all(f"1 {reason}" in outcome.err for reason in told)


def test_a_region_up_to_the_chromosome_s_end_is_scored(score):
    assert spans(score("chr2\t79990\t80000\n")) == [("chr2", 80_000 - WINDOW, 80_000)]


def test_blacklisted_regions_are_rows_with_a_reason(score, tmp_path, test_data):
    bed = BED + "chr1\t1499\t1600\td\t0\t.\nchr1\t1500\t1600\te\t0\t.\n"  # the blacklist has chr1:1-1,500
    score(bed, "--blacklist", test_data / "blacklist.bed", output=tmp_path / "out")
    assert reasons(tmp_path / "out") == [".", ".", ".", "overlaps the blacklist", "."]


def test_the_blacklist_s_names_are_mapped_as_the_bed_s(score, tmp_path):
    (tmp_path / "blacklist.bed").write_text("2\t50399\t50400\n")
    score(BED, "--blacklist", tmp_path / "blacklist.bed", "--chrom-alias", "chr", output=tmp_path / "out")
    assert reasons(tmp_path / "out") == [".", "overlaps the blacklist", "."]


def test_a_region_of_n_alone_is_told_on_a_stream_too(score, plain):
    outcome = score(BED + "chr1\t300\t500\td\t0\t.\n")
    assert (outcome.code, outcome.out) == (0, plain)
    assert outcome.err == "gexplain: warning: 1 region skipped: no base but N\n"


def test_regions_without_a_strand_are_skipped_where_strands_are_read(score, tmp_path):
    score(BED, "--strand", "region", output=tmp_path / "out")
    assert reasons(tmp_path / "out") == [".", ".", "no strand"]


def test_bad_lines_that_are_skipped_are_counted_and_placed(score, plain):
    bad = "chr1\t9\t5\ta\t0\t.\n"
    outcome = score(bad + BED + bad * 6, "--on-bad-line", "skip")
    assert (outcome.code, outcome.out) == (0, plain)
    assert outcome.err == ("gexplain: warning: standard input: 7 malformed lines skipped: 1, 5, 6, 7, 8 ...\n")


def test_a_fault_in_an_unused_column_is_told_once_with_its_count(score, plain):
    outcome = score(BED.replace("\t0\t", "\t1451\t"))
    assert (outcome.code, outcome.out) == (0, plain)
    assert outcome.err == (
        "gexplain: warning: standard input: column 5 (score) is not an integer from 0 to 1000 in 3 lines,"
        " first in line 1 (1451); gexplain does not use it\n"
    )


def test_warnings_of_a_run_are_in_its_manifest(score, tmp_path):
    outcome = score(BED + "chr9\t5\t9\td\t1451\t.\n", "-q", "--q", 1, output=tmp_path / "out")
    warnings = json.loads((tmp_path / "out" / "manifest.json").read_text())["warnings"]
    assert [f"gexplain: warning: {warning}" for warning in warnings] == outcome.err.splitlines()
    assert len(warnings) == 2


# ---- what is said, and where ----


def test_a_run_into_a_folder_prints_nothing_on_standard_output(score, tmp_path):
    assert score(BED, output=tmp_path / "out").out == ""


def test_the_summary_is_on_standard_error(score, tmp_path):
    lines = score(BED, "--q", 1, output=tmp_path / "out").err.splitlines()
    assert lines[0].startswith("3 of 3 regions scored, in ")
    assert lines[1] == "tracks of relevance: promoter"
    assert re.fullmatch(
        r"\d+ seqlets? and \d+ primary hits? of \S+motifs\.meme, told from \d+ shuffled regions?", lines[2]
    )
    assert (tmp_path / "out" / "igv_session.xml").name in lines[3]


def test_the_summary_counts_what_the_tables_hold(score, tmp_path):
    told = score(BED, "--q", 1, output=tmp_path / "out").err.splitlines()[2]
    n_seqlets, n_hits, n_pieces = (int(number) for number in re.findall(r"(\d+) (?:seqlet|primary|shuffled)", told))
    seqlets, hits = (
        [line.split("\t") for line in (tmp_path / "out" / name).read_text().splitlines()[1:]]
        for name in ("seqlets.bed", "hits.bed")
    )
    assert (len(seqlets), sum(row[15] == "1" for row in hits)) == (n_seqlets, n_hits)
    assert (tmp_path / "out" / "null" / "null.fa").read_text().count(">") == n_pieces
    assert n_seqlets > 0


def test_a_run_without_a_null_says_nothing_of_calls_and_writes_none(score, tmp_path):
    told = score(BED, "--null-regions", 0, "--no-report", output=tmp_path / "out").err
    assert "seqlet" not in told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("tracks", "regions.tsv", "stats.tsv", "manifest.json"),
        *("browser", "igv_session.xml", "hub.txt", "genomes.txt", "trackDb.txt"),
    }


def test_motifs_none_calls_seqlets_alone(score, tmp_path):
    told = score(BED, "--motifs", "none", output=tmp_path / "out").err
    assert re.search(r"^\d+ seqlets?, told from", told, re.MULTILINE)
    assert (tmp_path / "out" / "seqlets.bed").exists()
    assert not (tmp_path / "out" / "hits.bed").exists()


def test_tabix_writes_both_tables_with_an_index(score, tmp_path):
    score(BED, "--q", 1, "--tabix", output=tmp_path / "out")
    for name in ("seqlets.bed", "hits.bed"):
        lines = (tmp_path / "out" / name).read_text().splitlines()[1:]
        with pysam.TabixFile(str(tmp_path / "out" / f"{name}.gz")) as table:
            assert [line for chrom in table.contigs for line in table.fetch(chrom)] == lines


def test_quiet_is_silent_on_success(score, tmp_path):
    outcome = score(BED, "-q", "--q", 1, output=tmp_path / "out")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_a_null_that_is_too_small_to_call_anything_is_told(score, tmp_path):
    """As a warning of the run, and again by `seqlets`, which calls the same."""
    told = score(BED, "-q", "--null-regions", 2, output=tmp_path / "out").err.splitlines()
    assert told
    assert told == [f"gexplain: warning: {one}" for one in open_run(tmp_path / "out").warnings]
    assert all("score with a higher --null-regions (now 2)" in one for one in told)


def test_quiet_does_not_silence_warnings(score):
    outcome = score(BED + "chr9\t5\t9\td\t0\t.\n", "-q")
    assert outcome.err == "gexplain: warning: 1 of 4 regions skipped: 1 chromosome not in the FASTA\n"


@pytest.mark.parametrize(("output", "options"), [("-", []), ("out", ["--null-regions", 0])])
def test_progress_is_lines_on_standard_error(score, tmp_path, monkeypatch, output, options):
    monkeypatch.setattr("gexplain_cli.progress.EVERY_S", 0.0)
    outcome = score(None, "-r", "chrM", *options, output="-" if output == "-" else tmp_path / output)
    lines = [line for line in outcome.err.splitlines() if line.startswith("windows: ")]
    assert lines[-1].startswith("windows: 78 of 78 (")
    assert "windows: " not in outcome.out


def test_progress_counts_the_windows_of_the_null_too(score, tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain_cli.progress.EVERY_S", 0.0)
    outcome = score(BED, "--null-regions", 4, "--stride", WINDOW, output=tmp_path / "out")
    last = [line for line in outcome.err.splitlines() if line.startswith("windows: ")][-1]
    done, n_all = map(int, re.match(r"windows: (\d+) of (\d+) \(", last).groups())
    read = json.loads((tmp_path / "out" / "manifest.json").read_text())["windows"]["read"]
    pieces = (tmp_path / "out" / "null" / "null.fa.fai").read_text().splitlines()
    assert len(pieces) == 4
    assert done == n_all == read + sum(int(piece.split("\t")[1]) // WINDOW for piece in pieces)


def test_progress_counts_the_bases_of_seqlets_and_hits(score, tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain_cli.progress.EVERY_S", 0.0)
    outcome = score(BED, "--null-regions", 4, output=tmp_path / "out")
    told = [
        tuple(int(number.replace(",", "")) for number in match.groups())
        for match in re.finditer(r"bases looked at for seqlets and hits: ([\d,]+) of ([\d,]+) \(", outcome.err)
    ]
    n_bases = json.loads((tmp_path / "out" / "manifest.json").read_text())["genome"]["bases"]
    assert told == sorted(told)
    assert told[0] == (0, 2 * n_bases)
    assert told[-1] == (2 * n_bases, 2 * n_bases)


def test_a_bar_for_each_stage_comes_when_it_begins(monkeypatch):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with show_stages("windows", "bases", quiet=False) as (windows, bases):
        windows(3, 4)
        assert "bases" not in terminal.getvalue()
        bases(5, 6)
    assert re.search(r"windows.*3/4", terminal.getvalue())
    assert re.search(r"bases.*5/6", terminal.getvalue())


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_quiet_has_no_progress(score, monkeypatch):
    monkeypatch.setattr("gexplain_cli.progress.EVERY_S", 0.0)
    assert score(None, "-r", "chrM", "-q").err == ""


def test_standard_output_is_the_bedgraph_of_the_folder(score, plain, tmp_path):
    score(BED, "--format", "bedgraph", output=tmp_path / "out")
    assert (tmp_path / "out" / "tracks" / "promoter.bedGraph").read_text() == plain


def test_the_same_command_on_a_finished_run_says_what_is_there(score, tmp_path):
    first, again = (score(BED, output=tmp_path / "out") for _ in range(2))
    assert (again.code, again.err) == (0, first.err)


# ---- files that break other tools ----


@pytest.fixture(scope="module")
def cut_genome(tmp_path_factory) -> Path:
    """The chromosomes of the BED3 examples, cut off so that a few regions of each file fit and the rest do not."""
    chroms = dict.fromkeys(("chr19", "chr19_GL383573v1_alt", "chrUn_KI270442v1"), 251_250)
    return write_fasta(tmp_path_factory.mktemp("genome") / "genome.fa", chroms)


@needs_shared
@pytest.mark.parametrize("path", sorted((EDGE_CASES / "bed3" / "good").glob("*")), ids=lambda path: path.name)
def test_every_good_file_is_scored_where_it_can_be(score, cut_genome, tmp_path, path):
    out = tmp_path / "out"
    outcome = score(path, "--stride", WINDOW, genome=cut_genome, output=out)
    assert outcome.code == 0, outcome.err
    lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    rows = table(out)
    assert [(row["#chrom"], row["start"], row["end"]) for row in rows] == [
        (chrom, str(int(start)), str(int(end))) for chrom, start, end in lines
    ]
    fits = [
        chrom in ("chr19", "chr19_GL383573v1_alt", "chrUn_KI270442v1") and int(start) < int(end) <= 251_250
        for chrom, start, end in lines
    ]
    assert [row["status"] == "scored" for row in rows] == fits
    assert any(fits)


# BED, FASTA, and how many of its regions are scored.
OTHER_TOOLS = {
    "lower case, blocks": ("bedtools/getfasta/blocks.bed", "bedtools/getfasta/t.fa", 2),
    "words in FASTA headers": ("bedtools/general/a.chromheader.bed", "bedtools/getfasta/t_fH.fa", 1),
    "a track line": ("bedtools/general/a.trackheader.bed", "bedtools/getfasta/t.fa", 1),
    "gzip": ("bedtools/general/non-empty.bed.gz", "bedtools/getfasta/t.fa", 2),
    "RNA": ("bedtools/getfasta/rna.bed", "bedtools/getfasta/rna.fasta", 2),
    "IUPAC letters": ("bedtools/getfasta/test.iupac.bed", "bedtools/getfasta/test.iupac.fa", 2),
    "a BED12": ("pyfaidx/gene.bed12", "pyfaidx/chr17.hg19.part.fa", 1),
}


@needs_shared
@pytest.mark.parametrize(("bed", "fasta", "n_scored"), OTHER_TOOLS.values(), ids=OTHER_TOOLS)
def test_files_of_other_tools_are_scored(score, tmp_path, bed, fasta, n_scored):
    genome = Path(shutil.copy(EDGE_CASES / fasta, tmp_path))  # the index is written beside it
    outcome = score(EDGE_CASES / bed, "--window", 1024, "--stride", 1024, genome=genome, output=tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert reasons(tmp_path / "out") == ["."] * n_scored


# BED, the chromosomes of a FASTA that it could belong to, and how many lines of each fault are told.
FAULTY = {
    "odd names": ("pyfaidx/regions.bed", ("gi|563317589|dbj|AB821309.1|", "gi|543583785|ref|NM_000465.3|"), []),
    "unsorted": ("kent/notSorted.bed", ("Chr_ZW", "SC_0013", "mitochondria"), ["in 1 line", "in 1 line"]),
}


@needs_shared
@pytest.mark.parametrize(("bed", "chroms", "told"), FAULTY.values(), ids=FAULTY)
def test_files_that_trouble_other_tools_are_scored(score, tmp_path, bed, chroms, told):
    genome = write_fasta(tmp_path / "genome.fa", dict.fromkeys(chroms, 6000))
    outcome = score(EDGE_CASES / bed, "-q", "--q", 1, genome=genome, output=tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert set(reasons(tmp_path / "out")) == {"."}
    warnings = outcome.err.splitlines()
    assert len(warnings) == len(told)
    assert all(part in warning for part, warning in zip(told, warnings, strict=True))


@pytest.mark.parametrize(
    "option",
    [
        *(("--format", "npz"), ("--force",), ("--no-resume",)),
        *(("--null-regions", "9"), ("--motifs", "jaspar:fungi"), ("--q", "0.1"), ("--match-p", "1e-3"), ("--tabix",)),
        ("--seed", "1"),
    ],
)
def test_what_a_stream_would_ignore_is_refused(score, option):
    outcome = score("chr1\t40000\t40100\n", *option)
    assert (outcome.code, outcome.out) == (2, "")
    assert option[0] in outcome.err


@pytest.mark.parametrize(
    ("without", "options"),
    [
        (
            ("--null-regions", "0"),
            (("--q", "0.1"), ("--seed", "0"), ("--match-p", "1e-4"), ("--motifs", "jaspar:fungi"), ("--tabix",)),
        ),
        (("--motifs", "none"), (("--match-p", "1e-3"),)),
    ],
)
def test_what_a_run_without_calls_would_ignore_is_refused(score, tmp_path, without, options):
    for option in options:
        outcome = score(BED, *without, *option, output=tmp_path / "out")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(
            f"gexplain: error: {option[0]} has no meaning with {' '.join(without)}, which calls"
        )
        assert outcome.err.endswith(f"    fix: drop {option[0]}\n")
    assert not (tmp_path / "out").exists()


def test_a_stream_looks_up_no_motifs(score, monkeypatch):
    monkeypatch.setattr("gexplain.scoring.load_motifs", lambda *_: pytest.fail("loaded"))
    assert score("chr1\t40000\t40100\n").code == 0


def test_a_blacklist_of_other_names_is_refused(score, tmp_path):
    (tmp_path / "black.bed").write_text("1\t0\t120000\n")
    outcome = score("chr1\t40000\t40100\n", "--blacklist", tmp_path / "black.bed")
    assert outcome.code == 3
    assert "none of the chromosomes of the blacklist" in outcome.err


def test_a_genome_of_rna_is_warned_of(score, tmp_path):
    (tmp_path / "rna.fa").write_text(">chr1\n" + "ACGU" * 100 + "\n")
    outcome = score("chr1\t0\t200\n", genome=tmp_path / "rna.fa", output=tmp_path / "out")
    assert outcome.code == 0
    assert "25% of the bases read are none of A, C, G and T" in outcome.err


def test_a_folder_where_nothing_could_be_scored_is_free_again(score, tmp_path):
    assert score("chr1\t300\t500\n", output=tmp_path / "out").code == 3
    assert score("chr1\t40000\t40100\n", output=tmp_path / "out").code == 0


def test_a_region_of_absurd_numbers_is_told(score):
    outcome = score(None, "-r", "chr1:1-" + "9" * 5000)
    assert (outcome.code, outcome.out) == (3, "")
    assert "not a region" in outcome.err
