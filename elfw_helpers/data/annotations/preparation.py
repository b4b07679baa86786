"""`elfw prepare`: photos annotated with another tool become a folder in ELFW's layout.

What an interrupted run left (`unfinished`) is used again where it is still right.
"""

from __future__ import annotations

import filecmp
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from elfw_helpers.data.annotations.classes import explain_unknown, read_classes, simplify_class
from elfw_helpers.data.annotations.coco import read_coco
from elfw_helpers.data.annotations.cvat import read_cvat
from elfw_helpers.data.annotations.labelme import read_labelme
from elfw_helpers.data.annotations.painting import check_size, paint_mask
from elfw_helpers.data.annotations.records import AnnotatedPhoto, MissingPhoto, OtherFormat, find_files
from elfw_helpers.data.annotations.source import Photos, open_source
from elfw_helpers.data.image_names import compose_unicode, split_line
from elfw_helpers.data.images import encode_mask, read_mask
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask, parse_attribute
from elfw_helpers.data.layout import PERSONS_FILE, Layout, scan_folder
from elfw_helpers.data.preparation.report import Prepared, describe_problems
from elfw_helpers.data.preparation.unfinished import (
    LABELS_FILE,
    begin,
    check_place,
    hold_place,
    put_in_place,
    remove_others,
    write_list,
)
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import explain_error, write_atomically

READERS: dict[str, Callable[[Path], Iterator[AnnotatedPhoto | DataError]]] = {
    "labelme": read_labelme,
    "cvat": read_cvat,
    "coco": read_coco,
}
WHERE = {
    "labelme": "labelme saves NAME.json beside each photo",
    "cvat": "In CVAT, export as `CVAT for images 1.1` with the photos: annotations.xml is what is read",
    "coco": "Export as COCO instances: a .json with images, annotations and categories is what is read",
}
ANOTHER = "Is it of another tool? Name that one: labelme, cvat or coco"
WITH_PHOTOS = (
    "Name the folder that holds them too, put them beside the annotations, or export again with the photos"
)
EMBEDDED = "embedded"


def prepare_folder(
    kind: str, source: str | Path, out: str | Path, classes: str | Path | None = None, leave_out: bool = False
) -> Prepared:
    """Write the photos and masks of an export into a new folder in ELFW's layout.

    Args:
        kind: labelme, cvat or coco.
        source: the folder or the .zip of the export.
        out: a new or an empty folder.
        classes: a file with a line `their name = our class` for each class name that is not ours.
        leave_out: leave out the photos with which something is wrong, instead of stopping.

    Raises:
        DataError: the source or the place of the result cannot be used.
        ElfwError: something is wrong with the export; all of it is named.
    """
    source, out = Path(source).resolve(), Path(out).resolve()
    known = read_classes(Path(classes) if classes else None)
    try:
        check_place(source, out)
        with hold_place(out), open_source(source, out.parent) as folder:
            preparation = Preparation(source, folder, begin(out), known)
            preparation.read_lists()
            try:
                preparation.read_annotations(kind)
                preparation.finish(out, leave_out)
            except ElfwError:
                preparation.remove_empty()
                raise
    except OSError as error:
        raise explain_error(error, out) from None
    return preparation.done


