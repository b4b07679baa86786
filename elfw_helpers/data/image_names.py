"""Names in lists that people write, and the files they mean: the same name in other bytes, or a near one."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from elfw_helpers.data.images import IMAGE_SUFFIXES, explain_refusal
from elfw_helpers.utils.errors import DataError

# Between the columns of a line; a header names them with these words, or with two of them (image_name).
SEPARATOR = re.compile(r"\s*[\t,;]\s*|\s+")
COLUMN = (
    "attribute|category|class|face|file|id|identity|image|img|label|name|path|person|photo|picture|subject"
)
HEADER = re.compile(rf"({COLUMN})s?([_-]?({COLUMN}))?", re.I)


def normalise(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS and archives write é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def loosen(name: str) -> str:
    """Return what is left of a name without case, accents, punctuation, blanks and leading zeros."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if c.isalnum())
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


class Names:
    """The names of a folder's images, to look up what lists and masks call them.

    Args:
        names: without extension, no two of them alike in composed Unicode.
    """

    def __init__(self, names: Iterable[str]):
        self._names = {normalise(name): name for name in names}
        self._near = {loosen(strip_suffix(name)): name for name in self._names.values()}

    def find(self, text: str) -> str | None:
        """Return the name that a text means, with or without its extension and `faces/`; None if none."""
        text = normalise(bare(text))
        return self._names.get(text) or self._names.get(strip_suffix(text))

    def describe_nearest(self, text: str) -> str:
        """Return a remark on the name that is nearly a text and how the two differ, or nothing."""
        text = normalise(strip_suffix(bare(text)))
        near = self._near.get(loosen(text))
        if near is None:
            return ""
        if text == normalise(strip_suffix(near)):
            return f"; {near!r} is there: they differ in an extension within the name, as Windows hides it"
        pairs = enumerate(zip_longest(text, normalise(near)), 1)
        place, here, there = next((place, here, there) for place, (here, there) in pairs if here != there)
        codes = f"{name_character(here)} instead of {name_character(there)}"
        return f"; {near!r} is there: character {place} is {codes}"


def name_character(character: str | None) -> str:
    """Return a character and its code, for those that look alike; a word for one that is missing."""
    return f"{character!r} (U+{ord(character):04X})" if character else "none"


def bare(text: str) -> str:
    """Return what a list calls an image, without the folder of faces that some write before it."""
    return text.replace("\\", "/").removeprefix("./").removeprefix("faces/")


def strip_suffix(text: str) -> str:
    """Return a file's name without the extension of an image, if it has one."""
    suffix = Path(text).suffix
    return text[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else text


def numbered_lines(path: Path, names: Names) -> list[tuple[int, str]]:
    """Return line number, from 1, and text of every line but blank ones, comments (#) and a header.

    Args:
        path: the list.
        names: of the images; a first line that names one of them is no header.

    Raises:
        DataError: the file cannot be read, or is not UTF-8 text (or UTF-16, as Windows' PowerShell writes).
    """
    try:
        content = path.read_bytes()
        # Old programs of Windows end a text with Ctrl-Z.
        lines = content.decode(find_encoding(content)).rstrip("\x1a\r\n").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(path, f"cannot be read as text ({error})", "Save it as plain UTF-8 text") from None
    except OSError as error:
        raise explain_refusal(path, error) from None
    said = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    said = [(number, unquote(line)) for number, line in said if not line.startswith("#")]
    return said[1:] if said and is_header(said[0][1], names) else said


def find_encoding(content: bytes) -> str:
    """Return a text's encoding: UTF-16 by its mark or by the zeros beside plain letters, else UTF-8."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    first, second = content[::2].count(0), content[1::2].count(0)
    if first == second:
        return "utf-8-sig"
    return "utf-16-le" if first < second else "utf-16-be"


def unquote(line: str) -> str:
    """Return a line without the quotation marks that programs write around columns."""
    if '"' not in line or len(line) > csv.field_size_limit():
        return line
    separator = next((character for character in "\t;," if character in line), " ")
    return separator.join(next(csv.reader([line], delimiter=separator)))


def is_header(line: str, names: Names) -> bool:
    """Return whether a line names columns instead of an image."""
    words = SEPARATOR.split(line)
    return all(map(HEADER.fullmatch, words)) and not (names.find(line) or names.find(words[0]))


def split_line(text: str, names: Names, parse: Callable[[str], Any]) -> tuple[str, str] | None:
    """Return the image and the value that a line `NAME value` holds; None when it is not of two parts.

    Both may hold blanks: the line is cut where what stands before is an image, else where what stands
    behind is a value, preferably at a tab, comma or semicolon.

    Args:
        text: the line.
        names: of the images.
        parse: raises ValueError for what is no value.
    """
    cuts = [match for match in SEPARATOR.finditer(text) if match.start() and match.end() < len(text)]
    if not cuts:
        return None
    cut = next((match for match in reversed(cuts) if names.find(text[: match.start()])), None)
    if cut is None:
        firm = [match for match in cuts if set(match[0]) & set("\t,;")] or cuts
        cut = next((match for match in firm if is_parsed(text[match.end() :], parse)), cuts[-1])
    return text[: cut.start()], text[cut.end() :]


def is_parsed(text: str, parse: Callable[[str], Any]) -> bool:
    """Return whether a text is a value."""
    try:
        parse(text)
    except ValueError:
        return False
    return True
