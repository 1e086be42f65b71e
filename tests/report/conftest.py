"""What tests of reports share."""

from __future__ import annotations

from browser import chromium, visit

__all__ = ["chromium", "visit"]
