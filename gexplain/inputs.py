"""The inputs of a run: settings, regions and a genome, checked before any model is loaded.

No torch here: bad input is told within a second.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, Union

import numpy as np

from gexplain.errors import SkippedRegionsError, UsageError, count
from gexplain.genome.bed import BedReader, Region
from gexplain.genome.blacklist import blacklisted
from gexplain.genome.chromosomes import match_chroms, no_shared_chroms_error, read_chrom_alias, select_chroms
from gexplain.genome.fasta import Genome
from gexplain.genome.frames import from_dataframe, from_pyranges
from gexplain.genome.intervals import Interval, parse_region
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.plan import REASONS, Plan, Status, StrandMode, plan_regions, require_scorable
from gexplain.windows import Tiling

if TYPE_CHECKING:
    import pandas as pd
    import pyranges as pr

Format = Literal["bigwig", "bedgraph", "npz"]


CHOICES: dict[str, tuple[str, ...]] = {
    "explained": ("logit", "margin"),
    "method": (
        "auto",
        *("attnlrp", "cplrp", "attention", "attention-rollout", "occlusion-token"),  # DNABERT-2
        *("deeplift", "deeplift-shap", "lrp"),  # CNN
        *("gradient-x-input", "saliency", "integrated-gradients", "occlusion-base", "ism", "random"),  # both
    ),
    "projection": ("uniform", "copy"),
    "strand": ("both", "forward", "reverse", "region"),
    "weight": ("none", "probability"),
    "formats": ("bigwig", "bedgraph", "npz"),
    "on_bad_line": ("stop", "skip"),
    "dtype": ("float32", "bfloat16", "float64"),
}
"""What each option of `ScoreSettings` may be; known here so that a wrong one is told before torch is loaded."""

_NUMBERS: tuple[tuple[str, int, tuple[str | None, ...]], ...] = (
    ("window", 1, (None,)),
    ("stride", 1, (None,)),
    ("shifts", 1, ()),
    ("batch_size", 1, ("auto",)),
    ("null_regions", 0, (None,)),
    ("seed", 0, ()),
)
"""Options of `ScoreSettings` that are whole numbers: each with its least, and what else it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """What `score` is asked to do; the defaults are those of the command.

    target: a class name or index, "predicted" or "all"; by default the second class of a two-class model, else the
    predicted one. explained: its logit, or its margin over the mean of the others. method: attnlrp, cplrp,
    attention, attention-rollout or occlusion-token (DNABERT-2), deeplift, deeplift-shap or lrp (CNN),
    gradient-x-input, saliency, integrated-gradients, occlusion-base, ism or random (both); auto is attnlrp for
    DNABERT-2 and deeplift for a CNN. projection: uniform or copy; the same for a CNN, which has no tokens. strand:
    both (averaged), forward, reverse, or region (each region's own). window, stride: nucleotides; by default what the
    model was trained on (else 512), and half of it. shifts: offsets at which each window is read, averaged;
    DNABERT-2's tokens are nearly the same at all of them. weight: probability scales a window's relevance by the
    target's predicted probability. chroms: names or globs to score, all if empty. chrom_alias: "chr", or a file of
    two columns. blacklist: a BED; regions that overlap it are skipped. formats: of the tracks. on_bad_line: stop, or
    skip malformed BED lines. strict: refuse what would be warned of or skipped.

    batch_size: sequences that go through the model at once; auto is 16 on a CPU, fewer if long, and on a GPU what
    keeps it busy and fits. device, dtype: as for `load_model`; a model that is loaded already must have them.
    resume: go on with an interrupted run. force: replace another run's output. These do not change results beyond
    rounding, but dtype.

    null_regions: shuffled pieces of the scored regions that seqlets and hits are told from; by default as many as the
    run is worth, 0 for neither seqlets nor hits. seed: of the shuffles. motifs: what `load_motifs` takes, or "none";
    by default JASPAR's of the model's organisms, if they are known, else its vertebrates. q: of the seqlets and hits
    that are written, at most. match_p: p-value of a motif match, at most. tabix: write both tables compressed and
    indexed, too.
    """

    target: str | int | None = None
    explained: Literal["logit", "margin"] = "logit"
    method: str = "auto"
    projection: str = "uniform"
    strand: StrandMode = "both"
    window: int | None = None
    stride: int | None = None
    shifts: int = 1
    weight: Literal["none", "probability"] = "none"
    chroms: Sequence[str] = ()
    chrom_alias: str | None = None
    blacklist: str | os.PathLike[str] | None = None
    formats: Sequence[Format] = ("bigwig",)
    on_bad_line: Literal["stop", "skip"] = "stop"
    strict: bool = False
    null_regions: int | None = None
    seed: int = 0
    motifs: str | None = None
    q: float = 0.05
    match_p: float = 1e-4
    tabix: bool = False
    batch_size: int | Literal["auto"] = "auto"
    device: str | None = None
    dtype: str | None = None
    resume: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        for option, known in CHOICES.items():
            value = getattr(self, option)
            given = value if option == "formats" else (value,)
            if option == "dtype" and value is None:
                continue
            unknown = [str(one) for one in given if one not in known]
            if unknown or not given:
                raise UsageError(
                    f"unknown {option}: {', '.join(unknown) or 'none given'}", hint=f"one of {', '.join(known)}"
                )
        for option, least, others in _NUMBERS:
            number = getattr(self, option)
            if number not in others and not (isinstance(number, int) and number >= least):
                raise UsageError(
                    f"{option} {number!r}; expected a whole number, {least} at least",
                    hint="leave it out for the default",
                )
        for option in ("q", "match_p"):
            share = getattr(self, option)
            if not 0 < share <= 1:
                raise UsageError(
                    f"{option} {share:g}; expected more than 0, and 1 at most", hint="0.05 is usual for q"
                )
        if self.null_regions == 0 and self.motifs not in (None, "none"):
            raise UsageError("motifs without a null: hits are told from it", hint="leave out null_regions 0")
        if self.window is not None:
            Tiling(self.window, self.stride or 1, self.shifts)  # what can be told of them before the model is known
        if self.strict and self.on_bad_line == "skip":
            raise UsageError("strict refuses what skipping bad lines would skip", hint="give one of the two")


