"""Assemblies: which of those that browsers know a genome is, told by the names and lengths of its chromosomes."""

from __future__ import annotations

from collections.abc import Mapping


def recognise_assembly(chroms: Mapping[str, int]) -> str | None:
    """What UCSC calls the assembly of these chromosomes, names to lengths; None for one that is not known here.

    It takes one known chromosome, and that no chromosome of a known name has another length. Sequences of other
    names count for nothing: contigs, decoys, viruses.
    """
    found = [name for name, known in _ASSEMBLIES.items() if _is_of(chroms, known)]
    return found[0] if len(found) == 1 else None


def _is_of(chroms: Mapping[str, int], known: Mapping[str, int]) -> bool:
    shared = chroms.keys() & known.keys()
    return bool(shared) and all(chroms[name] == known[name] for name in shared)


def _numbered(lengths: str, *others: str) -> dict[str, int]:
    """chr1, chr2 ... with these lengths, then the others, written name:length."""
    named = [(f"chr{number}", length) for number, length in enumerate(lengths.split(), 1)]
    named += [(f"chr{name}", length) for name, _, length in (other.partition(":") for other in others)]
    return {name: int(length) for name, length in named}


# The lengths are those of UCSC's chrom.sizes (https://hgdownload.soe.ucsc.edu/goldenPath/). No mitochondria:
# one assembly goes about with several of them, and several assemblies with the same one.
_ASSEMBLIES: dict[str, dict[str, int]] = {
    "hg38": _numbered(
        "248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636 138394717 "
        "133797422 135086622 133275309 114364328 107043718 101991189 90338345 83257441 80373285 58617616 "
        "64444167 46709983 50818468",
        *("X:156040895", "Y:57227415"),
    ),
    "hg19": _numbered(
        "249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022 141213431 "
        "135534747 135006516 133851895 115169878 107349540 102531392 90354753 81195210 78077248 59128983 "
        "63025520 48129895 51304566",
        *("X:155270560", "Y:59373566"),
    ),
    "hs1": _numbered(
        "248387328 242696752 201105948 193574945 182045439 172126628 160567428 146259331 150617247 "
        "134758134 135127769 133324548 113566686 101161492 99753195 96330374 84276897 80542538 61707364 "
        "66210255 45090682 51324926",
        *("X:154259566", "Y:62460029"),
    ),
    "mm39": _numbered(
        "195154279 181755017 159745316 156860686 151758149 149588044 144995196 130127694 124359700 "
        "130530862 121973369 120092757 120883175 125139656 104073951 98008968 95294699 90720763 61420004",
        *("X:169476592", "Y:91455967"),
    ),
    "mm10": _numbered(
        "195471971 182113224 160039680 156508116 151834684 149736546 145441459 129401213 124595110 "
        "130694993 122082543 120129022 120421639 124902244 104043685 98207768 94987271 90702639 61431566",
        *("X:171031299", "Y:91744698"),
    ),
    "rn7": _numbered(
        "260522016 249053267 169034231 182687754 166875058 140994061 135012528 123900184 114175309 "
        "107211142 86241447 46669029 106807694 104886043 101769107 84729064 86533673 83828827 57337602 "
        "54435887",
        *("X:152453651", "Y:18315841"),
    ),
    "danRer11": _numbered(
        "59578282 59640629 62628489 78093715 72500376 60270059 74282399 54304671 56459846 45420867 "
        "45484837 49182954 52186027 52660232 48040578 55266484 53461100 51023478 48449771 55201332 "
        "45934066 39133080 46223584 42172926 37502051"
    ),
    "dm6": _numbered(
        "",
        *("2L:23513712", "2R:25286936", "3L:28110227", "3R:32079331", "4:1348131", "X:23542271", "Y:3667352"),
    ),
    "ce11": _numbered(
        "",
        *("I:15072434", "II:15279421", "III:13783801", "IV:17493829", "V:20924180", "X:17718942"),
    ),
    "sacCer3": _numbered(
        "",
        *("I:230218", "II:813184", "III:316620", "IV:1531933", "V:576874", "VI:270161", "VII:1090940", "VIII:562643"),
        *("IX:439888", "X:745751", "XI:666816", "XII:1078177", "XIII:924431", "XIV:784333", "XV:1091291"),
        "XVI:948066",
    ),
}
