"""Calls: seqlets.bed, hits.bed and motif_summary.tsv, as a strict reader has them, and what they say of tracks."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pysam
import pytest
from bed_validator import read_bed
from tiny_tracks import gaps, noise, random_letters, word_motif, write_bigwig, write_fasta, write_meme

import gexplain
from gexplain.attributions import open_attributions
from gexplain.calls import HITS, SEQLETS, call_hits, call_seqlets
from gexplain.errors import InputError
from gexplain.genome.bed_table import BedSchema
from gexplain.genome.bigwig import BigWig
from gexplain.genome.fasta import Genome
from gexplain.genome.intervals import Interval
from gexplain.genome.sequence import reverse_complement
from gexplain.motifs import hits, pages
from gexplain.motifs.database import MotifSet, load_motifs
from gexplain.motifs.territories import Territories
from gexplain.track_nulls import from_track, scored_stretches

MOTIFS = [
    word_motif("M1.1", "TGACTCAG", "FOSL1", sure=0.8),
    word_motif("M2.1", "CACGTG", "USF1", sure=0.9),
    word_motif("M3.1", "GANNTC", "FACTOR::OTHER", sure=0.8),
    word_motif("M4.1", "AC", "SHORT"),
]
MATCH_P = 0.01
REGIONS = [
    Interval("small", 0, 30, "last in the BED, first in no order", "+"),
    Interval("chr1", 1000, 1900, "long", "-"),
    Interval("chr1", 100, 800, strand="+"),
    Interval("chr2", 50, 850, "inner", "-"),
]


@pytest.fixture(scope="module", autouse=True)
def _many_hits():
    """More matches count as used than in earnest, so that small runs have hits to look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hits, "USED_P", 0.1)
        patch.setattr(hits, "NEAR_P", 0.5)
        yield


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    rng = np.random.default_rng(5)
    chroms = {name: random_letters(rng, n) for name, n in (("chr2", 900), ("chr1", 2000), ("small", 40))}
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", chroms)


@pytest.fixture(scope="module")
def meme(tmp_path_factory):
    return write_meme(tmp_path_factory.mktemp("motifs") / "motifs.meme", MOTIFS)


@pytest.fixture(scope="module")
def settings(meme):
    return gexplain.ScoreSettings(
        target="all", null_regions=12, motifs=str(meme), match_p=MATCH_P, q=1.0, seed=3, window=64
    )


@pytest.fixture(scope="module")
def run(fasta, cnn, settings, tmp_path_factory):
    """One finished run; q is 1, so that its tables have all that was looked at."""
    return gexplain.score(REGIONS, fasta, cnn, output=tmp_path_factory.mktemp("run") / "out", settings=settings)


def rows_of(path: Path, schema: BedSchema, fasta: Path) -> list[dict[str, str]]:
    """The rows of a table that a strict reader takes, by the names of its header."""
    with Genome(fasta) as genome:
        rows = read_bed(path.read_text(), genome.chroms, [column.type for column in schema.columns])
    header = schema.header.removeprefix("#").split("\t")
    return [dict(zip(header, row, strict=True)) for row in rows]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != ".unfinished"}


CALLS = {"seqlets.bed", "seqlets.as", "hits.bed", "hits.as", "motif_summary.tsv", "null"}


# -- the tables -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "schema"), [("seqlets", SEQLETS), ("hits", HITS)])
def test_tables_are_bed_in_the_order_of_the_fasta_over_all_tracks(run, fasta, table, schema):
    rows = rows_of(run.path / f"{table}.bed", schema, fasta)
    assert {row["track"] for row in rows} == {"none", "promoter", "enhancer"}
    assert [row["track"] for row in rows] != sorted(row["track"] for row in rows)
    assert len({row["chrom"] for row in rows}) >= 2


@pytest.mark.parametrize(("table", "schema"), [("seqlets", SEQLETS), ("hits", HITS)])
def test_scores_are_those_of_q(run, fasta, table, schema):
    for row in rows_of(run.path / f"{table}.bed", schema, fasta):
        assert abs(int(row["score"]) - min(1000, -250 * math.log10(float(row["q"])))) < 0.51


