"""`elfw prepare`: exports of labelme, CVAT and COCO become a folder in ELFW's layout, or it says why not."""

import base64
import errno
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from elfw_course.cli import main
from elfw_helpers.data.annotations import preparation, source
from elfw_helpers.data.annotations.coco import decode_counts
from elfw_helpers.data.audit import check_folder
from elfw_helpers.data.images import read_mask
from elfw_helpers.data.labels import ATTRIBUTES, EYEWEAR, HAIR, PIXEL_CLASSES, SKIN
from elfw_helpers.data.layout import scan_folder
from elfw_helpers.data.preparation.unfinished import hold_place
from elfw_helpers.rendering import render_folder
from elfw_helpers.utils.errors import ElfwError
from tests.data.annotations.exports import (
    cvat_image,
    cvat_polygon,
    encode_png,
    encode_runs,
    trace_mask,
    write_coco,
    write_cvat,
    write_labelme,
)
from tests.faces import SIDE, paint_face

SIZE = (SIDE, SIDE)
SQUARE = np.array([(4, 4), (20, 4), (20, 20), (4, 20)], float)
HOLE = SQUARE / 2 + 6


def save_photo(file, seed=0, **more):
    """Write a painted face as a photo."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint_face(0, seed)[0]).save(file, **more)


def shape(label, points, **more):
    return {"label": label, "points": np.asarray(points).tolist(), **more}


def write_source(kind, folder, *drawn, name="a.jpg", size=SIZE, photo=True):
    """Write one photo, annotated with these (label, outline) pairs, as a tool exports it."""
    folder.mkdir(exist_ok=True)
    if photo:
        save_photo(folder / name)
    if kind == "labelme":
        write_labelme(folder / "a.json", name, size, [shape(*pair) for pair in drawn])
    elif kind == "cvat":
        elements = [cvat_polygon(*pair) for pair in drawn]
        write_cvat(folder / "annotations.xml", [cvat_image(name, size, *elements)])
    else:
        classes = sorted({label for label, _ in drawn} | set(PIXEL_CLASSES))
        image = {"id": 7, "file_name": name, "width": size[0], "height": size[1]}
        annotations = [
            {
                "image_id": 7,
                "category_id": classes.index(label) + 1,
                "segmentation": [np.ravel(points).tolist()],
            }
            for label, points in drawn
        ]
        write_coco(folder / "annotations" / "instances_default.json", [image], annotations, classes)
    return folder


def prepare(kind, tmp_path, **more):
    return preparation.prepare_folder(kind, tmp_path / "export", tmp_path / "out", **more)


def prepared_mask(tmp_path, name="a"):
    return read_mask(tmp_path / "out" / "labels" / f"{name}.png")


def fails(kind, tmp_path, *found, export="export", **more):
    """Check that preparing fails with these words, and that nothing stands in the place of the result."""
    with pytest.raises(ElfwError) as caught:
        preparation.prepare_folder(kind, tmp_path / export, tmp_path / "out", **more)
    for words in found:
        assert words in str(caught.value)
    assert not (tmp_path / "out").exists()
    return str(caught.value)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Twelve rendered faces in ELFW's layout, and the outlines in their masks by name."""
    layout = scan_folder(
        render_folder(tmp_path_factory.mktemp("rendered") / "set", 12, seed=3, size=64, workers=1)
    )
    return layout, {name: trace_mask(read_mask(path)) for name, path in layout.masks.items()}


def export_faces(kind, layout, outlines, folder):
    """Export the faces of a folder as a tool does, with polygons; COCO with compressed run lengths."""
    images, elements, annotations = [], [], []
    for number, (name, path) in enumerate(layout.images.items(), 1):
        mask = read_mask(layout.masks[name])
        shutil.copy(path, folder / path.name)
        size = mask.shape[::-1]
        if kind == "labelme":
            shapes = [shape(*outline) for outline in outlines[name]]
            write_labelme(folder / f"{name}.json", path.name, size, shapes)
        elements.append(cvat_image(path.name, size, *(cvat_polygon(*outline) for outline in outlines[name])))
        images.append({"id": number, "file_name": path.name, "width": size[0], "height": size[1]})
        for index in np.unique(mask).tolist():
            runs = {"size": list(mask.shape), "counts": encode_runs((mask == index).T)}
            entry = {"image_id": number, "category_id": index + 1, "segmentation": runs, "iscrowd": 1}
            annotations.append(entry)
    if kind == "cvat":
        write_cvat(folder / "annotations.xml", elements)
    if kind == "coco":
        write_coco(folder / "annotations" / "instances_default.json", images, annotations)


