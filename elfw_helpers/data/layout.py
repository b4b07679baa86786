"""The files of a folder of faces: images, masks, labels and split lists are found, paired and checked.

faces/NAME.jpg     the image
labels/NAME.png    pixel labels: ELFW's RGB colours, or one channel of class ids (optional)
labels.txt         one line `NAME attribute` per image (optional: derived from the masks)
persons.txt        one line `NAME person` per image (optional: inferred from names like First_Last_0001)
manifest.json      of augmented copies: the source of each, so that copies stay with it
train.txt, validation.txt, test.txt    the frozen split (optional), or elfw_set_00.txt

Nothing is decoded here. All faults are collected: loading raises the first one, `elfw check` names them all.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from elfw_helpers.data.image_names import (
    COPY,
    Names,
    compose_unicode,
    find_source,
    infer_persons,
    read_lines,
    split_line,
    strip_folder,
)
from elfw_helpers.data.images import IMAGE_SUFFIXES, is_picture
from elfw_helpers.data.labels import ATTRIBUTES, parse_attribute
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.files import explain_error, require_creatable
from elfw_helpers.utils.paths import data_folder

# The folder of the official release that holds the faces with their own labels; beside it are the
# augmented ones, each a folder in the same layout.
OFFICIAL_FOLDER = "elfw_01_basic"
PERSONS_FILE = "persons.txt"
MANIFEST, VERSION = "manifest.json", 1
SPLIT_NAMES = ("train", "validation", "test")
# A message names this many of the files passed over.
MOST_NAMED = 3


class PassedOverWarning(UserWarning):
    """Beside the images or masks of a folder are files that are not used."""


class Origin(NamedTuple):
    """Where an augmented face came from: the name of its source face, the object's kind and its seed."""

    source: str
    object: str
    object_seed: int

    @property
    def name(self) -> str:
        """The name of the augmented face."""
        return f"{self.source}-{self.object}-{self.object_seed:03d}"


