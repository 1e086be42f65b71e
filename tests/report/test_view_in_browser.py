"""The genome browser of a report, in chromium: what igv.js draws of a real run."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from browser import Visit, visits
from tiny import tiny_checkpoint

import gexplain
from gexplain.genome.bed_table import BedSchema, Column
from gexplain.genome.bigbed import BigBedWriter
from gexplain.report.igv_asset import PUBLIC_ADDRESS, SCRIPT, SERVED_AS
from gexplain.report.igv_page import igv_config
from gexplain.report.serve import RunServer
from gexplain.run_folder import Run, open_run

REPORT = Path(gexplain.__file__).parent / "report"
LABELS = ["none", "pro<img src=x>", 'a"b&amp;é+%2e#?']
PALETTE = {"A": 0x009E73, "C": 0x0072B2, "G": 0xE69F00, "T": 0xD55E00}
NOTHING = -1
PLACE = {"chrom": "chr1", "start": 2000, "end": 2100, "name": "<b>left</b>"}
HITS = [(2010, 2020), (2050, 2060)]

needs_asset = pytest.mark.skipif(not (REPORT / SCRIPT).is_file(), reason="built without igv.js: there was no npm")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Run:
    """A run over names that want escaping, with what a browser opens beside it."""
    root = tmp_path_factory.mktemp("view")
    model = tiny_checkpoint(root / "model", labels=LABELS, n_targets=3)
    (root / "regions.bed").write_text("chr1\t2000\t2400\tleft\nchr1\t40000\t40400\tright\n")
    out = root / "it's & out"
    settings = gexplain.ScoreSettings(target="all", null_regions=0)
    gexplain.score(root / "regions.bed", test_data / "genome.fa", model, output=out, settings=settings)
    shutil.rmtree(out / "browser", ignore_errors=True)  # of which the hits are to be ours
    (out / "browser").mkdir()
    reference = str(out / "browser" / "reference.fa.gz")
    pysam.tabix_compress(str(test_data / "genome.fa"), reference, force=True)
    pysam.faidx(reference)
    with (
        gexplain.Genome(test_data / "genome.fa") as genome,
        BigBedWriter(out / "browser" / "hits.bb", genome.chroms, HIT_COLUMNS, n_bed_columns=9) as features,
    ):
        for start, end in HITS:
            features.write("chr1", start, end, f"<i>TF</i>\t900\t+\t{start}\t{end}\t0,114,178")
    return open_run(out)


HIT_COLUMNS = BedSchema(
    "hits",
    "motif hits",
    (
        Column("thickStart", "uint", "start"),
        Column("thickEnd", "uint", "end"),
        Column("itemRgb", "uint", "colour"),
    ),
)


def write_page(run: Run, **changes: Any) -> Path:
    """A page with nothing but the panel, under the strictest policy that igv.js draws under."""
    config = json.dumps(igv_config(run) | changes).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src 'self' 'unsafe-inline' {PUBLIC_ADDRESS}; style-src 'unsafe-inline';"
        " connect-src 'self'; img-src 'self' data:"
    )
    parts = {name: (REPORT / f"igv_panel.{name}").read_text("utf-8") for name in ("html.jinja", "css", "js")}
    page = run.path / "report.html"
    page.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>run</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
        f"<style>{parts['css']}</style></head><body><button id='row'>row</button>"
        f"<div style='height: 2000px'></div>{parts['html.jinja']}"
        f'<script type="application/json" id="igv-config">{config}</script>'
        f"<script>{parts['js']}</script></body></html>",
        encoding="utf-8",
    )
    return page


@pytest.fixture(scope="module")
def address(run: Run) -> Iterator[str]:
    """Where the run is served."""
    write_page(run)
    with RunServer(run.path) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shown(chromium: Any, address: str) -> Iterator[Visit]:
    """The run at a place: 100 bases are letters still in so many pixels, and 104 would be blocks."""
    with visits(chromium) as open_page:
        page = ready(open_page(address, width=1140, script=KEEP_BROWSER))
        go(page, PLACE)
        wait_for(page, "2,001-2,100")
        yield page


# igv.js does not say which browsers there are.
KEEP_BROWSER = """
let library;
Object.defineProperty(window, "igv", {
    get: () => library,
    set(value) {
        const create = value.createBrowser;
        library = {...value, createBrowser: async (...all) => (window.shown = await create(...all))};
    },
});
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def status(visit: Visit) -> str:
    return visit.page.inner_text("#igv-status")


