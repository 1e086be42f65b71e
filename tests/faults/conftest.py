"""The run that all others must equal, however they came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_runs import Ended, contents, count_events, run

# 32 windows, in 8 pools.
REGIONS = "chr1\t40000\t41300\ta\t0\t+\nchr2\t1000\t1700\t.\t0\t.\n"


@dataclass(frozen=True, slots=True)
class Whole:
    """An uninterrupted run: its files, and how many events it had that `die_at_event` counts."""

    folder: Path
    files: dict[str, bytes]
    n_events: int

    @property
    def files_without_report(self) -> dict[str, bytes]:
        return {name: held for name, held in self.files.items() if name != "quality.json"}


@pytest.fixture(scope="session")
def regions(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("regions") / "regions.bed"
    path.write_text(REGIONS)
    return path


@pytest.fixture(scope="session")
def words(regions, test_data) -> Callable[..., list[object]]:
    """`gexplain score` into a folder, with more options."""
    called = ["--motifs", test_data / "motifs.meme", "--match-p", 0.01, "--null-regions", 6, "--q", 1]

    def score_into(out: Path, *options: object) -> list[object]:
        model = ["-m", test_data / "tiny_checkpoint", "--target", "promoter"]
        return [
            "score",
            regions,
            test_data / "genome.fa",
            *model,
            "-o",
            out,
            *called,
            "--batch-size",
            1,
            "-p",
            1,
            "-q",
            *options,
        ]

    return score_into


@pytest.fixture(scope="session")
def whole(words, tmp_path_factory) -> Whole:
    root = tmp_path_factory.mktemp("whole")
    # The second run of all finds indices and byte code made.
    for name in ("first", "run"):
        n_events = root / f"{name}.n"
        ended = run(*words(root / name), sabotage=count_events, given=[str(n_events)])
        assert ended.code == 0, ended.err
    assert contents(root / "first") == contents(root / "run")
    return Whole(root / "run", contents(root / "run"), int(n_events.read_text()))


@pytest.fixture
def score(words, tmp_path) -> Callable[..., Ended]:
    """`gexplain score` into tmp_path/out, to its end, without a report."""

    def run_score(*options: object, sabotage: Callable[..., None] | None = None, given: tuple = ()) -> Ended:
        return run(*words(tmp_path / "out", "--no-report", *options), sabotage=sabotage, given=given)

    return run_score