@pytest.mark.parametrize("kind", ["labelme", "cvat", "coco"])
def test_rendered_faces_come_back_pixel_by_pixel(kind, rendered, tmp_path, capsys):
    (layout, outlines), export = rendered, tmp_path / "export"
    export.mkdir()
    export_faces(kind, layout, outlines, export)
    shutil.copy(layout.root / "labels.txt", export)
    assert main(["prepare", kind, str(export), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "12 faces with masks" in said and "12 as told" in said and "to look at" not in said
    prepared = scan_folder(tmp_path / "out")
    assert prepared.listed == layout.listed and set(prepared.images) == set(layout.images)
    for name, path in layout.images.items():
        assert prepared.images[name].read_bytes() == path.read_bytes()
        # An intersection over union of 1, for every class.
        assert np.array_equal(read_mask(prepared.masks[name]), read_mask(layout.masks[name]))
    audit = check_folder(tmp_path / "out")
    assert not audit.problems and not audit.layout.passed_over
    assert not list(tmp_path.glob("*.unfinished"))


def test_labelme_all_kinds_of_areas(tmp_path):
    export = write_source("labelme", tmp_path / "export")
    shapes = [
        shape("skin", [(2, 2), (30, 30)], shape_type="rectangle"),
        shape("Hair", [(8, 8), (8, 4)], shape_type="circle"),
        shape("beard mustache", [(20, 20), (24, 20), (24, 24), (20, 24)], shape_type="oriented_rectangle"),
        shape("sunglasses", [(10, 14), (13, 15)], shape_type="mask", mask=encode_png(np.eye(2, 4))),
        shape("_background_", [(28, 28), (30, 28), (30, 30)]),
        shape("__ignore__", [(0, 0), (9, 9)], shape_type="line"),
    ]
    write_labelme(export / "a.json", "..\\export\\a.jpg", SIZE, shapes, flags={"cap": True, "hair": False})
    done = prepare("labelme", tmp_path)
    mask = prepared_mask(tmp_path)
    assert mask[2, 2] == SKIN and mask[8, 8] == HAIR and mask[21, 21] == 3 and mask[28, 29] == 0
    assert np.argwhere(mask == EYEWEAR).tolist() == [[14, 10], [15, 11]]
    assert done.ignored == {"__ignore__": 1}
    assert done.told == 1 and done.attributes == {"a": ATTRIBUTES.index("cap")}


def test_labelme_4_and_a_photo_within_the_annotation(tmp_path):
    export = write_source("labelme", tmp_path / "export", ("skin", SQUARE))
    content = json.loads((export / "a.json").read_text(encoding="utf-8"))
    for key in ("description", "mask"):
        del content["shapes"][0][key]
    photo = (export / "a.jpg").read_bytes()
    content |= {"version": "4.6.0", "imageData": base64.b64encode(photo).decode()}
    (export / "a.json").write_text(json.dumps(content), encoding="utf-8-sig")
    (export / "a.jpg").unlink()
    done = prepare("labelme", tmp_path)
    assert "'a.jpg' is not there, so the copy inside the annotation was used" in str(done.remarks[0])
    assert "delete the annotation too" in str(done.remarks[0])
    assert (tmp_path / "out" / "faces" / "a.jpg").read_bytes() == photo
    assert not (tmp_path / "out" / "embedded").exists()


def test_cvat_all_kinds_of_areas_by_their_z_order(tmp_path):
    export = write_source("cvat", tmp_path / "export")
    elements = [
        '<mask label="sunglasses" rle="1, 2, 3" left="10" top="14" width="3" height="2" z_order="3"/>',
        cvat_polygon("hair", HOLE, z_order=2),
        '<ellipse label="wearable" cx="26" cy="26" rx="3" ry="2" rotation="90" z_order="1"/>',
        '<box label="skin" xtl="2" ytl="2" xbr="30" ybr="30" z_order="0"><attribute/></box>',
        '<tag label="spectacles" source="manual"/>',
        '<tag label="good_frame" source="manual"/>',
    ]
    write_cvat(export / "annotations.xml", [cvat_image("set/a.jpg", SIZE, *elements)])
    done = prepare("cvat", tmp_path)
    mask = prepared_mask(tmp_path)
    assert np.argwhere(mask == EYEWEAR).tolist() == [[14, 11], [14, 12]]
    assert mask[10, 10] == HAIR and mask[2, 2] == SKIN and mask[28, 26] == 5 and mask[26, 28] == SKIN
    assert done.attributes == {"a": ATTRIBUTES.index("spectacles")} and done.unused == {"good_frame": 1}


def test_coco_pieces_run_lengths_and_folders(tmp_path):
    export = tmp_path / "export"
    for folder, seed in (("anna", 1), ("ben", 2)):
        save_photo(export / "images" / folder / f"{folder}.png", seed)
    images = [{"id": n, "file_name": f"{name}/{name}.png"} for n, name in enumerate(("anna", "ben"))]
    pieces = [np.ravel(SQUARE / 2).tolist(), np.ravel(SQUARE / 2 + 10).tolist()]
    runs = {"size": [SIDE, SIDE], "counts": encode_runs(paint_face(1, 0)[1].T == EYEWEAR)}
    annotations = [
        {"image_id": 0, "category_id": 2, "segmentation": pieces},
        {"image_id": 1, "category_id": 5, "segmentation": runs, "iscrowd": 1},
    ]
    write_coco(export / "annotations" / "instances_default.json", images, annotations)
    prepare("coco", tmp_path)
    anna = prepared_mask(tmp_path, "anna")
    assert anna[2:10, 2:10].all() and anna[12:20, 12:20].all() and np.count_nonzero(anna) == 128
    assert np.array_equal(prepared_mask(tmp_path, "ben") == EYEWEAR, paint_face(1, 0)[1] == EYEWEAR)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("01400000", [0, 1, 4, 1, 4, 1, 4, 1]),
        ("09", [0, 9]),
        ("hh2\\9T30h`o:", [2840, 300, 100, 300, 360060]),
        ("3110031MO0016OL", [3, 1, 1, 1, 1, 4, 2, 1, 1, 1, 1, 2, 7, 1, 3]),
    ],
)
def test_compressed_run_lengths_as_pycocotools_writes_them(text, counts):
    assert decode_counts(text) == counts


