"""report.html in a real browser: from disk, without a network, by mouse and by keyboard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Visit
from tiny_runs import TinyRun

from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.report import page as page_module
from gexplain.report.page import write_report
from gexplain.report.serve import RunServer

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&é中"
N = 130


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """A page of 130 regions, one of them skipped, with a few hits."""
    rng = np.random.default_rng(0)
    regions = [(Interval("chr1", 100 + 150 * i, 200 + 150 * i, f"peak_{i}", "+-"[i % 2]), "") for i in range(N - 1)]
    regions.insert(7, (Interval("chr9", 5, 9, "lost"), "unknown chromosome"))
    chances = rng.dirichlet(np.full(3, 0.4), N - 1).round(4).tolist()
    hits = [
        (110, 120, "+", "REB1", "Reb1", 1),
        (410, 420, "+", "REB1", "Reb1", 1),
        (430, 440, "-", "ABF1", "Abf1", 1),
    ]
    return page(TinyRun(regions=regions, chances=chances, hits=hits), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    regions = [
        (Interval("chr1", 1000, 1400, HOSTILE, "+"), ""),
        (Interval("chr1", 3000, 3090, "x" * 5000, "-"), ""),
        (Interval("chr1", 5000, 5090, "wide" * 40 + " words" * 40, "-"), ""),
    ]
    run = TinyRun(
        classes=("background", HOSTILE, "c" * 120),
        targets=("background", HOSTILE, "c" * 120),
        regions=regions,
        chances=[(0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.1, 0.2, 0.7)],
        hits=[(1010, 1020, "+", HOSTILE, "target_1", 1)],
        summary=[f"target_1\tM\t{HOSTILE}\t20\t9\t1\t1\t1\t0.1\t0.01\t9\t1\t7.5\t0.001"],
        more={"warnings": [HOSTILE], "command": ["gexplain", "score", HOSTILE + "x" * 500]},
    )
    return page(run, tmp_path_factory.mktemp("hostile"))


def page(run: TinyRun, out: Path) -> Path:
    finished = run.write(out)
    with Genome(out / "genome.fa") as genome, pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "UNFOLDED", 3)
        return write_report(finished, genome=genome, top=5)


def names(page: Any) -> list[str]:
    return page.locator("#regions .pick").all_text_contents()


def settle(page: Any) -> None:
    """Returns once the page has done what it put off: timers of no delay, set before this one."""
    page.evaluate("new Promise((done) => setTimeout(done, 1))")


def cells(page: Any, number: int) -> list[str]:
    return page.locator(f"#regions tr.row > :nth-child({number})").all_text_contents()


def head(page: Any, title: str) -> Any:
    return page.locator("#regions thead").get_by_role("button", name=title, exact=True)


def check_quiet(visited: Visit) -> None:
    """Nothing was asked for but the page, and nothing complained."""
    assert visited.requested == [
        one for one in visited.requested if one.startswith("data:") or one.endswith("report.html")
    ]
    assert not visited.console_errors
    assert not visited.console_warnings
    assert not visited.page_errors


def test_it_opens_from_disk_and_asks_for_nothing(visit: Callable[..., Visit], report):
    visited = visit(report, offline=True)
    assert len(names(visited.page)) == 50
    assert visited.page.get_by_role("heading", level=1).text_content() == "yeast-tf on genome.fa"
    check_quiet(visited)


def test_it_sorts_by_every_column(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.locator("#regions select").nth(1).select_option("scored")
    titles = page.locator("#regions thead button").all_text_contents()
    assert titles == [
        *("#", "Name", "Locus", "Strand", "Predicted class", "Probability", "Unexplained", "Seqlets", "Motif hits"),
        "Relevance",
    ]
    for title in titles:
        orders = []
        for _ in range(2):
            head(page, title).click()
            orders.append(
                (names(page), page.locator(f"th:has(> button:text-is('{title}'))").get_attribute("aria-sort"))
            )
        assert {state for _, state in orders} == {"ascending", "descending"}
        if title != "Seqlets":  # which are all 0
            assert orders[0][0] != orders[1][0]
    assert page.locator("#regions thead th:not([aria-sort=none])").count() == 1


@pytest.mark.parametrize(
    ("title", "column", "key"),
    [("#", 1, int), ("Name", 2, lambda name: int(name.removeprefix("peak_"))), ("Probability", 6, float)],
)
def test_sorted_rows_are_in_order(visit: Callable[..., Visit], report, title, column, key):
    page = visit(report).page
    page.get_by_label("Status").select_option("scored")
    head(page, title).click()
    texts = page.locator(f"#regions tr.row > :nth-child({column})").evaluate_all(
        "cells => cells.map(cell => (cell.querySelector('span') || cell).textContent)"
    )
    values = [key(text) for text in texts]
    is_descending = page.locator("#regions thead [aria-sort=descending]").count() == 1
    assert values == sorted(values, reverse=is_descending)
    assert len({*values}) > 10


FOUND = {
    "PEAK_12": ["peak_12", *(f"peak_{i}" for i in range(120, 129))],
    "chr1:301-400": ["peak_1"],
    "chr1:250-551": ["peak_1", "peak_2", "peak_3"],
    "abf1 x": [],
    "unknown chromosome": ["lost"],
    "chr9:5-7": ["lost"],
}


def test_it_finds_names_places_classes_and_factors(visit: Callable[..., Visit], report):
    page = visit(report).page
    for query, found in FOUND.items():
        page.get_by_label("Search").fill(query)
        settle(page)
        assert names(page) == found, query
    for query in ("rap", "reb1", " abf1"):
        page.get_by_label("Search").fill(query)
        settle(page)
        rows = page.locator("#regions tr.row").all_text_contents()
        assert bool(rows) == (query != "rap")
        assert all(query.strip() in row.lower() for row in rows)


def test_it_filters_by_class_and_status(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.get_by_label("Predicted class", exact=True).select_option(
        label=page.locator("#regions select >> nth=0").evaluate("one => one.options[1].text")
    )
    chosen = page.locator("#regions select >> nth=0").evaluate("one => one.selectedOptions[0].text")
    kind, n = chosen.removesuffix(")").split(" (")
    assert {*cells(page, 5)} == {kind}
    assert f"of {n} regions ({N} in all)" in page.locator("#regions .pager p").text_content()
    page.get_by_label("Predicted class", exact=True).select_option("")
    page.get_by_label("Status").select_option("skipped")
    assert names(page) == ["lost"]
    assert cells(page, 5) == ["skipped: unknown chromosome"]


def test_it_has_pages(visit: Callable[..., Visit], report):
    page = visit(report).page
    seen = names(page)
    for expected in (50, 30):
        page.get_by_role("button", name="Next page").click()
        assert len(names(page)) == expected
        seen += names(page)
    assert len({*seen}) == N
    assert page.get_by_role("button", name="Next page").is_disabled()
    page.get_by_role("button", name="First page").click()
    assert names(page) == seen[:50]


TOLD = "document.addEventListener('gexplain:locus', event => { window.told = event.detail; })"


def test_enter_on_a_row_opens_it(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.evaluate(TOLD)
    page.locator("#regions .pick").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert "chr1:251-350" in page.locator("#regions tr.more").text_content()
    assert page.locator("#regions tr.row").nth(1).get_attribute("aria-current") == "true"
    assert page.evaluate("document.activeElement.textContent") == "peak_1"
    assert page.evaluate("window.told") is None  # from disk there is no genome browser to move
    page.keyboard.press("Enter")
    assert page.locator("#regions tr.more").count() == 0
    page.get_by_text("Show in the genome browser").first.click()
    assert page.evaluate("told.chrom") == "chr1"


def test_of_a_page_that_is_served_it_moves_the_genome_browser(visit: Callable[..., Visit], report):
    server = RunServer(report.parent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page = visit(f"{server.address}").page
        page.evaluate(TOLD)
        page.locator("#regions .pick").nth(1).press("Enter")
        assert page.evaluate("told") == {"chrom": "chr1", "start": 250, "end": 350, "name": "peak_1"}
        page.locator("#regions tr.row").nth(3).locator("td").nth(1).click()
        assert page.evaluate("told.name") == "peak_3"
        page.locator("#regions tr.row", has_text="lost").click()
        assert page.evaluate("told.name") == "peak_3"  # where nothing was scored there is nothing to see
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_keys_move_from_page_to_page(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.locator("#regions .pick").first.focus()
    for key in ("End", "ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.textContent") == "peak_49"  # the 51st, as one was lost
    assert page.locator("#regions .pick[tabindex='0']").count() == 1


def test_the_class_that_is_asked_for_is_shown(visit: Callable[..., Visit], report):
    page = visit(report).page
    before = cells(page, 6)
    page.get_by_label("Show probability and relevance of").select_option(label="Abf1")
    assert cells(page, 6) != before
    label = page.locator("#regions tr.row").first.locator("td:last-child svg").get_attribute("aria-label")
    assert label.startswith("relevance for Abf1")


def test_the_link_of_a_detail_leads_to_its_row(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.get_by_label("Search").fill("nothing at all")
    settle(page)
    name = page.locator("#top article h3").first.text_content()
    page.locator("#top article").first.get_by_text("Show in the table").click()
    assert page.evaluate("document.activeElement.textContent") == name


def test_logos_are_seen(visit: Callable[..., Visit], report):
    page = visit(report).page
    letters = page.locator("#top article").first.locator("use[data-position]")
    assert letters.count() == 100
    boxes = letters.evaluate_all("letters => letters.map(one => one.getBoundingClientRect().height)")
    assert max(boxes) > 20


def test_folded_regions_open_for_who_comes_by_a_link(visit: Callable[..., Visit], report):
    page = visit(report).page
    last = page.locator("#top article").last
    assert not last.is_visible()
    page.evaluate(f"location.hash = '{last.get_attribute('id')}'")
    last.wait_for(state="visible")


SIDEWAYS = """() => [...document.querySelectorAll('body *')]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('svg'))
  .map((one) => one.outerHTML.slice(0, 200)).slice(0, 5)"""


@pytest.mark.parametrize("which", ["report", "hostile"])
def test_nothing_scrolls_sideways(visit: Callable[..., Visit], request, which):
    page = visit(request.getfixturevalue(which)).page
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    for width in (1280, 1024, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for row in range(2):
            page.locator("#regions .pick").nth(row).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, page.evaluate(SIDEWAYS)


def test_names_and_loci_have_the_room_that_they_need(visit: Callable[..., Visit], tmp_path):
    regions = [
        (Interval("chr1", 1000, 1400, "FOXA1_decoy_30", "+"), ""),
        (Interval("chr1", 3000, 3090, "USF1_shuffled_6", "-"), ""),
    ]
    chances = [(0.7, 0.2, 0.1), (0.1, 0.1, 0.8)]
    shown = visit(page(TinyRun(regions=regions, chances=chances), tmp_path)).page
    for width in (1280, 1024):
        shown.set_viewport_size({"width": width, "height": 800})
        cut = shown.evaluate(
            "[...document.querySelectorAll('#regions td, #regions .pick, #regions thead button')]"
            ".filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"
        )
        assert cut == []


@pytest.mark.parametrize(
    ("head", "label", "first"),
    [
        ("regression", "Show value and relevance of", "y1"),
        ("multi_label", "Show probability and relevance of", "likeliest class"),
        ("classification", "Show probability and relevance of", "predicted class"),
    ],
)
def test_what_is_shown_is_called_by_its_name(visit: Callable[..., Visit], tmp_path, head, label, first):
    values = [(0.25, 0.75), (0.75, 0.125), (0.5, 0.25)]
    run = TinyRun(classes=("y1", "y2"), targets=("y1", "y2"), head=head, chances=values)
    shown = visit(page(run, tmp_path)).page
    choice = shown.get_by_label(label, exact=True)
    assert choice.locator("option").all_text_contents() == list(dict.fromkeys([first, "y1", "y2"]))
    choice.select_option("y2")
    titles = shown.locator("#regions thead th").all_text_contents()
    column = titles.index("Value" if head == "regression" else "Probability") + 1
    texts = [text for text in cells(shown, column) if text != "–"]
    assert [float(text[:5]) for text in texts] == [pytest.approx(value, abs=0.006) for _, value in values]


def test_on_a_telephone_the_table_and_the_letters_are_of_use(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.locator("#regions thead th:visible").all_text_contents() == [
        *("Name", "Predicted class", "Probability", "Relevance")
    ]
    cut = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"
    assert page.locator("#regions .pick").evaluate_all(cut) == []
    page.locator("#regions .pick").first.click()
    assert "chr1:101-200" in page.locator("tr.more").inner_text()
    logo = page.locator("#top figure > svg").first
    assert logo.bounding_box()["width"] > 700
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_names_do_nothing_and_are_seen_as_they_are(visit: Callable[..., Visit], hostile):
    visited = visit(hostile)
    dialogs: list[str] = []
    visited.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    visited.page.get_by_label("Search").fill("<script>")
    settle(visited.page)
    visited.page.locator("#regions .pick").first.click()
    visited.page.wait_for_timeout(100)
    assert not dialogs
    assert names(visited.page) == [HOSTILE]
    assert HOSTILE in visited.page.locator("#regions tr.more").text_content()
    assert HOSTILE in visited.page.locator("#top").text_content()
    assert visited.page.locator("img[src=x]").count() == 0
    check_quiet(visited)


def test_a_script_that_is_not_the_pages_own_does_not_run(visit: Callable[..., Visit], report, tmp_path):
    """What keeps hostile text harmless if all else fails: the page's policy."""
    html = report.read_text(encoding="utf-8")
    bad = tmp_path / "report.html"
    bad.write_text(html.replace("</main>", "<script>window.broken = true</script></main>"), encoding="utf-8")
    visited = visit(bad)
    assert visited.page.evaluate("window.broken") is None
    assert len(visited.console_errors) == 1


