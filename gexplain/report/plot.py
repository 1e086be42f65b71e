"""A figure of one place for a paper or a talk: relevance, prediction, hits and genes, as PNG, SVG or PDF.

It is laid out in millimetres from top to bottom: class by class, then regions, genes and coordinates. Relevance
tracks share one scale. Text stays text, in fonts that a journal takes and a drawing program can edit.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gexplain.errors import UsageError, count
from gexplain.genome.genes import one_per_gene, read_genes
from gexplain.genome.intervals import Interval, format_region
from gexplain.genome.tracks import partial_path, write_error
from gexplain.report.plot_content import Columns, Feature, Group, choose_tracks, chroms_of, read_groups, read_regions
from gexplain.report.plot_panels import (
    BOX_LANE,
    GENE_LANE,
    HIT_COLORS,
    LABEL_INK,
    LABEL_SIZE,
    MM,
    NAME_SIZE,
    REGION_COLORS,
    SEQLET_LANE,
    SMALL_SIZE,
    Sheet,
    clean,
    draw_area,
    draw_bands,
    draw_bars,
    draw_boxes,
    draw_genes,
    draw_letters,
    draw_position_axis,
    draw_seqlets,
    draw_sequence,
    draw_value_axis,
    lanes_of,
    place_boxes,
    place_genes,
    shorten,
    signed_ticks,
    text_width,
    value_range,
    without_names,
)
from gexplain.report.svg import GREEN, MUTED
from gexplain.run_folder import Run, open_genome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
MOST_LETTERS = 200
"""Bases up to which relevance is drawn in letters, if each has LETTER_MM at least."""
LETTER_MM = 0.6
MOST_GROUPS = 40
"""Classes in a figure; more would be metres high."""
MOST_TRANSCRIPTS = 4
"""Up to which every transcript is drawn; of more, one a gene."""

_SEQUENCE_MM = 1.25  # a letter narrower than that is not read
_EDGE = 2.0  # mm around everything
_LONGEST_NAME = 34.0  # mm
_TICKS = 8.5  # mm for the numbers at a scale
_LEAST_PANEL = 15  # mm
_VECTOR_DPI = 300  # columns an inch at least: SVG and PDF have no pixels
_MOST_BANDS = 40
_MOST_PIXELS = 3e8

# What all journals take, then what has the same widths, then what matplotlib brings.
_FONTS = ("Arial", "Helvetica", "Liberation Sans", "Nimbus Sans", "DejaVu Sans")
_SVG_FONTS = ", ".join(f"'{name}'" for name in _FONTS) + ", sans-serif"
_SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "gexplain",  # the same figure gives the same bytes
    "axes.unicode_minus": True,
    "path.simplify": False,
}


@dataclass(frozen=True, slots=True)
class PlotSettings:
    """What a figure shows and how: the options of `gexplain plot`.

    tracks: names of classes or track files, in order; none is every class. genes: a GTF, GFF3 or BED12. alias: of the
    chromosomes in it. genome: where the run's FASTA is now, for the letters. letters: up to how many bases relevance
    is drawn in letters; None is MOST_LETTERS, and fewer in a narrow figure. dpi: of a PNG.
    """

    tracks: Sequence[str] = ()
    genes: str | os.PathLike[str] | None = None
    alias: Mapping[str, str] | None = None
    genome: str | os.PathLike[str] | None = None
    letters: int | None = None
    width_mm: float = 180.0
    dpi: int = 300


def plot_region(
    run: Run, interval: Interval, output: str | os.PathLike[str], settings: PlotSettings | None = None
) -> list[str]:
    """Write the figure of an interval of a finished run to `output`; returns what is to be told of it, in words.

    The suffix of `output` gives the format: .png, .svg or .pdf. Raises UsageError for another, and for a track that
    the run has not; InputError where nothing was scored, and for genes that cannot be read; RunError where the file
    cannot be written.
    """
    path = Path(output)
    check_suffix(path)
    settings = settings or PlotSettings()
    with drawing():
        figure, notes = draw_region(run, interval, settings)
        _save(figure, path, settings.dpi, format_region(interval))
    return notes


def check_suffix(path: Path) -> None:
    """Refuse a name whose suffix is none of SUFFIXES, with a UsageError."""
    if path.suffix.lower() not in SUFFIXES:
        found = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise UsageError(
            f"{path} has {found}; expected one of {', '.join(SUFFIXES)}",
            hint=f"-o {path.with_suffix('.png') if path.name not in ('', '-') else 'figure.png'}",
        )


def default_name(interval: Interval) -> str:
    """The figure's file where none is named: chr1_1001-2000.png; characters that do not belong in names become _."""
    chrom = re.sub(r"[^\w.+-]+", "_", interval.chrom, flags=re.ASCII).strip(".") or "_"
    return f"{chrom}_{interval.start + 1}-{interval.end}.png"


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's settings for the figure, while it is drawn and saved."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    fonts = [name for name in _FONTS if name in installed]
    with matplotlib.rc_context({**_SETTINGS, "font.family": fonts}), warnings.catch_warnings():
        # A name may be of any script: what no font has a shape for is an empty box, and in an SVG still the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def draw_region(run: Run, interval: Interval, settings: PlotSettings) -> tuple[Figure, list[str]]:
    """The figure, and what is to be told of it, in words; within `drawing`. Errors are those of `plot_region`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = choose_tracks(run, settings.tracks)
    if len(chosen) > MOST_GROUPS:
        raise UsageError(
            f"a figure holds {MOST_GROUPS} classes, found {len(chosen)}", hint="choose among them with --track NAME"
        )
    # The height is known when all rows are.
    figure = Figure(figsize=(settings.width_mm / MM, 1), dpi=settings.dpi)
    FigureCanvasAgg(figure)
    sheet = _sheet(figure, interval, [one.name for one in chosen])
    most = settings.letters if settings.letters is not None else min(MOST_LETTERS, int(sheet.width / LETTER_MM))
    is_lettered = interval.width <= most and any(one.relevance for one in chosen)
    n_columns = round(sheet.width / MM * max(settings.dpi, _VECTOR_DPI))
    groups = read_groups(run, interval, chosen, max(n_columns, most))
    sequence = ""
    if is_lettered:
        with open_genome(run, settings.genome) as genome:
            sequence = genome.fetch(interval)
    rows, notes = _Rows(sheet), list[str]()
    scale = value_range([group.relevance for group in groups if group.relevance is not None])
    is_probability = run.manifest["model"]["head"] != "regression"
    for number, group in enumerate(groups):
        _add_values(rows, group, f"relevance-{number}", sequence, scale, len(groups))
        notes += _add_calls(rows, group)
        if group.prediction is not None:
            _add_area(rows, group, group.prediction, is_probability=is_probability)
        if group.coverage is not None:
            _add_area(rows, group, group.coverage, is_probability=False)
    if sequence and sheet.width / interval.width >= _SEQUENCE_MM:
        rows.space(3.0)
        rows.add(2.2, lambda axes: draw_sequence(axes, sequence, interval.start), note="sequence", gap=1.5)
    rows.space(1.5 if sequence else 3.0)
    regions = read_regions(run, interval)
    notes += _add_boxes(rows, regions, "regions", REGION_COLORS)
    if settings.genes is not None:
        notes += _add_genes(rows, run, interval, settings)
    rows.add(8.0, lambda axes: draw_position_axis(axes, sheet, f"Position on {clean(interval.chrom)} (bp)"), gap=0)
    rows.draw()
    return figure, notes


# ---- Rows, from top to bottom ----


@dataclass(frozen=True, slots=True)
class _Row:
    height: float
    draw: Callable[[Axes], None]
    name: str
    note: str
    gap: float


class _Rows:
    """Panels below one another, drawn when all are known: the figure is then as high as they are."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self._rows: list[_Row] = []

    def add(
        self, height: float, draw: Callable[[Axes], None], *, name: str = "", note: str = "", gap: float = 0.8
    ) -> None:
        """A panel of so many mm, and a gap below it. name: of a class, bold; note: what the panel shows."""
        self._rows.append(_Row(height, draw, name, note, gap))

    def space(self, gap: float) -> None:
        """At least this gap below the last panel."""
        if self._rows:
            self._rows[-1] = replace(self._rows[-1], gap=max(gap, self._rows[-1].gap))

    def draw(self) -> None:
        """Give the figure its height and draw all panels."""
        figure = self.sheet.figure
        height = 2 * _EDGE + sum(row.height + row.gap for row in self._rows)
        figure.set_size_inches(figure.get_size_inches()[0], height / MM)
        n_pixels = float(np.prod(figure.get_size_inches())) * figure.dpi**2
        if n_pixels > _MOST_PIXELS:
            raise UsageError(
                f"the figure would have {n_pixels / 1e6:,.0f} million pixels; {_MOST_PIXELS / 1e6:.0f} are the most",
                hint="a lower --dpi, or fewer tracks (--track NAME)",
            )
        top, right = _EDGE, self.sheet.left - _TICKS
        for row in self._rows:
            axes = self.sheet.panel(top, row.height)
            axes.set_label(f"{row.name} {row.note}".strip())
            row.draw(axes)
            middle = top + row.height / 2
            if row.name:
                name = shorten(figure, row.name, _LONGEST_NAME, NAME_SIZE, weight="bold")
                self.sheet.label(name, middle - 1.4, right=right, size=NAME_SIZE, weight="bold")
                middle += 1.4
            if row.note:
                self.sheet.label(row.note, middle, right=right, size=SMALL_SIZE, color=LABEL_INK)
            top += row.height + row.gap