@pytest.mark.parametrize("text", ["\x00", "ZZ~", "o" * 40, "é"])
def test_compressed_run_lengths_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="compressed"):
        decode_counts(text)


KINDS = ["labelme", "cvat", "coco"]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_class_names_are_named_with_the_known_and_the_file_to_write(kind, tmp_path):
    write_source(kind, tmp_path / "export", ("Glasses", SQUARE), ("lips", HOLE))
    said = fails(kind, tmp_path, "'Glasses' (in a.jpg), 'lips' (in a.jpg)", *PIXEL_CLASSES, "--classes FILE")
    assert "glasses = sunglasses" in said
    classes = tmp_path / "classes.txt"
    classes.write_text("# ours\nglasses = sunglasses\n\nLIPS = ignore\n", encoding="utf-8")
    done = prepare(kind, tmp_path, classes=classes)
    assert np.unique(prepared_mask(tmp_path)).tolist() == [0, EYEWEAR] and done.ignored == {"lips": 1}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("glasses", "'glasses' is no line of class names"),
        ("= skin", "is no line of class names"),
        ("glasses = spectacles", "'spectacles' is none of our classes. Known: background, skin"),
        ("Skin=hair\nskin = skin", "line 2: 'skin' is given a second time"),
    ],
)
def test_a_line_of_the_file_of_classes_that_says_nothing(line, found, tmp_path):
    write_source("coco", tmp_path / "export", ("skin", SQUARE))
    (tmp_path / "classes.txt").write_text(line, encoding="utf-8")
    fails("coco", tmp_path, "classes.txt", found, classes=tmp_path / "classes.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_missing_photos_other_sizes_and_photos_without_annotation(kind, tmp_path):
    export = write_source(kind, tmp_path / "export", ("skin", SQUARE), size=(64, 48))
    said = fails(kind, tmp_path, "annotated at 64 x 48 pixels, and has 32 x 32", "annotate this one")
    assert "1 problem," in said
    (export / "a.jpg").unlink()
    fails(kind, tmp_path, "the photo 'a.jpg' is not there", "Put the photo into the folder")
    write_source(kind, export, ("skin", SQUARE))
    save_photo(export / "b.jpg", 1)
    assert prepare(kind, tmp_path).unannotated == ["b.jpg"]
    assert not (tmp_path / "out" / "faces" / "b.jpg").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_on_its_side_is_annotated_upright(kind, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    export = write_source(kind, tmp_path / "export", ("skin", SQUARE), size=(20, 40))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 40, 3), np.uint8)).save(
        export / "a.jpg", exif=exif
    )
    prepare(kind, tmp_path)
    assert prepared_mask(tmp_path).shape == (40, 20)
    assert check_folder(tmp_path / "out").problems == []
    shutil.rmtree(tmp_path / "out")
    write_source(kind, export, ("skin", SQUARE), size=(40, 20), photo=False)
    fails(kind, tmp_path, "annotated at 40 x 20 pixels, and has 20 x 40, after its EXIF rotation", "upright")


