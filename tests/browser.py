"""A real browser for tests of pages: chromium under playwright, which talks to nobody but this machine.

Import the fixtures where they are used: `from browser import chromium, visit`. Tests skip where either is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """The installed chromium, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@dataclass
class Visit:
    """A page that is open, and what it did: errors and warnings in its console, uncaught errors, all it asked for."""

    page: Any
    console_errors: list[str] = field(default_factory=list)
    console_warnings: list[str] = field(default_factory=list)
    page_errors: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """What was asked of other machines, and was not let out."""
        return [url for url in self.requested if not _is_here(url)]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless chromium, one for all tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with sync_api.sync_playwright() as playwright:
        executable = find_chromium() or playwright.chromium.executable_path
        if not Path(executable).exists():
            pytest.skip("needs chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """What `visits` gives, for one test."""
    with visits(chromium) as open_page:
        yield open_page


@contextmanager
def visits(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """Opens an address or a file in a page of its own; returns the Visit once the page has loaded.

    width, height: of the window. script: run before the page's own. offline: as if this machine had no network at
    all, so of files only. Further options are playwright's for a context, such as reduced_motion or color_scheme.
    """
    contexts = []

    def open_page(
        address: str | Path,
        *,
        width: int = 1280,
        height: int = 900,
        script: str = "",
        offline: bool = False,
        **options: Any,
    ) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.route(lambda url: not _is_here(url), lambda route: route.abort())
        context.set_offline(offline)
        context.add_init_script(script)
        page = context.new_page()
        page.set_default_timeout(60_000)
        visit = Visit(page)
        lists = {"error": visit.console_errors, "warning": visit.console_warnings}
        page.on("console", lambda message: lists.get(message.type, []).append(message.text))
        page.on("pageerror", lambda error: visit.page_errors.append(str(error)))
        page.on("request", lambda request: visit.requested.append(request.url))
        page.on(
            "response", lambda one: visit.refused.append(f"{one.status} {one.url}") if one.status >= 400 else None
        )
        page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
        return visit

    try:
        yield open_page
    finally:
        for context in contexts:
            context.close()


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost")
