"""The run card: what was run, on what, with what, in words and numbers of the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gexplain.errors import count
from gexplain.report.methods_text import is_cnn, model_name
from gexplain.report.scored import Scored

NONE = "–"
_MOST_PREDICTED = 8
_CALL_SETTINGS = ("null regions", "seed", "q", "match p", "motifs", "motifs sha256", "tabix")
_LISTED_ELSEWHERE = ("gexplain", "model", "genome", "regions", "classes", "head", "architecture", "tokenizer")


def run_card(manifest: Mapping[str, Any], scored: Scored) -> dict[str, Any]:
    """What the template shows of the run: figures, predicted classes, warnings, and groups of facts."""
    model, genome, regions = manifest["model"], manifest["genome"], manifest["regions"]
    settings = manifest["settings"]
    kind = "CNN" if is_cnn(manifest) else "DNABERT-2"
    return {
        "model": model_name(model["source"]),
        "genome": Path(str(genome["file"])).name,
        "lead": (
            f"{kind}, {settings['method']}: {_what(settings['method'], regions['scored'])},"
            f" base by base, in windows of {settings['window']:,} bases."
        ),
        "figures": _figures(manifest),
        "predicted": _predicted(scored, model["classes"]) if model["head"] != "regression" else [],
        "warnings": list(manifest["warnings"]),
        "groups": _groups(manifest, kind),
        "written": manifest["written"],
        "version": manifest["versions"]["gexplain"],
    }


def _what(method: str, n: int) -> str:
    regions, whose = count(n, "region"), "its prediction" if n == 1 else "their predictions"
    return f"noise over {regions}" if method == "random" else f"why the model gave {regions} {whose}"


def in_words(value: Any) -> str:
    """A value of the manifest, as a reader takes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(one)}" for name, one in value.items()) or NONE
    if isinstance(value, list):
        return ", ".join(map(in_words, value)) or NONE
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: NONE}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def format_seconds(seconds: float) -> str:
    """A time as a reader takes it: 8.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _figures(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    regions, calls = manifest["regions"], manifest.get("calls", {})
    n_skipped = sum(regions["skipped"].values())
    seconds = sum(manifest.get("seconds", {}).values())
    q = manifest["settings"].get("q")
    figures = [
        _figure("regions scored", f"{regions['scored']:,}", f"{n_skipped:,} skipped" if n_skipped else ""),
        _figure("windows read", f"{manifest['windows']['read']:,}"),
        _figure(
            "classes" if manifest["model"]["head"] != "regression" else "outputs",
            str(len(manifest["model"]["classes"])),
        ),
    ]
    for name in ("seqlets", "primary hits"):
        value = f"{sum(calls[name].values()):,}" if name in calls else NONE
        figures.append(_figure(name, value, f"q ≤ {q:g}" if name in calls else "not called"))
    if seconds:
        figures.append(_figure("time", format_seconds(seconds), f"on {manifest['device']}"))
    return figures


def _figure(name: str, value: str, note: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _predicted(scored: Scored, classes: Sequence[str]) -> list[dict[str, str]]:
    """How many of the table's regions are predicted as what, the most frequent first."""
    counts: dict[str, int] = {}
    of_each = np.bincount(scored.prediction[scored.reason == 0], minlength=len(scored.predictions)).tolist()
    for one, n in zip(scored.predictions, of_each, strict=True):
        for name in [classes[number] for number in one] or ["none"]:
            counts[name] = counts.get(name, 0) + n
    ranked = sorted(((n, name) for name, n in counts.items() if n), key=lambda pair: -pair[0])
    shown, rest = ranked[:_MOST_PREDICTED], ranked[_MOST_PREDICTED:]
    if rest:
        shown.append((sum(n for n, _ in rest), f"{len(rest):,} other classes"))
    n_all = max(sum(of_each), 1)
    return [{"name": name, "count": f"{n:,}", "percent": f"{min(100 * n / n_all, 100):.2f}"} for n, name in shown]


def _groups(manifest: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    model, genome, regions, settings = (manifest[one] for one in ("model", "genome", "regions", "settings"))
    reading = {name: value for name, value in settings.items() if name not in (*_LISTED_ELSEWHERE, *_CALL_SETTINGS)}
    calling = {name: settings[name] for name in _CALL_SETTINGS if name in settings}
    groups: dict[str, Mapping[str, Any]] = {
        "Model": {
            "source": model["source"],
            "kind": f"{kind}, {model['head'].replace('_', '-')}",
            "classes": _classes(model["classes"]),
            "weights": model["form"],
            "sha256": model["sha256"],
            "architecture": settings.get("architecture", NONE),
        },
        "Genome": {
            "file": genome["file"],
            "chromosomes": genome["chromosomes"],
            "bases": genome["bases"],
            "sha256": genome["sha256"],
        },
        "Regions": {
            "file": regions["source"],
            "lines": regions["lines"],
            "scored": regions["scored"],
            "skipped": regions["skipped"] or "none",
            "windows read": manifest["windows"]["read"],
            "windows of N alone": manifest["windows"]["N alone"],
            "ambiguous bases read": manifest["ambiguous bases read"],
            "sha256": regions["sha256"],
        },
        "Reading": reading,
        "Rules": manifest["rules"],
        "Calls": calling | {name: manifest["calls"][name] for name in manifest.get("calls", {}) if name != "motifs"},
        "Run": {
            "written": manifest["written"],
            "device": manifest["device"],
            **{f"time for {name}": format_seconds(value) for name, value in manifest.get("seconds", {}).items()},
            **{f"{name} version": value for name, value in manifest["versions"].items()},
        },
    }
    return [
        {"name": name, "facts": [(key, in_words(value)) for key, value in facts.items()]}
        for name, facts in groups.items()
        if facts
    ]


def _classes(names: Sequence[str], most: int = 40) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