@pytest.mark.parametrize("kind", KINDS)
def test_crossed_hidden_and_outer_shapes_are_remarked_upon(kind, tmp_path, capsys):
    bow_tie = SQUARE[[0, 2, 1, 3]]
    drawn = [("hair", HOLE), ("skin", SQUARE), ("wearable", SQUARE + 90), ("hair", bow_tie + 8)]
    write_source(kind, tmp_path / "export", *drawn)
    assert main(["prepare", kind, str(tmp_path / "export"), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert (
        "to look at: 3" in said
        and "('hair'): the outline crosses itself; one of its loops lies around x" in said
    )
    assert "('wearable') is not to be seen" in said and "('hair') is not to be seen" in said


def test_a_hole_that_coco_cannot_have_is_refused(tmp_path):
    write_source("coco", tmp_path / "export", ("skin", SQUARE))
    file = tmp_path / "export" / "annotations" / "instances_default.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["annotations"][0]["segmentation"].append(np.ravel(HOLE).tolist())
    file.write_text(json.dumps(content), encoding="utf-8")
    fails("coco", tmp_path, "annotation 1 ('skin'): a piece lies inside another", "or export run lengths")


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([[1, 2]], "an outline of 1 points"),
        ([[1, 2], [3, float("nan")], [5, 6]], "no place on a photo"),
        ([[1, 2], [3, 1e300], [5, 6]], "no place on a photo"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_outlines_that_are_none(kind, points, found, tmp_path):
    write_source(kind, tmp_path / "export", ("skin", points))
    fails(kind, tmp_path, "a.json" if kind == "labelme" else "annotations", found)


WRONG_SHAPES = [
    ({}, "no 'label' that is a text"),
    ({"label": 3, "points": []}, "'label' is not a text"),
    ({"label": "skin"}, "no 'points' that is a list"),
    ({"label": "skin", "points": [1, 2, 3]}, "points that are not pairs"),
    ({"label": "skin", "points": [["a", 1]] * 3}, "points that are not pairs"),
    ({"label": "skin", "points": [[10**400, 1]] * 3}, "points that are not pairs"),
    ({"label": "skin", "points": [[1, 1]], "shape_type": "rectangle"}, "an outline of 1 points"),
    ({"label": "skin", "points": [[1, 1]] * 3, "shape_type": "circle"}, "a circle of 3 points"),
    ({"label": "skin", "points": [[1, 1]] * 2, "shape_type": "circle"}, "an ellipse with the radii 0"),
    ({"label": "skin", "points": [[1, 1]] * 2, "shape_type": "line"}, "a line encloses no area"),
    ({"label": "skin", "points": [[1, 1], [4, 4]], "shape_type": "mask"}, "no 'mask' that is a text"),
    ({"label": "skin", "points": [[1, 1], [4, 4]], "shape_type": "mask", "mask": "%"}, "not in Base64"),
    ({"label": "skin", "points": [[1, 1], [4, 4]], "shape_type": "mask", "mask": "AAAA"}, "read as PNG"),
    (
        {"label": "skin", "points": [[1, 1], [4, 4]], "shape_type": "mask", "mask": encode_png(np.eye(9))},
        "a mask of 9 x 9 pixels between points for 4 x 4",
    ),
]


def test_each_wrong_shape_of_labelme_is_named(tmp_path):
    export = tmp_path / "export"
    for number, (wrong, _) in enumerate(WRONG_SHAPES):
        save_photo(export / f"p{number:02d}.jpg", number)
        content = {"shapes": [wrong], "imagePath": f"p{number:02d}.jpg"}
        (export / f"p{number:02d}.json").write_text(json.dumps(content), encoding="utf-8")
    said = fails("labelme", tmp_path).splitlines()[1:]
    for number, (_, found) in enumerate(WRONG_SHAPES):
        assert f"p{number:02d}.json" in said[number] and "shape 1" in said[number] and found in said[number]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is no valid JSON"),
        (b'{"shapes": [\n1,]}', "a.json, line 2: is no valid JSON"),
        (b"[" * 100_000, "is no valid JSON"),
        (b'{"shapes": [], "imagePath": "\xe9.jpg"}', "cannot be read as text"),
        (b"[]", "is no file of labelme"),
        (b'{"shapes": {}}', "'shapes' is not a list"),
        (b'{"shapes": []}', "no 'imagePath' that is a text"),
        (b'{"shapes": [3], "imagePath": "a.jpg"}', "should be an object is none"),
        (
            b'{"shapes": [], "imagePath": "../../../etc/passwd"}',
            "the photo '../../../etc/passwd' is not there",
        ),
        (b'{"shapes": [], "imagePath": "a\\u0000.jpg"}', "is not there"),
        (b'{"shapes": [], "imagePath": ""}', "the photo '' is not there"),
        (b'{"shapes": [], "imagePath": "a.jpg", "imageWidth": "9", "imageHeight": 9}', "not a whole number"),
        (b'{"shapes": [], "imagePath": "x.jpg", "imageData": 5}', "not in Base64"),
        (b'{"shapes": [], "imagePath": "x.jpg", "imageData": "AAAA"}', "the copy in the annotation cannot"),
    ],
)
def test_files_of_labelme_that_are_none(content, found, tmp_path):
    save_photo(tmp_path / "export" / "b.jpg")
    (tmp_path / "export" / "a.json").write_bytes(content)
    fails("labelme", tmp_path, "a.json", found)


HEAD = '<annotations><image id="0" name="a.jpg" width="32" height="32">'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is no valid XML"),
        ("<annotations>\n<image>\n</annotations>", "line 3: is no valid XML"),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "nonsense"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type or entities"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type or entities"),
        ("<html/>", "is no export of CVAT (it begins with <html>)"),
        ('<annotations><track id="0" label="skin"/></annotations>', "the export of a video"),
        ('<annotations><image name="a.jpg"/></annotations>', "'width' is None"),
        ('<annotations><image width="32" height="32"/></annotations>', "no 'name'"),
        (HEAD + '<polygon points="1,1;2,2;3,1"/></image></annotations>', "polygon 1 (None): no 'label'"),
        (HEAD + '<polygon label="skin" points="1,1;2;3,1"/></image></annotations>', "not pairs of numbers"),
        (
            HEAD + '<polygon label="skin" points="1,1;2,2;3,inf"/></image></annotations>',
            "no place on a photo",
        ),
        (HEAD + '<box label="skin" xtl="1" ytl="1" xbr="x" ybr="2"/></image></annotations>', "'xbr' is 'x'"),
        (
            HEAD + '<polyline label="skin" points="1,1;2,2"/></image></annotations>',
            "a <polyline> encloses no",
        ),
        (
            HEAD
            + '<mask label="skin" rle="1, x" left="0" top="0" width="2" height="2"/></image></annotations>',
            "run lengths that are not whole numbers",
        ),
        (
            HEAD + '<mask label="skin" rle="9" left="0" top="0" width="2" height="2"/></image></annotations>',
            "do not add up to 2 x 2",
        ),
        (
            HEAD
            + '<mask label="skin" rle="9" left="0" top="0" width="9e8" height="9e8"/></image></annotations>',
            "run lengths for 900000000 x 900000000",
        ),
    ],
)
def test_files_of_cvat_that_are_none(text, found, tmp_path):
    save_photo(tmp_path / "export" / "a.jpg")
    (tmp_path / "export" / "annotations.xml").write_text(text, encoding="utf-8")
    fails("cvat", tmp_path, "annotations.xml", found)