def test_without_scripts_the_page_says_where_the_rows_are(visit: Callable[..., Visit], report):
    page = visit(report, java_script_enabled=False).page
    assert page.locator("#regions noscript").is_visible()


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number).map((one) => one / 255)
      .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color) && color !== 'transparent') return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    const words = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || one.disabled || !one.checkVisibility() || ['SCRIPT', 'STYLE'].includes(one.tagName)) continue;
    const style = getComputedStyle(one);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(ground(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push([one.tagName, one.textContent.slice(0, 30), ink, ground(one)]);
  }
  return found;
}"""


def test_all_text_has_contrast(visit: Callable[..., Visit], report):
    page = visit(report).page
    page.locator("#regions .pick").nth(2).click()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate(CONTRAST) == []


def test_pictures_have_names_and_controls_have_labels(visit: Callable[..., Visit], report):
    page = visit(report).page
    for picture in page.locator("svg:not([aria-hidden=true])").element_handles():
        assert picture.get_attribute("role") == "img"
        assert picture.get_attribute("aria-label")
    for control in page.locator("button:not([hidden]), input, select").element_handles():
        assert control.evaluate("one => one.labels?.length || one.textContent.trim() || one.ariaLabel")
    assert page.locator("main, nav, header, footer").count() >= 4
    assert page.locator("table:not(:has(caption))").count() == 0
