"""Motifs: from a MEME file of the user's, or from JASPAR, whose releases come with pyjaspar and need no network.

A motif is a matrix of probabilities. What a file says of its background, of sites and of E-values is not used. The
format: https://meme-suite.org/meme/doc/meme-format.html. JASPAR: https://jaspar.elixir.no.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gexplain.errors import InputError, UsageError, preview
from gexplain.genome.formats import GZIP_MAGIC, HEAD_BYTES, recognise_format, uncompressed_head

BASES = "ACGT"

# A row of probabilities rounded to two decimals is off by this much, .33 .33 .33 being one.
ROW_SUM_TOLERANCE = 0.0101

_PROTEIN = "ACDEFGHIKLMNPQRSTVWY"


@dataclass(frozen=True, slots=True, eq=False)
class Motif:
    """One motif. id: "MA0093.4". name: the factor, "USF1"; the id where the source names none.

    probabilities: (width, 4) float64, columns A, C, G, T; read-only.
    """

    id: str
    name: str
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 2 or self.probabilities.shape[1] != 4 or not len(self.probabilities):
            raise ValueError(f"{self.id}: probabilities of shape {self.probabilities.shape}, expected (width, 4)")
        if not (np.isfinite(self.probabilities).all() and (self.probabilities >= 0).all()):
            raise ValueError(f"{self.id}: probabilities that are negative or not finite")
        own = np.array(self.probabilities, dtype=np.float64)
        own.flags.writeable = False
        object.__setattr__(self, "probabilities", own)
        object.__setattr__(self, "name", self.name or self.id)

    @property
    def width(self) -> int:
        """In nucleotides."""
        return len(self.probabilities)


@dataclass(frozen=True, slots=True, eq=False)
class MotifSet:
    """Motifs and where they are from.

    source: a path as it was given, or "JASPAR 2026 CORE vertebrates". sha256: of the ids, names and matrices, in
    their order: that of a set that was selected tells what was selected, and how a file is laid out does not count.
    """

    source: str
    sha256: str
    motifs: tuple[Motif, ...]

    def __len__(self) -> int:
        return len(self.motifs)

    def __iter__(self) -> Iterator[Motif]:
        return iter(self.motifs)


def load_motifs(spec: str, only: Sequence[str] = ()) -> MotifSet:
    """The motifs of a MEME file or of JASPAR, in the order of the source.

    spec: the path of a MEME file (text, plain or gzip), or "jaspar:GROUP" for the newest release that is
    embedded, "jaspar2024:GROUP" for one of them: the CORE collection of a taxonomic group, such as vertebrates or
    fungi, each matrix in its latest version. only: keep the motifs with these ids (with or without a version) or
    names of factors, in any case.

    Raises InputError for a file that cannot be used, with line, finding and mend; UsageError for a release, a
    group or a name in `only` that is not there.
    """
    named = re.fullmatch(r"(?i:jaspar)(\d*):(.*)", spec)
    source, motifs = _read_jaspar(named[1], named[2].strip().lower()) if named else (spec, read_meme(spec))
    listing = "https://jaspar.elixir.no lists those of JASPAR" if named else f"zgrep MOTIF {spec} lists them"
    kept = _select(motifs, only, source, listing) if only else motifs
    return MotifSet(source, _sha256(kept), tuple(kept))


def read_meme(path: str) -> list[Motif]:
    """The motifs of a MEME file, plain or gzip. Raises InputError as `load_motifs`."""
    motifs: dict[str, Motif] = {}
    lines_of: dict[str, int] = {}
    for line, motif in _MemeParser(path, _read_lines(path)).motifs():
        if motif.id in motifs:
            raise InputError(
                f"line {line} of {path}: a second motif {motif.id!r}; the first is on line {lines_of[motif.id]}",
                hint="give every motif an id of its own: hits are named by it",
            )
        motifs[motif.id], lines_of[motif.id] = motif, line
    return list(motifs.values())


# ---- A selection ----


def _select(motifs: Sequence[Motif], only: Sequence[str], source: str, listing: str) -> list[Motif]:
    keys = [_keys(motif) for motif in motifs]
    wanted = {one.strip().lower(): one.strip() for one in only}
    unknown = [one for lower, one in wanted.items() if not any(lower in of_motif for of_motif in keys)]
    if unknown:
        spelled = {key: key_as_written for motif in motifs for key, key_as_written in _keys(motif).items()}
        near = dict.fromkeys(
            spelled[key] for one in unknown for key in get_close_matches(one.lower(), spelled, n=3, cutoff=0.7)
        )
        raise UsageError(
            f"no motif {' and no motif '.join(map(repr, unknown[:5]))}{' ...' if len(unknown) > 5 else ''} in "
            f"{source}, which has {preview(f'{motif.id} {motif.name}' for motif in motifs)}",
            hint=(f"did you mean {preview(near, 6)}? " if near else "")
            + f"Motifs are called by id or by factor; {listing}",
        )
    return [motif for motif, of_motif in zip(motifs, keys, strict=True) if not of_motif.keys().isdisjoint(wanted)]


def _keys(motif: Motif) -> dict[str, str]:
    """What a motif is called, in lower case, to how it is written: its id, its id without a version, its name."""
    return {key.lower(): key for key in (re.sub(r"\.\d+$", "", motif.id), motif.name, motif.id)}


def _sha256(motifs: Sequence[Motif]) -> str:
    digest = hashlib.sha256()
    for motif in motifs:
        digest.update(f"{motif.id}\n{motif.name}\n{motif.width}\n".encode())
        digest.update(motif.probabilities.astype("<f8").tobytes())
    return digest.hexdigest()


# ---- JASPAR ----


def _read_jaspar(year: str, group: str) -> tuple[str, list[Motif]]:
    # pyjaspar brings Biopython.
    from pyjaspar import JASPAR_LATEST_RELEASE, jaspar_releases, jaspardb

    release = f"JASPAR{year}" if year else JASPAR_LATEST_RELEASE
    if release not in jaspar_releases:
        raise UsageError(
            f"no release {release} of JASPAR; embedded are {', '.join(jaspar_releases)}",
            hint=f"jaspar:{group or 'GROUP'} takes the newest; or give the path of that release's MEME file",
        )
    source = f"JASPAR {release.removeprefix('JASPAR')} CORE {group}"
    # pyjaspar reads a motif at a time, with every annotation: 2.3 s for the vertebrates. Two queries take 0.3 s.
    with closing(jaspardb(release=release).conn) as database:
        groups = [name for (name,) in database.execute(_GROUPS)]
        if group not in groups:
            near = get_close_matches(group, groups, n=1)
            raise UsageError(
                f"no group {group!r} in JASPAR {release.removeprefix('JASPAR')} CORE; it has {', '.join(groups)}",
                hint=f"did you mean jaspar{year}:{near[0]}?" if near else f"write it as jaspar{year}:{groups[-1]}",
            )
        matrices = database.execute(_MATRICES, (group,)).fetchall()
        counts_of: dict[int, list[tuple[str, float]]] = {key: [] for key, *_ in matrices}
        for key, base, count in database.execute(_COUNTS, (group,)):
            if key in counts_of:
                counts_of[key].append((base, count))
    return source, [
        Motif(f"{base_id}.{version}", name, _probabilities(counts_of[key], f"{base_id}.{version}", source))
        for key, base_id, version, name in matrices
    ]


def _probabilities(counts: Sequence[tuple[str, float]], motif_id: str, source: str) -> NDArray[np.float64]:
    """(width, 4) of the (base, count) of a matrix, ordered by column, then by base."""
    if not counts or "".join(base for base, _ in counts) != BASES * (len(counts) // 4):
        raise InputError(
            f"{source}: the matrix {motif_id} is incomplete: {len(counts)} counts that are not A, C, G, T in turn",
            hint="install pyjaspar again, or give another release",
        )
    matrix = np.array([count for _, count in counts], dtype=np.float64).reshape(-1, 4)
    total = matrix.sum(1, keepdims=True)
    if not (total > 0).all():
        raise InputError(
            f"{source}: column {int(np.argmin(total)) + 1} of the matrix {motif_id} has no counts",
            hint="give another release, or a MEME file",
        )
    probabilities: NDArray[np.float64] = matrix / total
    return probabilities


# The tables are those of JASPAR's own schema, the same in every release.
_GROUPS = """
    SELECT DISTINCT VAL FROM MATRIX_ANNOTATION JOIN MATRIX USING (ID)
    WHERE TAG = 'tax_group' AND COLLECTION = 'CORE' ORDER BY VAL