def _sheet(figure: Figure, interval: Interval, names: Sequence[str]) -> Sheet:
    """The figure with room for names and ticks at its left; panels begin and end at whole pixels."""
    widest = max(text_width(figure, clean(name), NAME_SIZE, weight="bold") for name in names)
    widest = max(min(widest, _LONGEST_NAME), text_width(figure, "prediction", SMALL_SIZE))
    pixel = MM / figure.dpi
    left = math.ceil((_EDGE + widest + _TICKS) / pixel) * pixel
    # The last number below the axis may be below its end.
    spare = text_width(figure, f"{interval.end:,}", LABEL_SIZE) / 2
    right = math.floor((figure.get_size_inches()[0] * MM - _EDGE - spare) / pixel) * pixel
    if right - left < _LEAST_PANEL:
        raise UsageError(
            f"{right - left:.0f} mm are left for the tracks, expected {_LEAST_PANEL} at least",
            hint="a larger --width-mm",
        )
    return Sheet(figure, interval, left, right)


def _add_values(
    rows: _Rows, group: Group, name: str, sequence: str, scale: tuple[float, float], n_groups: int
) -> None:
    """Relevance: letters if there is a sequence, else bars; behind hits that have names, a pale band."""
    values = group.relevance
    if values is None:
        return
    height = max(9.0, min(66 / n_groups, rows.sheet.width / 7, 20.0))

    def draw(axes: Axes) -> None:
        draw_value_axis(axes, *scale, signed_ticks(*scale))
        if len(group.hits) <= _MOST_BANDS:
            draw_bands(axes, group.hits)
        if sequence:
            draw_letters(axes, values, sequence, name)
        else:
            draw_bars(axes, values, name)

    rows.space(3.0)
    rows.add(height, draw, name=clean(group.name), note="relevance")