def parse_shard(text: str) -> tuple[int, int]:
    """The shard that a person writes as "3/8". UsageError for anything else."""
    number, slash, n_shards = text.partition("/")
    if not (slash and number.isdecimal() and n_shards.isdecimal() and 1 <= int(number) <= int(n_shards)):
        raise UsageError(f"--shard {text!r}: expected which shard of how many", hint="1/8 is the first of eight")
    return int(number), int(n_shards)


RegionSource: TypeAlias = Union[
    str, os.PathLike[str], BinaryIO, Iterable["Interval | Region | str"], "pd.DataFrame", "pr.PyRanges"
]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """Regions and a genome that fit together, ready to be scored.

    source and sha256: of the regions. genome_sha256: of the FASTA file. warnings: what was passed over, in words.
    motifs: those that were asked for, if any were.
    """

    plan: Plan
    genome: Genome
    source: str
    sha256: str
    genome_sha256: str
    warnings: list[str]
    motifs: MotifSet | None = None


@contextmanager
def open_inputs(regions: RegionSource, genome: str | os.PathLike[str], settings: ScoreSettings) -> Iterator[Inputs]:
    """The checked inputs of a run; the genome is open, and the regions' text on disk, while it lasts.

    regions: a BED file, "-" for standard input, an open binary stream; or intervals, region texts
    ("chr1:1,001-2,000"), a data frame or a PyRanges. Raises InputError (BedError for a malformed line),
    UsageError, or SkippedRegionsError under `strict` where a region cannot be scored.
    """
    if isinstance(regions, str) and regions == "-" == settings.blacklist:
        raise UsageError(
            "regions and blacklist are both standard input, which can be read once",
            hint="write one of the two to a file",
        )
    motifs = load_motifs(settings.motifs) if settings.motifs not in (None, "none") else None
    with Genome(genome) as opened, tempfile.TemporaryDirectory(prefix="gexplain-") as temporary:
        spool = Path(temporary) / "regions.tsv"
        naming = _naming(opened, settings.chrom_alias)
        reader, source, stream = _region_stream(regions, opened, settings)
        plan = plan_regions(
            stream,
            opened.chroms,
            strand=settings.strand,
            names=naming,
            selected=select_chroms(settings.chroms, opened.chroms) if settings.chroms else None,
            spool=spool,
        )
        if plan.n_regions and not (plan.chrom >= 0).any():
            seen = _chroms_seen(spool)
            raise no_shared_chroms_error(source, seen, plan.n_regions, str(opened.path), opened.chroms)
        if settings.blacklist is not None:
            _mark_blacklisted(plan, settings.blacklist, naming)
        require_scorable(plan, source)
        warnings = [] if reader is None else _bed_warnings(reader)
        skipped = _skipped_in_words(plan)
        if skipped and settings.strict:
            raise SkippedRegionsError(
                f"{source}: --strict, and {plan.skipped().total():,} of {count(plan.n_regions, 'region')}"
                " cannot be scored",
                detail=skipped,
                hint="mend or remove them; without --strict they are skipped, with a reason each in regions.tsv",
            )
        if skipped:
            warnings.append(
                f"{plan.skipped().total():,} of {count(plan.n_regions, 'region')} skipped: "
                + skipped.replace("\n", ", ")
            )
        sha256 = _sha256(spool) if reader is None else reader.sha256
        yield Inputs(plan, opened, source, sha256, opened.sha256(), warnings, motifs)


