"""docs/images of a run's page: python docs/make_screenshots.py DEMO_OUT, the folder of a finished `gexplain demo`."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from gexplain.report.serve import RunServer

ROOT = Path(__file__).parent
IMAGES = ROOT / "images"
sys.path.insert(0, str(ROOT.parent / "tests"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    from browser import QUIET, find_chromium

    with sync_playwright() as playwright, RunServer(run) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=QUIET)
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        page.goto((run / "report.html").resolve().as_uri())
        take_report(page)
        page.locator("section#top").screenshot(path=IMAGES / "report_letters.png")
        page.locator("section#quality").screenshot(path=IMAGES / "report_quality.png")
        take_view(page, server.address)
        chromium.close()


def take_report(page: Page) -> None:
    """The card, and the table with a row open."""
    page.get_by_role("searchbox", name="Search").first.fill("_site_")
    page.locator("section#regions tbody tr", has_text="REST_site_28").first.click()
    page.wait_for_timeout(500)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "report.png")
    page.reload()


def take_view(page: Page, address: str) -> None:
    """The panel of tracks, at a region with a hit, as after a click in the table."""
    page.goto(address)
    page.get_by_role("searchbox", name="Search").first.fill("REST_site_28")
    page.locator("section#regions tbody tr").first.click()
    page.wait_for_timeout(5000)
    page.locator("section#igv-panel").screenshot(path=IMAGES / "view.png")


if __name__ == "__main__":
    main()