def go(visit: Visit, place: dict[str, Any]) -> None:
    visit.page.evaluate(
        "detail => document.dispatchEvent(new CustomEvent('gexplain:locus', {detail}))",
        place,
    )


def ready(visit: Visit) -> Visit:
    visit.page.wait_for_selector("#igv-panel[data-state=ready]")
    return visit


def wait_for(visit: Visit, text: str) -> None:
    visit.page.wait_for_function("text => document.getElementById('igv-status').innerText.includes(text)", arg=text)


def is_clean(visit: Visit) -> bool:
    assert (visit.console_errors, visit.console_warnings, visit.page_errors, visit.outside) == ([], [], [], [])
    return True


TRACK = "name => shown.trackViews.find(one => (one.track.config?.url ?? one.track.type) === name)"
PIXELS = f"""async ([name, start, end]) => {{
    const view = ({TRACK})(name);
    while (!view.viewports[0].canvas?._data || view.viewports[0].loading) await new Promise(r => setTimeout(r, 20));
    const {{canvas}} = view.viewports[0];
    const {{bpStart, bpPerPixel}} = canvas._data;
    const [from, to] = [start, end].map(base => (base - bpStart) / bpPerPixel);
    const {{data, width, height}} = canvas.getContext("2d").getImageData(from, 0, to - from, canvas.height);
    const {{min, max}} = view.track.dataRange ?? {{}};
    const bytes = btoa(data.reduce((text, one) => text + String.fromCharCode(one), ""));
    return {{bytes, width, height, from, scale: 1 / bpPerPixel, min, max}};
}}"""