IMAGE = {"id": 1, "file_name": "a.jpg", "width": 32, "height": 32}
SKIN_OF_A = {"image_id": 1, "category_id": 2}


@pytest.mark.parametrize(
    ("images", "annotation", "found"),
    [
        ([IMAGE], SKIN_OF_A | {"category_id": 99}, "category 99, which the file does not name"),
        ([IMAGE], SKIN_OF_A | {"category_id": []}, "'category_id' is not"),
        ([IMAGE], SKIN_OF_A | {"image_id": 5}, "annotation 1 is of image 5, which the file does not list"),
        ([IMAGE], SKIN_OF_A | {"image_id": {}}, "'image_id' is not"),
        ([IMAGE], SKIN_OF_A, "a box without a segmentation encloses no area"),
        ([IMAGE], SKIN_OF_A | {"keypoints": [1, 1, 2]}, "a set of keypoints without a segmentation"),
        ([IMAGE], SKIN_OF_A | {"segmentation": {"counts": [4], "size": [2, 2]}}, "of a photo of 32 x 32"),
        ([IMAGE], {"image_id": 1, "segments_info": []}, "holds panoptic segments"),
        ([IMAGE], SKIN_OF_A | {"segmentation": [[1, 2, 3]]}, "not a list x, y, x, y"),
        ([IMAGE], SKIN_OF_A | {"segmentation": [5]}, "not a list x, y, x, y"),
        ([IMAGE], SKIN_OF_A | {"segmentation": "01400000"}, "should be an object is none"),
        ([IMAGE], SKIN_OF_A | {"segmentation": {"counts": [4]}}, "no 'size' that is a list"),
        ([IMAGE], SKIN_OF_A | {"segmentation": {"counts": [4], "size": [2, True]}}, "without a size"),
        ([IMAGE], SKIN_OF_A | {"segmentation": {"counts": [5], "size": [2, 2]}}, "do not add up to 2 x 2"),
        ([IMAGE], SKIN_OF_A | {"segmentation": {"counts": "~", "size": [2, 2]}}, "not compressed"),
        ([IMAGE, IMAGE], SKIN_OF_A, "two images have the id 1"),
        ([IMAGE | {"file_name": None}], SKIN_OF_A | {"segmentation": [[1, 1, 9, 1, 9, 9]]}, "no 'file_name'"),
        (["a.jpg"], SKIN_OF_A, "should be an object is none"),
    ],
)
def test_files_of_coco_that_are_none(images, annotation, found, tmp_path):
    save_photo(tmp_path / "export" / "a.jpg")
    write_coco(tmp_path / "export" / "coco.json", images, [annotation])
    fails("coco", tmp_path, "coco.json", found)