class Preparation:
    """One run: what was read so far, and what was found to be wrong.

    Args:
        source: what the user named.
        folder: the export: the source, or where it was unpacked.
        work: the folder to write into.
        classes: class id by simplified name, None for what is to be ignored.
    """

    def __init__(self, source: Path, folder: Path, work: Path, classes: dict[str, int | None]):
        self.source, self.folder, self.work, self.classes = source, folder, work, classes
        self.photos, self.done = Photos(folder), Prepared()
        self.problems: list[str] = []
        self.unknown: dict[str, list[str]] = {}  # photos by class name
        # What labels.txt and persons.txt say of the photos, by name.
        self.listed: dict[str, int] = {}
        self.persons: dict[str, str] = {}
        # Photos that have an annotation; those with a shape, by simplified name; the files written of them.
        self.annotated: set[Path] = set()
        self.named: dict[str, Path] = {}
        self.files: set[Path] = set()

    def tell(self, error: DataError) -> str:
        """Return an error as text, with the archive in place of the folder where it was unpacked."""
        return str(error).replace(str(self.folder), str(self.source))

    def read_lists(self) -> None:
        """Read the attributes and persons that lists beside the photos give."""
        layout = Layout(self.folder, {path.stem: path for path in self.photos.paths})
        for file in find_files(self.folder, (".txt",)):
            if file.name == LABELS_FILE and self.is_list(file, layout, parse_attribute):
                fix = f"Known attributes: {', '.join(ATTRIBUTES)}"
                self.listed |= layout.read_column(file, "attribute", parse_attribute, fix)
            elif file.name == PERSONS_FILE and self.is_list(file, layout, compose_unicode):
                self.persons |= layout.read_column(file, "person", compose_unicode)
        self.problems.extend(map(self.tell, layout.problems))

    def is_list(self, file: Path, layout: Layout, parse: Callable[[str], Any]) -> bool:
        """Return whether a line of a list names a photo; remark on it if not, as labelme's labels.txt."""
        parts = (split_line(text, layout.names, parse) for _, text in layout.read_lines(file))
        if any(part and layout.names.find(part[0]) for part in parts):
            return True
        found = "was not used: no line of it is `NAME value` with the name of a photo"
        self.done.remarks.append(self.tell(DataError(file, found, "Leave it so if it lists classes")))
        return False

    def read_annotations(self, kind: str) -> None:
        """Write the photo and the mask of every annotation that is right, and note what is wrong."""
        count, faults = 0, []
        for entry in tqdm(READERS[kind](self.folder), "preparing photos", delay=2, unit="photo"):
            count += 1
            try:
                if isinstance(entry, DataError):
                    raise entry
                self.add(entry)
            except DataError as error:
                faults.append(error)
        if not count:
            raise self.explain_empty(kind)
        if len(faults) == count:
            self.explain_alike(kind, faults)
        self.problems.extend(map(self.tell, faults))
        self.done.unannotated += [path.name for path in self.photos.paths if path not in self.annotated]

    def explain_empty(self, kind: str) -> DataError:
        """Return the error for a source without annotations of the tool, with what may be meant instead."""
        found = f"holds no annotations of {kind}"
        for archive in find_files(self.folder, (".zip",)):
            first = "Name" if self.folder == self.source else "Unpack it, and name"
            fix = f"{first} {archive.relative_to(self.folder)} in it, if that is the export"
            return DataError(self.source, f"{found}, but {archive.name}", fix)
        for other in find_files(self.folder, (".xml", ".json")):
            return DataError(self.source, f"{found}, but {other.name}", f"{WHERE[kind]}. {ANOTHER}")
        fix = f"{WHERE[kind]}. Name the folder that holds both annotations and photos"
        return DataError(self.source, found, fix)

    def explain_alike(self, kind: str, faults: Sequence[DataError]) -> None:
        """Raise DataError where all annotations have the same fault, which one sentence tells better."""
        first = faults[0]
        if all(isinstance(fault, OtherFormat) for fault in faults):
            found = f"holds no annotations of {kind}: {first.file.name} {first.found}"
            raise DataError(self.source, found, f"{WHERE[kind]}. {ANOTHER}")
        if len(faults) > 1 and all(isinstance(fault, MissingPhoto) for fault in faults):
            found = (
                f"not one of the {len(faults)} annotated photos is there ({first.file.name}: {first.found})"
            )
            raise DataError(self.source, found, WITH_PHOTOS)

    def remove_empty(self) -> None:
        """Remove the folder that is written into, if there is nothing in it to go on with."""
        if not self.files:
            shutil.rmtree(self.work, ignore_errors=True)

    def add(self, entry: AnnotatedPhoto) -> None:
        """Write the photo and the mask of one annotation; raise DataError where something is wrong."""
        photo = self.find_photo(entry)
        unknown = {shape.label for shape in entry.shapes if simplify_class(shape.label) not in self.classes}
        for label in unknown:
            self.unknown.setdefault(label, []).append(photo.name)
        if unknown:
            return
        ids = [self.classes[simplify_class(shape.label)] for shape in entry.shapes]
        pairs = list(zip(entry.shapes, ids, strict=True))
        self.done.ignored.update(shape.label for shape, number in pairs if number is None)
        drawn = [(shape, number) for shape, number in pairs if number is not None]
        if not drawn:
            self.done.unannotated.append(photo.name)
            return
        self.require_own_name(photo)
        mask, remarks = paint_mask(entry, drawn, *check_size(entry, photo))
        self.done.remarks.extend(map(self.tell, remarks))
        self.write(photo, mask)
        self.done.drawn.update(np.unique(mask).tolist())
        self.note_attribute(photo.stem, entry.words, mask)

    def require_own_name(self, photo: Path) -> None:
        """Raise DataError if another photo has the same name, on disks that do not tell a from A too."""
        first = self.named.setdefault(compose_unicode(photo.stem).casefold(), photo)
        if first != photo:
            fix = (
                "Rename one, in its annotation too: ELFW's layout has neither folders nor extensions in names"
            )
            raise DataError(photo, f"has the same name as {first}", fix)

    def find_photo(self, entry: AnnotatedPhoto) -> Path:
        """Return the photo of an annotation, or the one that the annotation itself holds, as a file."""
        try:
            photo = self.photos.find(entry.name, entry.file)
        except DataError:
            if entry.embedded is None:
                raise
            photo = self.store_embedded(entry, entry.embedded)
            found = f"{entry.name!r} is not there, so the copy inside the annotation was used"
            fix = "If the photo was deleted on purpose, delete the annotation too"
            self.done.remarks.append(self.tell(DataError(entry.file, found, fix)))
        if photo in self.annotated:
            fix = "Keep one of the annotations, with all shapes"
            raise DataError(entry.file, f"{entry.name!r} is annotated a second time", fix)
        self.annotated.add(photo)
        return photo

    def store_embedded(self, entry: AnnotatedPhoto, photo: bytes) -> Path:
        """Store a photo that an annotation holds under the annotation's name; return the file."""
        try:
            with Image.open(io.BytesIO(photo), formats=("JPEG", "PNG")) as image:
                suffix = ".png" if image.format == "PNG" else ".jpg"
        # Pillow raises nearly anything on a broken file.
        except Exception as error:
            found = f"{entry.name!r} is missing, and the copy in the annotation cannot be read ({error})"
            raise DataError(entry.file, found, "Put the photo beside the annotation") from None
        path = self.work / EMBEDDED / entry.file.relative_to(self.folder).with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, photo)
        return path

    def write(self, photo: Path, mask: np.ndarray) -> None:
        """Write a photo, bit for bit, and its mask, unless an earlier run wrote the same."""
        face, label = self.work / "faces" / photo.name, self.work / "labels" / f"{photo.stem}.png"
        if not (face.exists() and filecmp.cmp(photo, face, shallow=False)):
            write_atomically(face, photo.read_bytes())
        if not holds_mask(label, mask):
            write_atomically(label, encode_mask(mask))
        self.files |= {face, label}

    def note_attribute(self, name: str, words: Sequence[str], mask: np.ndarray) -> None:
        """Note the attribute of a face: by labels.txt, else by its tags or flags, else by the rule.

        Of several tags the rarer object wins, as in the rule.
        """
        told = [ATTRIBUTES.index(word.lower()) for word in words if word.lower() in ATTRIBUTES]
        self.done.unused.update({word for word in words if word.lower() not in ATTRIBUTES})
        attribute = self.listed.get(name, max(told, default=None))
        self.done.told += attribute is not None
        self.done.attributes[name] = attribute_from_mask(mask) if attribute is None else attribute

    def finish(self, out: Path, leave_out: bool) -> None:
        """Write the lists, and put the folder in its place; raise ElfwError where something is wrong."""
        if self.unknown:
            self.problems.insert(0, str(explain_unknown(self.source, self.unknown, self.classes)))
        if not self.files and not self.problems:
            self.problems.append("no photo has a shape")
        if self.problems and not (leave_out and self.files):
            # First, for the text names it while it is there.
            self.remove_empty()
            raise ElfwError(describe_problems(self.source, out, self.problems))
        self.done.left_out = self.problems
        self.write_lists()
        problems = [
            str(problem).replace(str(self.work), str(out)) for problem in scan_folder(self.work).problems
        ]
        if problems:
            raise ElfwError(describe_problems(self.source, out, problems))
        shutil.rmtree(self.work / EMBEDDED, ignore_errors=True)
        put_in_place(self.work, out)

    def write_lists(self) -> None:
        """Write the attributes and persons; delete what an earlier run wrote of annotations that changed."""
        remove_others(self.work, self.files)
        attributes = {name: ATTRIBUTES[index] for name, index in self.done.attributes.items()}
        self.write_column(LABELS_FILE, attributes if self.done.told else {})
        self.write_column(PERSONS_FILE, self.persons)

    def write_column(self, file_name: str, values: Mapping[str, str]) -> None:
        """Write a list `NAME value` of the faces, or none where nothing is known."""
        lines = [f"{name} {values[name]}" for name in self.done.attributes if name in values]
        write_list(self.work / file_name, lines)


def holds_mask(file: Path, mask: np.ndarray) -> bool:
    """Return whether a file is there that holds this mask, uint8 [H, W]."""
    try:
        return file.exists() and np.array_equal(read_mask(file), mask)
    except DataError:
        return False
