from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam
import pytest

from gexplain.errors import InputError
from gexplain.genome.genes import Genes, one_per_gene, read_genes
from gexplain.genome.intervals import Interval

CHROMS = {"chr1": 100_000, "chr2": 60_000, "chrM": 16_000}


@dataclass(frozen=True)
class Model:
    """A transcript as it is meant; spans are 0-based, half-open."""

    chrom: str
    name: str
    gene: str
    strand: str
    exons: tuple[tuple[int, int], ...]
    coding: tuple[int, int] | None = None

    @property
    def span(self) -> tuple[int, int]:
        return self.exons[0][0], self.exons[-1][1]

    def coding_parts(self) -> list[tuple[int, int]]:
        if self.coding is None:
            return []
        low, high = self.coding
        return [(max(low, a), min(high, b)) for a, b in self.exons if max(low, a) < min(high, b)]


# Two transcripts of one gene, one on the other strand, and one that codes for nothing.
MODELS = [
    Model("chr1", "T1", "ABF1", "+", ((1000, 1200), (2000, 2300), (5000, 5600)), (1100, 5300)),
    Model("chr1", "T2", "ABF1", "+", ((1000, 1200), (5000, 5600)), (1100, 5300)),
    Model("chr1", "T3", "REB1", "-", ((7000, 7900),), (7100, 7700)),
    Model("chr1", "T4", "SNR1", "-", ((30_000, 30_050), (39_000, 39_200))),
    Model("chr2", "T5", "RAP1", "+", ((2000, 2300),), (2000, 2300)),
]


def gtf(models: Sequence[Model], rows: Sequence[str] = ("gene", "transcript", "exon", "CDS", "stop_codon")) -> str:
    lines = ["#!genome-build made up"]

    def line(model: Model, kind: str, start: int, end: int, names: str) -> None:
        if kind in rows:
            place = [model.chrom, "made", kind, str(start + 1), str(end), ".", model.strand, "."]
            lines.append("\t".join([*place, names]))

    for model in models:
        of_gene = f'gene_id "G_{model.gene}"; gene_name "{model.gene}";'
        names = f'gene_id "G_{model.gene}"; transcript_id "{model.name}"; gene_name "{model.gene}"; note "a; b";'
        line(model, "gene", *model.span, of_gene)
        line(model, "transcript", *model.span, names)
        for start, end in model.exons:
            line(model, "exon", start, end, names)
        if model.coding is not None:
            # GTF's coding part ends before the stop codon, which here lies in one exon.
            low, high = model.coding
            stop = (high - 3, high) if model.strand == "+" else (low, low + 3)
            for start, end in model.coding_parts():
                start, end = (start, min(end, stop[0])) if model.strand == "+" else (max(start, stop[1]), end)
                line(model, "CDS", start, end, names)
            line(model, "stop_codon", *stop, names)
    return "\n".join(lines) + "\n"


def gff3(models: Sequence[Model]) -> str:
    lines, written = ["##gff-version 3"], set()
    for model in models:
        place = f"{model.chrom}\tmade"
        rest = f".\t{model.strand}\t."
        if model.gene not in written:
            same = [one.span for one in models if one.gene == model.gene]
            start, end = min(a for a, _ in same), max(b for _, b in same)
            lines.append(f"{place}\tgene\t{start + 1}\t{end}\t{rest}\tID=gene:G_{model.gene};Name={model.gene}")
            written.add(model.gene)
        names = f"ID=transcript:{model.name};Parent=gene:G_{model.gene}"
        lines.append(f"{place}\tmRNA\t{model.span[0] + 1}\t{model.span[1]}\t{rest}\t{names}")
        for kind, spans in (("exon", model.exons), ("CDS", model.coding_parts())):
            for start, end in spans:
                lines.append(f"{place}\t{kind}\t{start + 1}\t{end}\t{rest}\tParent=transcript:{model.name}")
    return "\n".join(lines) + "\n"