@dataclass
class Layout:
    """The files of one folder of faces, and what is wrong with them.

    Attributes:
        root: the folder.
        images, masks: path by name; masks is empty when the folder has none.
        listed: class index by name, from labels.txt; empty when there is none.
        splits: names by split (`train`, `validation`, `test`), or only `test` from elfw_set_NN.txt,
            or empty when nothing is frozen.
        origins: name of the source by name of a copy, from the manifest of an augmented folder.
        persons: who is on each image, by name; a copy shows who is on its source.
        persons_from: in words, how the persons are known.
        passed_over: what is beside images or masks and is not used, with the reason.
        problems: what is wrong, in the order in which it was found.
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
    problems: list[DataError] = field(default_factory=list)

    @cached_property
    def names(self) -> Names:
        """The names of the images, to look up what lists and masks call them."""
        return Names(self.images)

    def report(self, file: Path, found: str, fix: str, line: int | None = None) -> None:
        """Add a problem."""
        self.problems.append(DataError(file, found, fix, line))

    def report_unmatched(
        self, files: dict[str, Path], known: Collection[str], found: str, fix: str, others: Iterable[str] = ()
    ) -> None:
        """Report files that are not among the known ones: the first, how many others, the nearest name."""
        unmatched = [name for name in files if name not in known]
        if unmatched:
            nearest = Names(others).describe_nearest(unmatched[0])
            self.report(files[unmatched[0]], found + describe_others(unmatched) + nearest, fix)

    def find_images(self) -> None:
        """List the images of faces/, or of the folder itself where there is no faces/."""
        folder = self.root / "faces"
        if folder.is_dir():
            self.images = self.list_files(folder)
            fix = "Move it into faces/ if it belongs to the others"
            for path in sorted(self.root.iterdir()):
                if not explain_not_used(path):
                    self.passed_over.append(DataError(path, "an image beside faces/", fix))
        else:
            self.images = self.list_files(self.root)
        if not self.images:
            found = f"holds no images{describe_passed_over(self.passed_over)}"
            fix = f"Put them into {self.root / 'faces'}, as JPEG, PNG or in another format that Pillow opens"
            self.report(self.root, found, fix)

    def list_files(self, folder: Path) -> dict[str, Path]:
        """Return the image files of a folder, not of its subfolders, by name without extension, sorted."""
        files: dict[str, Path] = {}
        with os.scandir(folder) as entries:
            # Of nearly all files the folder itself tells all that is asked: none is touched.
            found = {entry.name: is_plain_photo(entry) for entry in entries}
        for name in sorted(found, key=os.path.normcase):
            path = folder / name
            if folder == self.root and is_of_layout(path):
                continue
            reason = None if found[name] else explain_not_used(path)
            fault = None if found[name] else find_link_fault(path, folder)
            if reason:
                self.passed_over.append(DataError(path, *reason))
            elif fault:
                self.report(path, *fault)
            elif (first := files.setdefault(compose_unicode(path.stem), path)) is not path:
                fix = "Rename or remove one of them: names are without extension"
                self.report(path, f"has the same name as {first.name}", fix)
        return {path.stem: path for path in files.values()}

    def find_masks(self) -> None:
        """Pair the masks of labels/ with their images; report images and masks that stand alone."""
        folder = self.root / "labels"
        if not folder.is_dir():
            return
        masks = self.list_files(folder)
        if not masks:
            beside = [fault for fault in self.passed_over if fault.file.parent == folder]
            fix = "Save each mask as PNG under the name of its image, or take the folder out"
            self.report(folder, f"holds no masks{describe_passed_over(beside)}", fix)
            return
        known = {mask: name for mask in masks if (name := self.names.find(mask))}
        for mask, name in known.items():
            if self.masks.setdefault(name, masks[mask]) != masks[mask]:
                found = f"a second mask of {name}, beside {self.masks[name].name}"
                self.report(masks[mask], found, "Remove one of them")
        fix = "Add the missing file, or take this one out; names must match"
        self.report_unmatched(self.images, self.masks, "image without a mask in labels/", fix, masks)
        self.report_unmatched(masks, known, "mask without an image", fix, self.images)

    def read_attributes(self, labels_file: str) -> None:
        """Read labels.txt, which gives each attribute by name or by id 1, 2, 3."""
        file = self.root / labels_file
        if file.exists():
            known = ", ".join(f"{number} {word}" for number, word in enumerate(ATTRIBUTES, 1))
            fix = f"Known attributes, by id or by name: {known}"
            self.listed = self.read_column(file, "attribute", parse_attribute, fix)
            self.report_unlisted(file, "label", self.listed)
        elif not self.masks:
            found = f"neither {labels_file} nor a folder labels/ with masks"
            fix = f"Write {labels_file}, one line per image: `NAME hair`, or spectacles, or cap"
            self.report(self.root, found, fix)

    def read_column(
        self, file: Path, value: str, parse: Callable[[str], Any], fix: str = ""
    ) -> dict[str, Any]:
        """Return the values of a list of lines `NAME value`; `parse` raises ValueError for a wrong one."""
        values: dict[str, Any] = {}
        for line, text in self.read_lines(file):
            parts = split_line(text, self.names, parse)
            if parts is None:
                found = f"{text!r} is not `NAME {value}`"
                self.report(file, found, "Write both, with a space between", line)
                continue
            name = self.find_name(file, line, parts[0])
            if name in values:
                self.report(file, f"{name!r} is listed a second time", "Keep one of the lines", line)
            try:
                parsed = parse(parts[1])
            except ValueError as error:
                self.report(file, str(error), fix, line)
                continue
            if name is not None:
                values.setdefault(name, parsed)
        return values

    def read_lines(self, file: Path) -> list[tuple[int, str]]:
        """Return the numbered lines of a list; none where it cannot be read, which is reported."""
        try:
            return read_lines(file, self.names)
        except DataError as error:
            self.problems.append(error)
            return []

    def find_name(self, file: Path, line: int, text: str) -> str | None:
        """Return the image a list names (with or without its extension), or report why there is none."""
        name = self.names.find(text)
        if name is None and ("/" in strip_folder(text) or text.startswith("..")):
            fix = "Write the bare name of an image in faces/"
            self.report(file, f"{text!r} is a path leading out of the folder of faces", fix, line)
        elif name is None:
            found = f"{text!r} is not among the images{self.names.describe_nearest(text)}"
            self.report(file, found, "Correct the name or remove the line", line)
        return name

    def report_unlisted(self, file: Path, what: str, listed: Collection[str]) -> None:
        """Report the images that a list leaves out."""
        fix = f"Add a line for it to {file.name}, or take the image out"
        self.report_unmatched(self.images, listed, f"image without a {what} in {file.name}", fix)

    def find_persons(self) -> None:
        """Find out who is on each image: by persons.txt, or by the names of images and of copies' sources."""
        file = self.root / PERSONS_FILE
        self.origins = self.find_origins()
        sources = {name: find_source(self.origins.get(name, name)) for name in self.images}
        if file.exists():
            listed = self.read_column(file, "person", compose_unicode)
            listed |= {name: listed[source] for name, source in sources.items() if source in listed}
            self.report_unlisted(file, "person", listed)
            self.persons = {name: listed.get(name, name) for name in sources}
            self.persons_from = f"by {PERSONS_FILE}"
            return
        self.persons = dict(zip(sources, infer_persons(list(sources.values())), strict=True))
        self.persons_from = "one per image, by its name"
        if self.persons != sources:
            self.persons_from = "by names like First_Last_0001 or person_0001_0001"
        if self.origins:
            self.persons_from += f", copies by their sources in {MANIFEST}"

    def find_origins(self) -> dict[str, str]:
        """Return the source of each augmented copy among the images, by the manifest."""
        file = self.root / MANIFEST
        # Without copies it is the manifest of something else. Beside rendered faces it may be theirs.
        if not file.exists() or not any(map(COPY.fullmatch, self.images)) or is_rendered_manifest(file):
            return {}
        try:
            origins = read_origins(self.root)
        except DataError as error:
            self.problems.append(error)
            return {}
        return {name: origins[name].source for name in self.images if name in origins}

    def read_splits(self, held_out: str) -> None:
        """Read the frozen split: train.txt, validation.txt and test.txt, or the official held-out list."""
        files = {split: self.root / f"{split}.txt" for split in SPLIT_NAMES}
        missing = [file for file in files.values() if not file.exists()]
        if len(missing) == len(files):
            files = {"test": self.root / held_out} if (self.root / held_out).exists() else {}
        elif missing:
            self.report(missing[0], "missing beside the other split lists", "Write all three or none")
            return
        seen: dict[str, Path] = {}
        for split, file in files.items():
            names = self.splits[split] = []
            for line, text in self.read_lines(file):
                name = self.find_name(file, line, text)
                if name in seen:
                    found = f"{name!r} is listed already in {seen[name].name}"
                    self.report(file, found, "An image belongs to one split, once", line)
                elif name is not None:
                    seen[name] = file
                    names.append(name)
            if not names:
                self.report(file, "lists no image", "List at least one, or remove the split lists")
        if len(files) == len(SPLIT_NAMES):
            # Images on none of the lists would never be used, and nobody would notice.
            found = "image in none of train.txt, validation.txt, test.txt"
            self.report_unmatched(self.images, seen, found, "List it in one of them, or take it out")


