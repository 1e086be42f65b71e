"""Names in plain letters, for readers that take no others."""

from __future__ import annotations

import re
import unicodedata


def spell_in_ascii(text: str) -> str:
    """The text on one line of printable ASCII: letters without their accents, Greek ones by name, else "?".

    β-catenin is beta-catenin. White space becomes a space, and several one.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text  # nearly always, and there may be millions
    decomposed = unicodedata.normalize("NFKD", text)
    spelled = "".join(_spell(letter) for letter in decomposed if not unicodedata.combining(letter))
    return re.sub(r"\s+", " ", spelled)


def _spell(letter: str) -> str:
    if letter.isspace() or " " <= letter <= "~":
        return letter
    words = unicodedata.name(letter, "").split()
    if words[:1] == ["GREEK"] and words[2:3] == ["LETTER"]:
        return words[3].capitalize() if words[1] == "CAPITAL" else words[3].lower()
    return "?"
