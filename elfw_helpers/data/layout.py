"""What lies in a folder of faces: images, masks, labels and split lists, paired up and checked.

Nothing is decoded here. Every fault is handed to `report`: loading raises the first one, `elfw check`
collects them all.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from elfw_helpers.data.images import IMAGE_SUFFIXES, explain_refusal, is_picture
from elfw_helpers.data.labels import ATTRIBUTES, parse_attribute
from elfw_helpers.data.names import Names, bare, normalise, numbered_lines, split_line
from elfw_helpers.data.origins import COPY, MANIFEST, is_of_renderer, read_origins, source_of
from elfw_helpers.data.splits import SPLIT_NAMES, persons_of
from elfw_helpers.utils.errors import DataError

# The folder of the official release that holds the faces with their own labels; beside it lie the
# augmented ones, each a folder in the same layout.
OFFICIAL_FOLDER = "elfw_01_basic"
PERSONS_FILE = "persons.txt"
# Files passed over that one message names.
NAMED = 3

Report = Callable[[DataError], Any]


def raise_error(error: DataError) -> NoReturn:
    """Report a fault by raising it."""
    raise error


class PassedOverWarning(UserWarning):
    """Files lie beside the images or masks of a folder that are not used."""


@dataclass
class Layout:
    """The files of one folder of faces.

    Attributes:
        root: the folder.
        images, masks: path by name; masks is empty when the folder has none.
        listed: class index by name, from labels.txt; empty when there is none.
        splits: names by split (`train`, `validation`, `test`), or only `test` from elfw_set_NN.txt,
            or empty when nothing is frozen.
        origins: name of the source by name of a copy, from the manifest of an augmented folder.
        persons: who is on each image, by name; a copy shows who is on its source.
        persons_from: in words, how the persons are known.
        passed_over: what lies beside images or masks and is not used, with the reason.
    """

    root: Path
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    splits: dict[str, list[str]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    persons: dict[str, str] = field(default_factory=dict)
    persons_from: str = ""
    passed_over: list[DataError] = field(default_factory=list)


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
        DataError: the folder is missing, cannot be read or holds no images (always raised).
    """
    layout = Layout(find_root(Path(root)))
    fill_layout(layout, labels_file, held_out, report)
    return layout


def fill_layout(
    layout: Layout,
    labels_file: str = "labels.txt",
    held_out: str = "elfw_set_00.txt",
    report: Report = raise_error,
) -> None:
    """Fill a layout with the files of its folder; what was found before an error stays in it.

    Args:
        layout: new, of a folder that is there.
        labels_file, held_out, report: as for `scan_folder`.

    Raises:
        DataError: the folder cannot be read or holds no images.
    """
    root = layout.root
    try:
        find_images(layout, report)
        names = Names(layout.images)
        find_persons(layout, names, report)
        if (root / "labels").is_dir():
            layout.masks = find_masks(layout, names, report)
        if (root / labels_file).exists():
            layout.listed = read_attributes(root / labels_file, layout.images, names, report)
        elif not layout.masks:
            found = f"neither {labels_file} nor a folder labels/ with masks"
            fix = f"Write {labels_file}, one line per image: `NAME hair`, or spectacles, or cap"
            report(DataError(root, found, fix))
        layout.splits = read_splits(root, held_out, layout.images, names, report)
    except OSError as error:
        raise explain_refusal(root, error) from None


def find_root(root: Path) -> Path:
    """Return the folder that holds faces/, or raise DataError when there is none to look into."""
    try:
        if not root.is_dir():
            found = "is a file, not a folder" if root.exists() else "no such folder"
            fix = "Name a folder in ELFW's layout (README.md, 'Data'); check $ELFW_DATA"
            raise DataError(root, found, fix)
        return root / OFFICIAL_FOLDER if (root / OFFICIAL_FOLDER).is_dir() else root
    except OSError as error:
        raise explain_refusal(root, error) from None


def find_images(layout: Layout, report: Report) -> None:
    """List the images of faces/, or of the folder itself where there is no faces/."""
    folder = layout.root / "faces"
    if not folder.is_dir():
        folder = layout.root
    found: list[DataError] = []
    layout.images = list_files(folder, report, found.append)
    if folder == layout.root:
        # Lists and masks lie beside the images there.
        found = [fault for fault in found if not is_of_layout(fault.file)]
    else:
        beside = (path for path in sorted(layout.root.iterdir()) if not reason_to_pass_over(path))
        fix = "Move it into faces/ if it belongs to the others"
        found.extend(DataError(path, "an image beside faces/", fix) for path in beside)
    layout.passed_over.extend(found)
    if not layout.images:
        fix = f"Put them into {layout.root / 'faces'}, as JPEG, PNG or in another format that Pillow opens"
        raise DataError(layout.root, f"holds no images{describe_passed_over(found)}", fix)