def bed12(models: Sequence[Model]) -> str:
    lines = ["track name=genes"]
    for model in models:
        start, end = model.span
        low, high = model.coding or (start, start)
        sizes = "".join(f"{b - a}," for a, b in model.exons)
        starts = "".join(f"{a - start}," for a, _ in model.exons)
        fields = [model.chrom, start, end, model.gene, 0, model.strand, low, high, 0, len(model.exons), sizes, starts]
        lines.append("\t".join(map(str, fields)))
    return "\n".join(lines) + "\n"


FORMATS = {"GTF": gtf, "GFF3": gff3, "BED12": bed12}


def read(path: Path, start: int, end: int, chrom: str = "chr1", **options: object) -> Genes:
    return read_genes(path, Interval(chrom, start, end), CHROMS, **options)


def drawn(genes: Genes) -> list[tuple[object, ...]]:
    """What a figure shows of the genes: all but the transcripts' ids, which BED12 has not."""
    return sorted(
        (one.gene, one.interval.start, one.interval.end, one.interval.strand, one.exons, one.coding)
        for one in genes.transcripts
    )


def meant(models: Sequence[Model], start: int, end: int, chrom: str = "chr1") -> list[tuple[object, ...]]:
    """What should be drawn, base by base."""
    wanted = set(range(start, end))
    return sorted(
        (one.gene, *one.span, one.strand, one.exons, tuple(one.coding_parts()))
        for one in models
        if one.chrom == chrom and wanted & set(range(*one.span))
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("place", [(0, 100_000), (1500, 1600), (5599, 5600), (5600, 7000), (35_000, 35_001)])
def test_a_gene_written_in_three_formats_is_the_same_gene(tmp_path, name, place):
    path = tmp_path / "genes"
    path.write_text(FORMATS[name](MODELS))
    genes = read(path, *place)
    assert (genes.format, genes.chrom) == (name, "chr1")
    assert drawn(genes) == meant(MODELS, *place)


def random_models(rng: np.random.Generator, n: int) -> list[Model]:
    models = []
    for number in range(n):
        edges = np.unique(rng.integers(0, 5000, 2 * int(rng.integers(1, 6))))
        edges = edges[: len(edges) // 2 * 2]
        if len(edges) < 2:
            continue
        exons = tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2) + int(rng.integers(0, 2000)))
        longest = max(exons, key=lambda one: one[1] - one[0])
        coding = longest if longest[1] - longest[0] > 9 and rng.random() < 0.7 else None
        chrom = "chr1" if rng.random() < 0.8 else "chr2"
        models.append(Model(chrom, f"T{number}", f"G{number}", "+-"[int(rng.integers(2))], exons, coding))
    return models


@pytest.mark.parametrize("seed", range(6))
def test_overlaps_are_those_of_the_bases(tmp_path, seed):
    rng = np.random.default_rng(seed)
    models = random_models(rng, 40)
    for name, write in FORMATS.items():
        # Order means nothing: exons may come before what they belong to.
        head, *lines = write(models).splitlines()
        rng.shuffle(lines)
        (tmp_path / name).write_text("\n".join([head, *lines]) + "\n")
    for start in rng.integers(0, 6900, 8).tolist():
        end = start + int(rng.integers(1, 60))
        for name in FORMATS:
            assert drawn(read(tmp_path / name, start, end)) == meant(models, start, end), (name, start, end)


def test_a_gtf_without_lines_of_transcripts_has_the_same_ones(tmp_path):
    (tmp_path / "genes.gtf").write_text(gtf(MODELS, rows=("exon", "CDS", "stop_codon")))
    assert drawn(read(tmp_path / "genes.gtf", 35_000, 35_100)) == meant(MODELS, 35_000, 35_100)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("csi", [False, True])
def test_an_index_changes_nothing(tmp_path, name, csi):
    lines = FORMATS[name](MODELS).splitlines()
    column = 1 if name == "BED12" else 3
    rows = sorted(
        (line for line in lines if line.count("\t") > 5),
        key=lambda one: (one.split("\t")[0], int(one.split("\t")[column])),
    )
    plain, packed = tmp_path / "genes", tmp_path / "genes.gz"
    plain.write_text("\n".join(rows) + "\n")
    pysam.tabix_compress(str(plain), str(packed))
    pysam.tabix_index(str(packed), preset="bed" if name == "BED12" else "gff", csi=csi)
    for place in ((0, 100_000), (1500, 1600), (35_000, 35_001), (50_000, 50_001)):
        assert read(packed, *place) == read(plain, *place)
    assert drawn(read(packed, 35_000, 35_001)) == meant(MODELS, 35_000, 35_001) != []