def scan_folder(
    root: str | Path, labels_file: str = "labels.txt", held_out: str = "elfw_set_00.txt"
) -> Layout:
    """Find and pair up the files of a folder in ELFW's layout; what is wrong with it is in `problems`.

    Args:
        root: the folder itself, or the official release that holds `elfw_01_basic`.
        labels_file: name of the list of attributes, inside `root`.
        held_out: name of the official release's list of held-out names, inside `root`.

    Raises:
        DataError: there is no such folder.
    """
    layout = Layout(find_root(Path(root)))
    try:
        layout.find_images()
        if layout.images:
            layout.find_persons()
            layout.find_masks()
            layout.read_attributes(labels_file)
            layout.read_splits(held_out)
    except OSError as error:
        layout.problems.append(explain_error(error, layout.root))
    return layout


def find_root(root: Path) -> Path:
    """Return the folder that holds faces/, or raise DataError when there is none to look into."""
    try:
        if not root.is_dir():
            found = "is a file, not a folder" if root.exists() else "no such folder"
            # Notebooks work on the folder that it names; a command is given one.
            place = " in $ELFW_DATA" if os.environ.get("ELFW_DATA") and root == data_folder() else ""
            raise DataError(root, found, f"Name a folder in ELFW's layout (docs/data.md){place}")
        return root / OFFICIAL_FOLDER if (root / OFFICIAL_FOLDER).is_dir() else root
    except OSError as error:
        raise explain_error(error, root) from None


