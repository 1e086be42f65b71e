"""report.html: a finished run on one page, which opens from disk and asks nothing of the network.

The table is data that the page's own script draws; every other part is words, numbers and SVG. What a run does not
have, and what was not measured, the page says in its place.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from gexplain.errors import count
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import format_region
from gexplain.motifs.database import MotifSet
from gexplain.report.figure import Figure
from gexplain.report.igv_asset import PUBLIC_ADDRESS
from gexplain.report.igv_page import igv_config
from gexplain.report.logo import glyph_definitions, information_logo
from gexplain.report.methods_text import methods_paragraph, references
from gexplain.report.motif_figures import MotifRow, position_histogram, read_motif_rows
from gexplain.report.quality_figures import quality_figures, quality_sentences
from gexplain.report.quality_results import read_quality
from gexplain.report.reading import heights, how_to_read, why_no_null
from gexplain.report.region_pictures import draw_details, no_sparklines, read_regions
from gexplain.report.run_card import NONE, run_card
from gexplain.report.scored import STRANDS, Scored, choose_top, count_calls, read_scored
from gexplain.report.sparklines import RelevanceTracks
from gexplain.report.svg import shortened
from gexplain.report.table_data import table_data, to_script
from gexplain.run_folder import QUALITY, REPORT, Run
from gexplain.work_folder import write_whole

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Progress = Callable[[int, int], None]
"""Called with the regions done, and those in all."""

DEFAULT_TOP = 24
UNFOLDED = 8
"""Of the regions in detail; the others are folded away."""
MOST_MOTIFS = 30
MOST_WITHOUT_HITS = 10
"""Motifs shown where none has a hit."""

_SHORT = 60
_CONTENTS = (
    ("run", "Run"),
    ("regions", "Regions"),
    ("top", "Top regions"),
    ("motifs", "Motifs"),
    ("profiles", "Profiles"),
    ("quality", "Quality"),
    ("igv-panel", "Browser"),
    ("methods", "Methods"),
    ("reading", "How to read this"),
    ("files", "Files"),
)
_FILES = {
    "regions.tsv": "one row per region, with everything that the table above has, and more",
    "stats.tsv": "one row per track: sums and quantiles",
    "seqlets.bed": "spans of relevance that stand out from shuffled sequence",
    "hits.bed": "motif matches that the model uses",
    "motif_summary.tsv": "one row per track and motif",
    "demo_sites.tsv": "the planted sites and decoys of the demo",
    "igv_session.xml": "opens in IGV Desktop",
    "hub.txt": "a track hub for the UCSC Genome Browser",
    "browser/regions.bb": "the regions as bigBed",
    "browser/seqlets.bb": "the seqlets as bigBed",
    "browser/hits.bb": "the hits as bigBed",
    "browser/reference.fa.gz": "the letters under the regions",
    "null/null.fa": "shuffled sequence, which seqlets and hits are told from",
    QUALITY: "how far the tracks can be trusted, as measured",
    "manifest.json": "settings, versions, checksums and warnings",
}
# Characters that no HTML document should hold, escaped or not; lone surrogates are bytes of a file that were no text.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def write_report(
    run: Run,
    *,
    genome: Genome,
    motifs: MotifSet | None = None,
    top: int = DEFAULT_TOP,
    progress: Progress | None = None,
) -> Path:
    """The path of report.html, written into the run's folder.

    genome: the run's, for the letters. motifs: those that hits were called of, for their logos; without them there
    are none. top: regions to show letter by letter. progress: called as regions are read.

    Raises InputError for a table of the run, or a quality.json, that cannot be used; RunError where the page cannot
    be written.
    """
    path = run.path / REPORT
    write_whole(path, _page(run, genome, motifs, top, progress))
    return path


def _page(run: Run, genome: Genome, motifs: MotifSet | None, top: int, progress: Progress | None) -> str:
    manifest = run.manifest
    classes, targets = list(manifest["model"]["classes"]), list(manifest["settings"]["target"])
    scored = read_scored(run)
    has_pictures = "bigwig" in manifest["settings"]["formats"]
    chosen = choose_top(scored, classes, targets, top) if has_pictures else []
    calls = count_calls(run, scored, [row for row, _ in chosen])
    sparklines, profiles, details = no_sparklines(), list[Figure](), list[dict[str, Any]]()
    if has_pictures:
        with RelevanceTracks(run) as tracks:
            details = draw_details(tracks, scored, calls, genome, chosen, targets)
            sparklines, profiles = read_regions(tracks, scored, classes, targets, manifest["model"]["head"], progress)
    environment = _environment()
    texts = {name: files("gexplain.report").joinpath(name).read_text(encoding="utf-8") for name in _PARTS}
    scripts = [texts["report.js"], texts["igv_panel.js"]]
    html = environment.from_string(texts["report.html.jinja"]).render(
        policy=_policy(scripts),
        css=_markup(texts["report.css"] + texts["igv_panel.css"]),
        js=_markup(scripts[0]),
        igv_js=_markup(scripts[1]),
        glyphs=_markup(glyph_definitions()),
        contents=_CONTENTS,
        title=run.path.resolve().name,
        folder=shlex.quote(str(run.path)),
        card=run_card(manifest, scored),
        table={
            "json": _markup(table_data(scored, calls, sparklines, manifest)),
            "sentence": _table_sentence(scored, manifest),
            "skipped": [
                {"reason": reason, "count": f"{n:,}"} for reason, n in manifest["regions"]["skipped"].items()
            ],
        },
        details=[_detail(one, scored, manifest) for one in details],
        n_unfolded=UNFOLDED,
        detail_rule=_detail_rule(len(details), scored, manifest),
        no_pictures=_why_no_pictures(run),
        motifs=_motifs(run, motifs),
        profiles=_figures(profiles),
        profile_sentence=_profile_sentence(manifest, scored, [one.title for one in profiles]),
        heights=heights(manifest),
        quality=_quality(run),
        igv_panel=_markup(texts["igv_panel.html.jinja"]),
        igv_json=_markup(to_script(igv_config(run))),
        methods={
            "paragraph": methods_paragraph(manifest),
            "references": references(manifest),
            "command": _command(manifest.get("command")),
        },
        reading=how_to_read(manifest),
        files=_files(run),
    )
    return _NOT_TEXT.sub("\ufffd", html) + "\n"


_PARTS = ("report.html.jinja", "report.css", "report.js", "igv_panel.html.jinja", "igv_panel.css", "igv_panel.js")


def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _markup(text: str) -> Markup:
    """Text that is markup already: our own files, and what was escaped as it was made."""
    from markupsafe import Markup

    return Markup(text)


def _policy(scripts: Sequence[str]) -> str:
    """What the page may do: run its own scripts, and those of igv.js where it is served; load from there alone.

    Chromium holds a page from disk to this as well. igv.js writes styles into the page, and asks for tracks by fetch.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts
    )
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes} 'self' {PUBLIC_ADDRESS}",
            "style-src 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _command(command: Any) -> str:
    return shlex.join(map(str, command)) if isinstance(command, list) else str(command or "")