def test_a_seqlet_is_what_lies_below_it(run, fasta):
    for row in rows_of(run.path / "seqlets.bed", SEQLETS, fasta):
        values = run.values(row["track"], Interval(row["chrom"], int(row["start"]), int(row["end"]))).astype(float)
        assert float(row["relevance"]) == pytest.approx(sum(values), rel=1e-4, abs=1e-6)
        is_high = row["direction"] == "high"
        assert int(row["top"]) - int(row["start"]) == (values.argmax() if is_high else values.argmin())
        assert row["name"] == f"{row['track']}.{row['direction']}"


def test_the_sequence_of_a_hit_scores_its_log_odds(run, fasta):
    """Re-read from the FASTA: half a turn for the other strand."""
    motifs = {motif.id: motif for motif in MOTIFS}
    strands = set()
    with Genome(fasta) as genome:
        for row in rows_of(run.path / "hits.bed", HITS, fasta):
            word = genome.fetch(row["chrom"], int(row["start"]), int(row["end"]))
            motif = motifs[row["motif"]]
            letters = reverse_complement(word) if row["strand"] == "-" else word
            odds = [
                math.log2((float(share["ACGT".index(letter)]) + 1e-4) / 0.25)
                for share, letter in zip(motif.probabilities, letters, strict=True)
            ]
            assert float(row["logOdds"]) == pytest.approx(sum(odds), abs=1e-3)  # the MEME file has six digits
            assert row["name"] == motif.name
            assert float(row["matchP"]) < MATCH_P
            strands.add(row["strand"])
    assert strands == {"+", "-"}


def test_the_relevance_of_a_hit_and_its_share_are_those_of_the_track(run, fasta):
    """A region's share is of the positive relevance of its territory, base by base."""
    with Genome(fasta) as genome:
        chroms = genome.chroms
    territories = Territories.of(REGIONS)
    totals: dict[tuple[str, str], float] = {}
    for track in ("none", "promoter", "enhancer"):
        for chrom, length in chroms.items():
            values = run.values(track, Interval(chrom, 0, length))
            owners = territories.owner(chrom, np.arange(length))
            for owner, value in zip(owners.tolist(), values.tolist(), strict=True):
                key = track, territories.name(owner)
                totals[key] = totals.get(key, 0.0) + (value if value > 0 else 0.0)
    for row in rows_of(run.path / "hits.bed", HITS, fasta):
        values = run.values(row["track"], Interval(row["chrom"], int(row["start"]), int(row["end"])))
        region = next(key for key in totals if key == (row["track"], row["region"].replace("_", " ")))
        relevance = values.sum(dtype=float)
        assert float(row["relevance"]) == pytest.approx(relevance, rel=1e-4, abs=1e-6)
        assert float(row["share"]) == pytest.approx(relevance / totals[region], rel=1e-4, abs=1e-6)


def test_a_secondary_hit_names_the_motif_of_a_primary_one_on_its_bases(run, fasta):
    rows = rows_of(run.path / "hits.bed", HITS, fasta)
    primary = [row for row in rows if row["isPrimary"] == "1"]
    assert all(row["primary"] == row["motif"] for row in primary)
    secondary = [row for row in rows if row["isPrimary"] == "0"]
    assert secondary
    for row in secondary:
        assert any(
            one["motif"] == row["primary"]
            and one["track"] == row["track"]
            and one["chrom"] == row["chrom"]
            and max(int(one["start"]), int(row["start"])) < min(int(one["end"]), int(row["end"]))
            for one in primary
        )


def test_the_summary_has_a_line_for_every_motif_and_counts_the_hits(run, fasta):
    rows = rows_of(run.path / "hits.bed", HITS, fasta)
    with (run.path / "motif_summary.tsv").open() as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    assert {(one["#track"], one["motif"]) for one in lines} == {
        (track, motif.id) for track in ("none", "promoter", "enhancer") for motif in MOTIFS
    }
    for one in lines:
        own = [row for row in rows if (row["track"], row["motif"]) == (one["#track"], one["motif"])]
        places = {(row["chrom"], row["start"], row["end"]) for row in own}  # a match on both strands is one
        assert int(one["hits"]) == len(own)
        assert len(places) <= int(one["used"]) <= int(one["matches"])
        assert int(one["primary_hits"]) == sum(row["isPrimary"] == "1" for row in own)
        assert int(one["regions_with_hit"]) == len({row["region"] for row in own})
        assert (one["q"] == ".") == (one["enrichment"] == ".") == (one["matches"] == "0")
    assert {one["motif"] for one in lines if one["matches"] == "0"} >= {"M4.1"}
    for track in ("none", "promoter", "enhancer"):
        q_values = [math.inf if one["q"] == "." else float(one["q"]) for one in lines if one["#track"] == track]
        assert q_values == sorted(q_values)