def is_of_layout(path: Path) -> bool:
    """Return whether a path beside faces/ is a list, a manifest or the folder of masks."""
    return path.name == "labels" or path.suffix in (".txt", ".json")


def is_plain_photo(entry: os.DirEntry) -> bool:
    """Return whether an entry of a folder is a file, no link, that is used as an image."""
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in IMAGE_SUFFIXES and entry.name[0] != "." and entry.is_file(follow_symlinks=False)


def explain_not_used(path: Path) -> tuple[str, str] | None:
    """Return why a path is not used as an image, and what to do if it should be; None if it is used."""
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


def find_link_fault(path: Path, folder: Path) -> tuple[str, str] | None:
    """Return what is wrong with an image that is a link, and what to do; None if nothing is."""
    if not path.is_symlink():
        return None
    if not path.exists():
        return "is a link to nothing", "Copy the file into the folder"
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return "is a link that leads out of the folder", "Copy the file into the folder"
    return None


def describe_passed_over(faults: list[DataError]) -> str:
    """Return a remark that names the first files passed over, with the reasons, and counts the others."""
    shown = [f"{fault.file.name}: {fault.found}" for fault in faults[:MOST_NAMED]]
    if len(faults) > MOST_NAMED:
        shown.append(f"and {len(faults) - MOST_NAMED} more")
    return f" (passed over: {'; '.join(shown)})" if shown else ""


def warn_of_passed_over(layout: Layout) -> None:
    """Warn of files that are not used, except hidden ones, which systems leave behind."""
    seen = [fault for fault in layout.passed_over if not fault.file.name.startswith(".")]
    if seen:
        found = f"{layout.root}: {len(layout.images)} images are used{describe_passed_over(seen)}"
        warnings.warn(f"{found}. `elfw check` names all", PassedOverWarning, stacklevel=3)


def describe_others(names: list[str]) -> str:
    """Return a remark that counts the names after the first, or nothing: they have the same fault."""
    return f" (and {len(names) - 1} more, such as {names[1]})" if len(names) > 1 else ""


def is_rendered_manifest(manifest: Path) -> bool:
    """Return whether a manifest is that of a rendered set, which knows no copies."""
    try:
        return "renderer" in json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def read_origins(folder: str | Path) -> dict[str, Origin]:
    """Return where each face of an augmented folder came from, by its name, from the manifest.

    Raises:
        DataError: there is no manifest, or it is damaged or of another version.
    """
    file = Path(folder) / MANIFEST
    fix = "Write the folder with `elfw augment`: without a manifest nothing keeps test faces out of training"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["version"] != VERSION:
            raise ValueError(f"version {manifest['version']!r}, not {VERSION}")
        origins = {name: Origin(**entry) for name, entry in manifest["faces"].items()}
        for name, origin in origins.items():
            if name != origin.name:
                raise ValueError(f"{name} is not what {origin.name} would be named")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(file, f"no manifest of augmented faces ({error!r})", fix) from error
    return origins


def check_augmented_folder(source: Path, out: Path, replace: bool) -> None:
    """Raise DataError unless the folder can be written, and is new or an augmented one to be replaced.

    Args:
        source: the folder of the source faces.
        out: the folder for the augmented ones.
        replace: delete the augmented folder that is there already.
    """
    source, out = source.resolve(), out.resolve()
    if out == source or out in source.parents or source in out.parents:
        raise DataError(out, "is the folder of the source faces, or in it", "Name a folder beside it")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not out.is_dir() or not (out / MANIFEST).exists():
            raise DataError(out, "it is there already, and not made by `elfw augment`", "Name another folder")
        read_origins(out)
        if not replace:
            raise DataError(out, "it holds augmented faces already", "Add --replace, or name another folder")
    # The faces are written beside it first.
    require_creatable(out.parent)