def is_of_layout(path: Path) -> bool:
    """Return whether a path beside faces/ is a list, a manifest or the folder of masks."""
    return path.name == "labels" or path.suffix in (".txt", ".json")


def list_files(folder: Path, report: Report, pass_over: Report) -> dict[str, Path]:
    """Return image files by name (without extension), sorted.

    Args:
        folder: the folder to list, without what lies in its subfolders.
        report: called with every image that must not be used.
        pass_over: called with every other file that is not used, and the reason.

    Raises:
        OSError: the folder cannot be read.
    """
    files: dict[str, Path] = {}
    known: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        reason = reason_to_pass_over(path)
        fault = find_fault(path, folder)
        twin = known.get(normalise(path.stem))
        if reason:
            pass_over(DataError(path, *reason))
        elif fault:
            report(DataError(path, *fault))
        elif twin:
            fix = "Rename or remove one of them: names are without extension"
            report(DataError(path, f"has the same name as {twin}", fix))
        else:
            files[path.stem] = path
            known[normalise(path.stem)] = path.name
    return files


def reason_to_pass_over(path: Path) -> tuple[str, str] | None:
    """Return why a path is not taken for an image, and what to do if it should be; None if it is taken."""
    if path.name.startswith("."):
        return "a hidden file", "Rename it if it is an image"
    if path.is_dir():
        return "a folder", "Move its images up if they belong to the others"
    if path.exists() and not path.is_file():
        return "neither a file nor a folder", "Take it out"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return None
    # What its name does not tell, its content does, as for `elfw predict`; no link is followed for that.
    if is_of_layout(path) or path.is_symlink() or not is_picture(path):
        return "Pillow, as it is installed here, does not open it", "Save it as JPEG or PNG if it is an image"
    return None


def find_fault(path: Path, folder: Path) -> tuple[str, str] | None:
    """Return what is wrong with an image that is a link, and what to do; None if nothing is."""
    if not path.is_symlink():
        return None
    if not path.exists():
        return "is a link to nothing", "Copy the file into the folder"
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return "is a link that leads out of the folder", "Copy the file into the folder"
    return None


def describe_passed_over(faults: list[DataError]) -> str:
    """Return a remark that names some of the files passed over, with the reasons, and counts the others."""
    if not faults:
        return ""
    shown = "; ".join(f"{fault.file.name}: {fault.found}" for fault in faults[:NAMED])
    return f" (passed over: {shown}{f'; and {len(faults) - NAMED} more' if len(faults) > NAMED else ''})"


def warn_of_passed_over(layout: Layout) -> None:
    """Warn of files that are not used, unless they are hidden, as those that systems leave behind are."""
    seen = [fault for fault in layout.passed_over if not fault.file.name.startswith(".")]
    if seen:
        found = f"{layout.root}: {len(layout.images)} images are used{describe_passed_over(seen)}"
        warnings.warn(f"{found}. `elfw check` names all", PassedOverWarning, stacklevel=3)


def find_masks(layout: Layout, names: Names, report: Report) -> dict[str, Path]:
    """Return the masks of labels/ by the names of their images; report what is wrong with them."""
    folder, found = layout.root / "labels", []
    masks = list_files(folder, report, found.append)
    layout.passed_over.extend(found)
    if masks:
        return pair_up(layout.images, masks, names, report)
    fix = "Save each mask as PNG under the name of its image, or take the folder out"
    report(DataError(folder, f"holds no masks{describe_passed_over(found)}", fix))
    return {}


def pair_up(images: dict[str, Path], masks: dict[str, Path], names: Names, report: Report) -> dict[str, Path]:
    """Return the masks by the names of their images; report images and masks that stand alone."""
    fix = "Add the missing file, or take this one out; names must match"
    paired: dict[str, Path] = {}
    for mask, path in masks.items():
        name = names.find(mask)
        if name in paired:
            report(
                DataError(path, f"a second mask of {name}, beside {paired[name].name}", "Remove one of them")
            )
        elif name is not None:
            paired[name] = path
    for files, missing, found, others in (
        (images, [name for name in images if name not in paired], "image without a mask in labels/", masks),
        (masks, [mask for mask in masks if not names.find(mask)], "mask without an image", images),
    ):
        if missing:
            nearest = Names(others).describe_nearest(missing[0])
            report(DataError(files[missing[0]], found + and_more(missing) + nearest, fix))
    return paired


def and_more(names: list[str]) -> str:
    """Return a remark on how many names after the first have the same fault, or nothing."""
    return f" (and {len(names) - 1} more, such as {names[1]})" if len(names) > 1 else ""


