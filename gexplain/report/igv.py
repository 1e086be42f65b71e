"""igv_session.xml: a run's tracks, coloured, scaled and at a scored place, with one "Open Session" in IGV.

The format has no specification; this is what IGV Desktop 2.16 reads (`IGVSessionReader` of
https://github.com/igvteam/igv) and was seen to draw. Every path is relative to the file, so a run
may move as long as its genome moves with it.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gexplain.genome.intervals import Interval, format_region
from gexplain.work_folder import write_whole

_SUFFIXES = {"bigwig": ".bw", "bedgraph": ".bedGraph"}  # what IGV reads, the better one first
# Characters that no XML 1.0 document can hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_igv_session(path: Path, out: Path, manifest: Mapping[str, Any]) -> None:
    """Write the session of the run in `out` to `path`, from where it is to be moved to out/igv_session.xml.

    It opens at the first region that regions.tsv, beside `path`, calls scored, and shows those of browser/*.bb
    that lie there. A run with neither bigWig nor bedGraph has a session without tracks of values. What XML cannot
    hold, such as a control character in a class's name, is written as U+FFFD.
    """
    session = ET.Element(
        "Session",
        genome=_clean(_relative_path(Path(manifest["genome"]["file"]), out)),
        locus=_clean(_first_place(path.parent / "regions.tsv")),
        version="8",
    )
    suffix = next((_SUFFIXES[one] for one in _SUFFIXES if one in manifest["settings"]["formats"]), None)
    files = {} if suffix is None else {stem: f"tracks/{stem}{suffix}" for stem in manifest["tracks"]}
    features = {stem: f"browser/{stem}.bb" for stem in _FEATURES if (path.parent / f"browser/{stem}.bb").exists()}
    resources = ET.SubElement(session, "Resources")
    for file in (*files.values(), *features.values()):
        ET.SubElement(resources, "Resource", path=file)
    panel = ET.SubElement(session, "Panel", name="DataPanel")
    n_relevance = sum(track["kind"] == "relevance" for track in manifest["tracks"].values())
    for stem, file in files.items():
        track = manifest["tracks"][stem]
        style = _STYLES[track["kind"]]
        if track["kind"] == "prediction" and manifest["model"]["head"] == "regression":
            style = _VALUE
        if n_relevance > _MOST_HIGH and track["kind"] in _LOW_HEIGHTS:
            style = {**style, "height": _LOW_HEIGHTS[track["kind"]]}
        element = ET.SubElement(panel, "Track", style, id=file, name=_clean(_display_name(track)))
        if style["autoScale"] == "false":
            # IGV refuses a DataRange that lacks any of these.
            ET.SubElement(element, "DataRange", _PROBABILITY_RANGE)
    # This panel is always in view, below the tracks of values, however many these are.
    reference = ET.SubElement(session, "Panel", name="FeaturePanel")
    ET.SubElement(reference, "Track", id="Reference sequence", name="Reference sequence", visible="true")
    for stem, file in features.items():
        ET.SubElement(reference, "Track", _FEATURES[stem], id=file)
    ET.indent(session)
    write_whole(path, ET.tostring(session, encoding="utf-8", xml_declaration=True).decode())


def _relative_path(path: Path, directory: Path) -> str:
    # ".." leads up from where a linked folder really is. The file's own name is kept: it moves with the run.
    resolved = Path(os.path.realpath(path.parent)) / path.name
    return Path(os.path.relpath(resolved, os.path.realpath(directory))).as_posix()


def _first_place(table: Path) -> str:
    """The first scored region, as IGV's search box takes it; "All", the whole genome, where there is none."""
    if not table.exists():
        return "All"
    with table.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        status = next(file).rstrip("\n").split("\t").index("status")
        for line in file:
            columns = line.rstrip("\n").split("\t")
            if columns[status] == "scored":
                return format_region(Interval(columns[0], int(columns[1]), int(columns[2])))
    return "All"


def _display_name(track: Mapping[str, Any]) -> str:
    """Target, kind and strand: "promoter relevance (+)"."""
    words = [track["target"], track["kind"], "" if track["strand"] == "." else f"({track['strand']})"]
    return " ".join(word for word in words if word)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


# Blue and vermillion of Okabe and Ito's palette, which no colour blindness confuses
# (https://jfly.uni-koeln.de/color/). Windows are averaged when zoomed out: bigWig holds those averages.
_BARS = {"renderer": "BAR_CHART", "windowFunction": "mean", "visible": "true"}
_RELEVANCE = {
    **_BARS,
    "color": "0,114,178",
    "altColor": "213,94,0",
    "autoScale": "true",
    "autoscaleGroup": "relevance",
    "height": "80",
}
_PREDICTION = {**_BARS, "color": "0,158,115", "altColor": "0,158,115", "autoScale": "false", "height": "40"}
# IGV's bars fill the whole height where all values in view are negative.
_VALUE = {**_PREDICTION, "renderer": "LINE_PLOT", "autoScale": "true"}
_STYLES = {
    "relevance": _RELEVANCE,
    "prediction": _PREDICTION,
    "coverage": {**_BARS, "color": "128,128,128", "altColor": "128,128,128", "autoScale": "true", "height": "30"},
}
# With more tracks of relevance than these, all are lower.
_MOST_HIGH = 3
_LOW_HEIGHTS = {"relevance": "60", "prediction": "30"}
_ITEMS = {"clazz": "org.broad.igv.track.FeatureTrack", "visible": "true", "displayMode": "EXPANDED"}
_FEATURES = {
    "hits": {**_ITEMS, "name": "motif hits"},
    "seqlets": {**_ITEMS, "name": "seqlets"},
    "regions": {**_ITEMS, "name": "scored regions"},
}
_PROBABILITY_RANGE = {
    "minimum": "0.0",
    "baseline": "0.0",
    "maximum": "1.0",
    "drawBaseline": "true",
    "flipAxis": "false",
    "type": "LINEAR",
}