def test_the_index_is_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("gexplain.genome.genes._Source.lines", lambda self: pytest.fail("read line by line"))
    plain, packed = tmp_path / "genes.bed", tmp_path / "genes.bed.gz"
    plain.write_text(bed12(MODELS).split("\n", 1)[1])
    pysam.tabix_compress(str(plain), str(packed))
    pysam.tabix_index(str(packed), preset="bed")
    assert len(read(packed, 0, 6000).transcripts) == 2
    os.utime(f"{packed}.tbi", (0, 0))  # older than the file: lines may lie elsewhere
    with pytest.raises(pytest.fail.Exception, match="line by line"):
        read(packed, 0, 6000)


def test_gzip_is_read(tmp_path):
    with gzip.open(tmp_path / "genes.gtf.gz", "wt") as file:
        file.write(gtf(MODELS))
    assert drawn(read(tmp_path / "genes.gtf.gz", 0, 9000)) == meant(MODELS, 0, 9000)


@pytest.mark.parametrize(("other", "asked"), [("1", "chr1"), ("chr1", "1"), ("MT", "chrM"), ("chrM", "MT")])
def test_a_chromosome_is_found_under_its_other_name(tmp_path, other, asked):
    model = Model(other, "T", "G", "+", ((10, 90),))
    (tmp_path / "genes.bed").write_text(bed12([model]))
    genes = read_genes(tmp_path / "genes.bed", Interval(asked, 0, 100), {asked: 1000})
    assert genes.chrom == other
    assert [one.interval.chrom for one in genes.transcripts] == [asked]


def test_an_equal_name_comes_first(tmp_path):
    models = [Model("1", "T", "other", "+", ((10, 90),)), Model("chr1", "U", "same", "+", ((10, 90),))]
    (tmp_path / "genes.bed").write_text(bed12(models))
    assert [one.gene for one in read(tmp_path / "genes.bed", 0, 100).transcripts] == ["same"]


def test_aliases_map_names(tmp_path):
    (tmp_path / "genes.bed").write_text(bed12([Model("NC_000001.11", "T", "G", "+", ((10, 90),))]))
    genes = read(tmp_path / "genes.bed", 0, 100, alias={"NC_000001.11": "chr1"})
    assert (genes.chrom, len(genes.transcripts)) == ("NC_000001.11", 1)
    with pytest.raises(InputError, match="has no chromosome chr1, nor any other of the genome") as caught:
        read(tmp_path / "genes.bed", 0, 100)
    assert "NC_000001.11" in caught.value.detail
    assert "--chrom-alias" in caught.value.hint


def test_a_chromosome_without_genes_is_no_error(tmp_path):
    (tmp_path / "genes.gtf").write_text(gtf(MODELS))
    assert read(tmp_path / "genes.gtf", 0, 100, chrom="chrM") == Genes((), None, "GTF")


def test_of_a_gene_the_transcript_with_the_most_exonic_bases_stands(tmp_path):
    (tmp_path / "genes.gtf").write_text(gtf(MODELS))
    best = one_per_gene(read(tmp_path / "genes.gtf", 0, 100_000).transcripts)
    assert [one.interval.name for one in best] == ["T1", "T3", "T4"]


# ---- Lines as those who give genes write them ----

