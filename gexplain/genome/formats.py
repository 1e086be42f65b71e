"""Formats that people give instead of a BED or a FASTA, told by the first bytes and never by the name."""

from __future__ import annotations

import re
import zlib

GZIP_MAGIC = b"\x1f\x8b"
# BGZF is gzip whose blocks carry the extra field "BC"; a whole file ends in this empty block (SAM spec, 4.1).
BGZF_MAGIC = b"\x1f\x8b\x08\x04"
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

# Bytes enough to tell a format.
HEAD_BYTES = 1 << 16


def is_bgzf(head: bytes) -> bool:
    """Whether these first bytes are BGZF: gzip in blocks, which can be read from the middle."""
    return head.startswith(BGZF_MAGIC) and head[12:14] == b"BC"


def uncompressed_head(head: bytes) -> bytes:
    """The first bytes of what a file holds: `head` itself, or what it unpacks to where it is gzip."""
    if not head.startswith(GZIP_MAGIC):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def recognise_format(head: bytes) -> str | None:
    """What these uncompressed first bytes are, as in "a FASTA"; None for a BED and for what is unknown."""
    for magic, format_name in _MAGIC.items():
        if head.startswith(magic):
            return format_name
    if b"\0" in head:
        return "a binary file"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((name for pattern, name in _TEXT.items() if re.match(pattern, text)), None)


_MAGIC = {
    b"\xff\xfe": "a UTF-16 text",
    b"\xfe\xff": "a UTF-16 text",
    b"BAM\1": "a BAM",
    b"CRAM": "a CRAM",
    b"BCF\2": "a BCF",
    b"TBI\1": "a tabix index",
    b"\xeb\xf2\x89\x87": "a bigBed",
    b"\x87\x89\xf2\xeb": "a bigBed",
    b"\x26\xfc\x8f\x88": "a bigWig",
    b"\x88\x8f\xfc\x26": "a bigWig",
    b"\x43\x27\x41\x1a": "a 2bit",
    b"\x1a\x41\x27\x43": "a 2bit",
    b"PK\3\4": "a zip archive or Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    GZIP_MAGIC: "a gzip inside a gzip",
}

_TEXT = {
    rb">": "a FASTA",
    rb"@[^\n]*\n[A-Za-z.*-]+\r?\n\+": "a FASTQ",
    rb"@(?:HD|SQ|RG|PG|CO)\t": "a SAM",
    rb"##fileformat=VCF": "a VCF",
    rb"##gff-version": "a GFF",
    # No header, but nine columns with the source and type before the coordinates and the strand in column 7.
    rb"(?:#[^\n]*\n|\s*\n)*[^\t\n#]+\t[^\t\n]*\t[A-Za-z_][^\t\n]*\t\d+\t\d+\t[^\t\n]*\t[-+.?]\t[.012]\t": (
        "a GFF or GTF"
    ),
    rb"(?:track[^\n]*\n)?(?:fixed|variable)Step\s": "a wiggle",
    rb"(?i:<!doctype|<html|<\?xml)": "a web page or XML",
    rb"[{\[]\s*[\"{\[]": "a JSON",
}
