"""What tests of the command line share: the command as a shell runs it, in this process or in its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gexplain_cli.main import main


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
