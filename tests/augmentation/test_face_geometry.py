"""Faces found by their labels: how near to the true eyes, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from elfw_helpers.augmentation import PlacingError, locate_face
from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import BACKGROUND, EYEWEAR, HAIR, SKIN
from elfw_helpers.rendering.camera import EYE, make_rays
from elfw_helpers.rendering.manifest import read_parameters
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import embedded_faces

# Of a face's width, in eye distances.
FACE_WIDTH = 2.2


def true_eyes(pose, size):
    """Return the places of both eyes, pixels [2, 2] (x, y): where the ray nearest to each starts."""
    rays = make_rays(pose, size)
    places = []
    for side in (-1, 1):
        towards = np.array([side * EYE[0], *EYE[1:]])[:, None] - rays.origin
        nearest = int((rays.directions * (towards / np.linalg.norm(towards))).sum(0).argmax())
        places.append((nearest % size, nearest // size))
    return np.array(places, float)


@pytest.fixture(scope="module")
def rendered():
    """Masks and true eyes of 100 embedded faces."""
    root = embedded_faces()
    faces, parameters = FaceFolder(root), read_parameters(root)
    found = []
    for index in range(0, 2000, 20):
        _, mask = faces.read(index)
        found.append((mask, true_eyes(parameters[faces.names[index]].pose, len(mask))))
    return found


def oval_mask(size=100, x=50.0, y=55.0, width=22.0):
    """Return a head: an oval of skin with hair above it."""
    rows, columns = np.indices((size, size))
    mask = np.zeros((size, size), np.uint8)
    mask[((columns - x) / (1.3 * width)) ** 2 + ((rows - y + 0.6 * width) / (1.2 * width)) ** 2 < 1] = HAIR
    mask[((columns - x) / width) ** 2 + ((rows - y) / (1.3 * width)) ** 2 < 1] = SKIN
    return mask


def test_the_eyes_are_found_within_a_tenth_of_a_face_width_on_most_rendered_faces(rendered):
    across, down, sizes = [], [], []
    for mask, eyes in rendered:
        face, middle = locate_face(mask), eyes.mean(0)
        width = FACE_WIDTH * face.eye_distance
        across.append(abs(face.x - middle[0]) / width)
        down.append(abs(face.y - middle[1]) / width)
        sizes.append(face.eye_distance / np.linalg.norm(eyes[0] - eyes[1]))
    assert np.median(across) < 0.07 and np.median(down) < 0.06
    assert np.quantile(across, 0.9) < 0.2 and np.quantile(down, 0.9) < 0.15
    # A turned head's eyes come closer together in the picture, the face's size stays.
    assert 0.95 < np.median(sizes) < 1.1


@pytest.mark.real_faces
def test_glasses_would_sit_where_real_ones_do(real_faces):
    faces, off = FaceFolder(real_faces), []
    for index in range(len(faces)):
        _, mask = faces.read(index)
        rows, columns = np.nonzero(mask == EYEWEAR)
        if len(rows) > 0.01 * mask.size:
            face = locate_face(mask)
            width = FACE_WIDTH * face.eye_distance
            off.append((abs(face.x - columns.mean()) / width, abs(face.y - rows.mean()) / width))
    assert (np.median(off, axis=0) < 0.08).all()


def test_a_face_that_moves_grows_or_tilts_takes_the_eyes_along():
    face = locate_face(oval_mask())
    assert abs(face.x - 50) < 2 and face.y < 55 and abs(face.roll) < 0.03
    moved = locate_face(oval_mask(x=60.0, y=65.0))
    assert abs(moved.x - face.x - 10) < 2 and abs(moved.y - face.y - 10) < 2
    grown = locate_face(oval_mask(200, 100.0, 110.0, 44.0))
    assert abs(grown.eye_distance / face.eye_distance - 2) < 0.2 and abs(grown.y / face.y - 2) < 0.1
    for degrees in (-20, 20):
        tilted = np.asarray(Image.fromarray(oval_mask()).rotate(degrees))  # anticlockwise
        assert 0.05 < -np.sign(degrees) * locate_face(tilted).roll < 0.5


def test_ears_neck_and_shoulders_of_skin_change_little():
    mask = oval_mask(200, 100.0, 90.0, 44.0)
    bare = mask.copy()
    bare[120:180, 75:125], bare[170:, 10:190] = SKIN, SKIN
    bare[75:105, 50:150] = SKIN
    plain, whole = locate_face(mask), locate_face(bare)
    assert abs(whole.x - plain.x) < 8 and abs(whole.y - plain.y) < 10
    assert abs(whole.eye_distance / plain.eye_distance - 1) < 0.15


@pytest.mark.parametrize("shape", [(16, 16), (60, 120), (120, 60), (17, 100)])
def test_small_and_long_pictures_are_no_problem(shape):
    mask = np.zeros(shape, np.uint8)
    small = np.asarray(Image.fromarray(oval_mask()).resize((min(shape),) * 2, Image.Resampling.NEAREST))
    mask[: len(small), : len(small)] = small
    face = locate_face(mask)
    assert abs(face.x - 0.5 * min(shape)) < 0.08 * min(shape) + 1
    assert abs(face.y - 0.45 * min(shape)) < 0.1 * min(shape) + 1


def speck():
    mask = np.zeros((64, 64), np.uint8)
    mask[30, 30] = SKIN
    return mask


def scattered():
    return np.where(np.random.default_rng(0).random((64, 64)) < 0.1, SKIN, BACKGROUND).astype(np.uint8)


@pytest.mark.parametrize(
    "mask",
    [np.zeros((64, 64), np.uint8), np.full((64, 64), HAIR, np.uint8), speck(), scattered()],
    ids=["nothing", "hair", "one pixel", "scattered"],
)
def test_a_mask_without_a_face_is_refused(mask):
    with pytest.raises(PlacingError, match="no face") as caught:
        locate_face(mask)
    assert isinstance(caught.value, ElfwError) and isinstance(caught.value, ValueError)


def test_a_picture_that_is_all_skin_is_no_face_to_be_found():
    with pytest.raises(PlacingError, match="no face"):
        locate_face(np.full((64, 64), SKIN, np.uint8))