def test_run_lengths_tell_the_size_that_a_file_of_coco_does_not(tmp_path):
    save_photo(tmp_path / "export" / "a.jpg")
    runs = {"segmentation": {"counts": [0, 16], "size": [2, 8]}}
    write_coco(tmp_path / "export" / "coco.json", [{"id": 1, "file_name": "a.jpg"}], [SKIN_OF_A | runs])
    fails("coco", tmp_path, "annotated at 8 x 2 pixels, and has 32 x 32")


def test_several_annotations_and_several_photos_of_one_name(tmp_path):
    export = write_source("labelme", tmp_path / "export", ("skin", SQUARE))
    shutil.copy(export / "a.json", export / "b.json")
    fails("labelme", tmp_path, "b.json: 'a.jpg' is annotated a second time")
    (export / "b.json").unlink()
    save_photo(export / "one" / "A.jpg", 1)
    write_labelme(export / "one" / "a.json", "A.jpg", SIZE, [shape("hair", SQUARE)])
    fails("labelme", tmp_path, "has the same name as", "Rename one")
    (export / "one" / "a.json").unlink()
    (export / "a.json").rename(export.joinpath("c.json"))
    (export / "a.jpg").rename(export / "one" / "b.jpg")
    save_photo(export / "two" / "b.jpg", 2)
    write_labelme(export / "c.json", "b.jpg", SIZE, [shape("hair", SQUARE)])
    fails("labelme", tmp_path, "'b.jpg' may be one/b.jpg and two/b.jpg")


def test_an_annotation_that_is_wrong_is_left_out_where_that_is_asked_for(tmp_path, capsys):
    export = write_source("labelme", tmp_path / "export", ("skin", SQUARE))
    save_photo(export / "b.jpg", 1)
    write_labelme(export / "b.json", "b.jpg", SIZE, [shape("nose", SQUARE)])
    call = ["prepare", "labelme", str(export), str(tmp_path / "out")]
    assert main(call) == 1
    assert "--leave-out" in capsys.readouterr().err
    assert main([*call, "--leave-out"]) == 0
    assert "left out, for what is wrong: 1" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out" / "faces").iterdir()] == ["a.jpg"]