def test_the_manifest_counts_the_calls(run, fasta, meme):
    called = run.manifest["calls"]
    assert called["null"]["regions"] == 12
    assert called["motifs"] == {"given as": str(meme), "source": str(meme), "motifs": 4}
    for track in ("none", "promoter", "enhancer"):
        seqlets = rows_of(run.path / "seqlets.bed", SEQLETS, fasta)
        assert called["seqlets"][track] == sum(row["track"] == track for row in seqlets)
        hits = rows_of(run.path / "hits.bed", HITS, fasta)
        assert called["primary hits"][track] == sum(row["track"] == track and row["isPrimary"] == "1" for row in hits)


def test_a_lower_q_leaves_out_what_is_above_it(run, meme, fasta, tmp_path):
    for table, schema, call in (
        ("seqlets", SEQLETS, call_seqlets),
        ("hits", HITS, lambda one, path, q: call_hits(one, load_motifs(str(meme)), path, q=q, match_p=MATCH_P)),
    ):
        everything = rows_of(run.path / f"{table}.bed", schema, fasta)
        middle = sorted(float(row["q"]) for row in everything)[len(everything) // 4]
        with open_attributions(run.path) as attributions:
            call(attributions, tmp_path / "some.bed", q=middle * 1.0001)
        some = rows_of(tmp_path / "some.bed", schema, fasta)
        assert some == [row for row in everything if float(row["q"]) <= middle * 1.0001]
        assert 0 < len(some) <= len(everything)


@pytest.mark.parametrize("page_bases", [29, 400])
def test_how_a_track_is_cut_changes_no_call(run, meme, tmp_path, monkeypatch, page_bases):
    monkeypatch.setattr(pages, "PAGE_BASES", page_bases)
    told = []
    with open_attributions(run.path) as attributions:
        call_seqlets(attributions, tmp_path / "seqlets.bed", q=1, progress=lambda *one: told.append(one))
        call_hits(
            attributions,
            load_motifs(str(meme)),
            tmp_path / "hits.bed",
            summary=tmp_path / "motif_summary.tsv",
            q=1,
            match_p=MATCH_P,
        )
    for name in ("seqlets.bed", "hits.bed", "motif_summary.tsv"):
        assert (tmp_path / name).read_text() == (run.path / name).read_text()
    assert told == sorted(told)
    assert told[-1] == (3 * 2940, 3 * 2940)


# -- what a run leaves ----------------------------------------------------------------------------------------


def score(fasta, model, output, settings, **changes):
    return gexplain.score(REGIONS, fasta, model, output=output, settings=dataclasses.replace(settings, **changes))


def test_each_strand_has_calls_against_its_own_null(fasta, cnn, settings, tmp_path):
    by_strand = score(fasta, cnn, tmp_path, settings, strand="region", target="promoter")
    for table, schema in (("seqlets", SEQLETS), ("hits", HITS)):
        rows = rows_of(by_strand.path / f"{table}.bed", schema, fasta)
        assert {row["track"] for row in rows} == {"promoter.plus", "promoter.minus"}


@pytest.mark.parametrize("is_again", [False, True])
def test_a_call_of_a_strand_names_a_region_of_that_strand(fasta, cnn, settings, tmp_path, is_again):
    """The nearest of them, though one of the other strand lies on its very bases."""
    regions = [
        Interval("chr1", 100, 900, "forward", "+"),
        Interval("chr1", 300, 700, "reverse", "-"),
        Interval("chr2", 100, 700, "alone", "-"),
    ]
    changed = dataclasses.replace(settings, strand="region", target="promoter")
    by_strand = gexplain.score(regions, fasta, cnn, output=tmp_path / "out", settings=changed)
    for table, schema in (("seqlets", SEQLETS), ("hits", HITS)):
        path = by_strand.path / f"{table}.bed"
        if is_again:
            path = tmp_path / f"{table}.bed"
            with open_attributions(by_strand.path) as attributions:
                if table == "seqlets":
                    call_seqlets(attributions, path, q=1)
                else:
                    call_hits(attributions, load_motifs(settings.motifs), path, q=1, match_p=MATCH_P)
        named = {(row["track"], row["chrom"], row["region"]) for row in rows_of(path, schema, fasta)}
        assert named == {
            ("promoter.plus", "chr1", "forward"),
            ("promoter.minus", "chr1", "reverse"),
            ("promoter.minus", "chr2", "alone"),
        }


def test_calls_need_no_bigwig_to_be_kept(run, fasta, cnn, settings, tmp_path):
    text = score(fasta, cnn, tmp_path, settings, formats=("bedgraph",))
    assert {path.suffix for path in (tmp_path / "tracks").iterdir()} == {".bedGraph"}
    for name in ("seqlets.bed", "hits.bed", "motif_summary.tsv"):
        assert (text.path / name).read_text() == (run.path / name).read_text()


@pytest.mark.parametrize(
    ("changes", "left"), [({"null_regions": 0, "motifs": None}, set()), ({"motifs": "none"}, {"seqlets", "null"})]
)
def test_what_is_not_asked_for_is_not_there_nor_left_from_before(run, fasta, cnn, settings, tmp_path, changes, left):
    score(fasta, cnn, tmp_path, settings, tabix=True)
    assert names_in(tmp_path) >= CALLS | {"hits.bed.gz", "hits.bed.gz.tbi", "seqlets.bed.gz.tbi"}
    again = score(fasta, cnn, tmp_path, settings, force=True, **changes)
    assert {name.split(".")[0] for name in names_in(tmp_path) & (CALLS | {"hits.bed.gz", "seqlets.bed.gz"})} == left
    assert not any(name.endswith((".gz", ".tbi")) for name in names_in(tmp_path))
    assert ("calls" in again.manifest) == bool(left)
    assert ("motifs" in again.manifest.get("calls", {})) == ("hits" in left)


def test_calls_of_an_interrupted_run_are_not_taken_for_those_of_another(fasta, cnn, settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("gexplain.runs._publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score(fasta, cnn, tmp_path, settings, tabix=True)
    assert (tmp_path / ".unfinished" / "hits.bed.gz").exists()
    score(fasta, cnn, tmp_path, settings, motifs="none")
    assert names_in(tmp_path) & (CALLS | {"seqlets.bed.gz", "hits.bed.gz"}) == {"seqlets.bed", "seqlets.as", "null"}


def test_a_strand_whose_regions_are_n_alone_has_no_calls(cnn, settings, tmp_path):
    letters = random_letters(np.random.default_rng(8), 600)
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": letters, "unknown": "N" * 400})
    regions = [Interval("chr1", 100, 500, strand="+"), Interval("unknown", 50, 350, strand="-")]
    changed = dataclasses.replace(settings, strand="region", target="promoter")
    run = gexplain.score(regions, fasta, cnn, output=tmp_path / "out", settings=changed)
    assert list(run.manifest["calls"]["seqlets"]) == ["promoter.plus"]
    with open_attributions(tmp_path / "out") as attributions:
        assert list(attributions.tracks) == ["promoter.plus"]
    with (
        pytest.raises(InputError, match=r"'promoter\.minus' has no values.*\n.*--track takes promoter\.plus"),
        open_attributions(tmp_path / "out", tracks=["promoter.minus"]),
    ):
        pytest.fail("opened")


def test_indexed_tables_hold_the_rows(fasta, cnn, settings, tmp_path):
    score(fasta, cnn, tmp_path, settings, tabix=True)
    for table in ("seqlets", "hits"):
        lines = (tmp_path / f"{table}.bed").read_text().splitlines()[1:]
        with pysam.TabixFile(str(tmp_path / f"{table}.bed.gz")) as file:
            assert {"chr2", "chr1"} <= set(file.contigs)
            for chrom in file.contigs:
                assert list(file.fetch(chrom)) == [line for line in lines if line.startswith(f"{chrom}\t")]


def test_tables_without_a_row_are_tables(fasta, cnn, settings, tmp_path):
    """So few null pieces can tell nothing, and a motif whose threshold is too low matches nothing."""
    run = score(fasta, cnn, tmp_path, settings, tabix=True, q=1e-9, match_p=1e-30)
    assert rows_of(run.path / "hits.bed", HITS, fasta) == rows_of(run.path / "seqlets.bed", SEQLETS, fasta) == []
    assert run.manifest["calls"]["primary hits"] == {"none": 0, "promoter": 0, "enhancer": 0}
    lines = (run.path / "motif_summary.tsv").read_text().splitlines()
    assert len(lines) == 1 + 3 * len(MOTIFS)
    assert all(line.split("\t")[3] == "0" for line in lines[1:])


# -- any track ------------------------------------------------------------------------------------------------

LENGTHS = {"a": 3000, "b": 700}


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(11)
    fasta = write_fasta(tmp_path / "g.fa", {name: random_letters(rng, n) for name, n in LENGTHS.items()})
    with Genome(fasta) as opened:
        yield opened


def noise_track(path: Path, seed: int, lengths=LENGTHS) -> Path:
    rng = np.random.default_rng(seed)
    return write_bigwig(path, lengths, {name: gaps(rng, noise(rng, n)) for name, n in lengths.items()})


def motif_set(motifs: Sequence = MOTIFS) -> MotifSet:
    return MotifSet("these", "", tuple(motifs))


def hits_text(attributions, folder: Path, q: float = 1) -> str:
    call_hits(attributions, motif_set(), folder / "hits.bed", q=q, match_p=MATCH_P)
    return (folder / "hits.bed").read_text()


def seqlets_text(attributions, folder: Path, q: float = 1) -> str:
    call_seqlets(attributions, folder / "seqlets.bed", q=q)
    return (folder / "seqlets.bed").read_text()


def test_stretches_are_the_runs_of_values_however_the_track_is_cut(genome, tmp_path, monkeypatch):
    track = noise_track(tmp_path / "t.bw", 1)
    expected = []
    with BigWig(track) as file:
        for chrom, length in LENGTHS.items():
            known = [value == value for value in file.values(chrom, 0, length).tolist()]
            starts = [i for i in range(length) if known[i] and (i == 0 or not known[i - 1])]
            ends = [i + 1 for i in range(length) if known[i] and (i + 1 == length or not known[i + 1])]
            expected += [Interval(chrom, start, end) for start, end in zip(starts, ends, strict=True)]
    for page_bases in (7, 100, 1 << 20):
        monkeypatch.setattr(pages, "PAGE_BASES", page_bases)
        assert scored_stretches(track, genome) == expected


@pytest.mark.parametrize("text", [hits_text, seqlets_text])
def test_a_null_of_the_track_itself_is_drawn_from_the_seed_alone(genome, tmp_path, text):
    """Whatever was called before, of the same attributions or others."""
    track = noise_track(tmp_path / "t.bw", 1)
    one = from_track(track, genome, seed=4)
    assert one.is_self_compared
    first = text(one, tmp_path)
    seqlets_text(one, tmp_path)
    hits_text(one, tmp_path)
    assert text(one, tmp_path) == first == text(from_track(track, genome, seed=4), tmp_path)
    assert text(from_track(track, genome, seed=5), tmp_path) != first


@pytest.mark.parametrize("text", [hits_text, seqlets_text])
def test_noise_against_itself_has_no_call(genome, tmp_path, text):
    rng = np.random.default_rng(1)
    track = write_bigwig(tmp_path / "t.bw", LENGTHS, {name: rng.normal(size=n) for name, n in LENGTHS.items()})
    assert len(text(from_track(track, genome), tmp_path).splitlines()) > 5
    assert len(text(from_track(track, genome), tmp_path, q=0.05).splitlines()) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("text", [hits_text, seqlets_text])
def test_a_track_of_a_few_bases_is_a_track(genome, tmp_path, n, text):
    track = write_bigwig(tmp_path / "t.bw", LENGTHS, {"a": np.arange(n, dtype=float) + 1})
    assert text(from_track(track, genome), tmp_path, q=0.05).startswith("#chrom")


def test_a_flat_track_has_no_call(genome, tmp_path):
    track = write_bigwig(tmp_path / "t.bw", LENGTHS, {"a": np.ones(3000)})
    attributions = from_track(track, genome, null=(track, genome.path))
    for text in (hits_text(attributions, tmp_path), seqlets_text(attributions, tmp_path)):
        assert len(text.splitlines()) == 1


def test_where_a_region_has_no_positive_relevance_the_share_is_0(genome, tmp_path):
    """Hits may lie there if the null is lower still."""
    track = write_bigwig(tmp_path / "t.bw", LENGTHS, {"a": np.full(3000, -1.0)})
    null = write_bigwig(tmp_path / "null.bw", LENGTHS, {"a": np.full(3000, -2.0)})
    lines = hits_text(from_track(track, genome, null=(null, genome.path)), tmp_path).splitlines()[1:]
    assert lines
    assert {line.split("\t")[9] for line in lines} == {"0"}


@pytest.mark.parametrize("with_null", [False, True])
def test_regions_are_all_of_a_track_that_is_looked_at(genome, tmp_path, with_null):
    """All else is as if it had not been scored: for calls, their q, the summary, and the null of the track itself."""
    regions = [Interval("a", 1200, 2300, "one"), Interval("a", 300, 1000, "two")]
    track = noise_track(tmp_path / "t.bw", 1)
    with BigWig(track) as file:
        values = file.values("a", 0, LENGTHS["a"])
    values[[not any(one.start <= base < one.end for one in regions) for base in range(len(values))]] = np.nan
    (tmp_path / "cut").mkdir()
    cut = write_bigwig(tmp_path / "cut" / "t.bw", LENGTHS, {"a": values})
    null = (noise_track(tmp_path / "null.bw", 2), genome.path) if with_null else None
    written = []
    for one in (from_track(track, genome, null=null, regions=regions), from_track(cut, genome, null=null)):
        call_seqlets(one, tmp_path / "seqlets.bed", q=1)
        call_hits(one, motif_set(), tmp_path / "hits.bed", summary=tmp_path / "s.tsv", q=1, match_p=MATCH_P)
        tables = [rows_of(tmp_path / f"{name}.bed", schema, genome.path) for name, schema in TABLES.items()]
        assert all(tables)
        summary = [row.split("\t")[:7] + row.split("\t")[8:] for row in (tmp_path / "s.tsv").read_text().splitlines()]
        whose = {row["region"] for table in tables for row in table}
        for row in (row for table in tables for row in table):
            row.pop("region")
            row.pop("share", None)
        written.append((tables, summary, whose))
    assert written[0][:2] == written[1][:2]
    assert written[0][2] == {"one", "two"}


TABLES = {"seqlets": SEQLETS, "hits": HITS}


# -- a null that is too small ---------------------------------------------------------------------------------


def spiked(path: Path, n_spikes: int, seed: int = 1, height: float = 20) -> Path:
    """Noise over the genome, and so many spans that are far above it."""
    values = {name: np.random.default_rng([seed, n]).normal(size=n) for name, n in LENGTHS.items()}
    for spike in range(n_spikes):
        values["a"][30 * spike : 30 * spike + 15] += height
    return write_bigwig(path, LENGTHS, values)


def called_of(table: str, attributions, folder: Path, q: float):
    if table == "seqlets":
        return call_seqlets(attributions, folder / "seqlets.bed", q=q)
    return call_hits(attributions, motif_set(), folder / "hits.bed", q=q, match_p=MATCH_P)


@pytest.mark.parametrize(("table", "n_few", "n_many"), [("seqlets", 2, 60), ("hits", 3, 60)])
def test_calls_that_a_larger_null_would_make_are_told(genome, tmp_path, table, n_few, n_many):
    """None of k that beat everything in the null is called if k q is less than what is likely to do so by chance."""
    null = spiked(tmp_path / "null.bw", 0, seed=2), genome.path

    def warnings(n_spikes: int, q: float = 0.05, null=null) -> list[str]:
        attributions = from_track(spiked(tmp_path / "t.bw", n_spikes), genome, null=null)
        return called_of(table, attributions, tmp_path, q).warnings

    (told,) = warnings(n_few)
    factor = re.fullmatch(
        rf"no {table} of q at most 0.05 in t: some (?:spans|motif matches) there beat everything in the null, but so"
        r" few need a null at least (\d+) times as large; give more shuffled sequence with --null",
        told,
    )
    assert len((tmp_path / f"{table}.bed").read_text().splitlines()) == 1
    assert warnings(n_many) == []
    assert len((tmp_path / f"{table}.bed").read_text().splitlines()) > 1
    as_strong = spiked(tmp_path / "same.bw", n_many, seed=3), genome.path
    assert not any("times as large" in warning for warning in warnings(n_few, null=as_strong))

    assert warnings(n_few, q=1) == []
    rows = rows_of(tmp_path / f"{table}.bed", TABLES[table], genome.path)
    if table == "seqlets":
        rows = [row for row in rows if row["direction"] == "high"]
    else:
        rows = [row for row in rows if row["isPrimary"] == "1"]
    best = min(float(row["p"]) for row in rows)
    n_best = sum(float(row["p"]) == best for row in rows)
    n_chance = len(rows) * best if table == "seqlets" else 1  # of hits: the null has as many bases
    assert int(factor[1]) == math.ceil(n_chance / n_best / 0.05)


def test_where_nothing_is_called_the_least_q_is_told(genome, tmp_path):
    table = "seqlets"
    null = spiked(tmp_path / "null.bw", 20, seed=3, height=40), genome.path
    attributions = from_track(spiked(tmp_path / "t.bw", 60), genome, null=null)
    (least,) = called_of(table, attributions, tmp_path, 0.01).warnings
    assert re.fullmatch(rf"no {table} of q at most 0.01 in t: the least q there is 0\.\d+", least)
    assert called_of(table, attributions, tmp_path, 1.0).warnings == []
    rows = rows_of(tmp_path / f"{table}.bed", TABLES[table], genome.path)
    assert least.endswith(f" {min(float(row['q']) for row in rows):.2g}")


def test_a_warning_of_a_small_null_is_of_all_tracks_without_a_call(run):
    """Only of those: in the others the null was large enough for something."""
    with open_attributions(run.path) as attributions:
        told = call_seqlets(attributions, run.path / "again.bed", q=0.01)
    (run.path / "again.bed").unlink()
    none = [name for name, n in told.counts.items() if not n]
    (warning,) = told.warnings
    assert f" in {', '.join(none)}: " in warning
    assert warning.endswith("; score with a higher --null-regions (now 12)")


# -- what cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize("regions", [None, [Interval("a", 0, 100)]])
@pytest.mark.parametrize("null", [None, "itself"])
def test_a_track_without_values_is_told(genome, tmp_path, regions, null):
    track = write_bigwig(tmp_path / "t.bw", LENGTHS, {})
    pair = None if null is None else (noise_track(tmp_path / "null.bw", 1), genome.path)
    with pytest.raises(InputError, match=r"t\.bw has no values"):
        from_track(track, genome, regions=regions, null=pair)


@pytest.mark.parametrize("text", [hits_text, seqlets_text])
def test_a_null_without_values_is_told(genome, tmp_path, text):
    null = write_bigwig(tmp_path / "null.bw", LENGTHS, {})
    attributions = from_track(noise_track(tmp_path / "t.bw", 1), genome, null=(null, genome.path))
    with pytest.raises(InputError, match=r"null\.bw has no values"):
        text(attributions, tmp_path)
    assert not list(tmp_path.glob("*.bed"))


@pytest.mark.parametrize("regions", [None, [Interval("a", 0, 100)]])
@pytest.mark.parametrize("lengths", [{"a": 3000, "b": 700, "x": 50}, {"a": 2999, "b": 700}])
def test_a_track_of_another_genome_is_told(genome, tmp_path, regions, lengths):
    with pytest.raises(InputError, match=r"that .*g\.fa lacks: x|different assemblies: a has 2,999"):
        from_track(noise_track(tmp_path / "t.bw", 1, lengths), genome, regions=regions)


@pytest.mark.parametrize("text", [hits_text, seqlets_text])
def test_a_null_of_another_fasta_is_told(genome, tmp_path, text):
    null = noise_track(tmp_path / "null.bw", 1, {"a": 3000, "x": 500})
    attributions = from_track(noise_track(tmp_path / "t.bw", 1), genome, null=(null, genome.path))
    with pytest.raises(InputError, match=r"null\.bw has values on chromosomes"):
        text(attributions, tmp_path)