"""
_IN_GROUP = "ID IN (SELECT ID FROM MATRIX_ANNOTATION WHERE TAG = 'tax_group' AND VAL = ?)"
_MATRICES = f"""
    SELECT ID, BASE_ID, VERSION, NAME FROM MATRIX WHERE COLLECTION = 'CORE' AND {_IN_GROUP}
    AND (BASE_ID, VERSION) IN (SELECT BASE_ID, MAX(VERSION) FROM MATRIX GROUP BY BASE_ID) ORDER BY BASE_ID
"""
_COUNTS = f"SELECT ID, row, val FROM MATRIX_DATA WHERE {_IN_GROUP} ORDER BY ID, col, row"


# ---- A MEME file ----


def _read_lines(path: str) -> list[str]:
    """The lines of a text file, plain or gzip, without their ends. InputError for what is no MEME file at sight."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
            # A genome that was given by mistake is refused before it is read.
            _refuse_other_formats(path, uncompressed_head(head))
            raw = head + file.read()
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a MEME file", hint="give the path of one file") from None
    except FileNotFoundError:
        hint = (
            "give the path of a MEME file, or jaspar:GROUP for motifs from JASPAR (jaspar:vertebrates, jaspar:fungi)"
        )
        raise InputError(f"there is no file {path}", hint=hint) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    if raw.startswith(GZIP_MAGIC):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path} is truncated or damaged gzip: {error}",
                hint="copy or download it again; `gzip -t` tells whether a file is whole",
            ) from error
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    # Names of factors come in every encoding; Latin-1 gives any byte a character.
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return re.split(r"\r\n|\r|\n", text)