def test_mended_annotations_go_on_from_what_is_done_and_nothing_stale_stays(tmp_path, monkeypatch):
    export = write_source("labelme", tmp_path / "export", ("skin", SQUARE))
    for name, label in (("b", "hair"), ("c", "nose")):
        save_photo(export / f"{name}.jpg", ord(name))
        write_labelme(export / f"{name}.json", f"{name}.jpg", SIZE, [shape(label, SQUARE)])
    fails("labelme", tmp_path, "'nose'")
    write_labelme(export / "c.json", "c.jpg", SIZE, [shape("skin", SQUARE)])
    (export / "b.json").unlink()
    written = []
    write = preparation.write_atomically
    monkeypatch.setattr(preparation, "write_atomically", lambda p, c: (written.append(p.name), write(p, c)))
    prepare("labelme", tmp_path)
    assert [name for name in written if not name.endswith(".txt")] == ["c.jpg", "c.png"]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.*")) == [
        "a.jpg",
        "a.png",
        "c.jpg",
        "c.png",
    ]


def test_a_run_that_is_interrupted_leaves_nothing_in_the_place_of_the_result(tmp_path, monkeypatch):
    write_source("cvat", tmp_path / "export", ("skin", SQUARE))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "encode_mask", interrupt)
    assert main(["prepare", "cvat", str(tmp_path / "export"), str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    prepare("cvat", tmp_path)
    assert prepared_mask(tmp_path).any()


def test_a_folder_that_another_run_is_writing_is_left_to_it(tmp_path):
    write_source("cvat", tmp_path / "export", ("skin", SQUARE))
    with hold_place(tmp_path / "out"):
        fails("cvat", tmp_path, "another `elfw prepare` is writing it. Wait until it has ended")
    prepare("cvat", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "out"]


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path, monkeypatch):
    write_source("cvat", tmp_path / "export", ("skin", SQUARE))
    write = preparation.write_atomically

    def fill_disk(file, content):
        if file.suffix == ".png":
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        write(file, content)

    monkeypatch.setattr(preparation, "write_atomically", fill_disk)
    fails("cvat", tmp_path, "The disk is full")
    assert (tmp_path / "out.unfinished" / "faces" / "a.jpg").exists()


def test_lists_beside_the_photos(tmp_path):
    export = write_source("coco", tmp_path / "export", ("skin", SQUARE), name="my face.jpg")
    (export / "labels.txt").write_text("my face.jpg,2\n", encoding="utf-8-sig")
    (export / "persons.txt").write_text("my face Anna B\n", encoding="utf-8")
    assert prepare("coco", tmp_path).told == 1
    layout = scan_folder(tmp_path / "out")
    assert layout.listed == {"my face": 1} and layout.persons == {"my face": "Anna B"}
    shutil.rmtree(tmp_path / "out")
    (export / "labels.txt").write_text("my face.jpg beard\n", encoding="utf-8")
    fails("coco", tmp_path, "labels.txt, line 1: unknown attribute 'beard'")
    # labelme keeps its classes in a file of this name.
    (export / "labels.txt").write_text("__ignore__\n_background_\nskin\n", encoding="utf-8")
    assert "was not used" in prepare("coco", tmp_path).remarks[0]


def pack(folder, archive):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in folder.rglob("*"):
            opened.write(path, path.relative_to(folder))


def test_an_archive_is_read_and_its_errors_name_it(tmp_path):
    export = write_source("cvat", tmp_path / "export", ("skin", SQUARE))
    pack(export, tmp_path / "export.zip")
    preparation.prepare_folder("cvat", tmp_path / "export.zip", tmp_path / "out")
    assert prepared_mask(tmp_path).any()
    shutil.rmtree(tmp_path / "out")
    (export / "a.jpg").unlink()
    pack(export, tmp_path / "export.zip")
    said = fails("cvat", tmp_path, str(tmp_path / "export.zip" / "annotations.xml"), export="export.zip")
    assert ".elfw_" not in said and not list(tmp_path.glob(".elfw_*"))


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:/a.jpg"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(name, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as opened:
        opened.writestr(zipfile.ZipInfo(name), b"x")
    fails("coco", tmp_path, "which leads out of the archive", export="bad.zip")


def test_archives_that_are_bombs_damaged_or_none_are_refused(tmp_path, monkeypatch):
    export = write_source("coco", tmp_path / "export", ("skin", SQUARE))
    (export / "zeros.txt").write_bytes(bytes(1 << 20))
    pack(export, tmp_path / "bomb.zip")
    monkeypatch.setattr(source, "LARGE", 1 << 19)
    fails("coco", tmp_path, "would unpack to", "Do not trust it", export="bomb.zip")
    content = bytearray((tmp_path / "bomb.zip").read_bytes())
    monkeypatch.undo()
    content[60:90] = bytes(30)
    (tmp_path / "damaged.zip").write_bytes(content)
    fails("coco", tmp_path, "damaged", export="damaged.zip")
    (tmp_path / "no.zip").write_bytes(b"Not found")
    fails("coco", tmp_path, "is neither a folder nor a .zip", export="no.zip")
    fails("coco", tmp_path, "no such folder or archive", export="nowhere")


def test_nothing_is_overwritten(tmp_path):
    export = write_source("coco", tmp_path / "export", ("skin", SQUARE))
    for place, found in ((export / "out", "lies inside"), (export, "holds files already")):
        with pytest.raises(ElfwError, match=found):
            preparation.prepare_folder("coco", export, place)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ElfwError, match="is a file"):
        preparation.prepare_folder("coco", export, tmp_path / "file")
    (tmp_path / "out.unfinished").mkdir()
    fails("coco", tmp_path, "is not what `elfw prepare` began")


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_without_annotations_says_what_is_looked_for(kind, tmp_path):
    save_photo(tmp_path / "export" / "a.jpg")
    fails(kind, tmp_path, f"holds no annotations of {kind}", preparation.WHERE[kind])
    assert not (tmp_path / "out.unfinished").exists()


