"""`elfw prepare`: a published set of faces becomes a folder in ELFW's layout.

Each face is made by one worker: its photo is decoded, to find what is damaged, and copied bit for bit. Its
mask is painted and written. Both appear whole or not at all. What is done is noted, so a run that was
interrupted or killed is gone on with.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from elfw_helpers.data.image_names import compose_unicode, infer_persons
from elfw_helpers.data.images import encode_mask, read_image
from elfw_helpers.data.labels import ATTRIBUTES, attribute_from_mask
from elfw_helpers.data.layout import PERSONS_FILE, SPLIT_NAMES, scan_folder
from elfw_helpers.data.preparation.report import Prepared, describe_problems
from elfw_helpers.data.preparation.unfinished import (
    FOLDERS,
    MARK,
    begin,
    check_place,
    hold_place,
    put_in_place,
    remove_others,
    write_list,
)
from elfw_helpers.data.releases.celebamask_hq import list_celebamask_hq, paint_celebamask_hq
from elfw_helpers.data.releases.elfw import list_elfw, paint_elfw
from elfw_helpers.data.releases.journal import FILE, Journal, Result, stamp_sources
from elfw_helpers.data.releases.lfw_parts import list_lfw_parts, paint_lfw_parts
from elfw_helpers.data.releases.listing import Face, ReleaseListing, name_first
from elfw_helpers.data.releases.root import find_root
from elfw_helpers.data.releases.terms import TERMS
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.files import explain_error, write_atomically
from elfw_helpers.utils.parallel import run_parallel

# Fewer faces are made sooner than a second process starts.
FEW = 64


class Reader(NamedTuple):
    """How a release is read: what it holds, and the mask of one of its faces."""

    list_release: Callable[[Path], ReleaseListing]
    paint: Callable[[Path, Face, tuple[int, int]], np.ndarray]


READERS = {
    "celebamask-hq": Reader(list_celebamask_hq, paint_celebamask_hq),
    "elfw": Reader(list_elfw, paint_elfw),
    "lfw-parts": Reader(list_lfw_parts, paint_lfw_parts),
}


def prepare_release(kind: str, source: str | Path, out: str | Path, leave_out: bool = False) -> Prepared:
    """Write the photos and masks of a release into a new folder in ELFW's layout.

    Args:
        kind: celebamask-hq, elfw or lfw-parts.
        source: the folder into which it was unpacked; nothing is fetched.
        out: a new or an empty folder.
        leave_out: leave out the photos with which something is wrong, instead of stopping.

    Raises:
        DataError: the source or the place of the result cannot be used.
        ElfwError: something is wrong with the release; all of it is named.
    """
    source, out = Path(source).resolve(), Path(out).resolve()
    try:
        root = find_root(kind, source)
        check_place(root, out)
        listing = READERS[kind].list_release(root)
        if root != source:
            listing.remark(source, f"the release was found in {root}", "Nothing is to be done")
        if listing.problems and not leave_out:
            # They are known in seconds: nobody waits for the faces to hear of them.
            raise ElfwError(describe_problems(root, out, list(map(str, listing.problems))))
        with hold_place(out):
            preparation = Preparation(kind, listing, begin(out))
            preparation.make_faces()
            preparation.finish(out, leave_out)
    except OSError as error:
        raise explain_error(error, out) from None
    return preparation.done


class Preparation:
    """One run: what was made of a release, and what is wrong with it.

    Args:
        kind: of release.
        listing: what it holds.
        work: the folder to write into.
    """

    def __init__(self, kind: str, listing: ReleaseListing, work: Path):
        self.kind, self.listing, self.work = kind, listing, work
        self.done = Prepared(remarks=list(map(str, listing.remarks)))
        self.problems: list[str] = []
        # The faces that are made, by the folder in which they are.
        self.made: dict[str, list[Face]] = {"": []}

    def make_faces(self) -> None:
        """Write the photo and the mask of every face that an earlier run did not."""
        faces = self.choose_faces()
        for folder in {face.folder for face in faces}:
            for name in FOLDERS:
                (self.work / folder / name).mkdir(parents=True, exist_ok=True)
        journal = Journal(self.work)
        try:
            with tqdm(desc="preparing faces", total=len(faces), delay=2, unit="face") as bar:
                for face, result in self.run_jobs(faces, journal):
                    bar.update()
                    self.note(face, result)
        finally:
            journal.close()
        places = {face: place for place, face in enumerate(faces)}
        for made in self.made.values():
            made.sort(key=places.__getitem__)

    def choose_faces(self) -> list[Face]:
        """Return the faces without those whose name, on disks that do not tell a from A, is another's."""
        chosen: dict[tuple[str, str], Face] = {}
        for face in self.listing.faces:
            first = chosen.setdefault((face.folder, compose_unicode(face.name).casefold()), face)
            if first is not face:
                found = f"has the same name as {first.photo}"
                self.problems.append(str(DataError(self.listing.root / face.photo, found, "Take one out")))
        return list(chosen.values())

    def run_jobs(self, faces: list[Face], journal: Journal) -> Iterator[tuple[Face, Result]]:
        """Yield what became of each face: first those that are done, then the others as they are."""
        root, jobs = self.listing.root, []
        seen = tqdm(faces, "looking at files", delay=2, unit="face", leave=False)
        stamps = [stamp_sources(root, face) for face in seen]
        for face, stamp in zip(faces, stamps, strict=True):
            result = journal.find(face, stamp)
            if result and all(path.is_file() for path in name_files(self.work, face)):
                yield face, result
            else:
                jobs.append((face, stamp))
        function = partial(make_face, READERS[self.kind].paint, root, self.work)
        pending = [face for face, _ in jobs]
        for index, result in run_parallel(function, pending, 1 if len(jobs) < FEW else None):
            face, stamp = jobs[index]
            if not result.problem:
                journal.add(face, stamp, result)
            yield face, result

    def note(self, face: Face, result: Result) -> None:
        """Note what became of a face."""
        if result.problem:
            self.problems.append(result.problem)
            return
        self.made.setdefault(face.folder, []).append(face)
        self.done.attributes[face.place] = result.attribute
        self.done.drawn.update(result.classes)

    def finish(self, out: Path, leave_out: bool) -> None:
        """Write the lists, and put the folder in its place; raise ElfwError where something is wrong."""
        problems = [*map(str, self.listing.problems), *sorted(self.problems)]
        if not self.made[""]:
            problems.insert(0, f"{self.listing.root}: no face has a photo and a mask")
        if problems and not (leave_out and self.made[""]):
            raise ElfwError(describe_problems(self.listing.root, out, problems))
        self.done.left_out = problems
        self.remove_stale()
        self.write_lists()
        self.compare()
        for folder in self.made:
            problems = [str(problem) for problem in scan_folder(self.work / folder).problems]
            if problems:
                raise ElfwError(describe_problems(self.listing.root, out, problems))
        put_in_place(self.work, out)
        (out / FILE).unlink()

    def remove_stale(self) -> None:
        """Delete what an earlier run wrote of a release that has changed since."""
        for path in self.work.iterdir():
            if path.is_dir() and path.name not in (*FOLDERS, *self.made):
                shutil.rmtree(path)
        for folder, faces in self.made.items():
            files = {path for face in faces for path in name_files(self.work, face)}
            remove_others(self.work / folder, files)
            for path in (self.work / folder).glob("*.txt"):
                if path.name not in (MARK, FILE):
                    path.unlink()

    def write_lists(self) -> None:
        """Write who is on the photos, and the frozen split, of the faces that are made."""
        for file, values in self.listing.columns.items():
            faces = self.made.get(Path(file).parent.name, ())
            lines = [f"{face.name} {values.get(face.name, face.name)}" for face in faces]
            write_list(self.work / file, lines)
        names, lists = {face.name for face in self.made[""]}, {}
        for file, found in self.listing.lists.items():
            lists[file] = [name for name in found if name in names]
        frozen = [lists.get(f"{split}.txt") for split in SPLIT_NAMES]
        if any(frozen) and not all(frozen):
            found = "the release's own split has no photo on one side, so it was not written"
            self.done.remarks.append(f"{self.listing.root}: {found}. The notebooks draw one by person")
            lists = {}
        for file, found in lists.items():
            write_list(self.work / file, found)

    def compare(self) -> None:
        """Remark on the number of photos, on people on both sides of the split, and on other attributes."""
        count, published = len(self.made[""]), TERMS[self.kind].count
        if published and count != published:
            self.done.remarks.append(f"{count:,} of the {published:,} photos that are published")
        told = self.listing.told
        differ = [name for name in told if self.done.attributes.get(name, told[name]) != told[name]]
        if differ:
            name = differ[0]
            words = f"{ATTRIBUTES[told[name]]!r} instead of {ATTRIBUTES[self.done.attributes[name]]!r}"
            found = f"the release's own words say another attribute than the masks on {name_first(differ)}"
            self.done.remarks.append(f"{found}: on {name} {words}. Look at some; the masks' is used")
        self.compare_sides()

    def compare_sides(self) -> None:
        """Remark on people who are on more than one side of the release's own split."""
        names = [face.name for face in self.made[""]]
        persons = dict(zip(names, infer_persons(names), strict=True))
        persons |= self.listing.columns.get(PERSONS_FILE, {})
        sides = defaultdict(set)
        for split in SPLIT_NAMES:
            for name in self.listing.lists.get(f"{split}.txt", ()):
                sides[persons.get(name, name)].add(split)
        several = sorted(person for person, found in sides.items() if len(found) > 1)
        if several:
            found = f"people on more than one side of the release's own split: {name_first(several)}"
            self.done.remarks.append(f"{found}. Delete its three lists, and the notebooks draw one by person")


def name_files(work: Path, face: Face) -> tuple[Path, Path]:
    """Return where the photo and the mask of a face are written."""
    folder = work / face.folder
    return (
        folder / "faces" / f"{face.name}{Path(face.photo).suffix}",
        folder / "labels" / f"{face.name}.png",
    )


def make_face(paint: Callable, root: Path, work: Path, face: Face) -> Result:
    """Write the photo and the mask of a face, each whole or not at all.

    Returns:
        what the mask shows, or what is wrong with the files.

    Raises:
        OSError: a file cannot be written.
    """
    photo, label = name_files(work, face)
    try:
        mask = paint(root, face, read_image(root / face.photo).size)
    except DataError as error:
        return Result(problem=str(error))
    write_atomically(photo, (root / face.photo).read_bytes())
    write_atomically(label, encode_mask(mask))
    return Result(tuple(np.unique(mask).tolist()), attribute_from_mask(mask))