def _refuse_other_formats(path: str, head: bytes) -> None:
    text = head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    if not text.strip():
        raise InputError(f"{path} is empty, expected a MEME file", hint=_GIVE_MEME)
    for pattern, (format_name, mend) in _MATRIX_FORMATS.items():
        if re.match(pattern, text.lstrip()):
            raise InputError(f"{path} looks like {format_name}, not a MEME file", hint=mend)
    found = recognise_format(head)
    if found is not None:
        raise InputError(f"{path} looks like {found}, not a MEME file", hint=_OTHER_FORMATS.get(found, _GIVE_MEME))


class _MemeParser:
    """The motifs of the lines of a MEME file, one after another; the place, for errors, is in the state."""

    def __init__(self, path: str, lines: Sequence[str]) -> None:
        self._path = path
        self._lines = lines
        self._at = 0
        """Of the line to be read next, 0-based."""

    def motifs(self) -> Iterator[tuple[int, Motif]]:
        """(1-based line of its MOTIF, motif). Raises InputError at the first fault, and where there is no motif."""
        has_version = False
        # The MOTIF whose matrix has not come yet; and the id of the one before, whose matrix has.
        pending: tuple[int, str, str] | None = None
        complete: str | None = None
        while self._at < len(self._lines):
            text = self._lines[self._at].strip()
            self._at += 1
            keyword = text.split(maxsplit=1)[0] if text else ""
            if re.match(r"MEME\s+version\b", text):
                has_version = True
            elif keyword.startswith("ALPHABET"):
                self._check_alphabet(text)
            elif keyword == "MOTIF":
                self._check_complete(pending)
                if not has_version:
                    raise self._fault("a motif before any line 'MEME version 4'", "put that line first in the file")
                pending, complete = (self._at, *self._parse_motif_line(text)), None
            elif re.match(r"letter-probability\s+matrix", text):
                if pending is None:
                    where = f"a second matrix of the motif {complete!r}" if complete else "a matrix before any MOTIF"
                    raise self._fault(where, "put a line 'MOTIF id name' before every matrix")
                line, motif_id, name = pending
                yield line, Motif(motif_id, name, self._parse_matrix(text))
                pending, complete = None, motif_id
            elif re.match(r"log-odds\s+matrix", text):
                while self._at < len(self._lines) and _numbers(self._lines[self._at]) is not None:
                    self._at += 1
        self._check_complete(pending)
        if not has_version:
            raise InputError(f"{self._path} is no MEME file: it has no line 'MEME version'", hint=_GIVE_MEME)
        if complete is None:
            raise InputError(f"{self._path} is a MEME file without a motif: it has no line MOTIF", hint=_GIVE_MEME)

    def _fault(self, reason: str, mend: str, *, line: int | None = None) -> InputError:
        """The error of a line, 1-based; of the one that was read last, where none is given."""
        line = self._at if line is None else line
        shown = self._lines[line - 1].strip().replace("\t", "  ")[:120] if line <= len(self._lines) else ""
        return InputError(f"line {line} of {self._path}: {reason}", detail=shown, hint=mend)

    def _check_complete(self, pending: tuple[int, str, str] | None) -> None:
        if pending is not None:
            line, motif_id, _ = pending
            raise self._fault(
                f"the motif {motif_id!r} has no letter-probability matrix",
                "give its matrix below it, or delete the line; log-odds matrices are not read",
                line=line,
            )

    def _check_alphabet(self, text: str) -> None:
        letters = text.removeprefix("ALPHABET").lstrip().removeprefix("=").strip()
        if letters == BASES:
            return
        found = {_PROTEIN: "protein motifs", "ACGU": "RNA motifs"}.get(letters, "a custom alphabet")
        raise self._fault(
            f"{found} (ALPHABET= {letters}), expected DNA motifs: ALPHABET= {BASES}",
            "`rna2meme -dna` writes RNA motifs as DNA"
            if found == "RNA motifs"
            else "give DNA motifs, with the alphabet on one line",
        )

    def _parse_motif_line(self, text: str) -> tuple[str, str]:
        fields = text.split()[1:]
        if not fields:
            raise self._fault("a MOTIF without an id", "write MOTIF id name")
        # In MEME's own reports the line goes on: width = 12  sites = 18 ...
        has_name = len(fields) > 1 and not fields[1].startswith("width")
        return fields[0], fields[1] if has_name else ""

    def _parse_matrix(self, header: str) -> NDArray[np.float64]:
        line = self._at
        settings = dict(re.findall(r"(\w+)\s*=\s*(\S+)", header))
        if settings.get("alength", "4") != "4":
            raise self._fault(
                f"alength= {settings['alength']}, expected 4", "give DNA motifs, with columns A, C, G, T"
            )
        expected = settings.get("w")
        if expected is not None and not re.fullmatch(r"0*[1-9]\d{0,5}", expected, re.ASCII):
            raise self._fault(
                f"w= {expected}, expected the number of rows", "write the motif's width, or leave w= out"
            )
        rows = []
        while self._at < len(self._lines) and (row := _numbers(self._lines[self._at])) is not None:
            self._at += 1
            self._check_row(row)
            rows.append(row)
        # A row that is spoilt ends the matrix early, and is the line to show; at a file's end there is none.
        next_text = self._lines[self._at].strip() if self._at < len(self._lines) else ""
        if re.match(r"[-+.\d]", next_text) and not next_text.startswith("--"):
            self._at += 1
            raise self._fault("a row that is not four numbers", "write the probabilities of A, C, G and T")
        if not rows:
            raise self._fault("a matrix without rows", "write one row a position below it: A, C, G, T", line=line)
        if expected is not None and int(expected) != len(rows):
            raise self._fault(
                f"w= {expected}, but {len(rows)} rows follow", "correct w=, or complete the matrix", line=line
            )
        return np.array(rows, dtype=np.float64)

    def _check_row(self, row: Sequence[float]) -> None:
        if len(row) != 4:
            raise self._fault(f"{len(row)} numbers in a row, expected 4", "write the probabilities of A, C, G and T")
        if not all(math.isfinite(value) and value >= 0 for value in row):
            raise self._fault(
                "a probability that is negative or not finite", "give probabilities; log-odds are not read"
            )
        if not abs(sum(row) - 1) <= ROW_SUM_TOLERANCE:
            raise self._fault(
                f"a row that adds up to {sum(row):g}, expected 1",
                "divide every row by its sum" if sum(row) > 1 else "complete the row",
            )


