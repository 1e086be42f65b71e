"""What tests of the command line share: the command as a shell runs it, in this process or in its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gexplain_cli.main import main

import gexplain
from gexplain.genome.bigwig import BigWigWriter
from gexplain.genome.shuffle import dinucleotide_shuffle

REGIONS_BED = "chr1\t2000\t8000\tleft\t0\t+\nchr1\t40000\t44000\tright\t0\t-\nchr2\t1000\t3000\t.\t0\t.\n"
READ_BED = "chr1\t1984\t8000\tleft\nchr1\t40000\t44032\tright\nchr2\t960\t3008\tchr2:1001-3000\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command leaves: its exit code, and what it said on each stream."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys) -> Callable[..., Outcome]:
    """The command line in this process: its arguments, and the bytes on standard input."""

    def run_command(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gexplain", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return Outcome(left.value.code, said.out, said.err)

    return run_command


@pytest.fixture
def score(run, test_data) -> Callable[..., Outcome]:
    """`gexplain score` of a BED's text or path, on the test genome with the tiny checkpoint; -o - by default."""

    def run_score(
        regions: str | Path | None, *options: object, genome: Path | None = None, output: object = "-"
    ) -> Outcome:
        """regions: a path, a BED's text for standard input, or None where the options have them."""
        source = [] if regions is None else ["-" if isinstance(regions, str) else regions]
        stdin = regions.encode() if isinstance(regions, str) else b""
        fasta = genome or test_data / "genome.fa"
        model = test_data / "tiny_checkpoint"
        return run("score", *source, fasta, "-m", model, "-o", output, "--target", "promoter", *options, stdin=stdin)

    return run_score


@pytest.fixture(scope="session")
def finished(tmp_path_factory, test_data) -> Path:
    """A folder of regions.bed and of finished runs over it: one (promoter, at --q 1), all (classes), no_null, text.
    read.bed has what the windows of its regions read, under their names.

    The model is random: that files agree can be seen on them, and not that calls are right.
    """
    root = tmp_path_factory.mktemp("finished")
    (root / "regions.bed").write_text(REGIONS_BED)
    (root / "read.bed").write_text(READ_BED)
    small = {"motifs": str(test_data / "motifs.meme"), "match_p": 0.01, "null_regions": 12, "q": 1.0}
    for name, options in {
        "one": small,
        "all": small | {"target": "all"},
        "no_null": {"null_regions": 0},
        "text": small | {"formats": ("bedgraph",)},
    }.items():
        gexplain.score(
            root / "regions.bed",
            test_data / "genome.fa",
            test_data / "tiny_checkpoint",
            output=root / name,
            settings=gexplain.ScoreSettings(**{"target": "promoter", **options}),
        )
    return root


@pytest.fixture(scope="session")
def planted(tmp_path_factory, test_data) -> Path:
    """A folder of planted.bw, noise over chr1 of the test genome that is higher on its planted sites; null.bw, noise
    alone, over null.fa, which is shuffled; and empty.bw, without a value.
    """
    root, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    with gexplain.Genome(test_data / "genome.fa") as genome:
        values = rng.normal(size=genome.chroms["chr1"])
        for line in (test_data / "truth.bed").read_text().splitlines():
            chrom, start, end, *_ = line.split("\t")
            if chrom == "chr1":
                values[int(start) : int(end)] += 4
        with BigWigWriter(root / "planted.bw", genome.chroms) as track:
            track.write("chr1", 0, values.astype(np.float32))
        with BigWigWriter(root / "empty.bw", genome.chroms):
            pass
        pieces = [genome.fetch("chr1", start, start + 2000) for start in range(2000, 102_000, 2000)]
    shuffled = dinucleotide_shuffle(pieces, rng)
    (root / "null.fa").write_text("".join(f">null_{i}\n{piece}\n" for i, piece in enumerate(shuffled)))
    with gexplain.Genome(root / "null.fa") as genome, BigWigWriter(root / "null.bw", genome.chroms) as track:
        for chrom, length in genome.chroms.items():
            track.write(chrom, 0, rng.normal(size=length).astype(np.float32))
    return root


@pytest.fixture
def shell(tmp_path, test_data) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A line of bash in an empty folder with test_data in it; bare `gexplain` is this one, on one thread."""
    (tmp_path / "test_data").symlink_to(test_data, target_is_directory=True)
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
    }

    def run_line(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run_line
