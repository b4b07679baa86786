"""The names of images: how lists write them, who is on a photo, and which face a copy was made from."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from elfw_helpers.data.images import IMAGE_SUFFIXES
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error

# Between the columns of a line; a header names them with these words, or with two of them (image_name).
SEPARATOR = re.compile(r"\s*[\t,;]\s*|\s+")
COLUMN = (
    "attribute|category|class|face|file|id|identity|image|img|label|name|path|person|photo|picture|subject"
)
HEADER = re.compile(rf"({COLUMN})s?([_-]?({COLUMN}))?", re.I)

# Copies by `elfw augment` (Some_Name_0003-eyewear-012) and by ELFW (Some_Name_0003_elfw-sunglasses-12).
COPY = re.compile(r"(?P<source>.+)-(eyewear|mouth-mask|hand)-\d{3}")
ELFW_COPY = re.compile(r"(?P<source>.+)_elfw-.+")

NUMBERED = re.compile(r"(.+)_\d{1,4}")
SUBJECT = re.compile(r"(person|subject|identity)(_?\d+|_[A-Z])", re.IGNORECASE)
# Words in the names that people, cameras, phones and programs give to photos and folders.
NO_PERSON = re.compile(
    r"(album|app|archive|backup|batch|bild|bilder|birthday|burst|cam|camera|canon|capture|celeb|celeba|"
    r"cimg|clip|copy|crop|data|dataset|dcim|dji|download|dsc|dscf|dscn|edited|export|face|facebook|"
    r"file|film|folder|foto|frame|front|fuji|fujifilm|galaxy|google|gopro|group|huawei|image|img|"
    r"import|input|instagram|ipad|iphone|kamera|kodak|label|left|leica|lumix|mask|mobile|mode|motorola|"
    r"mvimg|new|nikon|nokia|nr|number|olympus|output|panasonic|pano|panorama|party|pentax|phone|photo|"
    r"pic|picture|pixel|portrait|preview|profile|pxl|raw|rear|resized|result|right|sample|samsung|scan|"
    r"screen|screenshot|selfie|set|side|snap|snapchat|sony|test|thumb|thumbnail|train|training|trip|"
    r"untitled|upload|urlaub|vacation|validation|version|vid|video|webcam|wedding|whatsapp|xiaomi)s?\d*",
    re.IGNORECASE,
)
# Where there are this many images, nobody is on more than half of them: in LFW the most frequent is on 4 %.
MANY_IMAGES = 30


def compose_unicode(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS and archives write é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def simplify_name(name: str) -> str:
    """Return what is left of a name without case, accents, punctuation, blanks and leading zeros."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if c.isalnum())
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


def strip_folder(text: str) -> str:
    """Return what a list calls an image, without the folder of faces that some write before it."""
    return text.replace("\\", "/").removeprefix("./").removeprefix("faces/")


def strip_suffix(text: str) -> str:
    """Return a file's name without the extension of an image, if it has one."""
    suffix = Path(text).suffix
    return text[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else text


class Names:
    """The names of a folder's images, without extension, to look up what lists and masks call them."""

    def __init__(self, names: Iterable[str]):
        self._names = {compose_unicode(name): name for name in names}

    @cached_property
    def _near(self) -> dict[str, str]:
        """The names by what is left of them without case, accents and the like; made when one is wrong."""
        return {simplify_name(strip_suffix(name)): name for name in self._names.values()}

    def find(self, text: str) -> str | None:
        """Return the name that a text means, with or without its extension and `faces/`; None if none."""
        text = compose_unicode(strip_folder(text))
        return self._names.get(text) or self._names.get(strip_suffix(text))

    def describe_nearest(self, text: str) -> str:
        """Return a remark on the name that is nearly a text and how the two differ, or nothing."""
        text = compose_unicode(strip_suffix(strip_folder(text)))
        near = self._near.get(simplify_name(text))
        if near is None:
            return ""
        if text == compose_unicode(strip_suffix(near)):
            return f"; {near!r} is there: they differ in an extension within the name, as Windows hides it"
        pairs = enumerate(zip_longest(text, compose_unicode(near)), 1)
        place, pair = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        # With their codes, for characters that look alike.
        here, there = (f"{one!r} (U+{ord(one):04X})" if one else "none" for one in pair)
        return f"; {near!r} is there: character {place} is {here} instead of {there}"


def read_lines(path: Path, names: Names) -> list[tuple[int, str]]:
    """Return number, from 1, and text of the lines of a list without blank ones, comments (#) and a header.

    Raises:
        DataError: the file cannot be read, or is not UTF-8 text (or UTF-16, as Windows' PowerShell writes).
    """
    try:
        content = path.read_bytes()
        text = content.decode(find_encoding(content))
    except UnicodeDecodeError as error:
        raise DataError(path, f"cannot be read as text ({error})", "Save it as plain UTF-8 text") from None
    except OSError as error:
        raise explain_error(error, path) from None
    # Old programs of Windows end a text with Ctrl-Z.
    stripped = [line.strip() for line in text.rstrip("\x1a\r\n").splitlines()]
    lines = [(n, unquote(line)) for n, line in enumerate(stripped, 1) if line and not line.startswith("#")]
    return lines[1:] if lines and is_header(lines[0][1], names) else lines


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
    """Return the image and the value of a line `NAME value`; None when it does not have two parts.

    Both may hold blanks: the line is cut behind the name of an image, else in front of a value, preferably
    at a tab, comma or semicolon.
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
    """Return whether `parse` takes a text for a value."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def find_source(name: str) -> str:
    """Return the face that a copy was made of, going by its name; of any other face, its own name."""
    while copy := COPY.fullmatch(name) or ELFW_COPY.fullmatch(name):
        name = copy["source"]
    return name


def infer_persons(names: Sequence[str]) -> list[str]:
    """Return who is on each photo, by LFW's naming: `First_Last_0001` is a photo of First_Last.

    Where most names are of that form, a single word before the number is a person too (`Madonna_0001`). A
    name on more than half of many images is a camera's or an album's, unless it is a person's number
    (`person_0001_0002`). Every other photo gets a person of its own: `IMG_1001` and `face_0001` count photos.
    """
    heads = [match[1] if (match := NUMBERED.fullmatch(name)) else "" for name in names]
    commonest, count = Counter(heads).most_common(1)[0] if heads else ("", 0)
    if len(heads) >= MANY_IMAGES and count > len(heads) / 2 and not SUBJECT.fullmatch(commonest):
        heads = ["" if head == commonest else head for head in heads]
    most_named = sum(map(is_person, heads)) > len(heads) / 2
    least_words = 1 if most_named else 2
    return [head if is_person(head, least_words) else name for head, name in zip(heads, names, strict=True)]


def is_person(head: str, least_words: int = 2) -> bool:
    """Return whether what stands before a photo's number names a person: `First_Last` or `person_0001`."""
    if SUBJECT.fullmatch(head):
        return True
    words = head.split("_")
    if len(words) < least_words or head[:1].islower():
        return False
    if not all(word[:1].isalpha() and not NO_PERSON.fullmatch(word) for word in words):
        return False
    # Capitals alone are codes (EOS_R, LRM_EXPORT); but initials lead a name (JK_Rowling), a numeral ends one.
    numbered = len(words) > 2 and re.fullmatch("[IVX]+", words[-1])
    return (len(words[0]) <= 2 or not words[0].isupper()) and (bool(numbered) or not words[-1].isupper())
