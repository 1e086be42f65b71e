"""What the scripts print and keep: Markdown tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def markdown_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A caption and a table below it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([caption, "", *(f"| {' | '.join(line)} |" for line in lines)])


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """The figures, strictly JSON: no NaN and no infinity."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