def read_lines(path: Path, names: Names, report: Report) -> list[tuple[int, str]]:
    """Return the numbered lines of a list; none where it cannot be read, which is reported."""
    try:
        return numbered_lines(path, names)
    except DataError as error:
        report(error)
        return []


def find_name(path: Path, line: int, text: str, names: Names, report: Report) -> str | None:
    """Return the image a list names (with or without its extension), or report why there is none."""
    name = names.find(text)
    if name is not None:
        return name
    if "/" in bare(text) or text.startswith(".."):
        fix = "Write the bare name of an image in faces/"
        report(DataError(path, f"{text!r} is a path leading out of the folder of faces", fix, line))
    else:
        found = f"{text!r} is not among the images{names.describe_nearest(text)}"
        report(DataError(path, found, "Correct the name or remove the line", line))
    return None


def read_column(
    path: Path, value: str, parse: Callable[[str], Any], fix: str, names: Names, report: Report
) -> dict[str, Any]:
    """Read a list of lines `NAME value`, as labels.txt and persons.txt are.

    Args:
        path: the list.
        value: what it says of each image, in a word.
        parse: returns what a text means; raises ValueError when it means nothing.
        fix: what to do then.
        names: of the images.
        report: called with every fault.
    """
    values: dict[str, Any] = {}
    for line, text in read_lines(path, names, report):
        parts = split_line(text, names, parse)
        if parts is None:
            both = "Write both, with a space between"
            report(DataError(path, f"{text!r} is not `NAME {value}`", both, line))
            continue
        name = find_name(path, line, parts[0], names, report)
        if name in values:
            report(DataError(path, f"{name!r} is listed a second time", "Keep one of the lines", line))
        try:
            parsed = parse(parts[1])
        except ValueError as error:
            report(DataError(path, str(error), fix, line))
            continue
        if name is not None:
            values.setdefault(name, parsed)
    return values


def report_missing(
    path: Path, what: str, images: dict[str, Path], listed: Collection, report: Report
) -> None:
    """Report the images that a list leaves out."""
    missing = [name for name in images if name not in listed]
    if missing:
        found = f"image without a {what} in {path.name}" + and_more(missing)
        fix = f"Add a line for it to {path.name}, or take the image out"
        report(DataError(images[missing[0]], found, fix))


def read_attributes(path: Path, images: dict[str, Path], names: Names, report: Report) -> dict[str, int]:
    """Read labels.txt: a line `NAME attribute` an image, the attribute by name or by id 1, 2, 3."""
    known = ", ".join(f"{number} {word}" for number, word in enumerate(ATTRIBUTES, 1))
    fix = f"Known attributes, by id or by name: {known}"
    listed = read_column(path, "attribute", parse_attribute, fix, names, report)
    report_missing(path, "label", images, listed, report)
    return listed


def find_persons(layout: Layout, names: Names, report: Report) -> None:
    """Find out who is on each image: by persons.txt, or by the names of the images and of copies' sources."""
    layout.origins = find_origins(layout, report)
    file, images = layout.root / PERSONS_FILE, list(layout.images)
    if file.exists():
        listed = read_column(file, "person", normalise, "", names, report)
        sources = {name: layout.origins.get(name, source_of(name)) for name in images}
        listed |= {name: listed[sources[name]] for name in images if sources[name] in listed}
        report_missing(file, "person", layout.images, listed, report)
        layout.persons = {name: listed.get(name, name) for name in images}
        layout.persons_from = f"by {PERSONS_FILE}"
        return
    sources = [source_of(layout.origins.get(name, name)) for name in images]
    layout.persons = dict(zip(images, persons_of(sources), strict=True))
    named = list(layout.persons.values()) != sources
    layout.persons_from = (
        "by names like First_Last_0001 or person_0001_0001" if named else "one per image, by its name"
    )
    if layout.origins:
        layout.persons_from += f", copies by their sources in {MANIFEST}"


def find_origins(layout: Layout, report: Report) -> dict[str, str]:
    """Return the source of each augmented copy among the images, by the manifest."""
    file = layout.root / MANIFEST
    # Without copies it is the manifest of something else. Beside rendered faces it may be theirs.
    if not file.exists() or not any(map(COPY.fullmatch, layout.images)) or is_of_renderer(file):
        return {}
    try:
        origins = read_origins(layout.root)
    except DataError as error:
        report(error)
        return {}
    return {name: origins[name].source for name in layout.images if name in origins}


def read_splits(
    root: Path, held_out: str, images: dict[str, Path], names: Names, report: Report
) -> dict[str, list[str]]:
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
        for line, text in read_lines(path, names, report):
            name = find_name(path, line, text, names, report)
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
