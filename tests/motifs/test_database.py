"""Motifs from MEME files and from JASPAR: what is read, what is refused and where, and the mend."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED, needs_shared

from gexplain.errors import InputError, UsageError
from gexplain.motifs import database
from gexplain.motifs.database import Motif, MotifSet, load_motifs

HEADER = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.3 C 0.2 G 0.2 T 0.3\n\n"
)
ROWS = "0.1 0.2 0.3 0.4\n1 0 0 0\n"
REB1 = f"MOTIF MA0363.3 REB1\nletter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0\n{ROWS}URL https://a.b\n\n"
RAP1 = REB1.replace("MA0363.3 REB1", "MA0359.3 RAP1").replace("1 0 0 0", "0 0 0 1")
EXPECTED = [[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]]


@pytest.fixture
def meme(tmp_path: Path):
    def write(text: str | bytes, name: str = "motifs.meme") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def called(motifs: MotifSet) -> list[tuple[str, str]]:
    return [(motif.id, motif.name) for motif in motifs]


def test_ids_names_and_matrices_are_read_in_order(meme):
    path = meme(HEADER + REB1 + RAP1)
    motifs = load_motifs(path)
    assert motifs.source == path
    assert called(motifs) == [("MA0363.3", "REB1"), ("MA0359.3", "RAP1")]
    np.testing.assert_array_equal(motifs.motifs[0].probabilities, EXPECTED)
    np.testing.assert_array_equal(motifs.motifs[1].probabilities[1], [0, 0, 0, 1])
    assert motifs.motifs[0].width == 2


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + REB1).replace("\n", "\r\n"),
        (HEADER + REB1).replace("\n", "\r"),
        "\ufeff" + HEADER + REB1,
        HEADER + REB1.replace(" ", "\t").replace("letter-probability\tmatrix", "letter-probability matrix"),
        HEADER + REB1.replace("0.1 0.2 0.3 0.4", "   0.1   0.2 \t 0.3   0.4  "),
        HEADER + REB1.replace("w= 2 ", ""),
        HEADER + REB1.replace("alength= 4 w= 2 nsites= 20 E= 0", ""),
        HEADER + REB1.replace("alength= 4 w= 2", "alength=4 w=2"),
        HEADER + REB1.replace("letter-prob", "\nletter-prob"),
        HEADER + REB1.split("URL")[0].rstrip(),
        HEADER.replace("ALPHABET= ACGT\n", "") + REB1,
        HEADER + REB1.replace("letter-prob", "log-odds matrix: alength= 4 w= 2\n-3 40 5 6\n1 2 -30 4\n\nletter-prob"),
        HEADER + REB1.replace("letter-prob", "---------\nMotif CCGGT block diagrams\n---------\n\nletter-prob"),
        "*****\n" + HEADER + REB1,
    ],
    ids=[
        "CRLF",
        "CR",
        "BOM",
        "tabs",
        "spaces",
        "no width",
        "no settings",
        "no space after =",
        "blank line",
        "no line end",
        "no alphabet",
        "log-odds",
        "report of MEME",
        "banner",
    ],
)
def test_layout_does_not_matter(meme, text):
    motifs = load_motifs(meme(text))
    assert called(motifs) == [("MA0363.3", "REB1")]
    np.testing.assert_array_equal(motifs.motifs[0].probabilities, EXPECTED)
    assert motifs.sha256 == load_motifs(meme(HEADER + REB1)).sha256


def test_gzip_is_told_by_its_bytes(meme):
    motifs = load_motifs(meme(gzip.compress((HEADER + REB1).encode()), "plain.meme"))
    assert called(motifs) == [("MA0363.3", "REB1")]


def test_a_motif_without_a_name_is_called_by_its_id(meme):
    assert called(load_motifs(meme(HEADER + REB1.replace(" REB1", "")))) == [("MA0363.3", "MA0363.3")]


def test_what_meme_reports_of_a_motif_is_no_name(meme):
    motifs = load_motifs(
        meme(HEADER + REB1.replace("MA0363.3 REB1", "CCGGT MEME-1\twidth =  2  sites =  18  llr = 2"))
    )
    assert called(motifs) == [("CCGGT", "MEME-1")]
    motifs = load_motifs(meme(HEADER + REB1.replace("MA0363.3 REB1", "1\twidth =  2  sites =  18")))
    assert called(motifs) == [("1", "1")]


def test_the_hash_is_of_ids_names_and_matrices(meme):
    digest = hashlib.sha256(b"MA0363.3\nREB1\n2\n" + np.array(EXPECTED, "<f8").tobytes()).hexdigest()
    assert load_motifs(meme(HEADER + REB1, "one.meme")).sha256 == digest
    changed = [REB1.replace("REB1", "reb1"), REB1.replace("363.3", "363.2"), REB1.replace("0.1 0.2", "0.2 0.1")]
    assert len({digest, *(load_motifs(meme(HEADER + text)).sha256 for text in changed)}) == 4


def test_a_matrix_cannot_be_changed(meme):
    motif = load_motifs(meme(HEADER + REB1)).motifs[0]
    with pytest.raises(ValueError, match="read-only"):
        motif.probabilities[0, 0] = 1


def test_rounded_probabilities_are_kept_as_they_are(meme):
    motifs = load_motifs(meme(HEADER + REB1.replace("0.1 0.2 0.3 0.4", "0.33 0.33 0.33 0")))
    np.testing.assert_array_equal(motifs.motifs[0].probabilities[0], [0.33, 0.33, 0.33, 0])


@pytest.mark.parametrize(
    ("probabilities", "fault"),
    [
        (np.full((4, 3), 0.25), "expected \\(width, 4\\)"),
        (np.empty((0, 4)), "expected \\(width, 4\\)"),
        (np.array([[0.5, 0.5, np.nan, 0]]), "not finite"),
        (np.array([[1.5, -0.5, 0, 0]]), "negative"),
    ],
)
def test_a_motif_is_a_matrix_of_probabilities(probabilities, fault):
    with pytest.raises(ValueError, match=fault):
        Motif("m", "", probabilities)


# ---- Files that are refused ----


@pytest.mark.parametrize(
    ("old", "new", "line", "found", "mend"),
    [
        ("0.1 0.2 0.3 0.4", "0.1 0.2 0.7", 12, "3 numbers in a row, expected 4", "A, C, G and T"),
        ("0.1 0.2 0.3 0.4", "0.1 0.2 0.3 0.4 0", 12, "5 numbers in a row, expected 4", "A, C, G and T"),
        ("1 0 0 0", "1 0 O 0", 13, "not four numbers", "A, C, G and T"),
        ("1 0 0 0", "1,0,0,0", 13, "not four numbers", "A, C, G and T"),
        ("1 0 0 0", "nan 0 0 1", 13, "negative or not finite", "log-odds are not read"),
        ("1 0 0 0", "2.5 -1.5 0 0", 13, "negative or not finite", "log-odds are not read"),
        ("1 0 0 0", "12 0 3 5", 13, "adds up to 20, expected 1", "divide every row by its sum"),
        ("1 0 0 0", "0.5 0 0 0.4", 13, "adds up to 0.9, expected 1", "complete the row"),
        ("1 0 0 0", "0 0 0 0", 13, "adds up to 0, expected 1", "complete the row"),
        ("w= 2", "w= 3", 11, "w= 3, but 2 rows follow", "complete the matrix"),
        ("w= 2", "w= 1", 11, "w= 1, but 2 rows follow", "correct w="),
        ("w= 2", "w= two", 11, "w= two, expected the number of rows", "leave w= out"),
        ("w= 2", "w= 0", 11, "w= 0, expected the number of rows", "leave w= out"),
        ("alength= 4", "alength= 20", 11, "alength= 20, expected 4", "A, C, G, T"),
        (ROWS, "", 11, "a matrix without rows", "one row a position"),
        ("MOTIF MA0363.3 REB1\n", "\n", 11, "a matrix before any MOTIF", "MOTIF id name"),
        ("MA0363.3 REB1", "", 10, "a MOTIF without an id", "MOTIF id name"),
        (
            "URL",
            f"letter-probability matrix: w= 2\n{ROWS}URL",
            14,
            "a second matrix of the motif 'MA0363.3'",
            "before",
        ),
        (
            "letter-prob",
            "letter prob",
            10,
            "the motif 'MA0363.3' has no letter-probability matrix",
            "delete the line",
        ),
        ("letter-prob", "log-odds matrix:\n1 2 3 -4\nMOTIF b\nletter-prob", 10, "'MA0363.3' has no", "log-odds"),
        ("MEME version 4", "#", 10, "a motif before any line 'MEME version 4'", "first in the file"),
        ("= ACGT", "= ACGU", 3, "RNA motifs (ALPHABET= ACGU), expected DNA", "rna2meme"),
        ("= ACGT", "= ACDEFGHIKLMNPQRSTVWY", 3, "protein motifs", "DNA motifs"),
        ("= ACGT", "= TGCA", 3, "a custom alphabet (ALPHABET= TGCA)", "DNA motifs"),
        ("= ACGT", ' "DNA" DNA-LIKE', 3, "a custom alphabet", "on one line"),
        ("URL https://a.b\n", REB1, 14, "a second motif 'MA0363.3'; the first is on line 10", "an id of its own"),
    ],
)
def test_a_fault_is_named_with_its_line_and_mend(meme, old, new, line, found, mend):
    text = HEADER + REB1
    assert old in text
    path = meme(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_motifs(path)
    error = caught.value
    assert error.message.startswith(f"line {line} of {path}: ")
    assert found in error.message
    assert mend in error.hint


def test_the_line_at_fault_is_shown(meme):
    with pytest.raises(InputError) as caught:
        load_motifs(meme(HEADER + REB1.replace("1 0 0 0", "1\t0\tO\t0")))
    assert caught.value.detail == "1  0  O  0"


@pytest.mark.parametrize(
    ("content", "found", "mend"),
    [
        (b"", "is empty", "jaspar:GROUP"),
        (b" \n\n", "is empty", "jaspar:GROUP"),
        (gzip.compress(b""), "is empty", "jaspar:GROUP"),
        (
            b">MA0001.1\tAGL3\nA  [ 0  3 79 ]\nC  [94 75  4 ]\nG  [ 1  0  3 ]\nT  [ 2 19 11 ]\n",
            "JASPAR",
            "jaspar2meme",
        ),
        (b">MA0001.1 AGL3\r\n 0 3 79\r\n94 75 4\r\n1 0 3\r\n2 19 11\r\n", "JASPAR", "jaspar2meme"),
        (b">CCGGT\tREB1\t6.0\n0.1\t0.2\t0.3\t0.4\n1\t0\t0\t0\n", "HOMER", "jaspar2meme"),
        (b"AC  M00001\nXX\nID  V$MYOD_01\nXX\nP0  A C G T\n01 1 2 2 0\nXX\n//\n", "TRANSFAC", "transfac2meme"),
        (b">chr1\nACGTACGT\n", "a FASTA", "GENOME"),
        (b"<html><body>MEME</body></html>", "a web page or XML", "meme.txt"),
        ((HEADER + REB1).encode("utf-16"), "a UTF-16 text", "UTF-8"),
        (b"PK\3\4....", "a zip archive", "give a MEME file"),
        (b"chr1\t0\t100\n", "has no line 'MEME version'", "give a MEME file"),
        (HEADER.encode(), "without a motif", "give a MEME file"),
        (gzip.compress(HEADER.encode() + REB1.encode() * 99)[:-20], "truncated or damaged gzip", "gzip -t"),
    ],
    ids=[
        "empty",
        "blank",
        "empty gzip",
        "jaspar",
        "pfm",
        "homer",
        "transfac",
        "fasta",
        "html",
        "utf-16",
        "zip",
        "bed",
        "no motif",
        "cut gzip",
    ],
)
def test_what_is_no_meme_file_is_told_by_its_content(meme, content, found, mend):
    path = meme(content)
    with pytest.raises(InputError) as caught:
        load_motifs(path)
    assert path in caught.value.message
    assert found in caught.value.message
    assert mend in caught.value.hint


def test_a_file_that_is_not_there_leads_to_jaspar(tmp_path):
    with pytest.raises(InputError, match="there is no file vertebrates") as caught:
        load_motifs("vertebrates")
    assert "jaspar:vertebrates" in caught.value.hint
    with pytest.raises(InputError, match="is a folder, not a MEME file"):
        load_motifs(str(tmp_path))


# ---- A selection ----


@pytest.mark.parametrize("only", [["MA0359.3"], ["ma0359"], ["Rap1"], [" RAP1 "], ["RAP1", "rap1", "MA0359"]])
def test_motifs_are_selected_by_id_and_by_factor(meme, only):
    motifs = load_motifs(meme(HEADER + REB1 + RAP1), only)
    assert called(motifs) == [("MA0359.3", "RAP1")]


def test_a_selection_has_the_order_of_the_file_and_its_own_hash(meme):
    path = meme(HEADER + REB1 + RAP1)
    assert called(load_motifs(path, ["RAP1", "REB1"])) == called(load_motifs(path))
    assert load_motifs(path, ["RAP1", "REB1"]).sha256 == load_motifs(path).sha256
    assert load_motifs(path, ["RAP1"]).sha256 == load_motifs(meme(HEADER + RAP1, "rap1.meme")).sha256


def test_a_factor_may_have_several_motifs(meme):
    path = meme(HEADER + REB1 + REB1.replace("MA0363.3", "MA9999.1") + RAP1)
    assert [motif.id for motif in load_motifs(path, ["reb1"])] == ["MA0363.3", "MA9999.1"]


def test_an_unknown_name_has_near_matches_and_the_way_to_list_them(meme):
    path = meme(HEADER + REB1 + RAP1)
    with pytest.raises(UsageError) as caught:
        load_motifs(path, ["REB1", "RAB1", "MA0359.2"])
    assert caught.value.message.startswith(f"no motif 'RAB1' and no motif 'MA0359.2' in {path}")
    assert "MA0363.3 REB1, MA0359.3 RAP1" in caught.value.message
    assert "did you mean" in caught.value.hint
    assert all(near in caught.value.hint for near in ("RAP1", "MA0359.3", f"zgrep MOTIF {path}"))


def test_a_name_near_to_none_has_no_suggestion(meme):
    with pytest.raises(UsageError, match="no motif 'zzzzzz'") as caught:
        load_motifs(meme(HEADER + REB1), ["zzzzzz"])
    assert "did you mean" not in caught.value.hint


# ---- JASPAR ----


def test_jaspar_by_name_is_the_newest_release_in_the_box():
    from pyjaspar import JASPAR_LATEST_RELEASE

    year = JASPAR_LATEST_RELEASE.removeprefix("JASPAR")
    motifs = load_motifs("jaspar:fungi")
    assert motifs.source == f"JASPAR {year} CORE fungi"
    assert motifs.sha256 == load_motifs(f"JASPAR{year}:Fungi").sha256 != load_motifs("jaspar2014:fungi").sha256
    assert [motif.name for motif in load_motifs("jaspar:fungi", ["reb1"])] == ["REB1"]


@pytest.mark.parametrize("release", ["2014", "2020", "2026"])
def test_jaspar_is_what_pyjaspar_reads(release):
    from pyjaspar import jaspardb

    database = jaspardb(release=f"JASPAR{release}")
    expected = {motif.matrix_id: motif for motif in database.fetch_motifs(collection="CORE", tax_group="nematodes")}
    database.conn.close()
    motifs = load_motifs(f"jaspar{release}:nematodes")
    assert sorted(expected) == [motif.id for motif in motifs]
    for motif in motifs:
        theirs = expected[motif.id]
        counts = [[theirs.counts[base][at] for base in "ACGT"] for at in range(motif.width)]
        assert theirs.name == motif.name
        assert len(theirs.counts["A"]) == motif.width
        for row, of_bases in zip(motif.probabilities.tolist(), counts, strict=True):
            assert row == pytest.approx([count / sum(of_bases) for count in of_bases], rel=1e-15)


@needs_shared
@pytest.mark.parametrize("group", ["vertebrates", "fungi"])
def test_jaspar_is_what_its_download_holds(group):
    download = load_motifs(str(SHARED / "data" / "motifs" / f"JASPAR2024_CORE_{group}_latest-version.meme"))
    embedded = load_motifs(f"jaspar2024:{group}")
    assert called(embedded) == called(download)
    for ours, theirs in zip(embedded, download, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, rtol=0, atol=6e-7)


@pytest.mark.parametrize(
    ("spec", "found", "mend"),
    [
        ("jaspar:vertebrate", "no group 'vertebrate' in JASPAR", "did you mean jaspar:vertebrates?"),
        ("jaspar2024:fungus", "no group 'fungus' in JASPAR 2024 CORE; it has", "did you mean jaspar2024:fungi?"),
        ("jaspar:human", "insects, nematodes, plants", "write it as jaspar:vertebrates"),
        ("jaspar:", "no group ''", "write it as jaspar:vertebrates"),
        ("jaspar1999:fungi", "no release JASPAR1999 of JASPAR; embedded are JASPAR2026", "jaspar:fungi"),
    ],
)
def test_what_jaspar_does_not_have_is_named(spec, found, mend):
    with pytest.raises(UsageError) as caught:
        load_motifs(spec)
    assert found in caught.value.message
    assert mend in caught.value.hint


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        (
            [("A", 1), ("C", 2), ("G", 3), ("T", 4), ("A", 0), ("C", 0), ("G", 0), ("T", 0)],
            "column 2 .* has no counts",
        ),
        ([("A", 1), ("C", 2), ("T", 4)], "is incomplete: 3 counts"),
        ([], "is incomplete: 0 counts"),
    ],
)
def test_a_matrix_of_jaspar_that_cannot_be_used_is_named(counts, found):
    with pytest.raises(InputError, match=f"JASPAR 2026 CORE fungi: .*{found}"):
        database._probabilities(counts, "MA0001.1", "JASPAR 2026 CORE fungi")