def _why_no_pictures(run: Run) -> str:
    formats = run.manifest["settings"]["formats"]
    if "bigwig" not in formats:
        return (
            f"There are no pictures here: they are drawn from bigWigs, and this run wrote {', '.join(formats)} alone."
            f" Score again with --format {','.join(['bigwig', *formats])}."
        )
    return "There are no pictures here: none were asked for, or no region has a track of relevance."


# ---- The table, and regions in detail ----


def _table_sentence(scored: Scored, manifest: Mapping[str, Any]) -> str:
    sentences = [
        "Click a column to sort by it. A click or Enter on a row shows more of the region, and moves the genome"
        " browser there."
    ]
    if scored.n_lines > len(scored):
        sentences.append(
            f"The page has the first {len(scored):,} of {scored.n_lines:,} lines of regions.tsv: counts, profiles and"
            " the choice of top regions are of these."
        )
    return " ".join(sentences)


def _detail(one: Mapping[str, Any], scored: Scored, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the template says of a region that is shown letter by letter."""
    row, target = one["row"], manifest["settings"]["target"][one["target"]]
    region = scored.interval(row)
    name = region.name if region.name != "." else f"Region {row + 1:,}"
    strand = "" if region.strand == "." else f" ({region.strand})"
    # Those that are framed: the table counts the hits of all tracks.
    hits = f"{count(one['n_hits'], 'primary hit')} in it" if one["n_hits"] else ""
    return {
        "row": row,
        "name": name,
        "short": shortened(name, _SHORT),
        "locus": shortened(format_region(region), _SHORT) + strand,
        "prediction": _prediction(scored, row, one["target"], manifest),
        "track": f"track {shortened(target, _SHORT)}",
        "hits": hits,
        "overview": _markup(one["overview"]),
        "logo": _markup(one["logo"]),
        "caption": one["caption"],
    }


def _prediction(scored: Scored, row: int, target: int, manifest: Mapping[str, Any]) -> str:
    classes, targets = manifest["model"]["classes"], manifest["settings"]["target"]
    if manifest["model"]["head"] == "regression":
        number = classes.index(targets[target]) if targets[target] in classes else 0
        return f"predicted value {scored.probabilities[row, number]:.4g}".replace("-", "−")
    predicted = [classes[one] for one in scored.predictions[scored.prediction[row]]]
    names = ", ".join(shortened(name, _SHORT) for name in predicted[:4]) or "no class"
    best = f"predicted {names} ({scored.best_probability()[row]:.3f})"
    if scored.ranked.shape[1] or targets[target] not in classes or targets[target] in predicted:
        return best
    probability = scored.probabilities[row, classes.index(targets[target])]
    return f"{best}, {shortened(targets[target], _SHORT)} {probability:.3f}"


def _detail_rule(n: int, scored: Scored, manifest: Mapping[str, Any]) -> str:
    n_targets = len(manifest["settings"]["target"])
    if manifest["model"]["head"] == "regression":
        rule = "the highest value first"
        if n_targets > 1:
            rule = "for each output in turn, the region with its highest value, shown by its track"
        return f"{count(n, 'region')}, chosen by one rule: {rule}. No region comes twice."
    targets = set(manifest["settings"]["target"])
    own = [name for name in manifest["model"]["classes"] if name in targets]
    likeliest = _likeliest(manifest)
    if own and not scored.ranked.shape[1]:
        rule = f"the highest mean probability of {shortened(own[0], _SHORT)} first"
        if n_targets > 1:
            rule = (
                "for each class with a track of its own in turn, the region with the highest mean probability of that"
                f" class, shown by its track; the class that is {likeliest} least often comes first"
            )
    else:
        rule = (
            f"for each {likeliest} class in turn, the region with its highest mean probability; the class that is"
            f" {likeliest} least often comes first"
        )
    return f"{count(n, 'region')}, chosen by one rule: {rule}. No region comes twice."


def _likeliest(manifest: Mapping[str, Any]) -> str:
    """What the class of the highest probability is: of a multi-label model, it need not be predicted."""
    return "likeliest" if manifest["model"]["head"] == "multi_label" else "predicted"


def _profile_sentence(manifest: Mapping[str, Any], scored: Scored, titles: Sequence[str]) -> str:
    """What the profiles are of. titles: theirs."""
    settings, likeliest = manifest["settings"], _likeliest(manifest)
    is_turned = (scored.strand[scored.reason == 0] == STRANDS.index("-")).any()
    turned = " Regions on the minus strand are turned." if is_turned else ""
    middle = " A peak in the middle means that the model looks where the regions are centred."
    if settings["method"] == "random":
        middle = ""
    if manifest["model"]["head"] == "regression":
        return f"Relevance by position, over all regions.{turned}{middle}"
    nowhere = ""
    if any(title.endswith(("likeliest region", "likeliest regions")) for title in titles):
        nowhere = f" A class that is {likeliest} nowhere is shown by the regions in which it has most."
    return (
        f"Relevance by position, over all regions of a {likeliest} class, in the track that explains it: the class's"
        f" own, where the run has one.{nowhere}{turned}{middle}"
    )


# ---- Motifs, quality, files ----


def _motifs(run: Run, motifs: MotifSet | None) -> dict[str, Any]:
    """The motif section: rows, or a sentence on why there are none."""
    table = read_motif_rows(run, top=MOST_MOTIFS)
    if table is None:
        why = why_no_null(run.manifest) if "calls" not in run.manifest else "no motifs were given"
        return {"rows": [], "has_hits": False, "sentence": f"No hits were called: {why}."}
    by_id = {motif.id: motif for motif in motifs} if motifs is not None else {}
    reach = max((float(np.abs(row.offsets).max(initial=0)) for row in table.rows), default=0.0)
    return {
        "sentence": table.sentence,
        "has_hits": table.n_with_hits > 0,
        "rows": [
            {
                "tf": row.tf,
                "motif": row.motif,
                "track": row.track,
                "primary_hits": f"{row.primary_hits:,}",
                "regions": f"{row.regions_with_hit:,}",
                "used": f"{row.used:,} of {row.matches:,}",
                "enrichment": _format(row.enrichment, "{:.1f}"),
                "q": _format(row.q, "{:.2g}"),
                "logo": _motif_logo(row, by_id),
                "histogram": _histogram(row, reach),
            }
            for row in table.rows[: MOST_MOTIFS if table.n_with_hits else MOST_WITHOUT_HITS]
        ],
    }


def _motif_logo(row: MotifRow, by_id: Mapping[str, Any]) -> Markup | None:
    motif = by_id.get(row.motif)
    if motif is None:
        return None
    return _markup(information_logo(motif.probabilities, height=40, letter_width=11, title=""))


def _histogram(row: MotifRow, reach: float) -> Markup | None:
    if not len(row.offsets):
        return None
    return _markup(position_histogram(row.offsets, reach=reach, width=190, height=42))


def _format(value: float, how: str) -> str:
    return NONE if np.isnan(value) else how.format(value)


def _quality(run: Run) -> dict[str, Any] | None:
    if not (run.path / QUALITY).exists():
        return None
    quality = read_quality(run.path / QUALITY)
    return {"sentences": quality_sentences(quality), "figures": _figures(quality_figures(quality))}


def _figures(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    return [{"title": one.title, "svg": _markup(one.svg), "caption": one.caption} for one in figures]


def _files(run: Run) -> dict[str, list[dict[str, str]]]:
    """Those of the run's files that are there, with what they are: the tracks, and all others."""
    main = [
        {"name": name, "address": _address(name), "about": about}
        for name, about in _FILES.items()
        if (run.path / name).exists()
    ]
    tracks = []
    for stem, path in run.tracks.items():
        one, name = run.manifest["tracks"][stem], path.relative_to(run.path).as_posix()
        target = f", {shortened(one['target'], _SHORT)}" if one["target"] else ""
        strand = f" ({one['strand']})" if one["strand"] != "." else ""
        tracks.append({"name": name, "address": _address(name), "about": f"{one['kind']}{target}{strand}"})
    return {"main": main, "tracks": tracks}


def _address(name: str) -> str:
    return quote(os.fsencode(name))