def _add_calls(rows: _Rows, group: Group) -> list[str]:
    """Seqlets and primary hits of one class, if it has some here."""
    if group.seqlets:
        rows.add(SEQLET_LANE, lambda axes: draw_seqlets(axes, group.seqlets), note="seqlets", gap=0.3)
    return _add_boxes(rows, group.hits, "hits", HIT_COLORS, of=f" of {clean(group.name)}")


def _add_area(rows: _Rows, group: Group, values: Columns, *, is_probability: bool) -> None:
    """Prediction, or coverage; a probability's scale ends at 0 and 1."""
    is_coverage = values is group.coverage
    low, high = (0.0, 1.08) if is_probability else value_range([values])

    def draw(axes: Axes) -> None:
        draw_value_axis(axes, low, high, [(0, "0"), (1, "1")] if is_probability else signed_ticks(low, high))
        draw_area(axes, values, MUTED if is_coverage else GREEN)

    if group.relevance is None:
        rows.space(3.0)
        rows.add(9.0, draw, name=clean(group.name), note="windows" if is_coverage else "prediction")
    else:
        rows.space(1.6)
        rows.add(4.5, draw, note="prediction", gap=1.0)


def _add_boxes(
    rows: _Rows, features: Sequence[Feature], note: str, colors: tuple[str, str], of: str = ""
) -> list[str]:
    """Hits or regions in as few lanes as their names need; one without names where that is too many."""
    if not features:
        return []
    named = place_boxes(rows.sheet, features)
    placed = without_names(features) if named is None else named
    height = BOX_LANE * lanes_of(placed)
    rows.add(height, lambda axes: draw_boxes(axes, rows.sheet, features, placed, colors), note=note, gap=0.8)
    if named is not None:
        return []
    return [f"{len(features):,} {note}{of} are drawn without names: too many for this width"]


