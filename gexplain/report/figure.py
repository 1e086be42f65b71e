"""A picture of the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: its title, the drawing as an `<svg>` element, and what it shows, in plain text."""

    title: str
    svg: str
    caption: str
