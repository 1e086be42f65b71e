"""What is wrong with a track hub, by the rules that UCSC documents.

https://genome.ucsc.edu/goldenPath/help/hgTrackHubHelp.html, of each setting
https://genome.ucsc.edu/goldenPath/help/trackDb/trackDbHub.html, and of genomes that a hub brings along
https://genome.ucsc.edu/goldenPath/help/assemblyHubHelp.html. Written from these pages, and not from the code that
makes hubs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

Stanza = list[tuple[str, str]]

ON_OFF = "on|off"
NUMBER = r"-?\d+(\.\d*)?(e[+-]?\d+)?"
RGB = r"(\d{1,3}),(\d{1,3}),(\d{1,3})"
# Settings of a track: what their values look like, and of which types they are (None: of all).
SETTINGS = {
    "track": ("[A-Za-z][A-Za-z0-9_]*", None),
    "type": (rf"bigWig( {NUMBER} {NUMBER})?|bigBed \d+( [.+])?", None),
    "shortLabel": (r"\S.{0,16}", None),
    "longLabel": (r"\S.{0,75}", None),
    "bigDataUrl": (r"\S+", None),
    "visibility": ("hide|dense|full|pack|squish", None),
    "parent": (rf"\S+( ({ON_OFF}))?", None),
    "compositeTrack": ("on", None),
    "color": (RGB, None),
    "altColor": (RGB, None),
    "priority": (NUMBER, None),
    "html": (r"\S+", None),
    "autoScale": ("on|off|group", "bigWig"),
    "alwaysZero": (ON_OFF, "bigWig"),
    "viewLimits": (f"{NUMBER}:{NUMBER}", "bigWig"),
    "maxHeightPixels": (r"\d+:\d+:\d+", "bigWig"),
    "windowingFunction": (r"mean|mean\+whiskers|maximum|minimum", "bigWig"),
    "logo": ("on", "bigWig"),
    "itemRgb": (ON_OFF, "bigBed"),
}
MAGIC = {"bigWig": 0x888FFC26, "bigBed": 0x8789F2EB}


def problems(folder: Path) -> list[str]:
    """All that is wrong with the hub whose hub.txt lies in a folder."""
    found: list[str] = []
    hubs = list(read(folder / "hub.txt", "hub", found))
    if len(hubs) != 1:
        return [*found, f"hub.txt has {len(hubs)} stanzas"]
    hub = dict(hubs[0])
    for setting in ("shortLabel", "longLabel", "genomesFile", "email"):
        if not hub.get(setting):
            found.append(f"hub.txt lacks {setting}")
    if re.search(r"\s", hub["hub"]):
        found.append("the name of the hub is not one word")
    found += [f"hub.txt: {one}" for one in check_labels(hub)]
    if not re.fullmatch(r"[^\s@]+@[^\s@]+", hub.get("email", "")):
        found.append("the email is no address")
    for file in (hub.get("genomesFile"), hub.get("descriptionUrl")):
        if file is not None and not lies_there(folder, file):
            found.append(f"hub.txt: no file {file}")
    genomes = folder / hub.get("genomesFile", "genomes.txt")
    if not genomes.is_file():
        return found
    for genome in map(dict, read(genomes, "genome", found)):
        found += check_genome(folder, genome)
        tracks = folder / genome.get("trackDb", "")
        if not tracks.is_file():
            found.append(f"no trackDb of {genome['genome']}")
        else:
            found += check_tracks(tracks)
    return found


def read(path: Path, first: str, found: list[str]) -> Iterator[Stanza]:
    """The stanzas of a file, each of which begins with a setting of this name."""
    if not path.is_file():
        found.append(f"no file {path.name}")
        return
    text = path.read_bytes().decode("ascii", "replace")
    if re.search(r"[^\n\x20-\x7e]", text):
        found.append(f"{path.name} has what is not plain text")
    for block in re.split(r"\n[ ]*\n", text.strip("\n")):
        stanza: Stanza = []
        for line in block.split("\n"):
            if line.startswith("#"):
                continue
            key, _, value = line.strip().partition(" ")
            if line.endswith("\\"):
                found.append(f"{path.name}: {key} goes on in the next line")
            if not value.strip():
                found.append(f"{path.name}: {key} has no value")
            if key in dict(stanza):
                found.append(f"{path.name}: {key} twice in a stanza")
            stanza.append((key, value.strip()))
        if not stanza or stanza[0][0] != first:
            found.append(f"{path.name}: a stanza does not begin with {first}")
        else:
            yield stanza


def lies_there(folder: Path, url: str) -> bool:
    """Whether a relative address is of a file in the folder."""
    parts = urlparse(url)
    if parts.scheme or parts.netloc or parts.query or parts.fragment or url.startswith("/") or ".." in url.split("/"):
        return False
    return (folder / unquote(parts.path)).is_file()


def check_labels(settings: dict[str, str]) -> Iterator[str]:
    for label, most in (("shortLabel", 17), ("longLabel", 76)):
        if len(settings.get(label, "")) > most:
            yield f"{label} of more than {most} characters"
        if re.search(r"[<>&\"'`$\\]", settings.get(label, "")):
            yield f"{label} has mark-up"


def check_genome(folder: Path, genome: dict[str, str]) -> Iterator[str]:
    name = genome["genome"]
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        yield f"genome {name!r}: no name"
    if "trackDb" not in genome:
        yield f"genome {name} lacks trackDb"
    if "twoBitPath" not in genome:
        return
    for setting in ("organism", "defaultPos"):
        if setting not in genome:
            yield f"genome {name} lacks {setting}"
    if not lies_there(folder, genome["twoBitPath"]):
        yield f"genome {name}: no file {genome['twoBitPath']}"
        return
    lengths = read_twobit_lengths(folder / unquote(genome["twoBitPath"]))
    for chrom in lengths:
        if not re.fullmatch("[A-Za-z0-9_.-]+", chrom):
            yield f"genome {name}: {chrom!r} is no name of a sequence"
    place = re.fullmatch(r"(.+):(\d+)-(\d+)", genome.get("defaultPos", ""))
    if place is None or not 1 <= int(place[2]) <= int(place[3]) <= lengths.get(place[1], 0):
        yield f"genome {name}: defaultPos is no place in it"


def read_twobit_lengths(path: Path) -> dict[str, int]:
    data = path.read_bytes()
    (signature, _, n, _) = struct.unpack_from("<4I", data)
    if signature != 0x1A412743:
        return {}
    lengths, at = {}, 16
    for _ in range(n):
        size = data[at]
        (offset,) = struct.unpack_from("<I", data, at + 1 + size)
        (lengths[data[at + 1 : at + 1 + size].decode()],) = struct.unpack_from("<I", data, offset)
        at += 5 + size
    return lengths


def check_tracks(path: Path) -> list[str]:
    found: list[str] = []
    stanzas = [dict(stanza) for stanza in read(path, "track", found)]
    names = [stanza["track"] for stanza in stanzas]
    found += [f"two tracks are called {name}" for name in sorted({one for one in names if names.count(one) > 1})]
    by_name = dict(zip(names, stanzas, strict=True))
    parents = {stanza["parent"].split()[0] for stanza in stanzas if "parent" in stanza}
    for stanza in stanzas:
        name = stanza["track"]
        found += [f"{name}: {problem}" for problem in check_track(path.parent, stanza, by_name, name in parents)]
    shown = [
        stanza
        for stanza in stanzas
        if "bigDataUrl" in stanza
        and stanza.get("visibility", "full") != "hide"
        and not stanza.get("parent", "").endswith(" off")
    ]
    if len(shown) > 10:
        found.append(f"{len(shown)} tracks are shown at first, more than ten")
    return found


def check_track(
    folder: Path, own: dict[str, str], others: dict[str, dict[str, str]], is_parent: bool
) -> Iterator[str]:
    parent = others.get(own["parent"].split()[0]) if "parent" in own else None
    if "parent" in own and (parent is None or "compositeTrack" not in parent):
        yield "its parent is no composite"
    if parent is not None and "visibility" in own:
        yield "its visibility is its parent's"
    if parent is not None and own.get("type", "").split()[:1] != parent.get("type", "").split()[:1]:
        yield "its type is not its parent's"
    stanza = {**({} if parent is None else parent), **own}
    for setting in ("type", "shortLabel", "longLabel"):
        if setting not in own:
            yield f"no {setting}"
    kind = stanza.get("type", "").split(" ")[0]
    for setting, value in own.items():
        pattern, of_type = SETTINGS.get(setting, (None, None))
        if pattern is None:
            yield f"unknown setting {setting}"
        elif not re.fullmatch(pattern, value):
            yield f"{setting} {value}"
        elif of_type is not None and of_type != kind:
            yield f"{setting} is not of {kind}"
        elif setting in ("color", "altColor") and max(map(int, value.split(","))) > 255:
            yield f"{setting} {value}"
    yield from check_labels(own)
    if "viewLimits" in own and not float.__lt__(*map(float, own["viewLimits"].split(":"))):
        yield "viewLimits upside down"
    heights = [int(part) for part in own.get("maxHeightPixels", "").split(":") if part]
    if heights != sorted(heights, reverse=True):
        yield "maxHeightPixels is not max:default:min"
    if own.get("autoScale") == "group" and "compositeTrack" not in own:
        yield "a group of one cannot share a scale"
    if kind == "bigWig":
        limits = [float(part) for part in own.get("type", "").split(" ")[1:]]
        if len(limits) != 2 or limits[0] >= limits[1]:
            yield "bigWig without limits"
    yield from check_data(folder, own, kind, is_parent)


def check_data(folder: Path, own: dict[str, str], kind: str, is_parent: bool) -> Iterator[str]:
    if "compositeTrack" in own:
        if not is_parent:
            yield "a composite of no tracks"
        if "bigDataUrl" in own:
            yield "a composite with data"
        return
    if "bigDataUrl" not in own:
        yield "no bigDataUrl"
        return
    if not lies_there(folder, own["bigDataUrl"]):
        yield f"no file {own['bigDataUrl']}"
        return
    head = (folder / unquote(own["bigDataUrl"])).read_bytes()[:64]
    if struct.unpack_from("<I", head)[0] != MAGIC.get(kind):
        yield f"{own['bigDataUrl']} is no {kind}"
    elif kind == "bigBed":
        n_columns, n_bed = struct.unpack_from("<HH", head, 32)
        declared = own["type"].split(" ")
        if int(declared[1]) != n_bed or (declared[2:] == ["+"]) != (n_columns > n_bed):
            yield f"{own['bigDataUrl']} has {n_columns} columns, of BED {n_bed}"
        if own.get("itemRgb") == "on" and n_bed < 9:
            yield "itemRgb without a ninth column"
