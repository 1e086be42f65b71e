"""gexplain among other programs: pipes, readers that leave, streams that are closed or full, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pyBigWig
import pytest

needs_bedtools = pytest.mark.skipif(shutil.which("bedtools") is None, reason="needs bedtools on the PATH")

# More bedGraph than a pipe holds (64 KiB), so that a writer meets the end of its reader.
MUCH = "gexplain score -r chr1:40,001-46,000 test_data/genome.fa -m test_data/tiny_checkpoint --stride 128 -o -"
LITTLE = "gexplain score -r chr1:40,001-40,100 test_data/genome.fa -m test_data/tiny_checkpoint -o -"


def statuses(done: subprocess.CompletedProcess[str]) -> list[int]:
    """The PIPESTATUS that a line of bash wrote as its last line of standard error."""
    return [int(word) for word in done.stderr.splitlines()[-1].split()]


TELL = '; echo "${PIPESTATUS[@]}" >&2'


# ---- pipes ----


@needs_bedtools
def test_a_pipeline_from_bedtools_to_head_ends_quietly(shell):
    done = shell(
        "head -20 test_data/truth.bed | bedtools slop -b 100 -i - -g test_data/genome.fa.fai"
        " | gexplain score - test_data/genome.fa -m test_data/tiny_checkpoint -o - | sort -k4,4gr | head -5" + TELL
    )
    assert statuses(done)[:3] == [0, 0, 0]
    assert len(done.stderr.splitlines()) == 1  # the statuses alone
    values = [float(line.split("\t")[3]) for line in done.stdout.splitlines()]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)


@needs_bedtools
def test_bedtools_reads_the_stream_as_bedgraph(shell):
    done = shell(f"{LITTLE} | bedtools merge -i - -d 0")
    assert done.stdout == "chr1\t39986\t40114\n"


def test_a_reader_that_leaves_ends_the_run_as_it_ends_a_c_tool(shell):
    done = shell(f"{MUCH} | head -1{TELL}")
    assert (statuses(done), len(done.stderr.splitlines())) == ([141, 0], 1)


def test_a_reader_of_model_that_leaves_is_no_error_message(shell):
    done = shell(f"gexplain model test_data/tiny_checkpoint | true{TELL}")
    assert (statuses(done)[0], len(done.stderr.splitlines())) == (141, 1)


def test_the_stream_is_valid_bedgraph_in_the_order_of_the_fasta(shell, test_data):
    done = shell(
        "gexplain score test_data/clean_regions.bed test_data/genome.fa -m test_data/tiny_checkpoint -q"
        " --chroms chr2,chr10,chrM -o -"
    )
    order = [line.split("\t")[0] for line in (test_data / "genome.fa.fai").read_text().splitlines()]
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(line) for line in lines} == {4}
    assert {chrom for chrom, *_ in lines} == {"chr2", "chr10", "chrM"}
    stretches = [(order.index(chrom), int(start), int(end)) for chrom, start, end, _ in lines]
    assert all(start < end for _, start, end in stretches)
    assert all((chrom, end) <= after[:2] for (chrom, _, end), after in pairwise(stretches))
    assert np.isfinite([float(value) for *_, value in lines]).all()


def test_regions_come_through_process_substitution(shell):
    done = shell(
        "gexplain score <(printf 'chr1\\t40000\\t40100\\n') test_data/genome.fa -m test_data/tiny_checkpoint -o -"
    )
    assert done.returncode == 0
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert (lines[0][1], lines[-1][2]) == ("39986", "40114")  # one window, of 128 bases


# ---- streams that are closed or full ----


def test_a_full_disk_behind_standard_output_is_one_message(shell):
    done = shell(f"{MUCH} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("gexplain: error: cannot write <stdout>: no space left on device\n    fix: ")
    assert "Traceback" not in done.stderr


def test_help_to_a_full_disk_is_one_message(shell):
    done = shell("gexplain --help > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "gexplain: error: the system refused: [Errno 28] No space left on device\n    fix: "
    )


def test_a_run_with_closed_standard_output_succeeds(shell, tmp_path):
    done = shell(LITTLE.replace("-o -", "-o out --null-regions 0 -q") + " >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_closed_standard_input_has_no_regions(shell):
    done = shell("gexplain score - test_data/genome.fa -m test_data/tiny_checkpoint -o - <&-")
    assert done.returncode == 3
    assert done.stderr.startswith("gexplain: error: standard input: no regions\n    fix: ")


# ---- Ctrl-C ----


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, test_data):
    """(command, folder, exit code, standard error) of a run that got Ctrl-C in its middle."""
    out = tmp_path_factory.mktemp("interrupted") / "out"
    options = ["--target", "promoter", "--window", "64", "--stride", "16", "-b", "1", "--null-regions", "0"]
    arguments = ["-r", "chrM", str(test_data / "genome.fa"), "-m", str(test_data / "tiny_checkpoint"), *options]
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from gexplain_cli import main; main()"
    command = [sys.executable, "-c", code, "score", *arguments, "-o", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        deadline = time.monotonic() + 60
        while not (out / ".unfinished" / "windows.sqlite").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        said, told = run.communicate(timeout=60)
    assert said == ""
    return command, out, run.returncode, told


def test_ctrl_c_exits_130_and_names_how_to_go_on(interrupted):
    command, _, code, told = interrupted
    again = shlex.join(["gexplain", *command[3:]])
    expected = f"gexplain: error: interrupted\n    fix: to go on, the same regions again: {again}\n"
    assert (code, told) == (130, expected)


def test_ctrl_c_leaves_what_can_be_resumed_and_no_final_file(interrupted):
    _, out, _, _ = interrupted
    assert [path.name for path in out.iterdir()] == [".unfinished"]


def test_after_ctrl_c_the_same_command_finishes(interrupted, tmp_path):
    command, out, _, _ = interrupted
    resumed = tmp_path / "out"
    shutil.copytree(out, resumed)
    same = [*command[:-1], str(resumed)]
    subprocess.run(same, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert not (resumed / ".unfinished").exists()
    assert json.loads((resumed / "manifest.json").read_text())["regions"]["scored"] == 1
    with pyBigWig.open(str(resumed / "tracks" / "promoter.bw")) as track:
        assert not np.isnan(track.values("chrM", 0, 5000)).any()
