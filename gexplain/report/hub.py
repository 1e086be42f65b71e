"""A track hub: a run's tracks in the UCSC Genome Browser, once its folder lies on a web server.

The rules: https://genome.ucsc.edu/goldenPath/help/hgTrackHubHelp.html, and of each setting
https://genome.ucsc.edu/goldenPath/help/trackDb/trackDbHub.html. Names come from anyone: what they may do to a line,
or to a page that shows it, is taken out of them here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gexplain.errors import UsageError, preview
from gexplain.genome.assemblies import recognise_assembly
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.tracks import write_error
from gexplain.genome.twobit import write_twobit
from gexplain.report.plain_text import spell_in_ascii

HUB_FILES = ("hub.txt", "genomes.txt", "trackDb.txt")
LARGEST_GENOME = 100_000_000
"""Bases of a genome that a hub brings along, as 2bit."""
MOST_SHOWN = 3
"""Tracks of each kind that are shown at first: UCSC asks for no more than ten tracks in all."""

_TWOBIT = "browser/genome.2bit"
# A hub must name somebody. This address reaches nobody, by RFC 2606, and says what to do.
_EMAIL = "write-your-address-here@hub.invalid"
_SHORT, _LONG = 17, 76

Stanza = dict[str, str]


def write_hub(
    work: Path, manifest: Mapping[str, Any], genome: Genome, place: Interval | None, *, assembly: str | None = None
) -> str | None:
    """Write hub.txt, genomes.txt and trackDb.txt to `work`; returns why not, in words, where there can be none.

    The hub is of the assembly that is given, else of the one that the chromosomes tell, else of the genome itself,
    which then lies in browser/genome.2bit. place: what is shown first. Those bigBeds are in it that lie in
    work/browser. Raises UsageError for an assembly that is no name, RunError where files cannot be written.
    """
    for file in (*HUB_FILES, _TWOBIT):
        (work / file).unlink(missing_ok=True)
    check_assembly(assembly)
    if "bigwig" not in manifest["settings"]["formats"]:
        return "no UCSC track hub: it takes bigWigs; score with --format bigwig, besides others"
    name = assembly or recognise_assembly(genome.chroms)
    if name is not None:
        genomes = {"genome": name, "trackDb": "trackDb.txt"}
    else:
        reason = _why_no_assembly_hub(genome)
        if reason is not None:
            return (
                f"no UCSC track hub: {reason}; if UCSC has the assembly, name it:"
                " gexplain report OUT --assembly hg38, say, or an accession"
            )
        write_twobit(work / _TWOBIT, genome)
        genomes = _describe_genome(genome, manifest, place)
    hub = {
        "hub": "gexplain",
        "shortLabel": _label("gexplain", _SHORT),
        "longLabel": _label(f"gexplain: what {manifest['model']['source']} relies on, base by base", _LONG),
        "genomesFile": "genomes.txt",
        "email": _EMAIL,
    }
    tracks = list(_tracks(work, manifest))
    for file, stanzas in zip(HUB_FILES, ([hub], [genomes], tracks), strict=True):
        try:
            (work / file).write_text(_format(stanzas), encoding="ascii", newline="\n")
        except OSError as error:
            raise write_error(work / file, error) from error
    return None


def check_assembly(assembly: str | None) -> None:
    """Refuse what cannot be the name of an assembly, with a UsageError."""
    if assembly is not None and not re.fullmatch("[A-Za-z0-9_.-]+", assembly):
        raise UsageError(
            f"--assembly {assembly!r}: expected what UCSC calls the assembly",
            hint="hg38, say, or a GenBank or RefSeq accession such as GCF_000001405.40",
        )


def _why_no_assembly_hub(genome: Genome) -> str | None:
    n_bases = sum(genome.chroms.values())
    if n_bases > LARGEST_GENOME:
        return (
            f"the chromosomes of {genome.path.name} are of no assembly that is known here, and {n_bases:,} bases"
            " are too many to bring along"
        )
    unfit = [name for name in genome.chroms if not re.fullmatch("[A-Za-z0-9_.-]{1,255}", name)]
    if unfit:
        return f"{genome.path.name} has sequences whose names a hub cannot have, {preview(unfit)}"
    return None


def _describe_genome(genome: Genome, manifest: Mapping[str, Any], place: Interval | None) -> Stanza:
    stem = re.sub("[^A-Za-z0-9]+", "_", genome.path.name.split(".")[0]).strip("_") or "genome"
    shown = place or Interval(next(iter(genome.chroms)), 0, 1000)
    return {
        # The browser keeps what it has read of a genome by this name.
        "genome": f"{stem[:40]}_{manifest['genome']['sha256'][:8]}",
        "trackDb": "trackDb.txt",
        "twoBitPath": _TWOBIT,
        "organism": _label(stem, _LONG),
        "description": _label(f"{genome.path.name}, as scored by gexplain", _LONG),
        "defaultPos": f"{shown.chrom}:{shown.start + 1}-{shown.end}",
    }


def _tracks(work: Path, manifest: Mapping[str, Any]) -> Iterator[Stanza]:
    names = _Names()
    ranges = _read_ranges(work / "stats.tsv")
    shown = _choose_shown(manifest, ranges)
    for stem, style in _FEATURES.items():
        if (work / f"browser/{stem}.bb").exists():
            yield {"track": names.new(stem), "bigDataUrl": f"browser/{stem}.bb", **style}
    for kind, kind_style in _KINDS.items():
        tracks = {stem: track for stem, track in manifest["tracks"].items() if track["kind"] == kind}
        if not tracks:
            continue
        is_value = kind == "prediction" and manifest["model"]["head"] == "regression"
        style = _VALUES if is_value else kind_style
        signal = _signal([ranges[stem] for stem in tracks if stem in ranges], style)
        parent = names.new(kind) if len(tracks) > 1 else None
        if parent is not None:
            yield {"track": parent, "compositeTrack": "on", "type": signal, **style}
        for stem, track in tracks.items():
            own = {
                "track": names.new(f"{kind}_{stem.replace('.prediction', '')}" if track["target"] else stem),
                "bigDataUrl": quote(os.fsencode(f"tracks/{stem}.bw")),
                "type": signal,
                "shortLabel": _short_label(track),
                "longLabel": _label(_LONG_LABELS[kind].format(**_words(track)), _LONG),
            }
            if parent is not None:
                is_shown = "on" if kind == "coverage" or track["target"] in shown else "off"
                yield own | {"parent": f"{parent} {is_shown}", **_own(style)}
            elif style["autoScale"] == "group":  # only of a composite
                yield own | {**style, **own, "autoScale": "on"}
            else:
                yield own | {**style, **own}


def _choose_shown(manifest: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> set[str]:
    """The targets that are shown at first: those with the most calls, then those with the highest relevance."""
    merit: dict[str, tuple[int, float]] = {}
    calls = manifest.get("calls", {})
    for stem, track in manifest["tracks"].items():
        if track["kind"] == "relevance":
            n_calls, highest = merit.get(track["target"], (0, 0.0))
            n_calls += sum(calls.get(kind, {}).get(stem, 0) for kind in ("seqlets", "primary hits"))
            merit[track["target"]] = n_calls, max(highest, ranges.get(stem, (0.0, 0.0))[1])
    best = sorted(merit, key=lambda target: merit[target], reverse=True)
    strands = {track["strand"] for track in manifest["tracks"].values()}
    return set(best[: MOST_SHOWN // len(strands)])


def _own(values: Stanza) -> Stanza:
    """The settings that each track of a composite has itself; the others it takes over."""
    return {key: values[key] for key in ("color", "altColor", "logo") if key in values}


def _signal(told: Sequence[tuple[float, float]], style: Stanza) -> str:
    """The type of a signal, with the least and the greatest value that are expected; told: those of each track."""
    if "viewLimits" in style:
        return "bigWig " + style["viewLimits"].replace(":", " ")
    low = min([0.0, *(low for low, _ in told)])
    high = max([0.0, *(high for _, high in told)])
    return f"bigWig {low:g} {high if high > low else low + 1:g}"


def _read_ranges(table: Path) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of each track that has any, of a stats.tsv."""
    if not table.exists():
        return {}
    ranges = {}
    with table.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        columns = next(file).rstrip("\n").split("\t")
        low, high = columns.index("min"), columns.index("max")
        for line in file:
            row = line.rstrip("\n").split("\t")
            if row[low] != ".":
                ranges[row[0]] = float(row[low]), float(row[high])
    return ranges


