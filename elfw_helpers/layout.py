"""What lies in a folder of faces: images, masks, labels and split lists, paired up and checked.

Nothing is decoded here. Every fault is handed to `report`: loading raises the first one, `elfw check`
collects them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from elfw_helpers.errors import DataError
from elfw_helpers.images import IMAGE_SUFFIXES
from elfw_helpers.labels import ATTRIBUTES, parse_attribute
from elfw_helpers.splits import SPLIT_NAMES

# The folder of the official release that holds the faces with their own labels; beside it lie the
# augmented ones, each a folder in the same layout.
OFFICIAL_FOLDER = "elfw_01_basic"

Report = Callable[[DataError], None]


def raise_error(error: DataError) -> NoReturn:
    """Report a fault by raising it."""
    raise error


@dataclass
class Layout:
    """The files of one folder of faces.

    Attributes:
        root: the folder.
        images, masks: path by name; masks is empty when the folder has none.
        listed: class index by name, from labels.txt; empty when there is none.
        splits: names by split (`train`, `validation`, `test`), or only `test` from elfw_set_NN.txt,
            or empty when nothing is frozen.
    """

    root: Path
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)


def scan_folder(
    root: str | Path,
    labels_file: str = "labels.txt",
    held_out: str = "elfw_set_00.txt",
    report: Report = raise_error,
) -> Layout:
    """Find and pair up the files of a folder in ELFW's layout.

    Args:
        root: the folder itself, or the official release that holds `elfw_01_basic`.
        labels_file: name of the list of attributes, inside `root`.
        held_out: name of the official release's list of held-out names, inside `root`.
        report: called with every fault.

    Raises:
        DataError: the folder is missing or holds no images (always raised).
    """
    root = find_root(Path(root))
    layout = Layout(root)
    faces = root / "faces"
    layout.images = list_files(faces if faces.is_dir() else root, report)
    if not layout.images:
        raise DataError(root, "holds no images", f"Put them into {faces} ({', '.join(IMAGE_SUFFIXES)})")
    if (root / "labels").is_dir():
        layout.masks = list_files(root / "labels", report)
        pair_up(layout, report)
    if (root / labels_file).exists():
        layout.listed = read_attributes(root / labels_file, layout.images, report)
    elif not layout.masks:
        found = f"neither {labels_file} nor a folder labels/ with masks"
        report(
            DataError(root, found, f"Write {labels_file}: a line `NAME hair`, spectacles or cap, an image")
        )
    layout.splits = read_splits(root, held_out, layout.images, report)
    return layout


def find_root(root: Path) -> Path:
    """Return the folder that holds faces/, or raise DataError when there is none to look into."""
    if not root.is_dir():
        found = "is a file, not a folder" if root.exists() else "no such folder"
        raise DataError(root, found, "Name a folder in ELFW's layout (README.md, 'Data'); check $ELFW_DATA")
    return root / OFFICIAL_FOLDER if (root / OFFICIAL_FOLDER).is_dir() else root


def list_files(folder: Path, report: Report) -> dict[str, Path]:
    """Return image files by name (without extension), sorted; hidden files are passed over."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            report(DataError(path, "is a link that leads out of the folder", "Copy the file into the folder"))
        elif path.stem in files:
            found = f"has the same name as {files[path.stem].name}"
            report(DataError(path, found, "Rename or remove one of them: names are without extension"))
        else:
            files[path.stem] = path
    return files


def pair_up(layout: Layout, report: Report) -> None:
    """Report images without a mask and masks without an image."""
    fix = "Add the missing file, or take this one out; names must match"
    for files, others, found in (
        (layout.images, layout.masks, "image without a mask in labels/"),
        (layout.masks, layout.images, "mask without an image"),
    ):
        missing = [name for name in files if name not in others]
        if missing:
            report(DataError(files[missing[0]], found + and_more(missing), fix))