ENSEMBL = """\
IV\tsgd\tgene\t101\t400\t.\t-\t.\tID=gene:YDL001W;Name=RMD1;biotype=protein_coding;description=a%3B b;gene_id=YDL001W
IV\tsgd\tmRNA\t101\t400\t.\t-\t.\tID=transcript:YDL001W_mRNA;Parent=gene:YDL001W;transcript_id=YDL001W_mRNA
IV\tsgd\texon\t101\t400\t.\t-\t.\tParent=transcript:YDL001W_mRNA;Name=YDL001W_mRNA-E1
IV\tsgd\tCDS\t101\t400\t.\t-\t0\tID=CDS:YDL001W;Parent=transcript:YDL001W_mRNA
###
"""
SGD = """\
chrIV\tSGD\tchromosome\t1\t1531933\t.\t.\t.\tID=chrIV;dbxref=NCBI:BK006938.2;Name=chrIV
chrIV\tSGD\tARS\t90\t300\t.\t.\t.\tID=ARS401;Name=ARS401
chrIV\tSGD\tgene\t101\t400\t.\t-\t.\tID=YDL001W;Name=YDL001W;gene=RMD1
chrIV\tSGD\tCDS\t301\t400\t.\t-\t0\tParent=YDL001W_mRNA;Name=YDL001W_CDS
chrIV\tSGD\tintron\t201\t300\t.\t-\t.\tParent=YDL001W_mRNA;Name=YDL001W_intron
chrIV\tSGD\tCDS\t101\t200\t.\t-\t0\tParent=YDL001W_mRNA;Name=YDL001W_CDS
chrIV\tSGD\tmRNA\t101\t400\t.\t-\t.\tID=YDL001W_mRNA;Name=YDL001W_mRNA;Parent=YDL001W
###
##FASTA
>chrIV
ACGT
"""
REFSEQ = """\
chrIV\tRefSeq\tgene\t101\t400\t.\t-\t.\tID=gene-RMD1;Dbxref=GeneID:851558;Name=RMD1;gbkey=Gene;gene=RMD1
chrIV\tRefSeq\tmRNA\t101\t400\t.\t-\t.\tID=rna-NM_1;Parent=gene-RMD1;Name=NM_1;gbkey=mRNA;gene=RMD1
chrIV\tRefSeq\texon\t101\t400\t.\t-\t.\tID=exon-NM_1-1;Parent=rna-NM_1;gene=RMD1
chrIV\tRefSeq\tCDS\t101\t400\t.\t-\t0\tID=cds-NP_1;Parent=rna-NM_1;Name=NP_1;gene=RMD1
"""
BACTERIAL = """\
chrIV\tProdigal\tCDS\t101\t400\t.\t-\t0\tID=ABC_001;gene=RMD1;locus_tag=ABC_001
"""
GENE_ALONE = """\
chrIV\tx\ttRNA_gene\t101\t400\t.\t-\t.\tID=g1;Name=RMD1
"""
REFSEQ_GTF = """\
chrIV\tRefSeq\tgene\t101\t400\t.\t-\t.\tgene_id "RMD1"; transcript_id ""; gene "RMD1"; gbkey "Gene";
chrIV\tRefSeq\ttranscript\t101\t400\t.\t-\t.\tgene_id "RMD1"; transcript_id "NM_1"; gene "RMD1";
chrIV\tRefSeq\texon\t101\t400\t.\t-\t.\tgene_id "RMD1"; transcript_id "NM_1"; gene "RMD1"; exon_number "1";
chrIV\tRefSeq\tCDS\t104\t400\t.\t-\t0\tgene_id "RMD1"; transcript_id "NM_1"; gene "RMD1";
chrIV\tRefSeq\tstop_codon\t101\t103\t.\t-\t0\tgene_id "RMD1"; transcript_id "NM_1"; gene "RMD1";
"""
WHOLE, SPLIT = ((100, 400),), ((100, 200), (300, 400))


@pytest.mark.parametrize(
    ("text", "exons", "coding"),
    [
        (ENSEMBL, WHOLE, WHOLE),
        (SGD, SPLIT, SPLIT),
        (REFSEQ, WHOLE, WHOLE),
        (BACTERIAL, WHOLE, WHOLE),
        (GENE_ALONE, WHOLE, ()),
        (REFSEQ_GTF, WHOLE, WHOLE),
    ],
    ids=["Ensembl", "SGD", "RefSeq", "bacterial", "gene alone", "RefSeq GTF"],
)
def test_the_files_of_those_who_give_genes_are_read(tmp_path, text, exons, coding):
    (tmp_path / "genes").write_text(text)
    (one,) = read_genes(tmp_path / "genes", Interval("chrIV", 250, 260), {"chrIV": 1_531_933}).transcripts
    assert (one.gene, one.interval.strand, one.exons, one.coding) == ("RMD1", "-", exons, coding)