def _numbers(text: str) -> list[float] | None:
    """The numbers of a line that holds nothing else; None for every other line."""
    fields = text.split()
    try:
        return [float(field) for field in fields] or None
    except ValueError:
        return None


_GIVE_MEME = "give a MEME file (minimal format will do), or jaspar:GROUP for motifs from JASPAR"

# Of the text of a file, to what it is and the mend. The MEME Suite has a converter for each.
_MATRIX_FORMATS: Mapping[str, tuple[str, str]] = {
    r">[^\n]*\n\s*[Aa]?\s*\|?\s*\[?\s*[\d.]+\s+[\d.]+[^\n]*\n\s*[Cc]?\s*\|?\s*\[?\s*[\d.]+\s": (
        "a matrix of JASPAR or HOMER",
        "`jaspar2meme` of the MEME Suite converts JASPAR's; or download it as MEME; jaspar:GROUP needs no file",
    ),
    r"(?:AC|ID|VV|DE|NA|XX)(?:\s[^\n]*)?\r?\n(?:[A-Z]{2}|P0|PO|//)(?:\s|$)": (
        "a TRANSFAC file",
        "`transfac2meme` of the MEME Suite converts it",
    ),
}

_OTHER_FORMATS = {
    "a FASTA": "give motifs here, and the genome as GENOME; jaspar:GROUP takes motifs from JASPAR",
    "a web page or XML": "MEME writes its motifs in meme.txt, STREME in streme.txt: give that",
    "a UTF-16 text": "save it as UTF-8",
}
