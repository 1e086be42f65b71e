"""How a run scales: seconds and peak memory against regions, window length and shards. Writes the figures of docs/.

    python benchmarks/scaling.py [regions] [windows] [shards] [--quick] [--out docs/images]

Every point is a `gexplain score` (or merge) in a process of its own, whose peak memory the system tells when it ends.
What was measured is kept in OUT/scaling.tsv, a line a point: give the same command again and it goes on, or redraws;
remove lines to measure them again. Points follow one another on one machine, which should do nothing else; in all
about 25 minutes on 2 cores.

regions: human-tf over 100 to 100,000 peaks of a random genome, as it comes: both strands, null, calls and report.
windows: DNABERT-2's size with random weights, windows of 128 to 10,000 bases of one strand, tracks alone; in batches
of the size that is found (--batch-size auto), and a window at a time.
shards: human-tf, the run in 1 to 8 shards, one after another, and their merge, against the same run in one piece.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs" / "images"
COLUMNS = ("figure", "series", "x", "seconds", "peak_MB")
PEAK, SPACING = 101, 300
N_REGIONS = (100, 1_000, 10_000, 100_000)
WIDTHS = (128, 256, 512, 1_000, 2_000, 5_000, 10_000)
N_SHARDS = (1, 2, 4, 8)
BASES_OF_WINDOWS, REGIONS_OF_SHARDS = 40_000, 5_000


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: seconds and megabytes of a series of a figure, at x."""

    figure: str
    series: str
    x: int
    seconds: float
    peak_mb: float