def test_a_gene_whose_transcripts_lie_elsewhere_is_not_drawn_in_one_piece(tmp_path):
    """The gene's line spans both of its transcripts; none of them has a base here."""
    models = [Model("chr1", f"T{i}", "G", "+", (span,)) for i, span in enumerate([(100, 200), (900, 950)])]
    for name, text in (
        ("gff", gff3(models)),
        ("gtf", gtf(models).replace("\t101\t200\t.\t+\t.\tgene_id", "\t101\t950\t.\t+\t.\tgene_id", 1)),
    ):
        (tmp_path / name).write_text(text)
        assert read(tmp_path / name, 400, 500).transcripts == ()


def test_hostile_names_stay_as_they_are(tmp_path):
    name = '<b>&"\u202e\x1bé'
    (tmp_path / "genes.bed").write_text(bed12([Model("chr1", "T", name, "+", ((10, 90),))]))
    assert [one.gene for one in read(tmp_path / "genes.bed", 0, 100).transcripts] == [name]
    raw = (tmp_path / "genes.bed").read_bytes().replace(name.encode(), b"caf\xe9")
    (tmp_path / "raw.bed").write_bytes(raw)
    assert [one.gene for one in read(tmp_path / "raw.bed", 0, 100).transcripts] == ["caf\udce9"]


# ---- What is none of the three ----


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("chr1\t1\t9\tpeak\n", "line 1 of .* is none of GTF, GFF3 and BED12: 4 columns, like a BED without exons"),
        ("# x\n\nhello world\n", "line 3 of .* 1 column, without tabs"),
        ("chr1\tx\tgene\tone\ttwo\t.\t+\t.\tID=g\n", "line 1 of .* 9 columns"),
        (">chr1\nACGT\n", "looks like a FASTA"),
        ("##fileformat=VCFv4.2\n", "looks like a VCF"),
        ("", "has no line of a gene"),
        ("##gff-version 3\n", "has no line of a gene"),
    ],
)
def test_another_format_is_named(tmp_path, text, found):
    (tmp_path / "genes").write_text(text)
    with pytest.raises(InputError, match=found):
        read(tmp_path / "genes", 0, 100)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("chr1\tx\texon\t9\t5\t.\t+\t.\tParent=a", "line 2 of .* is no GFF3: start 9 and end 5"),
        ("chr1\tx\texon\t1e3\t5\t.\t+\t.\tParent=a", "line 2 of .* column 4 .start. is '1e3'"),
        ("chr1\tx\texon\t1\t5", "line 2 of .* 5 columns, expected 9"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, found):
    (tmp_path / "genes").write_text(f"chr1\tx\tgene\t1\t5\t.\t+\t.\tID=a\n{line}\n")
    with pytest.raises(InputError, match=found):
        read(tmp_path / "genes", 0, 100)


@pytest.mark.parametrize(("column", "value"), [(9, "3"), (10, "10,x,"), (11, "0,95,"), (1, "11")])
def test_blocks_that_do_not_fit_are_named(tmp_path, column, value):
    fields = bed12([Model("chr1", "T", "G", "+", ((10, 20), (50, 90)))]).splitlines()[1].split("\t")
    fields[column] = value
    (tmp_path / "genes").write_text("\t".join(fields) + "\n")
    with pytest.raises(InputError, match=r"line 1 of .* is no BED12"):
        read(tmp_path / "genes", 0, 100)


def test_damaged_gzip_is_named(tmp_path):
    packed = gzip.compress(gtf(MODELS * 50).encode())
    (tmp_path / "genes.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        read(tmp_path / "genes.gz", 0, 100)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*no such file"):
        read(tmp_path / "nothing.gtf", 0, 100)


def test_a_damaged_index_is_named(tmp_path):
    plain, packed = tmp_path / "genes.bed", tmp_path / "genes.bed.gz"
    plain.write_text(bed12(MODELS).split("\n", 1)[1])
    pysam.tabix_compress(str(plain), str(packed))
    shutil.copy(plain, f"{packed}.tbi")
    with pytest.raises(InputError, match=r"cannot read .* through .*\.tbi"):
        read(packed, 0, 100)