def draw(visit: Visit, track: str, start: int, end: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The colours (height, width) that a track has over some bases, as 0xrrggbb or NOTHING; and its scales."""
    found = visit.page.evaluate(PIXELS, [track, start, end])
    pixels = np.frombuffer(base64.b64decode(found["bytes"]), dtype=np.uint8).reshape(
        found["height"], found["width"], 4
    )
    red, green, blue, alpha = np.moveaxis(pixels.astype(int), 2, 0)
    colours = np.where(alpha > 200, red << 16 | green << 8 | blue, NOTHING)
    return colours, found


def column(colours: np.ndarray, found: dict[str, Any], i: int) -> np.ndarray:
    """The part of a picture where base i of it is."""
    first = found["from"] % 1 + i * found["scale"]
    return colours[:, round(first) : round(first + found["scale"])]


def most(colours: np.ndarray, among: set[int]) -> int:
    return max(sorted(among), key=lambda colour: int((colours == colour).sum()))


@needs_asset
def test_letters_of_the_reference_are_drawn(shown, test_data):
    with gexplain.Genome(test_data / "genome.fa") as genome:
        sequence = genome.fetch("chr1", 2000, 2100).upper()
    colours, found = draw(shown, "sequence", 2000, 2100)
    assert 10 <= found["scale"] < 10.4  # pixels a base
    seen = "".join(
        next(base for base in PALETTE if PALETTE[base] == most(column(colours, found, i), {*PALETTE.values()}))
        for i in range(100)
    )
    assert seen == sequence
    filled = [(column(colours, found, i) != NOTHING).mean() for i in range(100)]
    assert 0 < min(filled) < max(filled) < 0.6
    assert is_clean(shown)


@needs_asset
def test_relevance_is_drawn_as_letters_up_and_down(shown, run, test_data):
    stem = next(name for name, track in run.manifest["tracks"].items() if track["kind"] == "relevance")
    values = run.values(stem, gexplain.Interval("chr1", 2000, 2100))
    with gexplain.Genome(test_data / "genome.fa") as genome:
        sequence = genome.fetch("chr1", 2000, 2100).upper()
    colours, found = draw(shown, f"tracks/{stem}.bw", 2000, 2100)
    zero = found["max"] / (found["max"] - found["min"]) * found["height"]
    large = np.flatnonzero(np.abs(values) > 0.15 * np.abs(values).max())
    assert {np.sign(values[i]) for i in large} == {-1, 1}
    for i in large:
        drawn = column(colours, found, i)
        assert most(drawn, {*PALETTE.values()}) == PALETTE[sequence[i]]
        rows = np.flatnonzero((drawn == PALETTE[sequence[i]]).any(axis=1))
        height = abs(values[i]) / (found["max"] - found["min"]) * found["height"]
        assert (rows.mean() < zero) == (values[i] > 0)
        assert rows.max() - rows.min() + 1 == pytest.approx(height, abs=3)
        filled = (drawn[rows.min() : rows.max() + 1] == PALETTE[sequence[i]]).mean()
        assert height < 8 or 0.1 < filled < 0.9  # a bar would fill it
    assert is_clean(shown)


@needs_asset
def test_hits_are_drawn_where_they_are(shown):
    colours, found = draw(shown, "browser/hits.bb", 2000, 2100)
    drawn = {2000 + i for i in range(100) if (column(colours, found, i) == 0x0072B2).mean() > 0.1}
    assert drawn == {base for start, end in HITS for base in range(start, end)}
    assert is_clean(shown)


@needs_asset
def test_what_a_click_tells_of_a_feature_is_text(visit, address):
    page = ready(visit(address, width=1140, script=KEEP_BROWSER, reduced_motion="reduce"))
    go(page, PLACE)
    wait_for(page, "2,001-2,100")
    draw(page, "browser/hits.bb", *HITS[0])  # waits for it
    track = page.page.evaluate_handle(f"({TRACK})('browser/hits.bb').viewports[0].viewportElement").as_element()
    first, pixels = page.page.evaluate(
        "() => (({start, bpPerPixel}) => [start, bpPerPixel])(shown.referenceFrameList[0])"
    )
    track.click(position={"x": (sum(HITS[0]) / 2 - first) / pixels, "y": 18})
    told = page.page.locator(".igv-ui-popover")
    told.get_by_text("<i>TF</i>").wait_for()
    assert told.locator("i").count() == 0
    assert is_clean(page)


def test_every_track_is_there_under_its_name(shown):
    names = shown.page.evaluate("shown.trackViews.map(view => view.viewports[0].trackLabelElement?.textContent)")
    expected = [f"{label} {kind}" for label in LABELS for kind in ("relevance", "prediction")]
    assert [name for name in names if name] == ["motif hits", *expected, "coverage"]
    assert is_clean(shown)
    assert shown.refused == []


@needs_asset
def test_a_place_takes_the_focus_and_gives_it_back(visit, address):
    page = ready(visit(address, reduced_motion="reduce"))
    focused = "document.activeElement.id"
    page.page.focus("#row")
    go(page, PLACE)
    wait_for(page, "shows <b>left</b>, chr1:2,001-2,100")
    assert page.page.evaluate(focused) == "igv-title"
    assert page.page.evaluate("document.getElementById('igv-panel').getBoundingClientRect().top") < 300
    page.page.click("#igv-back")
    assert page.page.evaluate(focused) == "row"
    assert page.page.evaluate("document.getElementById('row').getBoundingClientRect().top") >= 0
    assert not page.page.is_visible("#igv-back")


@needs_asset
def test_of_many_places_the_last_is_shown(visit, address):
    page = visit(address, script=KEEP_BROWSER)  # not ready yet
    for start in range(2000, 2300, 20):
        go(page, PLACE | {"start": start, "end": start + 100})
    wait_for(page, "2,281-2,380")
    assert page.page.evaluate("shown.currentLoci()") == "chr1:2279-2382"
    assert is_clean(page)


@needs_asset
def test_classes_are_chosen(visit, address):
    page = ready(visit(address, script=KEEP_BROWSER))
    shown = (
        "shown.trackViews.map(view => view.track.config?.class)"
        ".filter((name, i, all) => name && all.indexOf(name) === i)"
    )
    assert page.page.evaluate(shown) == LABELS
    page.page.click("#igv-classes summary")
    box = page.page.get_by_label(LABELS[1])
    box.uncheck()
    page.page.wait_for_function(f"() => {shown}.length === 2")
    assert page.page.evaluate(shown) == [LABELS[0], LABELS[2]]
    box.check()
    # Each at its old place, to which it goes after it has been added.
    page.page.wait_for_function(f"labels => JSON.stringify({shown}) === JSON.stringify(labels)", arg=LABELS)
    assert is_clean(page)


@needs_asset
def test_a_chromosome_that_is_not_there_is_one_sentence(shown):
    go(shown, PLACE | {"chrom": "chrZ<b>"})
    wait_for(shown, "has no chromosome chrZ<b>.")
    go(shown, PLACE)
    wait_for(shown, "2,001-2,100")
    assert is_clean(shown)


@needs_asset
def test_a_run_without_browser_files_says_so(visit, address, run):
    write_page(run, igv=None)
    page = visit(address)
    write_page(run)
    assert "browser/reference.fa.gz is missing" in status(page)
    assert "gexplain report" in status(page)
    assert is_clean(page)
    assert not any(SERVED_AS in url for url in page.requested)


def test_from_disk_it_says_what_to_run(visit, run):
    page = visit(write_page(run), offline=True)
    assert f"gexplain view {shlex.quote(str(run.path))}" in status(page)
    go(page, PLACE)
    assert "gexplain view" in status(page)
    assert is_clean(page)
    assert page.requested == [(run.path / "report.html").as_uri()]


def test_from_disk_it_names_the_folder_where_it_lies_now(visit, run, tmp_path):
    moved = tmp_path / "moved é"
    moved.mkdir()
    shutil.copy(write_page(run), moved)
    assert status(visit(moved / "report.html")).endswith(f"gexplain view {shlex.quote(str(moved))}")


def test_another_server_without_igv_js_is_named(visit, run):
    write_page(run)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=run.path)) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        page = visit(f"http://127.0.0.1:{server.server_port}/report.html")
        page.page.wait_for_selector("#igv-fetch:visible")
        server.shutdown()
        thread.join()
    assert "The server of this page has no igv.js" in status(page)


def test_without_igv_js_the_pinned_address_is_offered_and_asked_only_then(visit, address, monkeypatch, tmp_path):
    monkeypatch.setattr("gexplain.report.serve._ASSET", tmp_path / "absent.js")
    page = visit(address)
    page.page.wait_for_selector("#igv-fetch:visible")
    assert page.page.inner_text("#igv-fetch") == f"Load igv.js from {PUBLIC_ADDRESS}"
    assert is_clean(page)
    page.page.click("#igv-fetch")
    wait_for(page, "could not be loaded")
    assert page.outside == [PUBLIC_ADDRESS]
    assert page.page.is_enabled("#igv-fetch")
    assert page.page_errors == []


@needs_asset
@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
def test_the_public_copy_is_used_if_its_checksum_is_right(visit, address, monkeypatch, tmp_path, is_right):
    monkeypatch.setattr("gexplain.report.serve._ASSET", tmp_path / "absent.js")
    page = visit(address)
    body = (REPORT / SCRIPT).read_text("utf-8") + ("" if is_right else "window.stolen = true;")
    page.page.route(
        PUBLIC_ADDRESS,
        lambda route: route.fulfill(
            body=body, headers={"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}
        ),
    )
    page.page.click("#igv-fetch")
    if is_right:
        ready(page)
        go(page, PLACE)
        wait_for(page, "2,001-2,100")
    else:
        wait_for(page, "is not the file that it should be")
        assert page.page.evaluate("window.stolen") is None
    assert page.page_errors == []