def and_more(names: list[str]) -> str:
    """Return a remark on how many names after the first have the same fault, or nothing."""
    return f" (and {len(names) - 1} more, such as {names[1]})" if len(names) > 1 else ""


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return line number, from 1, and text of every line that is not blank.

    Raises:
        DataError: the file is not UTF-8 text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(path, f"cannot be read as text ({error})", "Save it as plain UTF-8 text") from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def find_name(path: Path, line: int, text: str, images: Iterable[str], report: Report) -> str | None:
    """Return the image a list names (with or without its extension), or report why there is none."""
    if "/" in text or "\\" in text or text.startswith(".."):
        fix = "Write the bare name of an image in faces/"
        report(DataError(path, f"{text!r} is a path leading out of the folder of faces", fix, line))
        return None
    name = text[: -len(Path(text).suffix)] if Path(text).suffix.lower() in IMAGE_SUFFIXES else text
    if name not in images:
        report(
            DataError(path, f"{text!r} is not among the images", "Correct the name or remove the line", line)
        )
        return None
    return name


def read_attributes(path: Path, images: dict[str, Path], report: Report) -> dict[str, int]:
    """Read labels.txt: a line `NAME attribute` an image, the attribute by name or by id 1, 2, 3."""
    listed: dict[str, int] = {}
    for line, text in numbered_lines(path):
        try:
            entry, attribute = text.rsplit(maxsplit=1)
        except ValueError:
            report(
                DataError(path, f"{text!r} is not `NAME attribute`", "Write both, with a space between", line)
            )
            continue
        name = find_name(path, line, entry, images, report)
        if name in listed:
            report(DataError(path, f"{name!r} is listed a second time", "Keep one of the lines", line))
        try:
            value = parse_attribute(attribute)
        except ValueError as error:
            known = ", ".join(f"{number} {word}" for number, word in enumerate(ATTRIBUTES, 1))
            report(DataError(path, str(error), f"Known attributes, by id or by name: {known}", line))
            continue
        if name is not None:
            listed.setdefault(name, value)
    missing = [name for name in images if name not in listed]
    if missing:
        fix = f"Add a line for it to {path.name}, or take the image out"
        report(
            DataError(images[missing[0]], f"image without a label in {path.name}" + and_more(missing), fix)
        )
    return listed


def read_splits(root: Path, held_out: str, images: dict[str, Path], report: Report) -> dict[str, list[str]]:
    """Read the frozen split: train.txt, validation.txt and test.txt, or the official held-out list."""
    files = {split: root / f"{split}.txt" for split in SPLIT_NAMES}
    missing = [path for path in files.values() if not path.exists()]
    if len(missing) == len(files):
        files = {"test": root / held_out} if (root / held_out).exists() else {}
    elif missing:
        report(DataError(missing[0], "missing beside the other split lists", "Write all three or none"))
        return {}
    splits: dict[str, list[str]] = {split: [] for split in files}
    seen: dict[str, Path] = {}
    for split, path in files.items():
        for line, text in numbered_lines(path):
            name = find_name(path, line, text, images, report)
            if name in seen:
                found = f"{name!r} is listed already in {seen[name].name}"
                report(DataError(path, found, "An image belongs to one split, once", line))
            elif name is not None:
                seen[name] = path
                splits[split].append(name)
    for split, path in files.items():
        if not splits[split]:
            report(DataError(path, "lists no image", "List at least one, or remove the split lists"))
    report_unlisted(images, seen, splits, report)
    return splits


def report_unlisted(images: dict[str, Path], seen: dict[str, Path], splits: dict, report: Report) -> None:
    """Report images that three frozen lists leave out: they would silently never be used."""
    unlisted = [name for name in images if name not in seen]
    if len(splits) == len(SPLIT_NAMES) and unlisted:
        found = "image in none of train.txt, validation.txt, test.txt" + and_more(unlisted)
        report(DataError(images[unlisted[0]], found, "List it in one of them, or take it out"))
