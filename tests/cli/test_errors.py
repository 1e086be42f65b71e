"""Errors as the shell sees them: an exit code, where it is, what was found, what was expected, and the mend."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import SHARED, needs_shared

EDGE_CASES = SHARED / "data" / "edge_cases"

# A mistyped command is told before its user looks away; several times what a quiet machine needs.
PROMPT_S = 0.6


def assert_told(outcome, code: int, *parts: str, mend: str) -> None:
    """One message of all its parts, in order, the mend last; no data, and no traceback."""
    message = outcome.err
    assert (outcome.code, outcome.out) == (code, ""), message
    assert message.startswith("gexplain: error: "), message
    assert message.count("gexplain: ") == 1, message
    head, _, fix = message.partition("\n    fix: ")
    at = 0
    for part in parts:
        assert part in head[at:], f"{part!r} in {message}"
        at = head.index(part, at) + len(part)
    assert mend in fix, message


@pytest.fixture
def place(tmp_path, monkeypatch, test_data) -> Path:
    """The current folder, with genome.fa, the model and one good BED in it, so that messages have short names."""
    monkeypatch.chdir(tmp_path)
    for name in ("genome.fa", "genome.fa.fai"):
        shutil.copy(test_data / name, tmp_path)
    (tmp_path / "model").symlink_to(test_data / "tiny_checkpoint", target_is_directory=True)
    (tmp_path / "good.bed").write_text("chr1\t40000\t40100\n")
    return tmp_path


# ---- malformed lines ----

GOOD = "chr1\t100\t200\n"
MALFORMED = {
    "start after end": ("chr3\t5200\t5100\tpeak_17\n", "start (5200) is greater than end (5100)", "swap columns 2"),
    "negative start": ("chr1\t-5\t100\n", "start (-5) is negative", "the first base of a chromosome is 0"),
    "fraction": ("chr1\t1.5\t100\n", "start (1.5) is not a whole number", "without a fraction"),
    "exponent": ("chr1\t1\t1e6\n", "end (1e6) is in scientific notation", "write out its digits"),
    "commas in a number": ("chr1\t1,000\t2,000\n", "start (1,000) has commas", "without the commas"),
    "beyond BED": ("chr1\t1\t4294967296\n", "end (4294967296) is greater than 4294967295", "correct the number"),
    "no number": ("chr1\ta1\t100\n", "start (a1) is not a number", "write it in digits"),
    "missing end": ("chr1\t5\t\n", "end is missing", "with one tab between them"),
    "missing chrom": (".\t5\t9\n", "chrom is missing", "name the chromosome as the FASTA does"),
    "odd chrom": ("chr1&\t5\t9\n", "chrom 'chr1&' has the character '&'", "name the chromosome"),
    "quotes": ('"chr1"\t5\t9\n', "quotation marks in the first three columns", "quote = FALSE"),
    "two columns": ("chr1\t5\n", "2 columns, expected at least 3", "write chrom, start and end"),
    "csv": ("chr1,5,9\n", "commas between the columns; BED has tabs", "put tabs for the commas"),
    "region text": ("chr1:5-9\n", "a region as text, where BED has three columns", "give it as -r instead"),
    "more columns": ("chr1\t5\t9\tname\n", "4 columns, where the lines before it have 3", "the same columns"),
    "header within": ("chrom\tstart\tend\n", "a header line between the regions", "put # before it"),
}


@pytest.mark.parametrize(("line", "reason", "mend"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_line_is_told_with_its_place_and_its_mend(score, line, reason, mend):
    place = "malformed BED entry at line 3 of standard input: "
    shown = "\n    " + line.strip().replace("\t", "  ")
    assert_told(score("# peaks\n" + GOOD + line), 3, place, reason, shown, mend=mend)


def test_a_malformed_line_tells_how_many_more_there_are(score):
    bad = "chr1\t9\t5\n"
    outcome = score(GOOD + bad + GOOD + bad + bad)
    assert_told(outcome, 3, "at line 2 of", mend="--on-bad-line skip to drop such lines (3 in this file: 2, 4, 5)")


def test_bytes_of_another_encoding_in_a_malformed_line_do_not_break_the_message(score, tmp_path):
    peaks = tmp_path / "peaks.bed"
    peaks.write_bytes(b"chr1\t9\t5\tM\xfcller\n")
    assert_told(score(peaks), 3, "peaks.bed: start (9) is greater", "chr1  9  5  M", mend="swap columns 2 and 3")


def test_a_strand_that_is_none_is_malformed_only_where_strands_are_read(score):
    line = "chr1\t40000\t40100\ta\t0\tminus\n"
    assert_told(score(line, "--strand", "region"), 3, "line 1", "strand 'minus' is none of + - .", mend="column 6")
    assert score(line).code == 0


@needs_shared
@pytest.mark.parametrize("path", sorted((EDGE_CASES / "bed3" / "bad").glob("*")), ids=lambda path: path.name)
def test_every_bad_file_is_refused_and_leaves_no_folder(score, tmp_path, path):
    outcome = score(path, output=tmp_path / "out")
    assert_told(outcome, 3, "malformed BED entry at line ", path.name, mend="--on-bad-line skip")
    assert list(tmp_path.iterdir()) == []


@needs_shared
@pytest.mark.parametrize(
    ("name", "found", "mend"),
    [
        ("kent/endThenStart.bedGraph", "start (200) is greater than end (100)", "swap columns 2 and 3"),
        ("pyfaidx/malformed.bed", "2 columns, expected at least 3", "write chrom, start and end"),
        ("bedtools/getfasta/attr.gff", "looks like a GFF or GTF, not a BED", "column 4 less one is BED's start"),
        ("bedtools/getfasta/t.fa.gz", "looks like a FASTA, not a BED", "are the arguments swapped?"),
        ("kent/testFixed.wig", "looks like a wiggle, not a BED", "give a BED"),
        ("bedtools/general/empty.bed", "no regions", "at least one line"),
    ],
)
def test_files_of_other_tools_that_are_no_regions_are_refused(score, name, found, mend):
    outcome = score(EDGE_CASES / name)
    assert outcome.code == 3
    assert Path(name).name in outcome.err
    assert found in outcome.err
    assert mend in outcome.err.partition("    fix: ")[2]


# ---- inputs that do not fit, told before a model is loaded ----

# The arguments after `gexplain score`, the exit code, the parts of the message in order, and the mend.
REFUSED = {
    "no BED": ("none.bed genome.fa", 3, ("cannot read none.bed", "no such file"), "check the path of the BED"),
    "no FASTA": ("good.bed none.fa", 3, ("cannot read none.fa", "no such file"), "check the path of the FASTA"),
    "a folder for a BED": (". genome.fa", 3, ("cannot read .", "is a directory"), "check the path of the BED"),
    "swapped": (
        "genome.fa good.bed",
        3,
        ("good.bed is not a FASTA", "it begins with 'chr1", "expected >"),
        "are the arguments swapped? gexplain score REGIONS GENOME",
    ),
    "two FASTAs": (
        "genome.fa genome.fa",
        3,
        ("genome.fa looks like a FASTA", "not a BED"),
        "are the arguments swapped?",
    ),
    "gzip FASTA": (
        "good.bed zipped.fa.gz",
        3,
        ("zipped.fa.gz is gzip but not BGZF", "cannot be read from the middle"),
        "gunzip -c zipped.fa.gz | bgzip > zipped.bgz.fa.gz",
    ),
    "truncated gzip": (
        "cut.bed.gz genome.fa",
        3,
        ("cut.bed.gz is truncated or damaged gzip", "after 0 regions"),
        "copy or download it again",
    ),
    "no shared chromosome": (
        "bare.bed genome.fa",
        3,
        ("none of the 2 regions' chromosomes are in genome.fa", "bare.bed has 1, MT", "genome.fa has chr1, chr2"),
        '--chrom-alias chr maps the "chr" prefix (2 of 2 names then match)',
    ),
    "another species": ("worm.bed genome.fa", 3, ("worm.bed has IV",), "the same species and build"),
    "empty BED": ("empty.bed genome.fa", 3, ("empty.bed: no regions",), "at least one line"),
    "comments alone": ("comments.bed genome.fa", 3, ("comments.bed: no regions",), "at least one line"),
    "nothing to score": (
        "skipped.bed genome.fa",
        3,
        ("skipped.bed: no region can be scored, of 3", "2 empty region", "1 past the chromosome's end"),
        "`bedtools slop` widens positions",
    ),
    "unknown chroms": (
        "good.bed genome.fa --chroms chrm",
        3,
        ("--chroms 'chrm' matches no chromosome", "the FASTA has chr1, chr2"),
        "did you mean chrM",
    ),
    "no blacklist": ("good.bed genome.fa --blacklist none.bed", 3, ("cannot read none.bed",), "check the path"),
    "bad blacklist": ("good.bed genome.fa --blacklist bad.bed", 3, ("line 1 of bad.bed",), "swap columns 2 and 3"),
    "no alias file": ("good.bed genome.fa --chrom-alias none", 3, ("cannot read none",), "a text file"),
    "bad alias file": (
        "good.bed genome.fa --chrom-alias empty_alias.txt",
        3,
        ("line 1 of empty_alias.txt has one column", "expected the names of a chromosome"),
        "a tab between them",
    ),
    "region without numbers": (
        "-r chr1:one-two genome.fa",
        3,
        ("not a region: 'chr1:one-two'", "expected chrom:first-last, 1-based"),
        "chr1:1,001-2,000",
    ),
    "region backwards": (
        "-r chr1:200-100 genome.fa",
        3,
        ("not a region: 'chr1:200-100'", "expected 1 <= first <= last", "found 200 and 100"),
        "the first base of a chromosome is 1",
    ),
    "region at 0": ("-r chr1:0-100 genome.fa", 3, ("expected 1 <= first", "found 0 and 100"), "first base"),
    "region and REGIONS": (
        "-r chr1:1-100 good.bed genome.fa",
        2,
        ("-r takes the place of REGIONS", "expected GENOME alone", "found good.bed genome.fa"),
        "gexplain score -r chr1:1,001-2,000 genome.fa",
    ),
    "no GENOME": ("good.bed", 2, ("expected REGIONS and GENOME", "found good.bed"), "or -r CHROM:FIRST-LAST"),
    "too many files": ("good.bed genome.fa x", 2, ("expected REGIONS and", "found good.bed genome.fa x"), "or -r"),
    "unknown format": ("good.bed genome.fa --format wig", 2, ("unknown formats: wig",), "bigwig, bedgraph, npz"),
    "no format": ("good.bed genome.fa --format ,", 2, ("unknown formats: none given",), "bigwig, bedgraph, npz"),
    "strict and lenient": (
        "good.bed genome.fa --strict --on-bad-line skip",
        2,
        ("strict refuses what skipping bad lines would skip",),
        "give one of the two",
    ),
    "standard input twice": (
        "- genome.fa --blacklist -",
        2,
        ("regions and blacklist are both standard input", "read once"),
        "write one of the two to a file",
    ),
    "a model that is not there": ("good.bed genome.fa -m gone", 3, ("gone: no such folder",), "a hub id"),
    "a folder that is no model": (
        "good.bed genome.fa -m .",
        3,
        (".: no weights", "found bad.bed", "expected model.safetensors"),
        "save_pretrained",
    ),
    "unknown target": (
        "good.bed genome.fa --target promotor",
        2,
        ("no target 'promotor'", "the model's classes are background, promoter, enhancer"),
        "an index from 0 to 2, predicted or all",
    ),
    "target index too high": ("good.bed genome.fa --target 3", 2, ("no target '3'",), "an index from 0 to 2"),
    "stride over window": (
        "good.bed genome.fa --window 64 --stride 128",
        2,
        ("--stride 128", "expected 1 to the window's 64"),
        "would leave bases between the windows unscored",
    ),
    "unknown device": ("good.bed genome.fa -d tpu9", 2, ("no device 'tpu9'",), "auto, cpu, cuda or cuda:N"),
    "output empty": ("good.bed genome.fa -o ''", 2, ("-o is empty", "expected a directory"), "a shell variable"),
    "output a file": ("good.bed genome.fa -o bad.bed", 1, ("bad.bed is a file", "expected a directory"), "another"),
    "output below a file": ("good.bed genome.fa -o bad.bed/out", 1, ("bad.bed/out: cannot be written",), "another"),
    "output another folder": (
        "good.bed genome.fa -o thesis",
        1,
        ("thesis is not empty, and holds no gexplain run",),
        "--force to write there (files of other names are kept)",
    ),
    "all targets to stdout": (
        "good.bed genome.fa -o - --target all",
        2,
        ("standard output takes one track, not 3", "background, promoter, enhancer"),
        "give one --target and one strand, or an output directory",
    ),
}
FILES = {
    "bad.bed": "chr1\t9\t5\n",
    "bare.bed": "1\t100\t200\nMT\t100\t200\n",
    "worm.bed": "IV\t100\t200\n",
    "empty.bed": "",
    "comments.bed": "# peaks\ntrack name=peaks\n\n",
    "skipped.bed": "chr1\t5\t5\nchr1\t9\t9\nchr1\t5\t900000\n",
    "empty_alias.txt": "chr1\n",
    "thesis/chapter.tex": "",
}


@pytest.mark.parametrize(("arguments", "code", "parts", "mend"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_scored_is_told_with_its_mend(run, place, arguments, code, parts, mend):
    (place / "thesis").mkdir()
    for name, text in FILES.items():
        (place / name).write_text(text)
    (place / "zipped.fa.gz").write_bytes(gzip.compress((place / "genome.fa").read_bytes()))
    (place / "cut.bed.gz").write_bytes(gzip.compress(GOOD.encode())[:-12])
    before = sorted(place.rglob("*"))
    words = [word.strip("'") for word in arguments.split()]
    for option, value in {"-m": "model", "-o": "out"}.items():
        words += [] if option in words else [option, value]
    assert_told(run("score", *words), code, *parts, mend=mend)
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(run, place):
    (place / "locked").mkdir(mode=0o500)
    outcome = run("score", "good.bed", "genome.fa", "-m", "model", "-o", "locked/out")
    assert_told(outcome, 1, "locked/out: cannot be written", "Permission denied", mend="give another -o")


def test_another_run_s_folder_is_refused_with_what_differs(run, place):
    common = ("score", "good.bed", "genome.fa", "-m", "model", "-o", "out", "-q")
    assert run(*common).code == 0
    manifest = (place / "out" / "manifest.json").read_bytes()
    outcome = run(*common, "--stride", "32")
    assert_told(outcome, 1, "out: a run with other settings is here", "stride: 64 there, 32 now", mend="--force")
    assert (place / "out" / "manifest.json").read_bytes() == manifest


def test_a_folder_in_use_is_refused_even_with_force(run, place):
    import fcntl

    (place / "out" / ".unfinished").mkdir(parents=True)
    with (place / "out" / ".unfinished" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = run("score", "good.bed", "genome.fa", "-m", "model", "-o", "out", "--force")
        assert_told(outcome, 1, "out: another run is writing here", mend="wait for it, or give another -o")


# ---- strictness ----


def test_strict_refuses_regions_that_would_be_skipped(score, tmp_path):
    outcome = score("chr1\t40000\t40100\nchr9\t1\t2\n", "--strict", output=tmp_path / "out")
    parts = ("standard input: --strict, and 1 of 2 regions cannot be scored", "1 chromosome not in the FASTA")
    assert_told(outcome, 4, *parts, mend="mend or remove them")
    assert list(tmp_path.iterdir()) == []


def test_strict_refuses_faults_in_columns_that_are_not_used(score):
    outcome = score("chr1\t40000\t40100\ta\t1451\n", "--strict")
    assert_told(outcome, 3, "line 1 of standard input", "column 5 (score)", "'1451'", mend="mend the column")


def test_strict_refuses_n_alone_after_computing_and_keeps_the_results(score, tmp_path, monkeypatch):
    from gexplain.attribution.explainers import TokenExplainer

    bed, out = "chr1\t300\t500\nchr1\t40000\t40100\n", tmp_path / "out"
    outcome = score(bed, "--strict", "-q", output=out)
    assert_told(outcome, 4, "--strict, and 1 region cannot be scored", "1 no base but N", mend="without --strict")
    assert [path.name for path in out.iterdir()] == [".unfinished"]
    monkeypatch.setattr(TokenExplainer, "compute", lambda *_: pytest.fail("computed again"))
    assert score(bed, "-q", "--no-report", output=out).code == 0


def test_strict_refuses_n_alone_on_a_stream_too(score):
    outcome = score("chr1\t300\t500\nchr1\t40000\t40100\n", "--strict")
    assert outcome.code == 4
    assert "--strict, and 1 region cannot be scored\n    1 no base but N\n" in outcome.err


@pytest.mark.parametrize("output", ["-", "out"])
def test_nothing_but_n_is_told(score, tmp_path, output):
    outcome = score("chr1\t300\t500\n", "-q", output=output if output == "-" else tmp_path / output)
    assert_told(outcome, 3, "standard input: every window of the regions is N alone", mend="check the regions")


# ---- the process ----


def seconds_at_best(command: list[str], code: int, runs: int = 5) -> float:
    """The processor's time of the shortest of up to some runs; the first that is prompt will do.

    By the clock, a busy machine would be measured.
    """
    best = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if best < PROMPT_S:
            break
    return best


# What each command line does in a fresh process, and its exit code; it ends by telling whether torch was loaded.
PROMPT = {
    "import": ("import gexplain", 0),
    "help": ("sys.argv = ['gexplain', '--help']; main()", 0),
    "help of score": ("sys.argv = ['gexplain', 'score', '--help']; main()", 0),
    "BED error": ("sys.argv = ['gexplain', 'score', 'bad.bed', 'genome.fa', '-m', 'model', '-o', 'out']; main()", 3),
}


@pytest.mark.parametrize(("code", "exit_code"), PROMPT.values(), ids=PROMPT)
def test_what_needs_no_model_loads_no_torch(place, code, exit_code):
    (place / "bad.bed").write_text(FILES["bad.bed"])
    told = "atexit.register(lambda: print('torch' in sys.modules, 'transformers' in sys.modules))"
    command = [sys.executable, "-c", f"import atexit, sys; from gexplain_cli import main; {told}; {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (exit_code, "False False")


@pytest.mark.parametrize(("code", "exit_code"), PROMPT.values(), ids=PROMPT)
def test_what_needs_no_model_is_prompt(place, code, exit_code):
    (place / "bad.bed").write_text(FILES["bad.bed"])
    imports = "import sys" if code.startswith("import") else "import sys; from gexplain_cli import main"
    assert seconds_at_best([sys.executable, "-c", f"{imports}; {code}"], exit_code) < PROMPT_S