class Points:
    """What has been measured, on disk after every point."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._points: dict[tuple[str, str, int], Point] = {}
        if path.exists():
            with path.open(newline="") as file:
                for row in csv.DictReader(file, delimiter="\t"):
                    seconds, peak = float(row["seconds"]), float(row["peak_MB"])
                    self._keep(Point(row["figure"], row["series"], int(row["x"]), seconds, peak))

    def has(self, figure: str, series: Sequence[str], x: int) -> bool:
        return all((figure, one, x) in self._points for one in series)

    def add(self, point: Point) -> None:
        self._keep(point)
        lines = ["\t".join(COLUMNS)]
        lines += [f"{p.figure}\t{p.series}\t{p.x}\t{p.seconds:.3f}\t{p.peak_mb:.1f}" for p in self._points.values()]
        self._path.write_text("\n".join(lines) + "\n")
        print(
            f"{point.figure:8} {point.series:34} {point.x:8,} {point.seconds:9.1f} s {point.peak_mb:8.0f} MB",
            flush=True,
        )

    def line(self, figure: str, series: str) -> tuple[list[int], list[float], list[float]]:
        """x, seconds and megabytes of a series, sorted by x."""
        found = sorted(
            (p.x, p.seconds, p.peak_mb) for p in self._points.values() if (p.figure, p.series) == (figure, series)
        )
        return [one[0] for one in found], [one[1] for one in found], [one[2] for one in found]

    def _keep(self, point: Point) -> None:
        self._points[point.figure, point.series, point.x] = point


def run(*words: object) -> tuple[float, float]:
    """Seconds and peak megabytes of a gexplain command in a process of its own."""
    command = [sys.executable, "-c", "from gexplain_cli import main; main()", *map(str, words)]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            said.seek(0)
            code = os.waitstatus_to_exitcode(status)
            raise SystemExit(f"it failed with {code}: gexplain {' '.join(map(str, words))}\n{said.read()}")
    return time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def make_inputs(folder: Path, n_regions: int, width: int, spacing: int) -> tuple[Path, Path]:
    """Regions of one width, evenly over a random chromosome."""
    length = n_regions * spacing + width
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, length)]
    genome, regions = folder / f"genome_{n_regions}_{width}.fa", folder / f"regions_{n_regions}_{width}.bed"
    genome.write_bytes(b">chr1\n" + letters.tobytes() + b"\n")
    regions.write_text("".join(f"chr1\t{i * spacing}\t{i * spacing + width}\n" for i in range(n_regions)))
    return regions, genome


# ---- What is measured ----


def measure_regions(points: Points, quick: bool) -> None:
    for n_regions in N_REGIONS[: 2 if quick else None]:
        if not points.has("regions", ["run"], n_regions):
            with tempfile.TemporaryDirectory() as name:
                inputs = make_inputs(Path(name), n_regions, PEAK, SPACING)
                seconds, peak = run("score", *inputs, "-m", "human-tf", "-o", Path(name) / "out", "-q")
            points.add(Point("regions", "run", n_regions, seconds, peak))


def measure_windows(points: Points, quick: bool) -> None:
    batches = {"batches of the size found": "auto", "a window at a time": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = None
        for width in WIDTHS[: 2 if quick else None]:
            for series, batch_size in batches.items():
                if points.has("windows", [series], width):
                    continue
                model = model or make_model(folder.resolve())
                n_bases = BASES_OF_WINDOWS // (8 if quick else 1)
                n_regions = max(2, n_bases // width // (1 if batch_size == "auto" else 4))
                inputs = make_inputs(folder, n_regions, width, width)
                words = (
                    "--window",
                    width,
                    "--strand",
                    "forward",
                    "--null-regions",
                    0,
                    "--no-report",
                    "-b",
                    batch_size,
                )
                _, peak = run("score", *inputs, "-m", model, "-o", folder / "out", "-q", "--force", *words)
                seconds = json.loads((folder / "out" / "manifest.json").read_text())["seconds"]["windows"]
                points.add(Point("windows", series, width, 1_000 * seconds / (n_regions * width), peak))


def make_model(folder: Path) -> Path:
    """A checkpoint of DNABERT-2's size, of random weights; its tokens are as long as DNABERT-2's own."""
    # Not in this process: what it holds when a child begins, the system counts as the child's.
    subprocess.run([sys.executable, "-c", _MAKE_MODEL, folder / "model"], check=True, cwd=Path(__file__).parent)
    return folder / "model"


_MAKE_MODEL = """
import sys
from pathlib import Path
import torch
from benchmark_model import CONFIG
from gexplain.models.bundled import bundled_folder
from gexplain.models.checkpoint import random_state, save_checkpoint
state = random_state(CONFIG, torch.Generator().manual_seed(0))
tokenizer = bundled_folder("human-tf") / "tokenizer.json"
labels, head = ("none", "positive"), "classification"
save_checkpoint(Path(sys.argv[1]), state, CONFIG, labels=labels, head=head, tokenizer_file=tokenizer)
"""


def measure_shards(points: Points, quick: bool) -> None:
    n_regions = REGIONS_OF_SHARDS // (25 if quick else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        regions, genome = make_inputs(folder, n_regions, PEAK, SPACING)
        words = (regions, genome, "-m", "human-tf", "-q")
        if not points.has("shards", [ONE_RUN], 1):
            points.add(Point("shards", ONE_RUN, 1, *run("score", *words, "-o", folder / "one")))
        for n_shards in N_SHARDS[: 2 if quick else None]:
            if points.has("shards", [LONGEST, ALL_SHARDS, MERGE], n_shards):
                continue
            outs = [folder / f"{n_shards}_{nth}" for nth in range(1, n_shards + 1)]
            found = [
                run("score", *words, "-o", out, "--shard", f"{nth}/{n_shards}") for nth, out in enumerate(outs, 1)
            ]
            seconds, peaks = zip(*found, strict=True)
            points.add(Point("shards", LONGEST, n_shards, max(seconds), max(peaks)))
            points.add(Point("shards", ALL_SHARDS, n_shards, sum(seconds), max(peaks)))
            merged = folder / f"merged_{n_shards}"
            points.add(Point("shards", MERGE, n_shards, *run("merge", *outs, "-o", merged, "-q")))


ONE_RUN, LONGEST, ALL_SHARDS, MERGE = "one run", "the longest shard", "all shards together", "merge"
FIGURES = {"regions": measure_regions, "windows": measure_windows, "shards": measure_shards}


# ---- Figures ----


def draw(points: Points, figure: str, path: Path) -> None:
    """Two panels: seconds and megabytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 11, "axes.titlesize": 12, "svg.hashsalt": "gexplain"}):
        drawing = Figure(figsize=(10, 4), dpi=150, layout="constrained")
        FigureCanvasAgg(drawing)
        left, right = drawing.subplots(1, 2)
        for series, style in SERIES[figure].items():
            x, seconds, peaks = points.line(figure, series)
            left.plot(x, seconds, label=series, **style)
            right.plot(x, peaks, label=series, **style)
        x_label, title = LABELS[figure]
        for panel in (left, right):
            panel.set(xscale="log", xlabel=x_label, xticks=x_ticks(points, figure))
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.{0 if value == int(value) else 1}f}")
            panel.minorticks_off()
            panel.set_ylim(0, 1.1 * panel.dataLim.y1)
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        if figure == "regions":
            left.set(yscale="log", ylim=(1, 2 * left.dataLim.y1))
            left.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            x, seconds, _ = points.line(figure, "run")
            left.plot(
                x,
                [seconds[-1] * one / x[-1] for one in x],
                label="in proportion to the regions",
                color="#999999",
                linestyle=":",
            )
        left.set_title(title)
        right.set_title("peak memory of a process, MB")
        left.legend(frameon=False)
        drawing.savefig(path, format="png", metadata={"Software": None})


def x_ticks(points: Points, figure: str) -> list[int]:
    return sorted({x for series in SERIES[figure] for x in points.line(figure, series)[0]})


_LINE: dict[str, Any] = {"marker": "o", "linewidth": 1.8}
SERIES: dict[str, dict[str, dict[str, Any]]] = {
    "regions": {"run": _LINE | {"color": "#0072B2"}},
    "windows": {
        "batches of the size found": _LINE | {"color": "#0072B2"},
        "a window at a time": _LINE | {"color": "#E69F00"},
    },
    "shards": {
        ONE_RUN: _LINE | {"color": "#555555", "marker": "D", "linestyle": "none"},
        ALL_SHARDS: _LINE | {"color": "#0072B2"},
        LONGEST: _LINE | {"color": "#56B4E9"},
        MERGE: _LINE | {"color": "#D55E00"},
    },
}
LABELS = {
    "regions": ("regions", "seconds of a run"),
    "windows": ("bases of a window", "seconds of 1,000 bases, one strand"),
    "shards": ("shards", "seconds"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], default=[], metavar="FIGURE")
    parser.add_argument("--quick", action="store_true", help="few and small points, to try it; give another --out")
    parser.add_argument("--out", type=Path, default=DOCS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    points = Points(options.out / "scaling.tsv")
    for figure in options.figures or FIGURES:
        FIGURES[figure](points, options.quick)
        draw(points, figure, path := options.out / f"scaling_{figure}.png")
        print(path)


if __name__ == "__main__":
    main()