class _Names:
    """Names of tracks: a letter, then letters, digits and _; none twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        name = re.sub("[^A-Za-z0-9]+", "_", text).strip("_")[:60] or "track"
        name = name if name[0].isalpha() else f"track_{name}"
        # Some file systems and databases do not tell a from A.
        unique, n = name, 1
        while unique.lower() in self._taken:
            n += 1
            unique = f"{name}_{n}"
        self._taken.add(unique.lower())
        return unique


def _words(track: Mapping[str, Any]) -> dict[str, str]:
    strand = {"+": " (+)", "-": " (-)"}.get(track["strand"], "")
    return {"target": str(track["target"]), "strand": strand}


def _short_label(track: Mapping[str, Any]) -> str:
    """Target, kind and strand in 17 characters, of the target as much as there is room for."""
    words = _words(track)
    target, end = _plain(words["target"]), str(track["kind"]) + words["strand"]
    if not target:
        return end.capitalize()
    if len(f"{target} {end}") > _SHORT:
        end = _SHORT_KINDS[track["kind"]] + words["strand"]
    return f"{target[: _SHORT - 1 - len(end)].rstrip()} {end}"


def _label(text: str, most: int) -> str:
    return _plain(text)[:most].rstrip() or "-"


def _plain(text: str) -> str:
    """Text in ASCII without what ends or continues a line, is mark-up, or stands for something else in a hub."""
    return re.sub(r"[^A-Za-z0-9 .,:;()+=/|*!?@%~^_\[\]{}-]", "_", spell_in_ascii(text)).strip()


def _format(stanzas: Iterable[Mapping[str, str]]) -> str:
    return "\n".join("".join(f"{key} {value}\n" for key, value in one.items()) for one in stanzas)


# Blue, vermillion, green and grey, as in igv_session.xml.
_SIGNAL = {"visibility": "full", "windowingFunction": "mean"}
_KINDS: dict[str, Stanza] = {
    "relevance": _SIGNAL
    | {
        "shortLabel": "Relevance",
        "longLabel": "Relevance of each base, in logit units; zoomed in, as letters",
        "autoScale": "group",
        "alwaysZero": "on",
        "logo": "on",
        "color": "0,114,178",
        "altColor": "213,94,0",
        "maxHeightPixels": "128:64:16",
    },
    "prediction": _SIGNAL
    | {
        "shortLabel": "Prediction",
        "longLabel": "What the model predicts around each base: the probability of a class",
        "autoScale": "off",
        "viewLimits": "0:1",
        "color": "0,158,115",
        "altColor": "0,158,115",
        "maxHeightPixels": "100:32:8",
    },
    "coverage": _SIGNAL
    | {
        "shortLabel": "Coverage",
        "longLabel": "How many windows were read over each base",
        "autoScale": "on",
        "alwaysZero": "on",
        "color": "128,128,128",
        "altColor": "128,128,128",
        "maxHeightPixels": "100:24:8",
    },
}
# Where a prediction is no probability.
_VALUES: Stanza = _SIGNAL | {
    "shortLabel": "Prediction",
    "longLabel": "What the model predicts around each base",
    "autoScale": "group",
    "alwaysZero": "on",
    "color": "0,158,115",
    "altColor": "0,158,115",
    "maxHeightPixels": "100:32:8",
}
_SHORT_KINDS = {"relevance": "rel.", "prediction": "pred."}
_LONG_LABELS = {
    "relevance": "Relevance of each base for {target}{strand}, in logit units",
    "prediction": "Prediction of {target}{strand}",
    "coverage": "Windows read over each base{strand}",
}
_ITEMS = {"type": "bigBed 9 +", "itemRgb": "on", "visibility": "pack"}
_FEATURES: dict[str, Stanza] = {
    "regions": {
        "shortLabel": "Scored regions",
        "longLabel": "Scored regions, coloured by the class that the model predicts",
        **_ITEMS,
    },
    "seqlets": {
        "shortLabel": "Seqlets",
        "longLabel": "Seqlets: spans of high (blue) and low (vermillion) relevance",
        **_ITEMS,
    },
    "hits": {
        "shortLabel": "Motif hits",
        "longLabel": "Motif matches that the model uses; thin where a better one lies there",
        **_ITEMS,
    },
}
