"""Names as people write them: the file they mean is found, or the message says how its name differs."""

import unicodedata

import pytest

from elfw_helpers.data.audit import check_folder
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.utils.errors import DataError
from tests.faces import write_face

NAMES = ("José_Lee_0001", "photo 2", "plain", "Ångström_0003")


@pytest.fixture
def small(tmp_path):
    for number, name in enumerate(NAMES):
        write_face(tmp_path, name, number % 3, number)
    return tmp_path


def attributes(root):
    """Return what labels.txt says, by name; loading raises on any fault."""
    return FaceFolder(root).layout.listed


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("files", ["NFC", "NFD"])
def test_names_are_compared_in_composed_unicode(small, form, files):
    for kind in ("faces", "labels"):
        for path in list((small / kind).iterdir()):
            path.rename(path.with_name(unicodedata.normalize(files if kind == "faces" else form, path.name)))
    text = "\n".join(f"{name} cap" for name in NAMES)
    (small / "labels.txt").write_text(unicodedata.normalize(form, text), encoding="utf-8")
    faces = FaceFolder(small)
    assert set(faces.layout.listed) == set(faces.layout.masks) == set(faces.names)
    assert faces.names == [path.stem for path in sorted((small / "faces").iterdir())]


@pytest.mark.parametrize(
    "written",
    [
        lambda rows: "\r\n".join(f"{name} {value}" for name, value in rows),
        lambda rows: "\n\n".join(f"  {name}.png \t {value}  " for name, value in rows),
        lambda rows: "\n".join(f"{name}.JPG,{value.upper()}" for name, value in rows),
        lambda rows: "\n".join(["filename;label", *(f"{name}.jpeg; {value}" for name, value in rows)]),
        lambda rows: "\n".join(["# by hand", *(f"faces/{name}.png    {value}" for name, value in rows)]),
        lambda rows: "\r\n".join(["image_name,label", *(f'"{name}.png",{value}' for name, value in rows)]),
        lambda rows: "\n".join(['"File Name";"Category"', *(f'"{name}";"{value}"' for name, value in rows)]),
        lambda rows: "\r\n".join([*(f"{name} {value}" for name, value in rows), "\x1a"]),
    ],
    ids=[
        "CRLF",
        "blanks and tabs",
        "commas",
        "a header and semicolons",
        "a comment and the folder",
        "quoted names",
        "all quoted",
        "Ctrl-Z",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_as_people_write_them(small, written, encoding):
    rows = list(zip(NAMES, ("hair", "spectacles", "cap", "hair"), strict=True))
    (small / "labels.txt").write_bytes(written(rows).encode(encoding))
    assert attributes(small) == dict(zip(NAMES, (0, 1, 2, 0), strict=True))


def test_split_lists_take_the_same_names(small):
    for split, name in (
        ("train", "Jose\u0301_Lee_0001.png"),
        ("validation", "faces\\plain.jpg"),
        ("test", "photo 2"),
    ):
        (small / f"{split}.txt").write_text(f"name\n{name}\n", encoding="utf-8")
    with (small / "train.txt").open("a", encoding="utf-8") as lines:
        lines.write("Ångström_0003\n")
    assert FaceFolder(small).layout.splits["validation"] == ["plain"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Plain", "'plain' is there: character 1 is 'P' (U+0050) instead of 'p' (U+0070)"),
        ("photo_2", "'photo 2' is there: character 6 is '_' (U+005F) instead of ' ' (U+0020)"),
        ("photo\u00a02", "'photo 2' is there: character 6 is '\\xa0' (U+00A0)"),
        ("Jose_Lee_0001", "'José_Lee_0001' is there: character 4 is 'e' (U+0065) instead of 'é' (U+00E9)"),
        ("José_Lee_1", "'José_Lee_0001' is there: character 10 is '1' (U+0031) instead of '0' (U+0030)"),
        ("рlain", "is not among the images. Correct"),
    ],
)
def test_a_name_that_nearly_fits_says_how_it_differs(small, text, said):
    (small / "elfw_set_00.txt").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        FaceFolder(small)
    assert said in str(caught.value)


def test_a_mask_that_nearly_fits_says_how_it_differs(small):
    (small / "labels" / "plain.png").rename(small / "labels" / "Plain.PNG")
    found = [problem.found for problem in check_folder(small).problems]
    assert found == [
        "image without a mask in labels/; 'Plain' is there: "
        "character 1 is 'p' (U+0070) instead of 'P' (U+0050)",
        "mask without an image; 'plain' is there: character 1 is 'P' (U+0050) instead of 'p' (U+0070)",
    ]


def test_two_files_of_one_name_in_two_unicode_forms(small):
    write_face(small, unicodedata.normalize("NFD", "José_Lee_0001"), 0, 9)
    with pytest.raises(DataError, match="has the same name as"):
        FaceFolder(small)


def test_a_first_line_that_is_no_header_is_not_passed_over(small):
    (small / "elfw_set_00.txt").write_text("nobody\nplain\n", encoding="utf-8")
    with pytest.raises(DataError, match="'nobody' is not among the images"):
        FaceFolder(small)


def test_an_extension_within_a_name_which_windows_hides_is_told(small):
    (small / "faces" / "plain.png").rename(small / "faces" / "plain.jpg.png")
    found = [problem.found for problem in check_folder(small).problems]
    hidden = "is there: they differ in an extension within the name, as Windows hides it"
    assert found == [
        f"image without a mask in labels/; 'plain' {hidden}",
        f"mask without an image; 'plain.jpg' {hidden}",
    ]


@pytest.mark.parametrize("name", ["face", "image", "person", "photo"])
def test_an_image_called_like_a_column_is_not_taken_for_a_header(small, name):
    write_face(small, name, 2, 9)
    for split, names in (("train", NAMES[:2]), ("validation", NAMES[2:]), ("test", [name])):
        (small / f"{split}.txt").write_text("\n".join(names), encoding="utf-8")
    (small / "persons.txt").write_text(
        "\n".join([f"{name} person", *(f"{other} {other}" for other in NAMES)]), encoding="utf-8"
    )
    layout = FaceFolder(small).layout
    assert layout.splits["test"] == [name] and layout.persons[name] == "person"


@pytest.mark.parametrize("line", ["p0 twin 1", "p0,twin 1", "p0\ttwin 1"])
def test_a_wrong_image_with_a_person_of_two_words_is_named_alone(small, line):
    (small / "persons.txt").write_text("\n".join([*(f"{name} x" for name in NAMES), line]), encoding="utf-8")
    with pytest.raises(DataError, match="persons.txt.*'p0' is not among the images"):
        FaceFolder(small)


def test_a_wrong_image_of_two_words_is_named_whole(small):
    (small / "labels.txt").write_text("photo 3 cap", encoding="utf-8")
    with pytest.raises(DataError, match="'photo 3' is not among the images"):
        FaceFolder(small)


def test_a_split_list_takes_quoted_names(small):
    (small / "elfw_set_00.txt").write_text('filename\n"photo 2.png"\n', encoding="utf-8")
    assert FaceFolder(small).layout.splits == {"test": ["photo 2"]}