def write_photos(export, photos=True):
    """Write two photos as CVAT exports them, or their annotations alone."""
    export.mkdir(parents=True)
    names = ("a.jpg", "b.jpg")
    for seed, name in enumerate(names if photos else ()):
        save_photo(export / "images" / name, seed)
    elements = [cvat_image(name, SIZE, cvat_polygon("SKIN", SQUARE)) for name in names]
    write_cvat(export / "annotations.xml", elements)


def test_an_export_without_any_of_its_photos_is_told_in_one_sentence(tmp_path):
    write_photos(tmp_path / "export", photos=False)
    said = fails("cvat", tmp_path, "not one of the 2 annotated photos is there", "the photo 'a.jpg'")
    assert said.endswith(preparation.WITH_PHOTOS) and not (tmp_path / "out.unfinished").exists()


@pytest.mark.parametrize(
    ("export", "kind", "found"),
    [
        ("export/images", "cvat", "Name the folder that holds both annotations and photos"),
        ("zips", "cvat", "but task.zip. Name task.zip in it"),
        ("outer.zip", "cvat", "but task.zip. Unpack it, and name task.zip in it"),
        ("export", "coco", "but annotations.xml. Export as COCO instances"),
        ("export/annotations.xml", "cvat", "Name the folder that holds it and the photos"),
    ],
)
def test_a_wrong_place_or_tool_is_told_in_one_sentence(export, kind, found, tmp_path):
    write_photos(tmp_path / "export")
    (tmp_path / "zips").mkdir()
    pack(tmp_path / "export", tmp_path / "zips" / "task.zip")
    pack(tmp_path / "zips", tmp_path / "outer.zip")
    said = fails(kind, tmp_path, found, export=export)
    assert "\n" not in said and str(tmp_path / export) in said


def test_problems_of_all_photos_promise_no_unfinished_folder(tmp_path):
    write_source("coco", tmp_path / "export", ("nose", SQUARE))
    assert "unfinished" not in fails("coco", tmp_path, "unknown class names")


def test_another_format_than_named_is_told(tmp_path):
    write_source("coco", tmp_path / "export", ("skin", SQUARE))
    fails(
        "labelme", tmp_path, "holds no annotations of labelme: instances_default.json is no file of labelme"
    )
    shutil.rmtree(tmp_path / "export")
    write_source("labelme", tmp_path / "export", ("skin", SQUARE))
    fails("coco", tmp_path, "holds no instances in COCO's format")
