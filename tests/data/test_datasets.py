import os
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from elfw_helpers.data.datasets import CustomDataset, FaceFolder, in_parallel
from elfw_helpers.data.labels import ATTRIBUTES, encode_colours
from elfw_helpers.data.splits import SplitWarning
from elfw_helpers.utils.paths import data_folder
from tests.faces import SIDE, paint_face, write_face


def test_one_face_is_image_mask_and_attribute(folder):
    faces = FaceFolder(folder)
    index = faces.names.index("Some_Person01_0002")
    image, mask, attribute = faces[index]
    expected_image, expected_mask = paint_face(1, 102)
    assert (image.permute(1, 2, 0).numpy() == expected_image).all()
    assert (mask.numpy() == expected_mask).all()
    assert attribute == 1


def test_attributes_come_from_the_masks_by_the_rule(folder):
    assert torch.bincount(FaceFolder(folder).attributes).tolist() == [36, 12, 12]


def test_faces_are_read_by_as_many_threads_as_this_process_may_use(monkeypatch):
    def read(item):
        time.sleep(0.002)
        return threading.get_ident()

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    assert len(set(in_parallel(read, range(20)))) == 1


def test_labels_file_wins_over_the_masks(folder):
    names = FaceFolder(folder).names
    (folder / "labels.txt").write_text("".join(f"{name}.png 3\n" for name in names), encoding="utf-8")
    faces = FaceFolder(folder)
    assert faces.attributes.tolist() == [2] * 60
    assert faces.preload(16).attributes.tolist() == [2] * 60


def test_preload_gives_what_the_report_s_transforms_give(folder):
    faces = FaceFolder(folder)
    tensors = faces.preload(16)
    resize = transforms.Compose([transforms.Resize((16, 16)), transforms.PILToTensor()])
    dataset = CustomDataset(root=folder, labels_file="labels.txt", transform=resize)
    assert len(tensors) == len(dataset) == 60
    for index in (0, 17, 59):
        image, label = dataset[index]
        assert torch.equal(tensors.images[index].permute(2, 0, 1), image)
        assert tensors.attributes[index] == label


def test_preloaded_masks_hold_no_class_that_was_not_there(folder):
    faces = FaceFolder(folder)
    masks = faces.preload(13).masks
    assert masks.dtype == torch.uint8
    for index in range(len(faces)):
        assert set(masks[index].unique().tolist()) <= set(faces[index][1].unique().tolist())


def test_folder_of_images_and_labels_only_as_the_report_has_it(tmp_path, monkeypatch):
    root = tmp_path / "Annotated Data"
    root.mkdir()
    lines = []
    for index, attribute in enumerate((0, 1, 2, 0)):
        Image.fromarray(paint_face(attribute, index)[0]).save(root / f"photo {index}.jpg")
        lines.append(f"photo {index}.jpg {(attribute + 1, ATTRIBUTES[attribute])[index % 2]}")
    (root / "labels.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    transform = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    dataset = CustomDataset(root="Annotated Data", labels_file="labels.txt", transform=transform)
    assert [label for _, label in dataset] == [0, 1, 2, 0]
    assert dataset[0][0].shape == (3, 32, 32)
    assert FaceFolder(root).preload(32).masks is None


def test_official_release_is_found_one_folder_down_with_its_held_out_list(tmp_path):
    basic = tmp_path / "elfw_01_basic"
    for person in range(40):
        write_face(basic, f"Some_Person{person}_0001", person % 3, person)
    held_out = {"Some_Person3_0001", "Some_Person4_0001", "Some_Person5_0001"}
    (basic / "elfw_set_00.txt").write_text("\n".join(held_out), encoding="utf-8")
    (basic / "elfw_set_01.txt").write_text("Some_Person7_0001\n", encoding="utf-8")
    faces = FaceFolder(tmp_path)
    assert {faces.names[i] for i in faces.split().test} == held_out
    with (
        pytest.warns(SplitWarning, match="no hair in the test split"),
        pytest.warns(SplitWarning, match="no cap"),
    ):
        other = FaceFolder(tmp_path, held_out="elfw_set_01.txt").split()
    assert [faces.names[i] for i in other.test] == ["Some_Person7_0001"]


def test_one_channel_masks_load_like_coloured_ones(folder):
    coloured = FaceFolder(folder).preload(SIDE).masks
    for path in (folder / "labels").iterdir():
        Image.fromarray(FaceFolder(folder).read(FaceFolder(folder).names.index(path.stem))[1]).save(path)
    assert torch.equal(FaceFolder(folder).preload(SIDE).masks, coloured)


def test_embedded_faces_load_with_their_frozen_split(monkeypatch):
    monkeypatch.delenv("ELFW_DATA", raising=False)
    faces = FaceFolder(data_folder())
    split = faces.split()
    assert sorted(torch.cat([split.train, split.validation, split.test]).tolist()) == list(range(len(faces)))
    assert len(split.train) == 0.8 * len(faces)
    counts = torch.bincount(faces.attributes[split.test], minlength=3)
    assert (counts > 0).all()
    image, mask, attribute = faces[0]
    assert image.shape[1:] == mask.shape
    assert encode_colours(mask.numpy()).shape == (*mask.shape, 3)
    assert 0 <= attribute <= 2


@pytest.mark.real_faces
def test_real_photos_load_as_their_readme_says(real_faces):
    faces = FaceFolder(real_faces)
    tensors = faces.preload(64)
    assert torch.bincount(tensors.attributes).tolist() == [625, 38, 37]
    split = faces.split(seed=0)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [559, 70, 71]
    assert np.unique(tensors.masks).tolist() == [0, 1, 2, 4, 5]
