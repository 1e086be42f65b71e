"""Where tests find data that is not in the repository, and the mark of those that need it."""

from __future__ import annotations

from pathlib import Path

import pytest

# The shared folder lies beside the checkout; a clone has none, and its tests pass without.
SHARED = Path(__file__).resolve().parents[1].parent / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared, which lies beside the checkout")
