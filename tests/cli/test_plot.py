"""`gexplain plot`: the figure's file, and clear words where there can be none."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

HEAVY = "import sys; print('heavy', {'torch', 'transformers', 'pandas'} & {*sys.modules})"


def test_a_figure_is_written_and_its_path_printed(run, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("plot", finished / "all", "-r", "chr1:2,001-2,100", "--dpi", 60)
    assert (done.code, done.out, done.err) == (0, "chr1_2001-2100.png\n", "")
    assert (tmp_path / "chr1_2001-2100.png").read_bytes().startswith(b"\x89PNG")


def test_a_region_is_found_by_its_name(run, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("plot", finished / "one", "-r", "left", "--flank", 50, "--dpi", 60)
    assert (done.code, done.out) == (0, "chr1_1951-8050.png\n")


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("pdf", b"%PDF-"), ("png", b"\x89PNG")])
def test_the_suffix_gives_the_format(run, finished, tmp_path, suffix, magic):
    path = tmp_path / f"figure.{suffix}"
    done = run("plot", finished / "one", "-r", "right", "-o", path, "--width-mm", 89, "--dpi", 60)
    assert (done.code, done.out) == (0, f"{path}\n")
    assert path.read_bytes().startswith(magic)


def test_options_choose_what_is_shown(run, finished, tmp_path):
    (tmp_path / "genes.gtf").write_text('1\tx\texon\t2101\t2300\t.\t+\t.\tgene_id "G"; transcript_id "T";\n')
    path = tmp_path / "figure.svg"
    words = ["--track", "coverage", "--track", "promoter", "--genes", tmp_path / "genes.gtf"]
    done = run("plot", finished / "all", "-r", "chr1:2,001-2,400", "-o", path, *words)
    assert (done.code, done.err) == (0, f"gexplain: chr1 is called 1 in {tmp_path / 'genes.gtf'}\n")
    shown = {one.text for one in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")}
    assert {"coverage", "promoter", "G", "genes"} <= shown
    assert "background" not in shown
    assert run("plot", finished / "all", "-r", "chr1:2,001-2,400", "-o", path, *words, "-q").err == ""


def test_aliases_name_the_chromosomes_of_the_genes(run, finished, tmp_path):
    (tmp_path / "genes.bed").write_text("NC_1\t2100\t2300\tG\t0\t+\t2100\t2300\t0\t1\t200,\t0,\n")
    (tmp_path / "alias.txt").write_text("chr1\tNC_1\n")
    words = [
        "plot",
        finished / "one",
        "-r",
        "chr1:2,001-2,400",
        "-o",
        tmp_path / "f.svg",
        "--genes",
        tmp_path / "genes.bed",
    ]
    done = run(*words)
    assert (done.code, "nor any other of the genome" in done.err) == (3, True)
    assert not (tmp_path / "f.svg").exists()
    done = run(*words, "--chrom-alias", tmp_path / "alias.txt")
    assert (done.code, "chr1 is called NC_1" in done.err) == (0, True)


@pytest.mark.parametrize(
    ("words", "code", "found"),
    [
        (["-r", "chr9:1-9"], 3, "no chromosome 'chr9'; its genome has chr1"),
        (["-r", "chr1:1-100"], 3, "nothing was scored in chr1:1-100"),
        (["-r", "chr1:1-999,999,999"], 3, "is not inside chr1"),
        (["-r", "nowhere"], 3, "no region of"),
        (["-r", "left", "-o", "figure.gif"], 2, "the suffix '.gif'; expected one of .png, .svg, .pdf"),
        (["-r", "left", "-r", "right"], 2, "a figure shows one place; found 2 times -r: left, right"),
        (["-r", "left", "--track", "nothing"], 2, "no track 'nothing'"),
        (["-r", "left", "--genes", "nothing.gtf"], 3, "cannot read nothing.gtf"),
        (["-r", "left", "--chrom-alias", "a.txt"], 2, "--chrom-alias names the chromosomes of --genes"),
        (["-r", "left", "--width-mm", "3"], 2, "--width-mm"),
        ([], 2, "Missing option '-r'"),
    ],
)
def test_what_cannot_be_drawn_is_named(run, finished, tmp_path, monkeypatch, words, code, found):
    monkeypatch.chdir(tmp_path)
    done = run("plot", finished / "one", *words)
    assert (done.code, done.out) == (code, "")
    assert found in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_bigwigs_is_named(run, finished):
    done = run("plot", finished / "text", "-r", "left")
    assert (done.code, "has no bigWigs to draw from" in done.err) == (2, True)
    assert "--format bigwig" in done.err


def test_what_is_no_run_is_named(run, tmp_path):
    done = run("plot", tmp_path, "-r", "left")
    assert (done.code, "holds no gexplain run" in done.err) == (3, True)


def test_a_genome_that_was_moved_is_asked_for(run, finished, tmp_path, test_data):
    """Letters need it, and bars do not."""
    import shutil

    shutil.copytree(finished / "one", tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    (tmp_path / "out" / "manifest.json").write_text(manifest.replace(str(test_data / "genome.fa"), "/gone/genome.fa"))
    words = ["plot", tmp_path / "out", "-r", "chr1:2,001-2,050", "-o", tmp_path / "figure.svg"]
    done = run(*words)
    assert (done.code, "--genome FASTA" in done.err) == (3, True)
    assert run(*words, "--genome", test_data / "genome.fa").code == 0
    assert run(*words, "--letters", 0).code == 0


def test_a_figure_loads_neither_torch_nor_pandas(finished, tmp_path):
    words = ["plot", str(finished / "one"), "-r", "left", "-o", str(tmp_path / "f.png"), "--dpi", "60"]
    for arguments in (words, ["plot", "--help"]):
        code = f"from gexplain_cli.main import cli; cli.main({arguments}, standalone_mode=False); {HEAVY}"
        heavy = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        assert heavy.splitlines()[-1] == "heavy set()"
    assert (tmp_path / "f.png").exists()