def _region_stream(
    regions: RegionSource, genome: Genome, settings: ScoreSettings
) -> tuple[BedReader | None, str, Iterable[Region]]:
    """The reader if there is one, the source's name for messages, and the regions."""
    if isinstance(regions, str | os.PathLike) or hasattr(regions, "read"):
        reader = BedReader(
            regions,  # type: ignore[arg-type] # hasattr tells a stream, which mypy cannot follow
            on_bad_line=settings.on_bad_line,
            strict=settings.strict,
            needs_strand=settings.strand == "region",
        )
        return reader, reader.name, reader
    if hasattr(regions, "chromosomes"):
        return None, "the PyRanges", from_pyranges(regions)  # type: ignore[arg-type]
    if hasattr(regions, "columns"):
        return None, "the data frame", from_dataframe(regions)  # type: ignore[arg-type]
    return None, "the regions given", (_as_region(one, genome) for one in regions)


def _as_region(one: Interval | Region | str, genome: Genome) -> Region:
    if isinstance(one, str):
        one = parse_region(one, genome.chroms)
    return one if isinstance(one, Region) else Region(one, 0)


def _naming(genome: Genome, alias: str | None) -> Callable[[Collection[str]], Mapping[str, str]]:
    """What gives the FASTA's names of other files' chromosomes."""
    mapping = read_chrom_alias(alias) if alias not in (None, "chr") else alias
    return lambda names: match_chroms(names, genome.chroms, mapping)  # type: ignore[arg-type]


def _mark_blacklisted(
    plan: Plan, path: str | os.PathLike[str], naming: Callable[[Collection[str]], Mapping[str, str]]
) -> None:
    rows = np.flatnonzero(plan.status == Status.SCORED)
    chroms = list(plan.chroms)
    hit = blacklisted([chroms[index] for index in plan.chrom[rows]], plan.start[rows], plan.end[rows], path, naming)
    plan.status[rows[hit]] = Status.BLACKLISTED


def _chroms_seen(spool: Path) -> list[str]:
    with spool.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return list(dict.fromkeys(line.split("\t", 1)[0] for line in lines))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _skipped_in_words(plan: Plan) -> str:
    return "\n".join(f"{n:,} {REASONS[status]}" for status, n in plan.skipped().most_common())


def _bed_warnings(reader: BedReader) -> list[str]:
    warnings = []
    if reader.n_bad_lines:
        lines = ", ".join(str(line) for line, _ in reader.bad_lines[:5])
        more = " ..." if reader.n_bad_lines > 5 else ""
        warnings.append(f"{reader.name}: {count(reader.n_bad_lines, 'malformed line')} skipped: {lines}{more}")
    for fault, seen in reader.faults.items():
        warnings.append(
            f"{reader.name}: {fault} in {count(seen.count, 'line')},"
            f" first in line {seen.first_line} ({seen.example});"
            " gexplain does not use it"
        )
    return warnings
