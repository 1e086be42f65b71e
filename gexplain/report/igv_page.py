"""What the report's genome browser shows: the settings that igv_panel.js hands to igv.js.

All addresses are relative to the page, so a run may move or be served from anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gexplain.errors import preview
from gexplain.genome.intervals import Interval
from gexplain.report.igv_asset import PUBLIC_ADDRESS, SCRIPT_INTEGRITY, SERVED_AS, VERSION
from gexplain.run_folder import SUFFIXES, Run

MOST_SHOWN = 6
"""Classes whose tracks are shown at first, where there are more."""
LARGEST_TEXT = 64 << 20
"""Bytes of a bedGraph that a page still reads: igv.js wants all of it."""
FLANK = 0.02
"""Share of a place that is shown on either side of it, where that leaves the letters large enough to be written."""
LETTER_PX = 10
"""Below this width of a base, igv.js draws the reference as blocks and not as letters."""

_REFERENCE = "browser/reference.fa.gz"


def igv_config(run: Run) -> dict[str, Any]:
    """What igv_panel.js reads from the page, as JSON can hold it.

    igv: options of `igv.createBrowser` without tracks, or None where the run has no browser/reference.fa.gz. tracks:
    igv.js tracks, each with the `class` that it is of (None: always shown). classes: name and whether it is shown at
    first; of runs with one class, none. flank, letter: FLANK and LETTER_PX. notes: what is left out, in words.
    script: where igv.js may come from.
    """
    has_reference = all((run.path / f"{_REFERENCE}{end}").is_file() for end in ("", ".fai", ".gzi"))
    values, notes = _value_tracks(run)
    tracks = [*_feature_tracks(run), *values]
    return {
        "igv": _options(run) if has_reference else None,
        # Without an order of its own, a track is put where it was loaded.
        "tracks": [{**track, "order": place} for place, track in enumerate(tracks, 1)],
        "classes": _classes(run),
        "flank": FLANK,
        "letter": LETTER_PX,
        "notes": notes,
        "script": {
            "version": VERSION,
            "served": SERVED_AS,
            "address": PUBLIC_ADDRESS,
            "integrity": SCRIPT_INTEGRITY,
        },
    }


def _options(run: Run) -> dict[str, Any]:
    reference = {
        "id": Path(str(run.manifest["genome"]["file"])).name,  # what the panel calls it
        "fastaURL": _address(_REFERENCE),
        "indexURL": _address(f"{_REFERENCE}.fai"),
        "compressedIndexURL": _address(f"{_REFERENCE}.gzi"),
        "wholeGenomeView": False,
    }
    place = next(_scored(run.path / "regions.tsv"), None)
    if place is not None:
        # An object, and not chr1:1-100: names of chromosomes hold colons, too.
        reference["locus"] = {"chr": place.chrom, "start": place.start, "end": place.end}
    return {
        "reference": reference,
        "loadDefaultGenomes": False,  # each of these would ask igv.org
        "search": False,
        "showSVGButton": True,
        "showSampleNameButton": False,
        "nucleotideColors": _LETTERS,
    }


def _feature_tracks(run: Run) -> Iterator[dict[str, Any]]:
    """The bigBeds that the run has, as tracks."""
    for stem, style in _FEATURES.items():
        if (run.path / f"browser/{stem}.bb").is_file():
            address = _address(f"browser/{stem}.bb")
            yield {"type": "annotation", "format": "bigbed", "url": address, "class": None, **style}


def _value_tracks(run: Run) -> tuple[list[dict[str, Any]], list[str]]:
    """The tracks of values, class by class with coverage at the end, and what is left out."""
    formats = run.manifest["settings"]["formats"]
    format_ = next((name for name in ("bigwig", "bedgraph") if name in formats), None)
    if format_ is None:
        return [], ["The run has no tracks that a genome browser reads: score with --format bigwig."]
    regression = run.manifest["model"]["head"] == "regression"
    tracks, left_out = [], []
    for stem, track in run.manifest["tracks"].items():
        file = f"tracks/{stem}{SUFFIXES[format_]}"
        if format_ == "bedgraph" and (run.path / file).stat().st_size > LARGEST_TEXT:
            left_out.append(file)
            continue
        kind = track["kind"]
        tracks.append(
            {
                "type": "wig",
                "format": format_,
                "url": _address(file),
                "name": _label(track),
                "class": track["target"] or None,
                **(_VALUE if kind == "prediction" and regression else _STYLES[kind]),
            }
        )
    classes = list(dict.fromkeys(track["class"] for track in tracks if track["class"] is not None))
    tracks.sort(key=lambda track: len(classes) if track["class"] is None else classes.index(track["class"]))
    if left_out:
        note = f"Left out, as a page would have to read all of it: {preview(left_out)}. Score with --format bigwig."
        return tracks, [note]
    return tracks, []


def _classes(run: Run) -> list[dict[str, Any]]:
    """The classes that have tracks of their own, and which are shown at first: those with the most calls."""
    tracks = run.manifest["tracks"]
    names = list(dict.fromkeys(track["target"] for track in tracks.values() if track["target"]))
    calls = dict.fromkeys(names, 0)
    for counts in (run.manifest.get("calls") or {}).values():
        if isinstance(counts, Mapping):
            for stem, n in counts.items():
                if stem in tracks and isinstance(n, int):
                    calls[tracks[stem]["target"]] += n
    shown = set(sorted(names, key=lambda name: -calls[name])[:MOST_SHOWN])
    return [{"name": name, "shown": name in shown} for name in names] if len(names) > 1 else []


def _scored(table: Path) -> Iterator[Interval]:
    """The scored regions of a regions.tsv, one by one."""
    if not table.exists():
        return
    with table.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        status = next(file).rstrip("\n").split("\t").index("status")
        for line in file:
            row = line.rstrip("\n").split("\t")
            if row[status] == "scored":
                yield Interval(row[0], int(row[1]), int(row[2]))


def _address(file: str) -> str:
    return quote(os.fsencode(file))


def _label(track: Mapping[str, Any]) -> str:
    words = [track["target"], track["kind"], "" if track["strand"] == "." else f"({track['strand']})"]
    return _escape(" ".join(word for word in words if word))


def _escape(text: str) -> str:
    """igv.js takes the name of a track for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# Okabe and Ito's palette, which no colour blindness confuses (https://jfly.uni-koeln.de/color/).
_BLUE, _VERMILLION, _GREEN, _ORANGE, _GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#808080"
_LETTERS = {"A": _GREEN, "C": _BLUE, "G": _ORANGE, "T": _VERMILLION, "N": _GREY}
_FEATURES = {
    "hits": {"name": "motif hits", "height": 50, "displayMode": "EXPANDED"},
    "seqlets": {"name": "seqlets", "height": 40, "displayMode": "COLLAPSED"},
    "regions": {"name": "scored regions", "height": 40, "displayMode": "COLLAPSED"},
}
_PREDICTION = {"color": _GREEN, "min": 0, "max": 1, "height": 24}
_VALUE = {"color": _GREEN, "autoscale": True, "height": 40, "graphType": "line"}
_STYLES: dict[str, dict[str, Any]] = {
    "relevance": {
        "color": _BLUE,
        "altColor": _VERMILLION,
        "graphType": "dynseq",
        "autoscale": True,
        "autoscaleGroup": "relevance",
        "height": 70,
    },
    "prediction": _PREDICTION,
    "coverage": {"color": _GREY, "autoscale": True, "height": 24},
}