def _add_genes(rows: _Rows, run: Run, interval: Interval, settings: PlotSettings) -> list[str]:
    """Genes, a transcript each unless there are few; and what is to be told of their file."""
    path = settings.genes
    if path is None:
        return []
    genes = read_genes(path, interval, chroms_of(run), alias=settings.alias)
    told = []
    if genes.chrom is None:
        told.append(f"{path} has no gene on {interval.chrom}")
    elif genes.chrom != interval.chrom:
        told.append(f"{interval.chrom} is called {genes.chrom} in {path}")
    if genes.chrom is not None and not genes.transcripts:
        told.append(f"{path} has no gene in {format_region(interval)}")
    transcripts = list(genes.transcripts)
    if len(transcripts) > MOST_TRANSCRIPTS:
        transcripts = one_per_gene(transcripts)
    if len(transcripts) < len(genes.transcripts):
        told.append(
            f"of {count(len(genes.transcripts), 'transcript')}, one a gene is drawn: that with the most exonic bases"
        )
    if not transcripts:
        return told
    shared = Counter(one.gene_id for one in transcripts)
    names = [
        f"{one.gene} ({one.interval.name})" if shared[one.gene_id] > 1 and one.interval.name != one.gene else one.gene
        for one in transcripts
    ]
    named = place_genes(rows.sheet, transcripts, names)
    placed = without_names(transcripts) if named is None else named
    if named is None:
        told.append(f"{count(len(transcripts), 'gene')} are drawn without names: too many for this width")
    height = GENE_LANE * lanes_of(placed)
    rows.space(2.0)
    rows.add(height, lambda axes: draw_genes(axes, rows.sheet, transcripts, placed), note="genes", gap=1.5)
    return told


# ---- The file ----


def _save(figure: Figure, path: Path, dpi: int, title: str) -> None:
    """Write the figure whole or not at all; the same figure gives the same bytes."""
    kind = path.suffix.lower().removeprefix(".")
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Title": clean(title)},
        "svg": {"Date": None, "Creator": None, "Title": clean(title)},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None, "Title": clean(title)},
    }
    partial = partial_path(path)
    try:
        figure.savefig(partial, format=kind, dpi=dpi, metadata=metadata[kind])
        if kind == "svg":
            # Fonts that this machine lacks may be there where the figure is looked at.
            text = partial.read_text(encoding="utf-8")
            fonts = re.sub(r'(<text style="[^"]*font-family: )[^;"]*', rf"\1{_SVG_FONTS}", text)
            partial.write_text(fonts, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        partial.unlink(missing_ok=True)
