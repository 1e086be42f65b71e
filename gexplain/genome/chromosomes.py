"""Chromosome names: how those of a BED meet those of a FASTA. Nothing is renamed unless the user asks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from gexplain.errors import InputError, preview

MITOCHONDRION = ("M", "MT")
# What the third column of UCSC's chromAlias table holds: who gave the alias, and no name itself.
ALIAS_SOURCES = frozenset(("assembly", "ensembl", "flybase", "genbank", "ncbi", "refseq", "ucsc", "wormbase"))


def match_chroms(
    bed_chroms: Iterable[str], fasta_chroms: Collection[str], alias: Mapping[str, str] | Literal["chr"] | None = None
) -> dict[str, str]:
    """The FASTA's name of each chromosome of a BED that the FASTA has; the others are left out.

    alias: None for equal names only; "chr" to add or remove that prefix, chrM being MT; or `read_chrom_alias`'s
    mapping. An equal name always comes first. Raises InputError where an alias stands for two of the FASTA.
    """
    known = set(fasta_chroms)
    by_group: dict[str, list[str]] = defaultdict(list)
    if isinstance(alias, Mapping):
        for chrom in fasta_chroms:
            by_group[alias.get(chrom, chrom)].append(chrom)
    matches = {}
    for chrom in bed_chroms:
        if chrom in known:
            matches[chrom] = chrom
        elif alias == "chr":
            found = next((name for name in _chr_variants(chrom) if name in known), None)
            if found is not None:
                matches[chrom] = found
        elif alias is not None:
            named = by_group.get(alias.get(chrom, chrom), [])
            if len(named) > 1:
                raise InputError(
                    f"the alias {chrom!r} stands for {preview(named)}, all of which are in the FASTA",
                    hint="leave one of them in the --chrom-alias file",
                )
            if named:
                matches[chrom] = named[0]
    return matches


def read_chrom_alias(path: str | os.PathLike[str]) -> dict[str, str]:
    """Each name of an alias file, to one name that stands for all names of its chromosome.

    Tab-separated; the names in a row are one chromosome, as in UCSC's chromAlias.txt (columns named in a line
    that begins with #) and in its chromAlias table (alias, chrom, source). Empty cells count for nothing.
    Raises InputError for a file that cannot be read or that has rows of one column.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {path} as chromosome aliases: {error}", hint="give a text file of two or more columns"
        ) from error
    # Rows may share a name (chr1, once for each of its aliases): names point towards their chromosome's first.
    towards: dict[str, str] = {}

    def first_of(name: str) -> str:
        while towards.setdefault(name, name) != name:
            name = towards[name]
        return name

    for line, text in enumerate(lines, 1):
        if not text.strip() or text.startswith("#"):
            continue
        cells = [cell.strip() for cell in text.split("\t")]
        if len(cells) < 2:
            raise InputError(
                f"line {line} of {path} has one column, expected the names of a chromosome with tabs between them",
                hint="write each name and its alias with a tab between them",
            )
        if len(cells) == 3 and ALIAS_SOURCES.issuperset(cells[2].split(",")):
            cells.pop()
        names = [cell for cell in cells if cell]
        for name in names[1:]:
            towards[first_of(name)] = first_of(names[0])
    return {name: first_of(name) for name in towards}


def no_shared_chroms_error(
    bed_name: str, bed_chroms: Collection[str], n_regions: int, fasta_name: str, fasta_chroms: Collection[str]
) -> InputError:
    """The error for a BED and a FASTA without one chromosome in common, with the mapping that would help."""
    n_matched = len(match_chroms(bed_chroms, fasta_chroms, "chr"))
    if n_matched:
        hint = f'--chrom-alias chr maps the "chr" prefix ({n_matched} of {len(bed_chroms)} names then match)'
    else:
        hint = (
            "check that both are of the same species and build; --chrom-alias FILE maps names, "
            "with UCSC's chromAlias.txt for one"
        )
    return InputError(
        f"none of the {n_regions:,} regions' chromosomes are in {fasta_name}",
        detail=f"{bed_name} has {preview(bed_chroms)}; {fasta_name} has {preview(fasta_chroms)}",
        hint=hint,
    )


def select_chroms(patterns: Sequence[str], fasta_chroms: Collection[str]) -> list[str]:
    """The chromosomes, in the FASTA's order, that a name or a glob (chr*) asks for.

    patterns: names and globs; one text may hold several with commas between them. A name that the FASTA has is
    that name, * and all (HLA-A*01:01). Raises InputError for a pattern that matches nothing.
    """
    selected: set[str] = set()
    for pattern in (part.strip() for text in patterns for part in text.split(",")):
        found = {pattern} & set(fasta_chroms) or {chrom for chrom in fasta_chroms if fnmatchcase(chrom, pattern)}
        if not found:
            near = _near_matches(pattern, fasta_chroms)
            raise InputError(
                f"--chroms {pattern!r} matches no chromosome; the FASTA has {preview(fasta_chroms)}",
                hint=f"did you mean {' or '.join(near)}?" if near else "name chromosomes as the FASTA does",
            )
        selected |= found
    return [chrom for chrom in fasta_chroms if chrom in selected]


def _chr_variants(chrom: str) -> list[str]:
    """The other names of a chromosome under the chr prefix, likeliest first."""
    bare = chrom.removeprefix("chr")
    bares = [bare, *(name for name in MITOCHONDRION if bare in MITOCHONDRION and name != bare)]
    return [name for bare in bares for name in ((bare, f"chr{bare}") if chrom != bare else (f"chr{bare}", bare))]


def _near_matches(name: str, fasta_chroms: Collection[str]) -> list[str]:
    variants = [variant for variant in _chr_variants(name) if variant in set(fasta_chroms)]
    by_lower = {chrom.lower(): chrom for chrom in fasta_chroms}
    close = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3)]
    return list(dict.fromkeys([*variants, *close]))[:3]
